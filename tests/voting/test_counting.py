"""Counting votes, against a plain loop: hard and soft ones, weights and ties."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy as entropy_of
from whole_votes import assert_like_whole_arrays, hard_vote, legend_of, random_planes, soft_vote

from jingwei.errors import SettingError
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.voting.counting import CHUNK, REMEMBERED
from jingwei.voting.vote import WEIGHT_UNIT, tie_ranks, weight_counts

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
IDS = st.sampled_from([0, 1, 2, 3, 4, NODATA])
BALLOTS = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=IDS)
)


def plain_vote(choices: list[int], weights: list[int], order: list[int]) -> tuple[int, int, int]:
    """One pixel: (winner, agreement, entropy). `order` are the classes that win ties, before the first voter's."""
    votes = Counter()
    for choice, weight in zip(choices, weights, strict=True):
        if choice != NODATA and weight:
            votes[choice] += weight
    if not votes:
        return NODATA, NODATA, NODATA
    most = max(votes.values())
    tied = [choice for choice, weight in zip(choices, weights, strict=True) if weight and votes[choice] == most]
    winner = next((c for c in order if c in tied), tied[0])
    evenness = entropy_of(list(votes.values())) / np.log(len(JINGWEI))
    return winner, int(100 * most / sum(votes.values()) + 0.5), int(100 * evenness + 0.5)


def assert_like_the_loop(maps: np.ndarray, weights: list[float] | None, ties: str, order: list[int]) -> None:
    counted = hard_vote(maps, weights, ties)
    counts = weight_counts(weights, len(maps)).tolist()
    for row, col in np.ndindex(maps.shape[1:]):
        assert tuple(counted[:, row, col]) == plain_vote(maps[:, row, col].tolist(), counts, order)


@pytest.mark.parametrize(
    ("ties", "order"),
    [("first", []), ("background", [0]), ("corn, 1,building", [2, 1, 4]), ("3", [3]), ("0,4,3,2,1", [0, 4, 3, 2, 1])],
)
@given(maps=BALLOTS)
def test_votes_are_those_of_a_plain_loop(ties, order, maps):
    assert_like_the_loop(maps, None, ties, order)


@given(maps=BALLOTS, data=st.data())
def test_weighted_votes_are_those_of_a_plain_loop(maps, data):
    weight = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 1000.0])
    weights = data.draw(st.lists(weight, min_size=len(maps), max_size=len(maps)).filter(any))
    assert_like_the_loop(maps, weights, "background", [0])


def test_hand_computed_votes():
    maps = np.array([[[1, 2, NODATA, NODATA]], [[1, 0, 3, NODATA]], [[2, 4, NODATA, NODATA]]], np.uint8)
    labels, agreement, entropy = hard_vote(maps)
    assert labels.tolist() == [[1, 2, 3, NODATA]]
    assert agreement.tolist() == [[67, 33, 100, NODATA]]
    assert entropy.tolist() == [[40, 68, 0, NODATA]]  # 0.6365 and ln 3, of ln 5
    assert hard_vote(maps, ties="background")[0].tolist() == [[1, 0, 3, NODATA]]
    labels, agreement, _ = hard_vote(maps, [1, 1, 2.5])
    assert labels.tolist() == [[2, 4, 3, NODATA]]
    assert agreement.tolist() == [[56, 56, 100, NODATA]]


def test_all_classes_alike_are_an_entropy_of_100():
    maps = np.arange(5, dtype=np.uint8)[:, None, None]
    assert hard_vote(maps).reshape(-1).tolist() == [0, 20, 100]


def test_a_map_of_weight_0_has_no_say_in_ties():
    maps = np.array([[[3]], [[1]], [[3]]], np.uint8)
    assert hard_vote(maps, [0, 1, 1])[0].item() == 1


def test_ties_of_weights_are_exact_where_floats_are_not():
    """0.1 + 0.2 against 0.3 is a tie."""
    maps = np.array([[[3]], [[3]], [[1]]], np.uint8)
    labels, agreement, _ = hard_vote(maps, [0.1, 0.2, 0.3], "1")
    assert labels.item() == 1
    assert agreement.item() == 50


@given(data=st.data())
def test_the_order_of_maps_matters_only_in_ties(data):
    maps = data.draw(arrays(np.uint8, (4, 2, 9), elements=IDS))
    order = data.draw(st.permutations(range(4)))
    weights = [1, 2, 4, 8.5]  # no sums of these are equal
    there = hard_vote(np.ascontiguousarray(maps[order]), [weights[i] for i in order])
    np.testing.assert_array_equal(there, hard_vote(maps, weights))


def test_more_kinds_of_ballots_than_are_remembered():
    maps = np.random.default_rng(0).integers(0, 5, (7, 25, 200)).astype(np.uint8)
    assert len(np.unique(maps.reshape(7, -1), axis=1)[0]) > REMEMBERED
    assert_like_the_loop(maps, None, "first", [])


def test_weights_are_whole_millionths():
    assert weight_counts([1, 0.25], 2).tolist() == [WEIGHT_UNIT, WEIGHT_UNIT // 4]
    assert weight_counts(None, 3).tolist() == [WEIGHT_UNIT] * 3


@pytest.mark.parametrize("weights", [[1.0], [1.0] * 4, [1, -1, 1], [0, 0, 0], [1, 2, 1e7], [1, float("nan"), 1],
                                     [float("nan"), 1, 1], [1, 1, float("inf")], [1e-9, 0, 0]])  # fmt: skip
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(SettingError, match="`weights`"):
        weight_counts(weights, 3)


@pytest.mark.parametrize("ties", ["last", "corn,wheat", "9", ""])
def test_unknown_ties_are_refused(ties):
    with pytest.raises(SettingError):
        tie_ranks(ties, JINGWEI)


def test_ties_cannot_go_to_a_background_that_is_not_there():
    with pytest.raises(SettingError, match="legend gf3 has no background"):
        tie_ranks("background", GF3)


@st.composite
def soft_ballots(draw):
    voters, classes = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3, 5, 9]))
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    levels = draw(st.sampled_from([[0, 255], [0, 1, 2], [0, 85, 170, 255], range(256)]))  # the fewer, the more ties
    planes = draw(arrays(np.uint8, (voters, classes, height, width), elements=st.sampled_from(levels)))
    invalid = draw(arrays(bool, (voters, 1, height, width)))
    weight = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 2.5, 1e6])
    weights = draw(st.lists(weight, min_size=voters, max_size=voters).filter(any))
    return np.where(invalid, 0, planes).astype(np.uint8), weights, draw(st.permutations(range(classes)))


@given(ballots=soft_ballots(), ranked=st.integers(0, 9))
def test_soft_votes_are_those_of_whole_arrays(ballots, ranked):
    planes, weights, order = ballots
    order = order[:ranked]
    ties = ",".join(map(str, order)) or "first"
    counted = soft_vote(planes, weights, ties, legend_of(planes.shape[1]))
    assert_like_whole_arrays(counted, planes, weight_counts(weights, len(planes)), order)


@pytest.mark.parametrize("width", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_soft_votes_of_any_width(width):
    planes = np.stack([random_planes(4, 3, width, seed) for seed in range(3)])
    assert_like_whole_arrays(soft_vote(planes, legend=legend_of(4)), planes, weight_counts(None, 3), [])


@given(ballots=soft_ballots(), data=st.data())
def test_the_order_of_probabilities_matters_only_in_ties(ballots, data):
    planes, weights, order = ballots
    voters = data.draw(st.permutations(range(len(planes))))
    ties, legend = ",".join(map(str, order)), legend_of(planes.shape[1])  # every tie is settled by the classes
    there = soft_vote(np.ascontiguousarray(planes[voters]), [weights[i] for i in voters], ties, legend)
    np.testing.assert_array_equal(there, soft_vote(planes, weights, ties, legend))


def test_hand_computed_soft_votes():
    planes = np.zeros((2, 3, 1, 4), np.uint8)
    planes[0, :, 0, 0], planes[1, :, 0, 0] = (155, 100, 0), (0, 200, 55)  # the second is surer
    planes[0, :, 0, 1], planes[1, :, 0, 1] = (255, 0, 0), (0, 0, 255)  # a tie
    planes[0, :, 0, 2] = (0, 255, 0)  # the second abstains
    labels, agreement, entropy, confidence = soft_vote(planes, legend=legend_of(3))
    assert labels.tolist() == [[1, 0, 1, NODATA]]
    assert agreement.tolist() == [[50, 50, 100, NODATA]]
    assert entropy.tolist() == [[83, 63, 0, NODATA]]
    assert confidence.tolist() == [[59, 50, 100, NODATA]]
    assert soft_vote(planes, ties="2", legend=legend_of(3))[0, 0, 1] == 2
    assert soft_vote(planes[::-1].copy(), legend=legend_of(3))[0, 0, 1] == 2
    assert soft_vote(planes, [2, 1], legend=legend_of(3))[:, 0, 0].tolist() == [1, 33, 81, 52]


def test_probabilities_of_weight_0_have_no_say_in_ties():
    planes = np.array([[0, 0, 255], [200, 55, 0], [55, 200, 0]], np.uint8)[..., None, None]
    planes[0, :2] = [[[10]], [[20]]]
    assert soft_vote(planes, [0, 1, 1], legend=legend_of(3)).reshape(-1).tolist() == [0, 50, 63, 50]


def test_certainty_survives():
    """A probability of 1 is 255, not 256, which would be 0."""
    planes = np.zeros((3, 5, 2, 2), np.uint8)
    planes[:, 4] = 255
    assert soft_vote(planes).reshape(4, -1).tolist() == [[4] * 4, [100] * 4, [0] * 4, [100] * 4]
    planes[:] = 255
    assert soft_vote(planes)[2].tolist() == [[100, 100], [100, 100]]
