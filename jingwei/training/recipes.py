"""Training recipes: every choice of a training run, as data. One loop (`loop.py`) runs them all.

A recipe is derived from another by naming what differs. Each field is documented here, once, with its bounds: the
command line makes its flags and their help from this file.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from jingwei.errors import SettingError, known
from jingwei.system.own_files import in_words, is_of, read_json
from jingwei.training.bounds import ABOVE_0, BELOW_1, Bound, at_least, at_most, between, one_of

# The contest trainer's names of losses, in ours.
LOSS_ALIASES = {
    "CrossEntropyLoss2d": "cross_entropy",
    "DiceLoss": "dice",
    "CE_DiceLoss": "cross_entropy+dice",
    "FocalLoss": "focal",
    "LovaszSoftmax": "lovasz",
}
# The scores of a validation, by one of which the best epoch is chosen: of val_loss the lowest, else the highest.
SCORES = ("miou", "miou_with_background", "fwiou", "mean_f1", "kappa", "accuracy", "val_loss")
MOST_CROP = 8192  # px, the side of a training window


def _field(default, text: str, *bounds: Bound, choices: tuple[str, ...] | None = None, flag: str | None = None):
    """A recipe field: its default, its help text, its bounds or choices, and its flag where that is spelled otherwise.

    Bounds are those of each number, where the field has several.
    """
    return field(default=default, metadata={"help": text, "bounds": bounds, "choices": choices, "flag": flag})


@dataclass(frozen=True)
class Recipe:
    """One way to train: network, loss, schedule, data. See the fields' help texts."""

    name: str = _field("cross_entropy", "name of the recipe: the folder under model/ that its experiments go to")
    model: str = _field("deeplabv3", "network: unet, attention_unet, upernet, segformer ... (docs/models.md has all)")
    backbone: str = _field("", "encoder of the network (default: its usual one, such as resnet50 for deeplabv3)")
    output_stride: int = _field(
        0,
        "pixels of the picture to one of the encoder's last map: 8, 16 or 32, where the network lets you choose; "
        "0: its usual number",
        one_of((0, 8, 16, 32), "not 8, 16 or 32, nor 0 for the usual one"),
    )
    loss: str = _field("cross_entropy", "loss, or a weighted sum such as focal+0.5*lovasz")
    class_weights: str = _field(
        "equal", "weight of each class in cross_entropy and focal: equal, balanced, or numbers such as 1,2,1,1,4"
    )
    label_smoothing: float = _field(0.0, "share of cross_entropy's target that is spread over all classes", BELOW_1)
    edge_smoothing: float = _field(
        0.0,
        "the same at the very edge of a class, fading over 5 px to both sides: there labels are least sure",
        BELOW_1,
    )
    focal_gamma: float = _field(2.0, "gamma of focal: how far easy pixels are played down", at_least(0))
    lovasz_per_image: bool = _field(False, "lovasz for each window by itself, not for the batch")
    aux_weight: float = _field(
        0.2, "weight of the auxiliary head's loss, the first of `loss`; 0: no such head", at_least(0)
    )
    pretrained: bool = _field(True, "start from ImageNet weights")
    freeze_bn: bool = _field(False, "keep the batch-norm statistics of the encoder as they are")
    freeze_backbone: bool = _field(False, "train the decoder and the heads only, the encoder stays as it starts")
    sync_bn: bool = _field(False, "batch norm over the windows of all processes (torchrun), not of each alone")
    epochs: int = _field(20, "epochs", ABOVE_0)
    steps_per_epoch: int = _field(
        0, "steps per epoch; 0: as many as see every training crop's pixels once", at_least(0)
    )
    batch_size: int = _field(16, "windows per batch; all processes of torchrun share them", ABOVE_0)
    accumulate: int = _field(1, "batches whose gradients make one step: a larger batch than memory holds", ABOVE_0)
    crop_sizes: tuple[int, ...] = _field(
        (512,),
        "side of the windows that are taken out of the crops, px; several take turns, smaller ones in larger batches",
        at_least(32, " px"),
        at_most(MOST_CROP, f"above {MOST_CROP} px: too much for memory"),
        flag="crop_size",
    )
    min_scale: float = _field(0.5, "smallest scale at which a window is taken (log-uniform up to max_scale)", ABOVE_0)
    max_scale: float = _field(2.0, "largest scale at which a window is taken", ABOVE_0)
    balance: float = _field(
        0.0, "how far rare classes are drawn more often: 0 as the pixels are, 1 all classes alike", between(0, 1)
    )
    jitter: float = _field(0.1, "random gain and offset of the bands, in standard deviations", BELOW_1)
    hue: float = _field(
        0.0, "random turn of the hue and change of the saturation, 8-bit RGB only; 0.1 is much", between(0, 0.5)
    )
    flip: bool = _field(True, "mirror windows left to right at random")
    quarter_turns: bool = _field(True, "turn windows by 90, 180 or 270 degrees at random")
    rotate: float = _field(0.0, "largest random rotation, on top of the turns by 90 degrees; degrees", between(0, 180))
    blur: float = _field(0.0, "share of the windows that are blurred", between(0, 1))
    dropout: float = _field(
        0.0, "share of the windows in which a few rectangles are hidden; their labels stay", between(0, 1)
    )
    class_mix: float = _field(
        0.0, "share of the windows into which classes of another window are copied", between(0, 1)
    )
    optimizer: str = _field("sgd", "optimizer", choices=("sgd", "adam", "adamw"))
    base_lr: float = _field(0.01, "learning rate at its height", ABOVE_0)
    last_mult: float = _field(
        1.0, "learning rate of the new layers (decoder, heads) as a multiple of the encoder's", ABOVE_0
    )
    momentum: float = _field(0.9, "momentum of SGD, beta1 of Adam and AdamW; one_cycle drives its own", BELOW_1)
    weight_decay: float = _field(1e-4, "weight decay", at_least(0))
    schedule: str = _field("poly", "learning-rate schedule: poly, cosine, cosine_cycles, one_cycle or constant")
    power: float = _field(0.9, "power of the poly schedule", ABOVE_0)
    cycles: int = _field(4, "cosine cycles in the second half of the cosine_cycles schedule", ABOVE_0)
    warmup: float = _field(
        0.05, "share of all steps in which the learning rate rises from 0; one_cycle needs none", BELOW_1
    )
    rise: float = _field(0.3, "share of all steps in which one_cycle rises", BELOW_1)
    start_div: float = _field(10.0, "one_cycle starts at the learning rate divided by this", ABOVE_0)
    end_div: float = _field(25.0, "one_cycle ends at the learning rate divided by this", ABOVE_0)
    high_momentum: float = _field(0.95, "momentum at both ends of one_cycle", BELOW_1)
    low_momentum: float = _field(0.85, "momentum of one_cycle where the learning rate is highest", BELOW_1)
    clip_grad: float = _field(0.0, "longest gradient of a step, longer ones are shortened to it; 0: any", at_least(0))
    ema: float = _field(
        0.0, "decay of a moving average of the weights, scored and kept in their place; 0: none", BELOW_1
    )
    average_cycles: bool = _field(
        False, "average the weights at the cycles' ends (SWA), kept as swa.pt, and as best.pt where it scores best"
    )
    val_period: int = _field(1, "epochs from one validation to the next, the last has one too; 0: none", at_least(0))
    monitor: str = _field(
        "miou",
        "what the best epoch is best in: a validation score (miou is without background; val_loss, the lowest), "
        "loss (of the training), or off: the last epoch counts as the best, as it does without a validation",
        choices=(*SCORES, "loss", "off"),
    )
    early_stop: int = _field(0, "stop after so many epochs without a better one, see `monitor`; 0: never", at_least(0))
    precision: str = _field("auto", "arithmetic of the network", choices=("auto", "fp32", "bf16", "fp16"))
    seed: int = _field(0, "seed of weights, sampling and augmentation", at_least(0))

    def check(self) -> "Recipe":
        """The recipe itself, or one SettingError that names every field with an impossible value."""
        problems = [f"{name} {problem}" for name, problem in self.problems()]
        if problems:
            raise SettingError(f"recipe {self.name}", "; ".join(problems), "see what each field takes: train.py -h")
        return self

    def problems(self) -> list[tuple[str, str]]:
        """What is impossible: (field, what is wrong with it)."""
        return [*self._of_other_types()] or [*self._out_of_bounds(), *self._unused(), *self._contradictions()]

    def _of_other_types(self) -> Iterator[tuple[str, str]]:
        """Values that a program has given; numbers that are not finite are for the bounds to find."""
        for each in fields(self):
            value = getattr(self, each.name)
            if not (is_of(each.type, value) or (each.type is float and isinstance(value, float))):
                yield each.name, f"is {value!r}, not {in_words(each.type)}"

    def _out_of_bounds(self) -> Iterator[tuple[str, str]]:
        for each in fields(self):
            value, choices, name = getattr(self, each.name), each.metadata["choices"], each.metadata["flag"]
            numbers = value if isinstance(value, tuple | list) else (value,)
            said = ", ".join(map(str, numbers))
            broken = (b.problem for b in each.metadata["bounds"] if not all(map(b.holds, numbers)))
            if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
                problem = f"is {said}, not a finite number"
            elif choices and value not in choices:
                problem = f"is {said}, not one of {', '.join(choices)}"
            elif not numbers:
                problem = "is empty"
            else:
                problem = next((f"is {said}, {problem}" for problem in broken), None)
            if problem:
                yield name or each.name, problem

    def _unused(self) -> Iterator[tuple[str, str]]:
        """Settings of losses that the recipe doesn't have, whoever has chosen them: `quick`, say."""
        terms = "+".join(LOSS_ALIASES.get(name, name) for name in re.findall(r"\w+", self.loss))
        uses = {
            "label_smoothing": ("cross_entropy",),
            "edge_smoothing": ("cross_entropy",),
            "lovasz_per_image": ("lovasz",),
            "focal_gamma": ("focal",),
            "class_weights": ("cross_entropy", "focal"),
        }
        usual = {each.name: each.default for each in fields(self)}
        for name, losses in uses.items():
            value = getattr(self, name)
            if value != usual[name] and not any(loss in terms for loss in losses):
                yield name, f"is {value}, but the loss {self.loss} has no use for it ({usual[name]} leaves it out)"

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        if self.average_cycles and self.schedule != "cosine_cycles":
            yield "average_cycles", f"is on, but the schedule {self.schedule} has no cycles"
        if self.average_cycles and self.monitor == "loss":
            yield "average_cycles", "is on, but an average has no training loss to be monitored"
        if self.early_stop and (self.monitor == "off" or (self.monitor in SCORES and not self.val_period)):
            off = "monitor is off" if self.monitor == "off" else "val_period 0 leaves out the validation"
            yield "early_stop", f"is {self.early_stop}, but {off}: nothing says which epoch is better"
        if self.ema and self.average_cycles:
            yield "ema", "and average_cycles are both on, but one average is kept"
        side = self.widest_view
        if side > MOST_CROP >= max(self.crop_sizes):
            problem = f"is {self.min_scale}: windows of {max(self.crop_sizes)} px would show {side} px of a picture"
            yield "min_scale", f"{problem}, above {MOST_CROP} px: too much for memory"
        if self.max_scale < self.min_scale:
            yield "max_scale", f"{self.max_scale} is below min_scale {self.min_scale}"

    @property
    def widest_view(self) -> int:
        """The side of what the largest window shows of a picture at the smallest scale, px."""
        if not (self.crop_sizes and self.min_scale > 0):  # a mistake, which the bounds tell
            return 0
        return math.ceil(min(1e12, max(self.crop_sizes) / min(1.0, self.min_scale)))

    def to_dict(self) -> dict:
        """The recipe as JSON has it."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}


def recipe_from_dict(content: dict, where: object = "recipe") -> Recipe:
    """A recipe from its JSON content. SettingError for unknown keys, listing the known, and values of a wrong type."""
    if not isinstance(content, dict):
        raise SettingError(where, "is not a recipe", 'write {"name": ..., "model": ..., ...}')
    types = {f.name: f.type for f in fields(Recipe)}
    unknown = [key for key in content if key not in types]
    problems = [f"unknown keys {', '.join(unknown)}"] if unknown else []
    values = {}
    for name, value in content.items():
        if name in types and is_of(types[name], value):
            values[name] = tuple(value) if isinstance(value, list) else value
        elif name in types:
            problems.append(f"{name} is {json.dumps(value)}, not {in_words(types[name])}")
    if problems:
        remedy = known(types, *unknown) if unknown else "see train.py -h for what each takes"
        raise SettingError(where, "; ".join(problems), remedy)
    return replace(Recipe(), **values)


def read_recipe(path: Path) -> Recipe:
    """The recipe that an experiment's `recipe.json` keeps."""
    again = "train the experiment again"
    content = read_json(path, remedy=again, missing=again, error=SettingError)
    if isinstance(content, dict):
        content.pop("statistics", None)  # there for people to see; checkpoints have their own
    return recipe_from_dict(content, where=path)


CROSS_ENTROPY = Recipe()
FOCAL_LOVASZ = replace(
    CROSS_ENTROPY,
    name="focal_lovasz",
    loss="focal+lovasz",  # focal for the hard pixels, Lovász for the IoU itself
    aux_weight=0.1,
    batch_size=12,
)
SWA = replace(
    FOCAL_LOVASZ,
    name="swa",
    schedule="cosine_cycles",
    average_cycles=True,
)
MULTISCALE = replace(
    FOCAL_LOVASZ,
    name="multiscale",
    crop_sizes=(512, 448),
    batch_size=16,
)
ATTENTION_UNET = replace(
    FOCAL_LOVASZ,
    name="attention_unet",
    model="attention_unet",
    backbone="resnet34",
    aux_weight=0.0,  # the decoder's skips bring the loss to every depth by themselves
)
RECIPES = {recipe.name: recipe for recipe in (CROSS_ENTROPY, FOCAL_LOVASZ, SWA, MULTISCALE, ATTENTION_UNET)}

# What won in minutes on a CPU, with smaller windows: docs/accuracy.md, "Beside a fair plain loop".
QUICK: dict[str, Any] = {
    "model": "attention_unet",
    "backbone": "tf_efficientnet_lite0",
    "aux_weight": 0.0,
    "class_weights": "balanced",
    "epochs": 4,
    "steps_per_epoch": 100,
    "batch_size": 8,
    "min_scale": 0.7,
    "max_scale": 1.4,
    "optimizer": "adamw",
    "base_lr": 0.001,
    "weight_decay": 0.01,
    "ema": 0.99,
}


def quick(recipe: Recipe) -> Recipe:
    """The recipe for minutes without a GPU: its own loss and schedule, windows of half the size, else QUICK.

    A recipe that averages cycles has no second average.
    """
    ema = 0.0 if recipe.average_cycles else QUICK["ema"]
    return replace(recipe, **QUICK | {"ema": ema, "crop_sizes": tuple(size // 2 for size in recipe.crop_sizes)})
