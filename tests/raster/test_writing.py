"""Writing rasters: what is written is what is read, in tiled files, PNGs and crops."""

import cv2
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.crs import CRS
from rasterio.transform import Affine
from written_rasters import DTYPES, ROTATED, noise, whole, write_tiff

from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.crop_files import crop_suffix, read_crop, write_crop
from jingwei.raster.png import PngWriter, write_png
from jingwei.raster.reading import Raster, read_tags
from jingwei.raster.writing import TiledWriter, write_submission

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


# --- writing tiled GeoTIFFs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tiled_files_round_trip_with_their_validity(dtype, bands, tmp_path):
    pixels, valid = noise(bands, 300, 270, dtype), noise(1, 300, 270, seed=1)[0] < 200
    with TiledWriter(tmp_path / "a.tif", 300, 270, bands=bands, dtype=dtype, mask=True) as writer:
        for first in range(0, 300, 77):
            window = Window(first, 0, min(77, 300 - first), 270)
            writer.write(window, pixels[(slice(None), *window.slices)], valid[window.slices])
    found, found_valid = whole(tmp_path / "a.tif")
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, np.where(valid, pixels, 0))
    np.testing.assert_array_equal(found_valid, valid)


@pytest.mark.parametrize("size", [(1, 1), (511, 1), (512, 3), (513, 2), (1, 513)])
def test_tiled_files_of_boundary_sizes_round_trip(size, tmp_path):
    pixels = noise(1, *size)
    with TiledWriter(tmp_path / "a.tif", *size, overviews=True) as writer:
        writer.write(Window(0, 0, *size), pixels[0])
    np.testing.assert_array_equal(whole(tmp_path / "a.tif")[0], pixels)


@pytest.mark.parametrize("transform", [ROTATED, Affine(0.1, 0, 1e5, 0, -0.1, 2e6)], ids=["rotated", "north up"])
def test_georeference_passes_from_scene_to_output(transform, tmp_path):
    source = write_tiff(tmp_path / "a.tif", noise(1, 20, 30), crs="EPSG:32648", transform=transform)
    with Raster(source) as like, TiledWriter(tmp_path / "b.tif", 20, 30, like=like) as writer:
        writer.write(Window(0, 0, 20, 30), np.zeros((20, 30), np.uint8))
    with rasterio.open(tmp_path / "b.tif") as result:
        assert result.crs == CRS.from_epsg(32648)
        assert result.transform.almost_equals(transform, 1e-9)


def test_label_maps_keep_colours_nodata_and_tags(tmp_path):
    tags = {"JINGWEI_STAMP": "0123", "note": "烤烟"}
    with TiledWriter(tmp_path / "a.tif", 20, 30, nodata=NODATA, colormap=JINGWEI.colormap(), tags=tags) as writer:
        writer.write(Window(0, 0, 20, 30), np.full((20, 30), NODATA, np.uint8))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.nodata == NODATA
        colors = file.colormap(1)
        assert all(colors[c.id] == (*c.color, 255) for c in JINGWEI.classes)
    assert tags.items() <= read_tags(tmp_path / "a.tif").items()
    assert not whole(tmp_path / "a.tif")[1].any()


def test_blank_tiles_cost_nothing(tmp_path):
    with TiledWriter(tmp_path / "a.tif", 20000, 20000, bands=3, mask=True) as writer:
        writer.write(Window(300, 300, 10, 10), noise(3, 10, 10), np.ones((10, 10), bool))
    assert (tmp_path / "a.tif").stat().st_size < 400_000
    with Raster(tmp_path / "a.tif") as scene:
        pixels, valid = scene.read(Window(19000, 19000, 50, 50))
    assert not pixels.any()
    assert not valid.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_overviews_are_averages_that_leave_invalid_pixels_out(dtype, tmp_path):
    pixels = np.full((1, 600, 1100), 100, dtype)
    valid = np.ones((600, 1100), bool)
    valid[:, 1::2] = False
    with TiledWriter(tmp_path / "a.tif", 600, 1100, dtype=dtype, mask=True, overviews=True) as writer:
        writer.write(Window(0, 0, 600, 1100), np.where(valid, pixels, 0).astype(dtype), valid)
    np.testing.assert_array_equal(whole(tmp_path / "a.tif")[1], valid)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.overviews(1) == [2]
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as half:
        assert half.shape == (300, 550)
        assert (half.read(1) == 100).all()


def test_overviews_of_label_maps_hold_only_ids_that_are_there(tmp_path):
    labels = np.where(noise(1, 1100, 1050) < 128, 1, 4).astype(np.uint8)
    with TiledWriter(tmp_path / "a.tif", 1100, 1050, colormap=JINGWEI.colormap(), overviews=True) as writer:
        writer.write(Window(0, 0, 1100, 1050), labels)
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as quarter:
        assert set(np.unique(quarter.read(1))) == {1, 4}


def test_one_worker_and_four_write_the_same_bytes(tmp_path):
    pixels, valid = noise(3, 700, 900, "uint16"), noise(1, 700, 900, seed=1)[0] < 200
    for workers in (1, 4):
        path = tmp_path / str(workers) / "a.tif"
        with TiledWriter(path, 700, 900, bands=3, dtype="uint16", mask=True, overviews=True, workers=workers) as writer:
            for first in range(0, 700, 256):
                window = Window(first, 0, min(256, 700 - first), 900)
                writer.write(window, pixels[(slice(None), *window.slices)], valid[window.slices])
    assert (tmp_path / "1" / "a.tif").read_bytes() == (tmp_path / "4" / "a.tif").read_bytes()


# --- writing PNG -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 511), (512, 1), (513, 7), (130, 513)])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_pngs_decode_to_the_same_pixels_everywhere(bands, size, tmp_path):
    path = tmp_path / "a.png"
    pixels = noise(bands, *size)
    pixels[:, size[0] // 3 :] //= 60  # a part that deflates well, after one that doesn't
    write_png(path, pixels[0] if bands == 1 else pixels.transpose(1, 2, 0))
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), pixels)
    by_pillow = np.asarray(Image.open(path))
    np.testing.assert_array_equal(by_pillow, pixels[0] if bands == 1 else pixels.transpose(1, 2, 0))
    if bands == 2:  # OpenCV has no grey with alpha
        return
    by_opencv = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[bands]
    np.testing.assert_array_equal(by_opencv.reshape(*size, bands), pixels[order].transpose(1, 2, 0))


@given(st.integers(1, 60), st.integers(1, 30), st.sampled_from([1, 2, 3, 4]), st.data())
@settings(max_examples=40)
def test_a_png_is_the_same_picture_at_any_strip_heights(tmp_path_factory, height, width, bands, data):
    path = tmp_path_factory.mktemp("png") / "a.png"
    shape = (height, width) if bands == 1 else (height, width, bands)
    pixels = np.random.default_rng(height).integers(0, 256, shape, dtype=np.uint8)
    with PngWriter(path, height, width, bands) as writer:
        first = 0
        while first < height:
            end = first + data.draw(st.integers(1, height - first))
            writer.write(pixels[first:end])
            first = end
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)


def test_submissions_have_0_where_the_map_has_nodata(tmp_path):
    labels = np.where(noise(1, 300, 40) < 100, NODATA, noise(1, 300, 40, seed=1) % 5).astype(np.uint8)
    write_tiff(tmp_path / "map.tif", labels, nodata=NODATA)
    write_submission(tmp_path / "map.tif", tmp_path / "submit" / "image_3_predict.png")
    found = np.asarray(Image.open(tmp_path / "submit" / "image_3_predict.png"))
    np.testing.assert_array_equal(found, np.where(labels[0] == NODATA, 0, labels[0]))


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_crops_round_trip_and_are_png_only_where_png_holds_them(dtype, bands, tmp_path):
    suffix = crop_suffix(bands, dtype)
    assert suffix == (".png" if dtype == "uint8" and bands in (1, 3) else ".tif")
    pixels = noise(bands, 33, 45, dtype)
    write_crop(tmp_path / f"a{suffix}", pixels)
    found = read_crop(tmp_path / f"a{suffix}")
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels.transpose(1, 2, 0))
