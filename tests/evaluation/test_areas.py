"""Areas of classes and zones, and what a labelled sample tells: against whole arrays, closed formulas and the paper."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
import shapely.affinity
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from test_polygons import PLACES, blobs, tiff

from jingwei.errors import InputError, SettingError
from jingwei.evaluation.accuracy import allocate, assess
from jingwei.evaluation.areas import area_numbers, area_table, measure_areas
from jingwei.evaluation.sampling_design import FIELD, accuracy_numbers, accuracy_table, draw_sample, score_sample
from jingwei.evaluation.zones import Zone, add_zone, read_zones
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.polygons.reading import read_features
from jingwei.raster.georeference import placed, vector_transform
from jingwei.raster.pixel_area import ground_of
from jingwei.raster.rasterize import flat_polygons
from jingwei.raster.reading import Raster

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def field_map():
    labels = blobs(300, 130, 5, 4)
    labels[:40, :30] = NODATA
    return labels


def areas_of(path, **how):
    return measure_areas(path, JINGWEI, **how)


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


# ---- zones ----


def write_zones(path, shapes, names=None, crs="EPSG:32649", field="name"):
    names = [f"zone {k}" for k in range(len(shapes))] if names is None else names
    pyogrio.raw.write(
        path, np.array(shapely.to_wkb(shapes).tolist(), object), [np.array(names, object)], [field], crs=crs,
        geometry_type="Unknown", driver="GPKG",
    )  # fmt: skip
    return path


def burnt(labels, shapes, transform):
    """Pixels per class of each shape, burnt by GDAL on the whole array."""
    counts = []
    for shape in shapes:
        inside = rasterio.features.rasterize([shape], labels.shape, transform=transform) == 1
        counts.append(np.bincount(labels[inside], minlength=256)[:5])
    return counts


def stars(seed, count=5, height=300, width=130):
    """Jagged polygons, some with a hole, some beyond the map's edge, in columns and rows."""
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(count):
        angles, far = np.sort(rng.random(12)) * 2 * np.pi, rng.uniform(5, 80, 12)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        ring = np.stack([x + far * np.cos(angles), y + far * np.sin(angles)], axis=1)
        shape = shapely.make_valid(shapely.Polygon(ring)).buffer(0)
        shapes.append(shape.difference(shapely.Point(x, y).buffer(4)))
    return [shape for shape in shapes if not shape.is_empty]


@pytest.mark.parametrize("place", ["north up", "rotated", "nowhere"])
@pytest.mark.parametrize("rows", [1, 64, 512])
def test_zones_have_the_pixels_that_gdal_burns_on_the_whole_array(tmp_path, field_map, place, rows):
    crs, transform = PLACES[place]
    shapes = [shapely.affinity.affine_transform(shape, transform.to_shapely()) for shape in stars(1)]
    zones = write_zones(tmp_path / "zones.gpkg", shapes, crs=crs)
    whole, found = areas_of(tiff(tmp_path / "map.tif", field_map, place), zones=zones, strip_rows=rows)
    expected = burnt(field_map, shapes, transform)
    assert list(found) == [f"zone {k}" for k in range(len(shapes))]
    for areas, counts in zip(found.values(), expected, strict=True):
        np.testing.assert_array_equal(areas.pixels, counts)
    assert sum(areas.pixels.sum() for areas in found.values()) > 5000
    assert whole.pixels.sum() == (field_map != NODATA).sum()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40)
def test_random_zones(seed, rows):
    labels = np.random.default_rng(seed).integers(0, 4, (40, 30)).astype(np.uint8)
    for shape in stars(seed, 3, 40, 30):
        pixels, metres = np.zeros(256, np.int64), np.zeros(256)
        for top in range(0, 40, rows):
            ground = ground_of(Placed, gsd=2)
            add_zone(
                Zone("a", flat_polygons(np.array([shape], object))),
                labels[top : top + rows],
                top,
                ground,
                pixels,
                metres,
            )
        inside = rasterio.features.rasterize([shape], labels.shape) == 1
        np.testing.assert_array_equal(pixels, np.bincount(labels[inside], minlength=256))
        np.testing.assert_allclose(metres, 4 * pixels)


class Placed:
    """Stands for a raster, where --gsd says all."""

    crs = None


def test_neighbouring_zones_share_no_pixel_even_where_their_border_meets_centres(tmp_path, field_map):
    """The common border runs through pixel centres, upright, level and aslant."""
    corners = {"a": (0, 0), "b": (60.5, 0), "c": (0, 100.5), "d": (60.5, 100.5)}
    shapes = [shapely.box(x, y, 60.5 if x == 0 else 130, 100.5 if y == 0 else 300) for x, y in corners.values()]
    left = shapely.Polygon([(0, 0), (60.5, 0), (60.5, 100.5)])
    shapes[0] = shapes[0].difference(left)
    source = tiff(tmp_path / "map.tif", field_map, "nowhere")
    zones = write_zones(tmp_path / "zones.gpkg", [*shapes, left], [*corners, "left"], crs=None)
    whole, found = areas_of(source, zones=zones)
    np.testing.assert_array_equal(sum(areas.pixels for areas in found.values()), whole.pixels)
    assert sum(areas.nodata for areas in found.values()) == whole.nodata


def test_zones_of_another_crs_are_brought_to_the_map(tmp_path, field_map):
    source = tiff(tmp_path / "map.tif", field_map)
    here = [shapely.affinity.affine_transform(shape, PLACES["north up"][1].to_shapely()) for shape in stars(2)]
    x, y = rasterio.warp.transform("EPSG:32649", "EPSG:4326", *shapely.get_coordinates(here).T)
    there = shapely.set_coordinates([*here], np.stack([x, y], axis=1))
    plain = areas_of(source, zones=write_zones(tmp_path / "here.gpkg", here))[1]
    brought = areas_of(source, zones=write_zones(tmp_path / "there.gpkg", there, crs="EPSG:4326"))[1]
    for one, other in zip(plain.values(), brought.values(), strict=True):
        assert abs(one.pixels - other.pixels).sum() <= 2


def test_zones_get_their_names_from_a_field(tmp_path, field_map):
    source = tiff(tmp_path / "map.tif", field_map, "nowhere")
    shapes = [shapely.box(0, 0, 50, 50), shapely.box(50, 0, 100, 50), shapely.box(0, 50, 50, 100)]
    zones = write_zones(tmp_path / "zones.gpkg", shapes, ["east", "west", "east"], crs=None, field="Ort")
    assert {name: areas.pixels.sum() + areas.nodata for name, areas in areas_of(source, zones=zones)[1].items()} == {
        "east": 5000, "west": 2500,
    }  # fmt: skip
    assert list(areas_of(source, zones=zones, zone_field="Ort")[1]) == ["east", "west"]
    with pytest.raises(SettingError, match="`zone_name`: .*no field 'district'.*Ort"):
        areas_of(source, zones=zones, zone_field="district")


def test_zone_files_that_make_no_sense(tmp_path, field_map):
    source = tiff(tmp_path / "map.tif", field_map)
    with pytest.raises(InputError, match="no such file"):
        areas_of(source, zones=tmp_path / "none.gpkg")
    (tmp_path / "broken.gpkg").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a vector file"):
        areas_of(source, zones=tmp_path / "broken.gpkg")
    points = write_zones(tmp_path / "points.gpkg", [shapely.Point(1, 2)])
    with pytest.raises(InputError, match="not polygons"):
        areas_of(source, zones=points)
    with Raster(source) as labels, pytest.raises(InputError, match="has no polygons"):
        read_zones(write_zones(tmp_path / "empty.gpkg", []), labels)


def test_zones_of_polygons_are_these_polygons(tmp_path, field_map):
    """What polygons.py writes, read as zones by class, has each class in its own zone alone."""
    from jingwei.polygons.polygons import write_polygons

    source = tiff(tmp_path / "map.tif", field_map, "rotated")
    write_polygons(source, tmp_path / "map.gpkg", legend=JINGWEI, classes=range(5))
    whole, found = areas_of(source, zones=tmp_path / "map.gpkg")
    for land_class in JINGWEI.classes:
        expected = np.zeros(5, np.int64)
        expected[land_class.id] = whole.pixels[land_class.id]
        np.testing.assert_array_equal(found[land_class.name].pixels, expected)


def test_tables_and_numbers(tmp_path, field_map):
    areas, _ = areas_of(tiff(tmp_path / "map.tif", field_map))
    text = area_table({"map": areas}, JINGWEI)
    assert f"{areas.pixels[2]:,d}" in text
    assert f"{areas.hectares[2]:,.2f}" in text
    numbers = area_numbers(areas, JINGWEI)
    assert numbers["classes"]["corn"] == {"pixels": areas.pixels[2], "hectares": areas.hectares[2]}
    assert numbers["nodata"] == 1200


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


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8), st.integers(1, 3000))
def test_all_points_are_shared_out(mapped, points):
    shares = allocate(mapped, points)
    assert (shares <= mapped).all()
    if all(area == 0 or area >= points for area in mapped) and any(mapped):
        assert shares.sum() == points


# ---- samples ----


@pytest.mark.parametrize("place", PLACES)
def test_a_sample_goes_out_blind_and_comes_back(tmp_path, field_map, place):
    source, target = tiff(tmp_path / "map.tif", field_map, place), tmp_path / "sample.gpkg"
    shares = draw_sample(source, target, JINGWEI, 200, seed=3)
    shapes, columns, _ = read_features(target)
    assert shares.sum() == len(shapes) == 200
    rows, cols = columns["row"], columns["col"]
    assert len({*zip(rows.tolist(), cols.tolist(), strict=True)}) == 200
    np.testing.assert_array_equal(np.bincount(field_map[rows, cols], minlength=5), shares)
    x, y = placed(vector_transform(PLACES[place][1]), cols + 0.5, rows + 0.5)
    np.testing.assert_allclose(shapely.get_coordinates(shapes), np.stack([x, y], axis=1))
    assert set(columns) == {"id", "row", "col", FIELD}
    assert all(value is None for value in columns[FIELD])
    assert (np.diff(field_map[rows, cols].astype(int)) != 0).sum() > 100  # in no order of the map's classes

    truth = np.roll(field_map, 6, axis=0)
    truth[truth == NODATA] = 0
    label(target, [str(k) if k % 2 else JINGWEI.names[k].upper() for k in truth[rows, cols]])
    scored = score_sample(target, source, JINGWEI)
    expected = np.zeros((5, 5), int)
    np.add.at(expected, (field_map[rows, cols], truth[rows, cols]), 1)
    np.testing.assert_array_equal(scored.counts, expected)
    assert scored.unlabelled == 0
    known = assess(expected, np.bincount(field_map.ravel(), minlength=5)[:5])
    np.testing.assert_array_equal(scored.accuracy.area.value, known.area.value)
    assert f"{float(known.overall.value):.3f} +- " in accuracy_table(scored, JINGWEI)
    row = accuracy_numbers(scored, JINGWEI)["classes"]["corn"]
    assert row["estimated_pixels"] == pytest.approx(known.area.value[2] * (field_map != NODATA).sum())
    assert ("estimated_hectares" in row) == (place != "nowhere")


def label(path, values):
    """Writes labels into a sample, as somebody would in QGIS: the file's notes stay."""
    import sqlite3

    with sqlite3.connect(path) as base:
        base.create_function("ST_IsEmpty", 1, lambda geometry: 0)
        for name, x in (("ST_MinX", 0), ("ST_MaxX", 0), ("ST_MinY", 0), ("ST_MaxY", 0)):
            base.create_function(name, 1, lambda geometry, x=x: x)
        base.executemany(f'UPDATE "{Path(path).stem}" SET {FIELD} = ? WHERE id = ?', [
            (value, k + 1) for k, value in enumerate(values)
        ])  # fmt: skip


def test_every_pixel_of_a_class_has_the_same_chance(tmp_path):
    labels = np.zeros((6, 8), np.uint8)
    labels[:, 5:] = 1
    source, hits = tiff(tmp_path / "map.tif", labels), np.zeros(labels.shape)
    for seed in range(60):
        target = tmp_path / f"{seed}.gpkg"
        draw_sample(source, target, JINGWEI, 12, seed=seed, strip_rows=4)
        _, columns, _ = read_features(target)
        np.add.at(hits, (columns["row"], columns["col"]), 1)
    for k in (0, 1):
        share = hits[labels == k] / 60
        expected = allocate([30, 18], 12)[k] / (labels == k).sum()
        assert abs(share - expected).max() < 4.5 * math.sqrt(expected * (1 - expected) / 60)


def test_a_sample_is_the_same_for_a_seed_and_all_strips(tmp_path, field_map):
    source = tiff(tmp_path / "map.tif", field_map)
    contents = {}
    for name, seed, rows in (("a", 0, 256), ("b", 0, 7), ("c", 1, 256)):
        target = tmp_path / name / "sample.gpkg"
        draw_sample(source, target, JINGWEI, 60, seed=seed, strip_rows=rows)
        contents[name] = target.read_bytes()
    assert contents["a"] == contents["b"] != contents["c"]


def test_more_points_than_pixels_takes_all(tmp_path):
    labels = np.array([[0, 0, 1], [1, 1, NODATA]], np.uint8)
    shares = draw_sample(tiff(tmp_path / "map.tif", labels), tmp_path / "sample.gpkg", JINGWEI, 90)
    np.testing.assert_array_equal(shares[:2], [2, 3])


def test_points_without_a_label_are_left_out_and_told(tmp_path, field_map):
    source, target = tiff(tmp_path / "map.tif", field_map), tmp_path / "sample.gpkg"
    draw_sample(source, target, JINGWEI, 100)
    _, columns, _ = read_features(target)
    values = [str(k) for k in field_map[columns["row"], columns["col"]]]
    label(target, [*values[:80], *[None, ""] * 10])
    scored = score_sample(target, source, JINGWEI)
    assert scored.unlabelled == 20
    assert scored.counts.sum() == 80
    assert "20 points have no label yet" in accuracy_table(scored, JINGWEI)


def test_samples_that_make_no_sense(tmp_path, field_map):
    source, target = tiff(tmp_path / "map.tif", field_map), tmp_path / "sample.gpkg"
    draw_sample(source, target, JINGWEI, 100)
    before = target.read_bytes()
    with pytest.raises(SettingError, match="is there already"):
        draw_sample(source, target, JINGWEI, 100)
    assert target.read_bytes() == before
    with pytest.raises(InputError, match="has 0 labelled points where the map says background"):
        score_sample(target, source, JINGWEI)
    label(target, ["wheat"] * 100)
    with pytest.raises(InputError, match="no class 'wheat': write one of: 0 background"):
        score_sample(target, source, JINGWEI)
    label(target, ["1"] * 100)
    field_map[100:110] = 2
    with pytest.raises(InputError, match="drawn from another map"):
        score_sample(target, tiff(tmp_path / "other.tif", field_map), JINGWEI)
    with pytest.raises(InputError, match="no field 'label'"):
        score_sample(write_zones(tmp_path / "zones.gpkg", [shapely.Point(1, 1)]), source, JINGWEI)
    far = write_zones(tmp_path / "far.gpkg", [shapely.Point(1, 1)], ["1"], field="label")
    with pytest.raises(InputError, match="1 points lie outside"):
        score_sample(far, source, JINGWEI)
    corner = shapely.Point(placed(PLACES["north up"][1], 3, 3))
    with pytest.raises(InputError, match="1 points lie where .* has no class"):
        score_sample(write_zones(tmp_path / "corner.gpkg", [corner], ["1"], field="label"), source, JINGWEI)
    blank = tiff(tmp_path / "blank.tif", np.full((9, 9), NODATA, np.uint8))
    with pytest.raises(InputError, match="has no pixel of any class"):
        draw_sample(blank, tmp_path / "blank.gpkg", JINGWEI, 100)
    with pytest.raises(SettingError, match="not a GeoPackage"):
        draw_sample(source, tmp_path / "sample.geojson", JINGWEI, 100)


# ---- the command line ----


@pytest.fixture
def project(tmp_path, field_map):
    """A project with one cut scene, a vote and a filled map."""
    data = tmp_path / "data"
    for folder, name in (("image3", "image_3"), ("mask3", "vote"), ("mask3", "filled")):
        path = data / "test" / folder / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiff(path, field_map if name != "vote" else np.zeros_like(field_map))
    return data


def test_bare_commands_take_the_final_map_of_each_scene(call, project, field_map):
    status, out, err = call("polygons.py", "--data_dir", project)
    assert (status, "filled.tif" in out) == (0, True), err
    _, columns, _ = read_features(project / "polygons" / "image_3.gpkg")
    assert columns["area_px"].sum() == ((field_map != NODATA) & (field_map != 0)).sum()
    assert "kept, it is up to date" in call("polygons.py", "--data_dir", project)[1]
    status, out, _ = call(
        "polygons.py", "--data_dir", project, "--format", "geojson", "--background", "--classes", "corn"
    )
    assert status == 0
    assert set(read_features(project / "polygons" / "image_3.geojson")[1]["name"]) == {"background", "corn"}

    status, out, _ = call("evaluate.py", "--data_dir", project, "--areas", "--json", "--gsd", "10")
    numbers = json.loads(out)["image_3"]
    assert numbers["classes"]["corn"]["hectares"] == pytest.approx((field_map == 2).sum() / 100)
    zones = project / "polygons" / "image_3.gpkg"
    status, out, _ = call("evaluate.py", "--data_dir", project, "--zones", zones, "--zone_name", "name", "--json")
    assert json.loads(out)["image_3"]["zones"]["corn"]["classes"]["corn"]["pixels"] == (field_map == 2).sum()
    assert "cured tobacco" in call("evaluate.py", "--data_dir", project, "--zones", zones)[1]

    sample = project / "sample" / "image_3.gpkg"
    status, out, _ = call("evaluate.py", "--data_dir", project, "--sample", "50", "--seed", "4")
    assert (status, str(sample) in out) == (0, True)
    _, columns, _ = read_features(sample)
    label(sample, [str(k) for k in field_map[columns["row"], columns["col"]]])
    status, out, err = call("evaluate.py", "--data_dir", project, "--sample_file", sample)
    assert (status, "1.000 +- 0.000" in out) == (0, True), err
    assert json.loads(call("evaluate.py", "--data_dir", project, "--sample_file", sample, "--json")[1])["accuracy"] == 1


@pytest.mark.parametrize(("script", "arguments", "message"), [
    ("polygons.py", "--input a.tif", "--input and --output go together"),
    ("polygons.py", "--input a.tif --output b.gpkg", "a.tif: no such file"),
    ("polygons.py", "--classes wheat", "no class 'wheat'"),
    ("polygons.py", "--simplify -1", "--simplify"),
    ("polygons.py", "--gsd 0", "--gsd"),
    ("polygons.py", "--legend gf3 --background", "legend gf3 has no background"),
    ("polygons.py", "--data_dir nowhere", "no cut scenes there"),
    ("evaluate.py", "--areas --label a.tif", "--label: goes with scores"),
    ("evaluate.py", "--areas --dry_run", "--dry_run: goes with scores"),
    ("evaluate.py", "--zones nowhere.gpkg", "nowhere.gpkg: no such file"),
    ("evaluate.py", "--sample 0", "--sample"),
    ("evaluate.py", "--sample 9 --sample_file a.gpkg", "--sample_file: is one file"),
    ("evaluate.py", "--sample_file a.gpkg", "a.gpkg: is not named like a scene .image_3."),
    ("evaluate.py", "--prediction a.tif --sample_file b.gpkg", "b.gpkg: no such file"),
])  # fmt: skip
def test_mistakes_get_one_line(call, project, tmp_path, monkeypatch, script, arguments, message):
    monkeypatch.chdir(tmp_path)
    words = arguments.split() + ([] if "--data_dir" in arguments else ["--data_dir", str(project)])
    status, _, err = call(script, *words)
    assert status == 2
    assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", err), err


def test_a_legend_without_background(tmp_path):
    areas, _ = measure_areas(tiff(tmp_path / "map.tif", blobs(30, 30, 6, 2)), GF3)
    assert (areas.pixels > 0).all()
