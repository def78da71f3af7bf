"""Step 4: voting."""

import argparse
from functools import partial
from pathlib import Path

from jingwei.cli import dry_run
from jingwei.cli.command import command
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
from jingwei.errors import InputError, SettingError
from jingwei.inputs.scenes import Scene
from jingwei.legend import Legend
from jingwei.planning.room import require_room_for_maps
from jingwei.system.scheduling import Task
from jingwei.workspace import Workspace, confidence_of

AUTO = "auto"


@command
def vote_command() -> str | None:
    """Step 4: votes."""
    args = _parser().parse_args()
    from jingwei.raster.map_legend import refuse_unlike_legends
    from jingwei.voting.vote import vote

    workspace = Workspace(Path(args.data_dir))
    legend = chosen_legend(args, workspace, of_map=Path(args.inputs[0]) if "inputs" in args else None).legend
    votes = _votes(args, workspace)
    if "legend" not in args:
        for voters, _ in votes:
            refuse_unlike_legends(voters)
    if args.dry_run:
        return _rehearse(args, workspace, votes, legend)
    weigh = _Weighing(args, workspace, legend)
    tasks = []
    for voters, files in votes:
        how = {"soft": args.soft, "ties": args.ties, "workers": args.workers, "weights": weigh(voters)}
        require_room_for_maps(voters[0], [path for path in files if path])
        tasks.append(Task(partial(vote, **how), (voters, files, legend)))
    with chosen_cluster(args) as cluster:
        for task, fresh in cluster.run(tasks):
            voters, files, _ = task.arguments
            say(f"{'written' if fresh else 'kept, it is up to date'}: {', '.join(map(str, files.maps))}")
            if files.submission:
                say(f"written: {files.submission} ({len(voters)} {'probabilities' if args.soft else 'maps'})")
    write_cogs(args, [(task.arguments[1].labels, task.arguments[1].submission) for task in tasks])
    return None if "inputs" in args else going_on(args, "fill_hole.py")


def _parser() -> Parser:
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
    return parser


def _votes(args: argparse.Namespace, workspace: Workspace) -> list:
    """What is to be voted on, and where the results go: (maps or probabilities, VoteFiles) for each vote."""
    from jingwei.voting.vote import VoteFiles

    votes = []
    if "inputs" in args:
        votes.append((list(map(Path, args.inputs)), VoteFiles.beside(Path(args.output))))
    else:
        for scene in workspace.cut_scenes():
            maps = workspace.vote(scene), workspace.agreement(scene), workspace.entropy(scene)
            files = VoteFiles(*maps, workspace.submission(scene), confidence_of(workspace.vote(scene)))
            votes.append((_voters(workspace, scene, args.soft), files))
    if args.no_confidence:
        return [(voters, files._replace(confidence=None)) for voters, files in votes]
    return votes


def _rehearse(args: argparse.Namespace, workspace: Workspace, votes: list, legend: Legend) -> None:
    from jingwei.planning.rehearsal import vote_step

    named = "inputs" in args
    steps = [vote_step(maps, legend, args.soft, args.ties, args.workers) for maps, _ in votes]
    dry_run.tell(steps, Path(args.output) if named else workspace.root)


def _voters(workspace: Workspace, scene: Scene, soft: bool) -> list[Path]:
    """The maps of a scene that vote, or the probabilities. InputError where there are none."""
    maps = workspace.soft_predictions(scene) if soft else workspace.predictions(scene)
    if not maps and soft:
        problem = "no probabilities there"
        raise InputError(workspace.probabilities(scene), problem, "run predict.py --probabilities first")
    if not maps:
        raise workspace.no_map(scene, "predictions")
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
