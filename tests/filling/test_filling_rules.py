"""The rules of filling, each on a map that one can draw."""

import numpy as np
import pytest
from filled_maps import (
    assert_as_reference,
    run,
)

from jingwei.legend import NODATA


@pytest.mark.parametrize(("rows", "cols", "is_hole"), [(500, 500, True), (501, 3, False), (3, 501, False)])
def test_a_hole_may_be_as_large_as_max_size_and_no_larger(rows, cols, is_hole):
    labels = np.full((520, 520), 2, np.uint8)
    labels[5 : 5 + rows, 9] = 0
    labels[7, 9 : 9 + cols] = 0
    result, changed = run(labels, (64,))
    assert (result == 2).all() == is_hole
    assert changed[0, 2] == is_hole * (rows + cols - 1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_hole_is_as_wide_as_all_its_arms(mirrored):
    """The younger arm reaches farther out than the rows that join the two."""
    labels = np.full((12, 20), 1, np.uint8)
    labels[2:8, 4] = labels[3:8, 8] = labels[7, 4:9] = 0
    labels[3, 8:12] = 0
    labels = labels[:, ::-1].copy() if mirrored else labels
    for max_size in (7, 8):
        assert (assert_as_reference(labels, (5,), max_size=max_size) == 1).all() == (max_size == 8)


def test_a_hole_at_the_edge_or_beside_nodata_stays():
    labels = np.full((9, 30), 1, np.uint8)
    labels[0, 3] = labels[8, 3] = labels[4, 0] = labels[4, 29] = 0  # edges
    labels[4, 10] = 0
    labels[4, 11] = NODATA
    labels[4, 15] = 0
    labels[5, 16] = NODATA  # only a corner: with 4-neighbours as the border, it is no neighbour
    labels[2, 20] = 0
    for connectivity in (4, 8):
        result = assert_as_reference(labels, (2,), connectivity=connectivity)
        assert result[4, 15] == 1
        assert result[2, 20] == 1
        assert (result == 0).sum() == 5


def test_a_hole_with_two_classes_around_stays_and_classes_can_be_picked():
    labels = np.ones((12, 12), np.uint8)
    labels[:, 6:] = 2
    labels[3, 5:7] = 0  # in both
    labels[6, 2] = labels[6, 9] = 0  # in one each
    assert (assert_as_reference(labels, (5,)) == 0).sum() == 2
    result = assert_as_reference(labels, (5,), classes={2})
    assert result[6, 9] == 2
    assert result[6, 2] == 0


def test_a_ring_around_a_field_is_no_hole():
    labels = np.ones((20, 20), np.uint8)
    labels[5:15, 5:15] = 0
    labels[8:12, 8:12] = 2  # the ring's border is class 1 outside and class 2 inside
    np.testing.assert_array_equal(assert_as_reference(labels), labels)


def test_small_regions_go_to_the_longest_border_and_ties_to_the_earlier():
    labels = np.ones((8, 8), np.uint8)
    labels[:, 4:] = 2
    labels[3, 3:5] = 3  # three edges each: class 1 was first
    labels[6, 4:6] = 4  # one edge with class 1, five with class 2
    result = assert_as_reference(labels, min_area=4)
    assert (result[3, 3:5] == 1).all()
    assert (result[6, 4:6] == 2).all()


def test_crumbs_in_crumbs_follow_to_the_large_region():
    labels = np.ones((11, 11), np.uint8)
    labels[3:8, 3:8] = 2
    labels[4:7, 4:7] = 3
    labels[5, 5] = 4
    assert (assert_as_reference(labels, min_area=20) == 1).all()
    island = np.where(labels == 1, NODATA, labels).astype(np.uint8)
    np.testing.assert_array_equal(assert_as_reference(island, min_area=26), island)


@pytest.mark.parametrize("joins", [True, False])
def test_neighbours_of_one_class_count_as_one_wherever_they_are_joined(room, joins):
    labels = np.full((300, 9), 9, np.uint8)
    labels[2:62, 1:9] = 1
    labels[62:, 1:4], labels[62:, 6:9] = 2, 2
    labels[62:64, 3:7] = 7  # four edges with class 1, three with each arm of class 2, two with class 9 between them
    if joins:
        labels[-1] = 2
    result = assert_as_reference(labels, (3,), min_area=40, background=None)
    assert (result[62:64, 3:7] == 2).all()


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_tie_goes_to_the_class_that_is_met_first(room, upside_down):
    labels = np.full((40, 30), 1, np.uint8)
    labels[20:] = 2
    labels[19:21, 9:12] = 7  # five edges with each
    labels = labels[::-1].copy() if upside_down else labels
    result = assert_as_reference(labels, (3,), min_area=40, background=None)
    assert (result[19:21, 9:12] == (2 if upside_down else 1)).all()


def test_a_chain_of_small_regions_longer_than_one_survey_reaches(room):
    """Every column is small, and the only large region is at one end, or none is."""
    labels = (np.arange(60) % 2 + 1).astype(np.uint8)[None].repeat(7, 0)
    labels[:, :4] = 3
    assert (assert_as_reference(labels, (2,), min_area=20) == 3).all()
    np.testing.assert_array_equal(assert_as_reference(labels[:, 4:], (2,), min_area=20), labels[:, 4:])
