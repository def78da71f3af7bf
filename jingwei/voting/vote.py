"""Votes over any number of label maps (hard) or of class probabilities (soft), strip by strip."""

import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.errors import InputError, SettingError
from jingwei.grid import Window, strips
from jingwei.legend import NODATA, Legend
from jingwei.raster.checked import open_map, refuse_unknown
from jingwei.raster.map_legend import legend_tags
from jingwei.raster.png import PngWriter
from jingwei.raster.reading import Raster
from jingwei.raster.same_place import check_same_grid
from jingwei.raster.stamps import AGREEMENT, CONFIDENCE, STAMP, refuse_part, remove_stale, stamp, up_to_date
from jingwei.raster.styles import DOUBT, write_class_style, write_percent_style
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter, without_nodata, write_submission
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress
from jingwei.voting.counting import count_soft_votes, count_votes
from jingwei.workspace import confidence_of

WEIGHT_UNIT = 1_000_000  # weights are counted in whole millionths
BLOCK_BYTES = 32 << 20  # probabilities that are read at a time


class VoteFiles(NamedTuple):
    """Where a vote goes: labels; agreement and entropy (0 to 100); where wanted, the contest's PNG and the confidence.

    The confidence (0 to 100) is the mean probability of the winner in a soft vote, and the agreement in a plain one.
    """

    labels: Path
    agreement: Path
    entropy: Path
    submission: Path | None = None
    confidence: Path | None = None

    @classmethod
    def beside(cls, labels: Path) -> "VoteFiles":
        """`x.tif` with `x_agreement.tif`, `x_entropy.tif` and `confidence/x.tif`."""
        agreement, entropy = (labels.with_name(f"{labels.stem}_{what}.tif") for what in ("agreement", "entropy"))
        return cls(labels, agreement, entropy, confidence=confidence_of(labels))

    @property
    def maps(self) -> tuple[Path, ...]:
        """The rasters: labels, agreement, entropy and, where wanted, confidence."""
        return (*self[:3], *([self.confidence] if self.confidence else []))


def tie_ranks(ties: str, legend: Legend) -> np.ndarray:
    """The rank of each class in a tie, int64 of 256, lowest first. Equal ranks: the first voter's class wins.

    `first`: all equal. `background`: background first. `corn,1,...`: these classes first, in this order.
    """
    ranks = np.full(256, 256, np.int64)
    if ties == "background":
        if legend.background is None:
            raise SettingError(
                "`ties` background", f"legend {legend.name} has no background", "name classes, or take first"
            )
        ranks[legend.background] = 0
    elif ties != "first":
        for rank, name in enumerate(ties.split(",")):
            ranks[legend.id_of(name.strip())] = rank
    return ranks


def weight_counts(weights: list[float] | None, voters: int) -> np.ndarray:
    """Weights as int64 counts of WEIGHT_UNIT, 1 each by default. SettingError where they don't fit the voters."""
    weights = weights or [1.0] * voters
    if len(weights) != voters:
        problem = f"{len(weights)} weights for {voters} maps"
        raise SettingError("`weights`", problem, "give one weight per map, in the order of `inputs`")
    if not all(0 <= weight <= 1e6 for weight in weights) or max(weights) * WEIGHT_UNIT < 1:
        raise SettingError("`weights`", f"{weights}", "weights are 0 to 1,000,000, one at least a millionth")
    return np.round(np.array(weights) * WEIGHT_UNIT).astype(np.int64)


def vote(
    inputs: list[Path],
    outputs: VoteFiles,
    legend: Legend,
    *,
    soft: bool = False,
    weights: list[float] | None = None,
    ties: str = "first",
    workers: int = 1,
    strip_rows: int = TILE,
) -> bool:
    """The vote of label maps, or of probabilities where `soft`. False where that was done before.

    What has weight 0 is not even read. Raises InputError where the inputs differ in size or place, have ids that the
    legend lacks or are not what they should be, SettingError for weights and ties that make no sense.
    """
    ranks, counts = tie_ranks(ties, legend), weight_counts(weights, len(inputs))
    written = [path for path in outputs if path is not None]
    for path in written:
        if path.resolve() in [other.resolve() for other in inputs]:
            raise SettingError(path, "is an input and an output at once", "write the result elsewhere")
    inputs, counts = [path for path, count in zip(inputs, counts, strict=True) if count], counts[counts > 0]
    mark = stamp(*inputs, weights=counts.tolist(), ties=ties, soft=soft, legend=legend.to_dict())
    if all(up_to_date(path, mark) for path in outputs.maps):
        remove_stale(confidence_of(outputs.labels), mark)
        if outputs.submission:  # a later stage may have written its own
            write_submission(outputs.labels, outputs.submission)
        _write_styles(outputs, legend)
        return False
    with ExitStack() as stack:
        opened = _open_probabilities if soft else open_map
        maps = [stack.enter_context(opened(path, legend)) for path in inputs]
        for other in maps[1:]:
            check_same_grid(other, maps[0])
        height, width = maps[0].shape
        placed = next((each for each in maps if each.georeference), maps[0])  # a PNG may not say where it lies
        like = {"like": placed, "workers": workers, "tags": {STAMP: mark} | legend_tags(legend)}
        writers = stack.enter_context(_writers(outputs, legend, soft, height, width, **like))
        png = stack.enter_context(PngWriter(outputs.submission, height, width)) if outputs.submission else None
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        planes = 4 if soft else 3  # labels, agreement, entropy; confidence
        title = f"{'soft ' if soft else ''}vote of {len(inputs)}"
        with Progress(total=height * width, unit="px", unit_scale=True, desc=title) as bar:
            blocks = read_probabilities(maps, strip_rows, pool) if soft else read_maps(maps, strip_rows, pool)
            across: list[np.ndarray] = []  # labels of the blocks of a strip so far: a PNG takes whole rows
            for window, votes in ahead(blocks):
                counted = np.empty((planes, window.height, window.width), np.uint8)
                if soft:
                    count_soft_votes(votes, counts, ranks, *counted)
                else:
                    for source, labels in zip(maps, votes, strict=True):
                        refuse_unknown(labels, legend, source.path, window.row)
                    count_votes(votes, counts, ranks, len(legend), *counted)
                bar.update(counted[0].size)
                for writer, part in zip(writers, counted, strict=False):  # the confidence may not be wanted
                    writer.write(window, part)
                if png:
                    across.append(without_nodata(counted[0]))
                    if window.col_end == width:
                        png.write(np.concatenate(across, axis=1))
                        across.clear()
    remove_stale(confidence_of(outputs.labels), mark)
    _write_styles(outputs, legend)
    return True


@contextmanager
def _writers(outputs: VoteFiles, legend: Legend, soft: bool, height: int, width: int, **how) -> Iterator[list]:
    """Writers of labels, agreement, entropy and, of a soft vote, confidence; the labels are there when all others are.

    A plain vote's confidence is its agreement, so that file is copied.
    """
    how |= {"nodata": NODATA, "overviews": True}
    said = how | {"tags": how["tags"] | {CONFIDENCE: "mean probability" if soft else AGREEMENT}}
    forms = [(outputs.agreement, how if soft else said), (outputs.entropy, how)]
    if soft and outputs.confidence:
        forms.append((outputs.confidence, said))
    with TiledWriter(outputs.labels, height, width, colormap=legend.colormap(), **how) as labels:
        with ExitStack() as stack:
            yield [labels, *(stack.enter_context(TiledWriter(path, height, width, **form)) for path, form in forms)]
        if outputs.confidence and not soft:
            with whole_or_nothing(outputs.confidence) as part:
                shutil.copyfile(outputs.agreement, part)


def _write_styles(outputs: VoteFiles, legend: Legend) -> None:
    """How the results of a vote look in QGIS."""
    for path in (outputs.labels, outputs.submission):
        if path:
            write_class_style(path, legend)
    for path in (outputs.agreement, outputs.confidence):
        if path:
            write_percent_style(path)
    write_percent_style(outputs.entropy, DOUBT)


def read_maps(maps: list[Raster], strip_rows: int, pool: Executor) -> Iterator[tuple[Window, np.ndarray]]:
    """Label maps from top to bottom: (window over the whole width, labels_KHW)."""
    for first, end in strips(maps[0].height, strip_rows):
        rows = pool.map(Raster.read_label_rows, maps, repeat(first), repeat(end))
        yield Window(first, 0, end - first, maps[0].width), np.stack(list(rows))


def read_probabilities(maps: list[Raster], strip_rows: int, pool: Executor) -> Iterator[tuple[Window, np.ndarray]]:
    """Probabilities, block by block along strips: (window, planes_KCHW). A pixel that is invalid has 0 throughout."""
    columns = max(1, BLOCK_BYTES // (len(maps) * maps[0].bands * TILE**2)) * TILE
    for first, end in strips(maps[0].height, strip_rows):
        for left, right in strips(maps[0].width, columns):
            window = Window(first, left, end - first, right - left)
            yield window, np.stack(list(pool.map(_read_planes, maps, repeat(window))))


def _read_planes(probabilities: Raster, window: Window) -> np.ndarray:
    planes, valid = probabilities.read(window)
    if not valid.all():
        np.copyto(planes, 0, where=~valid)
    return planes


def _open_probabilities(path: Path, legend: Legend) -> Raster:
    """The probabilities that a prediction kept: uint8, a band per class. InputError where it is something else."""
    opened = Raster(path)
    with opened.closed_on_error():
        refuse_part(opened)
    remedy = "run predict.py with `probabilities` and give the files of probabilities/"
    if opened.bands == 1 < len(legend):
        raise InputError(path, "has one band, as label maps have, not one per class", remedy)
    if opened.bands != len(legend):
        problem = f"has {opened.bands} bands, but legend {legend.name} has {len(legend)} classes"
        raise InputError(path, problem, f"{remedy}, or name its legend with `legend`")
    if opened.dtype != np.uint8:
        raise InputError(path, f"holds {opened.dtype} values, not probabilities in 8 bits", remedy)
    return opened
