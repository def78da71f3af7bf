"""Zones, strip by strip, against GDAL on the whole array with the unions of shapely."""

import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely
from drawn_maps import PLACES, tiff
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jingwei.errors import InputError
from jingwei.evaluation.areas import measure_areas
from jingwei.legend import JINGWEI

LABELS = (np.indices((60, 50)).sum(0) // 7 % 4).astype(np.uint8)
EAST, NORTH = 500_000, 4_000_000


def write(path, shapes, names, crs="EPSG:32649", **how):
    geometries = np.array([None if shape is None else shapely.to_wkb(shape) for shape in shapes], object)
    pyogrio.raw.write(path, geometries, [np.array(names, object)], ["name"], geometry_type="Unknown", crs=crs, **how)
    return path


def measured(folder, shapes, names, labels=LABELS, strip_rows=256):
    """Pixels per zone, by class, of zones in columns and rows."""
    source = folder / "map.tif"
    if not source.exists():
        tiff(source, labels, "nowhere")
    (folder / "zones.gpkg").unlink(missing_ok=True)
    flipped = [shape and shapely.transform(shape, lambda points: points * (1, -1)) for shape in shapes]
    # Without a georeference y is -row; of a file whose y lie above 0, a version up to 0.3.0 is taken to have made it.
    flipped, names = [*flipped, shapely.box(0, -1000, 1, -900)], [*names, "far below"]
    zones = write(folder / "zones.gpkg", flipped, names, crs=None)
    found = measure_areas(source, JINGWEI, zones=zones, strip_rows=strip_rows)[1]
    assert found.pop("far below").pixels.sum() == 0
    return {name: areas.pixels for name, areas in found.items()}


def expected(shape, labels=LABELS):
    inside = rasterio.features.rasterize([shape], labels.shape) == 1
    return np.bincount(labels[inside], minlength=5)


points = st.tuples(st.floats(-10, 60), st.floats(-10, 70))
triangles = st.lists(points, min_size=3, max_size=3).map(shapely.Polygon).filter(lambda s: s.is_valid and s.area > 1)
features = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(triangles, min_size=1, max_size=3)), min_size=1, max_size=6
)


@given(features, st.integers(1, 70))
@settings(max_examples=60)
def test_any_multipolygons_of_any_names(tmp_path_factory, drawn, strip_rows):
    """Features of one name may overlap, and parts of one feature too."""
    shapes = [shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0] for _, parts in drawn]
    assume(shapely.get_coordinates(shapes)[:, 1].mean() >= 0)  # else y is taken for -row
    found = measured(tmp_path_factory.mktemp("zones"), shapes, [n for n, _ in drawn], strip_rows=strip_rows)
    assert list(found) == list(dict.fromkeys(name for name, _ in drawn))
    for name in found:
        whole = shapely.union_all([part for n, parts in drawn if n == name for part in parts])
        np.testing.assert_array_equal(found[name], expected(whole))


@pytest.mark.parametrize("kind", ["holes", "bow tie", "nested"])
def test_shapes_that_are_not_simple(tmp_path, kind):
    if kind == "holes":
        shape = shapely.box(3, 3, 40, 50).difference(shapely.box(10, 10, 20, 30))
        whole = shape
    elif kind == "bow tie":
        shape = shapely.Polygon([(2, 2), (40, 42), (40, 2), (2, 42)])
        whole = shapely.union_all([shapely.Polygon([(2, 2), (21, 22), (2, 42)]),
                                   shapely.Polygon([(40, 42), (21, 22), (40, 2)])])  # fmt: skip
    else:  # a part inside another one
        shape = shapely.MultiPolygon([shapely.box(0, 0, 40, 40), shapely.box(10, 10, 20, 20)])
        whole = shapely.box(0, 0, 40, 40)
    np.testing.assert_array_equal(measured(tmp_path, [shape], ["a"], strip_rows=7)["a"], expected(whole))


def test_features_without_a_name_stay_apart(tmp_path):
    """Farm A in two features that overlap, Farm B with parts that overlap, and two that nobody has named."""
    boxes = [shapely.box(0, 0, 10, 10), shapely.box(5, 0, 15, 10),
             shapely.MultiPolygon([shapely.box(0, 20, 10, 30), shapely.box(5, 20, 20, 30)]),
             shapely.box(30, 30, 34, 34), shapely.box(40, 30, 42, 34)]  # fmt: skip
    found = measured(tmp_path, boxes, ["Farm A", "Farm A", "Farm B", None, "  "])
    assert {name: int(pixels.sum()) for name, pixels in found.items()} == {
        "Farm A": 150, "Farm B": 200, "zone 4": 16, "zone 5": 8,
    }  # fmt: skip
    found = measured(tmp_path, boxes[:2], ["zone 2", None])
    assert {name: int(pixels.sum()) for name, pixels in found.items()} == {
        "zone 2": 100, "zone 2 (without a name)": 100,
    }  # fmt: skip


def test_districts_as_administrative_data_has_them(tmp_path):
    """Every feature is a multi-polygon, of one part or of several."""
    shapes = [shapely.MultiPolygon([shapely.box(0, 0, 20, 20)]),
              shapely.MultiPolygon([shapely.box(25, 25, 45, 45), shapely.box(25, 50, 35, 60)])]  # fmt: skip
    found = measured(tmp_path, shapes, ["one part", "two parts"], strip_rows=13)
    assert [int(pixels.sum()) for pixels in found.values()] == [400, 500]


@pytest.mark.parametrize(("shapes", "names", "problem"), [
    ([shapely.LineString([(0, 0), (9, 9)])], ["a"], "has geometries that are not polygons"),
    ([shapely.Point(3, 3)], ["a"], "has geometries that are not polygons"),
    ([shapely.box(0, 0, 9, 9), shapely.Polygon()], ["a", "b"], "covers nothing in: b"),
    ([shapely.box(0, 0, 9, 9), None], ["a", "b"], "covers nothing in: b"),
    ([shapely.box(0, 0, 9, 9), shapely.Polygon([(1, 1), (5, 5), (9, 9)])], ["a", None], "covers nothing in: zone 2"),
])  # fmt: skip
def test_zones_without_an_area_are_refused(tmp_path, shapes, names, problem):
    with pytest.raises(InputError, match=problem) as raised:
        measured(tmp_path, shapes, names)
    assert "\n" not in str(raised.value)


def test_a_file_without_any_polygon_is_refused(tmp_path):
    zones = write(tmp_path / "zones.gpkg", [None], ["a"])
    with pytest.raises(InputError, match="has no polygons"):
        measure_areas(tiff(tmp_path / "map.tif", LABELS), JINGWEI, zones=zones)


def test_a_zone_in_two_features_of_which_one_is_empty_counts(tmp_path):
    found = measured(tmp_path, [shapely.box(0, 0, 9, 9), shapely.Polygon()], ["a", "a"])
    assert found["a"].sum() == 81


def test_zones_outside_the_map_have_nothing(tmp_path):
    found = measured(tmp_path, [shapely.box(500, 500, 600, 600), shapely.box(-50, -50, -1, -1)], ["a", "b"])
    assert [int(pixels.sum()) for pixels in found.values()] == [0, 0]


@pytest.mark.parametrize(("place", "remedy"), [
    ("north up", "check which CRS the zones are in"), ("nowhere", "that map has no georeference"),
])  # fmt: skip
def test_zones_that_touch_no_map_are_refused(tmp_path, call, place, remedy):
    """Else every figure were 0. One zone that touches it is enough: districts of a whole country are usual."""
    source = tiff(tmp_path / "map.tif", LABELS, place)
    there = shapely.box(EAST + 90_000, NORTH, EAST + 90_100, NORTH + 100)
    zones = write(tmp_path / "zones.gpkg", [there], ["a"])
    flags = ("--areas", "--prediction", source, "--zones", zones)
    for more in ((), ("--json",)):
        status, printed, told = call("evaluate.py", *flags, *more)
        assert (status, printed) == (2, "")
        assert told.startswith(f"error: {zones}: has no zone that touches {source}: {remedy}")
        assert told.count("\n") == 1
    if place == "north up":
        zones.unlink()
        here = shapely.box(EAST - 500, NORTH - 500, EAST + 500, NORTH + 500)
        write(zones, [there, here], ["a", "b"])
        status, printed, _ = call("evaluate.py", *flags)
        assert status == 0
        assert "\na " in printed


def test_metres_in_a_file_that_says_degrees_are_refused(tmp_path):
    """As GeoJSON is by its standard: PROJ fails on such latitudes, or gives infinity."""
    source = tiff(tmp_path / "map.tif", LABELS, "north up")
    for side in (10, 1e4, 1e7):
        zones = write(
            tmp_path / "zones.geojson", [shapely.box(EAST, NORTH, EAST + side, NORTH + side)], ["a"], "EPSG:4326"
        )
        with pytest.raises(InputError, match="zones.geojson: has .*: export it in the map's CRS") as raised:
            measure_areas(source, JINGWEI, zones=zones)
        assert "\n" not in str(raised.value)


def test_hectares_of_zones_add_up_to_those_of_the_map(tmp_path):
    transform = PLACES["degrees"][1]
    shapes = [shapely.box(0, 0, 23.5, 60), shapely.box(23.5, 0, 50, 60)]
    there = shapely.transform(shapes, lambda p: np.stack(transform @ (p[:, 0], p[:, 1]), axis=1))
    zones = write(tmp_path / "zones.gpkg", there, ["west", "east"], crs="EPSG:4326")
    whole, found = measure_areas(tiff(tmp_path / "map.tif", LABELS, "degrees"), JINGWEI, zones=zones)
    np.testing.assert_allclose(sum(areas.hectares for areas in found.values()), whole.hectares, rtol=1e-12)
