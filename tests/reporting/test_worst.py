"""Places to look at: the largest errors and the least sure regions, as the whole array has them."""

import numpy as np
import pytest
from drawn_layers import content, parts_of
from skimage.measure import label as joined

from jingwei.legend import NODATA
from jingwei.reporting import worst
from jingwei.reporting.pyramid import LABELS, PERCENT, write_layer
from jingwei.reporting.worst import largest_errors, least_sure


def layer_of(pixels: np.ndarray, kind: str, folder):
    return write_layer(folder, parts_of(pixels, 256), *pixels.shape, kind)


def test_the_largest_errors_are_those_of_the_whole_array(tmp_path):
    guess, truth = content(LABELS, 300, 420, seed=1), content(LABELS, 300, 420, seed=2)
    places = largest_errors(layer_of(guess, LABELS, tmp_path / "map"), layer_of(truth, LABELS, tmp_path / "truth"))
    regions = []
    for known in range(4):
        for guessed in (0, 1, 2, 3, NODATA):
            if known != guessed:
                numbered = joined((truth == known) & (guess == guessed), connectivity=1)
                regions += [(int(n), known, guessed) for n in np.bincount(numbered.reshape(-1))[1:]]
    regions.sort(key=lambda region: -region[0])
    assert [place.pixels for place in places] == [pixels for pixels, _, _ in regions[: worst.PLACES]]
    for place in places:
        here = np.s_[place.row : place.row + place.height, place.col : place.col + place.width]
        numbered = joined((truth == place.truth) & (guess == place.guess), connectivity=1)
        inside = np.bincount(numbered[here].reshape(-1), minlength=numbered.max() + 1)
        whole = np.bincount(numbered.reshape(-1))
        region = next(n for n in range(1, len(whole)) if inside[n] == whole[n] == place.pixels)
        rows, cols = np.nonzero(numbered == region)
        assert (rows.min(), cols.min()) == (place.row, place.col)
        assert (np.ptp(rows) + 1, np.ptp(cols) + 1) == (place.height, place.width)


def test_errors_of_a_large_scene_are_found_on_a_coarser_level(tmp_path, monkeypatch):
    monkeypatch.setattr(worst, "SIDE", 300)
    truth = np.ones((1000, 1030), np.uint8)
    guess = truth.copy()
    guess[400:500, 800:1030] = 2
    guess[10:60, 8:68] = NODATA
    guess[700, 700] = 0  # less than a pixel of that level
    places = largest_errors(layer_of(guess, LABELS, tmp_path / "map"), layer_of(truth, LABELS, tmp_path / "truth"))
    assert [(place.truth, place.guess) for place in places] == [(1, 2), (1, NODATA)]
    largest = places[0]
    assert (largest.row, largest.col, largest.height, largest.width) == (400, 800, 100, 230)
    assert largest.pixels == pytest.approx(100 * 230, rel=0.05)
    assert max(place.row + place.height for place in places) <= 1000


def test_the_least_sure(tmp_path):
    percent = np.full((640, 640), 100, np.uint8)
    percent[200:220, 400:420] = 40
    percent[320:340, 20:30] = 60
    percent[:, 600:] = NODATA
    percent[0:3, 600:603] = 0  # in a square that is nearly all outside the flight
    places = least_sure(layer_of(percent, PERCENT, tmp_path / "agreement"))
    assert [(p.row, p.col, p.height, p.width, p.sure) for p in places] == [
        (200, 400, 20, 20, 40.0),
        (320, 20, 20, 20, 80.0),
    ]


def test_no_places_where_all_is_right(tmp_path):
    labels = layer_of(np.full((50, 60), 2, np.uint8), LABELS, tmp_path / "map")
    assert largest_errors(labels, labels) == []
    assert least_sure(layer_of(np.full((50, 60), 100, np.uint8), PERCENT, tmp_path / "all")) == []
    assert least_sure(layer_of(np.full((50, 60), NODATA, np.uint8), PERCENT, tmp_path / "none")) == []
