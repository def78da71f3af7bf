"""Preparing folders of samples: which side each is on, what crops hold, and what is refused."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from prepared_folders import mosaic, sides_of
from sample_folders import blocky, painted, write_optical, write_sar, write_tiff
from scipy import ndimage

from jingwei.crops.field_split import GAP
from jingwei.crops.prepare import FolderData, prepare_training
from jingwei.crops.table import TRAIN, VALIDATION, label_path, read_crops
from jingwei.errors import InputError, SettingError
from jingwei.grid import Window
from jingwei.inputs.samples import find_samples
from jingwei.inputs.sar import SarReader, SarSettings
from jingwei.legend import GF2, GF3, NODATA, find_legend, legend_from_dict
from jingwei.raster.crop_files import read_crop, read_label_crop
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster
from jingwei.system.own_files import read_json

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
FLEVOLAND = Path(os.environ.get("JINGWEI_REAL_DATA", "/nonexistent")) / "flevoland"


# --- sides -----------------------------------------------------------------------------------------------------------


def test_folders_say_which_side_a_sample_is_on(two_sides, tmp_path):
    workspace = prepare_training(FolderData(two_sides, GF2, crop_size=64), tmp_path / "cache", 2)
    names = {TRAIN: {"train_0", "train_1", "train_2"}, VALIDATION: {"validation_0", "validation_1"}}
    assert sides_of(workspace) == names
    assert {crop.window for crop in read_crops(workspace.crops) if crop.scene == "train_1"} == {Window(0, 0, 40, 50)}
    np.testing.assert_array_equal(mosaic(workspace, "train_2", (100, 90)), blocky((100, 90), 9, 2))
    np.testing.assert_array_equal(mosaic(workspace, "validation_1", (30, 70)), blocky((30, 70), 9, 1))
    assert json.loads((workspace.train / "source.json").read_text()) == {}
    assert json.loads((workspace.train / "legend.json").read_text()) == GF2.to_dict()
    assert not list(workspace.train.glob("split_*"))


def test_crops_hold_the_samples_pixels(two_sides, tmp_path):
    workspace = prepare_training(FolderData(two_sides, GF2, crop_size=64), tmp_path / "cache", 1)
    for crop in read_crops(workspace.crops):
        side, number = crop.scene.split("_")
        folder = two_sides / {"train": "train", "validation": "valid"}[side] / "img"
        with Raster(folder / f"{number}.tif") as image:
            expected, _ = image.read(crop.window)
        np.testing.assert_array_equal(read_crop(workspace.train / "data" / crop.name), expected.transpose(1, 2, 0))


@pytest.mark.parametrize("beside", [False, True])
def test_without_sides_whole_samples_go_to_one(beside, tmp_path):
    masks = "img" if beside else "lbl"
    labels = {str(i): blocky((40, 40), 3, i) for i in range(10)}
    write_optical(tmp_path / "data", labels, images="img", masks=masks)
    root = tmp_path / "data" / "img" if beside else tmp_path / "data"
    sides = sides_of(prepare_training(FolderData(root, GF2, crop_size=64), tmp_path / "cache", 1))
    assert sides[TRAIN] | sides[VALIDATION] == set(labels)
    assert not sides[TRAIN] & sides[VALIDATION]
    assert 1 <= len(sides[VALIDATION]) <= 4


def test_a_few_samples_are_split_in_blocks(tmp_path):
    write_optical(tmp_path / "data", {"a": blocky((200, 300), 3, 0)})
    workspace = prepare_training(FolderData(tmp_path / "data", GF2, crop_size=64), tmp_path / "cache", 1)
    assert sides_of(workspace) == {TRAIN: {"a"}, VALIDATION: {"a"}}
    assert (workspace.train / "split_a.png").exists()


def test_no_share_for_validation_leaves_all_in_training(tmp_path):
    write_optical(tmp_path / "data", {"a": blocky((80, 80), 3, 0), "b": blocky((80, 80), 3, 1)})
    for split in ("folders", "blocks", "fields"):
        data = FolderData(tmp_path / "data", GF2, split=split, val_fraction=0, crop_size=64)
        assert not sides_of(prepare_training(data, tmp_path / split, 1))[VALIDATION]


@pytest.mark.parametrize("colored", [True, False])
def test_fields_are_wholly_on_one_side_and_validation_keeps_away(colored, tmp_path):
    labels = blocky((150, 130), 4, 5)
    labels[::12], labels[:, ::30] = NODATA, NODATA
    folder = tmp_path / "data"
    write_optical(folder, {"a": np.where(labels == NODATA, 0, labels), "b": blocky((50, 64), 4, 6)})
    own = legend_from_dict({"name": "own", "background": None, "classes": [
        {"id": i, "name": str(i), "color": f"#0{i + 1}0000", "value": 10 * i or None} for i in range(4)]})  # fmt: skip
    values = np.where(labels == NODATA, np.uint8(255), labels * np.uint8(10))
    write_png(folder / "lbl" / "a_gt.png", painted(labels, own) if colored else values)
    write_png(folder / "lbl" / "b_gt.png", blocky((50, 64), 4, 6) * np.uint8(10))
    data = FolderData(folder, own, split="fields", val_fraction=0.3, crop_size=64)
    workspace = prepare_training(data, tmp_path / "cache", 2)
    assert sides_of(workspace) == {TRAIN: {"a_train", "b_train"}, VALIDATION: {"a_validation", "b_validation"}}
    reached = np.zeros((2, 4))
    for name, truth in (("a", labels), ("b", blocky((50, 64), 4, 6))):
        train, valid = (mosaic(workspace, f"{name}_{side}", truth.shape) for side in (TRAIN, VALIDATION))
        for land_class in range(4):
            fields, _ = ndimage.label(truth == land_class)
            assert not set(fields[train == land_class]) & set(fields[valid == land_class])
            reached[:, land_class] += (train == land_class).sum(), (valid == land_class).sum()
        assert (train[train != NODATA] == truth[train != NODATA]).all()
        assert (valid[valid != NODATA] == truth[valid != NODATA]).all()
        assert ndimage.distance_transform_cdt(train == NODATA, "chessboard")[valid != NODATA].min() > GAP
    assert (reached > 0).all()
    shares = reached[1] / reached.sum(axis=0)
    assert (shares < 0.4).all()


def test_the_fields_of_all_samples_are_shared_out_together(tmp_path):
    large, small = np.zeros((60, 60), np.uint8), np.ones((60, 60), np.uint8)
    large[-20:, -20:], small[:20, :20] = 1, 0
    write_optical(tmp_path / "data", {"a": large, "b": small})
    data = FolderData(tmp_path / "data", GF2, split="fields", crop_size=64)
    workspace = prepare_training(data, tmp_path / "cache", 1)
    assert (mosaic(workspace, "a_train", (60, 60)) == np.where(large == 0, 0, NODATA)).all()
    assert (mosaic(workspace, "b_train", (60, 60)) == np.where(small == 1, 1, NODATA)).all()
    for name, its, truth in (("a", 1, large), ("b", 0, small)):
        found = mosaic(workspace, f"{name}_validation", (60, 60))
        assert ((found == its) | (found == NODATA)).all()
        assert (found == its).sum() == ((truth == its).sum() - 20 * 20 + (20 - GAP) ** 2)


def test_subfolders_may_have_samples_of_one_name(tmp_path):
    for sub in ("a", "b"):
        write_optical(tmp_path / "data" / "img" / sub, {"1": blocky((40, 40), 3, 0)}, images=".", masks=".")
    sides = sides_of(
        prepare_training(FolderData(tmp_path / "data", GF2, val_fraction=0, crop_size=64), tmp_path / "c", 1)
    )
    assert sides[TRAIN] == {"a_1", "b_1"}


# --- kinds of data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (4, "uint8"), (4, "uint16"), (7, "float32"), (2, "int16")])
def test_optical_scenes_of_any_bands_and_type_stay_as_they_are(bands, dtype, tmp_path):
    labels = {str(i): blocky((50, 70), 3, i) for i in range(5)}
    write_optical(tmp_path / "data", labels, bands, dtype)
    workspace = prepare_training(FolderData(tmp_path / "data", GF2, crop_size=64), tmp_path / "cache", 2)
    for crop in read_crops(workspace.crops):
        assert len(crop.mean) == bands
        found = read_crop(workspace.train / "data" / crop.name)
        assert found.dtype == dtype
        with Raster(tmp_path / "data" / "img" / f"{crop.scene}.tif") as image:
            np.testing.assert_array_equal(found, image.read(crop.window)[0].transpose(1, 2, 0))


@pytest.fixture
def radar(tmp_path) -> Path:
    labels = {str(i): blocky((64 + 10 * i, 70), 6, i) for i in range(5)}
    labels["1"][:20, :30] = NODATA
    write_sar(tmp_path / "radar", labels)
    return tmp_path / "radar"


@pytest.mark.parametrize("lee", [0, 7])
def test_radar_becomes_decibels_clipped_at_the_training_samples_tails(lee, radar, tmp_path):
    data = FolderData(radar, GF3, SarSettings(lee=lee, looks=4), crop_size=64)
    workspace = prepare_training(data, tmp_path / "cache", 2)
    source = SarSettings(**read_json(workspace.train / "source.json", remedy="-"))
    assert replace(source, low=(), high=()) == data.sar
    samples = {sample.id: sample for sample in find_samples(radar)[0]}
    sides = sides_of(workspace)
    assert sides[VALIDATION]
    seen = []
    for name in sides[TRAIN]:
        with SarReader(samples[name].images, data.sar) as reader:
            decibels, valid = reader.read_rows(0, reader.height)
        seen.append(decibels[:, valid])
    seen = np.concatenate(seen, axis=1)
    np.testing.assert_allclose(source.low, np.percentile(seen, 1, axis=1), atol=0.1)
    np.testing.assert_allclose(source.high, np.percentile(seen, 99, axis=1), atol=0.1)
    for crop in read_crops(workspace.crops):
        with SarReader(samples[crop.scene].images, source) as reader:
            decibels, valid = reader.read_rows(0, reader.height)
        found = read_crop(workspace.train / "data" / crop.name).transpose(2, 0, 1)
        np.testing.assert_array_equal(found, decibels[:, *crop.window.slices])
        labels = read_label_crop(label_path(workspace.train, crop))
        assert (labels[~valid[crop.window.slices]] == NODATA).all()


def test_tails_are_those_of_the_training_samples_alone(tmp_path):
    write_sar(tmp_path / "data" / "train", {"1": blocky((60, 60), 2, 0)})
    write_sar(tmp_path / "data" / "valid", {"1": np.full((60, 60), 5, np.uint8)})
    workspace = prepare_training(FolderData(tmp_path / "data", GF3, SarSettings(), crop_size=64), tmp_path / "cache", 1)
    (high, *_) = json.loads((workspace.train / "source.json").read_text())["high"]
    assert 20 * np.log10(400) < high < 20 * np.log10(1600) - 3
    (valid,) = (crop for crop in read_crops(workspace.crops) if crop.split == VALIDATION)
    assert valid.mean[0] == pytest.approx(high, abs=0.1)


def test_given_tails_are_kept(radar, tmp_path):
    sar = SarSettings(low=(30, 30, 30, 30), high=(50, 50, 50, 50.5))
    workspace = prepare_training(FolderData(radar, GF3, sar, crop_size=64), tmp_path / "cache", 1)
    assert SarSettings(**read_json(workspace.train / "source.json", remedy="-")) == sar
    assert max(crop.mean[3] for crop in read_crops(workspace.crops)) <= 50.5


def test_radar_without_any_echo_is_refused(tmp_path):
    write_sar(tmp_path / "data", {"1": np.full((40, 40), NODATA, np.uint8)})
    with pytest.raises(InputError, match="1_HH.tiff: has no valid pixel"):
        prepare_training(FolderData(tmp_path / "data", GF3, SarSettings()), tmp_path / "cache", 1)
    sar = SarSettings(low=(0,) * 4, high=(9,) * 4)
    with pytest.raises(InputError, match="no labelled pixel in 1: "):
        prepare_training(FolderData(tmp_path / "data", GF3, sar, val_fraction=0), tmp_path / "cache", 1)


def test_an_empty_sample_among_others_gives_no_crops(tmp_path):
    empty = np.full((40, 40), NODATA, np.uint8)
    write_sar(tmp_path / "data", {"1": blocky((40, 40), 6, 0), "2": empty, "3": blocky((40, 40), 6, 1)})
    data = FolderData(tmp_path / "data", GF3, SarSettings(), val_fraction=0, crop_size=64)
    assert sides_of(prepare_training(data, tmp_path / "cache", 2))[TRAIN] == {"1", "3"}


# --- what is wrong ---------------------------------------------------------------------------------------------------


def refused(data: FolderData, tmp_path: Path) -> str:
    """The message; nothing was cut."""
    with pytest.raises((InputError, SettingError)) as raised:
        prepare_training(data, tmp_path / "cache", 2)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "cache" / "train" / "crops.csv").exists()
    assert not list((tmp_path / "cache").rglob("*_0*.*"))
    return str(raised.value)


def test_masks_at_another_place_than_their_pictures_are_refused(tmp_path):
    labels = {str(i): blocky((64, 64), 3, i) for i in range(2)}
    write_optical(tmp_path / "data", labels)
    for name, its in labels.items():
        (tmp_path / "data" / "lbl" / f"{name}_gt.png").unlink()
        write_tiff(tmp_path / "data" / "lbl" / f"{name}.tif", its[None])
    for path, west in (("img/1.tif", 500000), ("lbl/1.tif", 500020)):
        with rasterio.open(tmp_path / "data" / path, "r+") as file:
            file.crs, file.transform = "EPSG:32650", rasterio.Affine(10, 0, west, 0, -10, 4e6)
    message = refused(FolderData(tmp_path / "data", GF2, crop_size=64), tmp_path)
    assert "lbl/1.tif: lies at another place than 1.tif, by its georeference (2.0 px apart): export it" in message


def test_masks_of_0_and_255_are_refused_with_what_to_write(tmp_path):
    legend = legend_from_dict({"name": "water", "classes": [
        {"id": 0, "name": "land", "color": "#804000"}, {"id": 1, "name": "water", "color": "#0000FF"}]})  # fmt: skip
    labels = {str(i): blocky((64, 64), 2, i) for i in range(5)}
    write_optical(tmp_path / "data", labels)
    for name, its in labels.items():
        write_png(tmp_path / "data" / "lbl" / f"{name}_gt.png", its * np.uint8(255))
    message = refused(FolderData(tmp_path / "data", legend, crop_size=64), tmp_path)
    assert "0_gt.png: this mask and all others have one class and 255, which is no data" in message
    assert '{"id": 1, "name": "water", "color": "#0000FF", "value": 255}' in message
    # And so it goes.
    legend = replace(legend, classes=(legend.classes[0], replace(legend.classes[1], value=255)))
    workspace = prepare_training(FolderData(tmp_path / "data", legend, crop_size=64), tmp_path / "cache", 1)
    for name, its in labels.items():
        np.testing.assert_array_equal(mosaic(workspace, name, its.shape), its)


def test_a_mask_of_0_and_255_among_others_is_none_of_that_kind(tmp_path):
    labels = {str(i): blocky((64, 64), 3, i) for i in range(5)}
    write_optical(tmp_path / "data", labels)
    for name, its in labels.items():
        write_png(tmp_path / "data" / "lbl" / f"{name}_gt.png", its)
    write_png(tmp_path / "data" / "lbl" / "2_gt.png", np.where(labels["2"] == 0, np.uint8(0), np.uint8(255)))
    workspace = prepare_training(FolderData(tmp_path / "data", GF2, crop_size=64), tmp_path / "cache", 1)
    assert (mosaic(workspace, "2", (64, 64)) == np.where(labels["2"] == 0, 0, NODATA)).all()


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda d: (d / "lbl" / "2_gt.png").unlink(), "2.tif: has no mask: put 2_gt.png beside it or into lbl/"),
    (lambda d: [p.unlink() for p in (d / "lbl").iterdir()], "0.tif: has no mask, nor have 4 more samples"),
    (lambda d: write_png(d / "lbl" / "3_gt.png", np.zeros((64, 63), np.uint8)), "3_gt.png: 63 x 64 px, but 3.tif"),
    (lambda d: write_png(d / "lbl" / "3_gt.png", np.full((64, 64), 77, np.uint8)), "3_gt.png: .* 77 .4,096 px."),
    (lambda d: write_tiff(d / "img" / "4.tif", np.ones((4, 64, 64), np.uint16)), "4.tif: 4 bands of uint16, but 0.tif"),
    (lambda d: (d / "img" / "1.tif").write_bytes(b"II*\0"), "1.tif: is not a raster"),
    (lambda d: shutil.rmtree(d / "img") or (d / "img").mkdir(), "img: no samples there"),
    (lambda d: shutil.rmtree(d), "data: no such folder"),
    (lambda d: (d / "train").mkdir(), "data: has no folder valid: add it"),
    (lambda d: write_sar(d, {"5": np.zeros((64, 64), np.uint8)}), "5_HH.tiff: sample 5 is radar, four files"),
])  # fmt: skip
def test_what_is_wrong_with_samples_is_told_before_anything_is_cut(spoil, message, tmp_path):
    write_optical(tmp_path / "data", {str(i): blocky((64, 64), 3, i) for i in range(5)})
    spoil(tmp_path / "data")
    assert re.search(message, refused(FolderData(tmp_path / "data", GF2, crop_size=64), tmp_path))


@pytest.mark.parametrize(("there", "more"), [("valid", "val"), ("train", "Train"), ("train/img", "train/images")])
def test_folders_of_which_one_would_be_passed_over_are_refused(there, more, two_sides, tmp_path):
    shutil.copytree(two_sides / there, two_sides / more)
    message = refused(FolderData(two_sides, GF2, crop_size=64), tmp_path)
    names = {Path(there).name, Path(more).name}
    assert re.search(rf"({'|'.join(names)}): is a folder for the same as ({'|'.join(names)}) beside it", message)
    shutil.rmtree(two_sides / more)
    prepare_training(FolderData(two_sides, GF2, crop_size=64), tmp_path / "cache", 2)


def test_broken_quadruples_are_named_and_counted(radar, tmp_path):
    (radar / "img" / "2_VH.tiff").unlink()
    message = refused(FolderData(radar, GF3, SarSettings()), tmp_path)
    assert "sample 2: 2_VH.tiff is missing: add it beside 2_HH.tiff" in message
    (radar / "img" / "3_VV.tiff").unlink()
    assert "2_VH.tiff is missing (and 1 more samples are broken)" in refused(
        FolderData(radar, GF3, SarSettings()), tmp_path
    )


def test_optical_samples_are_no_radar(two_sides, tmp_path):
    assert "sample 0 is one file, but radar is wanted" in refused(FolderData(two_sides, GF2, SarSettings()), tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"split": "random"}, {"val_fraction": 1.5}, {"crop_size": 8}, {"sar": SarSettings(lee=2)}]
)
def test_settings_that_make_no_sense_are_refused(wrong, two_sides, tmp_path):
    assert refused(replace(FolderData(two_sides, GF2), **wrong), tmp_path)


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not FLEVOLAND.is_dir(), reason="JINGWEI_REAL_DATA names no folder of real scenes")
def test_flevolands_fields(tmp_path):
    data = FolderData(FLEVOLAND, find_legend(str(FLEVOLAND / "legend.json")), split="fields", crop_size=256)
    workspace = prepare_training(data, tmp_path, 1)
    truth = read_label_crop(FLEVOLAND / "flevo_label_train.png")
    train, valid = (mosaic(workspace, f"flevo_{side}", truth.shape) for side in (TRAIN, VALIDATION))
    for land_class in range(15):
        fields, count = ndimage.label(truth == land_class)
        in_train, in_valid = (set(np.unique(fields[side == land_class])) for side in (train, valid))
        assert not in_train & in_valid
        assert in_train
        assert bool(in_valid) == (count > 1)
        if count > 1:
            share = (valid == land_class).sum() / (truth == land_class).sum()
            assert 0.1 < share < 0.3
    assert ndimage.distance_transform_cdt(train == NODATA, "chessboard")[valid != NODATA].min() > GAP
