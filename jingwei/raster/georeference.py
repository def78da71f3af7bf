"""Places on maps: from pixels to coordinates and back, and from one CRS to another."""

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform

from jingwei.errors import InputError


def placed(affine, x, y):
    """Where a transform (or the inverse of one) puts points: (x, y), numbers or arrays."""
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def moved(points_N2: np.ndarray, source: str | None, target: CRS | None, where) -> np.ndarray:
    """Points (float64 x, y; longitude before latitude) of one CRS in another; as they are where either is unknown.

    `where` is the file that they come from. Raises InputError for a CRS that PROJ doesn't know.
    """
    if not source or not target or not len(points_N2):
        return points_N2
    try:
        known = CRS.from_user_input(source)
        if known == target:
            return points_N2
        return np.stack(transform(known, target, *points_N2.T), axis=1)
    except CRSError as error:
        raise InputError(where, f"has a CRS that can't be used ({error})", "export it in the map's CRS") from error
