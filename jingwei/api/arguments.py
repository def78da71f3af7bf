"""What arguments of the public API stand for, where several functions take them."""

from __future__ import annotations

from pathlib import Path

from jingwei.errors import SettingError
from jingwei.legend import Legend

StrPath = str | Path
Class = str | int  # by name or id


def legend_for(chosen: Legend | StrPath | None, map_of: Path, label_nodata: str | None) -> Legend:
    """The legend that was asked for, else that of a map, else the contest's."""
    from jingwei.inputs.legends import choose_legend

    return choose_legend(chosen, of_map=map_of, label_nodata=label_nodata).legend


def id_of_class(land_class: Class, legend: Legend) -> int:
    """The id of a class given by id or name. Raises SettingError naming the known classes."""
    if type(land_class) is int and 0 <= land_class < len(legend):
        return land_class  # a class may be named like the id of another
    return legend.id_of(str(land_class))


def worker_count(chosen: int | None) -> int:
    """How many threads or processes work: as many as were `chosen`, or as there are cores. SettingError below 1."""
    from jingwei.system.machine import cores

    if chosen is not None and chosen < 1:
        raise SettingError("`workers`", f"is {chosen}", "take 1 or more, or None for all cores")
    return chosen or cores()
