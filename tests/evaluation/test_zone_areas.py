"""Areas by zone: which pixels a zone has, whatever its CRS, and zones that can't be used."""

import json

import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
import shapely.affinity
from drawn_maps import PLACES, tiff
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_areas import areas_of, write_zones

from jingwei.errors import InputError, SettingError
from jingwei.evaluation.areas import area_numbers, area_table
from jingwei.evaluation.zones import Zone, add_zone, read_zones
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.pixel_area import ground_of
from jingwei.raster.rasterize import flat_polygons
from jingwei.raster.reading import Raster


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


def test_zones_with_lists_in_a_field_get_their_names_from_a_field_of_texts(tmp_path, field_map):
    source, zones = tiff(tmp_path / "map.tif", field_map, "nowhere"), tmp_path / "zones.geojson"
    fields = {"crops": ["corn", "rice"], "Ort": "east"}
    corners = [[0, 0], [50, 0], [50, -50], [0, -50], [0, 0]]
    feature = {"type": "Feature", "properties": fields, "geometry": {"type": "Polygon", "coordinates": [corners]}}
    zones.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert list(areas_of(source, zones=zones)[1]) == ["east"]
    assert list(areas_of(source, zones=zones, zone_field="crops")[1]) == ["['corn' 'rice']"]


def test_a_zone_named_like_the_map_does_not_take_its_place(call, tmp_path, field_map):
    source = tiff(tmp_path / "map.tif", field_map)
    corner = shapely.affinity.affine_transform(shapely.box(30, 40, 35, 45), PLACES["north up"][1].to_shapely())
    zones = write_zones(tmp_path / "zones.gpkg", [corner], ["map"])
    _, out, err = call("evaluate.py", "--areas", "--prediction", source, "--zones", zones)
    assert f"{(field_map == 2).sum():,d}" in out, err
    assert sum(line.startswith("map ") for line in out.splitlines()) == 2


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
    text = area_table([("map", areas)], JINGWEI)
    assert f"{areas.pixels[2]:,d}" in text
    assert f"{areas.hectares[2]:,.2f}" in text
    numbers = area_numbers(areas, JINGWEI)
    assert numbers["classes"]["corn"] == {"pixels": areas.pixels[2], "hectares": areas.hectares[2]}
    assert numbers["nodata"] == 1200
