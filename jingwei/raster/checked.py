"""Maps read strip by strip, their ids checked against a legend."""

from collections.abc import Iterator

import numpy as np

from jingwei import grid
from jingwei.errors import InputError
from jingwei.legend import NODATA, Legend
from jingwei.raster.reading import Raster


def checked_strips(labels: Raster, legend: Legend, rows: int) -> Iterator[np.ndarray]:
    """The strips of a map, top to bottom. InputError for ids that the legend doesn't know."""
    known = np.zeros(256, bool)
    known[[*range(len(legend)), NODATA]] = True
    for first, end in grid.strips(labels.height, rows):
        strip = labels.read_label_rows(first, end)
        if not known[strip].all():
            strange = ", ".join(map(str, np.unique(strip[~known[strip]])[:8]))
            problem = f"ids {strange} in rows {first} to {end}, but legend {legend.name} ends at {len(legend) - 1}"
            raise InputError(labels.path, problem, "name the right legend with `legend`")
        yield strip
