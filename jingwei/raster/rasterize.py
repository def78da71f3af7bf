"""Polygons burnt into pixels, strip by strip, by GDAL's rule: a pixel is inside where its centre is.

GDAL itself would have to be given each strip with the polygons moved to its origin: that rounds coordinates, and a
centre that lies on an edge could fall to one side in a strip and to the other in the whole. Here coordinates stay those
of the whole raster, so that every strip has the very pixels that `rasterio.features.rasterize` gives the whole.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jingwei.grid import Window
from jingwei.system.compiled import compiled


class FlatPolygons(NamedTuple):
    """Features of polygons as arrays, x the column and y the row of a raster.

    `points` (float64, N x 2) are those of all rings; ring k has the points `rings[k]` to `rings[k + 1]`, the last the
    same as the first; feature k the rings `features[k]` to `features[k + 1]`, holes among them. `bounds` are left, top,
    right, bottom of each feature, NaN of one without points.
    """

    points: np.ndarray
    rings: np.ndarray
    features: np.ndarray
    bounds: np.ndarray

    def __len__(self) -> int:
        return len(self.bounds)

    def touching(self, window: Window) -> np.ndarray:
        """The numbers of the features whose bounds meet a window, rising."""
        left, top, right, bottom = self.bounds.T
        down = (top < window.row_end) & (bottom > window.row)
        return np.flatnonzero(down & (left < window.col_end) & (right > window.col))


class Runs(NamedTuple):
    """Pixels of features: columns `starts` to `ends` of `rows`, each of one of the `features`; int32, window's own."""

    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    features: np.ndarray


def flat_polygons(shapes: np.ndarray) -> FlatPolygons:
    """Polygons and multi-polygons of shapely (x the column, y the row) as arrays; empty ones have no rings."""
    if not len(shapes):
        none = np.zeros(1, np.int64)
        return FlatPolygons(np.empty((0, 2)), none, none, np.empty((0, 4)))
    import shapely  # loaded by who has drawn something

    _, points, (rings, parts, multi) = shapely.to_ragged_array(_multi(shapes))
    return FlatPolygons(
        np.ascontiguousarray(points[:, :2]), rings.astype(np.int64), parts[multi].astype(np.int64),
        shapely.bounds(shapes).reshape(-1, 4),
    )  # fmt: skip


def joined(parts: Sequence[FlatPolygons]) -> FlatPolygons:
    """The features of all parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    rings, features, points_before, rings_before = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)], 0, 0
    for part in parts:
        rings.append(part.rings[1:] + points_before)
        features.append(part.features[1:] + rings_before)
        points_before, rings_before = points_before + part.rings[-1], rings_before + part.features[-1]
    empty = np.empty((0, 2)), np.empty((0, 4))
    points, bounds = (
        np.concatenate([none, *(part[k] for part in parts)]) for none, k in zip(empty, (0, 3), strict=True)
    )
    return FlatPolygons(points, np.concatenate(rings), np.concatenate(features), bounds)


def _multi(shapes: np.ndarray) -> np.ndarray:
    """The same, all as multi-polygons."""
    import shapely

    parts, numbers = shapely.get_parts(shapes, return_index=True)
    multi = np.full(len(shapes), shapely.MultiPolygon(), object)
    return shapely.multipolygons(parts, indices=numbers, out=multi)


def burnt(polygons: FlatPolygons, window: Window) -> np.ndarray:
    """Which pixels of a window lie inside any of the features: uint8 HW, 1 inside."""
    inside = np.zeros((window.height, window.width), np.uint8)
    paint(inside, runs_of(polygons, window, polygons.touching(window)), np.ones(len(polygons), np.uint8))
    return inside


def runs_of(polygons: FlatPolygons, window: Window, chosen: np.ndarray) -> Runs:
    """The pixels of a window that lie in features: of those `chosen`, feature by feature in that order.

    Parts of a feature that lie in each other are a hole, as GDAL has it: see `shapely.make_valid`.
    """
    size = window.row, window.col, window.height, window.width
    return Runs(*_scan(polygons.points, polygons.rings, polygons.features, chosen.astype(np.int64), *size))


@compiled
def paint(pixels, runs, values):
    """Gives the pixels (HW) of runs the value of their feature; later runs paint over earlier ones."""
    rows, starts, ends, features = runs
    for k in range(len(rows)):
        pixels[rows[k], starts[k] : ends[k]] = values[features[k]]


@compiled
def _scan(points, rings, features, chosen, top, left, height, width):
    """The runs of the chosen features in a window: four int32 arrays."""
    size, used = 1024, 0
    rows, starts = np.empty(size, np.int32), np.empty(size, np.int32)
    ends, numbers = np.empty(size, np.int32), np.empty(size, np.int32)
    crossings, ends_of_rows = np.empty(size, np.int32), np.empty(height + 1, np.int64)
    for feature in chosen:
        first, end = rings[features[feature]], rings[features[feature + 1]]
        is_edge = np.ones(end - first, np.bool_)  # from a point to the next, but from a ring's last
        for ring in range(features[feature], features[feature + 1]):
            is_edge[rings[ring + 1] - 1 - first] = False
        edges = np.flatnonzero(is_edge) + first
        flat = _count_crossings(points, edges, top, ends_of_rows)
        if ends_of_rows[height] > len(crossings):
            crossings = np.empty(2 * ends_of_rows[height], np.int32)
        most = used + ends_of_rows[height] // 2 + flat
        if most > size:
            size = 2 * most
            rows, starts = _grown(rows, size, used), _grown(starts, size, used)
            ends, numbers = _grown(ends, size, used), _grown(numbers, size, used)
        before = used
        if flat:
            used = _flat_runs(points, edges, top, left, height, width, rows, starts, ends, used)
        if ends_of_rows[height]:
            _cross(points, edges, top, left, width, ends_of_rows, crossings)
            used = _runs_between(crossings, ends_of_rows, rows, starts, ends, used)
        numbers[before:used] = feature
    return rows[:used], starts[:used], ends[:used], numbers[:used]


@compiled
def _count_crossings(points, edges, top, ends):
    """Counts the edges that cross the centres of each row: `ends` (rows + 1) is where those of the row before end.

    Returns how many lie on a row's centres: they bound no area, but those to the left are painted.
    """
    height, flat = len(ends) - 1, 0
    ends[:] = 0
    for i in edges:
        y1, y2 = points[i, 1], points[i + 1, 1]
        if y1 == y2:
            flat += points[i, 0] > points[i + 1, 0] and y1 == np.floor(y1) + 0.5
        for row in range(_row(min(y1, y2), top, height), _row(max(y1, y2), top, height)):
            ends[row + 1] += 1
    for row in range(height):
        ends[row + 1] += ends[row]
    return flat


@compiled
def _cross(points, edges, top, left, width, ends, crossings):
    """Fills in the columns at which edges cross the rows, those of a row together: see `_count_crossings`."""
    height = len(ends) - 1
    places = ends[:height].copy()
    for i in edges:
        x1, y1, x2, y2 = points[i, 0], points[i, 1], points[i + 1, 0], points[i + 1, 1]
        if y1 > y2:
            x1, y1, x2, y2 = x2, y2, x1, y1
        for row in range(_row(y1, top, height), _row(y2, top, height)):
            x = (top + row + 0.5 - y1) * (x2 - x1) / (y2 - y1) + x1
            crossings[places[row]] = _column(x, left, width)
            places[row] += 1


@compiled
def _runs_between(crossings, ends_of_rows, rows, starts, ends, used):
    """Adds the runs from each odd crossing of a row to the next even one; returns how many runs there are."""
    for row in range(len(ends_of_rows) - 1):
        here = crossings[ends_of_rows[row] : ends_of_rows[row + 1]]
        if len(here) > 1:
            here.sort()
        for k in range(0, len(here) - 1, 2):
            if here[k] < here[k + 1]:
                rows[used], starts[used], ends[used] = row, here[k], here[k + 1]
                used += 1
    return used


@compiled
def _flat_runs(points, edges, top, left, height, width, rows, starts, ends, used):
    """Adds the runs of edges that go left on a row's centres, as GDAL paints them; returns how many runs there are."""
    for i in edges:
        x1, x2, y = points[i, 0], points[i + 1, 0], points[i, 1]
        if y == points[i + 1, 1] and x1 > x2 and y == np.floor(y) + 0.5 and top <= y < top + height:
            start, end = _column(x2, left, width), _column(x1, left, width)
            if start < end:
                rows[used], starts[used], ends[used] = np.int32(np.floor(y) - top), start, end
                used += 1
    return used


@compiled
def _row(y, top, height):
    """The first row of a window whose centre lies at y or below it."""
    return np.int64(min(max(np.ceil(y - 0.5) - top, 0), height))


@compiled
def _column(x, left, width):
    """The first column of a window whose centre lies at x or right of it."""
    return np.int32(min(max(np.floor(x + 0.5) - left, 0), width))


@compiled
def _grown(array, size, used):
    larger = np.empty(size, array.dtype)
    larger[:used] = array[:used]
    return larger
