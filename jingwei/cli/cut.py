"""Step 1: cutting scenes."""

import argparse
import sys
from pathlib import Path

from jingwei.cli import dry_run
from jingwei.cli.command import command
from jingwei.cli.parser import (
    Parser,
    chosen_cluster,
    cluster_flag,
    drawing_flags,
    drawing_rules,
    going_on,
    label_nodata_flag,
    tell_legend,
    workspace_flags,
)
from jingwei.cli.steps import STEPS
from jingwei.cli.wording import say
from jingwei.crops.settings import CutSettings
from jingwei.errors import SettingError
from jingwei.inputs.legends import choose_legend
from jingwei.inputs.scenes import Scene, check_names, labels_of, labels_passed_over, scene_of
from jingwei.labels.rounds import labelled_files
from jingwei.labels.rules import TRAINING, DrawingRules
from jingwei.planning.room import require_room_for_crops, require_room_for_tiled
from jingwei.system.scheduling import Task
from jingwei.workspace import Workspace


@command
def generate_train_data_command() -> str | None:
    """Step 1: cuts training scenes."""
    args = _parser().parse_args()
    from jingwei.crops.cut import cut_train
    from jingwei.crops.table import notes_on_classes

    workspace = Workspace(Path(args.data_dir), drawing_rules(args).only(TRAINING))
    if "scene" in args:
        scenes = [_labelled(paths, workspace.rules) for paths in args.scene]
        check_names(scenes)
    else:
        scenes = workspace.train_scenes()
        _tell_passed_over(scenes)
    stride = args.stride if "stride" in args else args.crop_size
    settings = CutSettings(args.crop_size, stride, args.val_fraction, args.keep_background)
    chosen = choose_legend(
        getattr(args, "legend", None), folder=workspace.root, label_nodata=getattr(args, "label_nodata", None)
    )
    tell_legend(chosen)
    legend = chosen.legend
    if args.dry_run:
        from jingwei.planning.rehearsal import crop_steps

        return dry_run.tell(crop_steps(scenes, settings, legend, args.workers), workspace.root)
    require_room_for_crops(workspace.root, [scene.image for scene in scenes], args.keep_background)
    with chosen_cluster(args) as cluster:
        crops = cut_train(workspace, scenes, settings, legend, args.workers, cluster)
    sides = {split: [crop for crop in crops if crop.split == split] for split in ("train", "validation")}
    for split, part in sides.items():
        print(f"{len(part):6d} crops for {split}: {sum(crop.valid for crop in part):,d} labelled px")
    for line in notes_on_classes(crops, legend):
        print(line)
    pictures = ", split_*.png beside it" if any(workspace.train.glob("split_*.png")) else ""
    say(f"written: {workspace.crops}{pictures}")
    return _training(args, workspace)


def _parser() -> Parser:
    defaults = CutSettings()
    parser = Parser("Cuts labelled scenes into crops to train on, and splits them into training and validation.")
    workspace_flags(parser)
    text = "a scene and its label (a raster; or vector files, one or several), instead of DIR/*train*/; may be repeated"
    parser.flag("scene", text, nargs="+", action="append", metavar=("IMAGE", "LABEL"))
    parser.flag(
        "crop_size",
        "side of the crops that scenes are cut into, px; training takes windows out of them",
        type=int,
        default=defaults.crop_size,
    )
    parser.flag("stride", "px from one crop to the next (default: the crop size)", type=int)
    parser.flag("val_fraction", "share of each class for validation", type=float, default=defaults.val_fraction)
    text = "share of the crops of nothing but background that is kept"
    parser.flag("keep_background", text, type=float, default=defaults.keep_background)
    text = "jingwei, gf2, gf3 or a legend's JSON file; left out: DIR/legend.json, where it is (default: jingwei)"
    parser.flag("legend", text)
    label_nodata_flag(parser)
    drawing_flags(parser)
    cluster_flag(parser)
    dry_run.dry_run_flag(parser)
    return parser


def _training(args: argparse.Namespace, workspace: Workspace) -> str:
    """The command that trains on the crops: from the last network, where people have labelled rounds since."""
    rounds = max((len(labelled_files(folder)) for folder in workspace.root.glob("label/*/")), default=0)
    trained = sorted(workspace.models.glob("*/*/best.pt"), key=lambda path: (path.stat().st_mtime, path))
    script = next((step.script for step in STEPS if trained and step.recipe.lower() == trained[-1].parts[-3]), None)
    if not rounds or script is None:
        return going_on(args, "train.py", "--train", "--exp", "first")
    recipe, last = trained[-1].parts[-3:-1]
    while (workspace.experiment(recipe, f"round_{rounds}") / "best.pt").exists():  # of labels as they were before
        rounds += 1
    return going_on(args, script, "--train", "--exp", f"round_{rounds}", "--init_from", f"{recipe}/{last}")


def _tell_passed_over(scenes: list[Scene]) -> None:
    for scene in scenes:
        for path in labels_passed_over(scene.image):
            problem = f"is not read: the label of {scene.name} is {scene.label}"
            print(f"warning: {path}: {problem}: take one of the two away, or name both by --scene", file=sys.stderr)


def _labelled(paths: list[str], rules: DrawingRules) -> Scene:
    if len(paths) < 2:
        raise SettingError("--scene", f"{paths[0]} has no label", "name the image and then its label")
    return scene_of(Path(paths[0]), paths[1:], rules)


@command
def generate_test_data_command() -> str | None:
    """Step 1: makes test scenes readable at any window."""
    from jingwei.crops.tile import tile_scene

    parser = Parser("Copies scenes into tiled GeoTIFFs, of which any window can be read at once.")
    workspace_flags(parser)
    parser.flag("scene", "a scene, instead of DIR/*test*/; may be repeated", action="append", metavar="IMAGE")
    cluster_flag(parser)
    dry_run.dry_run_flag(parser)
    args = parser.parse_args()
    workspace = Workspace(Path(args.data_dir))
    scenes = test_scenes(args, workspace)
    if args.dry_run:
        from jingwei.planning.rehearsal import tiling_steps

        return dry_run.tell(tiling_steps(scenes, args.workers), workspace.root)
    require_room_for_tiled(workspace.root, [(scene.image, workspace.tiled(scene)) for scene in scenes])
    tasks = [Task(tile_scene, (scene.image, workspace.tiled(scene), args.workers)) for scene in scenes]
    with chosen_cluster(args) as cluster:
        for task, fresh in cluster.run(tasks):
            say(f"{'written' if fresh else 'kept, it is up to date'}: {task.arguments[1]}")
    for scene in scenes:
        workspace.masks(scene).mkdir(parents=True, exist_ok=True)
    return going_on(args, "predict.py")


def test_scenes(args: argparse.Namespace, workspace: Workspace) -> list[Scene]:
    """The scenes that --scene names, else those of the test folders."""
    if "scene" not in args:
        return workspace.test_scenes()
    scenes = [scene_of(Path(path), labels_of(Path(path)), workspace.rules) for path in args.scene]
    check_names(scenes)
    return scenes
