"""Training once more, on all labels: what a validated experiment has found out is taken over, and nothing is validated.

Its settings stay, and so do the steps of an epoch; the epochs are as many as its best one took. Since there is no
validation, the last epoch counts, and the temperature is that of the validated experiment.
"""

import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from jingwei.errors import SettingError
from jingwei.models.checkpoints import load_checkpoint
from jingwei.system.progress import Progress
from jingwei.training.distributed import leads
from jingwei.training.experiments import TrainingData, find_experiment
from jingwei.training.recipes import Recipe, read_recipe
from jingwei.workspace import Workspace

ALL_LABELS = "+validation"  # what the stamp of crops ends with, where those for validation were trained on too


def refit_recipe(workspace: Workspace, recipe: str, exp: str, given: Collection[str] = ()) -> Recipe:
    """The recipe by which an experiment is trained again on all labels.

    An average of cycles takes all epochs: the cycles' ends are what it is made of. Raises SettingError for an
    experiment that is not there, and where settings are `given` (their names) beside its own.
    """
    if given:
        problem = f"takes all settings from {exp}, but these are given too: {', '.join(given)}"
        raise SettingError(f"`refit` {exp}", problem, "leave them out")
    folder = find_experiment(workspace, recipe, exp)
    validated = read_recipe(folder / "recipe.json")
    epochs = validated.epochs
    if not validated.average_cycles:
        state = load_checkpoint(folder / "last.pt").training or {}
        best, done = state.get("best_epoch", epochs), state.get("epoch", epochs)
        stopped_early = 0 < validated.early_stop <= done - 1 - best
        if done < epochs and not stopped_early and leads():
            problem = f"was stopped after {done} of its {epochs} epochs, so its best may be yet to come"
            Progress.write(f"warning: {folder}: {problem}: let it end first", file=sys.stderr)
        epochs = min(epochs, best + 1)
    return replace(validated, epochs=epochs, val_period=0, monitor="off", early_stop=0)


def with_all_labels(data: TrainingData) -> TrainingData:
    """The data with its validation crops among those to train on."""
    training = [*data.training, *data.validation]
    return replace(data, training=training, validation=[], stamp=data.stamp + ALL_LABELS)


def taken_calibration(folder: Path) -> dict:
    """How the validated experiment was calibrated."""
    return load_checkpoint(folder / "best.pt").calibration
