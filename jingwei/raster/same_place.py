"""Whether two rasters that must lie on each other do: by size, and by what both say of their place."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import GCPTransformer, RPCTransformer

from jingwei.errors import InputError
from jingwei.raster.gdal import GDAL_FAILURES
from jingwei.raster.georeference import Georeference, moved, placed

MOST_PX = 1.0  # that corners may be apart: tools round, and name one CRS in several ways


def check_same_grid(raster, other) -> None:
    """Raises InputError where two rasters that must lie on each other differ in size or, where both say it, place."""
    check_same_size(raster, other)
    check_same_place(raster, other)


def check_same_size(raster, other) -> None:
    """Raises InputError where two rasters that must lie on each other differ in size."""
    if raster.shape != other.shape:
        ours, theirs = (f"{r.width} x {r.height}" for r in (raster, other))
        problem = f"{ours} px, but {other.path.name} is {theirs}"
        raise InputError(raster.path, problem, "export it again at the same size")


def check_same_place(raster, other) -> None:
    """Raises InputError where two rasters of one size say, both, where they lie, and it's not the same place.

    They say so by a transform, by ground control points or by RPCs. Corners may be MOST_PX apart, and as far as control
    points miss the polynomial that GDAL fits to them. Where one has a transform but no CRS, as by a world file, its
    coordinates are taken for those of the other.
    """
    if raster.georeference == other.georeference:
        return
    corners = np.array([(col, row) for col in (0, other.width) for row in (0, other.height)], np.float64)
    ours, theirs = _mapping(raster.georeference), _mapping(other.georeference)
    if ours is None or theirs is None:
        return
    try:
        there = moved(ours.to_ground(corners), ours.crs, theirs.crs, raster.path)
        apart = np.abs(theirs.to_pixels(there) - corners).max()
        most = MOST_PX + ours.error(corners) + theirs.error(corners)
    except (InputError, *GDAL_FAILURES):  # no way from the one CRS to the other
        apart, most = np.inf, MOST_PX
    if apart <= most:
        return
    if ours.crs and theirs.crs and ours.crs != theirs.crs:
        problem = f"is in {ours.crs.to_string()}, but {other.path.name} is in {theirs.crs.to_string()}"
    else:
        problem = f"lies at another place than {other.path.name}, by its georeference ({apart:.1f} px apart)"
    remedy = "export it again on the scene's grid; or, where the pixels fit, without a georeference"
    raise InputError(raster.path, problem, remedy)


class _Mapping(NamedTuple):
    """From pixels (col, row; N2) to coordinates (x, y) and back; `known` are points that say where they lie.

    `crs` is None where only a transform is known, as of a world file.
    """

    crs: CRS | None
    to_ground: Callable[[np.ndarray], np.ndarray]
    to_pixels: Callable[[np.ndarray], np.ndarray]
    known: tuple[np.ndarray, np.ndarray] | None = None

    def error(self, points: np.ndarray) -> float:
        """How far (px) the way there and back misses points, and the mapping those that are known. 0 of a transform."""
        if self.known is None:
            return 0.0
        missed = [self.to_pixels(self.to_ground(points)) - points]
        if len(self.known[0]):
            missed.append(self.to_pixels(self.known[1]) - self.known[0])
        return max(float(np.abs(part).max()) for part in missed)


def _mapping(place: Georeference) -> _Mapping | None:
    """How a raster's pixels lie on the ground; None where it doesn't say."""
    if not place.transform.is_identity:
        if place.transform.is_degenerate:
            return None
        return _Mapping(
            place.crs,
            lambda points: np.stack(placed(place.transform, *points.T), axis=1),
            lambda points: np.stack(placed(~place.transform, *points.T), axis=1),
        )
    if place.gcps and place.gcps_crs:
        points = np.array(place.gcps)
        try:
            polynomial = GCPTransformer([GroundControlPoint(*point) for point in place.gcps])
        except GDAL_FAILURES:  # too few points, or all on a line
            return None
        return _by(polynomial, place.gcps_crs, (points[:, 1::-1], points[:, 2:4]))
    if place.rpcs:
        return _by(RPCTransformer(place.rpcs), CRS.from_epsg(4326), (np.empty((0, 2)), np.empty((0, 2))))
    return None


def _by(transformer, crs: CRS, known: tuple[np.ndarray, np.ndarray]) -> _Mapping:
    def to_ground(points: np.ndarray) -> np.ndarray:
        return np.stack(transformer.xy(points[:, 1], points[:, 0], offset="ul"), axis=1)

    def to_pixels(points: np.ndarray) -> np.ndarray:
        rows, cols = transformer.rowcol(*points.T, op=np.asarray)
        return np.stack((cols, rows), axis=1)

    return _Mapping(crs, to_ground, to_pixels, known)
