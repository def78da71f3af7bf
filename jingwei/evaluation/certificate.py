"""What a customer may sign: bounds on a map's errors that hold at any size of the sample, from a labelled sample.

The intervals of `accuracy.py` are those that the field publishes; they lean on the normal distribution, and are too
narrow where few points are wrong. The bounds here lean on nothing but the draw. Within a class of the map the points
are a simple random sample, so their hits are binomial, and the bounds are exact (Clopper and Pearson, The use of
confidence or fiducial limits, Biometrika 26 (1934) 404-413). Over several classes, of which each has its own share of
wrong pixels, they are Chernoff's, with the worst shares that the sample leaves possible: a little wider than need be,
never too narrow. (Points are drawn without replacement; Hoeffding, Journal of the American Statistical Association 58
(1963) 13-30, section 6: that only helps.) Points without a label must be missing for no reason that has to do with it.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from jingwei.evaluation.accuracy import CONFIDENCE

ASSURANCE = 0.95
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the map, its surest pixels first, that are tried one by one
STARTS = (0.3, 0.6)  # of them: where the trials begin, each with its part of the risk
TILTS, STEPS = 100, 45  # how finely the Chernoff bound is searched: coarser is wider, not wrong


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


def accuracy_bounds(points: Points, weights: np.ndarray) -> Bounds:
    """95 % bounds of the map's accuracy over all its classes; `weights` are the classes' shares of its pixels."""
    risk = (1 - ASSURANCE) / 2
    return Bounds(1 - error_at_most(points, weights, risk), _share_at_most(points.mapped, points.right, weights, risk))


def error_at_most(points: Points, weights: np.ndarray, risk: float = 1 - ASSURANCE) -> float:
    """The share of wrong pixels that is not exceeded with the assurance 1 - `risk`, over all classes of the map.

    `weights` are the classes' shares of the pixels in question; they need not add up to 1. Classes without a point may
    be all wrong.
    """
    return _share_at_most(points.mapped, ~points.right, weights, risk)


def _share_at_most(mapped: np.ndarray, marked: np.ndarray, weights: np.ndarray, risk: float) -> float:
    """The same for pixels with any mark (bool, by point)."""
    weights = np.asarray(weights, np.float64) / np.sum(weights)
    there = np.flatnonzero(weights)
    counts = np.bincount(mapped, minlength=len(weights))[there]
    hits = np.bincount(mapped[marked], minlength=len(weights))[there]
    unseen = float(weights[there][counts == 0].sum())
    seen = counts > 0
    if seen.sum() == 1:
        n, k = int(counts[seen][0]), int(hits[seen][0])
        return unseen + float(weights[there][seen][0]) * (1 - exact_low(n - k, n, risk))
    return unseen + (_chernoff(hits[seen], counts[seen], weights[there][seen], risk) if seen.any() else 0.0)


def _chernoff(hits: np.ndarray, counts: np.ndarray, weights: np.ndarray, risk: float) -> float:
    """The largest weighted share, sum of w p, that the hits of independent binomial samples leave possible.

    T = sum of w k / n has, for any tilt t > 0, P(T <= T_seen) <= exp(t T_seen) prod (1 - p b)^n, b = 1 - exp(-t w / n).
    Shares p for which that is below the risk are ruled out. What is left is a convex set for each t, so the largest
    sum of w p in it is found by one multiplier; the smallest over some tilts is taken, as each of them holds.
    """
    each = weights / counts
    seen = float((each * hits).sum())
    tilts = np.geomspace(1e-3 / each.max(), 60 / each.min(), TILTS)[:, None]
    b = -np.expm1(-tilts * each)
    low, high = (
        np.zeros((TILTS, 1)),
        np.full((TILTS, 1), 700.0),
    )  # the multiplier's logarithm, over the least that counts
    least = (b / each).min(axis=1, keepdims=True)

    def shares(logarithm: np.ndarray) -> np.ndarray:
        return np.clip((1 - b / (each * least * np.exp(logarithm))) / b, 0, 1)

    with np.errstate(divide="ignore", over="ignore"):
        for _ in range(STEPS):
            middle = (low + high) / 2
            room = tilts * seen + (counts * np.log1p(-b * shares(middle))).sum(axis=1, keepdims=True)
            possible = room >= math.log(risk)
            low, high = np.where(possible, middle, low), np.where(possible, high, middle)
        return min(float(weights.sum()), float((weights * shares(high)).sum(axis=1).min()))


class Certified(NamedTuple):
    """The surest part of a map: pixels of a `confidence` from there up, and their `share` of the map."""

    confidence: int
    share: float


def certified_part(points: Points, pixels: np.ndarray, alpha: float) -> Certified | None:
    """The largest part of a map, its surest pixels, of which at most a share `alpha` is wrong; None where none is.

    `pixels` counts the map's pixels, int64 [class, confidence 0 to 100]. With 95 % assurance no part is named of which
    more is wrong: the parts of SHARES are tried in that order, with the risk of the STARTS that they follow and that no
    failed trial has used up (the fallback procedure of Wiens, Pharmaceutical Statistics 2 (2003) 211-215).
    """
    assert points.confidence is not None, "points of a map without confidence name no part of it"
    found, risk = None, 0.0
    by_confidence = pixels.sum(axis=0)[::-1].cumsum()[::-1] / pixels.sum()  # share of the map from a confidence up
    for wanted in SHARES:
        risk += (1 - ASSURANCE) / len(STARTS) if wanted in STARTS else 0
        least = int(np.flatnonzero(by_confidence >= wanted)[-1])
        inside = points.confidence >= least
        part = Points(points.mapped[inside], points.truth[inside])
        if risk and error_at_most(part, pixels[:, least:].sum(axis=1), risk) <= alpha:
            found = Certified(least, float(by_confidence[least]))
        else:
            risk = 0.0
    return found


def points_to_halve(points: int) -> int:
    """About how many further points, drawn alike, halve an interval: its width falls with the root of their number."""
    return 3 * points


class Comparison(NamedTuple):
    """Two maps on one sample: accuracy of the second less that of the first, and half of its 95 % interval.

    `better` points are right on the second map alone, `worse` ones on the first alone; `p_value` is the probability of
    so uneven a split if in each class of the first map both were right as often (exact McNemar test).
    """

    difference: float
    margin: float
    better: int
    worse: int
    p_value: float


def compare(first: Points, second_right: np.ndarray, weights: np.ndarray) -> Comparison:
    """Compares two maps on the sample of the first: whether the second is right at its points, bool.

    `weights` are the shares of the first map's classes, which are the strata: in pixels, where one may have a
    single pixel and point. ValueError where any other has fewer than two points.
    """
    single = np.asarray(weights) == 1
    weights = np.asarray(weights, np.float64) / np.sum(weights)
    gain = second_right.astype(np.int64) - first.right.astype(np.int64)
    difference = variance = 0.0
    for c in np.flatnonzero(weights):
        here = gain[first.mapped == c]
        if len(here) < (1 if single[c] else 2):
            raise ValueError(f"class {c} of the map has {len(here)} points: two at least are needed")
        difference += weights[c] * here.mean()
        variance += weights[c] ** 2 * here.var(ddof=1) / len(here) if len(here) > 1 else 0.0
    better, worse = int((gain > 0).sum()), int((gain < 0).sum())
    return Comparison(float(difference), CONFIDENCE * math.sqrt(variance), better, worse, _sign_test(better, worse))


def _sign_test(better: int, worse: int) -> float:
    """The exact two-sided probability of so uneven a split, were both sides as likely."""
    n, least = better + worse, min(better, worse)
    tail = sum(math.comb(n, i) for i in range(least + 1)) / 2**n if n else 1.0
    return min(1.0, 2 * tail)
