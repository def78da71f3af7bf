"""Polygons of maps, against rasterio.features.shapes on the whole array, and what simplifying may not break."""

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
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from jingwei.errors import InputError, OutputError, SettingError
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.polygons import polygonize, reading
from jingwei.polygons.polygonize import RegionPolygons
from jingwei.polygons.polygons import write_polygons
from jingwei.raster.georeference import vector_transform
from jingwei.raster.png import write_png

PLACES = {
    "north up": ("EPSG:32649", Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)),
    "rotated": ("EPSG:32649", Affine(0.4, 0.3, 500_000, 0.3, -0.4, 4_000_000)),
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 110, 0, -1e-4, 25)),
    "nowhere": (None, Affine.identity()),
}
few_classes = st.sampled_from([0, 1, 2, NODATA])
maps = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=few_classes)
)


def reference(labels):
    """(class, polygon in its normal form) of each region, sorted: GDAL on the whole array."""
    found = rasterio.features.shapes(labels, mask=labels != NODATA, connectivity=4)
    return sorted((int(label), shapely.normalize(shapely.geometry.shape(shape)).wkb_hex) for shape, label in found)


def on_pixels(classes, shapes, transform):
    """(class, polygon in its normal form) of each polygon on earth, sorted, back in the map's pixels."""
    inverse = (~vector_transform(transform)).to_shapely()
    found = [shapely.affinity.affine_transform(shape, inverse) for shape in shapes]
    snapped = [shapely.transform(shape, lambda points: np.abs(points.round(3))) for shape in found]
    assert max(shapely.hausdorff_distance(a, b) for a, b in zip(found, snapped, strict=True)) < 1e-3
    whole = [shapely.normalize(shapely.transform(shape, np.rint)).wkb_hex for shape in snapped]
    return sorted(zip(map(int, classes), whole, strict=True))


def cut(labels, heights):
    row = turn = 0
    while row < len(labels):
        yield labels[row : row + heights[turn % len(heights)]]
        row, turn = row + heights[turn % len(heights)], turn + 1


def polygons_of(labels, heights=(5,), **rules):
    """(class, polygon, pixels) of each region, in the order in which they come."""
    batches = list(RegionPolygons(cut(labels, heights), *labels.shape, **rules))
    return [
        (int(label), shapely.from_wkb(wkb), int(area))
        for batch in batches
        for wkb, label, area in zip(batch.polygons, batch.labels, batch.areas, strict=True)
    ]


def normal(found):
    return sorted((label, shapely.normalize(polygon).wkb_hex) for label, polygon, _ in found)


def assert_as_gdal(labels, heights=(5,), **rules):
    found = polygons_of(labels, heights, **rules)
    assert normal(found) == reference(labels)
    for _, polygon, pixels in found:
        assert polygon.is_valid
        assert polygon.area == pixels
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
    sums = np.zeros(256, np.int64)
    for label, polygon, _ in found:
        sums[label] += int(polygon.area)
    expected = np.bincount(labels.ravel(), minlength=256)
    expected[NODATA] = 0
    np.testing.assert_array_equal(sums, expected)
    return found


def blobs(height, width, classes, smooth, seed=0):
    """A map like a network's: `classes` of equal area with rounded borders."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).random((height, width)), smooth)
    return (np.argsort(np.argsort(field.ravel())).reshape(height, width) * classes // field.size).astype(np.uint8)


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


# ---- files ----


def tiff(path, labels, place="north up"):
    crs, transform = PLACES[place]
    height, width = labels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8", crs=crs, transform=transform,
        nodata=NODATA,
    ) as file:  # fmt: skip
        file.write(labels, 1)
    return path


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
