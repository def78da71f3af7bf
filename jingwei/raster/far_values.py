"""Values of float scenes that nothing else comes near: fill values that no tag names, numbers that went wrong.

A single one of them decides the mean and the spread of all pixels, and so what a network is shown.
"""

from typing import NamedTuple

import numpy as np

from jingwei.raster.validity import LARGEST

FAR = 1e6  # times what 99 % of the pixels have, at most
LOOKED_AT = 10_000  # pixels of a part that tell what is usual


class FarValue(NamedTuple):
    """Where such a value is: row and column from 0, band from 1. `is_void`: it counts as no data."""

    row: int
    col: int
    band: int
    value: float
    is_void: bool

    def in_words(self) -> str:
        """What is wrong, for a message."""
        place = f"band {self.band} has {self.value:g} in row {self.row}, column {self.col} (from 0)"
        if self.is_void:
            return f"{place}: nothing measured is so large, so that it counts as no data"
        return f"{place}, over {FAR:,.0f} times what nearly all pixels there have: it spoils means and what is learned"


REMEDY = "name its nodata value (gdal_edit.py -a_nodata VALUE), or correct the pixel"


def far_value(pixels: np.ndarray, valid: np.ndarray, row: int = 0, col: int = 0) -> FarValue | None:
    """The first value in pixels_CHW that is far from all others, None where there is none, or values are whole numbers.

    `valid` (bool HW) leaves out no data; values beyond LARGEST are found all the same. (`row`, `col`) is where the part
    begins in its scene.
    """
    if pixels.dtype.kind != "f" or not valid.size:
        return None
    found = []
    step = max(1, valid.size // LOOKED_AT)
    for band, plane in enumerate(pixels, 1):
        sizes = np.abs(plane)
        usual = sizes[valid][::step]
        limit = FAR * float(np.percentile(usual, 99)) if usual.size else np.inf
        beyond = (sizes >= LARGEST) & np.isfinite(sizes)
        if limit > 0:
            beyond |= (sizes > limit) & valid
        if beyond.any():
            r, c = np.unravel_index(beyond.argmax(), beyond.shape)
            value = float(plane[r, c])
            found.append(FarValue(row + int(r), col + int(c), band, value, abs(value) >= LARGEST))
    return min(found, default=None)
