"""Experiments: the crops that they are trained on, and those that are trained, found by name and scored."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jingwei.crops.table import TRAIN, VALIDATION, Crop, Statistics, crops_stamp, read_crops, statistics
from jingwei.errors import InputError, SettingError, known
from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.inputs.sar import read_settings
from jingwei.legend import Legend, find_legend
from jingwei.models.checkpoints import Checkpoint, check_fits, check_type, load_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.raster.crop_files import read_crop
from jingwei.system.own_files import read_json
from jingwei.system.progress import Progress
from jingwei.training.datasets import validation_loader
from jingwei.training.recipes import Recipe
from jingwei.training.start import DataKind
from jingwei.training.validate import logits_of_crops, predicted
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
        """Whether a checkpoint was trained on these crops; one of an earlier version doesn't say, and passes."""
        return checkpoint.crops in ("", self.stamp)

    def check_scorable(self, checkpoint: Checkpoint, path: Path) -> None:
        """CheckpointError for one of other classes, bands or types; says where scores here may flatter it."""
        check_fits(checkpoint, path, self.legend, self.bands)
        check_type(checkpoint, path, self.folder / "data", self.dtype)
        if not self.has_crops_of(checkpoint):
            Progress.write(f"{path} {OTHER_CROPS}: its scores may flatter it")

    def check_validation(self) -> None:
        """InputError where no crop is for validation."""
        if not self.validation:
            remedy = "cut again with a larger `val_fraction`"
            raise InputError(self.folder / "crops.csv", "no crop is for validation", remedy)


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
    if len(legend) != len(crops[0].pixels):
        problem = f"has {len(legend)} classes, but {workspace.crops.name} counts the pixels of {len(crops[0].pixels)}"
        raise InputError(workspace.train / "legend.json", problem, "cut the scenes again with the legend that you want")
    validation = [crop for crop in crops if crop.split == VALIDATION]
    dtype, *others = (_dtype(workspace.train / "data" / side[0].name) for side in (training, validation) if side)
    if others and others != [dtype]:
        problem = f"holds values of {others[0]}, but {training[0].name} of {dtype}"
        raise InputError(workspace.train / "data" / validation[0].name, problem, "cut the scenes again")
    remedy = "prepare the data again: delete it and crops.csv"
    source = read_json(path, dict, remedy=remedy) if (path := workspace.train / "source.json").exists() else {}
    if source:
        read_settings(source, path, remedy)
    stamp = crops_stamp(workspace.crops, legend)
    return TrainingData(workspace.train, training, validation, legend, dtype, statistics(training), source, stamp)


def _dtype(crop: Path) -> str:
    return read_crop(crop).dtype.name


def validation_logits(
    path: Path,
    data: TrainingData,
    *,
    device: str = "auto",
    workers: int = 1,
    precision: str = "auto",
    title: str = "validate",
) -> Iterator[tuple[Tensor, Tensor]]:
    """What a checkpoint's network says about the validation crops, one by one: (labels_BHW, logits_BCHW on the device).

    `precision` auto is that of the training, where this device has it. Raises CheckpointError where the checkpoint is
    of other classes or bands, InputError where there are no validation crops.
    """
    checkpoint = load_checkpoint(path)
    data.check_scorable(checkpoint, path)
    data.check_validation()
    found = find_device(device)
    model = checkpoint.build().to(found, memory_format=torch.channels_last)
    trained = (Recipe().to_dict() | checkpoint.recipe)["precision"]
    if precision == "auto" and not (trained == "fp16" and found.type == "cpu"):
        precision = trained
    loader = validation_loader(data.folder, data.validation, checkpoint.mean, workers)
    crops = logits_of_crops(model, loader, found, find_precision(precision, found), title=title)
    return ((labels, logits) for _, labels, logits in crops)


def score_experiment(
    workspace: Workspace, recipe_name: str, exp: str, device: str = "auto", workers: int = 1, precision: str = "auto"
) -> tuple[ConfusionMatrix, Legend, Path]:
    """Scores `best.pt` on the validation crops, see `validation_logits`: (confusion matrix, legend, path)."""
    path = find_experiment(workspace, recipe_name, exp) / "best.pt"
    data = read_training_data(workspace)
    matrix = ConfusionMatrix(len(data.legend))
    for labels, logits in validation_logits(path, data, device=device, workers=workers, precision=precision):
        matrix.update(labels.numpy(), predicted(logits))
    return matrix, data.legend, path


def find_experiment(workspace: Workspace, recipe_name: str, exp: str) -> Path:
    """The folder of a trained experiment. Raises SettingError listing the known ones."""
    folder = workspace.experiment(recipe_name, exp)
    if not (folder / "best.pt").exists():
        problem = f"no experiment {recipe_name}/{exp} under {workspace.models}"
        remedy = f"{known(known_experiments(workspace), f'{recipe_name}/{exp}')}; train one of that name first"
        raise SettingError("`exp`", problem, remedy)
    return folder


def known_experiments(workspace: Workspace) -> list[str]:
    """The names `recipe/exp` of the experiments that have a `best.pt`."""
    return sorted(f"{path.parts[-3]}/{path.parts[-2]}" for path in workspace.models.glob("*/*/best.pt"))
