"""Files that can't be read: one line says so, and no wrong pixels come out."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from written_rasters import noise, whole, write_tiff

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.raster.crop_files import crop_suffix, read_crop, write_crop
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster, open_image
from jingwei.raster.writing import TiledWriter

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.mark.parametrize("dtype", ["float64", "int32", "complex64"])
def test_scenes_of_other_types_are_refused(dtype, tmp_path):
    path = write_tiff(tmp_path / "scene.tif", np.zeros((1, 9, 9), dtype))
    with pytest.raises(InputError, match=rf"scene.tif: pixels are {dtype}: convert them to uint8, uint16"):
        open_image(path)


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


@pytest.mark.parametrize("interleave", ["bsq", "bil"])
def test_a_truncated_envi_file_gives_one_line(interleave, tmp_path):
    """GDAL gives zeros for what is missing of these."""
    path, pixels = tmp_path / "image_1.img", noise(3, 60, 50)
    how = dict(driver="ENVI", height=60, width=50, count=3, dtype="uint8", interleave=interleave)
    with rasterio.open(path, "w", **how) as file:
        file.write(pixels)
    np.testing.assert_array_equal(whole(path)[0], pixels)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="image_1.img: is cut off: 8,999 of its 9,000 bytes are there: copy"):
        open_image(path)


@pytest.mark.parametrize("rows", [60, 16])
@pytest.mark.parametrize("lost", [12, 20, 900])
@pytest.mark.parametrize(("driver", "ending"), [("PNG", "png"), ("ENVI", "img"), ("BMP", "bmp"), ("GTiff", "tif")])
def test_a_truncated_tile_of_a_mosaic_is_right_or_refused(driver, ending, lost, rows, tmp_path):
    tile, pixels, mosaic = tmp_path / f"tile.{ending}", noise(1, 60, 50), tmp_path / "mosaic.vrt"
    with rasterio.open(tile, "w", driver=driver, height=60, width=50, count=1, dtype="uint8") as file:
        file.write(pixels)
    source = f'<SimpleSource><SourceFilename relativeToVRT="1">{tile.name}</SourceFilename></SimpleSource>'
    band = f'<VRTRasterBand dataType="Byte" band="1">{source}</VRTRasterBand>'
    mosaic.write_text(f'<VRTDataset rasterXSize="50" rasterYSize="60">{band}</VRTDataset>')
    tile.write_bytes(tile.read_bytes()[:-lost])
    try:
        with open_image(mosaic) as image:
            parts = [image.read(Window(row, 0, min(rows, 60 - row), 50))[0] for row in range(0, 60, rows)]
    except InputError:
        return
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), pixels)


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
