"""Cutting scenes into crops, their split into train and validation, and tiling scenes for prediction."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from jingwei.crops.cut import cut_train
from jingwei.crops.cutter import keeps_background
from jingwei.crops.settings import CutSettings
from jingwei.crops.split import SPLIT_GAP, choose_validation, scene_blocks
from jingwei.crops.table import TRAIN, VALIDATION, Crop, read_crops, statistics, unlabelled, write_crops
from jingwei.crops.tile import tile_scene
from jingwei.errors import InputError, SettingError
from jingwei.grid import Blocks, Window, windows
from jingwei.inputs.scenes import Scene
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.raster.crop_files import read_crop, read_label_crop
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster, open_image
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SETTINGS = CutSettings(crop_size=64, stride=64, val_fraction=0.25, keep_background=1)


def cut(root: Path, scenes: list[Scene], settings=SETTINGS, legend=JINGWEI, workers=2) -> list[Crop]:
    return cut_train(Workspace(root), scenes, settings, legend, workers)


def scene_of(folder: Path, name: str, pixels: np.ndarray, labels: np.ndarray) -> Scene:
    """Writes a scene (pixels_HWC) and its labels as PNG."""
    scene = Scene(folder / f"{name}.png", folder / f"{name}_label.png")
    write_png(scene.image, pixels)
    write_png(scene.label, labels)
    return scene


def arrays_of(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pixels_CHW, valid_HW, labels_HW with NODATA outside the flight) of a whole scene."""
    with Raster(scene.image) as image, Raster(scene.label) as label:
        everything = Window(0, 0, *image.shape)
        pixels, valid = image.read(everything)
        return pixels, valid, np.where(valid, label.read(everything)[0][0], NODATA).astype(np.uint8)


def labels_of(root: Path, crop: Crop) -> np.ndarray:
    return read_label_crop(root / "train" / "label" / f"{Path(crop.name).stem}.png")


def contents(root: Path, *parts: str) -> dict[str, bytes]:
    """Every file of the training folder with its bytes."""
    base = root / "train"
    files = [path for path in sorted(base.rglob("*")) if path.is_file()]
    names = {path.relative_to(base).as_posix(): path.read_bytes() for path in files}
    return {name: content for name, content in names.items() if not parts or name.startswith(parts)}


@pytest.fixture(scope="module")
def scenes(county) -> list[Scene]:
    return Workspace(county).train_scenes()


@pytest.fixture(scope="module")
def cut_county(scenes, tmp_path_factory):
    """(folder, crops) of the county's training scenes, cut once. Only to be read."""
    root = tmp_path_factory.mktemp("cut")
    return root, cut(root, scenes)


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


def test_the_table_counts_what_the_label_crops_hold(cut_county):
    root, crops = cut_county
    for crop in crops:
        labels = labels_of(root, crop)
        assert crop.pixels == tuple(int((labels == c).sum()) for c in range(5))
        assert crop.valid == int((labels != NODATA).sum()) > 0


def test_without_a_split_labels_are_those_of_the_scene_and_nodata_outside_the_flight(scenes, tmp_path):
    crops = cut(tmp_path, scenes, CutSettings(64, 48, val_fraction=0, keep_background=1))
    assert {crop.split for crop in crops} == {TRAIN}
    truth = {scene.name: arrays_of(scene) for scene in scenes}
    for name, (_, valid, _) in truth.items():
        places = {w for w in windows(*valid.shape, 64, 48) if valid[w.slices].any()}
        assert {crop.window for crop in crops if crop.scene == name} == places
    for crop in crops:
        np.testing.assert_array_equal(labels_of(tmp_path, crop), truth[crop.scene][2][crop.window.slices])


def test_the_table_survives_its_file(cut_county):
    root, crops = cut_county
    assert read_crops(root / "train" / "crops.csv") == crops
    assert {crop.split for crop in crops} == {TRAIN, VALIDATION}


def test_names_with_commas_and_letters_of_all_kinds_survive_the_table(tmp_path):
    crops = [
        Crop('烤烟, "Süd"\'_000000_001024.tif', '烤烟, "Süd"\'', Window(0, 1024, 5, 7), 3, (1, 2), (0.1 + 0.2, 1e-30),
             (1e300, 0.0), split),
        Crop("b.png", "b", Window(1, 2, 3, 4), 2**40, (2**40, 0), (-1.5, 3.0), (0.25, 1.0), VALIDATION),
    ] if (split := TRAIN) else []  # fmt: skip
    write_crops(tmp_path / "crops.csv", crops)
    assert read_crops(tmp_path / "crops.csv") == crops


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x89PNG\xff", b"name,scene,row,col\nx,y,1\n"])
def test_what_is_no_table_of_crops_gives_one_line(content, tmp_path):
    path = tmp_path / "crops.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not (a table of crops|UTF-8 text)") as raised:
        read_crops(path)
    assert "\n" not in str(raised.value)


def test_a_missing_table_says_what_makes_it(tmp_path):
    with pytest.raises(InputError, match="crops.csv: no such file: run generate_train_data.py first"):
        read_crops(tmp_path / "crops.csv")


def test_statistics_are_those_of_all_pixels_of_the_training_crops(cut_county, scenes):
    root, crops = cut_county
    train = [crop for crop in crops if crop.split == TRAIN]
    truth = {scene.name: arrays_of(scene) for scene in scenes}
    inside = [truth[c.scene][0][:, *c.window.slices][:, truth[c.scene][1][c.window.slices]] for c in train]
    everything = np.concatenate(inside, axis=1).astype(np.float64)
    found = statistics(train)
    # Crops at the seam of the two sides weigh as many pixels as have a label there.
    np.testing.assert_allclose(found.mean, everything.mean(axis=1), rtol=0.01)
    np.testing.assert_allclose(found.std, everything.std(axis=1), rtol=0.01)


def test_statistics_are_exact_where_every_pixel_is_labelled(scenes, tmp_path):
    crops = cut(tmp_path, scenes, CutSettings(64, 50, val_fraction=0, keep_background=1))
    truth = {scene.name: arrays_of(scene) for scene in scenes}
    inside = [truth[c.scene][0][:, *c.window.slices][:, truth[c.scene][1][c.window.slices]] for c in crops]
    everything = np.concatenate(inside, axis=1).astype(np.float64)
    np.testing.assert_allclose(statistics(crops).mean, everything.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(statistics(crops).std, everything.std(axis=1), rtol=1e-9)


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


def test_classes_without_a_training_pixel_are_known(cut_county):
    crops = cut_county[1]
    assert unlabelled(crops, JINGWEI.names, TRAIN) == []
    bare = [replace(c, pixels=(*c.pixels[:2], 0, *c.pixels[3:]) if c.split == "train" else c.pixels) for c in crops]
    assert any(crop.pixels[2] for crop in bare)  # those of validation don't count
    assert unlabelled(bare, JINGWEI.names, TRAIN) == ["corn"]
    assert unlabelled(bare, JINGWEI.names, VALIDATION) == []
    assert unlabelled([], JINGWEI.names, TRAIN) == list(JINGWEI.names)


def test_a_constant_band_has_a_deviation_to_divide_by():
    crop = Crop("a", "a", Window(0, 0, 9, 9), 81, (81,), (5.0,), (0.0,))
    assert statistics([crop, crop]).std == (1.0,)


# --- the same bytes however it is cut --------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_writes_the_same_bytes(workers, cut_county, scenes, tmp_path):
    cut(tmp_path, scenes, workers=workers)
    assert contents(tmp_path) == contents(cut_county[0])


def test_a_second_run_cuts_nothing_again_and_changes_nothing(scenes, tmp_path):
    settings = CutSettings(64, 40, val_fraction=0.25, keep_background=0.3)
    first = cut(tmp_path, scenes, settings)
    before = contents(tmp_path)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "train" / "data").iterdir()}
    assert cut(tmp_path, scenes, settings) == first
    assert contents(tmp_path) == before
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "train" / "data").iterdir()} == times


CHANGES = {
    "stride": CutSettings(64, 40, val_fraction=0.25, keep_background=1),
    "crop size": CutSettings(80, 64, val_fraction=0.25, keep_background=1),
    "another share for validation": CutSettings(64, 64, val_fraction=0.5, keep_background=1),
    "no validation": CutSettings(64, 64, val_fraction=0, keep_background=1),
    "less background": CutSettings(64, 64, val_fraction=0.25, keep_background=0),
}


@pytest.mark.parametrize("after", CHANGES.values(), ids=CHANGES)
def test_changed_settings_leave_what_a_first_run_with_them_leaves(after, scenes, tmp_path):
    cut(tmp_path / "again", scenes)
    cut(tmp_path / "again", scenes, after)
    cut(tmp_path / "fresh", scenes, after)
    parts = ("data/", "label/", "crops.csv", "legend.json", "split_")
    assert contents(tmp_path / "again", *parts) == contents(tmp_path / "fresh", *parts)


@pytest.mark.parametrize("stride", [64, 40])
def test_a_scene_more_or_less_leaves_what_a_first_run_leaves(stride, scenes, tmp_path):
    settings = CutSettings(64, stride, val_fraction=0.25, keep_background=1)
    for name, steps in {"more": [scenes[:1], scenes], "less": [scenes, scenes[:1]]}.items():
        for step in steps:
            cut(tmp_path / name, step, settings)
        cut(tmp_path / f"{name} fresh", steps[-1], settings)
        parts = ("data/", "label/", "crops.csv")
        assert contents(tmp_path / name, *parts) == contents(tmp_path / f"{name} fresh", *parts)


def test_a_changed_scene_is_cut_again(draw_scene, tmp_path):
    pixels, labels = draw_scene(100, 150, 1)
    scene = scene_of(tmp_path, "image_1", pixels, labels)
    cut(tmp_path / "again", [scene])
    scene = scene_of(tmp_path, "image_1", pixels // 2 + 100, labels)
    cut(tmp_path / "again", [scene])
    cut(tmp_path / "fresh", [scene])
    assert contents(tmp_path / "again") == contents(tmp_path / "fresh")


def test_a_run_that_broke_down_goes_on_from_the_scenes_that_were_done(county, tmp_path):
    shutil.copytree(county, tmp_path / "county")
    scenes = Workspace(tmp_path / "county").train_scenes()
    content = scenes[1].image.read_bytes()
    scenes[1].image.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="image_2.png: broken or truncated"):
        cut(tmp_path, scenes)
    assert not (tmp_path / "train" / "crops.csv").exists()
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "train" / "data").iterdir()}
    assert done
    assert all(path.name.startswith("image_1_") for path in done)
    scenes[1].image.write_bytes(content)
    cut(tmp_path, scenes)
    assert {p: p.stat().st_mtime_ns for p in done} == done
    cut(tmp_path / "fresh", scenes)
    assert contents(tmp_path) == contents(tmp_path / "fresh")


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


# --- the split -------------------------------------------------------------------------------------------------------


def sides(root: Path, crops: list[Crop], shapes: dict[str, tuple[int, int]]) -> dict[str, dict[str, np.ndarray]]:
    """Every labelled pixel of either side, as masks of the whole scenes: {scene: {split: mask}}."""
    masks = {name: {split: np.zeros(shape, bool) for split in (TRAIN, VALIDATION)} for name, shape in shapes.items()}
    for crop in crops:
        masks[crop.scene][crop.split][crop.window.slices] |= labels_of(root, crop) != NODATA
    return masks


def assert_apart(masks: dict[str, np.ndarray]) -> None:
    """No validation pixel within SPLIT_GAP px of a training one, straight or diagonal."""
    square = np.ones((2 * SPLIT_GAP + 1, 2 * SPLIT_GAP + 1), np.uint8)
    near_training = cv2.dilate(masks[TRAIN].astype(np.uint8), square).astype(bool)
    assert not (near_training & masks[VALIDATION]).any()


@given(
    shape=st.tuples(st.integers(20, 300), st.integers(20, 300)),
    crop_size=st.integers(32, 90),
    overlap=st.floats(0, 0.8),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 5),
)
@settings(max_examples=15)
def test_no_validation_pixel_is_near_a_training_one(
    tmp_path_factory, draw_scene, shape, crop_size, overlap, fraction, seed
):
    root = tmp_path_factory.mktemp("split")
    scene = scene_of(root, "image_1", *draw_scene(*shape, seed))
    stride = max(8, round(crop_size * (1 - overlap)))
    crops = cut(root, [scene], CutSettings(crop_size, stride, val_fraction=fraction, keep_background=1))
    masks = sides(root, crops, {"image_1": shape})["image_1"]
    assert_apart(masks)
    assert masks[TRAIN].any()


def test_the_split_of_aligned_crops_costs_training_nothing(scenes, cut_county):
    root, crops = cut_county
    truth = {scene.name: arrays_of(scene)[2] for scene in scenes}
    masks = sides(root, crops, {name: labels.shape for name, labels in truth.items()})
    for name, labels in truth.items():
        assert_apart(masks[name])
        for crop in crops:
            on_grid = crop.window.row % 64 == 0 and crop.window.col % 64 == 0
            if crop.scene == name and crop.split == TRAIN and on_grid:
                np.testing.assert_array_equal(labels_of(root, crop), labels[crop.window.slices])
    assert sum(mask[VALIDATION].sum() for mask in masks.values()) > 0


def test_validation_has_about_the_share_that_was_asked_for(draw_scene, tmp_path):
    scene = scene_of(tmp_path, "image_1", *draw_scene(1000, 1000, 7))
    crops = cut(tmp_path, [scene], CutSettings(100, 100, val_fraction=0.3, keep_background=1))
    total = np.array([crop.pixels for crop in crops]).sum(axis=0)
    validation = np.array([crop.pixels for crop in crops if crop.split == VALIDATION]).sum(axis=0)
    # The gaps cost validation blocks their rims.
    assert (validation / total > 0.1).all()
    assert (validation / total < 0.35).all()


def block_crops(counts: list[tuple[int, ...]], side: int = 100) -> tuple[list[Crop], dict[str, Blocks]]:
    """One crop for each block of a row of blocks, with these pixels per class."""
    crops = [
        Crop(f"c{i}", "s", Window(0, i * side, side, side), sum(pixels), tuple(pixels), (1.0,), (1.0,))
        for i, pixels in enumerate(counts)
    ]
    return crops, {"s": Blocks(side, side * len(counts), side)}


def test_a_rare_class_in_two_blocks_of_twenty_gets_validation_pixels():
    counts = [(1000, 500, 0)] * 20
    counts[3] = counts[11] = (900, 500, 100)
    chosen = choose_validation(*block_crops(counts), 0.2)
    assert chosen & {("s", 3), ("s", 11)}
    assert not chosen >= {("s", 3), ("s", 11)}
    assert 2 <= len(chosen) <= 6


def test_a_class_that_lives_in_one_block_stays_in_training():
    counts = [(1000, 500, 0)] * 20
    counts[5] = (1000, 500, 100)
    assert ("s", 5) not in choose_validation(*block_crops(counts), 0.2)


@given(
    st.integers(2, 5).flatmap(
        lambda classes: st.lists(
            st.tuples(*[st.sampled_from([0, 0, 1, 10, 300, 1000])] * classes).filter(any), min_size=4, max_size=25
        )
    ),
    st.sampled_from([0.1, 0.2, 0.4]),
)
def test_a_class_in_two_blocks_or_more_is_left_out_of_validation_only_for_another_ones_training(counts, fraction):
    chosen = {number for _, number in choose_validation(*block_crops(counts), fraction)}
    holders = [{i for i, pixels in enumerate(counts) if pixels[c]} for c in range(len(counts[0]))]
    last = {number for blocks in holders if len(blocks - chosen) == 1 for number in blocks - chosen}
    for blocks in holders:
        assert not blocks or blocks - chosen, "a class lost its last training block"
        if len(blocks) > 1 and not blocks & chosen:
            assert blocks <= last


@pytest.mark.parametrize("stride", [64, 40])
def test_a_rare_class_of_a_scene_gets_validation_pixels(stride, tmp_path):
    labels = np.ones((640, 640), np.uint8)
    for row, col in [(150, 150), (470, 410)]:  # in the middle of two blocks of 64
        labels[row : row + 12, col : col + 12] = 3
    scene = scene_of(tmp_path, "image_1", np.full((640, 640, 3), 9, np.uint8), labels)
    crops = cut(tmp_path, [scene], CutSettings(64, stride, val_fraction=0.2))
    pixels = {s: sum(c.pixels[3] for c in crops if c.split == s) for s in (TRAIN, VALIDATION)}
    assert pixels[TRAIN] > 0
    assert pixels[VALIDATION] > 0


@pytest.mark.parametrize("fraction", [0, 1])
def test_the_ends_of_the_share_leave_training_something(fraction, scenes, tmp_path):
    crops = cut(tmp_path, scenes, CutSettings(64, 64, val_fraction=fraction, keep_background=1))
    assert any(crop.split == TRAIN for crop in crops)
    assert any(crop.split == VALIDATION for crop in crops) == (fraction > 0)


def test_blocks_grow_with_giant_scenes_up_to_four_crops():
    assert scene_blocks(500, 500, 1024).col_edges == [0, 250, 500]
    assert scene_blocks(5000, 5000, 1024).col_edges[1] == 1024
    assert scene_blocks(50141, 47161, 1024).col_edges[1] == 4096


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


# --- what is refused -------------------------------------------------------------------------------------------------


def broken_scene(problem: str, folder: Path, pixels: np.ndarray, labels: np.ndarray) -> Scene:
    if problem == "unknown ids":
        labels = labels.copy()
        labels[100:103, 60:64] = 7
        labels[149, 145:150] = 200
    if problem == "coloured label":
        labels = np.repeat(labels[..., None], 3, axis=2)
    if problem == "sizes":
        labels = labels[:-1]
    if problem == "no valid pixel":
        pixels = pixels.copy()
        pixels[..., 3] = 0
    scene = scene_of(folder, "image_9", pixels, labels)
    if problem == "no label":
        return Scene(scene.image, None)
    truncated = {"truncated picture": scene.image, "truncated label": scene.label}.get(problem)
    if truncated:
        truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size * 2 // 3])
    return scene


def test_a_label_at_another_place_than_its_scene_is_refused(tmp_path):
    scene = Scene(tmp_path / "image_9.tif", tmp_path / "image_9_label.tif")
    for path, epsg in ((scene.image, 32650), (scene.label, 32651)):
        kind = {"height": 64, "width": 64, "count": 1, "dtype": "uint8", "crs": f"EPSG:{epsg}"}
        with rasterio.open(path, "w", driver="GTiff", transform=Affine(1, 0, 5e5, 0, -1, 4e6), **kind) as file:
            file.write(np.ones((1, 64, 64), np.uint8))
    with pytest.raises(InputError, match=r"image_9_label.tif: is in EPSG:32651, but image_9.tif is in EPSG:32650"):
        cut(tmp_path, [scene])


REFUSED = {
    "sizes": r"image_9_label.png: 160 x 149 px, but image_9.png is 160 x 150",
    "unknown ids": r"image_9_label.png: .*legend jingwei does not know: 7 \(12 px\), 200 \(5 px\): known are 0",
    "coloured label": r"image_9_label.png: has 3 bands",
    "no valid pixel": r"image_9.png: has no valid pixel",
    "no label": r"image_9.png: has no label image_9_label.png",
    "truncated picture": r"image_9.png: broken or truncated",
    "truncated label": r"image_9_label.png: broken or truncated",
}


@pytest.mark.parametrize("stride", [64, 30])
@pytest.mark.parametrize("problem", REFUSED)
def test_a_refused_scene_gives_one_line_and_leaves_no_table_and_no_crops(problem, stride, draw_scene, tmp_path):
    pixels, labels = draw_scene(150, 160, 2)
    settings = CutSettings(64, stride, keep_background=1)
    scene = broken_scene(problem, tmp_path, pixels, labels)
    with pytest.raises(InputError, match=REFUSED[problem]) as raised:
        cut(tmp_path, [scene], settings)
    assert "\n" not in str(raised.value)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("problem", sorted(set(REFUSED) - {"no label"}))
def test_a_scene_that_became_unusable_leaves_all_of_an_older_cut_or_no_table(problem, draw_scene, tmp_path):
    good = scene_of(tmp_path, "image_9", *draw_scene(150, 160, 2))
    cut(tmp_path, [good], CutSettings(64, 64, keep_background=1))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=REFUSED[problem]):
        cut(tmp_path, [broken_scene(problem, tmp_path, *draw_scene(150, 160, 2))])
    assert "crops.csv" not in contents(tmp_path) or contents(tmp_path) == before


def test_scenes_of_different_kinds_are_refused_together(draw_scene, tmp_path):
    pixels, labels = draw_scene(100, 90, 1)
    one = scene_of(tmp_path, "image_1", pixels, labels)
    grey = scene_of(tmp_path, "image_2", pixels[..., 0], labels)
    with pytest.raises(InputError, match="image_1: 3 bands of uint8; image_2: 1 bands of uint8"):
        cut(tmp_path, [one, grey])
    assert not (tmp_path / "train" / "crops.csv").exists()


def test_scenes_without_a_single_label_are_refused(draw_scene, tmp_path):
    pixels, labels = draw_scene(100, 90, 1)
    scene = scene_of(tmp_path, "image_1", pixels, np.full_like(labels, NODATA))
    with pytest.raises(InputError, match="no labelled pixel in image_1"):
        cut(tmp_path, [scene])
    assert not (tmp_path / "train" / "crops.csv").exists()


def test_where_no_scenes_are_found_the_place_and_the_names_are_told(tmp_path):
    with pytest.raises(InputError) as raised:
        Workspace(tmp_path).train_scenes()
    assert str(tmp_path / "*train*" / "image_N.png") in str(raised.value)
    assert "image_N_label.png" in str(raised.value)
    with pytest.raises(InputError) as raised:
        Workspace(tmp_path).test_scenes()
    assert str(tmp_path / "*test*" / "image_N.png") in str(raised.value)


def test_two_scenes_of_one_name_are_refused(county, tmp_path):
    for folder in ("round1_train", "round2_train"):
        shutil.copytree(county / "jingwei_round1_train_20190619", tmp_path / folder)
    with pytest.raises(InputError, match="round2_train/image_1.png: another image_1 is in round1_train"):
        Workspace(tmp_path).train_scenes()


@pytest.mark.parametrize(
    "values",
    [{"crop_size": 31, "stride": 31}, {"stride": 0}, {"stride": 65}, {"val_fraction": 1.1}, {"val_fraction": -0.1},
     {"keep_background": 2}, {"val_fraction": float("nan")}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(values):
    with pytest.raises(SettingError):
        CutSettings(**{"crop_size": 64, "stride": 64} | values).check()


# --- tiling for prediction -------------------------------------------------------------------------------------------


@pytest.fixture
def georeferenced(tmp_path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A 16-bit scene with nodata and a rotated georeference, its pixels_CHW and valid_HW."""
    pixels = np.random.default_rng(0).integers(1, 60000, (4, 600, 530), dtype=np.uint16)
    pixels[:, 200:450, 100:400] = 0
    transform = Affine.translation(5e5, 2.8e6) @ Affine.rotation(20) @ Affine.scale(0.1, -0.1)
    profile = dict(driver="GTiff", count=4, height=600, width=530, dtype="uint16", nodata=0, crs="EPSG:32648",
                   transform=transform, photometric="minisblack", alpha="unspecified")  # fmt: skip
    with rasterio.open(tmp_path / "image_5.tif", "w", **profile) as file:
        file.write(pixels)
    return tmp_path / "image_5.tif", pixels, pixels.any(axis=0)


def test_a_tiled_scene_is_the_scene_with_its_mask_overviews_and_georeference(georeferenced, tmp_path):
    source, pixels, valid = georeferenced
    target = tmp_path / "test" / "image5" / "image_5.tif"
    assert tile_scene(source, target, workers=2)
    with open_image(target) as tiled, rasterio.open(source) as original:
        assert tiled.tiled
        assert tiled.crs == original.crs
        assert tiled.transform == original.transform
        found, found_valid = tiled.read(Window(0, 0, 600, 530))
    np.testing.assert_array_equal(found_valid, valid)
    np.testing.assert_array_equal(found, pixels)
    with rasterio.open(target) as file:
        assert file.overviews(1) == [2]
        assert file.block_shapes[0] == (256, 256)


def test_a_tiled_png_scene_has_its_alpha_as_mask(county, tmp_path):
    source = Workspace(county).test_scenes()[0].image
    target = tmp_path / "image_3.tif"
    tile_scene(source, target, workers=1)
    with Raster(source) as original, Raster(target) as tiled:
        assert tiled.bands == 3
        pixels, valid = original.read(Window(0, 0, *original.shape))
        found, found_valid = tiled.read(Window(0, 0, *original.shape))
    np.testing.assert_array_equal(found_valid, valid)
    np.testing.assert_array_equal(found, np.where(valid, pixels, 0))


@pytest.mark.parametrize("workers", [1, 4])
def test_tiling_writes_the_same_bytes_with_any_number_of_workers(workers, georeferenced, tmp_path):
    source, _, _ = georeferenced
    tile_scene(source, tmp_path / "two.tif", workers=2)
    tile_scene(source, tmp_path / "other.tif", workers=workers)
    assert (tmp_path / "two.tif").read_bytes() == (tmp_path / "other.tif").read_bytes()


def test_a_scene_is_tiled_once_and_again_when_it_changes(county, tmp_path):
    source = tmp_path / "image_3.png"
    shutil.copy(Workspace(county).test_scenes()[0].image, source)
    target = tmp_path / "image_3.tif"
    assert tile_scene(source, target, workers=1)
    before = target.stat().st_mtime_ns
    assert not tile_scene(source, target, workers=1)
    assert target.stat().st_mtime_ns == before
    write_png(source, np.full((30, 40, 3), 77, np.uint8))
    assert tile_scene(source, target, workers=1)
    with Raster(target) as tiled:
        assert tiled.shape == (30, 40)


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_tiled_scene_that_is_broken_is_made_again(content, county, tmp_path):
    target = tmp_path / "image_3.tif"
    target.write_bytes(content)
    assert tile_scene(Workspace(county).test_scenes()[0].image, target, workers=1)


def test_a_scene_that_cannot_be_tiled_leaves_nothing(draw_scene, tmp_path):
    pixels, _ = draw_scene(150, 160, 2)
    pixels[..., 3] = 0
    write_png(tmp_path / "empty.png", pixels)
    with pytest.raises(InputError, match="empty.png: has no valid pixel"):
        tile_scene(tmp_path / "empty.png", tmp_path / "out" / "a.tif", workers=1)
    content = (tmp_path / "empty.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cut.png: broken or truncated"):
        tile_scene(tmp_path / "cut.png", tmp_path / "out" / "a.tif", workers=1)
    assert not any((tmp_path / "out").iterdir())
