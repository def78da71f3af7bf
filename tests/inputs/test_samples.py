"""Samples found in folders: pictures, radar quadruples, their masks, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.inputs.samples import Sample, find_samples
from jingwei.inputs.sar import CHANNELS
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def tiff(path: Path, shape=(4, 5), bands=1, dtype="uint16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"height": shape[0], "width": shape[1], "count": bands, "dtype": dtype}
    with rasterio.open(path, "w", driver="GTiff", **kind) as file:
        file.write(np.ones((bands, *shape), dtype))
    return path


def quadruple(folder: Path, name: str, suffix=".tiff", without=(), **kind) -> tuple[Path, ...]:
    return tuple(tiff(folder / f"{name}_{c}{suffix}", **kind) for c in CHANNELS if c not in without)


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def found(folder: Path, labels: Path | None = None) -> list[Sample]:
    samples, broken = find_samples(folder, labels)
    assert not broken
    return samples


def test_optical_samples_come_in_natural_order_whatever_their_suffix(tmp_path):
    touch(
        tmp_path,
        "10.tif",
        "9.PNG",
        "a1.jpg",
        "2.jpeg",
        "1.TIFF",
        "readme.txt",
        ".3.tif",
        "legend.json",
        "4.tif.aux.xml",
    )
    samples = found(tmp_path)
    assert [(s.id, s.images[0].name) for s in samples] == [
        ("1", "1.TIFF"), ("2", "2.jpeg"), ("9", "9.PNG"), ("10", "10.tif"), ("a1", "a1.jpg"),
    ]  # fmt: skip
    assert not any(s.is_sar or s.label for s in samples)
    assert {s.folder for s in samples} == {tmp_path}


@pytest.mark.parametrize("suffix", [".tiff", ".tif", ".TIFF"])
def test_quadruples_are_one_sample_each_in_the_order_of_the_channels(suffix, tmp_path):
    paths = quadruple(tmp_path, "7", suffix)
    other = quadruple(tmp_path, "a_b")
    assert found(tmp_path) == [Sample("7", paths, None, tmp_path), Sample("a_b", other, None, tmp_path)]
    assert all(s.is_sar for s in found(tmp_path))


def test_channels_may_be_in_small_letters(tmp_path):
    paths = quadruple(tmp_path, "7")
    small = tuple(path.rename(path.with_name(path.name.lower())) for path in paths)
    assert found(tmp_path) == [Sample("7", small, None, tmp_path)]


def test_samples_lie_in_subfolders_of_one_level_too(tmp_path):
    touch(tmp_path, "1.tif")
    touch(tmp_path / "test_B", "1.tif")
    quadruple(tmp_path / "test_A", "2")
    touch(tmp_path / "test_A" / "deeper", "3.tif")
    touch(tmp_path / ".hidden", "4.tif")
    assert [(s.folder.name, s.id) for s in found(tmp_path)] == [(tmp_path.name, "1"), ("test_A", "2"), ("test_B", "1")]


@pytest.mark.parametrize("label", ["1_gt.png", "1_label.tif", "1_GT.PNG", "1_label_train.png"])
def test_masks_lie_beside(label, tmp_path):
    touch(tmp_path, "1.jpg", "11.jpg", label)
    assert [(s.id, s.label) for s in found(tmp_path)] == [("1", tmp_path / label), ("11", None)]


@pytest.mark.parametrize("label", ["1_gt.png", "1.png", "1_label.tif", "1.TIF"])
@pytest.mark.parametrize("names", [("img", "lbl"), ("images", "masks")])
def test_masks_lie_in_a_folder_of_their_own(names, label, tmp_path):
    images, labels = (tmp_path / name for name in names)
    touch(images, "1.tif")
    touch(labels, label)
    expected = [Sample("1", (images / "1.tif",), labels / label, images)]
    assert found(images) == expected
    assert found(tmp_path) == expected  # and are no samples themselves


@pytest.mark.parametrize("place", ["lbl", "img"])
def test_pictures_whose_names_differ_in_case_have_the_masks_of_their_own_names(place, tmp_path):
    end = "_gt.png" if place == "img" else ".png"
    touch(tmp_path / "img", "A0.tif", "a0.tif", "B1.tif", "C2.tif", "c2.tif")
    touch(tmp_path / place, *(f"{name}{end}" for name in ("A0", "a0", "b1", "c2")))
    labels = {s.id: s.label and s.label.name for s in found(tmp_path / "img")}
    assert labels == {"A0": f"A0{end}", "a0": f"a0{end}", "B1": f"b1{end}", "C2": None, "c2": f"c2{end}"}


def test_a_mask_goes_before_a_jpeg_of_the_same_name(tmp_path):
    touch(tmp_path / "img", "1.jpg", "2.jpg")
    touch(tmp_path / "lbl", "1.jpg", "1.png", "2.JPG")
    assert [s.label.name for s in found(tmp_path)] == ["1.png", "2.JPG"]


def test_of_two_masks_in_another_case_than_the_picture_none_is_taken(tmp_path):
    touch(tmp_path / "img", "Ab.tif")
    touch(tmp_path / "lbl", "AB.png", "ab.png")
    assert [s.label for s in found(tmp_path)] == [None]


def test_masks_of_quadruples_go_by_their_number(tmp_path):
    quadruple(tmp_path / "img", "3")
    touch(tmp_path / "lbl", "3_gt.png", "3_HH_gt.png")
    (sample,) = found(tmp_path / "img")
    assert sample.label == tmp_path / "lbl" / "3_gt.png"


@pytest.mark.parametrize("label", ["1_gt.png", "1.png", "1_label.tif"])
@pytest.mark.parametrize(("images", "labels"), [("img", "lbl"), ("Images", "masks"), ("", "lbl"), ("", "labels"),
                                                ("IMG", "LBL"), ("", "Masks")])  # fmt: skip
def test_masks_of_subfolders_lie_in_subfolders_of_the_same_names(images, labels, label, tmp_path):
    for name in ("c1", "c2"):
        touch(tmp_path / images / name, "1.tif", "2.tif")
        touch(tmp_path / labels / name, label)
    touch(tmp_path / labels, "2.png")  # which 2.tif it is of, nobody knows
    assert [(s.folder.name, s.id, s.label) for s in found(tmp_path / images)] == [
        ("c1", "1", tmp_path / labels / "c1" / label), ("c1", "2", None),
        ("c2", "1", tmp_path / labels / "c2" / label), ("c2", "2", None),
    ]  # fmt: skip


@pytest.mark.parametrize("images", ["img", "", "test"])
def test_one_folder_may_hold_the_masks_of_all_subfolders_where_each_name_is_one_samples(images, tmp_path):
    touch(tmp_path / images / "test_A", "8.tif", "1.tif")
    touch(tmp_path / images / "test_B", "9.tif", "1.tif")
    touch(tmp_path / images.replace("img", "") / "lbl", "8_gt.png", "9.png", "1_gt.png")
    labels = [(s.folder.name, s.id, s.label and s.label.name) for s in found(tmp_path / images)]
    assert labels == [
        ("test_A", "1", None), ("test_A", "8", "8_gt.png"), ("test_B", "1", None), ("test_B", "9", "9.png"),
    ]  # fmt: skip


def test_a_given_folder_of_masks_is_looked_at_before_others_and_by_subfolder(tmp_path):
    touch(tmp_path / "in" / "a", "1.tif")
    touch(tmp_path / "in" / "b", "1.tif", "2.tif")
    touch(tmp_path / "truth" / "a", "1_gt.png")
    touch(tmp_path / "truth", "2.png")
    labels = [s.label for s in found(tmp_path / "in", tmp_path / "truth")]
    assert labels == [tmp_path / "truth" / "a" / "1_gt.png", None, tmp_path / "truth" / "2.png"]


@pytest.mark.parametrize(("without", "message"), [
    (["VH"], "sample 5: 5_VH.tiff is missing: add it beside 5_HH.tiff"),
    (["HH", "VV"], "sample 5: 5_HH.tiff and 5_VV.tiff are missing: add it beside 5_HV.tiff"),
])  # fmt: skip
def test_a_quadruple_that_lacks_members_is_named_and_the_others_are_found(without, message, tmp_path):
    quadruple(tmp_path, "4")
    quadruple(tmp_path, "5", without=without)
    touch(tmp_path, "6.tif")
    samples, broken = find_samples(tmp_path)
    assert [s.id for s in samples] == ["4", "6"]
    assert [str(error) for error in broken] == [f"{tmp_path}: {message}"]


@pytest.mark.parametrize(("kind", "problem"), [
    ({"shape": (4, 6)}, "6 x 4 px of uint16, but 5_HH.tiff is 5 x 4 px of uint16"),
    ({"dtype": "float32"}, "5 x 4 px of float32, but 5_HH.tiff is 5 x 4 px of uint16"),
    ({"bands": 2}, "has 2 bands"),
])  # fmt: skip
def test_a_quadruple_of_unlike_members_is_named(kind, problem, tmp_path):
    quadruple(tmp_path, "5")
    tiff(tmp_path / "5_VV.tiff", **kind)
    samples, (error,) = find_samples(tmp_path)
    assert not samples
    assert str(error).startswith(f"{tmp_path / '5_VV.tiff'}: sample 5: {problem}")


def test_a_broken_member_is_named(tmp_path):
    quadruple(tmp_path, "5")
    (tmp_path / "5_HV.tiff").write_bytes(b"II*\0nothing")
    samples, (error,) = find_samples(tmp_path)
    assert not samples
    assert str(error).startswith(str(tmp_path / "5_HV.tiff"))


def test_two_files_that_would_be_one_sample_are_refused(tmp_path):
    touch(tmp_path, "1.tif", "1.png", "2.tif")
    quadruple(tmp_path, "3")
    tiff(tmp_path / "3_VV.tif")
    quadruple(tmp_path, "4")
    touch(tmp_path, "4.jpg")
    samples, broken = find_samples(tmp_path)
    assert [s.id for s in samples] == ["2"]
    assert [str(error).split(": ")[1] for error in broken] == ["sample 1", "sample 3", "sample 4"]
    assert all("rename one" in str(error) for error in broken)


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".img"])
def test_pictures_of_other_kinds_are_samples_and_masks_too(suffix, tmp_path):
    (tmp_path / "lbl").mkdir()
    driver = {".bmp": "BMP", ".gif": "GIF", ".img": "HFA"}[suffix]
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for path in (tmp_path / f"1{suffix}", tmp_path / "lbl" / f"1{suffix}"):
        with MemoryFile() as memory:
            with memory.open(driver="GTiff", height=4, width=5, count=1, dtype="uint8") as file:
                file.write(pixels, 1)
            with memory.open() as file:
                rasterio.shutil.copy(file, path, driver=driver)
    (sample,) = found(tmp_path)
    with Raster(sample.label) as mask:
        np.testing.assert_array_equal(mask.read(Window(0, 0, 4, 5))[0][0], pixels)


def test_pictures_of_kinds_that_are_not_read_are_told(tmp_path):
    touch(tmp_path, "1.tif", "2.webp", "3.HEIC")
    touch(tmp_path / "lbl", "1.png", "1.webp")
    samples, (error,) = find_samples(tmp_path)
    assert [s.id for s in samples] == ["1"]
    message = "is not of a kind that is read here, nor are 1 more files: save it as TIFF or PNG, or move it away"
    assert str(error) == f"{tmp_path / '2.webp'}: {message}"


def test_nothing_there_is_no_sample_and_no_folder_an_error(tmp_path):
    assert find_samples(tmp_path) == ([], [])
    with pytest.raises(InputError, match="no such folder"):
        find_samples(tmp_path / "nowhere")
    write_png(tmp_path / "file.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="is a file, not a folder of samples: give its folder"):
        find_samples(tmp_path / "file.png")
