"""How much ground a pixel covers, from a map's georeference."""

import math
import re
from typing import NamedTuple

from numba import njit

from jingwei.errors import InputError, SettingError
from jingwei.raster.reading import Raster

HECTARE = 10_000.0  # square metres


class Ground(NamedTuple):
    """What turns pixels into square metres.

    `flattening` is the ellipsoid's squared eccentricity, or -1 where all pixels cover `square_metres`. Otherwise, a
    pixel at latitude p covers square_metres * cos p / (1 - flattening * sin^2 p)^2: the product of the ellipsoid's two
    radii of curvature, times the pixel's sides in radians (Snyder, Map Projections: A Working Manual, 1987, equations
    4-18 to 4-20). Latitudes (radians) are those of pixel centres.
    """

    square_metres: float
    flattening: float = -1.0
    latitude: float = 0.0
    per_row: float = 0.0
    per_col: float = 0.0


PIXELS = Ground(1.0)  # where nothing is known of the ground


def ground_of(raster: Raster, gsd: float | None = None) -> Ground | None:
    """What a pixel of a raster covers; None where neither its georeference nor `gsd` (metres) tells.

    A projected CRS gives one area for all pixels: the map's, with whatever distortion the projection has. Under a
    geographic CRS (degrees), pixels are measured on the ellipsoid.
    """
    if gsd is not None:
        if not (gsd > 0 and math.isfinite(gsd)):
            raise SettingError("`gsd`", f"is {gsd:g}", "give the side of a pixel on the ground in metres, such as 0.1")
        return Ground(gsd * gsd)
    crs, affine = raster.crs, raster.transform
    if not crs or not (crs.is_projected or crs.is_geographic):
        return None
    unit = crs.units_factor[1]  # metres or radians
    square = abs(affine.determinant) * unit * unit
    if crs.is_projected:
        return Ground(square)
    named = re.search(r'(?:SPHEROID|ELLIPSOID)\["[^"]*",\s*([\d.eE+]+),\s*([\d.eE+]+)', crs.to_wkt())
    if not named:
        raise InputError(raster.path, "has a CRS without an ellipsoid", "give `gsd`, the side of a pixel in metres")
    radius, inverse = map(float, named.groups())
    flattening = 1 / inverse if inverse else 0.0
    eccentricity = flattening * (2 - flattening)  # squared
    centre = (affine.f + (affine.d + affine.e) / 2) * unit
    return Ground(
        square * radius**2 * (1 - eccentricity), eccentricity, centre, affine.e * unit, affine.d * unit
    )  # fmt: skip


@njit(cache=True, nogil=True)
def ground_under(ground, row, start, end):
    """Square metres under the pixels `start` to `end` of a row."""
    if ground.flattening < 0:
        return (end - start) * ground.square_metres
    latitude = ground.latitude + ground.per_row * row + ground.per_col * (start + end - 1) / 2
    curved = 1 - ground.flattening * math.sin(latitude) ** 2
    return (end - start) * ground.square_metres * math.cos(latitude) / (curved * curved)
