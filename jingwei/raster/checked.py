"""Maps whose ids are checked against a legend as they are read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jingwei import grid
from jingwei.errors import InputError
from jingwei.legend import NODATA, Legend
from jingwei.raster.reading import Raster, open_labels
from jingwei.raster.stamps import refuse_part
from jingwei.system.compiled import compiled

SHOWN = 8  # unknown ids that a message lists


def open_map(path: Path, legend: Legend, *, part: bool = False) -> Raster:
    """A map of the legend's class ids, which has no values of its own: see `open_labels`.

    Raises InputError for one of only a `part` of its scene, where that isn't wanted.
    """
    opened = open_labels(path, legend.without_values())
    if not part:
        with opened.closed_on_error():
            refuse_part(opened)
    return opened


def checked_strips(labels: Raster, legend: Legend, rows: int) -> Iterator[np.ndarray]:
    """The strips of a map, top to bottom. InputError for ids that the legend doesn't have."""
    for first, end in grid.strips(labels.height, rows):
        strip = labels.read_label_rows(first, end)
        refuse_unknown(strip, legend, labels.path, first)
        yield strip


def refuse_unknown(labels: np.ndarray, legend: Legend, path: Path, first: int) -> None:
    """Raises InputError for ids (uint8 HW, from row `first` of the file on) that the legend doesn't have."""
    if not _any_unknown(labels, len(legend)):
        return
    ids, counts = np.unique(labels[(labels >= len(legend)) & (labels != NODATA)], return_counts=True)
    listed = ", ".join(f"{i} ({n:,d} px)" for i, n in zip(ids[:SHOWN], counts, strict=False))
    row, col = np.argwhere(labels == ids[0])[0]
    problem = f"ids {listed} in rows {first} to {first + len(labels)}, the first at row {first + row}, column {col}"
    problem += f"; but legend {legend.name} ends at {len(legend) - 1}"
    raise InputError(path, problem, "name the right legend with `legend`, or correct the map")


@compiled
def _any_unknown(labels, classes):
    for row in labels:
        highest = np.uint8(0)
        for label in row:  # NODATA + 1 wraps round to 0; so plain a loop looks at many pixels at once
            highest = max(highest, np.uint8(label + np.uint8(1)))
        if highest > classes:
            return True
    return False
