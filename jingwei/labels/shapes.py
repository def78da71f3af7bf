"""Drawn features as polygons in a scene's columns and rows: brought there, made valid, lines and points widened."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import shapely

from jingwei.errors import InputError, SettingError
from jingwei.labels.notes import Note
from jingwei.labels.rules import DrawingRules
from jingwei.polygons.layers import VectorLayer, geometries
from jingwei.raster.georeference import moved, on_raster
from jingwei.raster.pixel_area import pixel_sides
from jingwei.raster.rasterize import FlatPolygons, flat_polygons, joined

LEAST_RADIUS = 0.71  # px: so wide that a point labels its own pixel, wherever in it it lies
AREAS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
POINTS = (shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT)


class Shapes(NamedTuple):
    """The features of a file that lie in a scene, their numbers in the file, and what there is to say of the others."""

    polygons: FlatPolygons
    numbers: np.ndarray
    notes: tuple[Note, ...]


def shapes_of(
    layer: VectorLayer, wanted: np.ndarray, over, rules: DrawingRules, may_be_outside: bool = False
) -> Shapes:
    """The features of a layer that are `wanted` (bool each), as polygons in pixels of the raster that they lie `over`.

    Corners are brought to its CRS; where one of the two has none, coordinates are taken as they are. Polygons with
    rings that cross are made valid. Raises InputError for lines and points without a width, for coordinates that can't
    be brought there, and, unless they `may_be_outside`, where no wanted feature lies in the raster.
    """
    kept, numbers, notes = _inside(layer, wanted, over, rules, flat_polygons, may_be_outside)
    return Shapes(joined(kept), numbers, notes)


def areas_of(
    layer: VectorLayer, wanted: np.ndarray, over, rules: DrawingRules
) -> tuple[np.ndarray, np.ndarray, tuple[Note, ...]]:
    """What `shapes_of` gives, as polygons and multi-polygons of shapely: (shapes, numbers, notes)."""
    kept, numbers, notes = _inside(layer, wanted, over, rules, lambda shapes: shapes)
    return np.concatenate(kept), numbers, notes


def _inside(
    layer: VectorLayer, wanted: np.ndarray, over, rules: DrawingRules, keep: Callable, may_be_outside: bool = False
) -> tuple[list, np.ndarray, tuple[Note, ...]]:
    """What `keep` makes of the wanted features that lie in a raster, batch by batch; their numbers; and notes."""
    _refuse_ground_under_pixels(layer, over)
    down = _y_down(layer, over)
    counts: Counter[str] = Counter()
    kept, numbers, bounds, first = [], [np.zeros(0, np.int64)], [], 0
    for shapes in geometries(layer):
        here = wanted[first : first + len(shapes)] & ~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)
        counts["missing"] += int((wanted[first : first + len(shapes)] & ~here).sum())
        there = np.flatnonzero(here)
        found = _as_areas(_in_pixels(shapes[there], layer, over, down), layer, over, rules, counts)
        inside = _touches(found, over)
        outside = ~inside & ~shapely.is_empty(found)
        counts["outside"] += int(outside.sum())
        if outside.any():
            bounds.append(shapely.total_bounds(found[outside]))
        counts["tiny"] += int((inside & ~_has_centres(found)).sum())
        kept.append(keep(found[inside]))
        numbers.append(first + there[inside])
        first += len(shapes)
    if not sum(map(len, numbers)) and not may_be_outside:
        raise _nowhere(layer, over, counts, bounds)
    return kept, np.concatenate(numbers).astype(np.int64), _notes(layer, counts, over)


def _refuse_ground_under_pixels(layer: VectorLayer, over) -> None:
    """Raises InputError for coordinates of a CRS over a raster that has control points or RPCs alone.

    QGIS shows such a raster on the ground, so that people draw there; here labels are brought to pixels by a transform.
    """
    lost = over.georeference.beyond_transforms
    if lost and layer.crs and layer.y_down is None:
        crs = layer.crs if len(layer.crs) < 40 else "a CRS"
        problem = f"is in {crs}, but {over.path.name} has {lost} alone"
        remedy = "bring the scene to a CRS first, as gdalwarp does; or draw in pixels, y = -row, and save without a CRS"
        raise InputError(layer.path, problem, remedy)


def _y_down(layer: VectorLayer, over) -> bool | None:
    """Whether y counts rows downwards, where coordinates are pixels: as the file says, else as all of it tells."""
    if not over.transform.is_identity or layer.y_down is not None:
        return layer.y_down
    total = sum(float(shapely.get_coordinates(shapes)[:, 1].sum()) for shapes in geometries(layer))
    return total >= 0


def _in_pixels(shapes: np.ndarray, layer: VectorLayer, over, down: bool | None) -> np.ndarray:
    def to_pixels(points: np.ndarray) -> np.ndarray:
        if layer.y_down is not None:  # the file says that its coordinates are pixels
            return points * [1, 1 if layer.y_down else -1]
        x, y = moved(points, layer.crs, over.crs, layer.path).T
        return np.stack(on_raster(over.transform, x, y, down), axis=1)

    placed = shapely.transform(shapes, to_pixels)
    if not np.isfinite(shapely.get_coordinates(placed)).all():
        problem = f"has corners that can't be brought to the CRS of {over.path.name}"
        raise InputError(layer.path, problem, "export it in the scene's CRS")
    return placed


def _as_areas(shapes: np.ndarray, layer: VectorLayer, over, rules: DrawingRules, counts: Counter) -> np.ndarray:
    """Polygons of whatever was drawn; those that are invalid made valid. Of collections all parts count."""
    kinds = shapely.get_type_id(shapes)
    for k in np.flatnonzero(kinds == shapely.GeometryType.GEOMETRYCOLLECTION):
        parts = np.array([part for part in _parts(shapes[k]) if not part.is_empty], object)
        of_parts: Counter[str] = Counter()
        shapes[k] = shapely.union_all(_as_areas(parts, layer, over, rules, of_parts))
        counts["repaired"] += of_parts["repaired"] > 0
    kinds = shapely.get_type_id(shapes)
    thin = ~np.isin(kinds, AREAS) & ~shapely.is_empty(shapes)  # of a collection nothing may be left
    if thin.any():
        points = int(np.isin(kinds[thin], POINTS).sum())
        shapes[thin] = _widened(shapes[thin], layer, over, rules, points, int(thin.sum()) - points)
    wrong = ~shapely.is_valid(shapes)
    if wrong.any():
        shapes[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
        counts["repaired"] += int(wrong.sum())
    counts["without area"] += int(shapely.is_empty(shapes).sum())
    return shapes


def _parts(shape) -> Iterator:
    """All that is in a collection, and in the collections in it."""
    for part in shapely.get_parts(shape):
        if shapely.get_type_id(part) == shapely.GeometryType.GEOMETRYCOLLECTION:
            yield from _parts(part)
        else:
            yield part


def _widened(shapes: np.ndarray, layer: VectorLayer, over, rules: DrawingRules, points: int, lines: int) -> np.ndarray:
    """Lines and points with all that is as near as the rules' `buffer`."""
    if rules.buffer is None:
        what = " and ".join(f"{n:,d} {word}" for n, word in ((lines, "lines"), (points, "points")) if n)
        remedy = "say by `buffer` how far their label reaches, in metres (2.5) or pixels (3px); or draw polygons"
        raise InputError(layer.path, f"has {what}, which cover no pixel", remedy)
    width, height = 1.0, 1.0
    if rules.buffer.unit == "m":
        sides = pixel_sides(over)
        if sides is None:
            problem = f"is in metres, but {over.path.name} does not say how large its pixels are"
            raise SettingError("`buffer`", problem, "give it in pixels, such as 3px")
        width, height = sides
    radius = max(rules.buffer.value, LEAST_RADIUS * max(width, height))
    scale = np.array([width, height])
    wide = shapely.buffer(shapely.transform(shapes, lambda xy: xy * scale), radius)
    return shapely.transform(wide, lambda xy: xy / scale)


def _touches(shapes: np.ndarray, over) -> np.ndarray:
    """Whether each shape has a part in the raster, by its bounds."""
    left, top, right, bottom = shapely.bounds(shapes).reshape(-1, 4).T
    height, width = over.shape
    return (left < width) & (right > 0) & (top < height) & (bottom > 0)


def _has_centres(shapes: np.ndarray) -> np.ndarray:
    """Whether the bounds of each shape hold the centre of a pixel."""
    left, top, right, bottom = shapely.bounds(shapes).reshape(-1, 4).T + 0.5
    return (np.floor(left) < np.floor(right)) & (np.floor(top) < np.floor(bottom))


def _nowhere(layer: VectorLayer, over, counts: Counter, bounds: list[np.ndarray]) -> InputError:
    height, width = over.shape
    if not bounds:
        what = "an area" if counts["without area"] else "a geometry"
        return InputError(layer.path, f"no feature has {what}", "draw them again")
    left, top = np.min([b[:2] for b in bounds], axis=0)
    right, bottom = np.max([b[2:] for b in bounds], axis=0)
    place = f"columns {left:.0f} to {right:.0f}, rows {top:.0f} to {bottom:.0f}"
    crs = over.crs.to_string() if over.crs else "no CRS"
    problem = f"no feature lies in {over.path.name} ({width} x {height} px, {crs}), but at {place}"
    ours = layer.crs or "none"
    remedy = f"check its CRS ({ours if len(ours) < 40 else 'its own'}), and that these are the labels of that scene"
    return InputError(layer.path, problem, remedy)


def _notes(layer: VectorLayer, counts: Counter, over) -> tuple[Note, ...]:
    notes = []
    for what, problem, remedy in (
        ("missing", "{} without a geometry: left out", "delete or draw {them}"),
        (
            "repaired",
            "{} with rings that cross or touch themselves: repaired",
            "look at {them}, or mend {them} in QGIS",
        ),
        ("without area", "{} without any area: left out", "delete or draw {them}"),
        ("tiny", "{} too small to hold a pixel's centre: no label", "check the coordinates, or draw {them} larger"),
        ("outside", f"{{}} outside {over.path.name}: left out", "nothing, if {they} belong{s} to another scene"),
    ):
        if number := counts[what]:
            features = f"{number:,d} feature{'s' if number > 1 else ''}"
            words = {"them": "them", "they": "they", "s": ""} if number > 1 else {"them": "it", "they": "it", "s": "s"}
            notes.append(Note(layer.path, problem.format(features), remedy.format(**words)))
    if layer.others:
        problem = f"layer {layer.layer} is read, {', '.join(layer.others)} not"
        notes.append(Note(layer.path, problem, f"name others too, as {layer.path.name}:{layer.others[0]}"))
    return tuple(notes)
