"""Steps 4 to 6, from maps on disk: voting, filling, scoring."""

import json
from pathlib import Path

from jingwei.cli.parser import Parser, chosen_legend, command, legend_flag, positive, workspace_flags
from jingwei.errors import InputError, SettingError
from jingwei.legend import Legend
from jingwei.workspace import Workspace


@command
def vote_command() -> None:
    """Step 4: majority vote."""
    parser = Parser("Combines label maps by majority vote.")
    workspace_flags(parser)
    parser.flag(
        "inputs", "maps to combine, best first (default: all predictions of each scene)", nargs="+", metavar="MAP"
    )
    parser.flag("output", "the result of --inputs: labels; the agreement goes beside it", metavar="FILE")
    parser.flag("weights", "a weight per map, in the order of --inputs", nargs="+", type=float)
    text = "who wins a tie: `first` (the map named first), `background`, or classes in order: CLASS,CLASS"
    parser.flag("ties", text, default="first")
    legend_flag(parser)
    args = parser.parse_args()
    from jingwei.voting import vote

    workspace = Workspace(Path(args.data_dir))
    how = {"weights": getattr(args, "weights", None), "ties": args.ties, "workers": args.workers}
    legend = chosen_legend(args, workspace)
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
    workspace_flags(parser, workers=False)
    parser.flag("input", "map to fill (default: vote.tif of each scene, else its best prediction)", metavar="FILE")
    parser.flag("output", "where the filled map of --input goes", metavar="FILE")
    parser.flag("max_size", "a hole fits in a square of this side, px", type=positive, default=500)
    parser.flag("min_area", "regions smaller than this go to a neighbour, px", type=int, default=0)
    parser.flag("connectivity", "neighbours that join a region", type=int, choices=(4, 8), default=4)
    parser.flag("classes", "fill only holes inside these classes, by name or id (default: all)", nargs="+")
    legend_flag(parser)
    args = parser.parse_args()
    from jingwei.filling import fill_map

    workspace = Workspace(Path(args.data_dir))
    legend = chosen_legend(args, workspace)
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
    workspace_flags(parser, workers=False)
    parser.flag("prediction", "a label map (default: all maps of all scenes that have labels)", metavar="FILE")
    parser.flag("label", "its truth", metavar="FILE")
    parser.flag("json", "print JSON instead of tables", action="store_true")
    legend_flag(parser)
    args = parser.parse_args()
    from jingwei.evaluation import score_file, score_stages, stage_table
    from jingwei.metrics import scores, table

    workspace = Workspace(Path(args.data_dir))
    legend = chosen_legend(args, workspace)
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
