"""Reading labels: ids and values, and the place and size that they share with their scene."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rasterio.transform import Affine
from written_rasters import noise, write_tiff

from jingwei.errors import InputError
from jingwei.inputs.masks import Mask
from jingwei.legend import JINGWEI, NODATA, legend_from_dict
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster, open_labels
from jingwei.raster.same_place import check_same_place, check_same_size

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


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


def test_labels_of_signed_bytes_are_no_data_where_the_file_says_so(tmp_path):
    labels = (noise(1, 90, 40) % 5).astype("int8")
    labels[0, 30:50] = -1
    path = write_tiff(tmp_path / "label.tif", labels, nodata=-1)
    with open_labels(path) as source:
        found = source.read_label_rows(0, 90)
    np.testing.assert_array_equal(found, np.where(labels[0] == -1, np.uint8(NODATA), labels[0]))


def test_palette_labels_give_their_ids_not_their_colours(tmp_path):
    labels = noise(1, 30, 20)[0] % 4
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250, 9, 9, 9])
    picture.save(tmp_path / "label.png")
    with open_labels(tmp_path / "label.png") as source:
        np.testing.assert_array_equal(source.read_label_rows(0, 30), labels)


@pytest.mark.parametrize(("driver", "how"), [
    ("GTiff", {"compress": "JPEG"}),
    ("GTiff", {"compress": "LERC", "max_z_error": 2}),
    ("JP2OpenJPEG", {}),
])  # fmt: skip
def test_labels_that_a_compression_changes_are_refused(driver, how, tmp_path):
    labels = noise(1, 300, 200) % 2
    path = write_tiff(tmp_path / "label.tif", labels, driver=driver, **how)
    for read in (open_labels, lambda path: Mask(path, JINGWEI)):
        with pytest.raises(InputError, match=r"label.tif: is compressed with losses \(.*\), which changes ids"):
            read(path)


@pytest.mark.parametrize(("driver", "how"), [
    ("GTiff", {"compress": "LERC"}),
    ("JP2OpenJPEG", {"quality": "100", "reversible": "YES"}),
])  # fmt: skip
def test_labels_that_a_compression_does_not_change_are_read(driver, how, tmp_path):
    labels = noise(1, 300, 200) % 2
    with open_labels(write_tiff(tmp_path / "label.tif", labels, driver=driver, **how)) as source:
        np.testing.assert_array_equal(source.read_label_rows(0, 300), labels[0])


@pytest.mark.parametrize("lossy", [0, 1])
def test_a_mosaic_of_labels_is_refused_for_its_tiles_losses(lossy, tmp_path):
    labels, parts = noise(1, 300, 200) % 2, ""
    for number, ending in enumerate(("tif", "img")):
        how = {"driver": "GTiff", "compress": "JPEG"} if number == lossy else {"driver": "GTiff"}
        write_tiff(tmp_path / f"tile.{ending}", labels, **how)
        whole, rect = (f'xOff="0" yOff="{top}" xSize="200" ySize="300"' for top in (0, 300 * number))
        source = f'<SourceFilename relativeToVRT="1">tile.{ending}</SourceFilename>'
        parts += f"<SimpleSource>{source}<SrcRect {whole}/><DstRect {rect}/></SimpleSource>"
    text = f'<VRTDataset rasterXSize="200" rasterYSize="600"><VRTRasterBand dataType="Byte" band="1">{parts}'
    (tmp_path / "label.vrt").write_text(f"{text}</VRTRasterBand></VRTDataset>")
    for read in (open_labels, lambda path: Mask(path, JINGWEI)):
        with pytest.raises(InputError, match=r"tile.(tif|img): is compressed with losses \(JPEG\), which changes ids"):
            read(tmp_path / "label.vrt")
    write_tiff(tmp_path / f"tile.{('tif', 'img')[lossy]}", labels)
    with open_labels(tmp_path / "label.vrt") as source:
        np.testing.assert_array_equal(source.read_label_rows(0, 600), np.concatenate([labels[0]] * 2))


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


def test_sizes_that_differ_are_told_with_both_sizes(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((9, 7), np.uint8))
    write_png(tmp_path / "b.png", np.zeros((9, 8), np.uint8))
    with Raster(tmp_path / "a.png") as a, Raster(tmp_path / "b.png") as b:
        check_same_size(a, a)
        with pytest.raises(InputError, match=r"a.png: 7 x 9 px, but b.png is 8 x 9"):
            check_same_size(a, b)
