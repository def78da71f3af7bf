"""One scene, as its file is, to one map: no folders to keep to."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jingwei.errors import InputError, JingweiError, SettingError
from jingwei.inputs.samples import Sample
from jingwei.inputs.sar import CHANNELS, SarSettings
from jingwei.models.checkpoints import Checkpoint
from jingwei.prediction.fitting import check_scene, open_fitting
from jingwei.prediction.job import Job
from jingwei.prediction.prepare_sample import prepare_scene
from jingwei.prediction.scene import predict_scene
from jingwei.system.atomic import refuse_non_file, refuse_twins


def predict_file(scene: Path | Sequence[Path], job: Job, checkpoint: Checkpoint) -> bool:
    """Makes a job's map of a scene of any kind; the job's `source` is found here. False where that was done before.

    `scene` is an optical file, or of a radar network the file of HH, beside which the three others lie, or all four. A
    file of which no window can be read at once is copied into tiles beside the map first; the copy goes when the map is
    made, or can't be. Raises as `predict_scene` does, and InputError for files that are missing.
    """
    images = _files(scene, bool(checkpoint.source))
    job = replace(job, originals=images)
    _check_outputs(job)
    if job.is_done(job.mark):
        job.write_styles()
        return False
    if not checkpoint.source:
        with open_fitting(images[0], checkpoint) as image:
            check_scene(checkpoint, job.weights, image)
    copy = job.target.with_name(f".{job.target.stem}.scene.tif")
    sar = SarSettings(**checkpoint.source) if checkpoint.source else None
    try:
        source = prepare_scene(Sample(images[0].stem, images), sar, copy, job.workers)
        fresh = predict_scene(replace(job, source=source), checkpoint)
    except JingweiError:
        copy.unlink(missing_ok=True)
        raise
    job.write_styles()
    copy.unlink(missing_ok=True)  # a run that was stopped leaves it, and goes on from it
    return fresh


def _check_outputs(job: Job) -> None:
    """Raises an error where an output can't be a file, or would take the place of what the map is made of."""
    inputs = {path.resolve() for path in (*job.originals, job.weights)}
    for path in job.outputs.values():
        refuse_non_file(path)
        if path.resolve() in inputs:
            raise SettingError(path, "is an input and an output at once", "write the result elsewhere")
    refuse_twins(job.outputs.values())


def _files(scene: Path | Sequence[Path], radar: bool) -> tuple[Path, ...]:
    """The files of a scene: one, or those of the four channels of radar in their order."""
    files = (Path(scene),) if isinstance(scene, str | Path) else tuple(map(Path, scene))
    files = _channels(files) if radar else files
    wanted = len(CHANNELS) if radar else 1
    if len(files) != wanted:
        kind = f"a radar network takes four, of {', '.join(CHANNELS)}" if radar else "an optical network takes one"
        raise InputError(files[0] if files else "`scene`", f"is {len(files)} files, but {kind}", "name these")
    for file in files:
        if not file.exists() and not str(file).startswith("/vsi"):
            raise InputError(file, "no such file", "check the path")
    return files


def _channels(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Radar files in the order of CHANNELS, by their names (lists of files come in any); of one, those beside it too.

    Names that say nothing leave the order as it is. Raises InputError where two files are of one channel.
    """
    names = [re.fullmatch(rf"(.+_)({'|'.join(CHANNELS)})", file.stem, re.IGNORECASE) for file in files]
    found = [name[2].upper() for name in names if name]
    if len(found) < len(files) or not files:
        return files
    if len(files) == 1 and names[0]:
        start, given = names[0].groups()
        members = [channel.lower() if given.islower() else channel for channel in CHANNELS]
        return tuple(files[0].with_name(f"{start}{member}{files[0].suffix}") for member in members)
    twice = next((number for number, channel in enumerate(found) if channel in found[:number]), None)
    if twice is not None:
        first = files[found.index(found[twice])]
        raise InputError(files[twice], f"is of the channel {found[twice]}, as {first.name} is", "name one of each")
    return tuple(file for _, file in sorted(zip(map(CHANNELS.index, found), files, strict=True)))
