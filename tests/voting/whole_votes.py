"""Votes of whole arrays, which counting strip by strip must equal."""

import numpy as np
from scipy.stats import entropy as entropy_of

from jingwei.legend import JINGWEI, NODATA, LandClass, Legend
from jingwei.voting.counting import count_soft_votes, count_votes
from jingwei.voting.vote import tie_ranks, weight_counts


def hard_vote(maps: np.ndarray, weights: list[float] | None = None, ties: str = "first") -> np.ndarray:
    """Labels, agreement, entropy: uint8, 3HW."""
    counted = np.empty((3, *maps.shape[1:]), np.uint8)
    count_votes(maps, weight_counts(weights, len(maps)), tie_ranks(ties, JINGWEI), len(JINGWEI), *counted)
    return counted


def random_planes(classes: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Probabilities as predict.py keeps them, uint8 CHW: some pixels certain, some invalid."""
    rng = np.random.default_rng(seed)
    planes = rng.dirichlet(np.full(classes, 0.3), (height, width)).transpose(2, 0, 1)
    planes = np.round(255 * planes).astype(np.uint8)
    certain = rng.random((height, width)) < 0.2
    planes[:, certain] = np.where(np.arange(classes) == rng.integers(classes), 255, 0)[:, None]
    planes[:, rng.random((height, width)) < 0.1] = 0
    return planes


def soft_vote(planes: np.ndarray, weights: list[float] | None = None, ties: str = "first", legend=JINGWEI):
    """Labels, agreement, entropy, confidence: uint8, 4HW."""
    counted = np.empty((4, *planes.shape[2:]), np.uint8)
    count_soft_votes(planes, weight_counts(weights, len(planes)), tie_ranks(ties, legend), *counted)
    return counted


def whole_soft_vote(planes: np.ndarray, weights: np.ndarray, order: list[int]) -> tuple[np.ndarray, ...]:
    """The reference on whole arrays: labels, agreement, entropy (a float in percent, NaN where none is), confidence."""
    _, classes = planes.shape[:2]
    sums = np.tensordot(weights, planes.astype(np.int64), axes=1)  # CHW
    own = planes.max(axis=1)  # KHW
    cast = np.tensordot(weights, (own > 0).astype(np.int64), axes=1)
    # Sorted by sum, then by the order of ties, then by what the voters say one by one, then by id: the last key leads.
    rank = np.array([order.index(c) if c in order else classes for c in range(classes)])
    heard = planes[weights > 0]
    keys = [np.broadcast_to(-np.arange(classes)[:, None, None], sums.shape), *heard[::-1].astype(np.int64)]
    keys += [np.broadcast_to(-rank[:, None, None], sums.shape), sums]
    winner = np.lexsort(keys, axis=0)[-1]
    agrees = (np.take_along_axis(planes, winner[None, None], axis=1)[:, 0] == own) & (own > 0)
    share = 100 * np.tensordot(weights, agrees.astype(np.int64), axes=1) / np.maximum(cast, 1)
    silent = cast == 0
    labels = np.where(silent, NODATA, winner).astype(np.uint8)
    agreement = np.where(silent, NODATA, np.floor(share + 0.5)).astype(np.uint8)
    with np.errstate(invalid="ignore"):
        evenness = 100 * entropy_of(sums, axis=0) / np.log(classes) if classes > 1 else np.where(silent, np.nan, 0.0)
    top = np.take_along_axis(sums, winner[None], axis=0)[0]
    confidence = np.where(silent, NODATA, (200 * top + 255 * cast) // np.maximum(510 * cast, 1)).astype(np.uint8)
    return labels, agreement, evenness, confidence


def assert_like_whole_arrays(counted, planes, weights, order) -> None:
    labels, agreement, evenness, confidence = whole_soft_vote(planes, weights, order)
    np.testing.assert_array_equal(counted[0], labels)
    np.testing.assert_array_equal(counted[1], agreement)
    np.testing.assert_array_equal(counted[2] == NODATA, labels == NODATA)
    np.testing.assert_array_equal(counted[3], confidence)
    valid = labels != NODATA
    assert (np.abs(counted[2][valid] - evenness[valid]) <= 0.5 + 0.01).all()


def legend_of(classes: int) -> Legend:
    return Legend("own", tuple(LandClass(i, f"c{i}", (i, i, i)) for i in range(classes)))
