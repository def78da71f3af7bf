"""The label loop: places to label next, labels that come back, and how far it has come."""

import argparse
from pathlib import Path

from jingwei.cli.command import command
from jingwei.cli.cut import test_scenes
from jingwei.cli.parser import (
    Parser,
    chosen_legend,
    drawing_flags,
    drawing_rules,
    going_on,
    legend_flag,
    not_negative,
    positive,
    workspace_flags,
)
from jingwei.cli.wording import say
from jingwei.errors import SettingError
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
    parser.flag("add", "take these labels in as a round, such as corrections from the report", metavar="FILE")
    parser.flag("status", "tell what is labelled, round by round, and how the maps' score went", action="store_true")
    parser.flag("seed", "of the draw: with another, other places", type=not_negative, default=0)
    legend_flag(parser)
    drawing_flags(parser)
    args = parser.parse_args()
    if args.status and "add" in args:
        raise SettingError("--status", "does not go with --add", "call one after the other")
    workspace = Workspace(Path(args.data_dir), drawing_rules(args))
    legend = chosen_legend(args, workspace).legend
    scenes = ([] if "scene" in args else workspace.named_scenes(None)) or test_scenes(args, workspace)
    if "add" in args:
        return _add(args, workspace, scenes, legend)
    return (_tell if args.status else _suggest)(args, workspace, scenes, legend)


def _suggest(args: argparse.Namespace, workspace: Workspace, scenes: list[Scene], legend: Legend) -> str:
    from jingwei.labelling.rounds import take_in
    from jingwei.labelling.status import note_score, score_lines, score_now
    from jingwei.labelling.suggest import check_wishes, suggest

    how = {"count": args.count, "window": args.window, "simplify": args.simplify}
    check_wishes(**how)
    if score := score_now(workspace, scenes, legend):  # of the maps that are there: they know nothing of what comes now
        note_score(workspace.round_scores, score)
        say(f"on the test areas, {score_lines([score])[0]}")
    for path, regions in take_in(workspace, scenes, legend).items():
        say(f"written: {path} ({_regions(regions)})")
    done = suggest(workspace, scenes, legend, **how, seed=args.seed)
    say(done.by)
    for note in done.notes:
        say(note)
    if done.without_map:
        say(f"left out, they have no map: {', '.join(done.without_map)}")
    for path, places in done.files.items():
        say(f"written: {path} ({places} places)")
    then = going_on(args, "generate_train_data.py")
    return f"open it in QGIS, choose a label for the regions that you are sure of, then {then}"


def _add(args: argparse.Namespace, workspace: Workspace, scenes: list[Scene], legend: Legend) -> str:
    from jingwei.labelling.rounds import add_round, scene_meant

    source = Path(args.add)
    done = add_round(workspace, scene_meant(source, scenes, "scene" in args), source, legend, workspace.rules)
    for path, regions in done.items():
        say(f"written: {path} ({_regions(regions)})")
    return going_on(args, "generate_train_data.py")


def _regions(number: int) -> str:
    return f"{number} labelled region{'s' if number != 1 else ''}"


def _tell(args: argparse.Namespace, workspace: Workspace, scenes: list[Scene], legend: Legend) -> str | None:
    from jingwei.labelling.status import (
        NOT_COMPARABLE,
        predicted_in_part,
        read_scores,
        rounds_of,
        score_lines,
        score_now,
        status_table,
    )

    rounds = rounds_of(workspace, scenes, legend)
    print(status_table(rounds, legend) if rounds else "nothing is labelled yet")
    now = score_now(workspace, scenes, legend)
    before = [score for score in read_scores(workspace.round_scores) if now is None or score.rounds != now.rounds]
    for line in score_lines([*before, *([now] if now else [])]):
        print(line)
    if in_part := ", ".join(scene.name for scene in predicted_in_part(workspace, scenes)):
        print(f"not scored, the newest network has predicted but a part: {in_part} (predict.py without --part)")
    elif now is None:
        print(f"scores over rounds: {NOT_COMPARABLE} without labels in areas whose use is test (--labelled AREAS)")
    waiting = [str(path) for path in map(workspace.next_labels, scenes) if path.is_file()]
    if rounds or not waiting:
        return None if rounds else going_on(args, "label.py")
    return f"choose a label for the regions that you are sure of, in {', '.join(waiting)}"
