"""A run of system B: from a config file, or a checkpoint to go on from, to a trained network in a folder of its own."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jingwei.configs.config import Config
from jingwei.crops.prepare import picture_sides, prepare_training
from jingwei.crops.table import notes_on_classes
from jingwei.errors import CheckpointError, SettingError
from jingwei.inputs.samples import IMAGE_FOLDERS, VALID_FOLDERS
from jingwei.models.checkpoints import load_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.system.atomic import only_run, write_failure
from jingwei.system.machine import cores
from jingwei.training import distributed, experiments, loop
from jingwei.training.recipes import Recipe
from jingwei.training.run_files import Keeping
from jingwei.training.start import Start


@dataclass(frozen=True)
class ConfigOptions:
    """How a config is run on this machine; see `loop.RunOptions`."""

    device: str = "auto"
    compile: bool = False
    resume: Path | None = None
    weights: Path | str | None = None  # in place of the config's
    skip_bad_steps: int = 0
    weights_bands: str = ""


def train_config(config: Config, options: ConfigOptions, say: Callable[[str], None] = print) -> Keeping:
    """Prepares the data of a config and trains on it, in a new folder or in that of the checkpoint to go on from.

    Under torchrun all processes call it and train together. What is good to know goes to `say`. Raises SettingError,
    CheckpointError and InputError before anything is prepared, as far as mistakes can be seen then.
    """
    say = say if distributed.leads() else _silent
    weights: dict[str, Any] = {"weights": config.weights, "weights_bands": config.weights_bands}
    if options.weights is not None:
        weights = {"weights": options.weights, "weights_bands": options.weights_bands}
    if not options.resume:
        Start(weights["weights"], bands=weights["weights_bands"]).check()
    # Mistakes in these are found before the data is looked through; the training checks them again.
    find_precision(config.recipe.precision, find_device(options.device))
    if options.resume:
        load_checkpoint(options.resume)
    if config.base_size:
        config = config.fitted(picture_sides(config.data))
        for line in _notes_on_scales(config.recipe):
            say(line)
    workers = min(8, max(1, cores() - 1)) if config.workers is None else config.workers
    # Processes of a team, and runs on the same data, take turns: the first prepares it, the others find it done.
    with only_run(config.cache.with_name(f"{config.cache.name}.turn"), wait=True):
        workspace = prepare_training(config.data, config.cache, cores())
    data = experiments.read_training_data(workspace)
    config.check_bands(data.bands)
    for line in notes_on_classes([*data.training, *data.validation], data.legend, config.trainer.val):
        say(line)
    how: dict[str, Any] = {"compile": options.compile, "resume": options.resume} | weights
    how |= {"device": options.device, "workers": workers, "skip_bad_steps": options.skip_bad_steps}
    with _folder_of_run(config, options.resume) as folder:
        keeping = _keeping(config, folder)
        loop.run(workspace, config.recipe, keeping, loop.RunOptions(**how))
    return keeping


def _silent(line: str) -> None:
    pass


def _keeping(config: Config, folder: Path) -> Keeping:
    trainer = config.trainer
    return Keeping(
        folder,
        ".pth",
        config.events(folder),
        trainer.tensorboard,
        trainer.save_period,
        trainer.log_per_iter,
        json.dumps(config.content, indent=4, ensure_ascii=False),
    )


def check_resume(resume: Path | None) -> None:
    """CheckpointError where a checkpoint to go on from is not a file."""
    if resume and resume.is_dir():
        raise CheckpointError(resume, "is a folder, not a file", "name a checkpoint in it, such as last.pth")
    if resume and not resume.is_file():
        raise CheckpointError(resume, "no such file", "give a last.pth under saved/")


def kept_config(resume: Path) -> Path:
    """The config file that a run keeps beside its checkpoints."""
    kept = resume.with_name("config.json")
    if not kept.is_file():
        raise SettingError(
            f"`resume` {resume}", "no config.json lies beside it", "name the run's config file with `config`"
        )
    return kept


@contextlib.contextmanager
def _folder_of_run(config: Config, resume: Path | None) -> Iterator[Path]:
    """The folder of a run that goes on, or a new one, which is taken away again where a run left nothing in it."""
    folder = resume.parent if resume else fresh_folder(config.runs)
    try:
        yield folder
    finally:
        if distributed.leads() and not resume:
            with contextlib.suppress(OSError):
                folder.rmdir()


def fresh_folder(runs: Path) -> Path:
    """A new folder for a run, named by the time, and made at once: runs that begin in the same second have one each.

    The leader of a team makes it; the others write nothing. Raises OutputError where it can't be made.
    """
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    number, folder = 1, runs / name
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while folder.exists() or (distributed.leads() and not _made(folder)):
            number += 1
            folder = runs / f"{name}-{number}"
    except OSError as error:
        raise write_failure(runs, error) from error
    return folder


def _made(folder: Path) -> bool:
    """Makes a folder; False where another run was quicker."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def samples_to_predict(root: Path) -> Path:
    """The samples of a data set to look at after the training: those to test on, else those of the validation."""
    validation = [root / side for side in VALID_FOLDERS]
    places = (root / "test", *(place / name for place in validation for name in IMAGE_FOLDERS), *validation)
    return next((place for place in places if place.is_dir()), root)


def _notes_on_scales(recipe: Recipe) -> list[str]:
    """A line where windows are seen at other scales than pictures are scored and predicted at."""
    if recipe.min_scale <= 1 <= recipe.max_scale:
        return []
    scales = f"{recipe.min_scale:.3g} to {recipe.max_scale:.3g}"
    return [f"windows are seen at scales of {scales}, but pictures are scored and predicted as they are"]
