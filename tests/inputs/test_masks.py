"""Masks: class ids, other values, colours and palettes, all read as class ids, row by row."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from written_rasters import write_tiff

from jingwei.errors import MOST_LISTED, InputError
from jingwei.inputs.label_files import label_files
from jingwei.inputs.masks import Mask
from jingwei.legend import GF2, GF3, NODATA, Legend, legend_from_dict
from jingwei.raster.png import write_png
from jingwei.raster.reading import open_image

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
BINARY = legend_from_dict({"name": "water", "classes": [
    {"id": 0, "name": "land", "color": "#804000", "value": 0},
    {"id": 1, "name": "water", "color": "#0000FF", "value": 255},
]})  # fmt: skip


def painted(labels: np.ndarray, legend: Legend) -> np.ndarray:
    """Labels in the legend's colours, black where there is NODATA."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(legend)] = [c.color for c in legend.classes]
    return colors[labels]


def read(path, legend: Legend, rows=10**9) -> np.ndarray:
    with Mask(path, legend) as mask:
        strips = [mask.read_label_rows(r, min(r + rows, mask.height)) for r in range(0, mask.height, rows)]
        assert not mask.unknown
    return np.concatenate(strips)


def count(path, legend: Legend) -> np.ndarray:
    with Mask(path, legend) as mask:
        return mask.count()


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.random.default_rng(0).integers(0, 6, (300, 41), dtype=np.uint8)
    labels[100:120, 7:30] = NODATA
    return labels


def test_ids_are_read_as_they_are(labels, tmp_path):
    write_png(tmp_path / "1.png", labels)
    np.testing.assert_array_equal(read(tmp_path / "1.png", GF3), labels)
    np.testing.assert_array_equal(count(tmp_path / "1.png", GF3), np.bincount(labels.ravel(), minlength=256)[:6])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32"])
def test_ids_may_be_of_any_whole_type(dtype, labels, tmp_path):
    with rasterio.open(tmp_path / "1.tif", "w", driver="GTiff", height=300, width=41, count=1, dtype=dtype) as file:
        file.write(labels.astype(dtype), 1)
    np.testing.assert_array_equal(read(tmp_path / "1.tif", GF3, rows=70), labels)


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_are_read_as_their_classes(alpha, labels, tmp_path):
    colors = painted(labels, GF3)
    if alpha:  # what is transparent has no label, whatever its colour
        colors = np.dstack([colors, np.full(labels.shape, 255, np.uint8)])
        colors[:5, :, 3] = 0
        colors[:5, :, :3] = (1, 2, 3)
        labels[:5] = NODATA
    write_png(tmp_path / "1.png", colors)
    np.testing.assert_array_equal(read(tmp_path / "1.png", GF3), labels)


def test_black_is_a_class_where_the_legend_has_one(labels, tmp_path):
    write_png(tmp_path / "1.png", painted(labels, GF2))
    np.testing.assert_array_equal(read(tmp_path / "1.png", GF2), np.where(labels == NODATA, 0, labels))


@settings(max_examples=20)
@given(st.integers(1, 600), st.integers(1, 30), st.integers(1, 300))
def test_rows_are_the_same_in_any_portions(tmp_path_factory, height, width, rows):
    labels = np.random.default_rng(height).choice(np.array([0, 1, 5, NODATA], np.uint8), (height, width))
    folder = tmp_path_factory.mktemp("masks")
    write_png(folder / "colors.png", painted(labels, GF3))
    write_png(folder / "ids.png", labels)
    np.testing.assert_array_equal(read(folder / "colors.png", GF3, rows), labels)
    np.testing.assert_array_equal(read(folder / "ids.png", GF3, rows), labels)


def with_palette(path, indices: np.ndarray, colors: list[tuple[int, int, int]]) -> None:
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette([v for color in colors for v in color])
    image.save(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_palette_in_the_legends_colours_goes_by_them_in_any_order(suffix, labels, tmp_path):
    order = [3, 1, 5, 0, 2, 4]  # class of each index
    colors = [GF3.classes[i].color for i in order] + [(0, 0, 0)]
    labels = np.where(labels == NODATA, NODATA, labels)
    index_of = np.full(256, 6, np.uint8)
    index_of[order] = range(6)
    with_palette(tmp_path / f"1{suffix}", index_of[labels], colors)
    np.testing.assert_array_equal(read(tmp_path / f"1{suffix}", GF3), labels)


def test_labels_of_ids_with_a_palette_that_says_other_classes_are_refused(labels, tmp_path):
    """Cutting would take the indices for ids, scoring a mask would go by the colours."""
    labels[labels == NODATA] = 0
    colors = [land_class.color for land_class in GF3.classes]
    with open_image(write_tiff(tmp_path / "scene.tif", labels[None])) as over:
        with_palette(tmp_path / "ids.png", labels, colors)
        with label_files(tmp_path / "ids.png").open(GF3, over) as found:
            np.testing.assert_array_equal(found.read_label_rows(0, over.height), labels)
        with_palette(tmp_path / "swapped.png", labels, [colors[1], colors[0], *colors[2:]])
        with pytest.raises(InputError, match="swapped.png: its palette has .*: 0 has that of 1 built-up: save it as"):
            label_files(tmp_path / "swapped.png").open(GF3, over)


def test_a_palette_of_other_colours_colours_ids(tmp_path):
    labels = np.random.default_rng(0).integers(0, 6, (30, 41), dtype=np.uint8)
    labels[0, :6] = range(6)
    voc = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]
    with_palette(tmp_path / "1.png", labels, voc)
    np.testing.assert_array_equal(read(tmp_path / "1.png", GF3), labels)
    with_palette(tmp_path / "2.png", np.zeros_like(labels), voc)  # index 0 alone: black, but no class's colour
    np.testing.assert_array_equal(read(tmp_path / "2.png", GF3), np.zeros_like(labels))


def test_a_palette_that_is_neither_names_its_colours(tmp_path):
    indices = np.zeros((4, 5), np.uint8)
    indices[1, :3] = 9
    with_palette(tmp_path / "1.png", indices, [GF3.classes[0].color] * 9 + [(1, 2, 3)])
    with pytest.raises(InputError, match=r"colours that legend gf3 does not know: #010203 \(3 px\)"):
        count(tmp_path / "1.png", GF3)


VOC = [tuple(sum((index >> 3 * bit + band & 1) << 7 - bit for bit in range(3)) for band in range(3))
       for index in range(256)]  # fmt: skip
PALETTES = {
    "greys": [(i, i, i) for i in range(256)],
    "random": np.random.default_rng(3).integers(1, 255, (256, 3)).tolist(),
    "a few, padded": [*np.random.default_rng(4).integers(1, 255, (9, 3)).tolist(), *[(0, 0, 0)] * 247],
    "the usual one": VOC,  # three colours of which are GF-2's, at other places
    "the legend's": [c.color for c in GF2.classes] + [(9, 9, 9)] * 247,
}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("colors", PALETTES.values(), ids=PALETTES)
def test_what_is_in_use_of_a_palette_of_ids_does_not_matter(colors, suffix, tmp_path):
    for number, used in enumerate(([0], [2], [7], [0, 2], [2, 7, NODATA], range(9))):
        labels = np.resize(np.array(used, np.uint8), (9, 10))
        with_palette(tmp_path / f"{number}{suffix}", labels, colors)
        np.testing.assert_array_equal(read(tmp_path / f"{number}{suffix}", GF2), labels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("way", ["quantize", "browser"])
@pytest.mark.parametrize("legend", [GF2, GF3], ids=lambda legend: legend.name)
def test_a_quantised_picture_goes_by_colours_whatever_is_in_it(legend, way, suffix, tmp_path):
    for number, used in enumerate(([3], [5], [NODATA], [1, 3], [1, 1, 5], [1, 4, 4, NODATA], [5, 5, 4, 4, 4, 2])):
        if way == "browser" and legend is GF2 and 3 in used:
            continue  # that palette has no such green
        labels = np.resize(np.array(used, np.uint8), (9, 12))
        picture = Image.fromarray(painted(labels, legend))
        picture = picture.quantize() if way == "quantize" else picture.convert("P", dither=Image.Dither.NONE)
        picture.save(tmp_path / f"{number}{suffix}")
        black = next((c.id for c in legend.classes if c.color == (0, 0, 0)), NODATA)
        expected = np.where(labels == NODATA, black, labels)
        np.testing.assert_array_equal(read(tmp_path / f"{number}{suffix}", legend), expected)


def test_strays_in_a_quantised_picture_are_named_not_taken_for_ids(tmp_path):
    colors = painted(np.resize(np.array([3, 1], np.uint8), (8, 8)), GF3)
    colors[0, :3], colors[1, :2] = (1, 2, 3), (7, 8, 9)
    Image.fromarray(colors).quantize().save(tmp_path / "1.png")
    with pytest.raises(InputError) as raised:
        count(tmp_path / "1.png", GF3)
    assert "colours that legend gf3 does not know: #010203 (3 px), #070809 (2 px):" in str(raised.value)
    assert str(raised.value).endswith("where its pixels are class ids, save it without the palette")


def test_transparent_colours_of_a_palette_are_no_label(tmp_path):
    labels = np.resize(np.array([3, 3, 1], np.uint8), (6, 9))
    alpha = np.full(labels.shape, 255, np.uint8)
    alpha[:2], alpha[2, :3] = 0, 100
    Image.fromarray(np.dstack([painted(labels, GF3), alpha])).quantize(method=2).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read(tmp_path / "1.png", GF3), np.where(alpha == 0, NODATA, labels))


@pytest.mark.parametrize("legend", [GF2, GF3], ids=lambda legend: legend.name)
@pytest.mark.parametrize("first", [[1, 2, 3], GF2.classes[3].color, [0, 0, 0]])
def test_pixels_beyond_the_palette_are_told_in_one_line(first, legend, tmp_path):
    indices = np.zeros((4, 5), np.uint8)
    indices[1, :3], indices[2, 0] = 7, 15
    with_palette(tmp_path / "1.png", indices, [first, *[(200 + i, 3, 4) for i in range(4)]])
    with pytest.raises(InputError) as raised:
        count(tmp_path / "1.png", legend)
    problem = "has pixels that its palette of 5 colours does not know: 7 (3 px), 15 (1 px): export it again"
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_data_needs_no_colour_in_a_palette_of_ids(tmp_path):
    labels = np.resize(np.array([0, 5, NODATA], np.uint8), (4, 5))
    with_palette(tmp_path / "1.png", labels, [(i, 7, 7) for i in range(20)])
    np.testing.assert_array_equal(read(tmp_path / "1.png", GF3), labels)


def test_a_palette_of_16_bits_is_read_too(tmp_path):
    with rasterio.open(tmp_path / "1.tif", "w", driver="GTiff", height=1, width=4, count=1, dtype="uint16") as file:
        file.write_colormap(1, {i: (*GF3.classes[i % 6].color, 255) for i in range(300, 306)})
        file.write(np.array([[300, 301, 305, 302]], np.uint16), 1)
    assert read(tmp_path / "1.tif", GF3).tolist() == [[0, 1, 5, 2]]


def test_a_one_bit_mask_has_ids_0_and_1(tmp_path):
    truth = np.random.default_rng(0).integers(0, 2, (20, 19), dtype=np.uint8)
    Image.fromarray(truth * 255).convert("1").save(tmp_path / "1.png")
    legend = replace(BINARY, classes=tuple(replace(c, value=None) for c in BINARY.classes))
    np.testing.assert_array_equal(read(tmp_path / "1.png", legend), truth)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_rgb", [False, True])
def test_0_and_255_are_what_the_legend_says(as_rgb, tmp_path):
    truth = np.random.default_rng(0).integers(0, 2, (20, 30), dtype=np.uint8)
    picture = truth * np.uint8(255)
    write_png(tmp_path / "1.png", np.dstack([picture] * 3) if as_rgb else picture)
    np.testing.assert_array_equal(read(tmp_path / "1.png", BINARY), truth)


def test_without_a_legend_that_says_otherwise_255_is_no_data_and_counted(tmp_path):
    pixels = np.zeros((20, 30), np.uint8)
    pixels[3, 4:9] = 255
    write_png(tmp_path / "1.png", pixels)
    with Mask(tmp_path / "1.png", GF3) as mask:
        assert mask.count().tolist() == [595, 0, 0, 0, 0, 0]
        assert mask.at_255 == 5
    with Mask(tmp_path / "1.png", BINARY) as mask:
        assert mask.count().tolist() == [595, 5]
        assert mask.at_255 == 0


def test_values_and_ids_may_be_mixed(tmp_path):
    legend = legend_from_dict({"classes": [
        {"id": 0, "name": "a", "color": "#000000"}, {"id": 1, "name": "b", "color": "#010000", "value": 7},
        {"id": 2, "name": "c", "color": "#020000", "value": 1}]})  # fmt: skip
    write_png(tmp_path / "1.png", np.array([[0, 7, 1, 255]], np.uint8))
    assert read(tmp_path / "1.png", legend).tolist() == [[0, 1, 2, 255]]


# --- what is refused -------------------------------------------------------------------------------------------------


def test_unknown_values_are_named_with_their_pixels_and_the_way_to_name_them(tmp_path):
    pixels = np.zeros((50, 60), np.uint8)
    pixels[:2], pixels[4] = 128, 9
    write_png(tmp_path / "1.png", pixels)
    with pytest.raises(InputError) as raised:
        count(tmp_path / "1.png", GF3)
    message = str(raised.value)
    assert "has values that legend gf3 does not know: 128 (120 px), 9 (60 px)" in message
    assert '"value": 128' in message
    assert "0 water, 1 built-up" in message
    assert "\n" not in message


def test_values_beyond_a_byte_are_unknown_not_wrapped_round(tmp_path):
    with rasterio.open(tmp_path / "1.tif", "w", driver="GTiff", height=1, width=4, count=1, dtype="int32") as file:
        file.write(np.array([[0, 256, -1, 65536 + 2]], np.int32), 1)
    with pytest.raises(
        InputError, match=r"-1 \(1 px\), 256 \(1 px\), 65538 \(1 px\): .* 0 to 255: give .* such values"
    ):
        count(tmp_path / "1.tif", GF3)


def test_unknown_colours_are_named_with_their_pixels_the_commonest_first(labels, tmp_path):
    colors = painted(labels, GF3)
    colors[0, :4], colors[1, :9] = (1, 2, 3), (250, 250, 250)
    write_png(tmp_path / "1.png", colors)
    with pytest.raises(InputError) as raised:
        count(tmp_path / "1.png", GF3)
    message = str(raised.value)
    assert "colours that legend gf3 does not know: #FAFAFA (9 px), #010203 (4 px):" in message
    assert "#00FFFF water" in message


def test_a_mask_of_very_many_unknown_colours_is_told_in_one_line(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    write_png(tmp_path / "1.png", noise)
    with pytest.raises(InputError) as raised:
        count(tmp_path / "1.png", GF3)
    assert str(raised.value).count(" px)") == MOST_LISTED
    assert " more: " in str(raised.value)


@pytest.mark.parametrize("pixels", ["colours", "ids", "one id"])
def test_jpeg_masks_are_refused_also_where_strays_would_pass_for_classes(pixels, labels, tmp_path):
    labels = np.ones_like(labels) if pixels == "one id" else labels
    cv2.imwrite(str(tmp_path / "1.jpg"), painted(labels, GF3)[..., ::-1] if pixels == "colours" else labels)
    with pytest.raises(InputError, match="1.jpg: is a JPEG, which changes ids and colours: save masks as PNG"):
        count(tmp_path / "1.jpg", GF3)


@pytest.mark.parametrize(("bands", "dtype"), [(1, "float32"), (2, "uint8"), (4, "uint16"), (3, "uint16")])
def test_what_can_be_no_mask_is_refused(bands, dtype, tmp_path):
    path = tmp_path / "1.tif"
    kind = {"height": 2, "width": 2, "count": bands, "dtype": dtype, "photometric": "minisblack"}
    with rasterio.open(path, "w", driver="GTiff", **kind) as file:
        file.write(np.zeros((bands, 2, 2), dtype))
    if bands == 2:  # else GDAL takes the second one for alpha
        with rasterio.open(path, "r+") as file:
            file.colorinterp = [rasterio.enums.ColorInterp.gray, rasterio.enums.ColorInterp.undefined]
    with pytest.raises(InputError, match=f"is not a mask: {bands} bands of {dtype}"):
        Mask(path, GF3)
