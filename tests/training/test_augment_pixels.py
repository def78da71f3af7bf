"""Augmentation within a window: quarter turns, rotation, hues, blur, dropout, pasted classes."""

import colorsys
from math import cos, radians, sin

import cv2
import numpy as np
import pytest
from augment_pictures import bands_of, types
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.legend import NODATA
from jingwei.training.augment import (
    class_mix,
    coarse_dropout,
    random_blur,
    random_hue,
    rotate,
    rotated_side,
)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


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
