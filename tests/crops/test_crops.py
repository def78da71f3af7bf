"""What crops hold: the pixels and labels of their scene, whatever its kind; and which ones are kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cut_scenes import arrays_of, contents, cut, labels_of, scene_of

from jingwei.crops.cutter import keeps_background
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import TRAIN, statistics
from jingwei.grid import Window, windows
from jingwei.inputs.scenes import Scene
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.raster.crop_files import read_crop, read_label_crop
from jingwei.raster.png import write_png

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


# --- what crops hold -------------------------------------------------------------------------------------------------


def test_crops_hold_exactly_the_pixels_of_the_scene(cut_county, scenes):
    root, crops = cut_county
    assert {crop.scene for crop in crops} == {"image_1", "image_2"}
    for scene in scenes:
        pixels, valid, labels = arrays_of(scene)
        mine = [crop for crop in crops if crop.scene == scene.name]
        places = {w for w in windows(*valid.shape, 64, 64) if valid[w.slices].any()}
        assert {crop.window for crop in mine} <= places
        for crop in mine:
            here = crop.window.slices
            found = read_crop(root / "train" / "data" / crop.name)
            expected = np.where(valid[here], pixels[:, *here], 0).transpose(1, 2, 0)
            np.testing.assert_array_equal(found, expected)
            ours = labels_of(root, crop)
            np.testing.assert_array_equal(ours[ours != NODATA], labels[here][ours != NODATA])
            assert crop.name == f"{scene.name}_{crop.window.row:06d}_{crop.window.col:06d}.png"


def test_without_a_split_labels_are_those_of_the_scene_and_nodata_outside_the_flight(scenes, tmp_path):
    crops = cut(tmp_path, scenes, CutSettings(64, 48, val_fraction=0, keep_background=1))
    assert {crop.split for crop in crops} == {TRAIN}
    truth = {scene.name: arrays_of(scene) for scene in scenes}
    for name, (_, valid, _) in truth.items():
        places = {w for w in windows(*valid.shape, 64, 48) if valid[w.slices].any()}
        assert {crop.window for crop in crops if crop.scene == name} == places
    for crop in crops:
        np.testing.assert_array_equal(labels_of(tmp_path, crop), truth[crop.scene][2][crop.window.slices])


def test_labels_are_cut_by_the_legends_values(scenes, cut_county, tmp_path):
    values = np.arange(256, dtype=np.uint8)
    values[[1, 4]] = (4, 200)
    others = []
    for scene in scenes:
        _, _, labels = arrays_of(scene)
        write_png(tmp_path / scene.label.name, values[labels])
        others.append(Scene(scene.image, tmp_path / scene.label.name))
    classes = tuple(replace(c, value=int(values[c.id])) for c in JINGWEI.classes)
    root, crops = cut_county
    assert cut(tmp_path / "project", others, legend=replace(JINGWEI, classes=classes)) == crops
    assert contents(tmp_path / "project", "label") == contents(root, "label")


def test_scenes_may_have_dots_in_their_names(draw_scene, tmp_path):
    """As products of satellites do; what follows the last one is no type of file."""
    pairs = {name: draw_scene(130, 140, seed) for seed, name in enumerate(("GF2_E113.9_N34.4", "GF2_E113.9_N34.5"))}
    scenes = [scene_of(tmp_path, name, *pair) for name, pair in pairs.items()]
    crops = cut(tmp_path / "project", scenes)
    for crop in crops:
        pixels, labels = pairs[crop.scene]
        part = crop.window.slices
        kept = read_label_crop(tmp_path / "project" / "train" / "label" / f"{Path(crop.name).stem}.png")
        known = kept != NODATA
        assert known.any()
        np.testing.assert_array_equal(kept[known], labels[part][known])
        assert crop.name == f"{crop.scene}_{crop.window.row:06d}_{crop.window.col:06d}.png"
    assert {crop.scene for crop in crops} == set(pairs)


# --- background ------------------------------------------------------------------------------------------------------


def test_crops_of_nothing_but_background_are_kept_by_the_hash_of_their_name(tmp_path):
    labels = np.zeros((640, 640), np.uint8)
    labels[:64, :64] = 2
    scene = scene_of(tmp_path, "image_1", np.full((640, 640, 3), 9, np.uint8), labels)
    crops = cut(tmp_path, [scene], CutSettings(64, 64, val_fraction=0, keep_background=0.3))
    names = {f"image_1_{row:06d}_{col:06d}" for row in range(0, 640, 64) for col in range(0, 640, 64)}
    expected = {name for name in names if keeps_background(name, 0.3)} | {"image_1_000000_000000"}
    assert {Path(crop.name).stem for crop in crops} == expected
    assert {path.stem for path in (tmp_path / "train" / "data").iterdir()} == expected
    assert 10 < len(expected) < 60


def test_a_larger_share_of_background_keeps_the_crops_of_a_smaller_one():
    names = [f"image_1_{i:06d}_000000" for i in range(4000)]
    kept = {share: {n for n in names if keeps_background(n, share)} for share in (0, 0.1, 0.5, 1)}
    assert not kept[0]
    assert kept[1] == set(names)
    assert kept[0.1] < kept[0.5]
    assert abs(len(kept[0.1]) - 400) < 80
    assert abs(len(kept[0.5]) - 2000) < 150


def test_where_no_class_is_background_every_crop_is_kept(tmp_path):
    scene = scene_of(tmp_path, "image_1", np.full((128, 256, 3), 9, np.uint8), np.zeros((128, 256), np.uint8))
    assert len(cut(tmp_path, [scene], CutSettings(64, 64, keep_background=0, val_fraction=0), GF3)) == 8


# --- scenes of all kinds ---------------------------------------------------------------------------------------------


def test_a_scene_narrower_than_a_crop_is_one_crop(draw_scene, tmp_path):
    pixels, labels = draw_scene(40, 23, 3)
    scene = scene_of(tmp_path, "image_1", pixels, labels)
    (crop,) = cut(tmp_path, [scene])
    assert crop.window == Window(0, 0, 40, 23)
    assert crop.split == TRAIN
    found = read_crop(tmp_path / "train" / "data" / crop.name)
    np.testing.assert_array_equal(found, np.where(pixels[..., 3:] > 0, pixels[..., :3], 0))


def test_sixteen_bit_scenes_of_four_bands_with_nodata_are_cut_into_tiffs(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 60000, (4, 150, 200), dtype=np.uint16)
    pixels[:, 100:, :90] = 0
    pixels[0, :50] = 0  # one band alone is no reason to call a pixel empty
    labels = rng.integers(0, 5, (150, 200), dtype=np.uint8)
    scene = Scene(tmp_path / "image_1.tif", tmp_path / "image_1_label.png")
    profile = dict(driver="GTiff", count=4, height=150, width=200, dtype="uint16", nodata=0, photometric="minisblack",
                   alpha="unspecified")  # fmt: skip
    with rasterio.open(scene.image, "w", **profile) as file:
        file.write(pixels)
    write_png(scene.label, labels)
    crops = cut(tmp_path, [scene], CutSettings(64, 64, val_fraction=0, keep_background=1))
    valid = pixels.any(axis=0)
    for crop in crops:
        assert crop.name.endswith(".tif")
        here = crop.window.slices
        found = read_crop(tmp_path / "train" / "data" / crop.name)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, pixels[:, *here].transpose(1, 2, 0))
        np.testing.assert_array_equal(labels_of(tmp_path, crop), np.where(valid[here], labels[here], NODATA))
    assert len(statistics(crops).mean) == 4


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_crops_of_other_types_hold_the_scene_with_0_for_what_is_invalid(dtype, tmp_path):
    pixels = np.random.default_rng(0).normal(0, 3000, (1, 100, 130)).astype(dtype)
    pixels[0, :30, :40] = -9999 if dtype == "int16" else np.nan
    scene = Scene(tmp_path / "image_1.tif", tmp_path / "image_1_label.png")
    nodata = -9999 if dtype == "int16" else None
    profile = dict(driver="GTiff", count=1, height=100, width=130, dtype=dtype, nodata=nodata)
    with rasterio.open(scene.image, "w", **profile) as file:
        file.write(pixels)
    write_png(scene.label, np.ones((100, 130), np.uint8))
    crops = cut(tmp_path, [scene], CutSettings(64, 64, val_fraction=0))
    pixels[0, :30, :40] = 0
    for crop in crops:
        found = read_crop(tmp_path / "train" / "data" / crop.name)
        np.testing.assert_array_equal(found, pixels[:, *crop.window.slices].transpose(1, 2, 0))
    # Six crops; the hole of 30 x 40 px lies in two of them, once whole and once without its upper part.
    assert sum(crop.valid for crop in crops) == 6 * 64 * 64 - 30 * 40
    picture = read_crop(tmp_path / "train" / "split_image_1.png")
    assert picture.std() > 20  # the invalid corner doesn't blacken the rest
