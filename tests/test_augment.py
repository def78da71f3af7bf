"""Training windows: labels stay on their pixels, padding is never learned, draws don't depend on loader processes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei import augment, raster
from jingwei.augment import random_light, random_turn, random_window, resize
from jingwei.crops import TRAIN, Crop
from jingwei.cutting import CutSettings, cut_train
from jingwei.datasets import TrainingWindows, WholeCrops, WindowDraws, training_loader, validation_loader
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.png import write_png
from jingwei.recipes import CROSS_ENTROPY
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
FILL = (120.0, 110.0, 100.0)
RECIPE = replace(CROSS_ENTROPY, batch_size=4, crop_sizes=(32,), jitter=0.0)


def marked(height: int, width: int, bands: int = 3, dtype="uint8", seed: int = 0):
    """A crop whose pixels tell their labels: every band is 20 times the class, plus 10. Fields of 16 px."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(0, 5, (height // 16 + 1, width // 16 + 1), dtype=np.uint8)
    labels = np.kron(fields, np.ones((16, 16), np.uint8))[:height, :width]
    pixels = np.repeat((20 * labels + 10)[..., None], bands, axis=2).astype(dtype)
    return pixels, labels


# --- windows ---------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 70), st.floats(0.5, 2), st.integers(0, 1000),
    st.sampled_from([1, 3, 4, 6]), st.sampled_from(["uint8", "uint16", "int16", "float32"]),
)  # fmt: skip
@settings(max_examples=60)
def test_windows_have_the_size_type_and_bands_that_were_asked_for(height, width, size, scale, seed, bands, dtype):
    pixels, labels = marked(height, width, bands, dtype)
    found, found_labels = random_window(pixels, labels, size, scale, np.random.default_rng(seed))
    assert found.shape == (size, size, bands)
    assert found_labels.shape == (size, size)
    assert found.dtype == pixels.dtype
    assert found_labels.dtype == np.uint8
    assert set(np.unique(found_labels)) <= {0, 1, 2, 3, 4, NODATA}


@given(st.integers(5, 60), st.integers(5, 60), st.integers(20, 70), st.integers(0, 1000))
@settings(max_examples=60)
def test_at_scale_1_a_window_is_a_part_of_the_crop_and_the_rest_is_nodata(height, width, size, seed):
    # Every pixel has a value of its own, so that its place can be read from it.
    pixels = (1 + np.arange(height * width, dtype=np.uint16)).reshape(height, width, 1)
    labels = (pixels[..., 0] % 5).astype(np.uint8)
    found, found_labels = random_window(pixels, labels, size, 1.0, np.random.default_rng(seed))
    rows, cols = min(size, height), min(size, width)
    inside = found[:rows, :cols, 0]
    row, col = divmod(int(inside[0, 0]) - 1, width)
    np.testing.assert_array_equal(inside, pixels[row : row + rows, col : col + cols, 0])
    np.testing.assert_array_equal(found_labels[:rows, :cols], inside % 5)
    outside = np.ones((size, size), bool)
    outside[:rows, :cols] = False
    assert (found_labels[outside] == NODATA).all()
    assert (found[outside] == 0).all()


@given(st.floats(0.5, 2), st.integers(0, 1000), st.sampled_from(["uint8", "uint16", "int16", "float32"]))
@settings(max_examples=60)
def test_scaling_keeps_labels_on_their_pixels(scale, seed, dtype):
    pixels, labels = marked(160, 160, dtype=dtype, seed=seed)
    found, found_labels = random_window(pixels, labels, 64, scale, np.random.default_rng(seed))
    told = (found[..., 0].astype(float) - 10) / 20
    # Where interpolation mixed no two fields, the pixels tell the label exactly.
    around = np.ones((3, 3), np.uint8)
    pure = cv2.erode(found_labels, around) == cv2.dilate(found_labels, around)
    assert np.abs(told - found_labels)[pure].max(initial=0) < 0.03
    # Elsewhere the mixture leans to neither side: labels that slipped by a pixel would be far off.
    assert np.abs(told - found_labels).mean() < 0.25


@pytest.mark.parametrize(("side", "size"), [(32, 64), (64, 32), (48, 64), (61, 64), (64, 63)])
def test_edges_in_pixels_and_labels_stay_within_half_a_pixel_of_each_other(side, size):
    labels = np.zeros((side, side), np.uint8)
    labels[:, side // 2 :] = 1
    pixels = (200 * labels)[..., None]
    found, found_labels = resize(pixels, labels, size)
    in_pixels = size - found[0, :, 0].astype(float).sum() / 200
    in_labels = size - found_labels[0].sum()
    assert abs(in_pixels - in_labels) <= 0.51
    assert abs(in_pixels - size * (side // 2) / side) < 0.51


def test_at_scale_2_a_window_shows_half_as_much_of_the_crop_twice_as_large():
    pixels = np.arange(64, dtype=np.uint8)[None, :, None].repeat(64, axis=0)
    found, _ = random_window(pixels, np.zeros((64, 64), np.uint8), 32, 2.0, np.random.default_rng(0))
    assert int(found[0, -1, 0]) - int(found[0, 0, 0]) == 15
    found, _ = random_window(pixels, np.zeros((64, 64), np.uint8), 32, 0.5, np.random.default_rng(0))
    assert int(found[0, -1, 0]) - int(found[0, 0, 0]) == 62


def test_padding_is_nodata_at_every_scale():
    pixels, labels = np.full((20, 30, 3), 99, np.uint8), np.full((20, 30), 2, np.uint8)
    for scale in (0.5, 0.77, 1, 1.3):
        found, found_labels = random_window(pixels, labels, 64, scale, np.random.default_rng(0))
        assert (found_labels == NODATA).any()
        # What is labelled shows the crop and no black of the padding, but for the rim that was interpolated.
        inner = (found_labels == 2) & (np.roll(found_labels, -2, 0) == 2) & (np.roll(found_labels, -2, 1) == 2)
        assert (found[inner] == 99).all()
        assert set(np.unique(found_labels)) == {2, NODATA}


def test_the_best_labelled_of_several_places_is_taken():
    labels = np.full((200, 200), NODATA, np.uint8)
    labels[:, 120:] = 1
    pixels = np.zeros((200, 200, 1), np.uint8)
    shares = [
        (random_window(pixels, labels, 50, 1.0, np.random.default_rng(seed))[1] == 1).mean() for seed in range(200)
    ]
    assert np.mean(shares) > 0.6  # a single place would have 0.4


def test_every_place_of_a_crop_comes_up():
    labels = np.zeros((40, 40), np.uint8)
    pixels = np.arange(1600, dtype=np.uint16).reshape(40, 40, 1)
    corners = {
        divmod(int(random_window(pixels, labels, 32, 1.0, np.random.default_rng(seed))[0][0, 0, 0]), 40)
        for seed in range(1500)
    }
    assert corners == {(row, col) for row in range(9) for col in range(9)}


def test_all_eight_turns_come_up_and_turn_pixels_and_labels_alike():
    labels = np.arange(9, dtype=np.uint8).reshape(3, 3)
    pixels = np.stack([labels, labels + 100], axis=2)
    seen = set()
    for seed in range(200):
        found, found_labels = random_turn(pixels, labels, np.random.default_rng(seed))
        np.testing.assert_array_equal(found[..., 0], found_labels)
        np.testing.assert_array_equal(found[..., 1], found_labels + 100)
        seen.add(found_labels.tobytes())
    expected = {np.rot90(m, k).tobytes() for m in (labels, labels[:, ::-1]) for k in range(4)}
    assert seen == expected


@given(st.floats(0.01, 0.9), st.integers(0, 1000), st.sampled_from(["uint8", "uint16", "int16", "float32"]))
@settings(max_examples=40)
def test_another_light_is_a_gain_and_an_offset_per_band_within_its_strength(strength, seed, dtype):
    pixels = np.random.default_rng(seed).normal(2000, 100, (9, 9, 5)).clip(0, 255 if dtype == "uint8" else None)
    pixels = pixels.astype(dtype)
    mean, std = np.full(5, 2000.0), np.full(5, 100.0)
    lit = random_light(pixels, mean, std, strength, np.random.default_rng(seed))
    assert lit.dtype == np.float32
    assert lit.shape == pixels.shape
    reach = 1.5 * strength
    for band in range(5):
        before, after = (a[..., band].astype(float).ravel() for a in (pixels, lit))
        if before.std() > 0:
            gain, offset = np.polyfit(before - 2000, after - 2000, 1)
            np.testing.assert_allclose(gain * (before - 2000) + offset, after - 2000, atol=0.1)
            assert abs(gain - 1) <= reach + 1e-3
            assert abs(offset) <= 100 * reach + 0.1


def test_the_light_changes_in_all_bands_together_and_in_each_alone():
    pixels = np.zeros((1, 1, 3), np.float32)
    offsets = np.array([
        random_light(pixels, np.zeros(3), np.ones(3), 0.5, np.random.default_rng(seed))[0, 0] for seed in range(300)
    ])  # fmt: skip
    correlation = np.corrcoef(offsets.T)
    assert 0.5 < correlation[0, 1] < 0.95
    assert abs(offsets.mean()) < 0.05


# --- draws -----------------------------------------------------------------------------------------------------------


def test_an_epoch_draws_every_crop_before_any_comes_again():
    draws = [draw for batch in WindowDraws(10, RECIPE, steps=5) for draw in batch]
    assert len(draws) == 20
    assert {draw.crop for draw in draws[:10]} == {draw.crop for draw in draws[10:]} == set(range(10))


def test_no_two_draws_of_a_run_share_a_seed_and_epochs_differ():
    sampler = WindowDraws(10, RECIPE, steps=5)
    assert len(sampler) == 5
    epochs = []
    for sampler.epoch in (0, 1):
        epochs.append([draw for batch in sampler for draw in batch])
    assert len({draw.seed for epoch in epochs for draw in epoch}) == 40
    assert [draw.crop for draw in epochs[0]] != [draw.crop for draw in epochs[1]]
    sampler.epoch = 0
    assert [draw for batch in sampler for draw in batch] == epochs[0]
    assert next(iter(WindowDraws(10, replace(RECIPE, seed=1), 5))) != epochs[0][:4]


def test_sizes_take_turns_by_batch():
    recipe = replace(RECIPE, crop_sizes=(64, 32))
    assert [{draw.size for draw in batch} for batch in WindowDraws(3, recipe, steps=4)] == [{64}, {32}, {64}, {32}]


# --- datasets --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut_county(county, tmp_path_factory):
    """(training folder, crops)"""
    root = tmp_path_factory.mktemp("cut")
    settings = CutSettings(64, 64, val_fraction=0, keep_background=1)
    return root / "train", cut_train(Workspace(root), Workspace(county).train_scenes(), settings, JINGWEI, 2)


def test_two_loader_processes_give_the_same_batches_as_none(cut_county):
    folder, crops = cut_county
    epochs = {}
    for workers in (0, 2):
        loader = training_loader(folder, crops, RECIPE, FILL, 3, workers)
        for loader.batch_sampler.epoch in (0, 1):
            epochs[workers, loader.batch_sampler.epoch] = list(loader)
    for epoch in (0, 1):
        assert len(epochs[0, epoch]) == 3
        for alone, shared in zip(epochs[0, epoch], epochs[2, epoch], strict=True):
            assert torch.equal(alone[0], shared[0])
            assert torch.equal(alone[1], shared[1])
    assert not torch.equal(epochs[0, 0][0][0], epochs[0, 1][0][0])


def test_batches_are_pixels_bchw_and_labels_bhw_in_the_type_of_the_file(cut_county):
    pixels, labels = next(iter(training_loader(*cut_county, RECIPE, FILL, 1, 0)))
    assert pixels.shape == (4, 3, 32, 32)
    assert pixels.dtype == torch.uint8
    assert labels.shape == (4, 32, 32)
    assert labels.dtype == torch.uint8


def test_the_light_of_training_windows_changes_with_the_seed_and_leaves_labels_alone(cut_county):
    plain = next(iter(training_loader(*cut_county, RECIPE, FILL, 1, 0)))
    lit = next(iter(training_loader(*cut_county, replace(RECIPE, jitter=0.2), FILL, 1, 0)))
    assert torch.equal(plain[1], lit[1])
    assert lit[0].dtype == torch.float32
    difference = (lit[0] - plain[0].float()).flatten(1).abs().mean(dim=1)
    assert (difference > 0.1).all()
    assert len(set(difference.tolist())) == 4


def test_whole_crops_are_the_files(cut_county):
    folder, crops = cut_county
    assert len(WholeCrops(folder, crops, FILL)) == len(crops)
    for crop, (pixels, labels) in zip(crops, validation_loader(folder, crops, FILL, 0), strict=True):
        expected = raster.read_crop(folder / "data" / crop.name)
        unseen = (labels[0].numpy() == NODATA) & (expected == 0).all(axis=2)
        expected[unseen] = FILL
        np.testing.assert_array_equal(pixels[0].numpy(), expected.transpose(2, 0, 1))
        assert labels.shape[1:] == expected.shape[:2]
        assert int((labels != NODATA).sum()) == crop.valid


@pytest.mark.parametrize(("dtype", "expected"), [("uint16", torch.int32), ("int16", torch.int16),
                                                 ("float32", torch.float32)])  # fmt: skip
def test_other_types_reach_torch_with_their_values(dtype, expected, tmp_path):
    pixels = np.array([0, 1, 300, 32767 if dtype != "uint16" else 65535]).astype(dtype).reshape(1, 2, 2)
    raster.write_crop(tmp_path / "data" / "a.tif", pixels)
    write_png(tmp_path / "label" / "a.png", np.zeros((2, 2), np.uint8))
    crop = Crop("a.tif", "a", Window(0, 0, 2, 2), 4, (4,), (1.0,), (1.0,), TRAIN)
    found, _ = WholeCrops(tmp_path, [crop], (0.0,) * 9)[0]
    assert found.dtype == expected
    np.testing.assert_array_equal(found.numpy(), pixels)


def test_scales_are_spread_evenly_between_the_halves_and_the_doubles(tmp_path):
    """Log-uniform: as many windows are shrunk as are enlarged."""
    height = width = 128
    ramp = np.arange(width, dtype=np.uint8)[None].repeat(height, axis=0)
    raster.write_crop(tmp_path / "data" / "a.png", ramp[None])
    write_png(tmp_path / "label" / "a.png", np.zeros((height, width), np.uint8))
    crop = Crop("a.png", "a", Window(0, 0, height, width), 1, (1,), (1.0,), (1.0,), TRAIN)
    windows = TrainingWindows(tmp_path, [crop], replace(RECIPE, batch_size=100), (0.0,))
    (draws,) = WindowDraws(1, replace(RECIPE, batch_size=100), steps=1)
    spans = []
    for draw in draws:
        pixels = windows[draw][0][0].to(torch.int32)
        spans.append(max(int((pixels[0, -1] - pixels[0, 0]).abs()), int((pixels[-1, 0] - pixels[0, 0]).abs())) / 31)
    assert 0.45 < min(spans) < 0.6
    assert 1.7 < max(spans) < 2.1
    assert 30 < sum(span > 1 for span in spans) < 70


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_only_what_is_both_black_and_unlabelled_is_filled(dtype):
    pixels = np.array([[[0, 0], [0, 0], [0, 3]], [[5, 6], [0, 0], [7, 0]]], dtype)
    labels = np.array([[NODATA, 1, NODATA], [NODATA, NODATA, 0]], np.uint8)
    filled = augment.fill_unseen(pixels, labels, np.array([9.6, 4.2]))
    new = [9.6, 4.2] if dtype == "float32" else [10, 4]
    expected = np.array([[new, [0, 0], [0, 3]], [[5, 6], new, [7, 0]]], dtype)
    assert filled.dtype == pixels.dtype
    np.testing.assert_array_equal(filled, expected)
