"""Where rasters lie: what a file says of it, from pixels to coordinates and back, from one CRS to another."""

from dataclasses import dataclass

import numpy as np
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.rpc import RPC
from rasterio.warp import transform

from jingwei.errors import InputError, SettingError
from jingwei.raster.gdal import GDAL_FAILURES, reason_of


@dataclass(frozen=True)
class Georeference:
    """What a file says of its place: a CRS and a transform, or ground control points, or RPCs; or nothing.

    The identity stands for no transform, as in rasterio. Control points are (row, col, x, y, z).
    """

    crs: CRS | None = None
    transform: Affine = Affine.identity()
    gcps: tuple[tuple[float, float, float, float, float], ...] = ()
    gcps_crs: CRS | None = None
    rpcs: RPC | None = None

    @classmethod
    def of(cls, dataset) -> "Georeference":
        """That of an open dataset of rasterio."""
        points, crs = dataset.gcps
        gcps = tuple((p.row, p.col, p.x, p.y, p.z or 0.0) for p in points)
        return cls(dataset.crs, dataset.transform, gcps, crs if gcps else None, dataset.rpcs)

    def __bool__(self) -> bool:
        return bool(self.crs or not self.transform.is_identity or self.gcps or self.rpcs)

    @property
    def beyond_transforms(self) -> str | None:
        """What places a raster that has no transform, in words; None of one that has, or has no place at all."""
        if not self.transform.is_identity:
            return None
        return "control points" if self.gcps else "RPCs" if self.rpcs else None

    @property
    def profile(self) -> dict:
        """Arguments of rasterio for a new file: no identity transform, which readers would take for a place."""
        return {"crs": self.crs, "transform": None if self.transform.is_identity else self.transform}

    def put_into(self, dataset) -> None:
        """Writes what `profile` can't say into a new dataset of rasterio: control points and RPCs.

        A GeoTIFF has a transform or control points, not both: the transform stays.
        """
        if self.gcps and self.transform.is_identity:
            points = [
                GroundControlPoint(row, col, x, y, z, id=str(number))
                for number, (row, col, x, y, z) in enumerate(self.gcps, 1)
            ]
            dataset.gcps = points, self.gcps_crs or CRS()  # points may have no CRS
        if self.rpcs:
            dataset.rpcs = self.rpcs


# Where a raster without a georeference lies in QGIS and other viewers: columns to the right, rows downwards from 0.
_UNPLACED = Affine(1, 0, 0, 0, -1, 0)


def vector_transform(transform: Affine) -> Affine:
    """From columns and rows of a raster to what vectors of it hold: its coordinates; without any, x = column, y = -row.

    So that a viewer lays vectors on the raster where neither says where it lies.
    """
    return _UNPLACED if transform.is_identity else transform


def on_raster(
    transform: Affine, x: np.ndarray, y: np.ndarray, y_down: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows, on a raster of that transform, of a vector file's coordinates (float64).

    Without a georeference y is -row, or with `y_down` the row. None: as the coordinates tell, all of a file together.
    Files of versions up to 0.3.0 counted y downwards: their y lie above 0.
    """
    if y_down is None:
        y_down = bool(y.size and y.mean() >= 0)
    if transform.is_identity and y_down:
        return x, y
    return placed(~vector_transform(transform), x, y)


def placed(affine, x, y):
    """Where a transform (or the inverse of one) puts points: (x, y), numbers or arrays."""
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def moved(points_N2: np.ndarray, source: str | None, target: CRS | None, where: object) -> np.ndarray:
    """Points (float64 x, y; longitude before latitude) of one CRS in another; as they are where either is unknown.

    `where` is the file that they come from. Raises InputError for a CRS that PROJ doesn't know, and for points that it
    can't bring to the other one.
    """
    if not source or not target or not len(points_N2):
        return points_N2
    try:
        known = CRS.from_user_input(source)
        if known == target:
            return points_N2
        return np.stack(transform(known, target, *points_N2.T), axis=1)
    except GDAL_FAILURES as error:
        what = "a CRS that can't be used" if isinstance(error, CRSError) else "points without a place in another CRS"
        raise InputError(where, f"has {what} ({reason_of(error)})", "export it in the map's CRS") from error


def on_earth(points_N2: np.ndarray, crs: CRS, where) -> np.ndarray:
    """Points of a CRS (float64 x, y) in longitude and latitude on WGS84, in degrees.

    Raises SettingError, about the file `where`, for a CRS or points that have no such place.
    """
    try:
        places = np.stack(transform(crs, CRS.from_epsg(4326), *points_N2.T), axis=1)
        if np.isfinite(places).all():
            return places
        reason = "points without a place"
    except GDAL_FAILURES as error:
        reason = reason_of(error)
    problem = f"the map's CRS can't be brought to longitude and latitude, as GeoJSON has them ({reason})"
    raise SettingError(where, problem, "take .gpkg or .parquet")
