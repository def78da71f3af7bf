"""The flags of fill_hole.py that say what is filled: which rule, and its sizes."""

import argparse
from typing import Any

from jingwei.cli.parser import Parser, positive
from jingwei.errors import SettingError
from jingwei.legend import Legend

# The flags that only one of the rules knows, with what counts where they are not given.
DEFAULTS: dict[str, dict[str, Any]] = {
    "hole": {"max_size": 500, "min_area": ["0"], "connectivity": 4, "protect": ()},
    "frame": {"frame_sizes": [500, 400], "step": 50},
}


def rule_flags(parser: Parser) -> None:
    """Adds --rule and the flags of each rule. They have no defaults here: what is given must fit the rule."""
    text = "`hole`: regions of background inside one class; `frame`: what the contest script's sliding frames surround"
    parser.flag("rule", text, choices=tuple(DEFAULTS), default="hole")
    parser.flag("max_size", "a hole fits in a square of this side, px (default: 500)", type=positive, metavar="PX")
    text = "regions smaller than this go to a neighbour: px, or CLASS=PX for some classes, or both (default: 0)"
    parser.flag("min_area", text, nargs="+", metavar="PX")
    parser.flag("connectivity", "neighbours that join a region (default: 4)", type=int, choices=(4, 8))
    text = "classes whose pixels never change, by name or id; small regions of others may still join them"
    parser.flag("protect", text, nargs="+", metavar="CLASS")
    text = "sides of the frames, px; the next goes over the result of the last (default: 500 400)"
    parser.flag("frame_sizes", text, nargs="+", type=int, metavar="PX")
    parser.flag("step", "distance between frames, px (default: 50)", type=int, metavar="PX")
    text = "fill only holes inside these classes, by name or id (default: all)"
    parser.flag("classes", text, nargs="+", metavar="CLASS")


def chosen_rule(args: argparse.Namespace, legend: Legend) -> dict:
    """What `filling.fill_map` wants to know of the flags. SettingError for a flag that the rule has no use for."""
    from jingwei.filling.fill_map import Frames

    for rule, flags in DEFAULTS.items():
        for flag in flags if rule != args.rule else ():
            if flag in args:
                remedy = f"leave it out, or take --rule {rule}"
                raise SettingError(f"--{flag}", f"means nothing to --rule {args.rule}", remedy)
    given = DEFAULTS[args.rule] | vars(args)
    classes = {legend.id_of(name) for name in args.classes} if "classes" in args else None
    if args.rule == "frame":
        return {"classes": classes, "frames": Frames(tuple(given["frame_sizes"]), given["step"])}
    return {
        "classes": classes,
        "max_size": given["max_size"],
        "min_area": _areas(given["min_area"], legend),
        "connectivity": given["connectivity"],
        "protect": {legend.id_of(name) for name in given["protect"]},
    }


def _areas(entries: list[str], legend: Legend) -> dict[int, int]:
    """The smallest area that stays, by class: `100 corn=400` is 400 for corn and 100 for all others."""
    areas: dict[int, int] = {}
    for entry in sorted(entries, key=lambda entry: "=" in entry):  # the number for all comes first
        name, _, number = entry.rpartition("=")
        try:
            area = int(number)
        except ValueError:
            raise SettingError("--min_area", f"{entry!r} is not a number", "give px, CLASS=PX, or both") from None
        if not name and areas:
            raise SettingError("--min_area", "has two numbers for all classes", "give one, and CLASS=PX for others")
        areas |= {legend.id_of(name): area} if name else {land_class.id: area for land_class in legend.classes}
    return areas
