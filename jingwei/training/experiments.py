"""Experiments: the crops that they are trained on, and those that are trained, found by name and scored."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from jingwei.crops.table import TRAIN, VALIDATION, Crop, Statistics, crops_stamp, read_crops, statistics
from jingwei.errors import InputError, SettingError
from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.inputs.sar import read_settings
from jingwei.legend import Legend, find_legend
from jingwei.models.checkpoints import Checkpoint, check_fits, load_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.raster.crop_files import read_crop
from jingwei.system.own_files import read_json
from jingwei.system.progress import Progress
from jingwei.training.datasets import validation_loader
from jingwei.training.learner import DataKind, predicted
from jingwei.training.recipes import read_recipe
from jingwei.workspace import Workspace

OTHER_CROPS = "was trained on other crops or classes than are there now, maybe on pixels of this validation"


@dataclass(frozen=True)
class TrainingData:
    """The crops of both sides of the split, and what they hold."""

    folder: Path
    training: list[Crop]
    validation: list[Crop]
    legend: Legend
    dtype: str
    statistics: Statistics
    source: dict = field(default_factory=dict)  # see DataKind
    stamp: str = ""  # see crops_stamp

    @property
    def bands(self) -> int:
        return len(self.statistics.mean)

    @property
    def kind(self) -> DataKind:
        pixels = np.array([crop.pixels for crop in self.training]).sum(axis=0)
        mean, std = self.statistics.mean, self.statistics.std
        return DataKind(self.dtype, mean, std, self.legend, tuple(pixels.tolist()), self.source, self.stamp)

    def has_crops_of(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint was trained on these crops; of one of an earlier version nobody knows, so it was."""
        return checkpoint.crops in ("", self.stamp)

    def check_scorable(self, checkpoint: Checkpoint, path: Path) -> None:
        """CheckpointError where a checkpoint is of other classes or bands; says where scores here may flatter it."""
        check_fits(checkpoint, path, self.legend, self.bands)
        if not self.has_crops_of(checkpoint):
            Progress.write(f"{path} {OTHER_CROPS}: its scores may flatter it")


def read_training_data(workspace: Workspace) -> TrainingData:
    """The crops that `generate_train_data.py` cut, or a folder of samples was prepared into. InputError for none."""
    crops = read_crops(workspace.crops)
    training = [crop for crop in crops if crop.split == TRAIN]
    if not training:
        raise InputError(
            workspace.crops,
            "no crop is for training",
            "take a smaller `val_fraction` (val_fraction in a config), or label more",
        )
    legend = find_legend(str(workspace.train / "legend.json"))
    dtype = read_crop(workspace.train / "data" / training[0].name).dtype.name
    validation = [crop for crop in crops if crop.split == VALIDATION]
    remedy = "prepare the data again: delete it and crops.csv"
    source = read_json(path, dict, remedy=remedy) if (path := workspace.train / "source.json").exists() else {}
    if source:
        read_settings(source, path, remedy)
    stamp = crops_stamp(workspace.crops, legend)
    return TrainingData(workspace.train, training, validation, legend, dtype, statistics(training), source, stamp)


def score_experiment(
    workspace: Workspace, recipe_name: str, exp: str, device: str = "auto", workers: int = 1, precision: str = "auto"
) -> tuple:
    """Scores `best.pt` on the validation crops: (confusion matrix, legend, path).

    `precision` auto is that of the training, where this device has it.
    """
    folder = find_experiment(workspace, recipe_name, exp)
    path = folder / "best.pt"
    checkpoint = load_checkpoint(path)
    data = read_training_data(workspace)
    data.check_scorable(checkpoint, path)
    if not data.validation:
        raise InputError(workspace.crops, "no crop is for validation", "cut again with a larger `val_fraction`")
    place = find_device(device)
    model = checkpoint.build().to(place, memory_format=torch.channels_last)
    trained = read_recipe(folder / "recipe.json").precision
    if precision == "auto" and not (trained == "fp16" and place.type == "cpu"):
        precision = trained
    loader = validation_loader(data.folder, data.validation, checkpoint.mean, workers)
    matrix = ConfusionMatrix(len(data.legend))
    for _, labels, prediction in predicted(model, loader, place, find_precision(precision, place)):
        matrix.update(labels, prediction)
    return matrix, data.legend, path


def find_experiment(workspace: Workspace, recipe_name: str, exp: str) -> Path:
    """The folder of a trained experiment. Raises SettingError listing the known ones."""
    folder = workspace.experiment(recipe_name, exp)
    if not (folder / "best.pt").exists():
        known = ", ".join(sorted(known_experiments(workspace))) or "none yet"
        problem = f"no experiment {recipe_name}/{exp} under {workspace.models}"
        raise SettingError("`exp`", problem, f"known are: {known}; train one of that name first")
    return folder


def known_experiments(workspace: Workspace) -> list[str]:
    """The names `recipe/exp` of the experiments that have a `best.pt`."""
    return sorted(f"{path.parts[-3]}/{path.parts[-2]}" for path in workspace.models.glob("*/*/best.pt"))
