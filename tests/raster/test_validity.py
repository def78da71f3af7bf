"""What counts as no data in rasters of several bands: nodata values, masks and types that differ band by band."""

import numpy as np
import pytest
import rasterio

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.raster.reading import Raster, open_image

TYPES = {"uint8": "Byte", "int16": "Int16", "uint16": "UInt16", "int32": "Int32", "float32": "Float32",
         "float64": "Float64"}  # fmt: skip
SHAPE = (50, 40)


def write_band(path, pixels, nodata=None, mask=None):
    how = dict(driver="GTiff", height=SHAPE[0], width=SHAPE[1], count=1, dtype=pixels.dtype, nodata=nodata)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **how) as file:
        file.write(pixels, 1)
        if mask is not None:
            file.write_mask(mask)


def write_vrt(folder, bands, masks=()):
    """`gdalbuildvrt -separate`: a VRT whose bands (pixels, nodata) are files of their own; `masks` by band number."""
    text = f'<VRTDataset rasterXSize="{SHAPE[1]}" rasterYSize="{SHAPE[0]}">'
    for number, (pixels, nodata) in enumerate(bands, 1):
        write_band(folder / f"{number}.tif", pixels, nodata)
        text += f'<VRTRasterBand dataType="{TYPES[pixels.dtype.name]}" band="{number}">'
        text += f"<NoDataValue>{nodata}</NoDataValue>" if nodata is not None else ""
        text += source(f"{number}.tif")
        if number in masks:
            write_band(folder / f"mask{number}.tif", masks[number].astype(np.uint8) * 255)
            text += f'<MaskBand><VRTRasterBand dataType="Byte">{source(f"mask{number}.tif")}</VRTRasterBand></MaskBand>'
        text += "</VRTRasterBand>"
    (folder / "stack.vrt").write_text(f"{text}</VRTDataset>")
    return folder / "stack.vrt"


def source(name: str) -> str:
    inside = f'<SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>1</SourceBand>'
    return f"<SimpleSource>{inside}</SimpleSource>"


def read(path):
    with open_image(path) as image:
        window = Window(0, 0, *image.shape)
        pixels, valid = image.read(window)
        np.testing.assert_array_equal(image.read_validity(window), valid)
        rows = [image.read_rows(first, min(first + 20, image.height + 0)) for first in range(0, image.height, 15)]
        for first, (_, part) in zip(range(0, image.height, 15), rows, strict=True):
            np.testing.assert_array_equal(part, valid[first : first + len(part)])
    return pixels, valid


def noise(dtype, seed=0):
    return np.random.default_rng(seed).integers(1, 200, SHAPE).astype(dtype)


def with_void(pixels, rows, value):
    pixels[rows] = value
    return pixels


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_one_nodata_value_of_all_bands_counts_where_all_have_it(dtype, tmp_path):
    """Pure red is no void."""
    first, second = with_void(noise(dtype), slice(0, 20), 0), with_void(noise(dtype, 1), slice(10, 30), 0)
    _, valid = read(write_vrt(tmp_path, [(first, 0), (second, 0)]))
    expected = np.ones(SHAPE, bool)
    expected[10:20] = False
    np.testing.assert_array_equal(valid, expected)


@pytest.mark.parametrize(("values", "dtype"), [
    ((-9999, -32768), "float32"), ((None, -32768), "float32"), ((-9999, None), "float32"), ((0, 255), "uint8"),
    ((None, 0), "uint8"), ((255, None), "uint16"), ((-1, -2), "int16"),
])  # fmt: skip
def test_unlike_nodata_values_count_where_any_band_has_its_own(values, dtype, tmp_path):
    bands, expected = [], np.ones(SHAPE, bool)
    for number, value in enumerate(values):
        rows = slice(10 * number + 5, 10 * number + 9)
        pixels = noise(dtype, number)
        if value is not None:
            pixels = with_void(pixels, rows, value)
            expected[rows] = False
        other = values[1 - number]
        if other is not None:  # the other band's value is a value like any other here
            pixels[40 + number] = other
        bands.append((pixels, value))
    path = write_vrt(tmp_path, bands)
    pixels, valid = read(path)
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(pixels, np.stack([band for band, _ in bands]))
    with Raster(path) as image:
        assert image.nodata is None


def test_bands_with_nodata_on_some_and_nan_on_others_are_void_where_any_is(tmp_path):
    first, second = with_void(noise("float32"), slice(0, 5), np.nan), with_void(noise("float32"), slice(7, 9), -1)
    _, valid = read(write_vrt(tmp_path, [(first, np.nan), (second, -1)]))
    assert valid.all(axis=1).tolist() == [not (row < 5 or row in (7, 8)) for row in range(SHAPE[0])]


@pytest.mark.parametrize("which", [(1,), (2,), (1, 2)])
def test_masks_of_single_bands_count_where_any_band_is_masked(which, tmp_path):
    masks = {number: np.random.default_rng(number).random(SHAPE) < 0.7 for number in which}
    _, valid = read(write_vrt(tmp_path, [(noise("uint8"), None), (noise("uint8", 1), None)], masks))
    np.testing.assert_array_equal(valid, np.logical_and.reduce(list(masks.values())))


def test_a_masked_band_beside_one_with_nodata(tmp_path):
    mask = np.random.default_rng(1).random(SHAPE) < 0.7
    second = with_void(noise("uint8", 1), slice(3, 9), 0)
    _, valid = read(write_vrt(tmp_path, [(noise("uint8"), None), (second, 0)], {1: mask}))
    np.testing.assert_array_equal(valid, mask & (second != 0))


@pytest.mark.parametrize(("types", "joint"), [
    (("uint16", "float32"), "float32"), (("uint8", "uint16"), "uint16"), (("uint8", "int16"), "int16"),
    (("uint16", "int16"), "float32"), (("float32", "uint8", "uint16"), "float32"), (("uint8", "uint8"), "uint8"),
])  # fmt: skip
def test_bands_of_unlike_types_are_read_in_the_smallest_type_that_holds_all(types, joint, tmp_path):
    bands = [noise(name, seed) for seed, name in enumerate(types)]
    for band in bands:
        whole = np.iinfo(band.dtype) if band.dtype.kind in "iu" else None
        band[0, :2] = (whole.min, whole.max) if whole else (-1e4, 1e4)
    pixels, valid = read(write_vrt(tmp_path, [(band, None) for band in bands]))
    assert pixels.dtype == joint
    assert valid.all()
    for plane, band in zip(pixels, bands, strict=True):
        np.testing.assert_array_equal(plane, band)


@pytest.mark.parametrize("types", [("int32", "float32"), ("uint8", "float64"), ("int32", "uint8")])
def test_types_that_no_image_can_have_together_are_refused(types, tmp_path):
    path = write_vrt(tmp_path, [(noise(name), None) for name in types])
    with pytest.raises(InputError, match="stack.vrt: pixels are (float64|int32): convert them to uint8") as refused:
        open_image(path)
    assert "\n" not in str(refused.value)


def test_a_mask_whose_tile_is_broken_is_said(tmp_path):
    mask = np.random.default_rng(1).integers(0, 2, SHAPE).astype(bool)
    write_band(tmp_path / "a.tif", noise("uint8"), mask=mask)
    whole = (tmp_path / "a.tif").read_bytes()
    with rasterio.open(tmp_path / "a.tif") as file:
        good = file.read_masks(1)
    refused = []
    for place in range(len(whole) - 260, len(whole) - 200, 3):  # the mask's deflated bits come last
        (tmp_path / "b.tif").write_bytes(whole[:place] + b"\xff\xff\xff" + whole[place + 3 :])
        try:
            _, valid = read(tmp_path / "b.tif")
        except InputError as error:
            refused.append(str(error))
        else:
            np.testing.assert_array_equal(valid, good != 0)
    assert refused
    assert all("b.tif: broken or truncated at rows" in line for line in refused)


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_counts_beside_alpha(internal, tmp_path):
    alpha, mask = np.full((2, *SHAPE), 255, np.uint8)
    alpha[:, :5], mask[:10] = 0, 0
    how = dict(driver="GTiff", height=SHAPE[0], width=SHAPE[1], count=4, dtype="uint8", photometric="RGB", alpha="yes")
    path = tmp_path / "scene.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "w", **how) as file:
        file.write(np.stack([noise(np.uint8)] * 3 + [alpha]))
        file.write_mask(mask)
    pixels, valid = read(path)
    assert len(pixels) == 3
    np.testing.assert_array_equal(valid, (alpha > 0) & (mask > 0))
