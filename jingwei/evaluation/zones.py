"""Zones (districts, farms) over a label map: which pixels are whose, strip by strip.

A pixel belongs to a zone where its centre does, as GDAL burns polygons; one on a common border belongs to one of the
two alone. A pixel that lies in several zones counts once in each.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely

from jingwei.errors import InputError, SettingError, listed
from jingwei.grid import Window
from jingwei.labels.classes import is_empty
from jingwei.polygons.reading import read_features
from jingwei.raster.georeference import moved, on_raster
from jingwei.raster.pixel_area import Ground, add_inside
from jingwei.raster.rasterize import FlatPolygons, burnt, flat_polygons
from jingwei.raster.reading import Raster

POLYGONAL = {shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON}


class Zone(NamedTuple):
    """A zone's name and what it covers: one feature, in columns (x) and rows (y, downwards) of a map."""

    name: str
    polygons: FlatPolygons


def read_zones(path: Path, labels: Raster, field: str | None = None) -> list[Zone]:
    """The zones of a vector file, as they lie on a map, in the order in which their names come first.

    `field` is the one with their names; None takes `name`, else the first text field, else numbers them. Features of
    one name are one zone; one without a name is a zone of its own, `zone 4` where it is the fourth feature. Their
    corners are brought to the map's CRS; where one of the two has none, coordinates are taken as they are. Raises
    InputError, also for zones that cover nothing, and SettingError.
    """
    shapes, columns, crs = read_features(path)
    names = _names(path, columns, field, len(shapes))
    kinds = set(shapely.get_type_id(shapes[~shapely.is_missing(shapes)]).tolist())
    if not kinds or not kinds <= POLYGONAL:
        problem = "has geometries that are not polygons" if kinds else "has no polygons"
        raise InputError(path, problem, "give a file of polygons, such as districts")
    on_map = shapely.transform(shapes, lambda points: _on_map(points, crs, labels, path))
    parts: dict[str, list] = {}
    for name, shape in zip(names, on_map, strict=True):
        parts.setdefault(name, []).append(shape)
    unions = {name: _union(shapes) for name, shapes in parts.items()}
    without = [name for name, union in unions.items() if shapely.area(union) == 0]
    if without:
        raise InputError(path, f"covers nothing in: {listed(without)}", "mend or remove these zones")
    return [Zone(name, flat_polygons(np.array([union], object))) for name, union in unions.items()]


def refuse_zones_elsewhere(path: Path, touched: Mapping[Path, bool]) -> None:
    """Raises InputError where zones touch none of some maps; `touched` says of each whether they share a pixel.

    One map of several may well lie outside all zones, and a zone outside all maps. Zeros throughout are a mistake.
    """
    if any(touched.values()):
        return
    source = next(iter(touched))
    with Raster(source) as labels:
        place = labels.georeference
    remedy = "check which CRS the zones are in, or name the map that they are of"
    if place.transform.is_identity:
        has = place.beyond_transforms or "no georeference"
        remedy = f"that map has {has}: bring it to a CRS first, as gdalwarp does, or draw the zones in pixels, y = -row"
    others = f" and {len(touched) - 1} more" if len(touched) > 1 else ""
    raise InputError(path, f"has no zone that touches {source}{others}", remedy)


def _on_map(points: np.ndarray, crs: str | None, labels: Raster, path: Path) -> np.ndarray:
    """Coordinates of a file (float64, x, y) as columns and rows of a map."""
    on_map = np.stack(on_raster(labels.transform, *moved(points, crs, labels.crs, path).T), axis=1)
    if not np.isfinite(on_map).all():
        raise InputError(path, "has corners that can't be brought to the map's CRS", "export it in the map's CRS")
    return on_map


def _union(shapes: list) -> shapely.Geometry:
    """What several features cover together: parts that overlap, in one feature or in several, count once."""
    valid = shapely.make_valid(np.array(shapes, object), method="structure", keep_collapsed=False)
    return shapely.union_all(valid)


def _names(path: Path, columns: dict[str, np.ndarray], field: str | None, count: int) -> list[str]:
    if field is not None and field not in columns:
        known = ", ".join(columns) or "none"
        raise SettingError("`zone_name`", f"{path} has no field {field!r}", f"take one of: {known}")
    if field is None:
        texts = [name for name, values in columns.items() if any(isinstance(value, str) for value in values)]
        field = next((name for name in columns if name.lower() == "name"), next(iter(texts), None))
    if field is None:
        return [str(k + 1) for k in range(count)]
    given = ["" if is_empty(value) else str(value).strip() for value in columns[field]]
    return [name or _unused(f"zone {k + 1}", given) for k, name in enumerate(given)]


def _unused(name: str, names: list[str]) -> str:
    """A name that no feature has been given."""
    while name in names:
        name += " (without a name)"
    return name


def add_zone(zone: Zone, strip: np.ndarray, top: int, ground: Ground, pixels: np.ndarray, metres: np.ndarray) -> None:
    """Adds a strip's pixels in a zone to those of each class: `pixels` int64 and `metres` float64 (square), 256 each.

    `strip` (uint8 HW) begins at row `top` of the map.
    """
    left, upper, right, lower = zone.polygons.bounds[0]
    first, end = max(top, int(np.floor(upper))), min(top + len(strip), int(np.ceil(lower)))
    begin, stop = max(0, int(np.floor(left))), min(strip.shape[1], int(np.ceil(right)))
    if first < end and begin < stop:
        inside = burnt(zone.polygons, Window(first, begin, end - first, stop - begin))
        add_inside(inside, strip[first - top : end - top], first, begin, ground, pixels, metres)
