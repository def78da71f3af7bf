"""Training recipes: every choice of a training run, as data. One loop (`training.py`) runs them all.

A recipe is derived from another by naming what differs. Each field is documented here, once: the command line makes
its flags and their help from this file.
"""

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from jingwei.errors import SettingError


def _field(default, text: str, choices: tuple[str, ...] | None = None, flag: str | None = None):
    """A recipe field: its default, its help text, its allowed values, and its flag where that is spelled otherwise."""
    return field(default=default, metadata={"help": text, "choices": choices, "flag": flag})


@dataclass(frozen=True)
class Recipe:
    """One way to train: network, loss, schedule, data. See the fields' help texts."""

    name: str = _field("cross_entropy", "name of the recipe: the folder under model/ that its experiments go to")
    model: str = _field("deeplabv3", "network family")
    backbone: str = _field("resnet50", "encoder of the network, any of segmentation-models-pytorch or timm (tu-NAME)")
    output_stride: int = _field(8, "pixels of the picture to one of the encoder's last map: 8, 16 or 32")
    loss: str = _field("cross_entropy", "loss, or a weighted sum such as focal+0.5*lovasz")
    aux_weight: float = _field(0.2, "weight of the auxiliary head's loss, the first of --loss; 0: no such head")
    pretrained: bool = _field(True, "start from ImageNet weights")
    freeze_bn: bool = _field(False, "keep the batch-norm statistics of the encoder as they are")
    epochs: int = _field(20, "epochs")
    steps_per_epoch: int = _field(0, "batches per epoch; 0: as many as see every training crop's pixels once")
    batch_size: int = _field(16, "windows per batch")
    crop_sizes: tuple[int, ...] = _field(
        (512,), "side of the training windows, px; several are taken in turn", flag="crop_size"
    )
    min_scale: float = _field(0.5, "smallest scale at which a window is taken (log-uniform up to max_scale)")
    max_scale: float = _field(2.0, "largest scale at which a window is taken")
    jitter: float = _field(0.1, "random gain and offset of the bands, in standard deviations")
    optimizer: str = _field("sgd", "optimizer", choices=("sgd", "adamw"))
    base_lr: float = _field(0.01, "learning rate at its height")
    last_mult: float = _field(1.0, "learning rate of the new layers (decoder, heads) as a multiple of the encoder's")
    momentum: float = _field(0.9, "momentum of SGD")
    weight_decay: float = _field(1e-4, "weight decay")
    schedule: str = _field("poly", "learning-rate schedule")
    power: float = _field(0.9, "power of the poly schedule")
    warmup: float = _field(0.05, "share of all steps in which the learning rate rises from 0")
    early_stop: int = _field(0, "stop after so many epochs without a better validation mIoU; 0: never")
    precision: str = _field("auto", "arithmetic of the network", choices=("auto", "fp32", "bf16", "fp16"))
    seed: int = _field(0, "seed of weights, sampling and augmentation")

    def check(self) -> "Recipe":
        """The recipe itself, or one SettingError that names every field with an impossible value."""
        problems = []
        for name in ("epochs", "batch_size", "output_stride", "base_lr", "last_mult", "min_scale"):
            if getattr(self, name) <= 0:
                problems.append(f"{name} is {getattr(self, name)}, not above 0")
        for name in ("steps_per_epoch", "weight_decay", "seed", "early_stop", "aux_weight"):
            if getattr(self, name) < 0:
                problems.append(f"{name} is {getattr(self, name)}, below 0")
        if not 0 <= self.momentum < 1:
            problems.append(f"momentum is {self.momentum}, not between 0 and 1")
        if self.batch_size == 1:
            problems.append("batch_size is 1, but batch norm needs 2 windows or more")
        if self.output_stride not in (8, 16, 32):
            problems.append(f"output_stride is {self.output_stride}, not 8, 16 or 32")
        if not self.crop_sizes or min(self.crop_sizes) < 32:
            problems.append(f"crop_size is {', '.join(map(str, self.crop_sizes))}, below 32 px")
        if self.max_scale < self.min_scale:
            problems.append(f"max_scale {self.max_scale} is below min_scale {self.min_scale}")
        if not 0 <= self.jitter < 1:
            problems.append(f"jitter is {self.jitter}, not between 0 and 1")
        if not 0 <= self.warmup < 1:
            problems.append(f"warmup is {self.warmup}, not between 0 and 1")
        if problems:
            raise SettingError(f"recipe {self.name}", "; ".join(problems), "see -h for what each flag takes")
        return self

    def to_dict(self) -> dict:
        """The recipe as JSON has it."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}


def recipe_from_dict(content: dict, where="recipe") -> Recipe:
    """A recipe from its JSON content. Raises SettingError for unknown keys, listing the known ones."""
    if not isinstance(content, dict):
        raise SettingError(where, "is no recipe", 'write {"name": ..., "model": ..., ...}')
    known = [f.name for f in fields(Recipe)]
    unknown = [key for key in content if key not in known]
    if unknown:
        raise SettingError(where, f"unknown keys {', '.join(unknown)}", f"known are {', '.join(known)}")
    return replace(Recipe(), **{k: tuple(v) if isinstance(v, list) else v for k, v in content.items()})


def read_recipe(path: Path) -> Recipe:
    """The recipe that an experiment's `recipe.json` keeps."""
    try:
        return recipe_from_dict(json.loads(Path(path).read_text(encoding="utf-8")), where=path)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SettingError(path, f"can't be read ({error})", "train the experiment again") from error


CROSS_ENTROPY = Recipe()
FOCAL_LOVASZ = replace(
    CROSS_ENTROPY,
    name="focal_lovasz",
    loss="focal+lovasz",  # focal for the hard pixels, Lovász for the IoU itself
    aux_weight=0.1,
    batch_size=12,
)
ATTENTION_UNET = replace(
    FOCAL_LOVASZ,
    name="attention_unet",
    model="attention_unet",
    backbone="resnet34",
    aux_weight=0.0,  # the decoder's skips bring the loss to every depth by themselves
)
RECIPES = {recipe.name: recipe for recipe in (CROSS_ENTROPY, FOCAL_LOVASZ, ATTENTION_UNET)}
