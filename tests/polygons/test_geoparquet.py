"""GeoParquet as labels: our own polygons come back, other programs' files are read by what they say of themselves."""

import json
import sys

import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS

from jingwei.errors import InputError, SettingError
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rules import rules_of
from jingwei.legend import JINGWEI, NODATA
from jingwei.polygons.layers import geometries, read_layer
from jingwei.polygons.polygons import write_polygons
from jingwei.polygons.reading import read_features
from jingwei.raster.reading import open_image

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

SHAPES = [shapely.box(1, 1, 9, 6).difference(shapely.box(3, 3, 5, 5)), shapely.box(6, 4, 12, 12)]
UTM = "EPSG:32650"
PLACE = Affine(10, 0, 500_000, 0, -10, 4_000_000)


@pytest.fixture
def scene(tmp_path):
    """A scene in UTM, 16 x 20 px, open."""
    path = tmp_path / "image_1.tif"
    shape = {"height": 16, "width": 20, "count": 1, "dtype": "uint8", "crs": UTM, "transform": PLACE}
    with rasterio.open(path, "w", driver="GTiff", **shape) as file:
        file.write(np.full((1, 16, 20), 9, np.uint8))
    with open_image(path) as image:
        yield image


def write(path, shapes, geo="usual", crs="said", columns=None, **options):
    """A GeoParquet of polygons in the scene's pixels, as another program might write it."""
    there = shapely.transform(np.array(shapes, object), lambda xy: [PLACE.c, PLACE.f] + xy * [PLACE.a, PLACE.e])
    wkb = [None if shape is None else bytes(shapely.to_wkb(shape, **options)) for shape in there]
    arrays = {"class": pyarrow.array(["corn", "Building"]), **(columns or {}), "geom": pyarrow.array(wkb)}
    about = {"encoding": "WKB", "geometry_types": []}
    if crs == "said":
        about["crs"] = CRS.from_string(UTM).to_dict(projjson=True)
    elif crs != "none given":
        about["crs"] = crs
    if geo == "usual":
        geo = {"version": "1.1.0", "primary_column": "geom", "columns": {"geom": about}}
    table = pyarrow.table(arrays)
    if geo is not None:
        table = table.replace_schema_metadata({"geo": json.dumps(geo)})
    parquet.write_table(table, path)
    return path


def labels_of(path, scene):
    return DrawnLabels([path], JINGWEI, rules_of(), scene).read_label_rows(0, scene.height)


def burnt(scene, shapes):
    pairs = list(zip(shapes, [JINGWEI.id_of("corn"), JINGWEI.id_of("building")], strict=True))
    return rasterio.features.rasterize(pairs, scene.shape, fill=NODATA, dtype="uint8")


def test_labels_of_another_program(tmp_path, scene):
    np.testing.assert_array_equal(labels_of(write(tmp_path / "a.parquet", SHAPES), scene), burnt(scene, SHAPES))


def test_a_crs_without_a_name(tmp_path, scene):
    own = CRS.from_string("+proj=utm +zone=50 +ellps=WGS84 +towgs84=0,0,0 +units=m").to_dict(projjson=True)
    assert "id" not in own
    path = write(tmp_path / "a.parquet", SHAPES, crs=own)
    np.testing.assert_array_equal(labels_of(path, scene), burnt(scene, SHAPES))


def test_columns_of_all_kinds(tmp_path, scene):
    columns = {
        "class": pyarrow.array(["corn", "Building"]).dictionary_encode(),
        "number": pyarrow.array([1, None], pyarrow.int32()),
        "box": pyarrow.array([{"xmin": 1.0}, {"xmin": 2.0}]),
        "tags": pyarrow.array([[1], [2, 3]]),
        "raw": pyarrow.array([b"\0", b"\1"]),
        "big": pyarrow.array(["a", None], pyarrow.large_string()),
    }
    path = write(tmp_path / "a.parquet", SHAPES, columns=columns)
    layer = read_layer(path)
    assert list(layer.columns) == ["class", "number", "big"]
    assert layer.columns["class"].tolist() == ["corn", "Building"]
    assert layer.columns["number"][0] == 1
    assert np.isnan(layer.columns["number"][1])
    assert layer.columns["big"].tolist() == ["a", None]
    np.testing.assert_array_equal(labels_of(path, scene), burnt(scene, SHAPES))


def test_missing_and_solid_geometries_in_batches(tmp_path):
    path = write(tmp_path / "a.parquet", [shapely.force_3d(SHAPES[0], 7.0), None], output_dimension=3)
    layer = read_layer(path)
    found = list(geometries(layer, batch=1))
    assert [len(each) for each in found] == [1, 1]
    assert not shapely.has_z(found[0][0])
    assert found[1][0] is None
    shapes, columns, _ = read_features(path)
    assert not shapely.has_z(shapes[0])
    assert columns["class"].tolist() == ["corn", "Building"]


def test_what_says_no_crs_is_longitude_and_latitude(tmp_path):
    """By the specification; null is for coordinates without a place."""
    assert rasterio.crs.CRS.from_string(
        read_layer(write(tmp_path / "a.parquet", SHAPES, crs="none given")).crs
    ).is_geographic
    assert read_layer(write(tmp_path / "b.parquet", SHAPES, crs=None)).crs is None


def test_our_polygons_on_the_ground_come_back(tmp_path, scene):
    labels = burnt(scene, SHAPES)
    source = tmp_path / "map.tif"
    shape = {"height": 16, "width": 20, "count": 1, "dtype": "uint8", "crs": UTM, "transform": PLACE, "nodata": NODATA}
    with rasterio.open(source, "w", driver="GTiff", **shape) as file:
        file.write(labels, 1)
    write_polygons(source, tmp_path / "a.parquet", legend=JINGWEI)
    np.testing.assert_array_equal(labels_of(tmp_path / "a.parquet", scene), labels)


def test_a_layer_is_refused(tmp_path):
    path = write(tmp_path / "a.parquet", SHAPES)
    with pytest.raises(InputError, match="has no layer 'fields'"):
        read_layer(f"{path}:fields")


@pytest.mark.parametrize(
    "geo",
    [
        None,
        [],
        {"primary_column": "other", "columns": {}},
        {"primary_column": "geom", "columns": {"geom": {"encoding": "polygon"}}},
        {"primary_column": "geom", "columns": {"geom": 3}},
    ],
)
def test_what_is_not_geoparquet_is_refused_in_a_line(tmp_path, geo):
    path = write(tmp_path / "a.parquet", SHAPES, geo=geo)
    with pytest.raises(InputError, match="is not a GeoParquet file that can be read") as caught:
        read_layer(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("crs", ["nonsense", 7, {"id": {"authority": 1}}, {"id": {"authority": "EPSG", "code": 1}}])
def test_a_crs_that_nobody_knows_is_refused(tmp_path, scene, crs):
    with pytest.raises(InputError, match="has a CRS that can't be used"):
        labels_of(write(tmp_path / "a.parquet", SHAPES, crs=crs), scene)


@pytest.mark.parametrize("keep", [4, 200, -30])
def test_a_file_that_is_cut_off_is_refused(tmp_path, keep):
    path = write(tmp_path / "a.parquet", SHAPES)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="is not a GeoParquet file that can be read"):
        read_layer(path)


def test_without_pyarrow_a_line_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", SHAPES)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingError, match="GeoParquet needs pyarrow.*take|export"):
        read_layer(path)
