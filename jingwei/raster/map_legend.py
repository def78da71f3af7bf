"""The legend that a map carries: so that a map alone says what its ids mean."""

import json
from collections.abc import Iterable
from pathlib import Path

from jingwei.errors import InputError, SettingError
from jingwei.legend import Legend, legend_from_dict
from jingwei.raster.reading import read_tags

LEGEND = "JINGWEI_LEGEND"  # the tag, a legend file's content


def legend_tags(legend: Legend) -> dict[str, str]:
    """The tag under which a map keeps its legend. Maps hold ids, whatever values labels have."""
    return {LEGEND: json.dumps(legend.without_values().to_dict(), ensure_ascii=False, separators=(",", ":"))}


def legend_of_map(path: Path) -> Legend | None:
    """The legend that a map was made with; None where it says none: those of version 0.3.0 and of other programs.

    Raises InputError where the map can't be read.
    """
    text = read_tags(path).get(LEGEND)
    try:
        return legend_from_dict(json.loads(text), where=path, kept=True) if text else None
    except (ValueError, RecursionError, SettingError):  # somebody else wrote it
        return None


def refuse_unlike_legends(maps: Iterable[Path], of_project: tuple[Legend, str] | None = None) -> None:
    """Raises InputError where legends have two classes of one id: of maps, and of the project (with its source).

    A vote would count them as one, a table name one for the other. A legend may have more classes than another.
    """
    said: dict[int, tuple[str, str]] = {}
    remedy = "take maps of one legend; or name the one that is right with `legend`"
    if of_project:
        legend, source = of_project
        said = {land_class.id: (land_class.name, source) for land_class in legend.classes}
        remedy = "run predict.py again, or delete the map; or name the legend that is right with `legend`"
    for path in maps:
        own = legend_of_map(path)
        for land_class in own.classes if own else ():
            name, first = said.setdefault(land_class.id, (land_class.name, path.name))
            if name != land_class.name:
                problem = f"says that {land_class.id} is {land_class.name}, but {first} says {name}"
                raise InputError(path, problem, remedy)
