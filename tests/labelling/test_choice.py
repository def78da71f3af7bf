"""Which cells are chosen: against scikit-learn's clusters, and on features where the right choice is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from jingwei.labelling.choice import alike_scales, spread


def heaps(sizes, seed=0):
    """Cells in heaps far from each other; which heap each is of."""
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 0], [20, 0], [0, 20], [20, 20]])[: len(sizes)]
    heap = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return centers[heap] + rng.normal(0, 0.5, (len(heap), 2)), heap


def test_a_first_draw_has_one_of_each_heap_the_largest_first():
    features, heap = heaps([5, 80, 30, 12])
    for seed in range(5):
        chosen = spread(features, np.empty((0, 2)), 4, seed)
        assert heap[chosen.cells].tolist() == [1, 2, 3, 0]
        np.testing.assert_allclose(chosen.share, np.array([80, 30, 12, 5]) / 127)
        assert (spread(features, np.empty((0, 2)), 4, seed).cells == chosen.cells).all()


def test_cells_weigh_what_they_are_worth():
    features, heap = heaps([5, 80, 30, 12])
    worth = np.array([0.9, 0.01, 0.1, 0.5])[heap]  # heaps weigh 4.5, 0.8, 3 and 6
    chosen = spread(features, np.empty((0, 2)), 4, 0, worth)
    assert heap[chosen.cells].tolist() == [3, 0, 2, 1]
    np.testing.assert_allclose(chosen.share, np.array([12, 5, 30, 80]) / 127)


def test_most_places_lie_where_cells_are_worth_most_but_never_all():
    rng = np.random.default_rng(0)
    features = rng.uniform(0, 1, (400, 2))
    worth = np.where(features[:, 0] > 0.75, 1.0, 0.1)
    for seed in range(5):
        there = features[spread(features, np.empty((0, 2)), 12, seed, worth).cells, 0] > 0.75
        assert 4 <= there.sum() <= 11  # of places spread evenly, 3


def test_clusters_are_those_of_scikit_learn():
    features, heap = heaps([20, 25, 30, 35])
    worth = np.random.default_rng(1).uniform(0.1, 1, len(features))
    chosen = spread(features, np.empty((0, 2)), 4, 0, worth)
    centers = KMeans(4, n_init=10, random_state=0).fit(features, sample_weight=worth).cluster_centers_
    nearest = {int(np.argmin(((features - center) ** 2).sum(axis=1))) for center in centers}
    assert set(chosen.cells.tolist()) == nearest
    weights = np.bincount(heap, worth)
    assert weights[heap[chosen.cells]].tolist() == sorted(weights.tolist(), reverse=True)


def test_no_place_lies_where_cells_are_worth_nothing_while_others_are_left():
    features = np.array([[0.0], [1], [2], *([x] for x in range(10, 20))])
    worth = np.array([1.0] * 3 + [0] * 10)
    for seed in range(5):
        assert sorted(spread(features, np.empty((0, 1)), 3, seed, worth).cells.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("worth", [[0.0] * 7, [0, 0, 0, 0.5, 0, 0, 0]])
def test_cells_worth_nothing_are_chosen_where_no_others_are_left(worth):
    features = np.arange(14.0).reshape(7, 2)
    chosen = spread(features, np.empty((0, 2)), 9, 0, np.array(worth))
    assert sorted(chosen.cells.tolist()) == list(range(7))


def test_a_draw_leaves_out_heaps_that_are_labelled():
    features, heap = heaps([5, 80, 30, 12])
    chosen = spread(features, np.array([[20.0, 0]]), 3, 0)
    assert heap[chosen.cells].tolist() == [2, 3, 0]


@given(st.integers(0, 6), st.integers(1, 9), st.integers(0, 3))
def test_a_draw_gives_each_cell_once(kinds, count, seed):
    features = np.array([[k % max(1, kinds), 0.0] for k in range(7)])
    cells = spread(features, np.empty((0, 2)), count, seed).cells
    assert len(set(cells.tolist())) == len(cells) == min(7, count)


def test_scales_are_those_of_the_cells_and_end():
    cells = np.array([[0.0, 7, 1], [200, 7, 2], [100, 7, 3]])  # mean, deviation and step of one band
    features, other = alike_scales(cells, np.array([[1e9, 7, 2]]))
    assert np.abs(features).max() <= 3
    np.testing.assert_allclose(features[:, 0].std(), 1)
    assert (features[:, 1] == 0).all()
    assert features[:, 2].std() < 0.05  # of 1 where colours differ by 80: noise
    assert other.tolist() == [[3, 0, 0]]
