"""A layer of a vector file, read in batches: its fields at once, its geometries as they are needed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.errors import InputError
from jingwei.polygons import geoparquet
from jingwei.polygons.geojson_crs import check_geojson_crs
from jingwei.polygons.opening import VECTOR_FAILURES, check_vector, choose_layer, file_and_layer, gdal_name
from jingwei.polygons.reading import DOWN, Y, read_notes
from jingwei.polygons.styles import LAYER_STYLES

LABELS, FRAMES = "labels", "places"  # the layers of a file of label.py: that to read, and the places' frames
BATCH = 50_000  # features in memory at a time
VECTOR_TYPES = (".gpkg", ".geojson", ".shp", ".fgb", ".parquet")  # that are looked for beside scenes
OTHER_TYPES = (".json", ".kml", ".gpx")  # that are read where they are named


class VectorLayer(NamedTuple):
    """A layer that is to be read: its fields by name, its CRS as text or None, how many features it has.

    `others` are the names of the file's other layers with geometries. `y_down` says what the file does of coordinates
    that are pixels: whether y is the row (True) or -row (False); None where it doesn't.
    """

    path: Path
    layer: str | None
    columns: dict[str, np.ndarray]
    crs: str | None
    size: int
    others: tuple[str, ...]
    y_down: bool | None


def is_vector(path) -> bool:
    """Whether a path names a vector file, by its ending (or a layer behind it); a GeoPackage may hold a raster."""
    file, layer = file_and_layer(path)
    ending = file.suffix.lower()
    if layer is None and ending == ".gpkg" and os.path.isfile(file):
        return _has_features(file)
    return layer is not None or ending in (*VECTOR_TYPES, *OTHER_TYPES)


def _has_features(path: Path) -> bool:
    import pyogrio  # not loaded by those who only ask for a file's kind

    check_vector(path)
    try:
        return len(pyogrio.list_layers(gdal_name(path))) > 0
    except VECTOR_FAILURES:  # it holds pixels alone; or it is broken, which reading it as a raster says as well
        return False


def read_layer(path, kind: str = "Polygon", needed: str | None = None) -> VectorLayer:
    """The layer of a vector file (`FILE` or `FILE:LAYER`), its fields read: see `read_features` for which one.

    InputError for a file of several layers of which none is named as `needed`.
    """
    import pyogrio

    path, layer = file_and_layer(path)
    check_vector(path)
    if geoparquet.is_meant(path, layer):
        fields, said = geoparquet.read_fields(path), read_notes(path).get(Y, "")
        return VectorLayer(path, None, fields.columns, fields.crs, fields.size, (), DOWN.get(said))
    _refuse_stale(path)
    try:
        listed = [(str(name), shape) for name, shape in np.atleast_2d(pyogrio.list_layers(gdal_name(path)))]
        if needed and layer is None and len(listed) > 1 and needed not in dict(listed):
            names = ", ".join(name for name, _ in listed if name != LAYER_STYLES)
            remedy = f"name it {needed} again (QGIS's browser renames layers), or move the file away"
            raise InputError(path, f"has no layer {needed} any more, but {names}", remedy)
        ours = layer is None and any(name == LABELS and "Polygon" in str(shape) for name, shape in listed)
        layer = LABELS if ours else choose_layer(path, layer, kind)
        taken = layer or (listed[0][0] if listed else None)
        meta, _, _, fields = pyogrio.raw.read(gdal_name(path), layer=layer, read_geometry=False)
        info = pyogrio.read_info(gdal_name(path), layer=layer)
    except VECTOR_FAILURES as error:
        raise _unreadable(path, error) from error
    check_geojson_crs(path, info["crs"])
    passed_over = (taken, FRAMES) if ours else (taken,)
    others = tuple(name for name, shape in listed if name not in passed_over and shape is not None)
    if info["geometry_type"] is None:
        raise InputError(path, "has no geometries", "export it again")
    columns = dict(zip(meta["fields"].tolist(), fields, strict=True))
    size = len(fields[0]) if fields else _count(path, layer)
    said = read_notes(Path(f"{path}:{layer}") if layer else path).get(Y, "")
    return VectorLayer(path, taken, columns, info["crs"], size, others, DOWN.get(said))


def _count(path: Path, layer: str | None) -> int:
    """The features of a layer without fields."""
    import pyogrio

    return pyogrio.read_info(gdal_name(path), layer=layer, force_feature_count=True)["features"]


def geometries(layer: VectorLayer, batch: int = BATCH) -> Iterator[np.ndarray]:
    """The geometries of a layer in the order of its fields, some at a time: shapely objects; None where one is missing
    or makes no sense.
    """
    import shapely

    for wkb in _batches_of_wkb(layer, batch):
        with np.errstate(invalid="ignore"):  # of corners that are no numbers; bounds pass them over, lengths don't
            shapes = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore"))
            sound = np.isfinite(shapely.bounds(shapes)).all(axis=1) & np.isfinite(shapely.length(shapes))
        shapes[~sound] = None
        yield shapes


def _batches_of_wkb(layer: VectorLayer, batch: int) -> Iterator[np.ndarray]:
    if geoparquet.is_meant(layer.path, layer.layer):
        yield from geoparquet.read_wkb(layer.path, batch)
        return
    import pyogrio

    for first in range(0, layer.size, batch):
        how = {"skip_features": first, "max_features": batch, "columns": [], "force_2d": True}
        try:
            _, _, wkb, _ = pyogrio.raw.read(gdal_name(layer.path), layer=layer.layer, **how)
        except VECTOR_FAILURES as error:
            raise _unreadable(layer.path, error) from error
        yield wkb


def _refuse_stale(path: Path) -> None:
    """Raises InputError for a GeoPackage whose last changes lie in a file that nobody may open here."""
    wal = Path(f"{path}-wal")
    if (
        wal.is_file()
        and wal.stat().st_size
        and not os.path.exists(f"{path}-shm")
        and not os.access(path.parent, os.W_OK)
    ):
        remedy = "close it there, or copy it with that file to a folder that can be written"
        raise InputError(path, f"is open in another program, and its last changes are in {wal.name}", remedy)


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    if isinstance(error, UnicodeDecodeError) and path.suffix.lower() == ".shp":
        return InputError(path, f"has texts in another encoding than it says ({reason})", name_encoding(path))
    return InputError(path, f"is not a vector file that GDAL can read ({reason})", "export it as .gpkg")


def name_encoding(path: Path) -> str:
    """The remedy for a shapefile whose texts are in an encoding that it does not say."""
    name = path.with_suffix(".cpg").name
    return f"write the encoding of its texts (GBK, say) into {name}, or export it as .gpkg"
