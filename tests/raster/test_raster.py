"""Rasters in and out: formats, validity, georeference, broken files, full disks."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

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

from jingwei.errors import InputError, OutputError
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA, legend_from_dict
from jingwei.raster.crop_files import crop_suffix, read_crop, write_crop
from jingwei.raster.png import PngWriter, write_png
from jingwei.raster.reading import Raster, open_image, open_labels, read_tags
from jingwei.raster.same_place import check_same_place, check_same_size
from jingwei.raster.writing import TiledWriter, write_submission
from jingwei.system.atomic import whole_or_nothing

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
DTYPES = ("uint8", "uint16", "int16", "float32")
ROTATED = Affine.translation(500000, 2800000) @ Affine.rotation(30) @ Affine.scale(0.05, -0.05)


def noise(bands: int, height: int, width: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Random pixels_CHW over most of the type's range."""
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(0, 1e4, (bands, height, width)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (bands, height, width), dtype=dtype, endpoint=True)


def write_tiff(path: Path, pixels: np.ndarray, mask: np.ndarray | None = None, internal=True, **profile) -> Path:
    """A GeoTIFF written by rasterio itself."""
    bands, height, width = pixels.shape
    profile = dict(driver="GTiff", count=bands, height=height, width=width, dtype=pixels.dtype.name) | profile
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels)
            if mask is not None:
                file.write_mask(mask)
    return path


def whole(path) -> tuple[np.ndarray, np.ndarray]:
    with open_image(path) as scene:
        return scene.read(Window(0, 0, *scene.shape))


def left_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- reading: formats and validity -----------------------------------------------------------------------------------


def _png_rgba(path):
    pixels = noise(4, 150, 70)
    pixels[3] = np.where(pixels[3] < 90, 0, pixels[3])
    Image.fromarray(pixels.transpose(1, 2, 0)).save(path / "rgba.png")
    return path / "rgba.png", pixels[:3], pixels[3] > 0


def _png_grey(path):
    pixels = noise(1, 150, 70)
    Image.fromarray(pixels[0]).save(path / "grey.png")
    return path / "grey.png", pixels, np.ones((150, 70), bool)


def _png_grey_alpha(path):
    pixels = noise(2, 150, 70)
    pixels[1] = np.where(pixels[1] < 90, 0, 255)
    Image.fromarray(pixels.transpose(1, 2, 0), mode="LA").save(path / "grey_alpha.png")
    return path / "grey_alpha.png", pixels[:1], pixels[1] > 0


def _integer_nodata(path):
    """Only pixels whose bands are all nodata are invalid: a dark red has blue 0 too."""
    pixels = noise(4, 150, 70, "uint16") % 3
    return (
        write_tiff(path / "uint16.tif", pixels, nodata=0, photometric="minisblack", alpha="unspecified"),
        pixels,
        (pixels != 0).any(axis=0),
    )


def _negative_nodata(path):
    pixels = noise(2, 150, 70, "int16")
    pixels[:, 20:50, :30] = -9999
    pixels[0, :, 60] = -9999
    valid = np.ones((150, 70), bool)
    valid[20:50, :30] = False
    return write_tiff(path / "int16.tif", pixels, nodata=-9999), pixels, valid


def _float_nodata(path):
    """Any band that has it, NaN or infinity makes a float pixel invalid."""
    pixels = noise(3, 150, 70, "float32")
    valid = np.ones((150, 70), bool)
    for band, row, value in [(0, 10, -3.4028234663852886e38), (1, 20, np.nan), (2, 30, np.inf), (0, 149, -np.inf)]:
        pixels[band, row, 5:9] = value
        valid[row, 5:9] = False
    return write_tiff(path / "float.tif", pixels, nodata=-3.4028234663852886e38), pixels, valid


def _float_nan_nodata(path):
    pixels = noise(2, 150, 70, "float32")
    pixels[1, 3:80, 4] = np.nan
    return write_tiff(path / "nan.tif", pixels, nodata=np.nan), pixels, ~np.isnan(pixels).any(axis=0)


def _float_alpha(path):
    """Alpha doesn't make a NaN valid."""
    pixels = noise(2, 150, 70, "float32")
    pixels[1] = pixels[1] > 0
    pixels[0, 40:60] = np.nan
    path = write_tiff(path / "float_alpha.tif", pixels, photometric="minisblack", alpha="yes")
    return path, pixels[:1], (pixels[1] > 0) & ~np.isnan(pixels[0])


def _internal_mask(path):
    pixels, valid = noise(3, 150, 70), noise(1, 150, 70, seed=1)[0] < 128
    return write_tiff(path / "masked.tif", pixels, valid, photometric="rgb"), pixels, valid


def _mask_beside(path):
    pixels, valid = noise(1, 150, 70, "uint16"), noise(1, 150, 70, seed=1)[0] < 128
    return write_tiff(path / "beside.tif", pixels, valid, internal=False), pixels, valid


def _png_mask_beside(path):
    pixels, valid = noise(3, 150, 70), noise(1, 150, 70, seed=1)[0] < 128
    write_png(path / "scene.png", pixels.transpose(1, 2, 0))
    write_tiff(path / "other.tif", pixels, valid, internal=False, photometric="rgb")
    (path / "other.tif.msk").rename(path / "scene.png.msk")
    return path / "scene.png", pixels, valid


def _png_16_bit(path):
    pixels = noise(1, 150, 70, "uint16")
    Image.fromarray(pixels[0]).save(path / "deep.png")
    return path / "deep.png", pixels, np.ones((150, 70), bool)


def _png_one_colour_transparent(path):
    pixels = noise(1, 150, 70) % 4
    Image.fromarray(pixels[0]).save(path / "trns.png", transparency=2)
    return path / "trns.png", pixels, pixels[0] != 2


def _png_interlaced(path):
    """Adam7: seven small pictures, one after the other."""
    pixels = noise(1, 150, 70)
    data = b""
    for row, col, down, across in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                                   (1, 0, 2, 1)]:  # fmt: skip
        small = pixels[0, row::down, col::across]
        data += np.pad(small, ((0, 0), (1, 0))).tobytes()  # each row begins with its filter, 0
    header = struct.pack(">IIBBBBB", 70, 150, 8, 0, 0, 0, 1)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    (path / "interlaced.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path / "interlaced.png", pixels, np.ones((150, 70), bool)


def _png_four_bits(path):
    pixels = noise(1, 150, 70) % 4
    picture = Image.fromarray(pixels[0], mode="P")
    picture.putpalette([10, 10, 10, 80, 80, 80, 150, 150, 150, 220, 220, 220])
    picture.save(path / "bits.png", bits=4)
    return path / "bits.png", pixels, np.ones((150, 70), bool)


def _png_palette(path):
    colors = np.array([(200, 10, 30), (0, 90, 7), (1, 2, 3), (250, 250, 250)], np.uint8)
    indices = noise(1, 150, 70)[0] % 4
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette(colors.reshape(-1).tolist())
    picture.save(path / "palette.png", transparency=2, bits=8)
    return path / "palette.png", colors[indices].transpose(2, 0, 1), indices != 2


def _tiff_palette(path):
    pixels = noise(1, 150, 70, "uint16")
    with rasterio.open(
        path / "palette.tif", "w", driver="GTiff", height=150, width=70, count=1, dtype="uint16"
    ) as file:
        file.write_colormap(1, {i: (i % 251, i // 256, 7, 255) for i in range(65536)})
        file.write(pixels)
    red, green = pixels[0] % 251, pixels[0] // 256
    return path / "palette.tif", np.stack([red, green, np.full_like(red, 7)]).astype(np.uint8), np.ones((150, 70), bool)


def _float_mask(path):
    pixels, valid = noise(2, 150, 70, "float32"), noise(1, 150, 70, seed=1)[0] < 128
    pixels[1, 7] = np.nan
    return write_tiff(path / "float_mask.tif", pixels, valid), pixels, valid & ~np.isnan(pixels[1])


def _many_bands(path):
    pixels = noise(7, 150, 70, "int16")
    return write_tiff(path / "seven.tif", pixels, interleave="band"), pixels, np.ones((150, 70), bool)


def _jpeg2000(path):
    pixels = noise(3, 150, 70, "uint16")
    tiff = write_tiff(path / "source.tif", pixels)
    rasterio.shutil.copy(tiff, path / "scene.jp2", driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    return path / "scene.jp2", pixels, np.ones((150, 70), bool)


def _vrt(path):
    """A virtual mosaic of one file with nodata."""
    tiff, pixels, valid = _integer_nodata(path)
    rasterio.shutil.copy(tiff, path / "scene.vrt", driver="VRT")
    return path / "scene.vrt", pixels, valid


KINDS = [
    _png_rgba, _png_grey, _png_grey_alpha, _png_mask_beside, _png_16_bit, _png_interlaced, _png_four_bits,
    _png_palette, _tiff_palette,
    _png_one_colour_transparent, _integer_nodata, _negative_nodata, _float_nodata, _float_nan_nodata, _float_alpha,
    _internal_mask, _mask_beside, _float_mask, _many_bands, _jpeg2000, _vrt,
]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__.strip("_"))
def kind(request, tmp_path_factory):
    """One file of every kind: (path, its pixels_CHW, its valid_HW)."""
    if request.param is _jpeg2000:
        with rasterio.Env() as env:
            if "JP2OpenJPEG" not in env.drivers():
                pytest.skip("this GDAL reads no JPEG 2000")
    return request.param(tmp_path_factory.mktemp("kinds"))


def test_every_kind_gives_its_pixels_type_and_validity(kind):
    path, pixels, valid = kind
    with open_image(path) as scene:
        assert (scene.bands, scene.height, scene.width) == pixels.shape
        assert scene.dtype == pixels.dtype
    found, found_valid = whole(path)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)
    np.testing.assert_array_equal(found_valid, valid)


def test_validity_is_the_same_without_pixels(kind):
    path, _, valid = kind
    with open_image(path) as scene:
        window = Window(13, 4, 90, 57)
        np.testing.assert_array_equal(scene.read_validity(window), valid[window.slices])


@given(st.lists(st.tuples(st.integers(0, 149), st.integers(1, 150)), min_size=1, max_size=6))
@settings(max_examples=15)
def test_rows_going_down_equal_the_whole_array_at_any_strip_heights_and_overlaps(kind, places):
    path, pixels, valid = kind
    with open_image(path) as scene:
        for first, height in sorted(places):
            end = min(150, first + height)
            rows, rows_valid = scene.read_rows(first, end)
            np.testing.assert_array_equal(rows, pixels[:, first:end])
            np.testing.assert_array_equal(rows_valid, valid[first:end])


def test_rows_may_be_changed_by_their_reader_without_changing_the_label_rows_read_later(tmp_path):
    labels = noise(1, 40, 30)[0] % 5
    write_png(tmp_path / "label.png", labels)
    with open_labels(tmp_path / "label.png") as source:
        source.read_label_rows(0, 20)[:] = 9
        np.testing.assert_array_equal(source.read_label_rows(10, 30), labels[10:30])


def test_tiled_files_are_known_from_those_read_by_rows(tmp_path):
    write_png(tmp_path / "a.png", noise(1, 600, 600)[0])
    with TiledWriter(tmp_path / "a.tif", 600, 600) as writer:
        writer.write(Window(0, 0, 600, 600), noise(1, 600, 600))
    with Raster(tmp_path / "a.png") as rows, Raster(tmp_path / "a.tif") as tiles:
        assert not rows.tiled
        assert tiles.tiled


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 200), ("uint16", 65535), ("int16", -9999), ("int32", -1)])
def test_labels_of_any_integer_type_are_uint8_with_nodata_where_the_file_says_so(dtype, nodata, tmp_path):
    labels = (noise(1, 90, 40) % 5).astype(dtype)
    labels[0, 30:50] = nodata
    labels[0, :, 3] = 255
    path = write_tiff(tmp_path / "label.tif", labels, nodata=nodata)
    with open_labels(path) as source:
        found = source.read_label_rows(0, 90)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.where((labels[0] == nodata) | (labels[0] == 255), NODATA, labels[0]))


def test_palette_labels_give_their_ids_not_their_colours(tmp_path):
    labels = noise(1, 30, 20)[0] % 4
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250, 9, 9, 9])
    picture.save(tmp_path / "label.png")
    with open_labels(tmp_path / "label.png") as source:
        np.testing.assert_array_equal(source.read_label_rows(0, 30), labels)


VALUES = legend_from_dict({"classes": [
    {"id": 0, "name": "land", "color": "#000000", "value": 1},
    {"id": 1, "name": "sea", "color": "#0000FF", "value": 255},
    {"id": 2, "name": "ice", "color": "#FFFFFF"}]})  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
@pytest.mark.parametrize("nodata", [None, 7])
def test_labels_are_the_ids_of_the_values_that_a_legend_has(dtype, nodata, tmp_path):
    truth = noise(1, 300, 20)[0] % 3
    values = np.array([1, 255, 2], dtype)[truth]
    if nodata:
        values[50:60], truth[50:60] = nodata, NODATA
    path = write_tiff(tmp_path / "label.tif", values[None], nodata=nodata)
    with open_labels(path, VALUES) as source:
        np.testing.assert_array_equal(source.read_label_rows(0, 200), truth[:200])
        np.testing.assert_array_equal(source.read_label_rows(150, 300), truth[150:])
    with open_labels(path) as source:  # a map, say
        assert set(np.unique(source.read_label_rows(0, 300))) <= {1, 2, NODATA}


@pytest.mark.parametrize(("dtype", "strange"), [("uint8", 0), ("uint8", 99), ("uint16", 257), ("int16", -1)])
def test_values_of_no_class_are_named_with_the_known_ones(dtype, strange, tmp_path):
    values = np.full((1, 90, 40), 2, dtype)
    values[0, 80, 3] = strange
    path = write_tiff(tmp_path / "label.tif", values)
    with open_labels(path, VALUES) as source:
        with pytest.raises(InputError, match=rf"values {strange} in rows 0 to 90: known are 1, 2, 255: correct"):
            source.read_label_rows(0, 90)


def put(path: Path, crs, transform) -> Raster:
    kind = {"crs": crs, "transform": transform}
    return Raster(write_tiff(path, np.zeros((1, 40, 30), np.uint8), **{k: v for k, v in kind.items() if v}))


PLACE = Affine(0.5, 0, 448000.3, 0, -0.5, 4412000.7)


@pytest.mark.parametrize(("crs", "transform"), [
    ("EPSG:32650", PLACE), ("EPSG:32650", PLACE @ Affine.translation(1e-6, -0.9)), (None, PLACE), ("EPSG:32651", None),
    ("+proj=utm +zone=50 +datum=WGS84 +units=m", PLACE), ("EPSG:32650", PLACE @ Affine.scale(1.0000001)),
])  # fmt: skip
def test_a_label_may_lie_where_its_scene_does_or_say_nothing(crs, transform, tmp_path):
    with put(tmp_path / "scene.tif", "EPSG:32650", PLACE) as scene, put(tmp_path / "l.tif", crs, transform) as label:
        check_same_place(label, scene)


@pytest.mark.parametrize(("crs", "transform", "problem"), [
    ("EPSG:32651", PLACE, "l.tif: is in EPSG:32651, but scene.tif is in EPSG:32650"),
    ("EPSG:4326", PLACE, "l.tif: is in EPSG:4326, but scene.tif is in EPSG:32650"),
    ("EPSG:32650", PLACE @ Affine.translation(0, 1.2), "place than scene.tif, by its georeference (1.2 px apart)"),
    ("EPSG:32650", PLACE @ Affine.scale(1.1), "place than scene.tif, by its georeference (4.0 px apart)"),
])  # fmt: skip
def test_a_label_at_another_place_than_its_scene_is_refused(crs, transform, problem, tmp_path):
    with put(tmp_path / "scene.tif", "EPSG:32650", PLACE) as scene, put(tmp_path / "l.tif", crs, transform) as label:
        with pytest.raises(InputError) as refused:
            check_same_place(label, scene)
    assert f"{problem}: export it again on the scene's grid" in str(refused.value)


@pytest.mark.parametrize(("dtype", "strange"), [("uint16", 256), ("int16", -3), ("int32", 100000)])
def test_ids_beyond_a_byte_are_refused(dtype, strange, tmp_path):
    labels = np.zeros((1, 90, 40), dtype)
    labels[0, 70, 3] = strange
    path = write_tiff(tmp_path / "label.tif", labels)
    with open_labels(path) as source:
        assert not source.read_label_rows(0, 64).any()
        with pytest.raises(InputError, match=rf"label.tif: ids {strange} in rows 64"):
            source.read_label_rows(64, 90)


@pytest.mark.parametrize(("bands", "mode"), [(3, "RGB"), (4, "RGBA")])
def test_coloured_labels_are_refused(bands, mode, tmp_path):
    Image.fromarray(noise(bands, 9, 9).transpose(1, 2, 0), mode=mode).save(tmp_path / "label.png")
    with pytest.raises(InputError, match="label.png: has 3 bands: labels need one band of class ids"):
        open_labels(tmp_path / "label.png")


def test_labels_in_a_jpeg_are_refused(tmp_path):
    Image.fromarray(np.ones((9, 9), np.uint8)).save(tmp_path / "label.jpg")
    with pytest.raises(InputError, match="label.jpg: is a JPEG, which changes ids and colours: save masks as PNG"):
        open_labels(tmp_path / "label.jpg")


def test_labels_of_floats_are_refused(tmp_path):
    path = write_tiff(tmp_path / "label.tif", noise(1, 9, 9, "float32"))
    with pytest.raises(InputError, match="holds float32 values"):
        open_labels(path)


@pytest.mark.parametrize("dtype", ["float64", "int32", "complex64"])
def test_scenes_of_other_types_are_refused(dtype, tmp_path):
    path = write_tiff(tmp_path / "scene.tif", np.zeros((1, 9, 9), dtype))
    with pytest.raises(InputError, match=rf"scene.tif: pixels are {dtype}: convert them to uint8, uint16"):
        open_image(path)


def test_sizes_that_differ_are_told_with_both_sizes(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((9, 7), np.uint8))
    write_png(tmp_path / "b.png", np.zeros((9, 8), np.uint8))
    with Raster(tmp_path / "a.png") as a, Raster(tmp_path / "b.png") as b:
        check_same_size(a, a)
        with pytest.raises(InputError, match=r"a.png: 7 x 9 px, but b.png is 8 x 9"):
            check_same_size(a, b)


# --- broken files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"no picture\n" * 99, b"\x89PNG\r\n\x1a\n", b"II*\0"], ids=["empty", "text", "png", "tiff"]
)
def test_a_file_that_is_no_raster_gives_one_line(content, tmp_path):
    path = tmp_path / "image_1.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        whole(path)
    assert str(raised.value).startswith(f"{path}: is not a raster that GDAL can read")
    assert "\n" not in str(raised.value)


def test_a_missing_file_gives_one_line(tmp_path):
    with pytest.raises(InputError, match=r"image_1.png: no such file: check the path"):
        Raster(tmp_path / "image_1.png")


def test_a_folder_is_no_raster(tmp_path):
    with pytest.raises(InputError, match="is not a raster"):
        Raster(tmp_path)


@pytest.mark.parametrize("reader", ["ours", "GDAL at once", "GDAL row by row"])
@pytest.mark.parametrize("damage", ["cut at 10 %", "cut at 50 %", "cut at 97 %", "bit at 30 %", "bit at 90 %"])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_damaged_png_gives_one_line_and_no_pixels(bands, damage, reader, tmp_path):
    path = tmp_path / "image_1.png"
    pixels = noise(bands, 200, 130).transpose(1, 2, 0)
    write_png(path, pixels if bands > 1 else pixels[..., 0])
    content = bytearray(path.read_bytes())
    what, _, share, _ = damage.split()
    place = len(content) * int(share) // 100
    if what == "cut":
        del content[place:]
    else:
        content[place] ^= 0x10
    path.write_bytes(content)
    top = 0 if reader == "ours" else 1  # who starts below the top is served by GDAL
    with rasterio.Env(GDAL_PNG_WHOLE_IMAGE_OPTIM=reader == "GDAL at once"):
        with Raster(path) as scene, pytest.raises(InputError) as raised:
            [scene.read_rows(first, min(200, first + 40)) for first in range(top, 200, 40)]
    assert str(raised.value).startswith(f"{path}: broken or truncated at rows ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["cut", "bit"])
@pytest.mark.parametrize("bands", [1, 4])
def test_damage_anywhere_in_a_png_is_told_or_harmless(bands, damage, tmp_path):
    """Every byte of a file in turn: an InputError or the right pixels, and nothing else."""
    path = tmp_path / "image_1.png"
    pixels = noise(4, 12, 9) // 50
    pixels[3] = 255
    write_png(path, pixels[:bands].transpose(1, 2, 0) if bands > 1 else pixels[0])
    content = path.read_bytes()
    told = []
    for place in range(len(content)):
        damaged = content[:place]
        if damage == "bit":
            damaged += bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :]
        path.write_bytes(damaged)
        try:
            with Raster(path) as scene:
                rows = np.concatenate([scene.read_rows(first, first + 4)[0] for first in (0, 4, 8)], axis=1)
        except InputError as error:
            told.append(str(error))
        else:
            np.testing.assert_array_equal(rows, pixels[: min(bands, 3)])
    assert len(told) > 0.9 * (len(content) - 16)  # only the last chunk, which has no pixels, may be lost
    assert not any("\n" in line for line in told)


@pytest.mark.parametrize("lost", [1, 4, 8, 11, 12])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_png_without_its_last_chunk_is_right_or_refused_when_read_at_once(bands, lost, tmp_path):
    """GDAL's default gives wrong pixels here, and says nothing."""
    path, pixels = tmp_path / "image_1.png", noise(bands, 50, 40)
    write_png(path, pixels.transpose(1, 2, 0) if bands > 1 else pixels[0])
    path.write_bytes(path.read_bytes()[:-lost])
    try:
        found, _ = whole(path)
    except InputError:
        return
    np.testing.assert_array_equal(found, pixels)


def test_a_truncated_tiff_gives_one_line(tmp_path):
    path = tmp_path / "scene.tif"
    with TiledWriter(path, 600, 500, bands=3) as writer:
        writer.write(Window(0, 0, 600, 500), noise(3, 600, 500))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(InputError) as raised:
        whole(path)
    assert "scene.tif" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("dtype", "damage"),  # a wrong bit in a TIFF shows nowhere: it has no checksums
    [("uint8", None), ("uint8", "empty"), ("uint8", "cut"), ("uint8", "bit"), ("uint16", "empty"), ("uint16", "cut")],
)
def test_a_broken_crop_is_an_input_error(dtype, damage, tmp_path):
    path = tmp_path / f"crop{crop_suffix(3, dtype)}"
    if damage is not None:
        write_crop(path, noise(3, 100, 100, dtype))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x10
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "bit": content}[damage])
    with pytest.raises(InputError, match="crop"):
        read_crop(path)


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


# --- whole or not at all ---------------------------------------------------------------------------------------------


def _tiled(path):
    with TiledWriter(path, 600, 500, mask=True, overviews=True) as writer:
        writer.write(Window(0, 0, 300, 500), noise(1, 300, 500), np.ones((300, 500), bool))
        yield


def _png(path):
    with PngWriter(path, 600, 500) as writer:
        writer.write(noise(1, 300, 500)[0])
        yield


def _text(path):
    with whole_or_nothing(path) as part:
        part.write_text("half of it")
        yield


@pytest.mark.parametrize("exception", [ValueError("stop"), KeyboardInterrupt(), InputError("a", "b", "c")])
@pytest.mark.parametrize("older", [False, True], ids=["new", "older"])
@pytest.mark.parametrize("begin", [_tiled, _png, _text])
def test_an_exception_in_the_middle_leaves_nothing_and_keeps_an_older_file(begin, older, exception, tmp_path):
    path = tmp_path / "out.tif"
    if older:
        path.write_bytes(b"the older one")
    writing = begin(path)
    next(writing)
    with pytest.raises(type(exception)) as raised:
        writing.throw(exception)
    assert raised.value is exception
    assert left_in(tmp_path) == (["out.tif"] if older else [])
    assert not older or path.read_bytes() == b"the older one"


@pytest.mark.parametrize("begin", [_tiled, _png, _text])
def test_nothing_is_seen_under_the_final_name_before_the_end(begin, tmp_path):
    writing = begin(tmp_path / "out.tif")
    next(writing)
    assert not (tmp_path / "out.tif").exists()
    writing.close()


def test_a_png_with_rows_missing_is_not_kept(tmp_path):
    with pytest.raises(AssertionError, match="300 rows written of 600"):
        for _ in _png(tmp_path / "a.png"):
            pass
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("begin", [_tiled, _png, _text])
def test_a_place_that_cannot_be_written_is_an_output_error(begin, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="can't be written") as raised:
        next(begin(tmp_path / "file" / "out.tif"))
    assert "\n" not in str(raised.value)
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(OutputError, match="can't be written"):
        for _ in _text(tmp_path / "folder.tif"):
            pass
    assert left_in(tmp_path) == ["file", "folder.tif"]


FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
import numpy as np
from jingwei.raster.writing import TiledWriter, write_submission
from jingwei.crops.table import Crop, write_crops
from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.tile import tile_scene
from jingwei.errors import JingweiError
from jingwei.grid import Window
from jingwei.legend import JINGWEI
from jingwei.raster.png import write_png
from jingwei.inputs.scenes import Scene
from jingwei.workspace import Workspace

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
root, outcome = Path(sys.argv[1]), {}
noise = np.random.default_rng(0).integers(0, 256, (3, 1500, 1500), dtype=np.uint8)
write_png(root / "scene.png", noise.transpose(1, 2, 0))
write_png(root / "label.png", noise[0] % 5)
with TiledWriter(root / "scene16.tif", 700, 700, bands=4, dtype="uint16") as writer:
    writer.write(Window(0, 0, 700, 700), np.concatenate([noise, noise[:1]])[:, :700, :700].astype("uint16") * 99)
write_png(root / "label16.png", noise[0, :700, :700] % 5)

def tiled(path, side, **how):
    with TiledWriter(path, side, side, bands=3, **how) as writer:
        for row in range(0, side, 100):
            writer.write(Window(row, 0, 100, side), noise[:, row : row + 100, :side])

def cut(path, scene, label):
    settings = CutSettings(crop_size=128, stride=128)
    cut_train(Workspace(path.parent), [Scene(root / scene, root / label)], settings, JINGWEI, 4)

def on_full_disk(case, limit, write):
    folder = root / case
    folder.mkdir()
    path = folder / "out.tif"
    path.write_bytes(older)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write(path)
        outcome[case] = ["nothing", "", []]
    except Exception as error:
        outcome[case] = [type(error).__name__, str(error), []]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    outcome[case][2] = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    if path.read_bytes() != older:
        outcome[case][2].append("the older one is lost")

# What is compiled is kept beside the code: it must not be kept for the first time when the disk is full.
cut(root / "once" / "out", "scene.png", "label.png")
cut(root / "once16" / "out", "scene16.tif", "label16.png")
tile_scene(root / "scene.png", root / "once.tif", 2)
tiled(root / "older.tif", 100)
older = (root / "older.tif").read_bytes()
tiled(root / "plain.tif", 600)
plain = (root / "plain.tif").stat().st_size
on_full_disk("tiled", 100_000, lambda path: tiled(path, 600))
on_full_disk("tiled, 4 workers", 100_000, lambda path: tiled(path, 600, workers=4))
on_full_disk("tiled, at the end", 5_000, lambda path: tiled(path, 100))
on_full_disk("tiled, at once", 0, lambda path: tiled(path, 100))
tiled(root / "large.tif", 1100)
large = (root / "large.tif").stat().st_size
on_full_disk("tiled, in the overviews", large + 20_000, lambda path: tiled(path, 1100, overviews=True))
on_full_disk("tiled, its last byte", plain - 1, lambda path: tiled(path, 600))
on_full_disk("png", 100_000, lambda path: write_png(path, noise.transpose(1, 2, 0)))
on_full_disk("png, at the end", 20, lambda path: write_png(path, noise[0, :9, :9]))
on_full_disk("text", 20, lambda path: write_crops(path, [Crop("a", "b", Window(0, 0, 9, 9), 1, (1,), (1.0,), (1.0,))]))
on_full_disk("png crops", 5_000, lambda path: cut(path, "scene.png", "label.png"))
on_full_disk("tiff crops", 50_000, lambda path: cut(path, "scene16.tif", "label16.png"))
on_full_disk("tiled scene", 300_000, lambda path: tile_scene(root / "scene.png", path, 2))
print(json.dumps(outcome))
"""
CASES = [
    "tiled", "tiled, 4 workers", "tiled, at the end", "tiled, at once", "tiled, in the overviews",
    "tiled, its last byte", "png", "png, at the end", "text", "png crops", "tiff crops", "tiled scene",
]  # fmt: skip


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory):
    """What each writer did when no file could grow past a limit: {case: [exception, message, files left]}."""
    # A block cache of 1 MB, so that blocks are written while others are read, as in scenes larger than the cache.
    environment = os.environ | {"GDAL_CACHEMAX": "1"}
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path_factory.mktemp("full"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits are set as Linux has them")
@pytest.mark.parametrize("case", CASES)
def test_a_full_disk_is_an_output_error_and_leaves_nothing_but_the_older_file(case, full_disk):
    error, message, left = full_disk[case]
    assert error == "OutputError", message
    assert "can't be written" in message
    assert "GB left" in message
    assert "\n" not in message
    assert left == ["out.tif"]
