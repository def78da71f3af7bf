"""From a tiled scene and a checkpoint to a label map, band by band, and on from where a run was stopped.

Finished bands go to the map, which is there when all are, and to a folder `.NAME.parts` beside it until then. What is
kept there of an earlier run is used where scene, weights, settings and version are the same.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from jingwei.errors import CheckpointError
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.bands import Bands
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
from jingwei.prediction.engines.views import Viewer
from jingwei.prediction.fitting import check_scene, note_on_bands, open_fitting
from jingwei.prediction.job import Job, Plan, runs_of
from jingwei.prediction.outputs import Outputs, keep_band, kept_band
from jingwei.prediction.pipeline import Finished, predicted_bands
from jingwei.prediction.views import TTA
from jingwei.raster.checksums import is_whole
from jingwei.raster.identity import identity
from jingwei.raster.shared import SharedRaster
from jingwei.system.atomic import make_own_folder, only_run, remove, whole_or_nothing
from jingwei.system.own_files import kept_lines
from jingwei.system.prefetch import behind
from jingwei.system.progress import Progress

MOST_READERS = 4  # threads that read windows for a GPU: each has two batches of them in memory


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
        with shown as bar, Outputs(job, plan, checkpoint) as outputs:

            def put_away(band: Finished | int) -> None:
                if isinstance(band, Finished):
                    keep_band(job, band)
                else:
                    band = kept_band(job, band)
                outputs.write(band)
                bar.update(plan.px_of([band.number]))

            with behind(put_away) as hand_over:
                for band in _all_bands(job, plan, checkpoint, engine):
                    hand_over(band)
        remove(job.parts)
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
        bands = job.bands(image.shape)
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
    plan = Plan(mark, label, bands, tuple(missing), identity(job.weights))
    return plan, engine if engine and engine.label == label else None


def predict_bands(job: Job, plan: Plan, numbers: range) -> Iterator[int]:
    """Computes bands of a job that `prepare` has looked at, and gives the number of each that is on the disk."""
    written: list[int] = []

    def put_away(band: Finished) -> None:
        keep_band(job, band)
        written.append(band.number)

    checkpoint = _planned_network(job, plan)
    with behind(put_away) as hand_over:
        for band in _computed(job, plan, numbers, checkpoint, None):
            hand_over(band)
            while written:
                yield written.pop(0)
    yield from written


def assemble(job: Job, plan: Plan) -> None:
    """Puts the map, and what else is wanted, together from their bands, and clears those."""
    with Outputs(job, plan, _planned_network(job, plan)) as outputs:
        for number in range(len(plan.bands)):
            outputs.write(kept_band(job, number))
    remove(job.parts)


def _planned_network(job: Job, plan: Plan) -> Checkpoint:
    """A job's network. CheckpointError where its file is another than when it was planned: a map has one network."""
    checkpoint = load_checkpoint(job.weights)
    if identity(job.weights) != plan.weights:
        problem = f"has changed since {job.target.name} was begun with it"
        raise CheckpointError(job.weights, problem, "run the command again when its training is over")
    return checkpoint


def _all_bands(job: Job, plan: Plan, checkpoint: Checkpoint, engine: Engine | None) -> Iterator[Finished | int]:
    """The bands of a map in their order: the missing ones, and the numbers of the others, which are on the disk."""
    done = 0
    for first, end in runs_of(plan.missing):
        yield from range(done, first)
        yield from _computed(job, plan, range(first, end), checkpoint, engine)
        done = end
    yield from range(done, len(plan.bands))


def _computed(
    job: Job, plan: Plan, numbers: range, checkpoint: Checkpoint, engine: Engine | None
) -> Iterator[Finished]:
    """Bands as they come from the network."""
    device = find_device(job.device)
    if engine is None:
        name, precision = read_label(plan.engine)
        calibration = calibration_windows(job.crops, job.source, checkpoint)
        engine = make_engine(name, checkpoint, device, precision, calibration)
    network, classes = Viewer(engine, job.settings.tta), checkpoint.spec.classes
    mean = np.array(checkpoint.mean)  # what the network sees as 0
    readers = min(job.workers, MOST_READERS) if network.in_flight else 1  # else the network has all cores
    how: dict[str, Any] = {"batch_size": job.batch_size or (8 if device.type == "cuda" else 1), "readers": readers}
    how |= {"temperature": checkpoint.temperature, "kinds": tuple(job.outputs)}
    with SharedRaster(lambda: open_fitting(job.source, checkpoint), readers) as image:
        yield from predicted_bands(image.read, plan.bands, numbers, network, classes, mean, **how)


def _choose(job: Job, checkpoint: Checkpoint, bands: Bands, device: torch.device, precision: torch.dtype) -> Engine:
    """The engine that predicts a job's scene."""
    settings = job.settings
    windows = bands.window_count * len(TTA[settings.tta])

    def look() -> list[Trial]:
        with open_fitting(job.source, checkpoint) as image:
            return trial_windows(image, min(SIDE, settings.window), checkpoint.mean)

    calibration = calibration_windows(job.crops, job.source, checkpoint)
    megapixels = windows * settings.window**2 / 1e6
    how = {"calibration": calibration, "say": Progress.write}
    return choose_engine(settings.engine, checkpoint, device, precision, look, megapixels, **how).engine
