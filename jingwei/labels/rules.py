"""How drawn labels are to be read: which field has the classes, how wide lines are, what is labelled at all."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from jingwei.errors import SettingError

ALL, TRAINING, ONLY_TEST = "all", "training", "test"  # which labels are wanted: see `DrawingRules.part`


class Width(NamedTuple):
    """How far labels reach round a line or a point: a number of metres (`m`) or of pixels (`px`)."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


@dataclass(frozen=True)
class DrawingRules:
    """How drawn labels are to be read.

    `field` has the classes (None: found), `buffer` makes areas of lines and points, features with a higher `order` (a
    field) lie above others, else the later ones do. Outside all features, pixels are background inside the areas of
    `labelled` (where these are `areas_complete`), or everywhere with `background_outside`; else they have no label. Of
    areas whose `use` is test, TRAINING leaves the labels out, and ONLY_TEST, where there are some, takes no others.
    """

    field: str | None = None
    buffer: Width | None = None
    order: str | None = None
    labelled: Path | None = None
    background_outside: bool = False
    part: str = ALL
    areas_complete: bool = True

    def only(self, part: str) -> "DrawingRules":
        """The same rules for a part of the labels."""
        return replace(self, part=part)

    def without_background(self) -> "DrawingRules":
        """The same rules for some of a scene's labels: what they don't show may well have other ones."""
        return replace(self, background_outside=False, areas_complete=False)

    @property
    def facts(self) -> dict:
        """What changes the labels that are read, in JSON's types; not what the files hold."""
        return {
            "field": self.field, "buffer": self.buffer, "order": self.order, "areas": self.labelled is not None,
            "background_outside": self.background_outside, "part": self.part, "areas_complete": self.areas_complete,
        }  # fmt: skip


AS_DRAWN = DrawingRules()


def rules_of(
    label_field: str | None = None,
    buffer: float | str | None = None,
    order: str | None = None,
    labelled: str | Path | None = None,
    background_outside: bool = False,
) -> DrawingRules:
    """The rules of these arguments, as flags and functions have them. SettingError where `buffer` is not a width."""
    width = None if buffer is None else _width(buffer)
    return DrawingRules(label_field, width, order, None if labelled is None else Path(labelled), background_outside)


def _width(text: float | str) -> Width:
    found = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*(m|px)?\s*", str(text))
    try:
        value = float(found[1]) if found else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise SettingError("`buffer`", f"is {text}", "give metres, such as 2.5, or pixels, such as 3px")
    return Width(value, (found and found[2]) or "m")
