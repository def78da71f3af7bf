"""The command line: flags to calls. The only file that parses arguments and prints errors.

Each command is one function that a root script calls. Flags are spelled with `_`, and `-` is taken too. A user's
mistake gives one line and status 2; anything else keeps its traceback, because it is our bug.
"""

import argparse
import functools
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from pathlib import Path

from jingwei.errors import InputError, JingweiError, SettingError
from jingwei.legend import Legend, find_legend
from jingwei.recipes import Recipe
from jingwei.workspace import Scene, Workspace, label_of

# The heavy rooms (torch, GDAL) are imported by the commands that need them, so that `-h` answers at once.


def command(work: Callable) -> Callable:
    """Turns a user's mistake into one line and status 2, and Ctrl-C into status 130."""

    @functools.wraps(work)
    def guarded(*args, **kwargs):
        sys.stdout.reconfigure(line_buffering=True)  # a log file shows each epoch when it ends
        try:
            work(*args, **kwargs)
        except JingweiError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt as stop:
            print(str(stop) or "stopped; the same command goes on from what is done", file=sys.stderr)
            sys.exit(128 + getattr(stop, "signal_number", 2))
        except BrokenPipeError:  # `evaluate.py | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)

    return guarded


class Parser(argparse.ArgumentParser):
    """An argument parser whose flags are spelled with `_` or `-`, never cut short, their defaults in `-h`."""

    def __init__(self, description: str):
        formatter = functools.partial(argparse.ArgumentDefaultsHelpFormatter, width=100)
        super().__init__(description=description, allow_abbrev=False, formatter_class=formatter)

    def flag(self, name: str, help: str, **settings) -> None:
        """Adds `--name` (and its `-` spelling). A default of None is left to the help text to explain."""
        spellings = [f"--{name}"] + ([f"--{name.replace('_', '-')}"] if "_" in name else [])
        if settings.get("action") != "store_true" and settings.get("default") is None:
            settings["default"] = argparse.SUPPRESS
        self.add_argument(*spellings, dest=name, help=help.replace("%", "%%"), **settings)

    def error(self, message: str):
        """One line, as for every other mistake."""
        print(f"error: {message}: {self.prog} -h lists every flag", file=sys.stderr)
        sys.exit(2)


def _workspace_flags(parser: Parser, workers: bool = True) -> None:
    parser.flag("data_dir", "folder of the scenes and of all that is made from them", default="data", metavar="DIR")
    if workers:
        parser.flag("workers", "threads that work beside the reader", type=_positive, default=_cores(), metavar="N")


def _legend_flag(parser: Parser) -> None:
    text = "jingwei, gf2, gf3 or a legend's JSON file (default: the one that the scenes were cut with, else jingwei)"
    parser.flag("legend", text)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def _experiment_name(text: str) -> str:
    if not re.fullmatch(r"[^/\\\s]+", text) or text.strip(".") == "":
        raise argparse.ArgumentTypeError(f"{text!r} is no name for a folder")
    return text


def _legend(args: argparse.Namespace, workspace: Workspace) -> Legend:
    if "legend" in args:
        return find_legend(args.legend)
    kept = workspace.train / "legend.json"
    return find_legend(str(kept) if kept.exists() else "jingwei")


@command
def generate_train_data_command() -> None:
    """Step 1: cuts training scenes."""
    from jingwei.cutting import CutSettings, cut_train

    defaults = CutSettings()
    parser = Parser("Cuts labelled scenes into crops to train on, and splits them into training and validation.")
    _workspace_flags(parser)
    parser.flag("scene", "a scene and its label, instead of DIR/*train*/; may be repeated", nargs=2, action="append",
                metavar=("IMAGE", "LABEL"))  # fmt: skip
    parser.flag("crop_size", "side of a crop, px", type=int, default=defaults.crop_size)
    parser.flag("stride", "px from one crop to the next (default: the crop size)", type=int)
    parser.flag("val_fraction", "share of each class for validation", type=float, default=defaults.val_fraction)
    text = "share of the crops of nothing but background that is kept"
    parser.flag("keep_background", text, type=float, default=defaults.keep_background)
    parser.flag("legend", "jingwei, gf2, gf3 or a legend's JSON file", default="jingwei")
    args = parser.parse_args()
    workspace = Workspace(Path(args.data_dir))
    if "scene" in args:
        scenes = [Scene(Path(image), Path(label)) for image, label in args.scene]
        _refuse_twins(scenes)
    else:
        scenes = workspace.train_scenes()
    stride = args.stride if "stride" in args else args.crop_size
    settings = CutSettings(args.crop_size, stride, args.val_fraction, args.keep_background)
    crops = cut_train(workspace, scenes, settings, find_legend(args.legend), args.workers)
    sides = {split: [crop for crop in crops if crop.split == split] for split in ("train", "validation")}
    for split, part in sides.items():
        print(f"{len(part):6d} crops for {split}: {sum(crop.valid for crop in part):,d} labelled px")
    print(f"written: {workspace.crops}, split_*.png beside it; next: python train.py --train --exp NAME")


@command
def generate_test_data_command() -> None:
    """Step 1: makes test scenes readable at any window."""
    from jingwei.cutting import tile_scene

    parser = Parser("Copies scenes into tiled GeoTIFFs, of which any window can be read at once.")
    _workspace_flags(parser)
    parser.flag("scene", "a scene, instead of DIR/*test*/; may be repeated", action="append", metavar="IMAGE")
    args = parser.parse_args()
    workspace = Workspace(Path(args.data_dir))
    for scene in _test_scenes(args, workspace):
        fresh = tile_scene(scene.image, workspace.tiled(scene), args.workers)
        workspace.masks(scene).mkdir(parents=True, exist_ok=True)
        print(f"{'written' if fresh else 'kept, it is up to date'}: {workspace.tiled(scene)}")
    print("next: python predict.py")


def _test_scenes(args: argparse.Namespace, workspace: Workspace) -> list[Scene]:
    if "scene" not in args:
        return workspace.test_scenes()
    scenes = [Scene(Path(path), label_of(Path(path))) for path in args.scene]
    _refuse_twins(scenes)
    return scenes


def _refuse_twins(scenes: list[Scene]) -> None:
    names = [scene.name for scene in scenes]
    for scene in scenes:
        if names.count(scene.name) > 1:
            raise InputError(scene.image, f"two scenes are named {scene.name}", "rename one: outputs carry that name")


@command
def train_command(recipe: Recipe) -> None:
    """Step 2: trains a recipe, or scores what it trained."""
    parser = Parser(f"Trains the recipe {recipe.name}; without --train, scores its best checkpoint on the validation.")
    _workspace_flags(parser, workers=False)
    parser.flag("train", "train; without it, score best.pt and print the table", action="store_true")
    text = "name of the experiment: a folder under DIR/model/<recipe>/"
    parser.flag("exp", text, type=_experiment_name, default="default", metavar="NAME")
    _recipe_flags(parser, recipe)
    parser.flag("weights", "file of weights to start from, in place of ImageNet's", metavar="FILE")
    parser.flag("init_from", "experiment to start from, in place of ImageNet's weights", metavar="RECIPE/EXP")
    text = "go on from FILE (default last.pt) even though settings have changed; same settings go on by themselves"
    parser.flag("resume", text, nargs="?", const="", metavar="FILE")
    text = "processes that read and augment; 0: the training process itself"
    parser.flag("workers", text, type=_not_negative, default=min(8, max(1, _cores() - 1)))
    parser.flag("device", "auto, cpu, cuda, cuda:1", default="auto")
    text = "steps whose loss is no number that are left out before the run gives up"
    parser.flag("skip_bad_steps", text, type=_not_negative, default=0, metavar="N")
    parser.flag("compile", "compile the network with torch.compile: slow to start, faster to run", action="store_true")
    args = parser.parse_args()
    from jingwei import distributed, training

    workspace = Workspace(Path(args.data_dir))
    recipe = _recipe_from(args, recipe)
    resume = Path(args.resume or workspace.experiment(recipe.name, args.exp) / "last.pt") if "resume" in args else None
    weights = Path(args.weights) if "weights" in args else None
    init_from = _init_from(args, workspace) if "init_from" in args else None
    options = training.RunOptions(
        args.device, args.workers, args.compile, resume, weights, init_from, args.skip_bad_steps
    )
    if args.train:
        folder = training.train(workspace, recipe, args.exp, options)
        if distributed.leads():
            print(f"written: {folder} (best.pt, last.pt, log.csv, curves.png); next: python predict.py")
    else:
        from jingwei.metrics import table

        matrix, legend, path = training.score_experiment(workspace, recipe.name, args.exp, options)
        print(f"{path} on the validation crops\n{table(matrix, legend)}")


def _init_from(args: argparse.Namespace, workspace: Workspace) -> Path:
    from jingwei.training import find_experiment

    if "weights" in args:
        raise SettingError("--init_from", "goes with no --weights", "give one of them")
    recipe, separator, exp = args.init_from.partition("/")
    if not separator:
        raise SettingError(f"--init_from {args.init_from}", "is no RECIPE/EXP", "name both, as in focal_lovasz/demo")
    return find_experiment(workspace, recipe, exp) / "best.pt"


def _recipe_flags(parser: Parser, recipe: Recipe) -> None:
    """A flag for each field of the recipe, documented there. `pretrained` is spelled as its contrary, --scratch."""
    for field in fields(recipe):
        default = getattr(recipe, field.name)
        text, choices = field.metadata["help"], field.metadata["choices"]
        if field.name == "name":
            continue
        if field.name == "pretrained":
            parser.flag("scratch", "start from random weights, not from ImageNet's", action="store_true")
        elif isinstance(default, bool):
            parser.flag(field.name, text, action="store_true", default=default)
        elif isinstance(default, tuple):
            name = field.metadata["flag"]
            parser.flag(name, text, type=type(default[0]), nargs="+", default=list(default))
        else:
            assert field.default is not MISSING
            parser.flag(field.name, text, type=type(field.default), choices=choices, default=default)


def _recipe_from(args: argparse.Namespace, recipe: Recipe) -> Recipe:
    changes = {}
    for field in fields(recipe):
        name = field.metadata["flag"] or field.name
        if field.name == "pretrained":
            changes["pretrained"] = recipe.pretrained and not args.scratch
        elif name in args:
            value = getattr(args, name)
            changes[field.name] = tuple(value) if isinstance(value, list) else value
    return replace(recipe, **changes)


@command
def predict_command() -> None:
    """Step 3: predicts and stitches."""
    from jingwei.prediction import TTA, PredictSettings

    defaults = PredictSettings()
    parser = Parser("Predicts scenes with trained networks: overlapping windows, blended, stitched.")
    _workspace_flags(parser)
    parser.flag("exp", "experiments RECIPE/EXP (default: all that are trained)", nargs="+", metavar="RECIPE/EXP")
    parser.flag("checkpoint", "checkpoint files, instead of experiments", nargs="+", metavar="FILE")
    parser.flag("scene", "scenes, instead of those of generate_test_data.py", nargs="+", metavar="FILE")
    parser.flag("window", "side of a window, px", type=int, default=defaults.window)
    parser.flag("overlap", "px that neighbouring windows share at least", type=int, default=defaults.overlap)
    parser.flag("tta", "turns of each window to average", choices=tuple(TTA), default=defaults.tta)
    parser.flag("batch_size", "windows at a time (default: 1 on a CPU, 8 on a GPU)", type=_positive)
    precisions = ("auto", "fp32", "bf16", "fp16")
    parser.flag("precision", "arithmetic of the network", choices=precisions, default="auto")
    parser.flag("device", "auto, cpu, cuda, cuda:1", default="auto")
    parser.flag("output", "folder for the maps, instead of DIR/test/maskN/ and DIR/submit/", metavar="DIR")
    args = parser.parse_args()
    from jingwei import raster
    from jingwei.checkpoints import check_fits, load_checkpoint
    from jingwei.prediction import predict_scene

    workspace = Workspace(Path(args.data_dir))
    files = _checkpoint_files(args, workspace)
    # Best first: the first is the one whose map is submitted.
    loaded = [(name, path, load_checkpoint(path)) for name, path in files.items()]
    loaded.sort(key=lambda entry: -entry[2].score)
    kept = workspace.train / "legend.json"
    legend = find_legend(str(kept)) if kept.exists() else loaded[0][2].legend
    for _, path, checkpoint in loaded:
        check_fits(checkpoint, path, legend, checkpoint.spec.bands)
    settings = PredictSettings(args.window, args.overlap, args.tta, args.precision).check()
    running = {"device": args.device, "batch_size": getattr(args, "batch_size", 0), "workers": args.workers}
    for scene, source in _tiled_scenes(args, workspace):
        folder = Path(args.output) / scene.name if "output" in args else workspace.masks(scene)
        maps = [folder / f"{name}.tif" for name, _, _ in loaded]
        for (_, path, checkpoint), target in zip(loaded, maps, strict=True):
            fresh = predict_scene(checkpoint, path, source, target, settings, **running)
            print(f"{'written' if fresh else 'kept, it is up to date'}: {target}")
        png = workspace.submission(scene) if "output" not in args else folder / workspace.submission(scene).name
        raster.write_submission(maps[0], png)
        print(f"written: {png} ({loaded[0][0]})")
    print("next: python vote.py")


def _checkpoint_files(args: argparse.Namespace, workspace: Workspace) -> dict[str, Path]:
    """Name of the map -> checkpoint, for the experiments or files that were asked for."""
    from jingwei.training import find_experiment, known_experiments

    if "checkpoint" in args:
        return {_map_name(path): path for path in map(Path, args.checkpoint)}
    wanted = args.exp if "exp" in args else known_experiments(workspace)
    if not wanted:
        raise InputError(workspace.models, "no trained experiment there", "run train.py --train --exp NAME first")
    files = {}
    for name in wanted:
        recipe, separator, exp = name.partition("/")
        if not separator:
            matching = [known for known in known_experiments(workspace) if known.endswith(f"/{name}")]
            recipe, exp = matching[0].split("/") if len(matching) == 1 else ("RECIPE", name)
        files[f"{recipe}_{exp}"] = find_experiment(workspace, recipe, exp) / "best.pt"
    return files


def _map_name(path: Path) -> str:
    in_experiment = path.name in ("best.pt", "last.pt") and len(path.parts) > 2
    return f"{path.parts[-3]}_{path.parts[-2]}" if in_experiment else path.stem


def _tiled_scenes(args: argparse.Namespace, workspace: Workspace) -> list[tuple[Scene, Path]]:
    """The scenes to predict, each with its tiled raster, which is made here where it is missing."""
    if "scene" not in args:
        return [(scene, scene.image) for scene in workspace.cut_scenes()]
    from jingwei.cutting import tile_scene
    from jingwei.raster import open_image

    pairs = []
    for scene in _test_scenes(args, workspace):
        with open_image(scene.image) as image:
            ready = image.tiled
        source = scene.image if ready else workspace.tiled(scene)
        if not ready:
            tile_scene(scene.image, source, args.workers)
        pairs.append((scene, source))
    return pairs


@command
def vote_command() -> None:
    """Step 4: majority vote."""
    parser = Parser("Combines label maps by majority vote.")
    _workspace_flags(parser)
    parser.flag(
        "inputs", "maps to combine, best first (default: all predictions of each scene)", nargs="+", metavar="MAP"
    )
    parser.flag("output", "the result of --inputs: labels; the agreement goes beside it", metavar="FILE")
    parser.flag("weights", "a weight per map, in the order of --inputs", nargs="+", type=float)
    text = "who wins a tie: `first` (the map named first), `background`, or classes in order: CLASS,CLASS"
    parser.flag("ties", text, default="first")
    _legend_flag(parser)
    args = parser.parse_args()
    from jingwei.voting import vote

    workspace = Workspace(Path(args.data_dir))
    how = {"weights": getattr(args, "weights", None), "ties": args.ties, "workers": args.workers}
    legend = _legend(args, workspace)
    if ("inputs" in args) != ("output" in args):
        raise SettingError("vote.py", "--inputs and --output go together", "give both or neither")
    if "inputs" in args:
        target = Path(args.output)
        agreement = target.with_name(f"{target.stem}_agreement.tif")
        vote([Path(path) for path in args.inputs], target, agreement, legend, **how)
        print(f"written: {target}, {agreement}")
        return
    for scene in workspace.cut_scenes():
        maps = workspace.predictions(scene)
        if not maps:
            raise InputError(workspace.masks(scene), "no predictions there", "run predict.py first")
        folder = workspace.masks(scene)
        targets = folder / "vote.tif", folder / "agreement.tif"
        vote(maps, *targets, legend, submission=workspace.submission(scene), **how)
        print(f"written: {targets[0]}, {targets[1]}, {workspace.submission(scene)} ({len(maps)} maps)")
    print("next: python fill_hole.py")


@command
def fill_hole_command() -> None:
    """Step 5: fills holes."""
    parser = Parser("Fills holes of background inside one class, and gives small regions to their neighbours.")
    _workspace_flags(parser, workers=False)
    parser.flag("input", "map to fill (default: vote.tif of each scene, else its best prediction)", metavar="FILE")
    parser.flag("output", "where the filled map of --input goes", metavar="FILE")
    parser.flag("max_size", "a hole fits in a square of this side, px", type=_positive, default=500)
    parser.flag("min_area", "regions smaller than this go to a neighbour, px", type=int, default=0)
    parser.flag("connectivity", "neighbours that join a region", type=int, choices=(4, 8), default=4)
    parser.flag("classes", "fill only holes inside these classes, by name or id (default: all)", nargs="+")
    _legend_flag(parser)
    args = parser.parse_args()
    from jingwei.filling import fill_map

    workspace = Workspace(Path(args.data_dir))
    legend = _legend(args, workspace)
    rules = {"legend": legend, "max_size": args.max_size, "min_area": args.min_area, "connectivity": args.connectivity}
    if "classes" in args:
        rules["classes"] = {legend.id_of(name) for name in args.classes}
    if ("input" in args) != ("output" in args):
        raise SettingError("fill_hole.py", "--input and --output go together", "give both or neither")
    if "input" in args:
        target = Path(args.output)
        picture = target.with_name(f"{target.stem}_vis.png")
        _print_changes(fill_map(Path(args.input), target, picture=picture, **rules), legend)
        print(f"written: {target}, {picture}")
        return
    for scene in workspace.cut_scenes():
        source = workspace.vote_or_best(scene)
        target, png, picture = workspace.filled(scene), workspace.submission(scene), workspace.fill_picture(scene)
        changed = fill_map(source, target, submit_png=png, picture=picture, **rules)
        print(f"{scene.name}: {source.name} filled")
        _print_changes(changed, legend)
        print(f"written: {target}, {png}, {picture}")
    print("next: python evaluate.py, where there are labels")


def _print_changes(changed, legend: Legend) -> None:
    """The table of pixels changed, a line per class."""
    width = max(len(name) for name in legend.names)
    print(f"{'class':{width}} {'px gained':>15} {'px lost':>15}")
    for land_class in legend.classes:
        gained, lost = int(changed[:, land_class.id].sum()), int(changed[land_class.id].sum())
        print(f"{land_class.name:{width}} {gained:15,d} {lost:15,d}")


@command
def evaluate_command() -> None:
    """Step 6: scores maps against labels."""
    parser = Parser("Scores label maps: IoU per class, mIoU with and without background, FWIoU, F1, kappa.")
    _workspace_flags(parser, workers=False)
    parser.flag("prediction", "a label map (default: all maps of all scenes that have labels)", metavar="FILE")
    parser.flag("label", "its truth", metavar="FILE")
    parser.flag("json", "print JSON instead of tables", action="store_true")
    _legend_flag(parser)
    args = parser.parse_args()
    from jingwei.evaluation import score_file, score_stages, stage_table
    from jingwei.metrics import scores, table

    workspace = Workspace(Path(args.data_dir))
    legend = _legend(args, workspace)
    if ("prediction" in args) != ("label" in args):
        raise SettingError("evaluate.py", "--prediction and --label go together", "give both or neither")
    if "prediction" in args:
        matrix = score_file(Path(args.prediction), Path(args.label), legend)
        print(json.dumps(scores(matrix, legend), indent=1) if args.json else table(matrix, legend))
        return
    stages = score_stages(workspace, legend)
    if args.json:
        print(json.dumps({name: scores(matrix, legend) for name, matrix in stages.items()}, indent=1))
    else:
        print(stage_table(stages, legend))
