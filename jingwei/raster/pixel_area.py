"""How much ground each pixel covers, measured on the ellipsoid: what a map's projection does to areas is undone."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from jingwei.errors import InputError, SettingError
from jingwei.raster.georeference import placed
from jingwei.raster.reading import Raster
from jingwei.system.compiled import compiled

HECTARE = 10_000.0  # square metres
ERROR = 1e-6  # of areas between those that are computed, as a share of them
MOST_AREAS = 1 << 16  # that are computed: for some hundred thousand, PROJ would take seconds
LEAST_SPAN = 100.0  # metres: of smaller pixels a square of this side is measured, or PROJ's rounding would count


class Ground(NamedTuple):
    """Square metres under the pixels of a map: `areas` (float64) at some `rows` and `cols` (int64), linear between.

    The first and the last of a map's rows and columns are among them; all steps but the last are of one length.
    """

    rows: np.ndarray
    cols: np.ndarray
    areas: np.ndarray


def even_ground(square_metres: float) -> Ground:
    """All pixels cover the same."""
    return Ground(np.zeros(1, np.int64), np.zeros(1, np.int64), np.full((1, 1), square_metres))


PIXELS = even_ground(1.0)  # where nothing is known of the ground


def ground_of(raster: Raster, gsd: float | None = None) -> Ground | None:
    """What the pixels of a raster cover: by `gsd` (metres a side), else by its georeference.

    None where neither says, or where its CRS has no place on earth for one of its corners. Raises SettingError for a
    `gsd` that makes no sense, InputError for a CRS that PROJ can't use.
    """
    if gsd is not None:
        if not (gsd > 0 and math.isfinite(gsd)):
            raise SettingError("`gsd`", f"is {gsd:g}", "give the side of a pixel on the ground in metres, such as 0.1")
        return even_ground(gsd * gsd)
    if not raster.crs or not (raster.crs.is_projected or raster.crs.is_geographic):
        return None
    measure = _measure(raster)
    rows, cols = _steps(raster.height, 4), _steps(raster.width, 4)
    while True:
        areas = measure(rows, cols)
        if not (np.isfinite(areas).all() and (areas > 0).all()):
            return None
        coarse_rows = _bends(rows, areas, lambda middle: measure(middle, cols))  # noqa: B023
        coarse_cols = _bends(cols, areas.T, lambda middle: measure(rows, middle).T)  # noqa: B023
        more = (1 + coarse_rows) * (1 + coarse_cols)
        if more == 1 or more * areas.size > MOST_AREAS:
            return Ground(rows, cols, areas)
        rows = _steps(raster.height, 2 * len(rows)) if coarse_rows else rows
        cols = _steps(raster.width, 2 * len(cols)) if coarse_cols else cols


def _steps(length: int, count: int) -> np.ndarray:
    """Indices from 0 to the last of `length`, in about `count` equal steps."""
    if length == 1:
        return np.zeros(1, np.int64)
    step = max(1, -(-(length - 1) // count))
    return np.append(np.arange(0, length - 1, step), length - 1)


def _bends(indices: np.ndarray, areas: np.ndarray, measure: Callable) -> bool:
    """Whether areas, half-way between indices along the first axis, are not what they should be by their neighbours."""
    if len(indices) == 1 or indices[1] == 1:
        return False
    middle = (indices[:-1] + indices[1:]) // 2
    share = ((middle - indices[:-1]) / np.diff(indices))[:, None]
    expected = areas[:-1] + share * (areas[1:] - areas[:-1])
    return bool((np.abs(measure(middle) - expected) > ERROR * expected).any())


def pixel_sides(raster) -> tuple[float, float] | None:
    """Width and height of a pixel on the ground in metres, in the middle of a raster. None where it has no place there.

    Raises InputError for a CRS that PROJ can't use.
    """
    if not raster.crs or not (raster.crs.is_projected or raster.crs.is_geographic):
        return None
    try:
        crs = CRS.from_wkt(raster.crs.to_wkt())
        ellipsoid = crs.get_geod()
        geodetic: Any = crs.geodetic_crs  # None of some, which the next lines find out
        to_degrees = Transformer.from_crs(crs, geodetic, always_xy=True)
        span = max(1.0, LEAST_SPAN * (1e-5 if crs.is_geographic else 1.0) / abs(raster.transform.determinant) ** 0.5)
        col, row = np.array([0, span, 0]) + raster.width / 2, np.array([0, 0, span]) + raster.height / 2
        degrees = math.degrees(geodetic.axis_info[0].unit_conversion_factor)  # some count grads
        x, y = (np.asarray(each) * degrees for each in to_degrees.transform(*placed(raster.transform, col, row)))
    except (ProjError, AttributeError, IndexError) as error:
        raise InputError(
            raster.path, f"has a CRS that lengths can't be measured in ({error})", "reproject it"
        ) from error
    if ellipsoid is None or not np.isfinite([x, y]).all():
        return None
    _, _, (right, down) = ellipsoid.inv([x[0]] * 2, [y[0]] * 2, x[1:], y[1:])
    return right / span, down / span


def _measure(raster: Raster) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function (rows, columns) -> square metres under these pixels, float64; not finite where that is nowhere."""
    try:
        assert raster.crs is not None, "only asked where there is one"
        crs: Any = CRS.from_wkt(raster.crs.to_wkt())
        crs = crs.source_crs if crs.is_bound else crs
        crs = crs.sub_crs_list[0] if crs.is_compound else crs
        base = crs if crs.is_geographic else crs.geodetic_crs  # of the same datum: nothing is shifted
        # (axis units in radians, for coordinates come in the order of the axes that always_xy gives)
        unit = base.axis_info[0].unit_conversion_factor
        to_base = None if crs.is_geographic else Transformer.from_crs(crs, base, always_xy=True)
        radius, inverse = base.ellipsoid.semi_major_metre, base.ellipsoid.inverse_flattening
    except (ProjError, AttributeError, IndexError) as error:
        remedy = "give `gsd`, the side of a pixel on the ground in metres"
        raise InputError(raster.path, f"has a CRS that areas can't be measured in ({error})", remedy) from error
    flattening = 1 / inverse if inverse else 0.0
    eccentricity = flattening * (2 - flattening)  # squared
    side = math.sqrt(abs(raster.transform.determinant)) * raster.crs.units_factor[1]
    half = 0.5 if to_base is None else max(0.5, LEAST_SPAN / 2 / side)  # pixels

    def on_earth(x, y) -> np.ndarray:
        """Points of the ellipsoid, metres from its middle, (3, ...)."""
        if to_base is not None:
            x, y = to_base.transform(x, y)
        longitude, latitude = np.asarray(x) * unit, np.asarray(y) * unit
        normal = radius / np.sqrt(1 - eccentricity * np.sin(latitude) ** 2)
        across = normal * np.cos(latitude)
        up = normal * (1 - eccentricity) * np.sin(latitude)
        return np.stack([across * np.cos(longitude), across * np.sin(longitude), up])

    def measure(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        middle_y, middle_x = (part.astype(np.float64) + 0.5 for part in np.meshgrid(rows, cols, indexing="ij"))
        with np.errstate(invalid="ignore"):
            one, other, third, fourth = (
                on_earth(*placed(raster.transform, middle_x + half * right, middle_y + half * down))
                for right, down in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            )
            diagonals = np.cross(third - one, fourth - other, axis=0)
            areas = np.sqrt((diagonals**2).sum(axis=0)) / 2 / (2 * half) ** 2
        if to_base is None:  # beyond the poles is nowhere, though sines and cosines go on; PROJ says so by itself
            _, latitude = placed(raster.transform, middle_x, middle_y)
            areas[np.abs(latitude * unit) > math.pi / 2] = np.nan
        return areas

    return measure


@compiled
def ground_under(ground, row, start, end):
    """Square metres under the pixels `start` to `end` of a row."""
    rows, cols, areas = ground
    if areas.size == 1:
        return (end - start) * areas[0, 0]
    upper = min(row // rows[1], len(rows) - 2) if len(rows) > 1 else 0
    lower = min(upper + 1, len(rows) - 1)
    down = (row - rows[upper]) / (rows[lower] - rows[upper]) if lower > upper else 0.0
    total = 0.0
    while start < end:  # of each stretch of columns, pixels change evenly: all are the middle one on average
        left = min(start // cols[1], len(cols) - 2) if len(cols) > 1 else 0
        right = min(left + 1, len(cols) - 1)
        stop = min(end, cols[right]) if right < len(cols) - 1 else end
        across = ((start + stop - 1) / 2 - cols[left]) / (cols[right] - cols[left]) if right > left else 0.0
        above = areas[upper, left] + across * (areas[upper, right] - areas[upper, left])
        below = areas[lower, left] + across * (areas[lower, right] - areas[lower, left])
        total += (stop - start) * (above + down * (below - above))
        start = stop
    return total


@compiled
def add_pixels(row, first, end, number, ground, pixels, metres):
    """Adds the pixels `first` to `end` of a row, row `number` of the map, to those of their classes."""
    while first < end:
        label, start = row[first], first
        while first < end and row[first] == label:
            first += 1
        pixels[label] += first - start
        metres[label] += ground_under(ground, number, start, first)


@compiled
def add_strip(strip, top, ground, pixels, metres):
    """Adds all pixels of a strip (uint8 HW), which begins at row `top` of the map, to those of their classes.

    `pixels` int64 and `metres` float64 (square), 256 each.
    """
    for r in range(strip.shape[0]):
        add_pixels(strip[r], 0, strip.shape[1], top + r, ground, pixels, metres)


@compiled
def add_inside(inside, strip, top, left, ground, pixels, metres):
    """Adds the pixels of a strip that are `inside` (uint8 HW, 0 outside; its first column is column `left`)."""
    for r in range(inside.shape[0]):
        c = 0
        while c < inside.shape[1]:
            start = c
            while c < inside.shape[1] and inside[r, c]:
                c += 1
            if c > start:
                add_pixels(strip[r], left + start, left + c, top + r, ground, pixels, metres)
            c += 1
