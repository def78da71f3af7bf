"""Steps 4 to 6, from maps on disk: voting, filling, scoring."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from jingwei.cli import dry_run
from jingwei.cli.areas import area_flags, asks_for_areas, tell_areas
from jingwei.cli.command import command
from jingwei.cli.fill_rules import chosen_rule, rule_flags
from jingwei.cli.parser import (
    Parser,
    chosen_cluster,
    chosen_legend,
    cluster_flag,
    cog_flag,
    drawing_flags,
    drawing_rules,
    going_on,
    label_nodata_flag,
    legend_flag,
    tell_legend,
    workspace_flags,
    write_cogs,
)
from jingwei.cli.wording import say
from jingwei.errors import InputError, SettingError
from jingwei.inputs.label_files import label_files
from jingwei.inputs.scenes import Scene
from jingwei.labels.rules import ONLY_TEST, DrawingRules
from jingwei.legend import Legend
from jingwei.planning.room import require_room_for_maps
from jingwei.system.scheduling import Task
from jingwei.workspace import Workspace, confidence_of

AUTO = "auto"


@command
def vote_command() -> str | None:
    """Step 4: votes."""
    parser = Parser("Combines label maps by majority vote, or class probabilities by their mean.")
    workspace_flags(parser)
    parser.flag(
        "inputs", "maps to combine, best first (default: all predictions of each scene)", nargs="+", metavar="MAP"
    )
    text = "the result of --inputs: labels; agreement, entropy and confidence go beside it"
    parser.flag("output", text, metavar="FILE")
    text = "average the class probabilities of predict.py --probabilities, instead of counting labels"
    parser.flag("soft", text, action="store_true")
    text = "a weight per map, in the order of --inputs, or `auto`: learned on the validation crops"
    parser.flag("weights", text, nargs="+", type=_weight, metavar="WEIGHT")
    text = "who wins a tie: `first` (the map named first), `background`, or classes in order: CLASS,CLASS"
    parser.flag("ties", text, default="first")
    parser.flag("no_confidence", "do not keep confidence/ beside the result", action="store_true")
    legend_flag(parser)
    label_nodata_flag(parser)
    cluster_flag(parser)
    cog_flag(parser)
    dry_run.dry_run_flag(parser)
    parser.pair("inputs", "output")
    args = parser.parse_args()
    from jingwei.voting.vote import VoteFiles, vote

    workspace = Workspace(Path(args.data_dir))
    legend = chosen_legend(args, workspace, of_map=Path(args.inputs[0]) if "inputs" in args else None).legend
    if args.dry_run:
        named = [list(map(Path, args.inputs))] if "inputs" in args else None
        groups = named or [_voters(workspace, scene, args.soft) for scene in workspace.cut_scenes()]
        from jingwei.planning.rehearsal import vote_step

        steps = [vote_step(maps, legend, args.soft, args.ties, args.workers) for maps in groups]
        return dry_run.tell(steps, Path(args.output) if named else workspace.root)
    weigh = _Weighing(args, workspace, legend)

    votes: list[tuple[list[Path], VoteFiles]] = []
    if "inputs" in args:
        votes = [(list(map(Path, args.inputs)), VoteFiles.beside(Path(args.output)))]
    else:
        for scene in workspace.cut_scenes():
            maps = workspace.vote(scene), workspace.agreement(scene), workspace.entropy(scene)
            where = VoteFiles(*maps, workspace.submission(scene), confidence_of(workspace.vote(scene)))
            votes.append((_voters(workspace, scene, args.soft), where))
    if args.no_confidence:
        votes = [(voters, files._replace(confidence=None)) for voters, files in votes]
    tasks = []
    for voters, files in votes:
        how = {"soft": args.soft, "ties": args.ties, "workers": args.workers, "weights": weigh(voters)}
        require_room_for_maps(voters[0], [path for path in files if path])
        tasks.append(Task(partial(vote, **how), (voters, files, legend)))
    with chosen_cluster(args) as cluster:
        for task, fresh in cluster.run(tasks):
            maps, files, _ = task.arguments
            say(f"{'written' if fresh else 'kept, it is up to date'}: {', '.join(map(str, files.maps))}")
            if files.submission:
                say(f"written: {files.submission} ({len(maps)} {'probabilities' if args.soft else 'maps'})")
    write_cogs(args, [(files.labels, files.submission) for _, files in votes])
    return None if "inputs" in args else going_on(args, "fill_hole.py")


def _voters(workspace: Workspace, scene: Scene, soft: bool) -> list[Path]:
    """The maps of a scene that vote, or the probabilities. InputError where there are none."""
    maps = workspace.soft_predictions(scene) if soft else workspace.predictions(scene)
    if not maps and soft:
        problem = "no probabilities there"
        raise InputError(workspace.probabilities(scene), problem, "run predict.py --probabilities first")
    if not maps:
        raise InputError(workspace.masks(scene), "no predictions there", "run predict.py first")
    return maps


def _weight(text: str) -> float | str:
    """A number, or the word `auto`."""
    try:
        return text if text == AUTO else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor `{AUTO}`") from None


class _Weighing:
    """The weights of some maps: as --weights has them, or learned (once for the same maps) and printed."""

    def __init__(self, args: argparse.Namespace, workspace: Workspace, legend: Legend):
        self.args, self.workspace, self.legend = args, workspace, legend
        self.given = getattr(args, "weights", None)
        self._learned: dict[tuple[str, ...], list[float]] = {}
        if self.given and AUTO in self.given and len(self.given) > 1:
            problem = f"{AUTO} stands beside other weights"
            raise SettingError("--weights", problem, f"give a number per map, or {AUTO} alone")

    def __call__(self, maps: list[Path]) -> list[float] | None:
        if self.given != [AUTO]:
            return self.given
        from jingwei.voting.weights import learn_weights

        names = tuple(path.stem for path in maps)
        if names not in self._learned:
            how = {"soft": self.args.soft, "ties": self.args.ties, "workers": self.args.workers}
            learned = learn_weights(self.workspace, maps, self.legend, **how)
            print(learned.report(list(names)))
            self._learned[names] = [float(weight) for weight in learned.weights]
        return self._learned[names]


@command
def fill_hole_command() -> str | None:
    """Step 5: fills holes."""
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
    args = parser.parse_args()
    from jingwei.filling.fill_map import fill_map

    workspace = Workspace(Path(args.data_dir))
    legend = chosen_legend(args, workspace, of_map=Path(args.input) if "input" in args else None).legend
    rules = {"legend": legend, **chosen_rule(args, legend)}
    if args.dry_run:
        named = [Path(args.input)] if "input" in args else None
        sources = named or [workspace.vote_or_best(scene) for scene in workspace.cut_scenes()]
        place = Path(args.output) if named else workspace.root
        from jingwei.planning.rehearsal import fill_step

        return dry_run.tell([fill_step(source, rules, submits=not named) for source in sources], place)
    if "input" in args:
        target = Path(args.output)
        require_room_for_maps(Path(args.input), [target])
        picture = target.with_name(f"{target.stem}_vis.png")
        _print_changes(fill_map(Path(args.input), target, picture=picture, **rules), legend)
        say(f"written: {target}, {picture}")
        return write_cogs(args, [(target, None)])
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
            _print_changes(changed, legend)
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


@command
def evaluate_command() -> None:
    """Step 6: scores maps against labels."""
    parser = Parser("Scores label maps: IoU per class, mIoU with and without background, FWIoU, F1, kappa.")
    workspace_flags(parser, workers=False)
    text = "a label map, or a folder of masks as inference.py writes them (default: all maps of scenes with labels)"
    parser.flag("prediction", text, metavar="FILE")
    parser.flag(
        "label",
        "its truth: a map, drawn labels (.gpkg ...), or a folder of masks N_gt.png, N_label.png or N.png",
        metavar="FILE",
    )
    parser.flag("json", "print JSON instead of tables", action="store_true")
    area_flags(parser)
    legend_flag(parser)
    label_nodata_flag(parser)
    drawing_flags(parser)
    cluster_flag(parser)
    dry_run.dry_run_flag(parser)
    args = parser.parse_args()
    from jingwei.evaluation.folders import score_pair
    from jingwei.evaluation.metrics import few_note, scores, table
    from jingwei.evaluation.scenes import (
        labelled_scenes,
        refuse_unlabelled,
        score_stages,
        stage_maps,
        stage_note,
        stage_table,
    )

    workspace = Workspace(Path(args.data_dir), drawing_rules(args).only(ONLY_TEST))
    if asks_for_areas(args):
        tell_areas(args, workspace, chosen_legend(args, workspace).legend)
        return
    if ("prediction" in args) != ("label" in args):
        raise SettingError(parser.prog, "--prediction and --label go together", "give both or neither")
    if "prediction" in args:
        _refuse_unlike(Path(args.prediction), Path(args.label))
        chosen = chosen_legend(args, workspace, label=Path(args.label))
        legend, label = chosen.legend, label_files(Path(args.label), workspace.rules)
        if not args.json:
            tell_legend(chosen)
    else:
        legend = chosen_legend(args, workspace).legend
    if "prediction" in args and (Path(args.prediction).is_dir() or Path(args.label).is_dir()):
        _evaluate_folders(args, legend, workspace.rules)
        return
    if args.dry_run:
        from jingwei.planning.rehearsal import score_step

        if "prediction" in args:
            pairs = [(Path(args.prediction), label)]
        else:
            scored = stage_maps(workspace, labelled_scenes(workspace))
            pairs = [(path, scene.label_files) for path, scene in scored if scene.label]
        dry_run.tell([score_step(*pair, legend) for pair in pairs], None)
        return
    if "prediction" in args:
        matrix = score_pair(Path(args.prediction), label, legend)
        refuse_unlabelled(matrix, Path(args.label))
        print(json.dumps(scores(matrix, legend), indent=1) if args.json else table(matrix, legend))
        return
    with chosen_cluster(args) as cluster:
        stages = score_stages(workspace, legend, cluster)
    if args.json:
        print(json.dumps({name: scores(matrix, legend) for name, matrix in stages.items()}, indent=1))
    else:
        print(stage_table(stages, legend))
        last = next(reversed(stages.values()), None)
        for note in (stage_note(stages, legend), few_note(last, legend) if last else None):
            if note:
                print(note)


def _refuse_unlike(prediction: Path, label: Path) -> None:
    """Raises InputError for a folder and a file."""
    for one, other in ((prediction, label), (label, prediction)):
        if one.is_file() and other.is_dir():
            raise InputError(one, f"is a file, but {other} is a folder", "give two files or two folders")


def _evaluate_folders(args: argparse.Namespace, legend: Legend, rules: DrawingRules) -> None:
    """Scores a folder of masks. Ends with status 1 where labels have no prediction."""
    from jingwei.evaluation.folders import score_folders
    from jingwei.evaluation.metrics import scores, table

    if args.dry_run:
        raise SettingError("--dry_run", "tells nothing of folders of masks", "leave it out: they are scored in no time")
    with chosen_cluster(args) as cluster:
        score = score_folders(Path(args.prediction), Path(args.label), legend, cluster, rules)
    if args.json:
        counted = {"labels": score.labels, "missing": score.missing, "without_label": score.extra}
        print(json.dumps(scores(score.matrix, legend) | counted, indent=1))
    else:
        extra = f"; predictions without a label, left out: {score.extra}" if score.extra else ""
        print(f"{score.labels} labels{extra}\n{table(score.matrix, legend)}")
    if score.missing:
        names = ", ".join(score.missing)
        print(f"no prediction, so all wrong: {len(score.missing)} of {score.labels}: {names}", file=sys.stderr)
        sys.exit(1)
