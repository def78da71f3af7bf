"""The split: validation in blocks, apart from training, with some of every class."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from cut_scenes import arrays_of, cut, labels_of, scene_of
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.crops.settings import CutSettings
from jingwei.crops.split import SPLIT_GAP, choose_validation, scene_blocks
from jingwei.crops.table import TRAIN, VALIDATION, Crop
from jingwei.grid import Blocks, Window
from jingwei.legend import NODATA

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


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
