"""Pictures for people: which values are black and white, whatever else is among them."""

import numpy as np
import pytest

from jingwei.raster.preview import limits, natural, stretched


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_the_first_and_last_percent_are_black_and_white(dtype):
    values = np.arange(1, 102).repeat(10).astype(dtype)
    low, high = limits(values)
    assert (low, high) == (np.percentile(values, 1), np.percentile(values, 99))
    shades = stretched(values, low, high)
    assert shades.dtype == np.uint8
    expected = np.clip((values.astype(float) - low) / (high - low) * 255, 0, 255)
    assert np.abs(shades - expected).max() <= 1
    assert np.all(np.diff(shades.astype(int)) >= 0)
    assert (shades.min(), shades.max()) == (0, 255)


def test_black_may_be_kept_for_no_data():
    shades = stretched(np.array([-5.0, 0.0, 0.5, 1.0, 9.0]), 0, 1, black=1)
    assert shades.tolist() == [1, 1, 128, 255, 255]


@pytest.mark.parametrize("values", [np.empty(0), np.full(9, 7.0), np.array([1e30, *np.ones(999)])])
def test_values_that_tell_nothing_are_shown_too(values):
    low, high = limits(values)
    assert low < high < 1e29
    assert np.isfinite(stretched(values, low, high).astype(float)).all()


def test_what_is_not_a_number_warns_nobody():
    with np.errstate(all="raise"):
        assert stretched(np.array([np.nan, 1.0]), 0, 2)[1] == stretched(np.array([1.0]), 0, 2)[0]


def test_a_picture_of_any_bands():
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 4000, (20, 30, 5)).astype(np.uint16)
    pixels[:5] = 0  # outside the flight: not judged by
    picture = natural(pixels)
    assert picture.shape == (20, 30, 3)
    inside = pixels[5:, :, :3].astype(float)
    low, high = np.percentile(inside, (1, 99))
    assert np.abs(picture[5:] - np.clip((inside - low) / (high - low) * 255, 0, 255)).max() <= 1
    assert not picture[:5].any()
    one = natural(pixels[..., :1])
    assert (one == one[..., :1]).all()
