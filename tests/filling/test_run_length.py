"""Rows as packed runs: what is packed comes back, with new labels where regions have got some."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.filling.run_length import BLOCK_ROWS, Packer, Regions, Relabelling, Runs, paint
from jingwei.legend import NODATA


def painted(width, blocks, after=None):
    """The pixels of some blocks, row by row; how many changed, from and to; where, as (row, start, end)."""
    old, new = Runs.empty(width), Runs.empty(width)
    changed, labels, found, top = np.zeros((256, 256), np.int64), [], [], 0
    for (rows, block), other in zip(blocks, after or [block for _, block in blocks], strict=True):
        places, changes = np.zeros(2, np.int64), np.zeros((len(block), 3), np.int64)
        for part in (rows - rows // 2, rows // 2):
            here = np.empty((part, width), np.uint8)
            noted = paint(block, other, places, here, top, old, new, changed, changes)
            labels.append(here)
            found += changes[:noted].tolist()
            top += part
        assert places.tolist() == [len(block), len(other)]
    return np.concatenate(labels), changed, found


def packed(labels):
    return [(rows, block.copy()) for rows, block in Packer(labels.shape[1]).blocks(labels)]


@pytest.mark.parametrize("length", [1, 2, 126, 127, 128, 129, 255, 256, 16383, 16384, 16385, (1 << 21) + 1])
def test_runs_of_any_length(length):
    row = np.full(length + 3, 7, np.uint8)
    row[0], row[-2:] = 0, NODATA
    labels = np.stack([row, row[::-1], np.full_like(row, 254)])
    result, changed, found = painted(len(row), packed(labels))
    np.testing.assert_array_equal(result, labels)
    assert not changed.any()
    assert not found


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3 * BLOCK_ROWS), st.integers(1, 40), st.sampled_from([0.02, 0.5, 1]))
def test_rows_of_any_map(seed, height, width, noise):
    rng = np.random.default_rng(seed)
    labels = np.full((height, width), 3, np.uint8)
    salt = rng.random(labels.shape) < noise
    labels[salt] = rng.integers(0, 256, int(salt.sum()))
    blocks = packed(labels)
    assert sum(rows for rows, _ in blocks) == height
    np.testing.assert_array_equal(painted(width, blocks)[0], labels)


@pytest.mark.parametrize(("reach", "count"), [(0, 3), (1, 2)])
def test_decisions_are_handed_down_from_run_to_run(reach, count):
    """Class 1 gets provisional labels at (0, 0), (0, 4) and, where corners don't join, at (1, 2)."""
    labels = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 1, 1, 1, 1]], np.uint8)
    decisions = np.array([3, 0, 4][:count], np.uint8)
    relabelling = Relabelling(Regions(1, reach), 5, decisions)
    ((rows, block),) = packed(labels)
    after = relabelling(rows, block).copy()
    assert relabelling.provisional == count
    result, changed, found = painted(5, [(rows, block)], [after])
    # The last row joins all three: a run takes the decision of the first run above it that it touches.
    middle = 2 if reach else 3
    np.testing.assert_array_equal(result, [[2, 2, 0, 0, 1], [0, 0, middle, 0, 1], [0, *4 * [middle]]])
    assert changed[1, 2] + changed[1, 3] == changed.sum() == (result != labels).sum()
    assert found == [[0, 0, 2], [1, 2, 3], [2, 1, 5]]


def test_runs_that_become_equal_are_one():
    labels = np.array([[2, 2, 0, 2, 0, 1]], np.uint8)
    ((rows, block),) = packed(labels)
    after = Relabelling(Regions(0, 0), 6, np.array([3, 3], np.uint8))(rows, block)
    assert after.tolist() == [2, 5, 1, 1]
