"""Areas on earth: the ground under a pixel, and the figures of a paper's example."""

import math

import numpy as np
import pytest
from affine import Affine
from drawn_maps import PLACES, tiff
from hypothesis import given
from hypothesis import strategies as st
from measured_areas import areas_of

from jingwei.errors import InputError, SettingError
from jingwei.evaluation.accuracy import allocate, assess

# ---- the ground under a pixel ----


UTM = 0.9996**2  # square metres on the map, in the middle of a zone, for one on the ground


@pytest.mark.parametrize("place", ["north up", "rotated"])
def test_a_projected_pixel_covers_what_lies_under_it(tmp_path, field_map, place):
    areas, _ = areas_of(tiff(tmp_path / "map.tif", field_map, place))
    np.testing.assert_array_equal(areas.pixels, np.bincount(field_map.ravel(), minlength=5)[:5])
    np.testing.assert_allclose(areas.hectares, areas.pixels * 0.25e-4 / UTM, rtol=1e-6)
    assert areas.nodata == 40 * 30


def between_latitudes(south, north, width):
    """Square metres of WGS 84 between two latitudes, `width` of longitude wide (all in degrees): the closed form."""
    axis, flattening = 6378137.0, 1 / 298.257223563
    e = math.sqrt(flattening * (2 - flattening))

    def zone(degrees):
        s = math.sin(math.radians(degrees))
        return s / (1 - e * e * s * s) + math.log((1 + e * s) / (1 - e * s)) / (2 * e)

    polar = axis * (1 - flattening)
    return polar * polar / 2 * math.radians(width) * (zone(north) - zone(south))


@pytest.mark.parametrize("top", [25.0, 70.0, -35.0, 0.1])
def test_a_pixel_in_degrees_covers_its_part_of_the_ellipsoid(tmp_path, monkeypatch, top):
    monkeypatch.setitem(PLACES, "here", ("EPSG:4326", Affine(2e-3, 0, 110, 0, -1e-3, top)))
    labels = np.repeat(np.arange(4, dtype=np.uint8), 50)[:, None].repeat(30, axis=1)
    areas, _ = areas_of(tiff(tmp_path / "map.tif", labels, "here"))
    expected = [between_latitudes(top - (k + 1) * 0.05, top - k * 0.05, 30 * 2e-3) / 1e4 for k in range(4)]
    np.testing.assert_allclose(areas.hectares[:4], expected, rtol=1e-6)


def test_a_turned_map_in_degrees_covers_its_outline(tmp_path, monkeypatch):
    """A quarter turn: rows run along meridians, so a row's pixels differ."""
    monkeypatch.setitem(PLACES, "turned", ("EPSG:4326", Affine(0, 1e-3, 110, 1e-3, 0, 60)))
    labels = np.ones((20, 400), np.uint8)
    areas, _ = areas_of(tiff(tmp_path / "map.tif", labels, "turned"))
    assert areas.hectares[1] == pytest.approx(between_latitudes(60, 60.4, 20e-3) / 1e4, rel=1e-5)


def test_without_a_place_pixels_are_counted_unless_their_side_is_told(tmp_path, field_map):
    source = tiff(tmp_path / "map.tif", field_map, "nowhere")
    assert areas_of(source)[0].hectares is None
    np.testing.assert_allclose(areas_of(source, gsd=0.1)[0].hectares * 1e6, areas_of(source)[0].pixels)
    for gsd in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SettingError, match="`gsd`"):
            areas_of(source, gsd=gsd)


def test_ids_beyond_the_legend_are_told(tmp_path, field_map):
    field_map[7, 7] = 9
    with pytest.raises(InputError, match=r"ids 9 .*legend jingwei ends at 4"):
        areas_of(tiff(tmp_path / "map.tif", field_map))


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_areas_do_not_depend_on_strips(tmp_path, field_map, rows):
    source = tiff(tmp_path / "map.tif", field_map, "degrees")
    one, other = areas_of(source)[0], areas_of(source, strip_rows=rows)[0]
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.hectares, other.hectares)


# ---- the paper's example ----

PAPER = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED = np.array([200_000, 150_000, 3_200_000, 6_450_000])  # pixels of 30 m


def test_the_papers_example_to_its_digits():
    """Olofsson et al. 2014, section 5: deforestation, forest gain, stable forest, stable non-forest."""
    found = assess(PAPER, MAPPED)
    pixels = found.area.value * MAPPED.sum()
    assert round(pixels[0]) == 235_086
    np.testing.assert_array_equal((pixels * 0.09).round(), [21_158, 11_686, 285_770, 581_386])  # hectares
    margins = found.area.margin * MAPPED.sum() * 0.09
    np.testing.assert_array_equal(margins.round(), [6_158, 3_756, 15_510, 16_282])
    np.testing.assert_array_equal(found.users.value.round(2), [0.88, 0.73, 0.93, 0.96])
    np.testing.assert_array_equal(found.users.margin.round(2), [0.07, 0.10, 0.04, 0.02])
    np.testing.assert_array_equal(found.producers.value.round(2), [0.75, 0.85, 0.93, 0.96])
    # What equation 7 gives, to all digits 0.2133, 0.2544, 0.0343, 0.0184.
    np.testing.assert_array_equal(found.producers.margin.round(2), [0.21, 0.25, 0.03, 0.02])
    assert round(float(found.overall.value), 2) == 0.95
    assert round(float(found.overall.margin), 2) == 0.02


def test_the_intervals_hold_the_truth_as_often_as_they_say():
    """Samples drawn again and again from a population that is known."""
    rng = np.random.default_rng(0)
    truth = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.02, 0.08, 0.9]])  # of a class of the map, the true ones
    mapped = np.array([1000, 3000, 6000])
    shares = (mapped[:, None] / 10_000 * truth).sum(axis=0)
    producers = np.diagonal(mapped[:, None] / 10_000 * truth) / shares
    held = np.zeros((2, 3))
    for _ in range(600):
        found = assess(np.stack([rng.multinomial(2000, row) for row in truth]), mapped)
        for k, (estimate, known) in enumerate(((found.area, shares), (found.producers, producers))):
            held[k] += abs(estimate.value - known) <= estimate.margin
    assert (abs(held / 600 - 0.95) < 0.03).all()


def test_a_class_that_the_map_never_has_is_still_found():
    found = assess(np.array([[40, 0, 10], [0, 50, 0], [0, 0, 0]]), [500, 500, 0])
    np.testing.assert_allclose(found.area.value, [0.4, 0.5, 0.1])
    assert np.isnan(found.users.value[2])
    assert found.producers.value[2] == 0


def test_one_point_of_a_class_tells_no_variance():
    with pytest.raises(ValueError, match="two at least"):
        assess(np.array([[1, 0], [0, 5]]), [10, 10])


def test_rare_classes_get_enough_points():
    # The paper takes 75, 75, 165, 325: the large ones in round numbers.
    np.testing.assert_array_equal(allocate(MAPPED, 640), [75, 75, 162, 328])
    np.testing.assert_array_equal(allocate([0, 10_000, 90_000], 1000), [0, 100, 900])
    np.testing.assert_array_equal(allocate([3, 500, 500], 100), [3, 42, 42])  # never more than there are pixels
    assert allocate([0, 0], 10).sum() == 0


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8), st.integers(16, 3000))
def test_all_points_are_shared_out_two_to_each_class_at_least(mapped, points):
    shares = allocate(mapped, points)
    assert (shares <= mapped).all()
    assert (shares >= np.minimum(2, mapped)).all()
    if all(area == 0 or area >= points for area in mapped) and any(mapped):
        assert shares.sum() == points
