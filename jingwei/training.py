"""One training loop for all recipes.

An experiment's folder, `model/<recipe>/<exp>/`, holds `last.pt` (to go on from), `best.pt` (the highest validation mIoU
without background), `recipe.json`, `log.csv`, `curves.png` and TensorBoard events. Random numbers are drawn anew from
the seed at the start of each epoch, so a run that was stopped goes on as if it had not been.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from jingwei import journal
from jingwei.checkpoints import Checkpoint, check_fits, load_checkpoint, save_checkpoint
from jingwei.crops import TRAIN, VALIDATION, Crop, Statistics, read_crops, statistics
from jingwei.datasets import training_loader, validation_loader
from jingwei.devices import autocast, find_device, find_precision
from jingwei.errors import CheckpointError, InputError, SettingError, TrainingError
from jingwei.legend import Legend, find_legend
from jingwei.losses import parse_loss
from jingwei.metrics import ConfusionMatrix, scores
from jingwei.models import ModelSpec, build_model
from jingwei.models.pretrained import IMAGENET_MEAN, IMAGENET_STD, load_imagenet, load_weights
from jingwei.outputs import whole_or_nothing
from jingwei.raster import read_crop
from jingwei.recipes import Recipe, read_recipe
from jingwei.schedules import find_schedule, learning_rate
from jingwei.workspace import Workspace


@dataclass(frozen=True)
class RunOptions:
    """How a recipe is run on this machine; what it learns doesn't depend on them."""

    device: str = "auto"
    workers: int = 1
    compile: bool = False
    resume: Path | None = None  # a checkpoint to go on from, even where the recipe has changed
    weights: Path | None = None  # a file of weights to start from, in place of ImageNet's


@dataclass(frozen=True)
class TrainingData:
    """The crops of both sides of the split, and what they hold."""

    folder: Path
    training: list[Crop]
    validation: list[Crop]
    legend: Legend
    dtype: str
    statistics: Statistics

    @property
    def bands(self) -> int:
        return len(self.statistics.mean)


def read_training_data(workspace: Workspace) -> TrainingData:
    """The crops that `generate_train_data.py` cut. Raises InputError where there are none."""
    crops = read_crops(workspace.crops)
    training = [crop for crop in crops if crop.split == TRAIN]
    if not training:
        raise InputError(workspace.crops, "no crop is for training", "cut again with a smaller --val_fraction")
    legend = find_legend(str(workspace.train / "legend.json"))
    dtype = read_crop(workspace.train / "data" / training[0].name).dtype.name
    validation = [crop for crop in crops if crop.split == VALIDATION]
    return TrainingData(workspace.train, training, validation, legend, dtype, statistics(training))


def train(workspace: Workspace, recipe: Recipe, exp: str, options: RunOptions) -> Path:
    """Runs a recipe, or goes on with it where an earlier run of the same recipe stopped. Returns the folder.

    Raises SettingError where the folder holds an experiment of other settings, TrainingError where the loss diverges.
    """
    data = read_training_data(workspace)
    recipe = _with_steps(recipe.check(), data)
    folder = workspace.experiment(recipe.name, exp)
    run = _Run(recipe, data, options)
    finished = _resume(run, folder, options.resume)
    with whole_or_nothing(folder / "recipe.json") as part:
        part.write_text(json.dumps(recipe.to_dict(), indent=1), encoding="utf-8")
    log = journal.Journal(folder, finished, data.legend)
    with log:
        for epoch in range(finished, recipe.epochs):
            if recipe.early_stop and epoch - 1 - run.best_epoch >= recipe.early_stop:
                tqdm.write(f"no better validation mIoU for {recipe.early_stop} epochs: stopped after {epoch}")
                break
            begun = time.perf_counter()
            losses, lr = run.train_epoch(epoch)
            seconds = time.perf_counter() - begun
            matrix = run.validate()
            row = {"lr": lr, **losses, "windows_per_s": recipe.steps_per_epoch * recipe.batch_size / seconds}
            log.add(epoch, row, matrix if data.validation else None)
            improved = run.remember(matrix, epoch)
            if improved:
                save_checkpoint(folder / "best.pt", run.checkpoint(matrix))
            save_checkpoint(folder / "last.pt", run.checkpoint(matrix, epoch))
    return folder


def _with_steps(recipe: Recipe, data: TrainingData) -> Recipe:
    """The recipe with its steps per epoch counted, where they are left to the data."""
    if recipe.steps_per_epoch:
        return recipe
    window = sum(size**2 for size in recipe.crop_sizes) / len(recipe.crop_sizes)
    pixels = sum(crop.valid for crop in data.training)
    return replace(recipe, steps_per_epoch=max(1, round(pixels / (window * recipe.batch_size))))


def _resume(run: "_Run", folder: Path, chosen: Path | None) -> int:
    """Loads the state of an earlier run. Returns the number of epochs that are done: 0 for a fresh start."""
    path = chosen or folder / "last.pt"
    if not path.exists() and not chosen:
        run.load_start()
        return 0
    checkpoint = load_checkpoint(path)
    if checkpoint.training is None:
        raise CheckpointError(path, "holds weights alone, no state to go on from", "give a last.pt")
    ours, theirs = run.recipe.to_dict(), checkpoint.recipe
    changed = [f"{key} {theirs.get(key)} -> {value}" for key, value in ours.items() if theirs.get(key) != value]
    if changed and not chosen:
        problem = f"holds an experiment with other settings ({', '.join(changed)})"
        raise SettingError(folder, problem, "name another --exp, or go on with the new settings by --resume")
    run.load_checkpoint(checkpoint, path)
    if not (folder / "best.pt").exists():
        run.best_score, run.best_epoch = -1.0, checkpoint.training["epoch"]  # another experiment's best is not ours
    return checkpoint.training["epoch"] + 1


class _Run:
    """A network in training: the state that one epoch hands to the next."""

    def __init__(self, recipe: Recipe, data: TrainingData, options: RunOptions):
        self.recipe, self.data, self.options = recipe, data, options
        self.device = find_device(options.device)
        self.precision = find_precision(recipe.precision, self.device)
        self.loss_terms = parse_loss(recipe.loss)
        find_schedule(recipe.schedule)
        torch.manual_seed(recipe.seed)
        spec = ModelSpec(
            recipe.model, recipe.backbone, data.bands, len(data.legend), recipe.output_stride, recipe.aux_weight > 0
        )
        mean, std = self._normalisation()
        self.model = build_model(spec, mean, std).to(self.device, memory_format=torch.channels_last)
        self.network = torch.compile(self.model) if options.compile else self.model
        self.optimizer = self._optimizer()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        self.training = training_loader(
            data.folder, data.training, recipe, mean, recipe.steps_per_epoch, options.workers
        )
        self.validation = validation_loader(data.folder, data.validation, mean, options.workers)
        self.best_score, self.best_epoch = -1.0, 0

    def _normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """ImageNet's statistics where its weights expect them (8-bit RGB), else those of the training crops."""
        if self.recipe.pretrained and self.data.bands == 3 and self.data.dtype == "uint8":
            return IMAGENET_MEAN, IMAGENET_STD
        return self.data.statistics.mean, self.data.statistics.std

    def _optimizer(self) -> torch.optim.Optimizer:
        encoder = list(self.model.network.encoder.parameters())
        known = {id(p) for p in encoder}
        rest = [p for p in self.model.parameters() if id(p) not in known]
        groups = [{"params": encoder, "multiple": 1.0}, {"params": rest, "multiple": self.recipe.last_mult}]
        decay = {"lr": self.recipe.base_lr, "weight_decay": self.recipe.weight_decay}
        if self.recipe.optimizer == "adamw":
            return torch.optim.AdamW(groups, **decay)
        return torch.optim.SGD(groups, momentum=self.recipe.momentum, **decay)

    def load_start(self) -> None:
        """Puts the weights into the network that a fresh run starts from."""
        if self.options.weights:
            load_weights(self.model, self.options.weights)
        elif self.recipe.pretrained:
            load_imagenet(self.model)

    def load_checkpoint(self, checkpoint: Checkpoint, path: Path) -> None:
        """Goes on from a checkpoint of the same network and legend. CheckpointError otherwise."""
        check_fits(checkpoint, path, self.data.legend, self.data.bands)
        if checkpoint.spec != self.model.spec:
            problem = f"is of another network ({checkpoint.spec})"
            raise CheckpointError(path, problem, "give the same --model and --backbone")
        self.model.load_state_dict(checkpoint.weights)
        state = checkpoint.training
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_score, self.best_epoch = state["best_score"], state["best_epoch"]

    def train_epoch(self, epoch: int) -> tuple[dict[str, float], float]:
        """One epoch. Returns the mean of the loss and of each of its terms, and the last learning rate."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + epoch)
        self.training.batch_sampler.epoch = epoch
        self.network.train()
        if self.recipe.freeze_bn:
            self.model.freeze_batch_norm()
        totals: dict[str, torch.Tensor] = {}
        title = f"epoch {epoch + 1}/{self.recipe.epochs}"
        bar = tqdm(self.training, desc=title, unit="batch", disable=None, leave=False)
        for step, (pixels, labels) in enumerate(bar):
            lr = self._set_learning_rate(epoch * self.recipe.steps_per_epoch + step)
            losses = self._step(pixels, labels)
            if not torch.isfinite(losses["loss"]):
                problem = f"the loss is {losses['loss'].item()} in epoch {epoch + 1}, step {step + 1}"
                raise TrainingError(f"recipe {self.recipe.name}", problem, "lower --base_lr; last.pt is intact")
            for name, value in losses.items():
                totals[name] = totals.get(name, 0) + value
        return {name: float(total) / len(self.training) for name, total in totals.items()}, lr

    def _set_learning_rate(self, step: int) -> float:
        lr = learning_rate(step, self.recipe.epochs * self.recipe.steps_per_epoch, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["multiple"]
        return lr

    def _step(self, pixels: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        pixels = _to_device(pixels, self.device)
        labels = labels.to(self.device, non_blocking=True)
        with autocast(self.device, self.precision):
            output = self.network(pixels)
        logits, *auxiliary = output if isinstance(output, tuple) else (output,)
        losses = {name: weight * loss(logits, labels) for name, (weight, loss) in self.loss_terms.items()}
        if auxiliary:
            # The first term alone: this head is there for the gradient's reach, and sorting for Lovász twice is dear.
            weight, first_loss = next(iter(self.loss_terms.values()))
            losses["auxiliary"] = self.recipe.aux_weight * weight * first_loss(auxiliary[0], labels)
        loss = sum(losses.values())
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {"loss": loss.detach()} | {name: value.detach() for name, value in losses.items()}

    def validate(self) -> ConfusionMatrix:
        """The confusion matrix of the validation crops."""
        return confusion(self.network, self.validation, len(self.data.legend), self.device, self.precision)

    def remember(self, matrix: ConfusionMatrix, epoch: int) -> bool:
        """Notes an epoch's score. True where it is the best so far; without validation the last always is."""
        score = matrix.mean_iou(self.data.legend.foreground)
        if self.data.validation and not score > self.best_score:
            return False
        self.best_score, self.best_epoch = (score if score == score else -1.0), epoch
        return True

    def checkpoint(self, matrix: ConfusionMatrix, epoch: int | None = None) -> Checkpoint:
        """The network as a checkpoint; with `epoch`, one that training can go on from."""
        training = None
        if epoch is not None:
            training = {
                "epoch": epoch,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "best_score": self.best_score,
                "best_epoch": self.best_epoch,
            }
        return Checkpoint(
            spec=self.model.spec,
            dtype=self.data.dtype,
            mean=tuple(self.model.mean.flatten().tolist()),
            std=tuple(self.model.std.flatten().tolist()),
            legend=self.data.legend,
            recipe=self.recipe.to_dict(),
            weights=self.model.state_dict(),
            scores=scores(matrix, self.data.legend) if self.data.validation else {},
            training=training,
        )


def confusion(
    network: torch.nn.Module, loader: DataLoader, num_classes: int, device: torch.device, precision: torch.dtype
) -> ConfusionMatrix:
    """The confusion matrix of a network over labelled crops."""
    network.eval()
    matrix = ConfusionMatrix(num_classes)
    with torch.inference_mode():
        for pixels, labels in tqdm(loader, desc="validate", unit="crop", disable=None, leave=False):
            with autocast(device, precision):
                logits = network(_to_device(pixels, device))
            matrix.update(labels.numpy(), logits.argmax(1).to(torch.uint8).cpu().numpy())
    return matrix


def score_experiment(workspace: Workspace, recipe_name: str, exp: str, options: RunOptions) -> tuple:
    """Scores `best.pt` on the validation crops: (confusion matrix, legend, path)."""
    folder = find_experiment(workspace, recipe_name, exp)
    path = folder / "best.pt"
    checkpoint = load_checkpoint(path)
    data = read_training_data(workspace)
    check_fits(checkpoint, path, data.legend, data.bands)
    if not data.validation:
        raise InputError(workspace.crops, "no crop is for validation", "cut again with a larger --val_fraction")
    device = find_device(options.device)
    model = checkpoint.build().to(device, memory_format=torch.channels_last)
    precision = find_precision(read_recipe(folder / "recipe.json").precision, device)
    loader = validation_loader(data.folder, data.validation, checkpoint.mean, options.workers)
    return confusion(model, loader, len(data.legend), device, precision), data.legend, path


def find_experiment(workspace: Workspace, recipe_name: str, exp: str) -> Path:
    """The folder of a trained experiment. Raises SettingError listing the known ones."""
    folder = workspace.experiment(recipe_name, exp)
    if not (folder / "best.pt").exists():
        known = ", ".join(sorted(known_experiments(workspace))) or "none yet"
        problem = f"no experiment {recipe_name}/{exp} under {workspace.models}"
        raise SettingError("--exp", problem, f"known are: {known}; --train makes one")
    return folder


def known_experiments(workspace: Workspace) -> list[str]:
    """The names `recipe/exp` of the experiments that have a `best.pt`."""
    return sorted(f"{path.parts[-3]}/{path.parts[-2]}" for path in workspace.models.glob("*/*/best.pt"))


def _to_device(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    return pixels.to(device, non_blocking=True).float().contiguous(memory_format=torch.channels_last)
