"""Vector files, read: their features, and the notes that ours carry."""

import re
from pathlib import Path

import numpy as np

from jingwei.errors import InputError
from jingwei.polygons import geoparquet
from jingwei.polygons.geojson_crs import check_geojson_crs
from jingwei.polygons.opening import VECTOR_FAILURES, check_vector, choose_layer, file_and_layer, gdal_name
from jingwei.raster.stamps import STAMP

HEAD = 4096  # bytes of a GeoJSON in which its notes are
Y = "JINGWEI_Y"  # the note that says how y counts where coordinates are pixels
DOWN = {"row": True, "-row": False}  # what it may say -> whether y goes down; files up to version 0.3 have no such note


def up_to_date(path: Path, mark: str) -> bool:
    """Whether a vector file is there and has this stamp."""
    return Path(path).exists() and read_notes(path).get(STAMP) == mark


def read_notes(path: Path) -> dict[str, str]:
    """The texts that go with a file of ours; none where it is somebody else's, or broken."""
    import pyogrio  # not loaded by those who only ask for a file's kind

    path, layer = file_and_layer(path)
    try:
        if path.suffix.lower() == ".gpkg":
            check_vector(path)
            return dict(pyogrio.read_info(path, layer=0 if layer is None else layer)["layer_metadata"] or {})
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            metadata = pyarrow.parquet.read_schema(path).metadata or {}
            return {name.decode(): text.decode() for name, text in metadata.items()}
        with open(path, "rb") as file:
            head = file.read(HEAD).decode("utf-8", "replace")
        found = re.findall(rf'"({STAMP}|{Y})": "([\w-]+)"', head, re.IGNORECASE)
        return {name.upper(): text for name, text in found}
    except (RuntimeError, ImportError, OSError, ValueError, InputError):
        return {}


def read_features(path: Path, kind: str = "Polygon") -> tuple[np.ndarray, dict[str, np.ndarray], str | None]:
    """All features of a layer of a vector file: (shapely geometries, columns by name, CRS as text or None).

    `path` may be `FILE:LAYER`; else it is the only layer, or the only one of this kind: `Polygon` or `Point`.
    """
    import shapely

    path, layer = file_and_layer(path)
    check_vector(path)
    if geoparquet.is_meant(path, layer):
        columns, crs, size = geoparquet.read_fields(path)
        wkb: np.ndarray | None = np.concatenate([np.zeros(0, object), *geoparquet.read_wkb(path, max(1, size))])
    else:
        columns, crs, wkb = _read_all(path, layer, kind)
    if wkb is None:
        raise InputError(path, "has no geometries", "export it again")
    try:
        geometries = shapely.force_2d(shapely.from_wkb(wkb))
    except shapely.errors.GEOSException as error:  # a ring that isn't closed, or of two points
        raise InputError(path, f"has a geometry that can't be used ({error})", "repair it, in QGIS say") from error
    return geometries, columns, crs


def _read_all(path: Path, layer: str | None, kind: str) -> tuple[dict[str, np.ndarray], str | None, np.ndarray | None]:
    """The fields, the CRS and the geometries (WKB) that GDAL reads of a layer."""
    import pyogrio

    try:
        layer = choose_layer(path, layer, kind)
        meta, _, wkb, fields = pyogrio.raw.read(gdal_name(path), layer=layer, force_2d=True)
    except VECTOR_FAILURES as error:
        reason = " ".join(str(error).split())
        raise InputError(path, f"is not a vector file that GDAL can read ({reason})", "export it as .gpkg") from error
    check_geojson_crs(path, meta["crs"])
    return dict(zip(meta["fields"].tolist(), fields, strict=True)), meta["crs"], wkb
