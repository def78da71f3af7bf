"""Whole fields to one side of the split: numbered strip by strip, measured, chosen and written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from jingwei.crops.field_split import GAP, Fields, choose_fields
from jingwei.legend import NODATA
from jingwei.raster.crop_files import read_label_crop


def numbered(labels: np.ndarray) -> np.ndarray:
    """The field of every pixel, in the order of their first pixels, -1 where there is none: by scipy."""
    result = np.full(labels.shape, -1)
    parts, count = np.zeros(labels.shape, int), 0
    for label in np.unique(labels[labels != NODATA]):
        its, number = ndimage.label(labels == label)
        parts[its > 0], count = its[its > 0] + count, count + number
    _, firsts = np.unique(parts, return_index=True)
    firsts = [first for first in firsts if parts.flat[first]]
    for field, first in enumerate(sorted(firsts)):
        result[parts == parts.flat[first]] = field
    return result


def fields_of(labels: np.ndarray, heights: list[int]) -> Fields:
    """Fields of a map that comes in strips of these heights, again and again."""

    def strips():
        first, turn = 0, 0
        while first < len(labels):
            yield labels[first : first + heights[turn % len(heights)]]
            first, turn = first + heights[turn % len(heights)], turn + 1

    return Fields(strips, *labels.shape)


def sides(fields: Fields, validation: np.ndarray, folder) -> tuple[np.ndarray, np.ndarray]:
    fields.write(validation, folder / "train.png", folder / "valid.png")
    return read_label_crop(folder / "train.png"), read_label_crop(folder / "valid.png")


TANGLED = st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1)).map(
    lambda t: np.random.default_rng(t[2]).choice(np.array([1, NODATA], np.uint8), t[:2], p=(0.6, 0.4))
)
SMALL_MAPS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 1, 1, 2, NODATA]), fill=st.just(NODATA))
)
BLOCKY = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**32 - 1)).map(
    lambda t: (
        np.random.default_rng(t[3]).choice(np.array([0, 1, 2, NODATA], np.uint8), t[:2]).repeat(t[2], 0).repeat(t[2], 1)
    )
)


@settings(max_examples=150)
@given(SMALL_MAPS | BLOCKY | TANGLED, st.lists(st.integers(1, 17), min_size=1, max_size=3))
def test_fields_are_scipys_regions_however_the_map_comes(labels, heights):
    truth, fields = numbered(labels), fields_of(labels, heights)
    count = truth.max() + 1
    assert fields.classes.tolist() == [labels[truth == field][0] for field in range(count)]
    assert fields.pixels.tolist() == [(truth == field).sum() for field in range(count)]
    around = np.ones((2 * GAP + 1,) * 2, bool)
    for field in range(count):
        others = ndimage.binary_dilation((truth >= 0) & (truth != field), around)
        assert fields.inner[field] == ((truth == field) & ~others).sum()


@settings(max_examples=100)
@given(SMALL_MAPS | BLOCKY | TANGLED, st.lists(st.integers(1, 17), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_no_field_is_on_both_sides_and_none_are_near_each_other(tmp_path_factory, labels, heights, seed):
    truth, fields = numbered(labels), fields_of(labels, heights)
    validation = np.random.default_rng(seed).random(len(fields.classes)) < 0.5
    train, valid = sides(fields, validation, tmp_path_factory.mktemp("sides"))
    is_field = truth >= 0
    chosen = np.append(validation, False)[truth]
    np.testing.assert_array_equal(train, np.where(is_field & ~chosen, labels, NODATA))
    near = ndimage.binary_dilation(train != NODATA, np.ones((2 * GAP + 1,) * 2, bool))
    np.testing.assert_array_equal(valid, np.where(chosen & ~near, labels, NODATA))
    assert not set(truth[train != NODATA]) & set(truth[valid != NODATA])


def test_a_spiral_is_one_field_and_needs_every_join():
    labels = np.full((60, 60), NODATA, np.uint8)
    labels[::4] = 1  # bars, joined at the right and at the left in turn
    for row in range(0, 56, 4):
        labels[row : row + 4, -1 if row % 8 else 0] = 1
    labels[2::4, 2:-2] = 1  # and fields of their own between them
    fields = fields_of(labels, [7])
    assert sorted(fields.pixels.tolist())[-1] == (labels == 1).sum() - 15 * 56
    assert len(fields.classes) == 16


def test_teeth_that_join_from_the_right_are_one_field():
    """Each join finds a field that others have joined before: the last labels are many steps from the first."""
    labels = np.full((20, 39), NODATA, np.uint8)
    labels[:, ::2] = 3
    for joint in range(19):  # between the last two teeth in the first row, between the first two in the last
        labels[19 - joint, 2 * joint + 1] = 3
    fields = fields_of(labels, [5])
    assert fields.pixels.tolist() == [(labels == 3).sum()]


def test_a_map_without_labels_has_no_fields(tmp_path):
    labels = np.full((9, 9), NODATA, np.uint8)
    fields = fields_of(labels, [4])
    assert len(fields.classes) == 0
    chosen = choose_fields(fields.classes, fields.pixels, fields.inner, 0.2)
    train, valid = sides(fields, chosen, tmp_path)
    assert (train == NODATA).all()
    assert (valid == NODATA).all()


# --- which fields ----------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.data())
def test_each_class_is_on_both_sides_where_it_can_be(data):
    count = data.draw(st.integers(1, 60))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    classes = rng.integers(0, data.draw(st.integers(1, 5)), count).astype(np.uint8)
    pixels = np.ceil(rng.lognormal(4, 1, count)).astype(np.int64)
    fraction = data.draw(st.floats(0.05, 0.5))
    chosen = choose_fields(classes, pixels, pixels, fraction)
    for land_class in np.unique(classes):
        here = classes == land_class
        total, reached = pixels[here].sum(), pixels[here & chosen].sum()
        assert (0 < reached <= max(fraction, 0.5) * total) == (here.sum() > 1)
        # As near as the nearest single field that may be taken, at least.
        possible = pixels[here][pixels[here] <= max(fraction, 0.5) * total]
        if here.sum() > 1:
            assert abs(reached - fraction * total) <= np.abs(possible - fraction * total).min() + 1e-6


def test_many_fields_come_near_to_the_share():
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(4, dtype=np.uint8), 40)
    pixels = rng.integers(50, 500, 160)
    chosen = choose_fields(classes, pixels, pixels, 0.2)
    for land_class in range(4):
        here = classes == land_class
        assert pixels[here & chosen].sum() / pixels[here].sum() == pytest.approx(0.2, abs=0.06)


def test_a_class_of_one_field_and_fields_that_would_vanish_stay_in_training():
    classes = np.array([0, 1, 1, 2, 2], np.uint8)
    pixels = np.array([500, 400, 100, 400, 100])
    inner = np.array([400, 300, 0, 300, 20])
    assert choose_fields(classes, pixels, inner, 0.2).tolist() == [False, False, False, False, True]


def test_a_share_of_nothing_gives_nothing_to_validation():
    assert not choose_fields(np.array([1, 1], np.uint8), np.array([5, 5]), np.array([5, 5]), 0).any()
