"""Pictures that cameras store turned are read upright, as the masks drawn on them are."""

import struct

import numpy as np
import pytest
import rasterio
from PIL import Image, ImageOps
from rasterio.transform import from_origin

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.raster import orientation
from jingwei.raster.reading import Raster, open_image, open_labels

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)


def save(path, value: int, pixels: np.ndarray = PIXELS):
    """A picture with an orientation, of the kind that its name says."""
    exif = Image.Exif()
    exif[orientation._TAG] = value
    Image.fromarray(pixels).save(
        path, exif=exif, **({"quality": 95, "subsampling": 0} if "j" in path.suffix.lower() else {})
    )
    return path


def by_pillow(path) -> np.ndarray:
    """The picture as programs show it, CHW."""
    with Image.open(path) as picture:
        shown = np.asarray(ImageOps.exif_transpose(picture))
    return shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.JPG"])
def test_a_picture_is_read_as_programs_show_it(name, value, tmp_path):
    path = save(tmp_path / name, value)
    shown = by_pillow(path)
    with open_image(path) as image:
        assert (image.bands, *image.shape) == shown.shape
        pixels, valid = image.read(Window(3, 5, 20, 21))
        np.testing.assert_allclose(pixels, shown[:, 3:23, 5:26], atol=0 if "J" not in name.upper() else 3)
        assert valid.all()
        strips = [image.read_rows(first, min(first + 12, image.height)) for first in range(0, image.height, 12)]
    joined = np.concatenate([part for part, _ in strips], axis=1)
    np.testing.assert_allclose(joined, shown, atol=0 if "J" not in name.upper() else 3)


@pytest.mark.parametrize("value", [3, 6])
def test_labels_and_alpha_turn_with_their_pixels(value, tmp_path):
    labels = PIXELS[..., 0] % 5
    with open_labels(save(tmp_path / "label.tif", value, labels)) as source:
        picture = Image.fromarray(labels)
        picture.getexif()[orientation._TAG] = value
        shown = np.asarray(ImageOps.exif_transpose(picture))
        found = np.concatenate(
            [source.read_label_rows(r, min(r + 7, source.height)) for r in range(0, source.height, 7)]
        )
    np.testing.assert_array_equal(found, shown)
    rgba = np.dstack((PIXELS, (PIXELS[..., 1] > 90).astype(np.uint8) * 255))
    with open_image(save(tmp_path / "a.png", value, rgba)) as image:
        pixels, valid = image.read(Window(0, 0, *image.shape))
        np.testing.assert_array_equal(image.read_validity(Window(0, 0, *image.shape)), valid)
    shown = by_pillow(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels, shown[:3])
    np.testing.assert_array_equal(valid, shown[3] > 0)


@pytest.mark.parametrize("big", [False, True], ids=["tiff", "bigtiff"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_every_kind_of_tiff_says_its_orientation(big, order, tmp_path):
    how = dict(driver="GTiff", height=30, width=50, count=3, dtype="uint8", photometric="rgb")
    with rasterio.open(tmp_path / "a.tif", "w", bigtiff="yes" if big else "no", endianness=order, **how) as file:
        file.write(PIXELS.transpose(2, 0, 1))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    sign = "<" if order == "little" else ">"
    # GDAL writes no orientation: the tag of the planar configuration (284, 1) makes room for it.
    old = struct.pack(f"{sign}HHQH" if big else f"{sign}HHIH", 284, 3, 1, 1)
    new = struct.pack(f"{sign}HHQH" if big else f"{sign}HHIH", 274, 3, 1, 3)
    assert content.count(old) == 1
    (tmp_path / "b.tif").write_bytes(bytes(content).replace(old, new))
    with open_image(tmp_path / "b.tif") as image:
        pixels, _ = image.read(Window(0, 0, *image.shape))
    np.testing.assert_array_equal(pixels, PIXELS[::-1, ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_orientation_that_there_is_not_means_upright(value, tmp_path):
    with open_image(save(tmp_path / "a.jpg", value)) as image:
        assert image.shape == PIXELS.shape[:2]


def test_a_turned_picture_with_a_georeference_is_refused(tmp_path):
    """Masks may have been drawn on either: nobody knows."""
    save(tmp_path / "a.jpg", 3)
    (tmp_path / "a.jgw").write_text("1\n0\n0\n-1\n500000\n4000000\n")
    with pytest.raises(
        InputError, match=r"a.jpg: is stored turned \(EXIF orientation 3\), but has a georeference: save"
    ):
        Raster(tmp_path / "a.jpg")
    save(tmp_path / "b.jpg", 1)
    (tmp_path / "b.jgw").write_text("1\n0\n0\n-1\n500000\n4000000\n")
    with Raster(tmp_path / "b.jpg") as image:
        assert image.transform == from_origin(499999.5, 4000000.5, 1, 1)


def test_a_turned_picture_beyond_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(orientation, "MOST_BYTES", PIXELS.size - 1)
    with pytest.raises(InputError, match=r"a.jpg: is stored turned \(EXIF orientation 6\), and is too large"):
        Raster(save(tmp_path / "a.jpg", 6))


def test_a_broken_turned_picture_is_one_line(tmp_path):
    path = save(tmp_path / "a.tif", 6)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:8] + content[400:])  # pixels first, as Pillow writes them
    with pytest.raises(InputError) as refused:
        with open_image(path) as image:
            image.read(Window(0, 0, *image.shape))
    assert "\n" not in str(refused.value)
