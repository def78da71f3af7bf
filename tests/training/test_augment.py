"""Training windows: labels stay on their pixels, padding is never learned, draws don't depend on loader processes."""

import cv2
import numpy as np
import pytest
from augment_pictures import TYPES, marked
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.legend import NODATA
from jingwei.training.augment import (
    random_light,
    random_turn,
    random_window,
    resize,
)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


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


@given(st.floats(0.01, 0.9), st.integers(0, 1000), st.sampled_from(["uint16", "int16", "float32"]))
@settings(max_examples=40)
def test_another_light_is_a_gain_and_an_offset_per_band_within_its_strength(strength, seed, dtype):
    pixels = np.random.default_rng(seed).normal(2000, 100, (9, 9, 5)).astype(dtype)
    mean, std = np.full(5, 2000.0), np.full(5, 100.0)
    lit = random_light(pixels, mean, std, strength, np.random.default_rng(seed))
    assert lit.dtype == np.float32
    assert lit.shape == pixels.shape
    reach = 1.5 * strength
    for band in range(5):
        before, after = (a[..., band].astype(float).ravel() for a in (pixels, lit))
        gain, offset = np.polyfit(before - 2000, after - 2000, 1)
        np.testing.assert_allclose(gain * (before - 2000) + offset, after - 2000, atol=0.1)
        assert abs(gain - 1) <= reach + 1e-3
        assert abs(offset) <= 100 * reach + 0.1


@given(st.floats(0.01, 0.9), st.integers(0, 1000), st.sampled_from([1, 3, 4, 7]))
@settings(max_examples=40)
def test_the_light_of_bytes_is_that_of_floats_rounded_and_cut_off_at_black_and_white(strength, seed, bands):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(bands, axis=2)
    mean, std = np.linspace(60, 160, bands), np.linspace(20, 50, bands)
    lit = random_light(pixels, mean, std, strength, np.random.default_rng(seed))
    exact = random_light(pixels.astype(np.float32), mean, std, strength, np.random.default_rng(seed))
    assert lit.dtype == np.uint8
    assert lit.shape == pixels.shape
    assert np.abs(lit - exact.clip(0, 255)).max() < 0.51


def test_the_light_changes_in_all_bands_together_and_in_each_alone():
    pixels = np.zeros((1, 1, 3), np.float32)
    offsets = np.array([
        random_light(pixels, np.zeros(3), np.ones(3), 0.5, np.random.default_rng(seed))[0, 0] for seed in range(300)
    ])  # fmt: skip
    correlation = np.corrcoef(offsets.T)
    assert 0.5 < correlation[0, 1] < 0.95
    assert abs(offsets.mean()) < 0.05
