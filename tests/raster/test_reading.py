"""Reading rasters: every format gives its pixels, its type and its validity."""

import struct
import zlib

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from written_rasters import noise, whole, write_tiff

from jingwei.grid import Window
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster, open_image, open_labels
from jingwei.raster.writing import TiledWriter

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


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
