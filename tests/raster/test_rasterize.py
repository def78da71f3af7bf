"""Polygons burnt strip by strip against GDAL, which burns the whole array."""

import numpy as np
import rasterio.features
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jingwei.grid import Window, strips
from jingwei.raster.rasterize import burnt, flat_polygons, joined, paint, runs_of

HEIGHT, WIDTH = 33, 30
coordinates = st.one_of(
    st.floats(-8, 40), st.integers(-16, 80).map(lambda k: k / 2), st.integers(-80, 400).map(lambda k: k / 10)
)
rings = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=7)


def valid(points) -> shapely.Geometry:
    return shapely.make_valid(shapely.Polygon(points), method="structure", keep_collapsed=False)


shapes = st.lists(rings.map(valid).filter(lambda shape: not shape.is_empty), min_size=1, max_size=6)
diagonal = [valid([(0.1, 0.1), (20.1, 20.1), (0.1, 20.1)])]  # its edge meets centres, and rounding decides
on_centres = [valid([(2.5, 3.5), (9.5, 3.5), (9.5, 8.5), (2.5, 8.5)])]


@given(shapes, st.integers(1, 40), st.integers(0, 20), st.integers(0, 20))
@example(diagonal, 7, 0, 0)
@example(on_centres, 3, 2, 2)
@settings(max_examples=300)
def test_any_strip_and_window_is_that_of_the_whole(drawn, rows, row, col):
    """Corners, edges and flat edges on pixels' centres among them; later features lie above earlier ones."""
    features = [(shape, k) for k, shape in enumerate(drawn)]
    expected = rasterio.features.rasterize(features, (HEIGHT, WIDTH), fill=255, dtype="uint8")
    polygons = joined([flat_polygons(np.array([shape], object)) for shape in drawn])
    values = np.arange(len(drawn), dtype=np.uint8)
    for window in (*(Window(a, 0, b - a, WIDTH) for a, b in strips(HEIGHT, rows)), Window(row, col, 9, 7)):
        found = np.full((window.height, window.width), 255, np.uint8)
        paint(found, runs_of(polygons, window, polygons.touching(window)), values)
        np.testing.assert_array_equal(found, expected[window.slices])
        np.testing.assert_array_equal(burnt(polygons, window) == 1, expected[window.slices] != 255)


def test_features_of_all_kinds_together():
    """Of several parts, with holes, and of nothing."""
    hole = shapely.box(0, 0, 10, 10).difference(shapely.box(2, 2, 5, 5))
    two = shapely.MultiPolygon([shapely.box(12, 0, 14, 4), shapely.box(20, 20, 29, 29)])
    polygons = flat_polygons(np.array([hole, shapely.Polygon(), two], object))
    assert len(polygons) == 3
    assert np.diff(polygons.features).tolist() == [2, 0, 2]
    whole = Window(0, 0, HEIGHT, WIDTH)
    assert polygons.touching(whole).tolist() == [0, 2]
    expected = rasterio.features.rasterize([hole, two], (HEIGHT, WIDTH))
    np.testing.assert_array_equal(burnt(polygons, whole), expected)
    none = flat_polygons(np.zeros(0, object))
    assert not burnt(none, whole).any()
    assert len(joined([none, polygons, none])) == 3
