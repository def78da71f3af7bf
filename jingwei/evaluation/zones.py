"""Zones (districts, farms) over a label map: which pixels are whose, strip by strip.

A pixel belongs to a zone where its centre does, as GDAL burns polygons; one on a common border belongs to one of the
two alone. A pixel that lies in several zones counts in each.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from numba import njit

from jingwei.errors import InputError, SettingError
from jingwei.polygons.files import read_features
from jingwei.raster.georeference import moved, placed
from jingwei.raster.pixel_area import ground_under
from jingwei.raster.reading import Raster


class Zone(NamedTuple):
    """A zone's name and the edges of its outlines: float64 (n, 4), x, y, x, y, in columns and rows of a map."""

    name: str
    edges: np.ndarray


def read_zones(path: Path, labels: Raster, field: str | None = None) -> list[Zone]:
    """The zones of a vector file, as they lie on a map.

    `field` is the one with their names; None takes `name`, else the first text field, else numbers them. Features of
    one name are one zone. Their corners are brought to the map's CRS; where one of the two has none, coordinates are
    taken as they are. Raises InputError and SettingError.
    """
    shapes, columns, crs = read_features(path)
    names = _names(path, columns, field, len(shapes))
    kinds = set(shapely.get_type_id(shapes[~shapely.is_missing(shapes)]).tolist())
    if not kinds or not kinds <= {3, 6}:
        problem = "has geometries that are no polygons" if kinds else "has no polygons"
        raise InputError(path, problem, "give a file of polygons, such as districts")
    inverse = ~labels.transform
    found: dict[str, list[np.ndarray]] = {}
    for name, shape in zip(names, shapes, strict=True):
        for ring in shapely.get_rings(shape) if shape else ():
            x, y = moved(shapely.get_coordinates(ring), crs, labels.crs, path).T
            points = np.stack(placed(inverse, x, y), axis=1)
            if not np.isfinite(points).all():
                raise InputError(path, f"zone {name} can't be brought to the map's CRS", "export it in the map's CRS")
            found.setdefault(name, []).append(np.concatenate([points[:-1], points[1:]], axis=1))
    return [Zone(name, np.concatenate(edges)) for name, edges in found.items()]


def _names(path: Path, columns: dict[str, np.ndarray], field: str | None, count: int) -> list[str]:
    if field is not None and field not in columns:
        known = ", ".join(columns) or "none"
        raise SettingError("`zone_name`", f"{path} has no field {field!r}", f"take one of: {known}")
    if field is None:
        texts = [name for name, values in columns.items() if values.dtype == object]
        field = next((name for name in columns if name.lower() == "name"), next(iter(texts), None))
    return [str(k + 1) for k in range(count)] if field is None else [str(value) for value in columns[field]]


def add_zone(zone: Zone, strip: np.ndarray, top: int, ground, pixels: np.ndarray, metres: np.ndarray) -> None:
    """Adds a strip's pixels in a zone to those of each class: `pixels` int64 and `metres` float64 (square), 256 each.

    `strip` (uint8 HW) begins at row `top` of the map.
    """
    highest, lowest = zone.edges[:, 1::2].min(axis=1), zone.edges[:, 1::2].max(axis=1)
    edges = zone.edges[(lowest > top) & (highest < top + len(strip))]
    if len(edges):
        _add_rows(edges, strip, top, ground, pixels, metres)


@njit(cache=True, nogil=True)
def _add_rows(edges, strip, top, ground, pixels, metres):
    crossings = np.empty(len(edges))
    width = strip.shape[1]
    for r in range(strip.shape[0]):
        middle = top + r + 0.5
        count = 0
        for x0, y0, x1, y1 in edges:
            if (y0 <= middle) != (y1 <= middle):
                crossings[count] = x0 + (middle - y0) * (x1 - x0) / (y1 - y0)
                count += 1
        crossings[:count].sort()
        for k in range(0, count - 1, 2):
            first = min(max(np.floor(crossings[k] + 0.5), 0), width)
            end = min(max(np.floor(crossings[k + 1] + 0.5), 0), width)
            add_pixels(strip[r], int(first), int(end), top + r, ground, pixels, metres)


@njit(cache=True, nogil=True)
def add_pixels(row, first, end, number, ground, pixels, metres):
    """Adds the pixels `first` to `end` of a row, row `number` of the map, to those of their classes."""
    while first < end:
        label, start = row[first], first
        while first < end and row[first] == label:
            first += 1
        pixels[label] += first - start
        metres[label] += ground_under(ground, number, start, first)


@njit(cache=True, nogil=True)
def add_strip(strip, top, ground, pixels, metres):
    """Adds all pixels of a strip, which begins at row `top` of the map, to those of their classes."""
    for r in range(strip.shape[0]):
        add_pixels(strip[r], 0, strip.shape[1], top + r, ground, pixels, metres)
