"""Training windows: labels stay on their pixels, padding is never learned, draws don't depend on loader processes."""

import colorsys
import os
import shutil
import signal
import time
from dataclasses import replace
from math import cos, radians, sin

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import TRAIN, Crop, label_path
from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.crop_files import read_crop, write_crop
from jingwei.raster.png import write_png
from jingwei.training import augment, crop_reader, datasets
from jingwei.training.augment import (
    class_mix,
    coarse_dropout,
    random_blur,
    random_hue,
    random_light,
    random_turn,
    random_window,
    resize,
    rotate,
    rotated_side,
)
from jingwei.training.crop_reader import CropReader
from jingwei.training.datasets import CropCache, TrainingWindows, WholeCrops, training_loader, validation_loader
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.training.sampling import Draw, WindowDraws
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
FILL = (120.0, 110.0, 100.0)
RECIPE = replace(CROSS_ENTROPY, batch_size=4, crop_sizes=(32,), jitter=0.0)
ALL_ON = replace(
    RECIPE, balance=0.5, jitter=0.1, hue=0.1, rotate=15.0, blur=0.7, dropout=0.7, class_mix=0.7
)  # fmt: skip
TYPES = ["uint8", "uint16", "int16", "float32"]
types, bands_of = st.sampled_from(TYPES), st.sampled_from([1, 3, 4, 7])


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
    pure[[0, -1]] = pure[:, [0, -1]] = False  # a field may end there in nothing but mixtures
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


def test_a_window_shows_its_target_at_every_place_that_lies_in_the_crop():
    labels = np.zeros((30, 40), np.uint8)
    labels[4, 33] = 3
    numbers = np.arange(1200, dtype=np.uint16).reshape(30, 40, 1)
    corners = []
    for seed in range(1500):
        found, found_labels = random_window(numbers, labels, 10, 1.0, np.random.default_rng(seed), target=3)
        assert (found_labels == 3).sum() == 1
        corners.append(int(found[0, 0, 0]))
    corners, counts = np.unique(corners, return_counts=True)
    assert {divmod(int(corner), 40) for corner in corners} == {(row, col) for row in range(5) for col in range(24, 31)}
    assert counts.min() > 20  # of 1500 / 35 = 43
    assert counts.max() < 75


def test_all_pixels_of_the_target_are_as_likely():
    labels = np.full((9, 50), NODATA, np.uint8)
    places = [(0, 0), (0, 49), (4, 7), (4, 8), (4, 30), (8, 49)]
    for row, col in places:
        labels[row, col] = 2
    numbers = np.arange(450, dtype=np.uint16).reshape(9, 50, 1)
    found = [
        int(random_window(numbers, labels, 1, 1.0, np.random.default_rng(seed), target=2)[0].item())
        for seed in range(1200)
    ]
    values, counts = np.unique(found, return_counts=True)
    assert [divmod(int(value), 50) for value in values] == places
    assert counts.min() > 150
    assert counts.max() < 250


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 70), st.floats(1, 2), st.integers(0, 1000),
    st.sampled_from([1, 5, 100]),
)  # fmt: skip
@settings(max_examples=60)
def test_a_target_is_shown_at_every_size_of_crop_and_window(height, width, size, scale, seed, rarity):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.integers(0, rarity, (height, width)) == 0, 4, NODATA).astype(np.uint8)
    labels[rng.integers(height), rng.integers(width)] = 4
    pixels = np.zeros((height, width, 3), np.uint8)
    for array in (pixels, labels):
        array.flags.writeable = False
    if round(size / scale) <= size:  # a shrunk window may lose a single pixel; no other does
        found_labels = random_window(pixels, labels, size, scale, rng, target=4)[1]
        assert found_labels.shape == (size, size)
        assert (found_labels == 4).any()


def test_a_target_that_a_crop_lacks_is_no_target():
    pixels, labels = marked(100, 100)
    plain = random_window(pixels, labels, 40, 1.0, np.random.default_rng(5))
    for found, expected in zip(
        random_window(pixels, labels, 40, 1.0, np.random.default_rng(5), target=9), plain, strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("side", [511, 512, 513])
@pytest.mark.parametrize("crop_side", [511, 512, 513, 1024])
def test_windows_about_as_large_as_their_crops(side, crop_side):
    pixels = np.ones((crop_side, crop_side, 1), np.uint8)
    labels = np.zeros((crop_side, crop_side), np.uint8)
    labels[-1, -1] = 1
    found, found_labels = random_window(pixels, labels, side, 1.0, np.random.default_rng(0), target=1)
    assert found.shape == (side, side, 1)
    seen = min(side, crop_side) ** 2
    assert (found_labels != NODATA).sum() == found.sum() == seen
    assert (found_labels == 1).sum() == 1


@pytest.mark.parametrize("bands", [1, 3, 4, 7])
@pytest.mark.parametrize("dtype", TYPES)
def test_turns_are_numpys_for_all_bands_and_types(bands, dtype):
    pixels = np.random.default_rng(0).integers(0, 250, (5, 5, bands)).astype(dtype)
    labels = np.arange(25, dtype=np.uint8).reshape(5, 5)
    for seed in range(40):
        found, found_labels = random_turn(pixels, labels, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        turns, mirrored = rng.integers(4), rng.integers(2)
        for array, turned in ((pixels, found), (labels, found_labels)):
            expected = np.rot90(array, turns)
            np.testing.assert_array_equal(turned, expected[:, ::-1] if mirrored else expected)
            assert turned.dtype == array.dtype


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


# --- rotation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (3, "uint16"), (4, "int16"), (7, "float32")])
@pytest.mark.parametrize("side", [8, 9])
def test_quarter_turns_are_exact_and_counter_clockwise(bands, dtype, side):
    pixels = np.random.default_rng(0).integers(0, 250, (side, side, bands)).astype(dtype)
    labels = pixels[..., 0].astype(np.uint8)
    for turns in range(-2, 5):
        found, found_labels = rotate(pixels, labels, side, 90.0 * turns)
        np.testing.assert_allclose(found, np.rot90(pixels, turns), atol=1e-3 if dtype == "float32" else 0)
        np.testing.assert_array_equal(found_labels, np.rot90(labels, turns))
        assert found.dtype == dtype
    inner, inner_labels = rotate(pixels, labels, side - 4, 0.0)
    np.testing.assert_array_equal(inner, pixels[2:-2, 2:-2])
    np.testing.assert_array_equal(inner_labels, labels[2:-2, 2:-2])


@given(st.sampled_from([1, 2, 31, 64, 511, 512, 513]), st.floats(-180, 180), bands_of, types)
@settings(max_examples=40)
def test_a_rotated_window_lacks_nothing_at_its_corners(size, degrees, bands, dtype):
    side = rotated_side(size, degrees)
    assert size <= side <= 1.4143 * size + 1
    found, labels = rotate(np.full((side, side, bands), 100, dtype), np.ones((side, side), np.uint8), size, degrees)
    assert found.shape == (size, size, bands)
    assert found.dtype == dtype
    assert (labels == 1).all()
    assert (found >= 93).all()  # OpenCV counts in 1/32 px, so the outermost may touch what is beyond the rim
    if size >= 31 and abs(abs(degrees) - 90) > 2 and 2 < abs(degrees) < 178:
        smaller = side - 4
        found, labels = rotate(
            np.full((smaller, smaller, bands), 100, dtype), np.ones((smaller, smaller), np.uint8), size, degrees
        )
        assert (labels == NODATA).any()
        assert set(np.unique(labels)) == {1, NODATA}
        assert found.min() == 0


@given(st.floats(-180, 180), st.floats(-180, 180), st.floats(-10, 10), bands_of, types, st.integers(40, 90))
@settings(max_examples=80)
def test_a_rotated_edge_lies_in_pixels_and_labels_within_half_a_pixel_of_where_it_should(
    degrees, direction, distance, bands, dtype, size
):
    side = rotated_side(size, degrees)
    rows, cols = np.mgrid[:side, :side] - (side - 1) / 2
    # Counter-clockwise as seen on the screen, where rows grow downwards.
    beyond = cols * cos(radians(direction)) - rows * sin(radians(direction)) - distance
    labels = (beyond > 0).astype(np.uint8)
    ramp = np.repeat(np.clip(100 + 50 * beyond, 0, 200)[..., None], bands, axis=2).astype(dtype)
    found, found_labels = rotate(ramp, labels, size, degrees)
    rows, cols = np.mgrid[:size, :size] - (size - 1) / 2
    direction += degrees
    beyond = cols * cos(radians(direction)) - rows * sin(radians(direction)) - distance
    assert (found_labels[beyond > 0.75] == 1).all()  # half the diagonal of a pixel, and OpenCV's rounding
    assert (found_labels[beyond < -0.75] == 0).all()
    near = np.abs(beyond) < 1
    # The ramp tells the distance from the edge: 50 a pixel.
    off = (found[..., -1].astype(float) - 100) / 50 - beyond
    assert np.abs(off[near]).max(initial=0) < 0.15


def test_a_rotated_disc_has_the_same_middle_in_pixels_and_labels():
    """At some angles the rounding of labels leans to a side; over all of them it leans to none."""
    label_slips = []
    for degrees in range(-180, 180, 7):
        side = rotated_side(80, degrees)
        rows, cols = np.mgrid[:side, :side] - (side - 1) / 2
        distance = np.hypot(cols - 9.3, rows + 4.8)
        soft = np.clip(20.9 - distance, 0, 1).astype(np.float32)[..., None]
        found, labels = rotate(soft, (distance < 20.4).astype(np.uint8), 80, degrees)
        turned = np.exp(1j * radians(degrees)) * (9.3 + 4.8j)  # rows grow downwards
        expected = np.array([39.5 - turned.imag, 39.5 + turned.real])
        masses = found[..., 0].astype(float), labels
        middles = [[(mass * axis).sum() / mass.sum() for axis in np.mgrid[:80, :80]] for mass in masses]
        np.testing.assert_allclose(middles[0], expected, atol=0.03)
        label_slips.append(middles[1] - expected)
    assert np.abs(label_slips).max() < 0.3
    assert np.abs(np.mean(label_slips, axis=0)).max() < 0.05


# --- colour and blur -------------------------------------------------------------------------------------------------


def all_colours() -> np.ndarray:
    """Colours all over 8-bit RGB and every grey, in one row: OpenCV counts long rows in another way than short."""
    steps = np.append(np.arange(0, 256, 15), [1, 2, 127, 254]).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    greys = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    pixels = np.concatenate([colours, greys], axis=1)
    pixels.flags.writeable = False
    return pixels


def test_a_hue_of_no_strength_changes_nothing():
    np.testing.assert_array_equal(random_hue(all_colours(), 0.0, np.random.default_rng(0)), all_colours())


@given(st.floats(0, 0.5), st.integers(0, 1000))
@settings(max_examples=40)
def test_hues_turn_by_one_angle_and_values_and_greys_stay(strength, seed):
    pixels = all_colours()
    found = random_hue(pixels, strength, np.random.default_rng(seed))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found.max(axis=2), pixels.max(axis=2))
    np.testing.assert_array_equal(found[:, -256:], pixels[:, -256:])
    # Colours of much saturation and value, whose hue survives the rounding.
    strong = [i for i in range(0, pixels.shape[1] - 256, 7) if pixels[0, i].max() > 150 and np.ptp(pixels[0, i]) > 100]
    before, after = (np.array([colorsys.rgb_to_hsv(*(array[0, i] / 255)) for i in strong]) for array in (pixels, found))
    kept = after[:, 1] > 0.3
    turns = (after[:, 0] - before[:, 0])[kept]
    if len(turns):
        around = np.angle(np.exp(2j * np.pi * turns).mean()) / (2 * np.pi)
        assert abs(around) <= strength + 0.005
        spread = np.abs((turns - around + 0.5) % 1 - 0.5)
        assert spread.max() < 0.02
    gains = after[:, 1] / before[:, 1]
    free = after[:, 1] < 0.98
    assert (np.abs(gains - 1)[free] <= 2 * strength + 0.05).all()
    if free.any():
        assert np.ptp(gains[free]) < 0.08


def test_hues_turn_both_ways_and_saturation_rises_and_falls():
    red = np.full((1, 1, 3), (200, 100, 100), np.uint8)
    found = np.array([random_hue(red, 0.1, np.random.default_rng(seed))[0, 0] for seed in range(300)])
    hues = np.array([(colorsys.rgb_to_hsv(*colour)[0] + 0.5) % 1 - 0.5 for colour in found / 255])
    assert -0.105 < hues.min() < -0.09
    assert 0.09 < hues.max() < 0.105
    assert abs(np.median(hues)) < 0.02
    saturation = 1 - found.min(axis=1) / 200
    assert 0.39 < saturation.min() < 0.42
    assert 0.58 < saturation.max() < 0.61


@given(st.sampled_from([1, 2, 31, 64]), bands_of, types, st.integers(0, 1000))
@settings(max_examples=40)
def test_blur_keeps_size_type_and_brightness_of_every_band(size, bands, dtype, seed):
    pixels = np.random.default_rng(seed).integers(0, 250, (size, size, bands)).astype(dtype)
    pixels.flags.writeable = False
    blurred = random_blur(pixels, np.random.default_rng(seed))
    assert blurred.shape == pixels.shape
    assert blurred.dtype == dtype
    if size >= 31:
        means, blurred_means = (array.mean(axis=(0, 1), dtype=float) for array in (pixels, blurred))
        np.testing.assert_allclose(blurred_means, means, atol=3)
        assert (blurred.std(axis=(0, 1)) <= pixels.std(axis=(0, 1))).all()


def test_blurs_are_gaussians_of_0_3_to_1_2_px():
    point = np.zeros((21, 21, 5), np.float32)
    point[10, 10] = 1000
    offsets = np.arange(21) - 10
    sigmas = []
    for seed in range(200):
        blurred = random_blur(point, np.random.default_rng(seed))
        np.testing.assert_allclose(blurred, np.rot90(blurred), atol=1e-3)
        np.testing.assert_array_equal(blurred[..., 4], blurred[..., 0])
        profile = blurred[..., 4].sum(axis=0) / 1000
        assert profile.sum() == pytest.approx(1, abs=1e-4)
        sigmas.append((profile * offsets**2).sum() ** 0.5)
    assert 0.05 < min(sigmas) < 0.4  # the narrowest lie between the pixels
    assert 1.1 < max(sigmas) < 1.22
    assert 0.6 < np.mean(sigmas) < 0.85


# --- what is hidden and pasted ---------------------------------------------------------------------------------------


@given(st.sampled_from([1, 3, 15, 31, 64, 511]), bands_of, types, st.integers(0, 1000))
@settings(max_examples=60)
def test_dropout_hides_rectangles_under_the_fill(size, bands, dtype, seed):
    pixels = np.ones((size, size, bands), dtype)
    pixels.flags.writeable = False
    fill = 100.6 + np.arange(bands)
    found = coarse_dropout(pixels, fill, np.random.default_rng(seed))
    assert found.dtype == dtype
    assert (pixels == 1).all()
    hidden = found[..., 0] != 1
    expected = fill.astype("float32") if dtype == "float32" else np.round(fill).astype(dtype)
    assert (found[hidden] == expected).all()
    assert (found[~hidden] == 1).all()
    smallest, largest = -(-size // 16), max(-(-size // 16), size // 4)
    assert smallest**2 <= hidden.sum() <= 6 * largest**2


def test_one_to_six_rectangles_of_a_sixteenth_to_a_quarter_anywhere():
    sides, counts, ever = [], set(), np.zeros((64, 64), int)
    for seed in range(900):
        found = coarse_dropout(np.zeros((64, 64, 1), np.uint8), np.ones(1), np.random.default_rng(seed))[..., 0]
        ever += found
        number, _, boxes, _ = cv2.connectedComponentsWithStats(found, connectivity=4)
        counts.add(number - 1)
        if np.random.default_rng(seed).integers(1, 7) == 1:  # of a single one, the sides can be told
            *_, width, height, area = boxes[1]
            assert area == width * height
            sides += [int(width), int(height)]
    assert counts == {1, 2, 3, 4, 5, 6}
    assert set(sides) == set(range(4, 17))
    assert (ever > 0).all()


def noise(size: int, bands: int, dtype: str, seed: int, classes=(0, 1, 2, 3, 4)) -> tuple[np.ndarray, np.ndarray]:
    """A window of random classes and NODATA, that can't be written to."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 250, (size, size, bands)).astype(dtype)
    labels = rng.choice(np.array([*classes, NODATA], np.uint8), (size, size))
    for array in (pixels, labels):
        array.flags.writeable = False
    return pixels, labels


@given(
    st.sampled_from([1, 2, 31]), bands_of, types, st.integers(0, 1000),
    st.sets(st.sampled_from([0, 1, 2, 3, 4, 200, 254]), max_size=7),
)  # fmt: skip
@settings(max_examples=80)
def test_half_the_classes_of_the_other_window_are_pasted_with_their_labels(size, bands, dtype, seed, classes):
    here, there = noise(size, bands, dtype, seed), noise(size, bands, dtype, seed + 1, classes)
    pixels, labels = class_mix(*here, *there, np.random.default_rng(seed))
    assert pixels.dtype == dtype
    assert labels.dtype == np.uint8
    present = set(np.unique(there[1]).tolist()) - {NODATA}
    # A class was pasted where all its pixels and labels are there; any other nowhere changed a thing.
    pasted = np.zeros((size, size), bool)
    count = 0
    for land_class in present:
        at = there[1] == land_class
        if (labels[at] == land_class).all() and (pixels[at] == there[0][at]).all():
            count += 1
            pasted |= at
    np.testing.assert_array_equal(labels[~pasted], here[1][~pasted])
    np.testing.assert_array_equal(pixels[~pasted], here[0][~pasted])
    if size == 31:  # by chance, a pixel or two are equal anyway
        assert count == -(-len(present) // 2)


def test_every_class_is_pasted_as_often():
    here = noise(31, 3, "uint8", 0, classes=(9,))
    there = noise(31, 3, "uint8", 1, classes=(0, 1, 2))
    counts = np.zeros(3)
    for seed in range(300):
        _, labels = class_mix(*here, *there, np.random.default_rng(seed))
        present = np.isin([0, 1, 2], labels)
        assert present.sum() == 2
        counts += present
    np.testing.assert_allclose(counts, 200, atol=30)


# --- datasets --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut_county(county, tmp_path_factory):
    """(training folder, crops)"""
    root = tmp_path_factory.mktemp("cut")
    settings = CutSettings(64, 64, val_fraction=0, keep_background=1)
    return root / "train", cut_train(Workspace(root), Workspace(county).train_scenes(), settings, JINGWEI, 2)


def test_any_number_of_loader_processes_gives_the_same_batches(cut_county):
    folder, crops = cut_county
    for recipe in (RECIPE, replace(ALL_ON, crop_sizes=(32, 48), accumulate=2)):
        epochs = {}
        for workers in (0, 1, 2):
            loader = training_loader(folder, crops, recipe, FILL, 3, workers)
            for loader.batch_sampler.epoch in (0, 1):
                epochs[workers, loader.batch_sampler.epoch] = list(loader)
        for epoch in (0, 1):
            assert len(epochs[0, epoch]) == 3 * recipe.accumulate
            for workers in (1, 2):
                for alone, shared in zip(epochs[0, epoch], epochs[workers, epoch], strict=True):
                    assert torch.equal(alone[0], shared[0])
                    assert torch.equal(alone[1], shared[1])
        assert not torch.equal(epochs[0, 0][0][0], epochs[0, 1][0][0])


def test_two_training_processes_share_the_windows_of_one(cut_county):
    one = list(training_loader(*cut_county, ALL_ON, FILL, 2, 0))
    ranks = [list(training_loader(*cut_county, ALL_ON, FILL, 2, 0, rank, 2)) for rank in (0, 1)]
    for whole, first, second in zip(one, *ranks, strict=True):
        for array, *parts in zip(whole, first, second, strict=True):
            assert torch.equal(array, torch.stack(parts, dim=1).flatten(0, 1))


def test_loader_processes_leave_stopping_to_training():
    class Probe(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)  # from anybody but training: not for it
            time.sleep(0.2)
            return torch.tensor([os.getpid(), os.getppid()])

    usual = signal.signal(signal.SIGTERM, lambda *_: None)  # as training notes it
    try:
        (found,) = torch.utils.data.DataLoader(Probe(), **datasets._loading(1))
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert found[0, 0] != os.getpid() == found[0, 1]


class InMemory:
    """A cache that holds one crop, whatever is asked for."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray):
        self.arrays = pixels, labels
        for array in self.arrays:
            array.flags.writeable = False

    def read(self, crop):
        return self.arrays


def windows_of(recipe, pixels: np.ndarray, labels: np.ndarray, fill: float = 100.0) -> TrainingWindows:
    """The training windows of one crop in memory. Its statistics are made up."""
    bands = pixels.shape[2]
    crop = Crop("a.png", "a", Window(0, 0, *labels.shape), 1, (1,), (100.0,) * bands, (30.0,) * bands, TRAIN)
    windows = TrainingWindows(None, [crop], recipe, (fill,) * bands)
    windows.cache = InMemory(pixels, labels)
    return windows


@given(
    st.sampled_from([(1, 1), (31, 200), (200, 31), (90, 90), (511, 513)]), st.sampled_from([1, 31, 64]),
    st.sampled_from(["fields", "one class", "nothing"]), bands_of, types, st.integers(0, 1000),
    st.sampled_from([0.0, 0.1]), st.integers(-1, 5),
)  # fmt: skip
@settings(max_examples=80)
def test_every_window_can_go_through_everything(shape, size, content, bands, dtype, seed, jitter, target):
    pixels, labels = marked(*shape, bands, dtype, seed)
    if content != "fields":
        labels[:] = 2 if content == "one class" else NODATA
    windows = windows_of(replace(ALL_ON, jitter=jitter), pixels, labels)
    kept = pixels.copy(), labels.copy()
    draw = Draw(0, size, target, (seed, 0, 0))
    found, found_labels = windows[draw]
    assert found.shape == (bands, size, size)
    assert found_labels.shape == (size, size)
    in_torch = {"uint8": torch.uint8, "uint16": torch.int32, "int16": torch.int16, "float32": torch.float32}
    assert found.dtype == (torch.float32 if jitter else in_torch[dtype])
    assert found_labels.dtype == torch.uint8
    assert torch.isfinite(found.float()).all()
    assert set(found_labels.unique().tolist()) <= {*np.unique(labels).tolist(), NODATA}
    again = windows[draw]
    assert torch.equal(again[0], found)
    assert torch.equal(again[1], found_labels)
    found.zero_()
    found_labels.zero_()
    for array, before in zip(windows.cache.arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_a_whole_crop_as_it_stands_is_handed_out_as_a_copy():
    """Neither turned nor scaled: nothing but the hand-out itself stands between torch and the kept crop."""
    pixels, labels = np.full((32, 32, 1), 7, np.uint8), np.ones((32, 32), np.uint8)
    windows = windows_of(replace(RECIPE, min_scale=1.0, max_scale=1.0), pixels, labels)
    for place in range(30):
        for tensor in windows[Draw(0, 32, -1, (0, 0, place))]:
            tensor.zero_()
    assert (pixels == 7).all()
    assert (labels == 1).all()


def test_an_augmentation_that_is_off_draws_nothing():
    pixels, labels = marked(200, 200)
    found = windows_of(replace(RECIPE, jitter=0.1), pixels, labels)
    for place in range(20):
        rng = np.random.default_rng((0, 0, place))
        scale = np.exp(rng.uniform(np.log(0.5), np.log(2)))
        window = random_turn(*random_window(pixels, labels, 32, scale, rng), rng)
        lit = random_light(window[0], np.full(3, 100.0), np.full(3, 30.0), 0.1, rng)
        in_torch = found[Draw(0, 32, -1, (0, 0, place))]
        np.testing.assert_array_equal(in_torch[0].numpy(), lit.transpose(2, 0, 1))
        np.testing.assert_array_equal(in_torch[1].numpy(), window[1])


def test_colours_blur_and_dropout_come_after_the_place_is_drawn():
    pixels = np.random.default_rng(0).integers(0, 250, (200, 200, 3), dtype=np.uint8)
    _, labels = marked(200, 200)
    draws = [Draw(0, 32, -1, (0, 0, place)) for place in range(20)]
    plain = windows_of(RECIPE, pixels, labels)
    for more in ({"hue": 0.1}, {"blur": 1.0}, {"dropout": 1.0}, {"jitter": 0.1}):
        changed = windows_of(replace(RECIPE, **more), pixels, labels)
        for draw in draws:
            assert torch.equal(changed[draw][1], plain[draw][1])
            assert not torch.equal(changed[draw][0].float(), plain[draw][0].float())
    for more in ({"rotate": 15.0}, {"class_mix": 1.0}):
        changed = windows_of(replace(RECIPE, **more), pixels, labels)
        assert sum(not torch.equal(changed[draw][1], plain[draw][1]) for draw in draws) > 15


@pytest.mark.parametrize("name", ["blur", "dropout", "class_mix"])
def test_shares_of_windows_are_kept_to(name):
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 250, (64, 64, 3), dtype=np.uint8)
    labels = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) % 5, np.ones((16, 16), np.uint8))
    plain, some = windows_of(RECIPE, pixels, labels), windows_of(replace(RECIPE, **{name: 0.3}), pixels, labels)
    draws = [Draw(0, 32, -1, (0, 0, place)) for place in range(400)]
    changed = [not all(map(torch.equal, plain[draw], some[draw])) for draw in draws]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (4, "uint8"), (3, "uint16"), (3, "float32")])
def test_hues_are_left_alone_where_there_are_none(bands, dtype):
    pixels, labels = marked(64, 64, bands, dtype)
    draw = Draw(0, 32, -1, (0, 0, 0))
    plain, hued = windows_of(RECIPE, pixels, labels)[draw], windows_of(replace(RECIPE, hue=0.2), pixels, labels)[draw]
    assert all(map(torch.equal, plain, hued))


def test_rotation_shows_the_target_and_keeps_it_on_its_pixels():
    labels = np.zeros((200, 200), np.uint8)
    labels[60:63, 120:123] = 3
    pixels = (10 + 60 * labels)[..., None].repeat(3, axis=2)
    windows = windows_of(replace(RECIPE, rotate=45.0, min_scale=1.0, max_scale=2.0), pixels, labels)
    rim = np.ones((32, 32), bool)
    rim[4:-4, 4:-4] = False
    shown, slips = 0, []
    for place in range(200):
        found, found_labels = windows[Draw(0, 32, 3, (0, 0, place))]
        target = (found_labels == 3).numpy()
        shown += bool(target.any())
        if target.any() and not target[rim].any():
            bright = found[0].numpy().astype(float) - 10
            for axis in np.mgrid[:32, :32]:
                slips.append((bright * axis).sum() / bright.sum() - axis[target].mean())
    assert shown > 195
    # A label is rounded to its nearest pixel twice, by scaling and by rotation.
    assert np.abs(slips).max() < 1
    assert np.abs(slips).mean() < 0.25
    assert abs(np.mean(slips)) < 0.05


def test_what_a_rotation_leaves_empty_is_filled():
    pixels, labels = np.full((32, 32, 3), 200, np.uint8), np.ones((32, 32), np.uint8)
    windows = windows_of(replace(RECIPE, rotate=45.0, min_scale=1.0, max_scale=1.0), pixels, labels, fill=100.0)
    for place in range(20):
        found, found_labels = windows[Draw(0, 32, -1, (0, 0, place))]
        empty = (found_labels == NODATA).numpy()
        inside, outside = (
            cv2.erode(part.astype(np.uint8), np.ones((3, 3)), borderType=cv2.BORDER_CONSTANT, borderValue=0) == 1
            for part in (~empty, empty)
        )
        assert inside.any()
        assert (found[:, torch.from_numpy(inside)] == 200).all()
        assert (found[:, torch.from_numpy(outside)] == 100).all()


def test_what_dropout_hides_is_the_fill_in_any_light():
    """The mean that the network subtracts: what is hidden is 0 to it, whatever the light."""
    pixels = np.random.default_rng(0).integers(0, 250, (64, 64, 3), dtype=np.uint8)
    windows = windows_of(replace(RECIPE, jitter=0.2, dropout=1.0), pixels, np.zeros((64, 64), np.uint8), fill=71.37)
    for place in range(20):
        found, _ = windows[Draw(0, 32, -1, (0, 0, place))]
        assert (found == np.float32(71.37)).all(dim=0).sum() >= 4


def test_the_pasted_window_is_of_any_crop_and_has_no_target(monkeypatch):
    pixels, labels = marked(64, 64)
    windows = windows_of(replace(RECIPE, class_mix=1.0), pixels, labels)
    windows.crops = windows.crops * 3
    made, original = [], windows._window
    monkeypatch.setattr(windows, "_window", lambda *asked: made.append(asked[:3]) or original(*asked))
    for place in range(30):
        windows[Draw(1, 32, 2, (0, 0, place))]
    assert made[::2] == [(1, 32, 2)] * 30
    assert set(made[1::2]) == {(0, 32, -1), (1, 32, -1), (2, 32, -1)}


def test_a_pasted_window_has_gone_through_the_same_chain():
    """Every pixel still tells its label, wherever it came from; and another light shines on it."""
    pixels, labels = marked(160, 160)
    windows = windows_of(replace(RECIPE, class_mix=1.0, min_scale=1.0, max_scale=1.0), pixels, labels)
    for place in range(20):
        found, found_labels = windows[Draw(0, 64, -1, (0, 0, place))]
        known = found_labels != NODATA
        assert torch.equal(found[0][known], 20 * found_labels[known] + 10)
    lit = windows_of(
        replace(RECIPE, class_mix=1.0, jitter=0.3, min_scale=1.0, max_scale=1.0), np.full_like(pixels, 99), labels
    )
    lights = [len(lit[Draw(0, 64, -1, (0, 0, place))][0][0].unique()) for place in range(20)]
    assert set(lights) <= {1, 2}
    assert lights.count(2) > 15


# --- cache -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(cut_county, monkeypatch):
    """(folder, crops, names of the files that were read)"""
    read = []
    original = read_crop
    monkeypatch.setattr(crop_reader, "read_crop", lambda path: read.append(path) or original(path))
    return *cut_county, read


def test_a_crop_is_decoded_once_and_cannot_be_written_to(counted):
    folder, crops, read = counted
    cache = CropCache(CropReader(folder, crops))
    for _ in range(3):
        for crop in crops:
            pixels, labels = cache.read(crop)
            np.testing.assert_array_equal(pixels, read_crop(folder / "data" / crop.name))
            assert labels.shape == pixels.shape[:2]
            for array in (pixels, labels):
                with pytest.raises(ValueError, match="read-only"):
                    array[:] = 0
    decoded = [path for path in read if path.parent.name == "label"]
    assert len(decoded) == len(set(decoded)) == len(crops)


def test_the_cache_keeps_what_fits_first(counted):
    folder, crops, read = counted
    a, b, c = [crop for crop in crops if crop.window.height == crop.window.width == 64][:3]
    cache = CropCache(CropReader(folder, [a, b, c]), limit=2 * 64 * 64 * 4)
    for crop in (a, b, a, c, a):
        cache.read(crop)
        assert cache.used <= cache.limit
        assert cache.used == sum(array.nbytes for arrays in cache._crops.values() for array in arrays)
    assert len(read) == 6  # pixels and labels of a, b and c
    cache.read(b)
    assert len(read) == 6
    cache.read(c)
    assert len(read) == 8
    assert list(cache._crops) == [a.name, b.name]


def test_a_crop_beyond_the_limit_is_read_every_time(counted):
    folder, crops, read = counted
    cache = CropCache(CropReader(folder, crops[:1]), limit=100)
    for _ in range(2):
        pixels, _ = cache.read(crops[0])
        assert pixels.nbytes > 100
    assert len(read) == 4
    assert cache.used == 0


def test_training_reads_through_the_cache_and_validation_past_it(counted):
    folder, crops, read = counted
    loader = training_loader(folder, crops, ALL_ON, FILL, 2 * len(crops), 0)
    for loader.batch_sampler.epoch in (0, 1):
        list(loader)
    assert len(read) == 2 * len(crops) + 1  # the first, whose type all others must have, before its turn
    read.clear()
    for _ in range(2):
        list(validation_loader(folder, crops, FILL, 0))
    assert len(read) == 4 * len(crops)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_crop_is_the_users_mistake_wherever_it_is_read(cut_county, tmp_path, workers):
    """A loader process hands the error on as it is: one line that names the file, no traceback."""
    folder, crops = tmp_path / "train", cut_county[1]
    shutil.copytree(cut_county[0], folder)
    broken = label_path(folder, crops[0])
    broken.write_bytes(broken.read_bytes()[:60])
    training = training_loader(folder, crops[:1], RECIPE, FILL, 1, workers)
    for loader in (training, validation_loader(folder, crops, FILL, workers)):
        with pytest.raises(InputError) as caught:
            list(loader)
        assert type(caught.value) is InputError
        assert str(caught.value).startswith(f"{broken}: ")
        assert "\n" not in str(caught.value)


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
        expected = read_crop(folder / "data" / crop.name)
        unseen = (labels[0].numpy() == NODATA) & (expected == 0).all(axis=2)
        expected[unseen] = FILL
        np.testing.assert_array_equal(pixels[0].numpy(), expected.transpose(2, 0, 1))
        assert labels.shape[1:] == expected.shape[:2]
        assert int((labels != NODATA).sum()) == crop.valid


@pytest.mark.parametrize(("dtype", "expected"), [("uint16", torch.int32), ("int16", torch.int16),
                                                 ("float32", torch.float32)])  # fmt: skip
def test_other_types_reach_torch_with_their_values(dtype, expected, tmp_path):
    pixels = np.array([0, 1, 300, 32767 if dtype != "uint16" else 65535]).astype(dtype).reshape(1, 2, 2)
    write_crop(tmp_path / "data" / "a.tif", pixels)
    write_png(tmp_path / "label" / "a.png", np.zeros((2, 2), np.uint8))
    crop = Crop("a.tif", "a", Window(0, 0, 2, 2), 4, (4,), (1.0,), (1.0,), TRAIN)
    found, _ = WholeCrops(tmp_path, [crop], (0.0,) * 9)[0]
    assert found.dtype == expected
    np.testing.assert_array_equal(found.numpy(), pixels)


def test_scales_are_spread_evenly_between_the_halves_and_the_doubles(tmp_path):
    """Log-uniform: as many windows are shrunk as are enlarged."""
    height = width = 128
    ramp = np.arange(width, dtype=np.uint8)[None].repeat(height, axis=0)
    write_crop(tmp_path / "data" / "a.png", ramp[None])
    write_png(tmp_path / "label" / "a.png", np.zeros((height, width), np.uint8))
    pixels = height * width
    crop = Crop("a.png", "a", Window(0, 0, height, width), pixels, (pixels,), (1.0,), (1.0,), TRAIN)
    windows = TrainingWindows(tmp_path, [crop], replace(RECIPE, batch_size=100), (0.0,))
    (draws,) = WindowDraws([crop], replace(RECIPE, batch_size=100), steps=1)
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
    pixels.flags.writeable = False  # as the crops that are kept
    filled = augment.fill_unseen(pixels, labels, np.array([9.6, 4.2]))
    new = [9.6, 4.2] if dtype == "float32" else [10, 4]
    expected = np.array([[new, [0, 0], [0, 3]], [[5, 6], new, [7, 0]]], dtype)
    assert filled.dtype == pixels.dtype
    np.testing.assert_array_equal(filled, expected)
