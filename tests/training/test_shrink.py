"""Shrunk windows: the mean of the area that each new pixel covers."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.training.shrink import shrink


def means(values: np.ndarray, size: int) -> np.ndarray:
    """`size` means of equal shares of some values (rows x more), by the integral's definition."""
    edges = np.linspace(0, len(values), size + 1)
    summed = np.concatenate([np.zeros((1, *values.shape[1:])), values.cumsum(axis=0)])
    whole = np.minimum(edges.astype(int), len(values) - 1)
    integral = summed[whole] + (edges - whole)[:, None] * values[whole]
    return np.diff(integral, axis=0) * size / len(values)


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 2, 3, 4]), st.integers(0, 1000))
@settings(max_examples=80)
def test_every_new_pixel_is_the_mean_of_what_it_covers(size, more, bands, seed):
    side = size + more
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, bands), dtype=np.uint8)
    pixels.flags.writeable = False
    found = shrink(pixels, size)
    assert found.shape == (size, size, bands)
    assert found.dtype == np.uint8
    for band in range(bands):
        rows = means(pixels[..., band].astype(float), size)
        expected = means(rows.T, size).T
        assert np.abs(found[..., band] - expected).max() < 1.01  # rounded twice


@pytest.mark.parametrize("side", [512, 513, 700, 1023, 1024, 1300])
def test_it_is_opencvs_mean_over_areas_within_its_rounding(side):
    crop = np.random.default_rng(side).integers(0, 256, (1400, 1400, 3), dtype=np.uint8)
    part = crop[50 : 50 + side, 70 : 70 + side]  # of a larger crop, as windows are
    difference = shrink(part, 512).astype(int) - cv2.resize(part, (512, 512), interpolation=cv2.INTER_AREA)
    assert np.abs(difference).max() <= 1
    assert abs(difference.mean()) < 0.15  # OpenCV sends all halves up


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_what_is_even_stays_as_it_is(value):
    assert (shrink(np.full((77, 77, 3), value, np.uint8), 53) == value).all()


def test_pictures_become_neither_brighter_nor_darker():
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    for size in (1023, 700, 512):
        assert shrink(pixels, size).mean() == pytest.approx(pixels.mean(), abs=0.01)
