"""The sections of a config file and their keys, each documented once, on its field."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from jingwei.inputs.sar import SarSettings
from jingwei.legend import NODATA
from jingwei.training.recipes import LOSS_ALIASES

# Kinds of data: the legend that they come with, where they do, and whether they are radar, where that is known.
LOADERS = {"SAT": ("gf2", False), "GF2": ("gf2", False), "GF3": ("gf3", True), "Folders": (None, None)}
OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw"}
MONITORS = {
    "max Mean_IoU": "miou_with_background",
    "max Foreground_IoU": "miou",
    "max FWIoU": "fwiou",
    "max Pixel_Accuracy": "accuracy",
    "max Kappa": "kappa",
    "max Mean_F1": "mean_f1",
    "min val_loss": "val_loss",
    "min loss": "loss",
    "off": "off",
}


def _key(text: str, default: Any = None, required: bool = False) -> Any:
    """A key of a section: its help text, its default, and whether it must be given."""
    return field(default=default, metadata={"help": text, "required": required})


def _section(kind: type, text: str = "") -> Any:
    """A section in a section. Where it is left out, its keys have their defaults."""
    return field(default_factory=kind, metadata={"help": text, "required": False})


@dataclass(frozen=True)
class ArchArgs:
    backbone: str = _key("encoder; empty: the network's usual one", "")
    freeze_bn: bool = _key("keep the batch-norm statistics of the encoder as they are", False)
    freeze_backbone: bool = _key("train the decoder and the heads only", False)
    pretrained: bool | None = _key("start from ImageNet weights; null: where the network has such", None)
    weights: str | None = _key("weights to start from: a file, or a name from docs/models.md; null: ImageNet's", None)
    weights_bands: tuple[str, ...] = _key("bands that a file of weights was made for, in their order", ())
    in_channels: int | None = _key("bands of the pictures, to be checked; null: as many as they have", None)
    output_stride: int = _key("8, 16 or 32, where the network lets you choose; 0: its usual one", 0)


@dataclass(frozen=True)
class Arch:
    type: str = _key("network: PSPNet, DeepLab, UNet ...", "", required=True)
    args: ArchArgs = _section(ArchArgs)


@dataclass(frozen=True)
class TrainArgs:
    data_dir: str = _key("folder with {train,valid}/{img,lbl}, or with pictures and masks", "", required=True)
    batch_size: int = _key("windows per batch, of all GPUs together", 8, required=True)
    crop_size: int = _key("side of the training windows, px", 512, required=True)
    base_size: int | None = _key("px that the longer side of a usual picture is scaled to; null: as it is", None)
    augment: bool = _key("false: no scale, flip, rotate or blur, whatever they say", True)
    shuffle: bool = _key("windows in another order every epoch: always true", True)
    scale: bool | tuple[float, ...] = _key("true: windows at scales of 0.5 to 2; or [smallest, largest]", True)
    flip: bool = _key("mirror windows left to right at random", True)
    rotate: bool | float = _key("true: rotate windows by up to 10 degrees; or so many degrees", True)
    blur: bool | float = _key("true: blur every other window; or a share of them", False)
    split: str = _key(
        "folders (or train): by the folders train and valid, or whole pictures where there are none; blocks: parts of "
        "every picture; fields: labelled regions, each wholly on one side",
        "folders",
    )
    val_fraction: float = _key("share of the pixels for validation, where folders don't say", 0.2)
    tile_size: int = _key("side of the tiles that pictures are cut into, px; 0: as the windows need it", 0)
    num_workers: int | None = _key("processes that read and augment; null: by the machine's cores", None)
    val: bool = _key("false here", False)
    legend: str | None = _key(
        "gf2, gf3 or a legend's JSON file; null: that of the type; of Folders, legend.json in data_dir, or beside "
        "its folder train",
        None,
    )
    label_field: str | None = _key("field of drawn masks with the classes; null: found, see docs/labels.md", None)
    buffer: float | str | None = _key("width of drawn lines and points: metres (2.5), or pixels (3px)", None)
    order: str | None = _key("field of drawn masks: where two overlap, the higher value counts", None)
    labelled: str | None = _key("file of the areas that are labelled completely, or are for testing", None)
    background_outside: bool = _key("true: all that is not drawn is background", False)
    sar: SarSettings | None = _key("radar: values (amplitude, intensity, db), lee, looks, low, high", None)


@dataclass(frozen=True)
class TrainLoader:
    type: str = _key("kind of data: GF2 (or SAT), GF3 (radar quadruples), or Folders with a legend", "", required=True)
    args: TrainArgs = _section(TrainArgs)


@dataclass(frozen=True)
class ValArgs:
    data_dir: str | None = _key("the same folder, or its folder valid beside train", None)
    batch_size: int = _key("taken, without effect: pictures of any size are scored one by one", 1)
    base_size: int | None = _key("taken, without effect: pictures are scored as they are", None)
    crop_size: int | None = _key("taken, without effect: pictures are scored whole", None)
    augment: bool = _key("taken, without effect: nothing is done to pictures that are scored", False)
    shuffle: bool = _key("taken, without effect", False)
    scale: bool | tuple[float, ...] = _key("taken, without effect", False)
    flip: bool = _key("taken, without effect", False)
    rotate: bool | float = _key("taken, without effect", False)
    blur: bool | float = _key("taken, without effect", False)
    split: str = _key("taken, without effect", "val")
    num_workers: int | None = _key("taken, without effect: see train_loader", None)
    val: bool = _key("true here", True)


@dataclass(frozen=True)
class ValLoader:
    type: str | None = _key("as in train_loader", None)
    args: ValArgs = _section(ValArgs)


@dataclass(frozen=True)
class OptimizerArgs:
    lr: float = _key("learning rate at its height", 0.01, required=True)
    weight_decay: float = _key("weight decay", 1e-4)
    momentum: float = _key("momentum of SGD, beta1 of Adam and AdamW", 0.9)


@dataclass(frozen=True)
class Optimizer:
    type: str = _key(f"{', '.join(OPTIMIZERS)}", "", required=True)
    differential_lr: bool = _key("a tenth of the learning rate for the encoder", False)
    args: OptimizerArgs = _section(OptimizerArgs)


@dataclass(frozen=True)
class WarmUpArgs:
    """Of schedules that have nothing but a warm-up."""

    warmup_epochs: float = _key("epochs in which the learning rate rises from 0", 0.0)


@dataclass(frozen=True)
class PolyArgs(WarmUpArgs):
    power: float = _key("power", 0.9)


@dataclass(frozen=True)
class CyclesArgs(WarmUpArgs):
    cycles: int = _key("cosine cycles in the second half", 4)


@dataclass(frozen=True)
class OneCycleArgs:
    phase1: float = _key("share of the run in which the learning rate rises", 0.3)
    start_div_factor: float = _key("it starts at lr divided by this", 10.0)
    div_factor: float = _key("and ends at lr divided by this", 25.0)
    momentums: tuple[float, ...] = _key("momentum where the learning rate is highest, and at both ends", (0.85, 0.95))


SCHEDULERS = {
    "Poly": ("poly", PolyArgs),
    "OneCycle": ("one_cycle", OneCycleArgs),
    "Cosine": ("cosine", WarmUpArgs),
    "CosineCycles": ("cosine_cycles", CyclesArgs),
    "Constant": ("constant", WarmUpArgs),
}


@dataclass(frozen=True)
class Scheduler:
    type: str = _key(f"{', '.join(SCHEDULERS)}", "", required=True)
    args: dict = _section(dict, "of the type's own")


@dataclass(frozen=True)
class Trainer:
    epochs: int = _key("epochs", 1, required=True)
    save_dir: str = _key("folder that runs go to: <save_dir>/<name>/<time>/", "saved")
    save_period: int = _key("epochs from one numbered checkpoint to the next; 0: last.pth and best.pth alone", 0)
    monitor: str = _key(f"what best.pth is best in: {', '.join(MONITORS)} (the last epoch)", "max Mean_IoU")
    early_stop: int = _key("stop after so many epochs without a better one; 0: never", 0)
    tensorboard: bool = _key("write events for TensorBoard", True)
    log_dir: str | None = _key("folder that the events go to; null: <save_dir>/runs", None)
    log_per_iter: int = _key("steps from one to the next whose loss TensorBoard shows; 0: epochs alone", 20)
    val: bool = _key("validate", True)
    val_per_epochs: int = _key("epochs from one validation to the next; the last epoch has one too", 1)


@dataclass(frozen=True)
class ConfigFile:
    """A config file, section by section."""

    name: str = _key("name of the run: a folder under save_dir", "", required=True)
    n_gpu: int = _key("GPUs to train on, as far as there are so many; 0: the CPU", 1)
    use_synch_bn: bool = _key("batch norm over the windows of all GPUs", False)
    arch: Arch = _section(Arch)
    train_loader: TrainLoader = _section(TrainLoader)
    val_loader: ValLoader = _section(ValLoader)
    optimizer: Optimizer = _section(Optimizer)
    loss: str = _key(f"{', '.join(LOSS_ALIASES)}, or a sum such as focal+0.5*lovasz", "", required=True)
    ignore_index: int = _key("id of pixels without a class, unlabelled ones and padding: always 255", NODATA)
    lr_scheduler: Scheduler = _section(Scheduler)
    trainer: Trainer = _section(Trainer)
    recipe: dict = _section(
        dict, "fields of a recipe that no key above sets, see `train.py -h`: class_weights, seed ..."
    )


def explain_keys() -> str:
    """All keys of a config file with what they say and their defaults, a line each."""
    lines = list(_explained(ConfigFile, ""))
    for name, (_, kind) in SCHEDULERS.items():
        lines += [f"of lr_scheduler.type {name}:", *_explained(kind, "lr_scheduler.args.")]
    return "keys of a config file:\n" + "\n".join(f"  {line}" for line in lines) + "\n"


def _explained(kind: Any, before: str) -> Iterator[str]:
    for each in fields(kind):
        if is_dataclass(each.type):
            yield from _explained(each.type, f"{before}{each.name}.")
        else:
            given = each.metadata["required"] or each.type is dict
            default = "" if given else f" (default: {json.dumps(each.default)})"
            yield f"{before + each.name:34} {each.metadata['help']}{default}"
