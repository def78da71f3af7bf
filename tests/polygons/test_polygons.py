"""Files of polygons: their place on earth, their columns, and that they are whole or absent."""

import json
import resource
from contextlib import contextmanager

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
import shapely.affinity
from drawn_maps import (
    PLACES,
    blobs,
    on_pixels,
    reference,
    tiff,
)

from jingwei.errors import InputError, OutputError, SettingError
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.polygons import reading
from jingwei.polygons.polygons import write_polygons
from jingwei.raster.png import write_png


@pytest.fixture
def field_map():
    labels = blobs(600, 90, 5, 3)
    labels[:60, :30] = NODATA
    labels[300:310, 40:50] = 2
    return labels


@pytest.mark.parametrize("place", PLACES)
def test_a_map_keeps_its_place(tmp_path, field_map, place):
    source, target = tiff(tmp_path / "map.tif", field_map, place), tmp_path / "out" / "map.gpkg"
    written = write_polygons(source, target, legend=JINGWEI, classes=range(5), strip_rows=100)
    crs, transform = PLACES[place]
    shapes, columns, found_crs = reading.read_features(target)
    expected = reference(field_map)
    assert on_pixels(columns["class_id"], shapes, transform) == expected
    assert all(shape.exterior.is_ccw for shape in shapes)
    assert [JINGWEI.names[k] for k in columns["class_id"]] == columns["name"].tolist()
    pixel = abs(transform.determinant)
    np.testing.assert_allclose(shapely.area(shapes), columns["area_px"] * pixel, rtol=1e-6)
    assert written.counts.sum() == len(expected)
    np.testing.assert_array_equal(written.areas[:5], np.bincount(field_map.ravel(), minlength=256)[:5])
    if crs:
        assert rasterio.crs.CRS.from_user_input(found_crs) == rasterio.crs.CRS.from_user_input(crs)
        assert columns["area_ha"].sum() == pytest.approx(written.hectares.sum())
        if place != "degrees":
            np.testing.assert_allclose(columns["area_ha"], columns["area_px"] * 0.25e-4 / 0.9996**2, rtol=1e-6)
    else:
        assert "area_ha" not in columns
        assert written.hectares is None
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]


def test_without_a_georeference_polygons_lie_where_viewers_show_the_raster(tmp_path):
    labels = np.zeros((10, 20), np.uint8)
    labels[2:5, 7:9] = 1
    write_png(tmp_path / "map.png", labels)
    write_polygons(tmp_path / "map.png", tmp_path / "map.gpkg", legend=JINGWEI)
    shapes, columns, _ = reading.read_features(tmp_path / "map.gpkg")
    assert [shape.bounds for shape in shapes] == [(7, -5, 9, -2)]
    assert columns["area_px"].tolist() == [6]


def test_geoparquet_has_its_crs_and_polygons(tmp_path, field_map):
    parquet = pytest.importorskip("pyarrow.parquet")
    source, target = tiff(tmp_path / "map.tif", field_map, "rotated"), tmp_path / "map.parquet"
    write_polygons(source, target, legend=JINGWEI, gsd=2.0)
    table = parquet.read_table(target)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["columns"]["geometry"]["crs"]["id"] == {"authority": "EPSG", "code": 32649}
    assert geo["columns"]["geometry"]["orientation"] == "counterclockwise"
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    labels = np.where(field_map == 0, NODATA, field_map).astype(np.uint8)
    assert on_pixels(table["class_id"].to_pylist(), shapes, PLACES["rotated"][1]) == reference(labels)
    np.testing.assert_allclose(table["area_ha"].to_numpy(), table["area_px"].to_numpy() * 4e-4)


def test_geoparquet_without_pyarrow_says_so(tmp_path, field_map, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    source = tiff(tmp_path / "map.tif", field_map)
    with pytest.raises(SettingError, match="pyarrow"):
        write_polygons(source, tmp_path / "map.parquet", legend=JINGWEI)
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet"])
def test_the_same_bytes_for_all_heights_of_strips(tmp_path, field_map, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    source = tiff(tmp_path / "map.tif", field_map)
    contents = set()
    for rows in (1, 77, 600):
        target = tmp_path / f"map.{suffix}"
        target.unlink(missing_ok=True)
        write_polygons(source, target, legend=JINGWEI, simplify=1.2, strip_rows=rows)
        contents.add(target.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet"])
def test_a_file_that_is_up_to_date_is_kept(tmp_path, field_map, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    source, target = tiff(tmp_path / "map.tif", field_map), tmp_path / f"map.{suffix}"
    assert write_polygons(source, target, legend=JINGWEI) is not None
    before = target.read_bytes()
    assert write_polygons(source, target, legend=JINGWEI) is None
    assert write_polygons(source, target, legend=JINGWEI, min_area=50) is not None
    assert target.read_bytes() != before
    target.write_bytes(before[: len(before) // 2])
    if suffix == "gpkg":
        target.write_bytes(b"broken")
        assert write_polygons(source, target, legend=JINGWEI) is not None
        assert target.read_bytes() == before


def test_a_killed_runs_leftovers_are_not_added_to(tmp_path, field_map):
    source, target = tiff(tmp_path / "map.tif", field_map), tmp_path / "map.gpkg"
    written = write_polygons(source, target, legend=JINGWEI)
    target.rename(tmp_path / ".map.gpkg.part")
    (tmp_path / ".map.gpkg.part-journal").write_bytes(b"half a page")
    write_polygons(source, target, legend=JINGWEI)
    assert pyogrio.read_info(target)["features"] == written.counts.sum()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.gpkg", "map.tif"]


def test_a_map_without_a_class_gives_an_empty_file(tmp_path):
    source = tiff(tmp_path / "map.tif", np.full((40, 30), NODATA, np.uint8))
    for suffix in ("gpkg", "geojson"):
        written = write_polygons(source, tmp_path / f"map.{suffix}", legend=JINGWEI)
        assert written.counts.sum() == 0
        assert pyogrio.read_info(tmp_path / f"map.{suffix}", force_feature_count=True)["features"] == 0


def test_chinese_names_survive(tmp_path):
    from jingwei.legend import LandClass, Legend

    legend = Legend("own", (LandClass(0, "背景", (0, 0, 0)), LandClass(1, "烤烟", (1, 2, 3))))
    source = tiff(tmp_path / "图.tif", np.ones((4, 5), np.uint8))
    for suffix in ("gpkg", "geojson"):
        write_polygons(source, tmp_path / f"图.{suffix}", legend=legend)
        assert reading.read_features(tmp_path / f"图.{suffix}")[1]["name"].tolist() == ["烤烟"]


@contextmanager
def full_disk(after):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet"])
@pytest.mark.parametrize("after", [20_000, 1_500_000])
def test_a_full_disk_leaves_nothing(tmp_path, suffix, after):
    """The smaller one stops the working data, the larger one the output."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    labels = np.random.default_rng(0).integers(0, 5, (200, 200)).astype(np.uint8)
    source, target = tiff(tmp_path / "map.tif", labels), tmp_path / f"map.{suffix}"
    if suffix == "parquet" and after > 20_000:
        pytest.skip("the file is smaller than its working data")
    with full_disk(after), pytest.raises(OutputError, match="written"):
        write_polygons(source, target, legend=JINGWEI)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif"]
    assert write_polygons(source, target, legend=JINGWEI) is not None


@pytest.mark.parametrize(("rules", "problem"), [
    ({"min_area": -1}, "`min_area`"),
    ({"simplify": -0.5}, "`simplify`"),
    ({"simplify": float("nan")}, "`simplify`"),
    ({"classes": []}, "`classes`"),
    ({"classes": [7]}, "`classes`"),
    ({"gsd": 0.0}, "`gsd`"),
])  # fmt: skip
def test_settings_that_make_no_sense(tmp_path, field_map, rules, problem):
    source = tiff(tmp_path / "map.tif", field_map)
    with pytest.raises(SettingError, match=problem):
        write_polygons(source, tmp_path / "map.gpkg", legend=JINGWEI, **rules)
    assert not (tmp_path / "map.gpkg").exists()


def test_files_that_make_no_sense(tmp_path, field_map):
    source = tiff(tmp_path / "map.tif", field_map + (field_map == 4))
    with pytest.raises(InputError, match=r"ids 5 \(4,431 px\) in rows 0 to"):
        write_polygons(source, tmp_path / "map.gpkg", legend=JINGWEI)
    with pytest.raises(SettingError, match="is not a vector file"):
        write_polygons(source, tmp_path / "map.shp", legend=JINGWEI)
    with pytest.raises(InputError, match="no such file"):
        write_polygons(tmp_path / "none.tif", tmp_path / "map.gpkg", legend=JINGWEI)
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]


def test_a_legend_without_background_takes_all_classes(tmp_path):
    source = tiff(tmp_path / "map.tif", blobs(30, 30, 6, 2))
    written = write_polygons(source, tmp_path / "map.gpkg", legend=GF3)
    assert (written.counts[:6] > 0).all()
