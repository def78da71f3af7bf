"""Classes: id, name, colour. The three contests' legends, and own ones from JSON.

A legend file looks like this (`background: null` says that no class is background):

    {"name": "dubai", "background": null,
     "classes": [{"id": 0, "name": "land", "color": "#8429F6"}, ...]}

A class whose pixels have another value than its id in masks says so: `"value": 255` (for masks of 0 and 255, say).
`"ignore": [0]` names the values of masks that are not labels. Where a class's value is also the nodata tag of labels,
`"label_nodata": "keep"` says that it is the class, `"ignore"` that it is not a label. `"bands": ["blue", "green",
"red", "nir"]` names the bands of the pictures, in the order of their files: see `spectrum.py`.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jingwei.errors import SettingError, known
from jingwei.spectrum import spelled, what_is_wrong
from jingwei.system.own_files import is_of, read_json, short

KEYS = ("name", "background", "classes", "ignore", "label_nodata", "bands")  # of a legend file
CLASS_KEYS = ("id", "name", "color", "value")
LABEL_NODATA = ("keep", "ignore")
EXAMPLE = "see the example of a legend in docs/formats.md"
NODATA = 255  # the id of "no label here, and none wanted": outside the flight, unlabelled, padding


@dataclass(frozen=True)
class LandClass:
    """One class of a legend. `color` is (red, green, blue), 0 to 255.

    `value` stands for the class in masks of one band; None: its id does. A class may have NODATA's 255 there.
    """

    id: int
    name: str
    color: tuple[int, int, int]
    value: int | None = None

    @property
    def mask_value(self) -> int:
        """The pixel value that stands for the class in masks."""
        return self.id if self.value is None else self.value


@dataclass(frozen=True)
class Legend:
    """The classes of a data set, ids 0 to n - 1 in order. `background` is an id, or None where no class is one.

    `ignore` are the values that are not labels. `label_nodata` says what a label's nodata tag means where it is
    a class's value: "keep", that class; "ignore", no label; "", nobody has said, and such labels are refused. `bands`
    are the names of the pictures' bands, "" for one that has none; () where nobody has named them.
    """

    name: str
    classes: tuple[LandClass, ...]
    background: int | None = 0
    ignore: tuple[int, ...] = ()
    label_nodata: str = field(default="", compare=False)  # says nothing of the classes
    bands: tuple[str, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(land_class.name for land_class in self.classes)

    @property
    def ids_and_names(self) -> tuple[str, ...]:
        """The classes as messages list them: `0 background`, `1 corn`."""
        return tuple(f"{c.id} {c.name}" for c in self.classes)

    @property
    def foreground(self) -> tuple[int, ...]:
        """The ids of all classes but the background: the ones that the contest's mIoU is about."""
        return tuple(c.id for c in self.classes if c.id != self.background)

    @property
    def has_values(self) -> bool:
        """Whether labels hold other values than the classes' ids."""
        return bool(self.ignore) or any(land_class.mask_value != land_class.id for land_class in self.classes)

    def without_values(self) -> "Legend":
        """The same classes for maps, which hold ids whatever values labels have."""
        return replace(self, classes=tuple(replace(land_class, value=None) for land_class in self.classes), ignore=())

    def with_label_nodata(self, choice: str | None) -> "Legend":
        """The same classes with one of LABEL_NODATA, or as they are where it is None. SettingError for others."""
        if choice is not None and choice not in LABEL_NODATA:
            raise SettingError(f"`label_nodata` {choice}", "no such choice", f"take {' or '.join(LABEL_NODATA)}")
        return self if choice is None else replace(self, label_nodata=choice)

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Pixel value -> RGBA, as GeoTIFF colour tables want it; NODATA is transparent."""
        return {c.id: (*c.color, 255) for c in self.classes} | {NODATA: (0, 0, 0, 0)}

    def id_of(self, name_or_id: str) -> int:
        """The id of a class given by name or by id. Raises SettingError naming the known classes."""
        ids = {str(c.id): c.id for c in self.classes} | {c.name: c.id for c in self.classes}  # names may be codes
        if name_or_id in ids:
            return ids[name_or_id]
        remedy = f"take one of: {', '.join(self.ids_and_names)}"
        raise SettingError(f"legend {self.name}", f"no class {name_or_id!r}", remedy)

    def check_ids(self, setting: str, ids: Iterable[int]) -> None:
        """Raises SettingError, which lists the classes, for ids of a `setting` that are none of theirs."""
        unknown = sorted(set(ids) - set(range(len(self))))
        if unknown:
            remedy = f"take some of: {', '.join(self.ids_and_names)}"
            raise SettingError(setting, f"legend {self.name} has no {unknown}", remedy)

    def to_dict(self) -> dict:
        """The legend as its JSON file has it."""
        classes: list[dict[str, Any]] = []
        for c in self.classes:
            entry = {"id": c.id, "name": c.name, "color": hex_of(c.color)}
            classes.append(entry if c.value is None else entry | {"value": c.value})
        content: dict[str, Any] = {"name": self.name, "background": self.background, "classes": classes}
        if self.ignore:
            content["ignore"] = list(self.ignore)
        if self.bands:
            content["bands"] = list(self.bands)
        return content | ({"label_nodata": self.label_nodata} if self.label_nodata else {})


def legend_from_dict(content: Any, where: object = "legend", kept: bool = False) -> Legend:
    """Checks and builds a legend from its JSON content. All problems are reported at once, as one SettingError.

    One that we have `kept` ourselves, in a checkpoint, was right by the rules of its day, and nobody can mend it there:
    colours that don't tell classes apart are accepted in it.
    """
    problems = []
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, list) or not classes:
        raise SettingError(
            where, 'has no list "classes"', 'write {"name": ..., "background": 0, "classes": [...]}, ' + EXAMPLE
        )
    unknown = sorted(set(content) - set(KEYS))
    if unknown:
        problems.append(f"unknown keys {', '.join(unknown)} ({known(KEYS, *unknown)})")
    parsed = _classes(classes, kept, problems)
    _note_clashes(parsed, kept, problems)
    background = content.get("background", 0)
    if background is not None and (type(background) is not int or background not in range(len(classes))):
        problems.append(f"background {json.dumps(background)} is not a class id: write null where no class is one")
    ignore = content.get("ignore", [])
    if not is_of(tuple[int, ...], ignore) or not all(0 <= value <= 255 for value in ignore):
        problems.append(f'"ignore" is {short(ignore)}, not a list of whole numbers from 0 to 255')
        ignore = []
    for land_class in parsed:
        if land_class.mask_value in ignore:
            problem = f'"ignore" names {land_class.mask_value}, which stands for class {land_class.name!r} in masks'
            problems.append(f'{problem}: give the class another "value", or take it out of "ignore"')
    choice = content.get("label_nodata", "")
    if choice not in ("", *LABEL_NODATA):
        problems.append(f'"label_nodata" is {short(choice)}: {known(LABEL_NODATA, str(choice))}')
    bands = content.get("bands", [])
    if "bands" in content and (wrong := what_is_wrong(bands)):
        problems.append(
            f'"bands" {wrong}: name every band once, in the order of the files, as ["blue", "green", "red"]'
        )
        bands = []
    if len(classes) > NODATA:
        problems.append(f"{len(classes)} classes, but ids end at {NODATA - 1}, as {NODATA} is kept for no data")
    if problems:
        raise SettingError(where, "; ".join(problems), EXAMPLE)
    return Legend(str(content.get("name", "own")), tuple(parsed), background, tuple(ignore), choice, spelled(bands))


def _classes(entries: list, kept: bool, problems: list[str]) -> list[LandClass]:
    """The classes of a legend's JSON, as far as they make sense; adds what is wrong to the problems."""
    parsed = []
    for position, entry in enumerate(entries):
        try:
            unknown = sorted(set(entry) - set(CLASS_KEYS)) if isinstance(entry, dict) else []
            if unknown:
                problems.append(f"class at place {position} has unknown keys {', '.join(unknown)} "
                                f"({known(CLASS_KEYS, *unknown)})")  # fmt: skip
            color = _rgb(entry["color"])
            name = entry["name"]
            if not (kept or (type(name) in (str, int) and str(name).strip())):
                problems.append(f"class at place {position} has the name {json.dumps(name)}, not a text")
            if entry["id"] != position or entry["id"] is True or entry["id"] is False:
                problems.append(
                    f"class {entry['name']!r} has id {entry['id']} at place {position}: ids run 0, 1, 2 ..."
                )
            value = entry.get("value")
            if value is not None and (type(value) is not int or not 0 <= value <= 255):
                problem = f"class {entry['name']!r} has value {value!r}"
                problems.append(f"{problem}, which is not a whole number from 0 to 255")
                value = None
            parsed.append(LandClass(position, str(name), color, value))
        except (KeyError, TypeError, ValueError):
            problems.append(f"class at place {position} is not id, name, color as #RRGGBB: {entry!r}")
    return parsed


def _note_clashes(parsed: list[LandClass], kept: bool, problems: list[str]) -> None:
    """Adds what classes have in common, and must not, to the problems."""
    names = [land_class.name for land_class in parsed]
    problems += [f"two classes are named {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]
    values = [land_class.mask_value for land_class in parsed]
    for value in sorted({v for v in values if values.count(v) > 1}):
        same = " and ".join(repr(c.name) for c in parsed if c.mask_value == value)
        problems.append(f'in masks {value} would stand for {same}: give each a "value" of its own')
    colors = [land_class.color for land_class in parsed]
    for color in [] if kept else sorted({c for c in colors if colors.count(c) > 1}):
        same = " and ".join(repr(c.name) for c in parsed if c.color == color)
        problems.append(f'{same} have one colour, {hex_of(color)}: give each a "color" of its own')


def hex_of(color: tuple[int, int, int]) -> str:
    """A colour as legend files have it, #RRGGBB."""
    return "#{:02X}{:02X}{:02X}".format(*color)


def _rgb(color: str) -> tuple[int, int, int]:
    if not re.fullmatch("#?[0-9A-Fa-f]{6}", color):
        raise ValueError(color)
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def find_legend(name_or_path: str) -> Legend:
    """A legend by name (`jingwei`, `gf2`, `gf3`) or from a JSON file."""
    if name_or_path in LEGENDS:
        return LEGENDS[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        raise SettingError(
            name_or_path, "no such legend", f"take {', '.join(LEGENDS)} or the path of a legend JSON file"
        )
    return legend_from_dict(read_json(path, remedy=EXAMPLE, error=SettingError), where=path)


def _legend(name: str, background: int | None, *classes: tuple[str, tuple[int, int, int]]) -> Legend:
    return Legend(name, tuple(LandClass(i, label, color) for i, (label, color) in enumerate(classes)), background)


JINGWEI = _legend(
    "jingwei",
    0,
    ("background", (0, 0, 0)),
    ("cured tobacco", (230, 159, 0)),
    ("corn", (240, 228, 66)),
    ("barley-rice", (0, 158, 115)),
    ("building", (204, 51, 63)),
)
GF2 = _legend(
    "gf2",
    0,
    ("other", (0, 0, 0)),
    ("building", (0, 0, 255)),
    ("grass", (0, 255, 0)),
    ("shrub/tree", (0, 128, 0)),
    ("water", (0, 255, 255)),
    ("road", (255, 255, 0)),
    ("impervious", (255, 255, 255)),
    ("vehicle", (255, 0, 255)),
    ("bare soil", (128, 128, 128)),
)
GF3 = _legend(
    "gf3",
    None,
    ("water", (0, 255, 255)),
    ("built-up", (255, 255, 0)),
    ("industrial", (0, 0, 255)),
    ("grassland", (0, 255, 0)),
    ("bare land", (255, 0, 0)),
    ("other", (255, 255, 255)),
)
LEGENDS = {legend.name: legend for legend in (JINGWEI, GF2, GF3)}
