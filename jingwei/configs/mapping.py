"""What a config file's sections say, in this library's own terms: a recipe, and a data set in folders."""

import re
from dataclasses import fields
from pathlib import Path

from jingwei.configs.reading import Reading
from jingwei.configs.sections import (
    LOADERS,
    MONITORS,
    OPTIMIZERS,
    SCHEDULERS,
    Arch,
    ConfigFile,
    OneCycleArgs,
    Optimizer,
    Scheduler,
    TrainArgs,
    Trainer,
    TrainLoader,
)
from jingwei.crops.prepare import SPLITS, FolderData
from jingwei.errors import SettingError, known
from jingwei.inputs.legends import ChosenLegend, choose_legend
from jingwei.inputs.samples import TRAIN_FOLDERS, VALID_FOLDERS, folders_named
from jingwei.inputs.sar import SarSettings
from jingwei.labels.rules import AS_DRAWN, TRAINING, DrawingRules, rules_of
from jingwei.legend import NODATA, Legend
from jingwei.polygons.opening import file_and_layer
from jingwei.system.own_files import in_words, is_of, short
from jingwei.training.recipes import MOST_CROP, SCORES, Recipe

TILE = 1024  # px: from tiles of that side, windows of 512 px can be taken at half their scale
AUXILIARY = {"pspnet": 0.4, "pspdensenet": 0.4}  # weights of the auxiliary heads that papers have
TAKEN = ("data", "runs")  # folders under save_dir that are of no run
# The fields of a recipe that keys of the file set.
KEYS = {
    "name": "name",
    "model": "arch.type",
    **{name: f"arch.args.{name}" for name in ("backbone", "freeze_bn", "freeze_backbone", "pretrained")},
    "output_stride": "arch.args.output_stride",
    "sync_bn": "use_synch_bn",
    "batch_size": "train_loader.args.batch_size",
    "crop_sizes": "train_loader.args.crop_size",
    "crop_size": "train_loader.args.crop_size",
    "min_scale": "train_loader.args.scale",
    "max_scale": "train_loader.args.scale",
    **{name: f"train_loader.args.{name}" for name in ("flip", "rotate", "blur")},
    "optimizer": "optimizer.type",
    "base_lr": "optimizer.args.lr",
    "last_mult": "optimizer.differential_lr",
    "weight_decay": "optimizer.args.weight_decay",
    "momentum": "optimizer.args.momentum",
    "loss": "loss",
    "schedule": "lr_scheduler.type",
    "warmup": "lr_scheduler.args.warmup_epochs",
    "power": "lr_scheduler.args.power",
    "cycles": "lr_scheduler.args.cycles",
    "rise": "lr_scheduler.args.phase1",
    "start_div": "lr_scheduler.args.start_div_factor",
    "end_div": "lr_scheduler.args.div_factor",
    "low_momentum": "lr_scheduler.args.momentums",
    "high_momentum": "lr_scheduler.args.momentums",
    "epochs": "trainer.epochs",
    "monitor": "trainer.monitor",
    "early_stop": "trainer.early_stop",
    "val_period": "trainer.val_per_epochs",
}


def recipe_of(file: ConfigFile, reading: Reading) -> Recipe:
    """The recipe that a file describes; what is impossible is noted."""
    reading.at_least("n_gpu", file.n_gpu, 0)
    if file.name and (re.search(r'[/\\:*?"<>|\x00-\x1f]', file.name) or not file.name.strip(". ")):
        reading.problems.append(f"name is {short(file.name)}, which can't be a folder")
    if file.name in TAKEN:
        reading.problems.append(f"name is {short(file.name)}, which is a folder of other things under save_dir")
    if file.ignore_index != NODATA:
        remedy = f"pixels of no class are {NODATA} here, and the legend says which these are"
        reading.problems.append(f"ignore_index is {file.ignore_index}, not {NODATA}: {remedy}")
    recipe = Recipe(
        **{"name": file.name, "sync_bn": file.use_synch_bn, "quarter_turns": False, "jitter": 0.0}
        | _network(reading, file.arch)
        | _windows(reading, file.train_loader.args)
        | _optimizer(reading, file.optimizer)
        | _loss(reading, file.loss)
        | _schedule(reading, file.lr_scheduler, file.trainer.epochs)
        | _trainer(reading, file.trainer)
        | _own_fields(reading, file.recipe)
    )
    reading.problems += [f"{KEYS.get(name, f'recipe.{name}')} {problem}" for name, problem in recipe.problems()]
    return recipe


def data_of(file: ConfigFile, recipe: Recipe, reading: Reading) -> FolderData | None:
    """The data set that a file names; None without a legend. What is impossible is noted."""
    loader, args, validation = file.train_loader, file.train_loader.args, file.val_loader
    where = "train_loader.args"
    kind = reading.choice("train_loader.type", loader.type, LOADERS)
    if validation.type is not None and loader.type and validation.type != loader.type:
        reading.problems.append(f"val_loader.type is {validation.type}, but train_loader.type is {loader.type}")
    if args.val:
        reading.problems.append(f"{where}.val is true, but it is the training's")
    if not validation.args.val:
        reading.problems.append("val_loader.args.val is false: where none is wanted, set trainer.val to false")
    reading.at_least(f"{where}.num_workers", args.num_workers, 0)
    split = "folders" if args.split == "train" else args.split
    if split not in SPLITS:
        reading.problems.append(f"{where}.split is {short(args.split)}: {known(SPLITS, args.split)}")
    if not 0 <= args.val_fraction < 1:
        reading.problems.append(f"{where}.val_fraction is {args.val_fraction}, not from 0 to below 1")
    reading.at_least(f"{where}.tile_size", args.tile_size or None, 32)
    if args.tile_size > MOST_CROP:
        reading.problems.append(f"{where}.tile_size is {args.tile_size}, above {MOST_CROP} px: too much for memory")
    root = _root(reading, args.data_dir, validation.args.data_dir)
    legend = _legend(reading, loader, kind, root)
    sar = _sar(reading, args.sar, kind)
    if legend is None:
        return None
    fraction = args.val_fraction if file.trainer.val else 0.0  # without validation, all is there to be trained on
    rules = _rules(reading, args, legend)
    return FolderData(root, legend, sar, split, fraction, args.tile_size or tile_side(recipe), rules)


def tile_side(recipe: Recipe) -> int:
    """The side of tiles that hold the largest window of a recipe at its smallest scale, px: TILE at least."""
    return max(TILE, recipe.widest_view)


def _network(reading: Reading, arch: Arch) -> dict:
    from jingwei.models.families import (  # here, because -h needs no networks
        ALIASES,
        MODELS,
        find_backbone,
        find_output_stride,
    )
    from jingwei.models.pretrained import has_imagenet

    args = arch.args
    values = {"freeze_bn": args.freeze_bn, "freeze_backbone": args.freeze_backbone}
    reading.at_least("arch.args.in_channels", args.in_channels, 1)
    family = reading.choice("arch.type", arch.type, ALIASES | {name: name for name in MODELS})
    if family is None:
        return values
    with reading.noting(f"arch.args.backbone {args.backbone}"):
        find_backbone(args.backbone, family)
    with reading.noting(f"arch.args.output_stride {args.output_stride}"):
        find_output_stride(args.output_stride, family)
    if args.pretrained and not has_imagenet(family):
        reading.problems.append(f"arch.args.pretrained is true, but there are no ImageNet weights for {arch.type}")
    return values | {
        "model": family,
        "backbone": args.backbone,
        "output_stride": args.output_stride,
        "pretrained": has_imagenet(family) if args.pretrained is None else args.pretrained,
        "aux_weight": AUXILIARY.get(family, 0.0),
    }


def _windows(reading: Reading, args: TrainArgs) -> dict:
    scale = args.scale if isinstance(args.scale, tuple) else (0.5, 2.0) if args.scale else (1.0, 1.0)
    if len(scale) != 2:
        reading.problems.append("train_loader.args.scale is not a pair: write [smallest, largest]")
        scale = (1.0, 1.0)
    if not args.shuffle:
        reading.problems.append("train_loader.args.shuffle is false, but windows are always drawn at random")
    reading.at_least("train_loader.args.base_size", args.base_size, 1)
    if args.base_size and 1 <= args.base_size < args.crop_size:
        problem = f"train_loader.args.base_size is {args.base_size}, below crop_size {args.crop_size}"
        reading.problems.append(f"{problem}: windows would be larger than pictures, and padding all around")
    values = {"batch_size": args.batch_size, "crop_sizes": (args.crop_size,)}
    if not args.augment:
        return values | {"min_scale": 1.0, "max_scale": 1.0, "flip": False, "rotate": 0.0, "blur": 0.0}
    # A number is meant as it is; true and false are not numbers here.
    rotate = args.rotate if not isinstance(args.rotate, bool) else 10.0 * args.rotate
    blur = args.blur if not isinstance(args.blur, bool) else 0.5 * args.blur
    return values | {
        "min_scale": scale[0],
        "max_scale": scale[1],
        "flip": args.flip,
        "rotate": float(rotate),
        "blur": float(blur),
    }


def _optimizer(reading: Reading, optimizer: Optimizer) -> dict:
    args, name = optimizer.args, reading.choice("optimizer.type", optimizer.type, OPTIMIZERS)
    rate = args.lr
    if not rate > 0:
        reading.problems.append(f"optimizer.args.lr is {rate}, not above 0")
        rate = 0.01
    values = {"base_lr": rate, "weight_decay": args.weight_decay, "momentum": args.momentum}
    if optimizer.differential_lr:
        values |= {"base_lr": rate / 10, "last_mult": 10.0}
    return values | ({"optimizer": name} if name else {})


def _loss(reading: Reading, loss: str) -> dict:
    if not loss:
        return {}
    from jingwei.training.losses import parse_loss

    with reading.noting(f"loss {loss}"):
        parse_loss(loss)
        return {"loss": loss}
    return {}


def _schedule(reading: Reading, scheduler: Scheduler, epochs: int) -> dict:
    found = reading.choice("lr_scheduler.type", scheduler.type, SCHEDULERS)
    if found is None:
        return {}
    name, kind = found
    args = reading.section(kind, scheduler.args, "lr_scheduler.args")
    if isinstance(args, OneCycleArgs):
        values = {
            "schedule": name,
            "rise": args.phase1,
            "start_div": args.start_div_factor,
            "end_div": args.div_factor,
        }
        if len(args.momentums) != 2:
            reading.problems.append("lr_scheduler.args.momentums is not a pair: write [lowest, highest]")
            return values
        return values | {"low_momentum": args.momentums[0], "high_momentum": args.momentums[1]}
    values = {"schedule": name, "warmup": 0.0}
    if not 0 <= args.warmup_epochs < max(1, epochs):
        reading.problems.append(f"lr_scheduler.args.warmup_epochs is {args.warmup_epochs}, of {epochs} epochs")
    else:
        values["warmup"] = args.warmup_epochs / max(1, epochs)
    return values | {key: getattr(args, key) for key in ("power", "cycles") if hasattr(args, key)}


def _trainer(reading: Reading, trainer: Trainer) -> dict:
    reading.at_least("trainer.save_period", trainer.save_period, 0)
    reading.at_least("trainer.log_per_iter", trainer.log_per_iter, 0)
    reading.at_least("trainer.val_per_epochs", trainer.val_per_epochs if trainer.val else None, 1)
    values = {"epochs": trainer.epochs, "val_period": max(1, trainer.val_per_epochs) if trainer.val else 0}
    words = " ".join(trainer.monitor.split())
    monitor = reading.choice("trainer.monitor", words, MONITORS)
    if monitor is None:
        return values
    unseen = not trainer.val and monitor in SCORES
    if unseen:
        reading.problems.append(f"trainer.monitor is {words}, but trainer.val is false: take min loss or off")
    return values | {"monitor": monitor, "early_stop": 0 if unseen or monitor == "off" else trainer.early_stop}


def _own_fields(reading: Reading, content: dict) -> dict:
    """The section `recipe`."""
    own = {each.name: each.type for each in fields(Recipe) if each.name not in KEYS}
    values = {}
    for name, value in content.items():
        if name in KEYS:
            reading.problems.append(f"recipe.{name} is not a key: it is {KEYS[name]}")
        elif name not in own:
            reading.problems.append(f"recipe.{name} is not a key: {known(own, name)}")
        elif not is_of(own[name], value):
            reading.problems.append(f"recipe.{name} is {short(value)}, not {in_words(own[name])}")
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return values


def _root(reading: Reading, train: str, validation: str | None) -> Path:
    """The folder of a data set that both loaders name: itself, or its train/ and its valid/."""
    root = Path(train)
    if validation is None or not train or Path(validation) == root:
        return root
    if root.name.lower() in TRAIN_FOLDERS and Path(validation) == _valid_beside(root, validation):
        return root.parent
    problem = f"val_loader.args.data_dir is {validation}, not the valid/ beside {train}"
    reading.problems.append(f"{problem}: name one folder that holds train/ and valid/ in both")
    return root


def _valid_beside(train: Path, named: str) -> Path | None:
    """The folder beside `train` that its validation comes from; as `named`, where there is none to be found yet."""
    there = folders_named(train.parent, VALID_FOLDERS) if train.parent.is_dir() else []
    if there:
        return there[0]
    return train.parent / Path(named).name if Path(named).name.lower() in VALID_FOLDERS else None


def legend_of(loader: TrainLoader, root: Path) -> ChosenLegend | None:
    """The legend that a loader names, else its type's, else that in the data set's folder; None where there is none."""
    usual, _ = LOADERS.get(loader.type, (None, None))
    return choose_legend(loader.args.legend or None, of_kind=usual, folder=root, usual=None)


def _legend(reading: Reading, loader: TrainLoader, kind: tuple | None, root: Path) -> Legend | None:
    try:
        if chosen := legend_of(loader, root):
            return chosen.legend
    except SettingError as error:
        source, problem, remedy = error.args
        reading.problems.append(f"train_loader.args.legend {source}: {problem}, {remedy}")
        return None
    if kind and not root.is_dir():
        reading.problems.append(f"train_loader.args.data_dir is {short(str(root))}: no such folder")
    elif kind:
        reading.problems.append("train_loader.args.legend is missing (gf2, gf3 or the JSON file of a legend), "
                                "and no legend.json lies in data_dir")  # fmt: skip
    return None


def _rules(reading: Reading, args: TrainArgs, legend: Legend) -> DrawingRules:
    """How drawn masks are to be read."""
    if args.background_outside and legend.background is None:
        problem = f"train_loader.args.background_outside is true, but legend {legend.name} has no background class"
        reading.problems.append(f"{problem}: draw all classes")
    if args.labelled is not None and not file_and_layer(args.labelled)[0].exists():
        reading.problems.append(f"train_loader.args.labelled is {short(args.labelled)}: no such file")
    with reading.noting("train_loader.args.buffer"):
        named = args.label_field, args.buffer, args.order, args.labelled, args.background_outside
        return rules_of(*named).only(TRAINING) if any(named) else AS_DRAWN
    return AS_DRAWN


def _sar(reading: Reading, settings: SarSettings | None, kind: tuple | None) -> SarSettings | None:
    if kind and kind[1] is False and settings:
        reading.problems.append("train_loader.args.sar is given, but the type is optical: take GF3 or Folders")
    if kind and kind[1]:
        settings = settings or SarSettings()
    if settings:
        with reading.noting("train_loader.args.sar"):
            return settings.check()
    return None
