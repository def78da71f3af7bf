"""Which cells are chosen: against a slow reference, and on features where the right choice is known."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jingwei.labelling.choice import alike_scales, choose, spread


def slow_choice(features, worth, known, count):
    """The same rule, each distance computed anew for each step."""
    apart = lambda a, b: np.sqrt(((a - b) ** 2).sum())  # noqa: E731
    some = features[np.linspace(0, len(features) - 1, min(1000, len(features))).astype(int)]
    far = np.median([apart(a, b) for a in some for b in some]) or 1.0
    chosen = []
    for _ in range(min(count, len(features))):
        anchors = [*known, *features[chosen]]
        scores = {}
        for k in set(range(len(features))) - set(chosen):
            nearest = min((apart(features[k], a) for a in anchors), default=np.inf)
            scores[k] = worth[k] * min(nearest / far, 1)
        best = max(sorted(scores), key=scores.get)
        if scores[best] <= 0:
            best = max(sorted(scores), key=lambda k: worth[k])
        chosen.append(best)
    return chosen


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=n, max_size=n),
            st.lists(st.sampled_from([0, 0.25, 0.5, 1]), min_size=n, max_size=n),
            st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=3),
        )
    ),
    st.integers(1, 12),
)
def test_the_choice_is_the_one_by_the_rule(scene, count):
    features, worth, known = scene
    features, known = np.array(features, float), np.array(known, float).reshape(-1, 2)
    chosen = choose(features, np.array(worth, float), known, count)
    assert chosen.cells.tolist() == slow_choice(features, np.array(worth, float), known, count)
    assert ((chosen.unlike >= 0) & (chosen.unlike <= 1)).all()


def test_doubles_of_what_is_labelled_come_last():
    features = np.array([[0.0, 0], [0, 0], [5, 5], [9, 0]])
    chosen = choose(features, np.array([1.0, 1, 0.5, 0.6]), np.array([[0.0, 0]]), 4)
    assert chosen.cells.tolist() == [3, 2, 0, 1]
    assert chosen.unlike[2] == 0


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
