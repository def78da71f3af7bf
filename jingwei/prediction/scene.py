"""From a tiled scene and a checkpoint to a label map, band by band, and on from where a run was stopped.

Finished bands lie in a folder `.NAME.parts` beside the map until all are there; then the map is put together from them,
whole or not at all. What is kept of an earlier run is used where scene, weights, settings and version are the same.
"""

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jingwei.grid import Window, strips
from jingwei.legend import NODATA
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.blending import Bands, Finished, blended
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.choosing import (
    SIDE,
    Trial,
    calibration_windows,
    choose_engine,
    is_label,
    read_label,
    trial_windows,
)
from jingwei.prediction.engines.registry import make_engine
from jingwei.prediction.engines.views import TTA, Viewer
from jingwei.prediction.fitting import check_scene, note_on_bands, open_fitting
from jingwei.prediction.job import Job, Plan, runs_of
from jingwei.raster.checksums import is_whole
from jingwei.raster.map_legend import legend_tags
from jingwei.raster.reading import Raster, open_image
from jingwei.raster.stamps import CONFIDENCE, SCORE, STAMP
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter
from jingwei.system.atomic import make_own_folder, only_run, remove, whole_or_nothing
from jingwei.system.own_files import kept_lines
from jingwei.system.prefetch import ahead, behind
from jingwei.system.progress import Progress


def predict_scene(
    job: Job, checkpoint: Checkpoint | None = None, engine: Engine | None = None, bar: Progress | None = None
) -> bool:
    """Makes a job's map on this machine. False where that was done before.

    The map is uint8, tiled, with the legend's colours and the scene's georeference; invalid pixels are NODATA. The
    probabilities are uint8, a band per class, 255 for 1, and 0 in all bands where the scene is invalid; the confidence
    is the label's probability, uint8, 0 to 100, NODATA where the scene is invalid. Raises
    CheckpointError where the scene has other bands than the network, OutputError where another run makes the same map.

    Who has many small scenes gives an `engine` of the checkpoint, which is taken unless another one has begun the map,
    and a `bar` for all of them, in px.
    """
    with only_run(job.parts):
        checkpoint = checkpoint or load_checkpoint(job.weights)
        plan, engine = _prepare(job, checkpoint, engine)
        if plan is None:
            return False
        if bar is None and (note := note_on_bands(job.source, checkpoint)):
            Progress.write(f"{job.source}: {note}")
        total = plan.bands.height * plan.bands.width
        title = f"predict {job.source.stem} by {job.target.stem}"
        shown = nullcontext(bar) if bar is not None else Progress(total=total, unit="px", unit_scale=True, desc=title)
        with shown as bar:
            bar.update(total - plan.px_of(plan.missing))
            for first, end in runs_of(plan.missing):
                for number in predict_bands(job, plan, range(first, end), checkpoint, engine):
                    bar.update(plan.px_of([number]))
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
        job.remove_stale(mark)
        remove(job.parts)
        return None, None
    with open_fitting(job.source, checkpoint) as image:
        check_scene(checkpoint, job.weights, image)
        bands = Bands.of(image.shape, settings.window, settings.overlap)
    make_own_folder(job.parts)
    kept = job.parts / "stamp"
    lines = kept_lines(kept, 2)
    if lines is None or lines[0] != mark or not is_label(lines[1]):
        remove(job.parts)
        engine = engine or _choose(job, checkpoint, bands, device, precision)
        with whole_or_nothing(kept) as part:
            part.write_text(f"{mark}\n{engine.label}", encoding="utf-8")
        lines = [mark, engine.label]
    label = lines[1]  # the one that has begun goes on: another would leave a seam
    # What a power cut or a bad disk has broken is made again.
    missing = (n for n in range(len(bands)) if not all(map(is_whole, job.files_of(n).values())))
    return Plan(mark, label, bands, tuple(missing)), engine if engine and engine.label == label else None


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
        for kind, path in job.files_of(band.number).items():
            values = getattr(band, kind)
            pixels = values if values.ndim == 3 else values[None]
            _, *shape = pixels.shape
            with TiledWriter(path, *shape, bands=len(pixels), workers=1, durable=False) as writer:
                writer.write(Window(0, 0, *shape), pixels)
        written.append(band.number)

    with open_fitting(job.source, checkpoint) as image, behind(keep) as hand_over:
        how = {"batch_size": batch_size, "temperature": checkpoint.temperature}
        how |= {f"with_{kind}": kind in job.outputs for kind in ("probabilities", "confidence")}
        mean = np.array(checkpoint.mean)  # what the network sees as 0
        for band in blended(image, plan.bands, numbers, network, checkpoint.spec.classes, mean, **how):
            hand_over(band)
            while written:
                yield written.pop(0)
    yield from written


def assemble(job: Job, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
    """Puts the map, and what else is wanted, together from their bands, and clears those."""
    checkpoint = checkpoint or load_checkpoint(job.weights)
    tags = {STAMP: plan.mark, SCORE: str(checkpoint.score)} | legend_tags(checkpoint.legend)
    said = f"probability, temperature {checkpoint.temperature:g}" if checkpoint.calibration else "probability"
    forms = {
        "labels": {"nodata": NODATA, "colormap": checkpoint.legend.colormap()},
        "confidence": {"nodata": NODATA, "tags": tags | {CONFIDENCE: said}},
        "probabilities": {"nodata": 0, "bands": checkpoint.spec.classes, "band_names": checkpoint.legend.names},
    }
    job.remove_stale(plan.mark)  # first: a new map never stands beside the confidence of an old one
    with open_image(job.source) as image:
        for kind, path in job.outputs.items():
            parts = [job.files_of(band)[kind] for band in range(len(plan.bands))]
            form: dict[str, Any] = {"like": image, "bands": 1, "workers": job.workers, "tags": tags} | forms[kind]
            with TiledWriter(path, image.height, image.width, overviews=True, **form) as writer:
                for first, pixels in ahead(_mosaic(parts, plan.bands, form["bands"])):
                    writer.write(Window(first, 0, *pixels.shape[1:]), pixels)
    remove(job.parts)


def _choose(job: Job, checkpoint: Checkpoint, bands: Bands, device: torch.device, precision: torch.dtype) -> Engine:
    """The engine that predicts a job's scene."""
    settings = job.settings
    windows = len(bands.rows) * len(bands.cols) * len(TTA[settings.tta])

    def look() -> list[Trial]:
        with open_fitting(job.source, checkpoint) as image:
            return trial_windows(image, min(SIDE, settings.window), checkpoint.mean)

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
