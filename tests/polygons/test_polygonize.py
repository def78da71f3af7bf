"""Polygons of maps, against rasterio.features.shapes on the whole array, and what simplifying may not break."""

import numpy as np
import pytest
import shapely
import shapely.affinity
from drawn_maps import (
    assert_as_gdal,
    blobs,
    cut,
    maps,
    normal,
    polygons_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.legend import NODATA
from jingwei.polygons import polygonize
from jingwei.polygons.polygonize import RegionPolygons

# ---- exact ----


@given(maps, st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 7))
@settings(max_examples=150)
def test_random_maps_give_gdals_polygons_for_all_heights_of_strips_and_bands(labels, heights, band_rows):
    assert_as_gdal(labels, heights, band_rows=band_rows)


@pytest.mark.parametrize("rows", range(1, 15))
def test_every_height_of_strips_and_of_bands(rows):
    labels = np.random.default_rng(1).integers(0, 3, (14, 17)).astype(np.uint8)
    assert_as_gdal(labels, (rows,), band_rows=3)
    assert_as_gdal(labels, (4,), band_rows=rows)


@pytest.mark.parametrize("height", [1, 511, 512, 513, 1025])
def test_bands_of_the_usual_height(height):
    assert_as_gdal(blobs(height, 37, 4, 2, seed=height), (256,))


@pytest.mark.parametrize("drawing", [
    ["111", "101", "110"],  # touches itself over a corner: a ring that meets itself is cut there
    ["1111", "1012", "1101", "1111"],  # two holes that meet at a corner
    ["12", "21"],
    ["10101", "01010", "10101"],
    ["111111", "100001", "101101", "100001", "111111"],  # nested
    ["11111", "10001", "10101", "10001", "11110"],
    ["1010", "1110", "1010", "1111"],
    ["1222222", "1211111", "1210111", "1211011", "1211111", "1111111"],  # an arm with such holes joins an older one
    ["1" * 9, "100000001", "101111101", "101000101", "101011101", "101010001", "101011111", "101000000", "1" * 9],
])  # fmt: skip
@pytest.mark.parametrize("band_rows", [1, 2, 3, 512])
def test_pinches_holes_and_spirals(drawing, band_rows):
    labels = np.array([[int(pixel) for pixel in row] for row in drawing], np.uint8)
    for turned in (labels, labels[::-1], labels[:, ::-1], labels.T, labels.T[::-1]):
        assert_as_gdal(np.ascontiguousarray(turned), band_rows=band_rows)


def test_a_ring_that_meets_itself_becomes_a_shell_and_a_hole():
    labels = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8)
    (_, polygon, _) = next(entry for entry in polygons_of(labels, classes=[1]) if entry[0] == 1)
    assert len(polygon.interiors) == 1
    assert polygon.is_valid


@pytest.mark.parametrize("labels", [
    np.full((700, 3), NODATA, np.uint8), np.ones((700, 1), np.uint8), np.ones((1, 700), np.uint8),
    np.zeros((1, 1), np.uint8),
])  # fmt: skip
def test_maps_of_one_thing(labels):
    found = assert_as_gdal(labels)
    assert len(found) == (labels[0, 0] != NODATA)


def test_noise_with_many_batches(monkeypatch):
    monkeypatch.setattr(polygonize, "BATCH", 50)
    monkeypatch.setattr(polygonize, "BATCH_BYTES", 3000)
    labels = np.random.default_rng(0).integers(0, 4, (60, 70)).astype(np.uint8)
    assert_as_gdal(labels, band_rows=9)
    batches = list(RegionPolygons([labels], *labels.shape, band_rows=9))
    assert all(len(batch.polygons) <= 50 for batch in batches)
    assert len(batches) > 20


def test_some_classes_and_sizes_alone():
    labels = np.random.default_rng(3).integers(0, 3, (40, 40)).astype(np.uint8)
    every = polygons_of(labels)
    found = polygons_of(labels, classes=[1, 2], min_area=3)
    assert normal(found) == normal([entry for entry in every if entry[0] != 0 and entry[2] >= 3])
    assert {area for _, _, area in every} > {1, 2, 3}


def test_order_and_batches_do_not_depend_on_strips():
    labels = blobs(900, 60, 4, 1.5)
    one, other = (list(RegionPolygons(cut(labels, heights), *labels.shape)) for heights in ((1,), (37, 900)))
    assert [batch.polygons for batch in one] == [batch.polygons for batch in other]


def test_strips_must_be_the_whole_map():
    with pytest.raises(AssertionError, match="5 rows of 6"):
        list(RegionPolygons([np.ones((5, 4), np.uint8)], 6, 4))


# ---- simplified ----


def assert_simplified_well(labels, tolerance, **rules):
    """Common borders stay common, nothing overlaps or vanishes, no border moves farther than the tolerance."""
    found, exact = polygons_of(labels, simplify=tolerance, **rules), polygons_of(labels, **rules)
    shapes = [polygon for _, polygon, _ in found]
    assert [(label, area) for label, _, area in found] == [(label, area) for label, _, area in exact]
    for polygon, (_, original, _) in zip(shapes, exact, strict=True):
        assert polygon.is_valid, shapely.is_valid_reason(polygon)
        assert polygon.area > 0
        assert len(polygon.interiors) == len(original.interiors)
        assert polygon.hausdorff_distance(original) <= tolerance + 1e-9
        corners = {tuple(corner) for corner in shapely.get_coordinates(polygon)}
        assert all(shapely.intersects_xy(original.boundary, *corner) for corner in corners)
    assert shapely.coverage_is_valid(shapes)  # borders match corner by corner, interiors are disjoint
    together = shapely.union_all(shapes)
    assert together.area == pytest.approx(sum(shape.area for shape in shapes), abs=1e-6)
    if NODATA not in labels:
        assert together.area == pytest.approx(labels.size, abs=1e-6)
        assert not together.interiors
    return shapes, exact


@given(maps, st.sampled_from([0.6, 1.0, 1.5, 3.0, 20.0]), st.integers(2, 20))
@settings(max_examples=120)
def test_simplified_random_maps_have_no_gaps_and_no_overlaps(labels, tolerance, band_rows):
    assert_simplified_well(labels, tolerance, band_rows=band_rows)


@pytest.mark.parametrize("tolerance", [0.8, 1.5, 4, 30])
@pytest.mark.parametrize("band_rows", [16, 512])
def test_simplified_blobs(tolerance, band_rows):
    for seed, smooth in enumerate((0.7, 1.5, 3, 6)):
        labels = blobs(70, 60, 3, smooth, seed)
        labels[:20, 40:][np.add.outer(np.arange(20), np.arange(20)) < 12] = NODATA
        assert_simplified_well(labels, tolerance, band_rows=band_rows)


def test_simplified_rectangles_upon_each_other():
    rng = np.random.default_rng(5)
    for _ in range(25):
        labels = np.zeros((50, 45), np.uint8)
        for _ in range(25):
            row, col, height, width = rng.integers(0, 50, 4)
            labels[row : row + height // 3 + 1, col : col + width // 3 + 1] = rng.integers(0, 4)
        assert_simplified_well(labels, float(rng.choice([1, 2, 3.5, 8])), band_rows=int(rng.choice([7, 25, 512])))


def test_simplifying_drops_most_corners_of_round_borders():
    shapes, exact = assert_simplified_well(blobs(200, 200, 3, 8), 1.5)
    kept = shapely.get_num_coordinates(shapes).sum()
    assert kept < 0.4 * sum(shapely.get_num_coordinates(polygon) for _, polygon, _ in exact)


def test_a_staircase_becomes_a_line():
    labels = (np.add.outer(np.arange(40), np.arange(40)) < 40).astype(np.uint8)
    shapes, _ = assert_simplified_well(labels, 1.0)
    assert all(shapely.get_num_coordinates(shape) <= 7 for shape in shapes)


def test_a_thin_lens_between_two_fields_stays():
    """Both of its borders could become the same line."""
    labels = np.zeros((30, 40), np.uint8)
    labels[15:] = 1
    labels[14:16, 5:35] = 2
    labels[13:17, 15:25] = 2
    assert_simplified_well(labels, 10)


@pytest.mark.parametrize("band_rows", range(2, 12))
def test_small_regions_on_the_line_between_bands_stay(band_rows):
    labels = np.zeros((20, 30), np.uint8)
    for k, (height, width) in enumerate([(2, 2), (1, 3), (3, 1), (2, 5), (4, 4)]):
        for row in (2 + k, 9, 12):
            labels[row : row + height, 6 * k + 1 : 6 * k + 1 + width] = 1 + k % 2
    assert_simplified_well(labels, 10, band_rows=band_rows)


def test_a_diamond_over_the_line_between_bands_stays():
    """Its upper and its lower half could both become the line itself."""
    rows, cols = np.mgrid[:20, :30]
    labels = (abs(rows - 9.5) * 3 + abs(cols - 14.5) < 10).astype(np.uint8)
    assert_simplified_well(labels, 15, band_rows=10)


def test_simplified_bands_do_not_depend_on_strips():
    labels = blobs(600, 50, 3, 2)
    one, other = (polygons_of(labels, heights, simplify=2.0) for heights in ((1,), (600,)))
    assert [(polygon.wkb, area) for _, polygon, area in one] == [(polygon.wkb, area) for _, polygon, area in other]
