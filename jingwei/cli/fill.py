"""Step 5: filling holes."""

import argparse
from functools import partial
from pathlib import Path

from jingwei.cli import dry_run
from jingwei.cli.command import command
from jingwei.cli.fill_rules import chosen_rule, rule_flags
from jingwei.cli.parser import (
    Parser,
    chosen_cluster,
    chosen_legend,
    cluster_flag,
    cog_flag,
    going_on,
    label_nodata_flag,
    legend_flag,
    workspace_flags,
    write_cogs,
)
from jingwei.cli.wording import say
from jingwei.legend import Legend
from jingwei.planning.room import require_room_for_maps
from jingwei.system.scheduling import Task
from jingwei.workspace import Workspace


@command
def fill_hole_command() -> str | None:
    """Step 5: fills holes."""
    args = _parser().parse_args()
    workspace = Workspace(Path(args.data_dir))
    legend = chosen_legend(args, workspace, of_map=Path(args.input) if "input" in args else None).legend
    rules = {"legend": legend, **chosen_rule(args, legend)}
    if args.dry_run:
        return _rehearse(args, workspace, rules)
    return (_fill_one if "input" in args else _fill_scenes)(args, workspace, rules)


def _parser() -> Parser:
    parser = Parser("Fills holes of background inside one class, and gives small regions to their neighbours.")
    workspace_flags(parser, workers=False)
    parser.flag("input", "map to fill (default: vote.tif of each scene, else its best prediction)", metavar="FILE")
    parser.flag("output", "where the filled map of --input goes", metavar="FILE")
    rule_flags(parser)
    legend_flag(parser)
    label_nodata_flag(parser)
    cluster_flag(parser)
    cog_flag(parser)
    dry_run.dry_run_flag(parser)
    parser.pair("input", "output")
    return parser


def _rehearse(args: argparse.Namespace, workspace: Workspace, rules: dict) -> None:
    from jingwei.planning.rehearsal import fill_step

    named = [Path(args.input)] if "input" in args else None
    sources = named or [workspace.vote_or_best(scene) for scene in workspace.cut_scenes()]
    place = Path(args.output) if named else workspace.root
    dry_run.tell([fill_step(source, rules, submits=not named) for source in sources], place)


def _fill_one(args: argparse.Namespace, workspace: Workspace, rules: dict) -> None:
    """Fills --input."""
    from jingwei.filling.fill_map import fill_map

    source, target = Path(args.input), Path(args.output)
    require_room_for_maps(source, [target])
    picture = target.with_name(f"{target.stem}_vis.png")
    _print_changes(fill_map(source, target, picture=picture, **rules), rules["legend"])
    say(f"written: {target}, {picture}")
    write_cogs(args, [(target, None)])


def _fill_scenes(args: argparse.Namespace, workspace: Workspace, rules: dict) -> str:
    """Fills the map of each scene that was cut; returns what is next."""
    from jingwei.filling.fill_map import fill_map

    tasks, pictures = [], {}
    for scene in workspace.cut_scenes():
        source = workspace.vote_or_best(scene)
        target, png, picture = workspace.filled(scene), workspace.submission(scene), workspace.fill_picture(scene)
        require_room_for_maps(source, [target, png])
        pictures[target] = f"{png}, {picture}"
        tasks.append(Task(partial(fill_map, submit_png=png, picture=picture, **rules), (source, target)))
    with chosen_cluster(args) as cluster:
        for task, changed in cluster.run(tasks):
            source, target = task.arguments
            print(f"{source}: filled")
            _print_changes(changed, rules["legend"])
            say(f"written: {target}, {pictures[target]}")
    write_cogs(args, [(workspace.filled(scene), workspace.submission(scene)) for scene in workspace.cut_scenes()])
    labelled = any(scene.label for scene in workspace.cut_scenes())
    return going_on(args, "evaluate.py" if labelled else "report.py")


def _print_changes(changed, legend: Legend) -> None:
    """The table of pixels changed, a line per class."""
    width = max(len(name) for name in legend.names)
    print(f"{'class':{width}} {'px gained':>15} {'px lost':>15}")
    for land_class in legend.classes:
        gained, lost = int(changed[:, land_class.id].sum()), int(changed[land_class.id].sum())
        print(f"{land_class.name:{width}} {gained:15,d} {lost:15,d}")
