"""What all commands share: how flags are spelled, how mistakes are reported, the flags that many have."""

import argparse
import difflib
import functools
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jingwei.cli.wording import as_called, command_line, say, spelled
from jingwei.errors import SettingError
from jingwei.inputs.scenes import Scene
from jingwei.labels.rules import DrawingRules, rules_of
from jingwei.legend import LABEL_NODATA
from jingwei.raster.opening import ALLOW_REMOTE
from jingwei.system.machine import cores
from jingwei.system.progress import Progress
from jingwei.system.scheduling import Cluster, Here, open_cluster
from jingwei.workspace import Workspace

if TYPE_CHECKING:
    from jingwei.inputs.legends import ChosenLegend

LARGEST = 1 << 62  # whole number that a flag takes
DATA = "data"  # the folder that stages work on unless another is given


class Parser(argparse.ArgumentParser):
    """An argument parser whose flags are spelled with `_` or `-`, never cut short, their defaults in `-h`.

    One with many flags shows those that most people need by `-h`, and all by `--help_all`, in groups: see `arrange`.
    """

    def __init__(self, description: str):
        formatter = functools.partial(argparse.ArgumentDefaultsHelpFormatter, width=100)
        super().__init__(description=as_called(description), allow_abbrev=False, formatter_class=formatter)
        self._pairs: list[tuple[str, str]] = []
        self._usual: tuple[str, ...] = ()
        self._groups: dict[str, tuple[str, ...]] = {}
        text = "explain every flag"
        self.add_argument("--help_all", "--help-all", action=_HelpAll, nargs=0, default=argparse.SUPPRESS, help=text)
        self.flag("quiet", "no progress, nothing but results and errors", action="store_true")
        text = "open files of any format, which may name other files and places on the network (docs/security.md)"
        self.flag("allow_remote", text, action="store_true")

    def parse_args(self, *args: Any, **kwargs: Any) -> argparse.Namespace:  # type: ignore[override]  # no other namespace
        """argparse's; what all commands have takes effect here. SettingError for half of a pair of flags."""
        parsed = super().parse_args(*args, **kwargs)
        self._refuse_empty(parsed)
        Progress.hidden, Progress.spell = parsed.quiet, spelled
        if parsed.allow_remote:
            os.environ[ALLOW_REMOTE] = "1"  # this process is ours, and those that it starts are to know
        for one, other in self._pairs:
            if (one in parsed) != (other in parsed):
                raise SettingError(self.prog, f"--{one} and --{other} go together", "give both or neither")
        return parsed

    def _refuse_empty(self, parsed: argparse.Namespace) -> None:
        """One line for a flag without a value, as of `--input "$MAP"` where the shell knows no MAP: "" is a folder."""
        for action in self._actions:
            waiting = [getattr(parsed, action.dest, None)]
            while waiting:
                value = waiting.pop()
                if isinstance(value, list):
                    waiting += value
                elif value == "":
                    name = action.option_strings[0] if action.option_strings else action.dest
                    raise SettingError(name, "is given, but empty", "check what the shell makes of it, or leave it out")

    def arrange(self, usual: str, groups: dict[str, str]) -> None:
        """The flags that `-h` shows, and all flags by the titles of their groups: names with blanks between them."""
        self._usual = tuple(usual.split())
        self._groups = {title: tuple(names.split()) for title, names in groups.items()}

    def format_help(self, everything: bool = False) -> str:
        """argparse's, for the flags that are to be shown, group by group."""
        usual = {*self._usual, "help", "help_all"} if self._usual and not everything else None
        shown = [action for action in self._actions if usual is None or action.dest in usual]
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, shown, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        titles = {name: title for title, names in self._groups.items() for name in names}
        of = {action.dest: titles.get(action.dest.removeprefix("no_"), titles.get(action.dest)) for action in shown}
        rest = [action for action in shown if of[action.dest] is None]
        sections = {"positional arguments": [a for a in rest if not a.option_strings]}
        sections |= {title: [a for a in shown if of[a.dest] == title] for title in self._groups}
        sections["options"] = [a for a in rest if a.option_strings]
        for title, actions in sections.items():
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        hidden = len(self._actions) - len(shown)
        formatter.add_text(f"{hidden} more flags: --help_all explains every one." if hidden else None)
        return formatter.format_help()

    def pair(self, one: str, other: str) -> None:
        """Two flags of which each means nothing without the other."""
        self._pairs.append((one, other))

    def flag(self, name: str, help: str, *others: str, **settings) -> None:
        """Adds `--name`, and `others` for the same, spelled with `_` or `-`. A default of None is left to the help."""
        spellings = [word for each in (name, *others) for word in dict.fromkeys((each, each.replace("_", "-")))]
        spellings = [f"--{word}" for word in spellings]
        if settings.get("action") != "store_true" and settings.get("default") is None:
            settings["default"] = argparse.SUPPRESS
        if settings.get("type") in (int, float):
            settings["type"] = {int: whole, float: number}[settings["type"]]
        self.add_argument(*spellings, dest=name, help=as_called(help).replace("%", "%%"), **settings)

    def error(self, message: str):
        """One line, as for every other mistake, with the flag that may have been meant."""
        strange = [word for word in message.split() if word.startswith("--")] if "unrecognized" in message else []
        known = [name for action in self._actions for name in action.option_strings]
        alike = [name for word in strange for name in difflib.get_close_matches(word.split("=")[0], known, 1)]
        meant = f"did you mean {', '.join(alike)}? " if alike else ""
        lists = "--help_all" if self._usual else "-h"
        print(f"error: {message}: {meant}{self.prog} {lists} lists every flag", file=sys.stderr)
        sys.exit(2)


class _HelpAll(argparse.Action):
    """Explains every flag, and stops."""

    def __call__(self, parser, namespace, values, option_string=None):
        print(parser.format_help(everything=True), end="")
        parser.exit()


def going_on(args: argparse.Namespace, script: str, *words) -> str:
    """The command of a next step on the same data, ready to be pasted."""
    moved = [] if args.data_dir == DATA else ["--data_dir", args.data_dir]
    return command_line(script, *words, *moved)


def workspace_flags(parser: Parser, workers: bool = True) -> None:
    """Adds --data_dir, and --workers where threads work beside the reader."""
    parser.flag("data_dir", "folder of the scenes and of all that is made from them", default=DATA, metavar="DIR")
    if workers:
        parser.flag("workers", "threads that work beside the reader", type=positive, default=cores(), metavar="N")


def cluster_flag(parser: Parser) -> None:
    """Adds --cluster, of the stages whose work can be shared out."""
    text = "Dask scheduler tcp://HOST:PORT to share the work out on, or `local` for one worker per core or GPU here"
    parser.flag("cluster", f"{text} (default: none, this process does all)", metavar="ADDRESS")


@contextmanager
def chosen_cluster(args: argparse.Namespace, gpus: int = 0) -> Iterator[Here | Cluster]:
    """Where --cluster has the work done."""
    with open_cluster(getattr(args, "cluster", None), getattr(args, "workers", cores()), gpus) as cluster:
        yield cluster


def legend_flag(parser: Parser) -> None:
    """Adds --legend, of the commands that know the legend of the cut; see chosen_legend."""
    text = "jingwei, gf2, gf3 or a legend's JSON file (default: the one that the scenes were cut with, "
    text += "else DIR/legend.json, else jingwei)"
    parser.flag("legend", text)


def label_nodata_flag(parser: Parser) -> None:
    """Adds --label_nodata, of the commands that read labels or maps of other programs."""
    text = "where the nodata tag of a label or map is a class's value: keep the class, or ignore those pixels "
    text += "(default: as the legend says, else such a file is refused)"
    parser.flag("label_nodata", text, choices=LABEL_NODATA)


def drawing_flags(parser: Parser) -> None:
    """Adds the flags of the commands that read labels: how drawn ones are to be read; see docs/labels.md."""
    text = "field of drawn labels with the classes, ids or names (default: found)"
    parser.flag("label_field", text, metavar="FIELD")
    text = "how far the label of a drawn line or point reaches: metres (2.5), or pixels (3px)"
    parser.flag("buffer", text, metavar="WIDTH")
    text = "field of drawn labels: where two overlap, the one with the higher value counts (default: the later one)"
    parser.flag("order", text, metavar="FIELD")
    text = "polygons of what is labelled completely: what is not drawn there is background; a field `use` (train, "
    text += "validation, test) says what for"
    parser.flag("labelled", text, metavar="FILE")
    text = "all that is not drawn is background; else it has no label"
    parser.flag("background_outside", text, action="store_true")


def drawing_rules(args: argparse.Namespace) -> DrawingRules:
    """What the flags of `drawing_flags` say."""
    named = {name: getattr(args, name, None) for name in ("label_field", "buffer", "order", "labelled")}
    return rules_of(**named, background_outside=args.background_outside)


def gsd_flag(parser: Parser) -> None:
    """Adds --gsd, of the commands that tell hectares."""
    text = "side of a pixel on the ground in metres (default: as the georeference says; without one, areas are in px)"
    parser.flag("gsd", text, type=length, metavar="METRES")


def length(text: str) -> float:
    """A number of metres above 0."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a length")
    return value


def number(text: str) -> float:
    """A number that is finite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value


def whole(text: str) -> int:
    """A whole number that libraries can count with."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if abs(value) > LARGEST:
        raise argparse.ArgumentTypeError(f"{text} is too large a number")
    return value


def cog_flag(parser: Parser) -> None:
    """Adds --cog, of the stages that write maps; see write_cogs."""
    parser.flag("cog", "write the map as a Cloud-Optimised GeoTIFF too, for GIS and the web", action="store_true")


def write_cogs(args: argparse.Namespace, maps: Iterable[tuple[Path, Path | None]]) -> None:
    """With --cog, copies label maps: beside their submission, `image_3_predict.tif`; without one, to `MAP_cog.tif`."""
    from jingwei.raster.cog import write_cog

    for labels, submission in maps if args.cog else ():
        target = submission.with_suffix(".tif") if submission else labels.with_name(f"{labels.stem}_cog.tif")
        write_cog(labels, target, getattr(args, "workers", cores()))
        say(f"written: {target}")


def positive(text: str) -> int:
    """A whole number from 1 up."""
    value = whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def not_negative(text: str) -> int:
    """A whole number from 0 up."""
    value = whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def chosen_legend(
    args: argparse.Namespace,
    workspace: Workspace,
    *,
    label: Path | None = None,
    of_map: Path | None = None,
    **others: Any,
) -> "ChosenLegend":
    """The legend of --legend, else as inputs/legends.py says: by a `label` or a map that is named, or by the folder.

    Raises InputError where it is the folder's, and a map there says otherwise.
    """
    from jingwei.inputs.legends import choose_legend
    from jingwei.raster.map_legend import legend_of_map, refuse_unlike_legends

    where: dict[str, Any] = {"label": label, "of_map": of_map, "cut": workspace.train, "folder": workspace.root}
    where |= others
    named, meant = getattr(args, "legend", None), getattr(args, "label_nodata", None)
    maps = workspace.all_maps() if named is None and label is None and of_map is None else []
    if maps:  # where nothing was cut, and the folder has no legend, they know
        where["of_network"] = next(filter(None, map(legend_of_map, maps)), None)
    chosen = choose_legend(named, label_nodata=meant, usual="jingwei", **where)
    refuse_unlike_legends(maps, (chosen.legend, chosen.source))
    return chosen


def warn_of_earlier_fill(workspace: Workspace, scenes: Iterable[Scene]) -> None:
    """Warns of filled maps, which go before all others, that are of an earlier map than the one that is there now."""
    for scene in scenes:
        filled = workspace.filled(scene)
        if filled.exists() and not workspace.is_fill_of_now(scene):
            problem = "was made of an earlier map, but counts as the scene's last"
            print(f"warning: {filled}: {problem}: run {spelled('fill_hole.py')} again, or delete it", file=sys.stderr)


def tell_legend(chosen: "ChosenLegend") -> None:
    """Says which legend was taken: its name, or its file."""
    names = chosen.legend.names
    say(f"legend {chosen.source}: {len(names)} classes, {', '.join(names)}")
