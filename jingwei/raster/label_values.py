"""What the values of labels stand for: class ids, by a legend; and what a nodata tag does that is a class's value."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from jingwei.errors import InputError, known
from jingwei.legend import NODATA, Legend

UNKNOWN = -1  # no class has that value


@lru_cache(maxsize=8)
def ids_of_values(legend: Legend) -> np.ndarray:
    """Pixel value -> class id, NODATA or UNKNOWN: int16 of 256."""
    ids = np.full(256, UNKNOWN, np.int16)
    ids[[NODATA, *legend.ignore]] = NODATA
    for land_class in legend.classes:
        ids[land_class.mask_value] = land_class.id
    ids.flags.writeable = False
    return ids


def refuse_unknown_ids(path: Path, legend: Legend, counts: np.ndarray) -> None:
    """Raises InputError naming the ids of a label (`counts`, pixels of each of 256) that the legend does not know."""
    unknown = counts.copy()
    unknown[[*range(len(legend)), NODATA]] = 0
    strange = np.flatnonzero(unknown)
    if len(strange):
        problem = f"has ids that legend {legend.name} does not know: "
        problem += ", ".join(f"{i} ({unknown[i]:,d} px)" for i in strange)
        other = f'name another `legend`, or one with "ignore": [{strange[0]}] where that is not a label'
        raise InputError(path, problem, f"{known(legend.ids_and_names)}; {other}")


def takes_nodata_for_class(path: Path, legend: Legend, value: int, meant: int, count: Callable[[], int]) -> bool:
    """Whether a label's nodata tag is to be passed over, since its value is the class `meant` (an id, or UNKNOWN).

    `count` counts the pixels of that value. Raises InputError where there are some, and the legend doesn't say what
    they are: such tags are mostly there by mistake (`gdal_rasterize -a_nodata 0`), and a class would vanish.
    """
    if not 0 <= meant < len(legend) or legend.label_nodata == "ignore":
        return False
    if legend.label_nodata == "keep":
        return True
    pixels = count()
    if pixels:
        name = legend.classes[meant].name
        raise InputError(
            path,
            f"its nodata tag is {value}, which is also class {name} of legend {legend.name} ({pixels:,d} px)",
            f"take `label_nodata` keep where these pixels are {name}, ignore where they have no label; or "
            f'write "label_nodata" into the legend, or remove the tag: gdal_edit.py -unsetnodata {path.name}',
        )
    return False
