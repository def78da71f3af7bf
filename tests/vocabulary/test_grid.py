"""Window geometry: what must hold for scenes and windows of any size."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jingwei.grid import Blocks, Window, even_starts, starts, strips, windows

EDGES = [1, 511, 512, 513]
LENGTH = st.one_of(st.sampled_from(EDGES), st.integers(1, 3000))
SIZE = st.one_of(st.sampled_from(EDGES), st.integers(1, 600))
WINDOW = st.builds(Window, st.integers(0, 30), st.integers(0, 30), st.integers(1, 20), st.integers(1, 20))


@st.composite
def strides(draw):
    """(length, size, stride) with a stride that leaves no gap."""
    size = draw(SIZE)
    return draw(LENGTH), size, draw(st.integers(1, size))


@st.composite
def overlaps(draw):
    """(length, size, overlap) with an overlap below the size."""
    size = draw(SIZE)
    return draw(LENGTH), size, draw(st.integers(0, size - 1))


@given(strides())
@example((512, 512, 512))
@example((513, 512, 512))
@example((511, 512, 512))
@example((1, 512, 1))
@example((1, 1, 1))
def test_starts_cover_every_pixel_inside_with_the_last_window_pulled_back(sizes):
    length, size, stride = sizes
    found = starts(length, size, stride)
    covered = np.zeros(length, int)
    for first in found:
        assert 0 <= first <= max(0, length - size)
        covered[first : first + size] += 1
    assert covered.all()
    assert found[0] == 0
    assert found[-1] == max(0, length - size)
    assert found[:-1] == [k * stride for k in range(len(found) - 1)]
    steps = np.diff(found)
    assert ((steps > 0) & (steps <= stride)).all()


@pytest.mark.parametrize(
    ("length", "expected"), [(1, [0]), (511, [0]), (512, [0]), (513, [0, 1]), (1024, [0, 512]), (1025, [0, 512, 513])]
)
def test_starts_at_the_boundary(length, expected):
    assert starts(length, 512, 512) == expected


@pytest.mark.parametrize("sizes", [(0, 5, 5), (5, 0, 1), (5, 5, 0), (-1, 5, 5)])
def test_starts_refuse_sizes_that_are_not_positive(sizes):
    with pytest.raises(ValueError, match="must be positive"):
        starts(*sizes)


def test_starts_refuse_a_stride_that_leaves_gaps():
    with pytest.raises(ValueError, match="stride 6 leaves gaps between windows of 5"):
        starts(100, 5, 6)


@given(overlaps())
@example((513, 512, 0))
@example((513, 512, 511))
@example((512, 512, 256))
@example((1025, 512, 128))
def test_even_starts_overlap_as_asked_evenly_and_with_as_few_windows_as_can_be(sizes):
    length, size, overlap = sizes
    found = even_starts(length, size, overlap)
    assert found[0] == 0
    assert found[-1] == max(0, length - size)
    steps = np.diff(found)
    assert (size - steps >= overlap).all()
    assert (steps > 0).all()
    if len(found) > 1:
        assert steps.max() - steps.min() <= 1
        # One window fewer could not overlap so much even if spread perfectly.
        assert (length - size) > (len(found) - 2) * (size - overlap)


@pytest.mark.parametrize("sizes", [(10, 5, 5), (10, 5, -1), (0, 5, 1)])
def test_even_starts_refuse_what_makes_no_sense(sizes):
    with pytest.raises(ValueError, match="overlap"):
        even_starts(*sizes)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.data())
def test_windows_cover_the_scene_left_to_right_then_top_to_bottom(height, width, size, data):
    stride = data.draw(st.integers(1, size))
    found = list(windows(height, width, size, stride))
    assert found == sorted(set(found))
    covered = np.zeros((height, width), bool)
    for window in found:
        assert (window.height, window.width) == (min(size, height), min(size, width))
        assert window.row >= 0
        assert window.col >= 0
        assert window.row_end <= height
        assert window.col_end <= width
        covered[window.slices] = True
    assert covered.all()


@given(st.integers(0, 2000), st.integers(1, 600))
def test_strips_follow_each_other_without_gap_or_overlap(height, rows):
    found = list(strips(height, rows))
    assert [row for first, end in found for row in range(first, end)] == list(range(height))
    assert all(end - first == rows for first, end in found[:-1])


def mask(window: Window | None) -> np.ndarray:
    pixels = np.zeros((60, 60), bool)
    if window is not None:
        pixels[window.slices] = True
    return pixels


@given(WINDOW, WINDOW)
def test_overlap_is_the_pixels_that_both_have(one, other):
    both = mask(one) & mask(other)
    np.testing.assert_array_equal(mask(one.overlap(other)), both)
    assert (one.overlap(other) is None) == (not both.any())


@given(WINDOW, st.integers(0, 12))
def test_a_grown_window_holds_the_pixels_within_the_margin_and_the_scene(window, margin):
    height, width = window.row_end + 5, window.col_end + 3
    rows, cols = np.indices((60, 60))
    down = np.maximum(np.maximum(window.row - rows, rows - (window.row_end - 1)), 0)
    across = np.maximum(np.maximum(window.col - cols, cols - (window.col_end - 1)), 0)
    near = (np.maximum(down, across) <= margin) & (rows < height) & (cols < width)
    np.testing.assert_array_equal(mask(window.grown(margin, height, width)), near)


def test_relative_to_counts_the_same_pixels_from_another_origin():
    assert Window(30, 50, 4, 6).relative_to(20, 45) == Window(10, 5, 4, 6)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 80))
@example(1, 1, 1)
@example(1, 1, 80)
@example(64, 64, 64)
@example(95, 64, 64)
@example(96, 64, 64)
def test_blocks_partition_the_scene(height, width, side):
    blocks = Blocks(height, width, side)
    owner = np.full((height, width), -1)
    for number in range(len(blocks)):
        window = blocks.window(number)
        assert (owner[window.slices] == -1).all()
        owner[window.slices] = number
        assert window.height > 0
        assert window.width > 0
    assert (owner >= 0).all()
    for row, col in [(0, 0), (height - 1, width - 1), (height // 2, width // 3), (height - 1, 0)]:
        assert blocks.at(row, col) == owner[row, col]
    window = Window(height // 3, width // 4, height - height // 3, max(1, width // 2))
    assert set(blocks.touching(window)) == set(np.unique(owner[window.slices]).tolist())
    centre = owner[window.row + window.height // 2, window.col + window.width // 2]
    assert blocks.of(window) == centre


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 600))
def test_block_edges_lie_on_multiples_of_the_side_and_no_last_block_is_thin(height, width, side):
    blocks = Blocks(height, width, side)
    for edges, length in ((blocks.row_edges, height), (blocks.col_edges, width)):
        # An axis shorter than one and a half sides may be halved instead, to have two blocks at all.
        if length >= 1.5 * side:
            assert all(edge % side == 0 for edge in edges[:-1])
            assert edges[-1] - edges[-2] >= side / 2
    if max(height, width) > 1:
        assert len(blocks) >= 2


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 1), 1), ((1, 511), 2), ((511, 1), 2), ((512, 512), 2), ((513, 512), 2), ((1024, 512), 2), ((1300, 1300), 9)],
)
def test_the_longer_axis_has_two_blocks_at_least(shape, expected):
    assert len(Blocks(*shape, 512)) == expected
