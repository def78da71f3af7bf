"""The label loop: places to label next, labels that come back, and how far it has come."""

import argparse
from pathlib import Path

from jingwei.cli.command import command
from jingwei.cli.cut import test_scenes
from jingwei.cli.parser import Parser, chosen_legend, going_on, legend_flag, positive, workspace_flags
from jingwei.cli.wording import say
from jingwei.inputs.scenes import Scene
from jingwei.legend import Legend
from jingwei.workspace import Workspace


@command
def label_command() -> str | None:
    """Places to label next."""
    parser = Parser("Writes the places where a label would teach most, with the map's guesses to correct, for QGIS.")
    workspace_flags(parser, workers=False)
    parser.flag("count", "places, over all scenes", type=positive, default=50, metavar="N")
    parser.flag("window", "side of a place, px", type=positive, default=256)
    text = "borders of the regions to correct may move by this many px, so that they have fewer corners"
    parser.flag("simplify", text, type=float, default=1.0, metavar="PX")
    text = "scenes to look at, instead of those of generate_test_data.py"
    parser.flag("scene", text, nargs="+", metavar="FILE")
    parser.flag("seed", "of the first draw, where there is no map yet", type=int, default=0)
    legend_flag(parser)
    args = parser.parse_args()
    workspace = Workspace(Path(args.data_dir))
    legend = chosen_legend(args, workspace).legend
    return _suggest(args, workspace, _scenes(args, workspace), legend)


def _scenes(args: argparse.Namespace, workspace: Workspace) -> list[Scene]:
    """The scenes that --scene names, else the cut ones, else those of the test folders."""
    return ([] if "scene" in args else workspace.named_scenes(None)) or test_scenes(args, workspace)


def _suggest(args: argparse.Namespace, workspace: Workspace, scenes: list[Scene], legend: Legend) -> str:
    from jingwei.labelling.suggest import suggest

    how = {"count": args.count, "window": args.window, "simplify": args.simplify, "seed": args.seed}
    done = suggest(workspace, scenes, legend, **how)
    say(done.by)
    if done.without_map:
        say(f"left out, they have no map: {', '.join(done.without_map)}")
    for path, places in done.files.items():
        say(f"written: {path} ({places} places)")
    then = going_on(args, "generate_train_data.py")
    return f"open it in QGIS, choose a `label` for the regions that you are sure of, then {then}"
