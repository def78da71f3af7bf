"""What a customer may sign: bounds on a map's errors that hold at any size of the sample, from a labelled sample.

The intervals of `accuracy.py` are those that the field publishes; they lean on the normal distribution, and are too
narrow where few points are wrong. The bounds here are exact (Clopper and Pearson, The use of confidence or fiducial
limits, Biometrika 26 (1934) 404-413): within a class of the map the points are a simple random sample, so their hits
are binomial. Where classes are put together, each gets its share of the risk (Bonferroni): such bounds are wider than
they need be, never too narrow.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np

ASSURANCE = 0.95
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the map, its surest pixels first, that are tried one by one


class Bounds(NamedTuple):
    """A share between 0 and 1 that lies between `low` and `high` with the assurance that was asked for."""

    low: float
    high: float


def exact_bounds(hits: int, points: int, risk: float = 1 - ASSURANCE) -> Bounds:
    """Clopper and Pearson's bounds of a share that `hits` of `points` random points have: half the risk on either side.

    Without a point anything is possible.
    """
    return Bounds(exact_low(hits, points, risk / 2), 1 - exact_low(points - hits, points, risk / 2))


@cache
def exact_low(hits: int, points: int, risk: float) -> float:
    """The share at which `hits` or more of `points` have the probability `risk`: the true one is seldom below it."""
    if not 0 <= hits <= points:
        raise ValueError(f"{hits} hits of {points} points")
    if hits == 0:
        return 0.0
    k = np.arange(hits, points + 1)
    ways = math.lgamma(points + 1) - np.array([math.lgamma(i + 1) + math.lgamma(points - i + 1) for i in k])
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        tail = np.exp(ways + k * math.log(middle) + (points - k) * math.log1p(-middle)).sum() if middle < 1 else 1.0
        low, high = (middle, high) if tail < risk else (low, middle)
    return low


class Points(NamedTuple):
    """A labelled sample, point by point: the class that the map has there (its stratum) and the true one, int64.

    `confidence` is what the map says of itself there, 0 to 100; None where it keeps none.
    """

    mapped: np.ndarray
    truth: np.ndarray
    confidence: np.ndarray | None = None

    @property
    def right(self) -> np.ndarray:
        """Whether the map is right, bool."""
        return self.mapped == self.truth


def users_bounds(points: Points, classes: int) -> list[Bounds]:
    """Exact 95 % bounds of each class's user's accuracy, each by itself; 0 to 1 where a class has no point."""
    here = [points.right[points.mapped == c] for c in range(classes)]
    return [exact_bounds(int(right.sum()), len(right)) for right in here]


def error_at_most(points: Points, weights: np.ndarray, risk: float = 1 - ASSURANCE) -> float:
    """The share of wrong pixels that is not exceeded with the assurance 1 - `risk`, over all classes of the map.

    `weights` are the classes' shares of the pixels in question; they need not add up to 1.
    """
    weights = np.asarray(weights, np.float64) / np.sum(weights)
    there = np.flatnonzero(weights)
    total = 0.0
    for c in there:
        right = points.right[points.mapped == c]
        total += weights[c] * (1 - exact_low(int(right.sum()), len(right), risk / len(there)))
    return total


class Certified(NamedTuple):
    """The surest part of a map: pixels of a `confidence` from there up, their `share` of the map, and their error.

    The error is at most `error` with 95 % assurance, for all parts that were tried together.
    """

    confidence: int
    share: float
    error: float


def certified_part(points: Points, pixels: np.ndarray, alpha: float) -> Certified | None:
    """The largest part of a map, its surest pixels, of which at most a share `alpha` is wrong; None where none is.

    `pixels` counts the map's pixels, int64 [class, confidence 0 to 100]. Parts of SHARES are tested one after the other
    until one fails: in an order that was fixed before, each may take the whole risk (fixed-sequence testing, as in
    Angelopoulos et al., Learn then test, 2021).
    """
    found = None
    by_confidence = pixels.sum(axis=0)[::-1].cumsum()[::-1] / pixels.sum()  # share of the map from a confidence up
    for wanted in SHARES:
        least = int(np.flatnonzero(by_confidence >= wanted)[-1])
        inside = points.confidence >= least
        part = Points(points.mapped[inside], points.truth[inside])
        error = error_at_most(part, pixels[:, least:].sum(axis=1))
        if error > alpha:
            break
        found = Certified(least, float(by_confidence[least]), error)
    return found


def points_to_halve(margin: float, points: int) -> int:
    """The further points that halve a 95 % interval: margins fall with the root of the number of points."""
    return 3 * points if margin > 0 else 0


class Comparison(NamedTuple):
    """Two maps on one sample: accuracy of the second less that of the first, half of its 95 % interval, and the
    probability of a difference as large by chance, were they equally good (exact McNemar test)."""

    difference: float
    margin: float
    p_value: float


def compare(first: Points, second_right: np.ndarray, weights: np.ndarray) -> Comparison:
    """Compares two maps on the sample of the first: whether the second is right at its points, bool.

    `weights` are the shares of the first map's classes, which are the strata. ValueError where a class has fewer than
    two points.
    """
    weights = np.asarray(weights, np.float64) / np.sum(weights)
    gain = second_right.astype(np.int64) - first.right.astype(np.int64)
    difference = variance = 0.0
    for c in np.flatnonzero(weights):
        here = gain[first.mapped == c]
        if len(here) < 2:
            raise ValueError(f"class {c} of the map has {len(here)} points: two at least are needed")
        difference += weights[c] * here.mean()
        variance += weights[c] ** 2 * here.var(ddof=1) / len(here)
    better, worse = int((gain > 0).sum()), int((gain < 0).sum())
    return Comparison(float(difference), 1.96 * math.sqrt(variance), _sign_test(better, worse))


def _sign_test(better: int, worse: int) -> float:
    """The exact two-sided probability of so uneven a split, were both sides as likely."""
    n, least = better + worse, min(better, worse)
    tail = sum(math.comb(n, i) for i in range(least + 1)) / 2**n if n else 1.0
    return min(1.0, 2 * tail)
