"""Step 2: training, with a flag for each field of a recipe."""

import argparse
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from jingwei.cli.command import command
from jingwei.cli.config import asks_for_config, train_from_config
from jingwei.cli.parser import Parser, going_on, not_negative, workspace_flags
from jingwei.cli.weights import weights_flags, weights_from
from jingwei.cli.wording import say, spelled
from jingwei.errors import SettingError
from jingwei.system.machine import cores
from jingwei.training.recipes import Recipe, quick
from jingwei.workspace import Workspace

# What -h shows, and all flags by what they are about.
USUAL = "train quick exp data_dir model backbone scratch weights loss crop_size batch_size base_lr epochs device"
GROUPS = {
    "run": "train quick exp refit data_dir resume seed workers device precision compile skip_bad_steps",
    "network": (
        "model backbone output_stride aux_weight scratch weights weights_bands list_weights init_from freeze_bn "
        "freeze_backbone sync_bn"
    ),
    "loss": "loss class_weights label_smoothing edge_smoothing focal_gamma lovasz_per_image",
    "windows": "crop_size batch_size accumulate min_scale max_scale balance",
    "augmentation": "flip quarter_turns rotate jitter hue blur dropout class_mix",
    "steps": (
        "epochs steps_per_epoch optimizer base_lr last_mult momentum weight_decay clip_grad schedule power warmup "
        "cycles rise start_div end_div high_momentum low_momentum"
    ),
    "what is kept": "ema average_cycles monitor val_period early_stop",
}


@command
def train_command(recipe: Recipe, configs: bool = False) -> str | None:
    """Step 2: trains a recipe, or scores what it trained. With `configs`, trains config files of system B too."""
    if configs and asks_for_config(sys.argv[1:]):
        return train_from_config()
    recipe = quick(recipe) if "--quick" in sys.argv[1:] else recipe  # before its defaults are told
    args = _parser(recipe, configs).parse_args()
    from jingwei.training import distributed, experiments, loop

    workspace = Workspace(Path(args.data_dir))
    recipe, refit = _chosen(args, recipe, workspace)
    resume = Path(args.resume or workspace.experiment(recipe.name, args.exp) / "last.pt") if "resume" in args else None
    init_from = _init_from(args, workspace) if "init_from" in args else None
    how = {"device": args.device, "workers": args.workers, "compile": args.compile, "resume": resume}
    how |= {"refit": refit, "init_from": init_from, "skip_bad_steps": args.skip_bad_steps, **weights_from(args)}
    options = loop.RunOptions(**how)
    if args.train:
        folder = loop.train(workspace, recipe, args.exp, options)
        if distributed.leads():
            say(f"trained: {folder} (best.pt, last.pt, log.csv, curves.png)")
            return going_on(args, "predict.py")
    else:
        from jingwei.evaluation.metrics import table

        how = {"device": args.device, "workers": args.workers, "precision": recipe.precision}
        matrix, legend, path = experiments.score_experiment(workspace, recipe.name, args.exp, **how)
        print(f"{path} on the validation crops\n{table(matrix, legend)}")
    return None


def _parser(recipe: Recipe, configs: bool) -> Parser:
    about = f"Trains the recipe {recipe.name}; without --train, scores its best checkpoint on the validation."
    parser = Parser(about + " With -c FILE, trains system B as a config file says: see -c FILE -h." * configs)
    workspace_flags(parser, workers=False)
    parser.flag("train", "train; without it, score best.pt and print the table", action="store_true")
    text = "settings for minutes without a GPU: a small network, small windows, 400 steps; see --quick --help_all"
    parser.flag("quick", text, action="store_true")
    text = "name of the experiment: a folder under DIR/model/<recipe>/"
    parser.flag("exp", text, default="default", metavar="NAME")
    _recipe_flags(parser, recipe)
    weights_flags(parser)
    parser.flag("init_from", "experiment to start from, in place of ImageNet's weights", metavar="RECIPE/EXP")
    text = "train EXP, of this recipe, once more as --exp, with its settings and best number of epochs: on all labels"
    parser.flag("refit", text, metavar="EXP")
    text = "go on from FILE (default last.pt) though settings or crops have changed; else a run goes on by itself"
    parser.flag("resume", text, nargs="?", metavar="FILE")
    text = "processes that read and augment; 0: the training process itself"
    parser.flag("workers", text, type=not_negative, default=min(8, max(1, cores() - 1)))
    parser.flag("device", "auto, cpu, cuda, cuda:1", default="auto")
    text = "steps whose loss is not a number that are left out before the run gives up"
    parser.flag("skip_bad_steps", text, type=not_negative, default=0, metavar="N")
    parser.flag("compile", "compile the network with torch.compile: slow to start, faster to run", action="store_true")
    parser.arrange(USUAL, GROUPS)
    return parser


def _init_from(args: argparse.Namespace, workspace: Workspace) -> Path:
    from jingwei.training.experiments import find_experiment

    if "weights" in args:
        raise SettingError("--init_from", "goes with no --weights", "give one of them")
    recipe, separator, exp = args.init_from.partition("/")
    if not separator:
        raise SettingError(f"--init_from {args.init_from}", "is not RECIPE/EXP", "name both, as in focal_lovasz/demo")
    return find_experiment(workspace, recipe, exp) / "best.pt"


def _chosen(args: argparse.Namespace, usual: Recipe, workspace: Workspace) -> tuple[Recipe, Path | None]:
    """What flags make of the usual recipe; or the recipe of the experiment to train again, and its folder."""
    chosen = _recipe_from(args, usual)
    if "refit" not in args:
        return chosen, None
    from jingwei.training.refit import refit_recipe

    given = ["quick"] * args.quick
    given += [f.metadata["flag"] or f.name for f in fields(usual) if getattr(chosen, f.name) != getattr(usual, f.name)]
    return refit_recipe(workspace, usual.name, args.refit, given), workspace.experiment(usual.name, args.refit)


def _recipe_flags(parser: Parser, recipe: Recipe) -> None:
    """A flag for each field of the recipe, documented there. `pretrained` is spelled as its contrary, --scratch."""
    for field in fields(recipe):
        default = getattr(recipe, field.name)
        text, choices = spelled(field.metadata["help"]), field.metadata["choices"]
        if field.name == "name":
            continue
        if field.name == "pretrained":
            parser.flag("scratch", "start from random weights, not from ImageNet's", action="store_true")
        elif default is True:
            parser.flag(f"no_{field.name}", f"do not {text}", action="store_true")
        elif default is False:
            parser.flag(field.name, text, action="store_true")
        elif isinstance(default, tuple):
            name = field.metadata["flag"]
            others = ("window",) if name == "crop_size" else ()
            parser.flag(name, text, *others, type=type(default[0]), nargs="+", default=list(default))
        else:
            assert field.default is not MISSING
            default = None if default == "" else default  # the help text tells what counts then
            parser.flag(field.name, text, type=type(field.default), choices=choices, default=default)


def _recipe_from(args: argparse.Namespace, recipe: Recipe) -> Recipe:
    changes: dict[str, Any] = {}
    for field in fields(recipe):
        name = field.metadata["flag"] or field.name
        if field.name == "pretrained":
            changes["pretrained"] = recipe.pretrained and not args.scratch
        elif f"no_{name}" in args:
            changes[field.name] = not getattr(args, f"no_{name}")
        elif name in args:
            value = getattr(args, name)
            changes[field.name] = tuple(value) if isinstance(value, list) else value
    return replace(recipe, **changes)
