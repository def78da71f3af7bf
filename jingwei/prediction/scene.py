"""From a tiled scene and a checkpoint to a label map, band by band, and on from where a run was stopped.

Finished bands lie in a folder `.NAME.parts` beside the map until all are there; then the map is put together from them,
whole or not at all. What is kept of an earlier run is used where scene, weights, settings and version are the same.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from jingwei.errors import CheckpointError, SettingError
from jingwei.grid import Window, strips
from jingwei.legend import NODATA
from jingwei.models.checkpoints import Checkpoint, check_type, load_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.blending import Bands, Finished, blended
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.choosing import (
    AUTO,
    SIDE,
    Sample,
    calibration_windows,
    choose_engine,
    is_label,
    read_label,
    spread_samples,
)
from jingwei.prediction.engines.registry import ENGINES, make_engine
from jingwei.prediction.engines.views import TTA, Viewer
from jingwei.raster.map_legend import legend_tags
from jingwei.raster.reading import Raster, open_image
from jingwei.raster.stamps import SCORE, STAMP, stamp, up_to_date
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter
from jingwei.system.atomic import only_run, whole_or_nothing
from jingwei.system.own_files import kept_lines
from jingwei.system.prefetch import ahead, behind
from jingwei.system.progress import Progress
from jingwei.system.scheduling import Cluster, Here, Task


@dataclass(frozen=True)
class PredictSettings:
    """How a scene is predicted. `window` and `overlap` in px; `tta` one of TTA; `engine` auto or one of ENGINES."""

    window: int = 1024
    overlap: int = 256
    tta: str = "none"
    precision: str = "auto"
    engine: str = "auto"

    def check(self) -> "PredictSettings":
        """The settings themselves, or a SettingError."""
        if self.window < 32 or not 0 <= self.overlap < self.window:
            problem = f"{self.window} with `overlap` {self.overlap}"
            raise SettingError("`window`", problem, "take 32 px or more, and an overlap below that")
        if self.tta not in TTA:
            raise SettingError(f"`tta` {self.tta}", "no such augmentation", f"known are {', '.join(TTA)}")
        if self.engine not in (AUTO, *ENGINES):
            raise SettingError(f"`engine` {self.engine}", "no such engine", f"known are {AUTO}, {', '.join(ENGINES)}")
        return self


@dataclass(frozen=True)
class Job:
    """A map to be made: all that a machine needs to know to take a share of the work.

    `probabilities` is where the class probabilities go, None keeps none. `batch_size` 0 takes 1 window at a time on a
    CPU, 8 on a GPU. `crops` are training crops, which only the engine openvino-int8 looks at. `originals` are the files
    that the scene is, where `source` is but a copy of it that any window can be read from.
    """

    weights: Path
    source: Path
    target: Path
    settings: PredictSettings
    probabilities: Path | None = None
    device: str = "auto"
    batch_size: int = 0
    workers: int = 1
    crops: tuple[Path, ...] = ()
    originals: tuple[Path, ...] = ()

    @property
    def parts(self) -> Path:
        """The folder of finished bands, while the map is not whole."""
        return self.target.with_name(f".{self.target.stem}.parts")

    @property
    def mark(self) -> str:
        """What its outputs are stamped with. Raises SettingError where this machine can't do it."""
        device = find_device(self.device)
        precision = str(find_precision(self.settings.check().precision, device))
        settings = asdict(self.settings) | {"precision": precision, "device": device.type}
        return stamp(*(self.originals or (self.source,)), self.weights, **settings)

    def is_done(self, mark: str) -> bool:
        """Whether its outputs are there, made of the same files in the same way."""
        outputs = [self.target] + ([self.probabilities] if self.probabilities else [])
        return all(up_to_date(path, mark) for path in outputs)


@dataclass(frozen=True)
class Plan:
    """What is left to do of a job: its outputs' stamp, its engine's label, the numbers of the missing bands."""

    mark: str
    engine: str
    bands: Bands
    missing: tuple[int, ...]


def predict_scene(
    job: Job, checkpoint: Checkpoint | None = None, engine: Engine | None = None, bar: Progress | None = None
) -> bool:
    """Makes a job's map on this machine. False where that was done before.

    The map is uint8, tiled, with the legend's colours and the scene's georeference; invalid pixels are NODATA. The
    probabilities are uint8, a band per class, 255 for 1, and 0 in all bands where the scene is invalid. Raises
    CheckpointError where the scene has other bands than the network, OutputError where another run makes the same map.

    Who has many small scenes gives an `engine` of the checkpoint, which is taken unless another one has begun the map,
    and a `bar` for all of them, in px.
    """
    with only_run(job.parts):
        checkpoint = checkpoint or load_checkpoint(job.weights)
        plan, engine = _prepare(job, checkpoint, engine)
        if plan is None:
            return False
        total = plan.bands.height * plan.bands.width
        title = f"predict {job.source.stem} by {job.target.stem}"
        shown = nullcontext(bar) if bar is not None else Progress(total=total, unit="px", unit_scale=True, desc=title)
        with shown as bar:
            bar.update(total - sum(_area(plan.bands.window(number)) for number in plan.missing))
            for first, end in runs_of(plan.missing):
                for number in predict_bands(job, plan, range(first, end), checkpoint, engine):
                    bar.update(_area(plan.bands.window(number)))
        assemble(job, plan, checkpoint)
        return True


def prepare(job: Job, checkpoint: Checkpoint | None = None) -> Plan | None:
    """Looks at what is done. None where the map is up to date; clears what other settings have left behind."""
    return _prepare(job, checkpoint or load_checkpoint(job.weights))[0]


def _prepare(job: Job, checkpoint: Checkpoint, engine: Engine | None = None) -> tuple[Plan | None, Engine | None]:
    """`prepare`, and the engine to go on with: the given one, or one that was made on the way; None leaves it to do."""
    settings = job.settings.check()
    device = find_device(job.device)
    precision = find_precision(settings.precision, device)
    mark = job.mark
    if job.is_done(mark):
        shutil.rmtree(job.parts, ignore_errors=True)
        return None, None
    with open_image(job.source) as image:
        check_scene(checkpoint, job.weights, image)
        bands = Bands.of(image.shape, settings.window, settings.overlap)
    kept = job.parts / "stamp"
    lines = kept_lines(kept, 2)
    if lines is None or lines[0] != mark or not is_label(lines[1]):
        shutil.rmtree(job.parts, ignore_errors=True)
        engine = engine or _choose(job, checkpoint, bands, device, precision)
        with whole_or_nothing(kept) as part:
            part.write_text(f"{mark}\n{engine.label}", encoding="utf-8")
        lines = [mark, engine.label]
    label = lines[1]  # the one that has begun goes on: another would leave a seam
    missing = (n for n in range(len(bands)) if not all(p.exists() for p in _part_files(job, n)))
    return Plan(mark, label, bands, tuple(missing)), engine if engine and engine.label == label else None


def check_scene(checkpoint: Checkpoint, weights: Path, image: Raster) -> None:
    """Raises CheckpointError where a scene has other bands, or pixels of another type, than the network."""
    if image.bands != checkpoint.spec.bands:
        problem = f"was trained on {checkpoint.spec.bands} bands, but {image.path.name} has {image.bands}"
        raise CheckpointError(weights, problem, "take scenes of the same bands, or train again")
    if not checkpoint.source:  # radar comes as decibels, whatever its files hold
        check_type(checkpoint, weights, image.path, image.dtype.name)


def predict_bands(
    job: Job, plan: Plan, numbers: range, checkpoint: Checkpoint | None = None, engine: Engine | None = None
) -> Iterator[int]:
    """Computes bands of a job that `prepare` has looked at, and gives the number of each that is on the disk."""
    device = find_device(job.device)
    checkpoint = checkpoint or load_checkpoint(job.weights)
    if engine is None:
        name, precision = read_label(plan.engine)
        calibration = calibration_windows(job.crops, job.source, checkpoint.mean)
        engine = make_engine(name, checkpoint, device, precision, calibration)
    network = Viewer(engine, job.settings.tta)
    batch_size = job.batch_size or (8 if device.type == "cuda" else 1)
    written: list[int] = []

    def keep(band: Finished) -> None:
        for path, pixels in zip(_part_files(job, band.number), (band.labels[None], band.probabilities), strict=False):
            _, *shape = pixels.shape
            with TiledWriter(path, *shape, bands=len(pixels), workers=1) as writer:
                writer.write(Window(0, 0, *shape), pixels)
        written.append(band.number)

    with open_image(job.source) as image, behind(keep) as hand_over:
        how = {"batch_size": batch_size, "with_probabilities": job.probabilities is not None}
        mean = np.array(checkpoint.mean)  # what the network sees as 0
        for band in blended(image, plan.bands, numbers, network, checkpoint.spec.classes, mean, **how):
            hand_over(band)
            while written:
                yield written.pop(0)
    yield from written


def assemble(job: Job, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
    """Puts the map, and the probabilities where wanted, together from their bands, and clears those."""
    checkpoint = checkpoint or load_checkpoint(job.weights)
    tags = {STAMP: plan.mark, SCORE: str(checkpoint.score)} | legend_tags(checkpoint.legend)
    outputs = [(job.target, 1, {"nodata": NODATA, "colormap": checkpoint.legend.colormap()})]
    if job.probabilities:
        outputs.append((job.probabilities, checkpoint.spec.classes, {"nodata": 0}))
    with open_image(job.source) as image:
        for number, (path, count, kind) in enumerate(outputs):
            parts = [_part_files(job, band)[number] for band in range(len(plan.bands))]
            how = {"like": image, "bands": count, "workers": job.workers, "tags": tags}
            with TiledWriter(path, *image.shape, **how, **kind) as writer:
                for first, pixels in ahead(_mosaic(parts, plan.bands, count)):
                    writer.write(Window(first, 0, *pixels.shape[1:]), pixels)
    shutil.rmtree(job.parts, ignore_errors=True)


def predict(jobs: Iterable[Job], scheduler: Here | Cluster) -> Iterator[tuple[Job, bool]]:
    """`predict_scene` for many jobs, on a cluster their bands shared out. Gives each job when it is done.

    On a cluster, device and precision `auto` are what the worker has that prepares a job.
    """
    if isinstance(scheduler, Here):
        yield from ((job, predict_scene(job)) for job in jobs)
    else:
        yield from _predict_on(scheduler, jobs)


def _predict_on(cluster: Cluster, jobs: Iterable[Job]) -> Iterator[tuple[Job, bool]]:
    waiting = iter(jobs)
    left: dict[Job, int] = {}  # bands of the jobs under way that are not on the disk yet
    with ExitStack() as stack, Progress(total=0, unit="px", unit_scale=True, desc="predict") as bar:
        locks: dict[Job, ExitStack] = {}

        def begin() -> Iterator[Task]:
            for job in islice(waiting, 1):
                locks[job] = stack.enter_context(ExitStack())
                locks[job].enter_context(only_run(job.parts))
                yield Task(prepare, (job,))

        def follow(task: Task, result) -> Iterator[Task]:
            job, *rest = task.arguments
            if task.function is prepare and result is not None:
                left[job] = len(result.missing)
                bar.total += sum(_area(result.bands.window(number)) for number in result.missing)
                # Shares of several bands: the windows above each share are computed twice.
                longest = max(4, -(-len(result.missing) // (2 * cluster.workers)))
                yield from (Task(compute, (job, result, range(*run))) for run in runs_of(result.missing, longest))
            elif task.function is compute:
                plan, numbers = rest
                left[job] -= len(numbers)
                bar.update(sum(_area(plan.bands.window(number)) for number in numbers))
            if task.function is assemble or (task.function is prepare and result is None):
                locks.pop(job).close()
                yield from begin()
            elif left[job] == 0:
                yield Task(assemble, (job, result if task.function is prepare else rest[0]))

        # So many at once that no worker waits while another ends a job's last band; not all, each holds files.
        first = [task for _ in range(2 * cluster.workers) for task in begin()]
        for task, result in cluster.run(first, follow):
            if task.function is assemble:
                yield task.arguments[0], True
            elif task.function is prepare and result is None:
                yield task.arguments[0], False


def compute(job: Job, plan: Plan, numbers: range) -> None:
    """`predict_bands`, to the end."""
    for _ in predict_bands(job, plan, numbers):
        pass


def runs_of(numbers: tuple[int, ...], longest: int | None = None) -> list[tuple[int, int]]:
    """Rising numbers as runs (first, behind the last), of at most `longest`: (1, 2, 3, 7) -> [(1, 4), (7, 8)]."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number and (longest is None or number - runs[-1][0] < longest):
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


def _choose(job: Job, checkpoint: Checkpoint, bands: Bands, device: torch.device, precision: torch.dtype) -> Engine:
    """The engine that predicts a job's scene."""
    settings = job.settings
    windows = len(bands.rows) * len(bands.cols) * len(TTA[settings.tta])

    def look() -> list[Sample]:
        with open_image(job.source) as image:
            return spread_samples(image, min(SIDE, settings.window), checkpoint.mean)

    calibration = calibration_windows(job.crops, job.source, checkpoint.mean)
    megapixels = windows * settings.window**2 / 1e6
    how = {"calibration": calibration, "say": Progress.write}
    return choose_engine(settings.engine, checkpoint, device, precision, look, megapixels, **how).engine


def _mosaic(parts: list[Path], bands: Bands, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """The scene's rows, top to bottom, from its bands: (first row, pixels_CHW)."""
    height, width = (bands.width, bands.height) if bands.turned else (bands.height, bands.width)
    windows = [bands.window(number) for number in range(len(bands))]
    with ExitStack() as stack:
        opened: dict[int, Raster] = {}
        for first, end in strips(height, TILE):
            pixels = np.empty((count, end - first, width), np.uint8)
            strip = Window(first, 0, end - first, width)
            for number, window in enumerate(windows):
                shared = window.overlap(strip)
                if shared is None:
                    continue
                if number not in opened:
                    opened[number] = stack.enter_context(Raster(parts[number]))
                part, _ = opened[number].read(shared.relative_to(window.row, window.col))
                pixels[:, *shared.relative_to(first, 0).slices] = part
            yield first, pixels


def _part_files(job: Job, number: int) -> list[Path]:
    """Where a band is kept: its labels, and its probabilities where wanted."""
    names = [f"{number:05d}.tif"] + ([f"{number:05d}_probabilities.tif"] if job.probabilities else [])
    return [job.parts / name for name in names]


def _area(window: Window) -> int:
    return window.height * window.width
