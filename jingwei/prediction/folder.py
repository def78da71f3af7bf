"""System B's predictions: every sample of a folder as a picture in the legend's colours, with an annotation.

    INPUT/7.tif                       OUTPUT/7_gt.png, 7.xml, and 7_label.png (class ids) where wanted
    INPUT/test_A/1_HH.tiff, _HV ...   OUTPUT/test_A/1_gt.png, 1.xml

The picture is a sample's last file and carries a stamp of inputs and settings, in a text chunk of the PNG: so what is
finished is known, and not done again. What is not finished lies in OUTPUT/.inference/, which is gone at the end.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from jingwei.errors import CheckpointError, InputError, JingweiError, OutputError, SettingError
from jingwei.grid import strips
from jingwei.inputs.samples import Sample, find_samples
from jingwei.inputs.sar import read_settings
from jingwei.legend import NODATA, Legend
from jingwei.models.checkpoints import Checkpoint, check_type, load_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.annotation_xml import Annotation, is_annotation
from jingwei.prediction.blending import Bands
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.choosing import CALIBRATION, SIDE, choose_engine, is_label, read_label, spread_samples
from jingwei.prediction.engines.choosing import Sample as Seen
from jingwei.prediction.engines.registry import make_engine
from jingwei.prediction.engines.views import STEP, TTA
from jingwei.prediction.prepare_sample import prepare_scene
from jingwei.prediction.scene import Job, PredictSettings, predict_scene
from jingwei.raster.png import PngWriter
from jingwei.raster.reading import Raster, open_image, open_labels, read_tags
from jingwei.raster.stamps import STAMP, stamp, up_to_date
from jingwei.raster.tiles import TILE
from jingwei.system.atomic import only_run, whole_or_nothing
from jingwei.system.own_files import kept_lines
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress

MODES = ("sliding", "single", "multi_scale")
TURNS = ("none", "flips", "d4")
SINGLE_MOST_PX = 4096 * 4096  # of a sample in one window: a network takes some 500 bytes a pixel
NODATA_COLOR = (0, 0, 0)
LOOKED_AT = 6  # samples that engines are measured on


@dataclass(frozen=True)
class InferenceSettings:
    """How samples are predicted.

    `mode`: sliding, overlapping windows of `window` px; single, the whole sample in one window; multi_scale, windows
    seen at three scales. `tta` turns and mirrors each of them: none, flips or d4.
    """

    mode: str = "sliding"
    window: int = 512
    overlap: int = 128
    tta: str = "none"
    precision: str = "auto"
    engine: str = "auto"

    def check(self) -> "InferenceSettings":
        """The settings themselves, or a SettingError."""
        if self.mode not in MODES:
            raise SettingError(f"`mode` {self.mode}", "no such mode", f"known are {', '.join(MODES)}")
        if self.tta not in TURNS:
            raise SettingError(f"`tta` {self.tta}", "no such augmentation", f"known are {', '.join(TURNS)}")
        PredictSettings(self.window, self.overlap, self.tta, self.precision, self.engine).check()
        return self

    def of(self, shape: tuple[int, int]) -> PredictSettings:
        """The same, for a sample of (height, width)."""
        window, overlap = (max(32, *shape), 0) if self.mode == "single" else (self.window, self.overlap)
        views = self.tta
        if self.mode == "multi_scale":
            views = "scales" if self.tta == "none" else f"{self.tta}+scales"
        return PredictSettings(window, overlap, views, self.precision, self.engine)


@dataclass(frozen=True)
class Inference:
    """What is to be done: the samples of `source` into `target` by the checkpoint `weights`.

    `ids` keeps class ids too, as `<id>_label.png`, 255 where there is no data. `batch_size` 0 takes 1 window at a time
    on a CPU, 8 on a GPU.
    """

    source: Path
    target: Path
    weights: Path
    settings: InferenceSettings = InferenceSettings()
    annotation: Annotation = Annotation()
    ids: bool = False
    device: str = "auto"
    batch_size: int = 0
    workers: int = 1

    @property
    def work(self) -> Path:
        """The folder of what is not finished."""
        return self.target / ".inference"


@dataclass
class Outcome:
    """How many samples were predicted, of which classes, how many were up to date, and why others could not be."""

    legend: Legend
    written: int = 0
    kept: int = 0
    broken: list[JingweiError] = field(default_factory=list)


@dataclass(frozen=True)
class _Item:
    """A sample on its way: its size, its files, and the stamp that they get."""

    sample: Sample
    shape: tuple[int, int]
    settings: PredictSettings
    picture: Path
    mark: str
    scene: Path  # where it is prepared, where it has to be
    labels: Path  # its map, before it becomes a picture

    @property
    def annotation(self) -> Path:
        return self.picture.with_name(f"{self.sample.id}.xml")

    @property
    def id_mask(self) -> Path:
        return self.picture.with_name(f"{self.sample.id}_label.png")

    @property
    def px(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def window_shape(self) -> tuple[int, int]:
        """The shape of its windows, up to multiples of STEP, to which engines pad."""
        height, width = (-(-min(side, self.settings.window) // STEP) * STEP for side in self.shape)
        return height, width

    @property
    def window_px(self) -> int:
        """Pixels of all its windows, each view counted."""
        bands = Bands.of(self.shape, self.settings.window, self.settings.overlap)
        height, width = self.window_shape
        return len(bands.rows) * len(bands.cols) * height * width * len(TTA[self.settings.tta])


def find_newest_checkpoint(folder: Path) -> Path:
    """The `best.pth` under a folder of training runs that was written last. InputError where there is none."""
    found = sorted(folder.rglob("best.pth"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not found:
        remedy = "train one first (train.py with `config`), or name one with `checkpoint`"
        raise InputError(folder, "no trained checkpoint (best.pth) there", remedy)
    return found[-1]


def infer(order: Inference, report: Callable[[JingweiError], None] = lambda error: None) -> Outcome:
    """Predicts all samples of a folder that are not up to date. Tells `report` of each that can't be, and goes on.

    Same bytes for any number of workers, stopped and gone on with or not. Raises InputError where there is no sample,
    CheckpointError where the checkpoint fits none of them, OutputError where a file of somebody else lies in the way.
    """
    order.settings.check()
    checkpoint = load_checkpoint(order.weights)
    outcome = Outcome(checkpoint.legend)

    def skip(error: JingweiError) -> None:
        outcome.broken.append(error)
        report(error)

    items = _items(order, checkpoint, skip)
    _check_free(order, items)
    with only_run(order.work):
        todo = []
        for item in items:
            if _is_done(order, item):
                _annotate(order, item)
                outcome.kept += 1
            else:
                todo.append(item)
        if todo:
            _predict_all(order, checkpoint, todo, outcome, skip)
        shutil.rmtree(order.work, ignore_errors=True)
    return outcome


def _items(order: Inference, checkpoint: Checkpoint, skip: Callable[[JingweiError], None]) -> list[_Item]:
    """The samples that the checkpoint fits; `skip` is told of the others."""
    samples, broken = find_samples(order.source)
    if not samples and not broken:
        remedy = "put N.tif, or N_HH.tiff, N_HV.tiff, N_VH.tiff and N_VV.tiff, there or into subfolders"
        raise InputError(order.source, "no samples there", remedy)
    device = find_device(order.device)
    computed = {"precision": str(find_precision(order.settings.precision, device)), "device": device.type}
    items, misfits = [], []
    for sample in samples:
        try:
            items.append(_item(order, checkpoint, sample, computed))
        except InputError as error:
            broken.append(error)
        except CheckpointError as error:
            misfits.append(error)
    if misfits and not items:
        raise misfits[0]
    for error in (*broken, *misfits):
        skip(error)
    return items


def _item(order: Inference, checkpoint: Checkpoint, sample: Sample, computed: dict) -> _Item:
    kind = {True: "radar", False: "optical"}
    if sample.is_sar != bool(checkpoint.source):
        problem = f"was trained on {kind[not sample.is_sar]} scenes, but {sample.images[0]} is {kind[sample.is_sar]}"
        raise CheckpointError(order.weights, problem, "take a checkpoint of that kind")
    # Radar may be complex, which is no image.
    with (Raster if sample.is_sar else open_image)(sample.images[0]) as image:
        shape, bands, dtype = image.shape, image.bands, image.dtype.name
    if not sample.is_sar and bands != checkpoint.spec.bands:
        problem = f"was trained on {checkpoint.spec.bands} bands, but {sample.images[0]} has {bands}"
        raise CheckpointError(order.weights, problem, "take samples of the same bands, or train again")
    if not sample.is_sar:
        check_type(checkpoint, order.weights, sample.images[0], dtype)
    if order.settings.mode == "single" and shape[0] * shape[1] > SINGLE_MOST_PX:
        problem = f"{shape[1]} x {shape[0]} px are too many for one window"
        raise InputError(sample.images[0], problem, "take `mode` sliding")
    settings = order.settings.of(shape)
    place = sample.folder.relative_to(order.source)
    return _Item(
        sample,
        shape,
        settings,
        order.target / place / f"{sample.id}_gt.png",
        stamp(*sample.images, order.weights, **asdict(settings) | computed),
        order.work / "scenes" / place / f"{sample.id}.tif",
        order.work / "maps" / place / f"{sample.id}.tif",
    )


def _check_free(order: Inference, items: list[_Item]) -> None:
    """Raises OutputError where a file would replace one that is not ours: labels are named like pictures."""
    for item in items:
        if item.annotation.exists() and not is_annotation(item.annotation, item.picture.name):
            problem = "is there already, and is no annotation by inference.py"
            raise OutputError(item.annotation, problem, "name another output folder, or move it away")
        for path in (item.picture, *([item.id_mask] if order.ids else [])):
            if path.exists() and not (_is_stamped(path) or _is_broken(path)):
                problem = "is there already, and was not written by inference.py"
                raise OutputError(path, problem, "name another output folder, or move it away")


def _is_stamped(picture: Path) -> bool:
    """Whether a picture is there that inference.py wrote."""
    try:
        return picture.exists() and STAMP in read_tags(picture)
    except InputError:
        return False


def _is_broken(picture: Path) -> bool:
    """Whether nothing can be read of a picture that is to be replaced: it is of no use to anybody."""
    try:
        read_tags(picture)
    except InputError:
        return True
    return False


def _is_done(order: Inference, item: _Item) -> bool:
    pictures = [item.picture, *([item.id_mask] if order.ids else [])]
    return all(up_to_date(path, item.mark) for path in pictures)


def _predict_all(
    order: Inference, checkpoint: Checkpoint, items: list[_Item], outcome: Outcome, skip: Callable
) -> None:
    # An engine is made ready for a shape of windows: those of one shape go together, and first those of the commonest,
    # since torch.compile takes eight of them.
    usual = Counter(item.window_shape for item in items)
    items = sorted(items, key=lambda item: (-usual[item.window_shape], item.window_shape))
    engine = _engine(order, checkpoint, items)
    total = sum(item.px for item in items)
    with Progress(total=total, unit="px", unit_scale=True, desc="predict") as bar:
        for item, scene in ahead(_prepared(order, checkpoint, items)):
            before = bar.n
            try:
                if isinstance(scene, InputError):
                    raise scene
                how = {"device": order.device, "batch_size": order.batch_size, "workers": order.workers}
                job = Job(order.weights, scene, item.labels, item.settings, **how)
                predict_scene(job, checkpoint, engine, bar)
                _write(order, item, checkpoint.legend)
            except InputError as error:
                skip(error)
            else:
                outcome.written += 1
            bar.update(before + item.px - bar.n)
            item.scene.unlink(missing_ok=True)
            item.labels.unlink(missing_ok=True)


def _prepared(
    order: Inference, checkpoint: Checkpoint, items: list[_Item]
) -> Iterator[tuple[_Item, Path | InputError]]:
    """Each sample with the raster to predict it from, or with what is wrong with it."""
    for item in items:
        try:
            yield item, _prepare(order, checkpoint, item)
        except InputError as error:
            yield item, error


def _prepare(order: Inference, checkpoint: Checkpoint, item: _Item) -> Path:
    remedy = "copy the checkpoint again, or train again"
    sar = read_settings(checkpoint.source, order.weights, remedy, CheckpointError) if checkpoint.source else None
    return prepare_scene(item.sample, sar, item.scene, order.workers)


def _engine(order: Inference, checkpoint: Checkpoint, items: list[_Item]) -> Engine:
    """One engine for all samples; a run that goes on takes the one that it began with."""
    device = find_device(order.device)
    precision = find_precision(order.settings.precision, device)
    kept = order.work / "engine"
    mark = stamp(order.weights, **asdict(order.settings), device=device.type)

    def look(items: list[_Item], count: int) -> Iterator[Seen]:
        """A window of each of `count` samples, spread over all."""
        for item in items[:: -(-len(items) // count)]:
            try:
                with open_image(_prepare(order, checkpoint, item)) as image:
                    yield from spread_samples(image, min(SIDE, item.settings.window), checkpoint.mean, 1)
            except InputError:  # said when its turn comes
                continue

    calibration = (pixels for pixels, _ in look(items, CALIBRATION))
    lines = kept_lines(kept, 2)
    if lines is not None and lines[0] == mark and is_label(lines[1]):
        name, precision = read_label(lines[1])
        return make_engine(name, checkpoint, device, precision, calibration)
    # Made ready for each shape of windows, it has to pay for itself with those of one: the commonest, which is first.
    usual = [item for item in items if item.window_shape == items[0].window_shape]
    megapixels = sum(item.window_px for item in usual) / 1e6
    how = {"calibration": calibration, "say": Progress.write}
    name, measured = order.settings.engine, lambda: list(look(usual, LOOKED_AT))
    choice = choose_engine(name, checkpoint, device, precision, measured, megapixels, **how)
    with whole_or_nothing(kept) as part:
        part.write_text(f"{mark}\n{choice.engine.label}", encoding="utf-8")
    return choice.engine


def _write(order: Inference, item: _Item, legend: Legend) -> None:
    """A sample's map as the files that are wanted. The picture is finished last: it says that all are there.

    Raises InputError, and leaves none of them, where there is nothing but no data.
    """
    tags = {STAMP: item.mark}
    colors = np.zeros((256, 3), np.uint8)
    colors[NODATA] = NODATA_COLOR
    colors[: len(legend)] = [land_class.color for land_class in legend.classes]
    any_valid = False
    if not order.ids and _is_stamped(item.id_mask):  # of an earlier run, with other weights or settings
        item.id_mask.unlink()
    with open_labels(item.labels) as labels, ExitStack() as stack:
        picture = stack.enter_context(PngWriter(item.picture, *labels.shape, bands=3, tags=tags))
        mask = stack.enter_context(PngWriter(item.id_mask, *labels.shape, tags=tags)) if order.ids else None
        for first, end in strips(labels.height, TILE):
            ids = labels.read_label_rows(first, end)
            any_valid |= bool((ids != NODATA).any())
            picture.write(colors[ids])
            if mask:
                mask.write(ids)
        if not any_valid:
            problem = "has no valid pixel: all are transparent or nodata"
            raise InputError(item.sample.images[0], problem, "check the file")
        _annotate(order, item)


def _annotate(order: Inference, item: _Item) -> None:
    content = order.annotation.xml(item.sample, item.picture.name)
    if item.annotation.exists() and item.annotation.read_bytes() == content:
        return
    with whole_or_nothing(item.annotation) as part:
        part.write_bytes(content)
