"""The contest script's sliding frames, against a plain one that holds the whole map."""

import numpy as np
import pytest

from jingwei.filling import contest_frames
from jingwei.filling.contest_frames import Framed
from jingwei.legend import NODATA


def slid(labels, sizes, step, background=0, classes=None):
    """The original's algorithm: frames row by row, each of which sees what those before it have done."""
    labels = labels.copy()
    height, width = labels.shape
    for size in sizes:
        for row in range(0, height - size + 1, step):
            for col in range(0, width - size + 1, step):
                inside = labels[row : row + size, col : col + size]
                sides = {*inside[0], *inside[-1], *inside[:, 0], *inside[:, -1]}
                if len(sides) == 1 and not sides & {background, NODATA} and (classes is None or sides <= classes):
                    inside[inside == background] = sides.pop()
    return labels


def run(labels, sizes, step, heights=(16,), **rules):
    height, width = labels.shape

    def strips():
        row = turn = 0
        while row < height:
            rows = heights[turn % len(heights)]
            yield labels[row : row + rows]
            row, turn = row + rows, turn + 1

    pixels = []
    framed = Framed(strips, height, width, sizes=sizes, step=step, progress=pixels.append, **rules)
    bands = list(framed)
    assert [band.top for band in bands] == list(range(0, height, contest_frames.BAND_ROWS))
    assert sum(pixels) == framed.passes * labels.size
    result = np.concatenate([band.labels for band in bands])
    noted = np.zeros((256, 256), np.int64)
    places = np.zeros(labels.shape, bool)
    for row, start, end in np.concatenate([band.changes for band in bands]):
        places[row, start:end] = True
        (before,), (after,) = np.unique(labels[row, start:end]), np.unique(result[row, start:end])
        noted[before, after] += end - start
    np.testing.assert_array_equal(places, result != labels)
    np.testing.assert_array_equal(framed.changed, noted)
    return result


def check(labels, sizes, step, heights=(16,), **rules):
    kept = labels.copy()
    result = run(labels, sizes, step, heights, **rules)
    np.testing.assert_array_equal(labels, kept)
    np.testing.assert_array_equal(result, slid(labels, sizes, step, **rules))
    return result


def blocks(rng, background=0):
    """Blocks of classes with holes, spots of other classes, NODATA and background along some sides."""
    height, width = rng.integers(1, 70, 2)
    side = rng.integers(4, 30)
    coarse = rng.choice([background, 1, 2, 2], (height // side + 1, width // side + 1)).astype(np.uint8)
    labels = coarse.repeat(side, 0).repeat(side, 1)[:height, :width].copy()
    for _ in range(rng.integers(0, 12)):
        row, col = rng.integers(0, height), rng.integers(0, width)
        patch = slice(row, row + rng.integers(1, 9)), slice(col, col + rng.integers(1, 9))
        labels[patch] = rng.choice([background, background, background, 1, NODATA])
    labels[rng.random(labels.shape) < rng.choice([0, 0.01])] = background
    return labels


@pytest.mark.parametrize("background", [0, 3])
@pytest.mark.parametrize("step", [1, 3, 4, 7, 20])
@pytest.mark.parametrize("sizes", [(11, 7), (5, 9), (4,), (3, 2, 1), (13, 3, 8)], ids=str)
def test_random_maps(sizes, step, background):
    filled = 0
    for seed in range(5):
        rng = np.random.default_rng([seed, step, *sizes])
        labels = blocks(rng, background)
        classes = None if seed % 3 else {1}
        heights = rng.integers(1, 30, 3).tolist()
        result = check(labels, sizes, step, heights, background=background, classes=classes)
        filled += (result != labels).any()
    assert filled or step > 4 or sizes[0] < 5


def test_maps_higher_than_what_is_held():
    rng = np.random.default_rng(5)
    labels = np.ones((900, 40), np.uint8)
    labels[:, 20:] = 2
    labels[rng.random(labels.shape) < 0.02] = 0
    result = check(labels, (15, 11), 3, (1, 400, 7))
    assert (result != labels).sum() > 50


@pytest.mark.parametrize("side", [1, 510, 511, 512, 513])
def test_sizes_at_the_boundary(side):
    labels = np.ones((side, side), np.uint8)
    labels[3:-3, 3:-3] = 0
    result = check(labels, (511,), 50, (100,))
    assert (result == 1).all() == (side in (1, 511, 512, 513))


def test_a_frame_that_needs_what_an_earlier_one_has_filled():
    labels = np.ones((20, 30), np.uint8)
    labels[4:6, 8:10] = 0  # on the right side of the frames at columns 0 to 2; inside the one at 3
    labels[10, 3:20] = 0
    result = check(labels, (9,), 1)
    assert (result[4:6, 8:10] == 1).all()


@pytest.mark.parametrize("value", [0, NODATA])
def test_sides_of_background_or_nodata_fill_nothing(value):
    labels = np.full((30, 30), value, np.uint8)
    labels[10:20, 10:20] = 0
    np.testing.assert_array_equal(check(labels, (12, 9), 1), labels)


def test_rules_are_checked():
    for rules in ({"step": 0}, {"sizes": (9, 0)}):
        with pytest.raises(ValueError, match="must be 1 or more"):
            Framed(lambda: iter([]), 9, 9, **rules)


def test_frames_larger_than_the_map_take_no_room():
    labels = np.ones((40, 30), np.uint8)
    labels[10:20, 10:20] = 0
    assert (check(labels, (10**12, 31, 30), 1) == 1).all()
