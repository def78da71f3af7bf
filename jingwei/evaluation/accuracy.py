"""What a labelled sample says of a map: areas without the map's bias, accuracies, and how sure they are.

After Olofsson et al., Good practices for estimating area and assessing accuracy of land change, Remote Sensing of
Environment 148 (2014) 42-57: a stratified random sample whose strata are the map's classes. Equation numbers below are
the paper's.
"""

from typing import NamedTuple

import numpy as np

CONFIDENCE = 1.96  # standard errors on either side: 95 %
RARE = 75  # points at least in each class, as in the paper's example (it advises 50 to 100)


class Estimate(NamedTuple):
    """Values by class (float64; NaN where there is none) and half of their 95 % intervals."""

    value: np.ndarray
    margin: np.ndarray


class Accuracy(NamedTuple):
    """What a sample says. `area` are shares of the map's area; `users`, `producers` and `overall` are accuracies."""

    area: Estimate
    users: Estimate
    producers: Estimate
    overall: Estimate


def assess(counts: np.ndarray, mapped: np.ndarray) -> Accuracy:
    """Estimates from sample counts (int, [class on the map, class in truth]) and the classes' mapped areas.

    Classes that the map lacks are not strata; they may still be in the truth. ValueError where a class of the map
    has fewer than two points: its variance can't be known; one will do for a class of one pixel.
    """
    counts, mapped = np.asarray(counts, np.float64), np.asarray(mapped, np.float64)
    points = counts.sum(axis=1)
    strata = mapped > 0
    if (points[strata] < np.where(mapped[strata] == 1, 1, 2)).any() or (points[~strata] > 0).any():
        raise ValueError(f"points per class {points.astype(int).tolist()}: each class of the map needs two at least")
    weights = mapped / mapped.sum()
    rows, freedom = np.where(strata, points, 1)[:, None], np.maximum(points - 1, 1)[:, None]
    inside = counts / rows  # of the points of a stratum, the share of each true class
    shares = weights[:, None] * inside  # eq. 4
    area = shares.sum(axis=0)  # eq. 9
    area_error = np.sqrt(((weights[:, None] * shares - shares**2) / freedom).sum(axis=0))  # eq. 10

    hits = np.diagonal(inside)
    users = np.where(strata, hits, np.nan)  # eq. 2
    users_variance = np.where(strata, hits * (1 - hits) / freedom[:, 0], np.nan)  # eq. 6
    overall = np.diagonal(shares).sum()  # eq. 1
    overall_error = np.sqrt(np.nansum(weights**2 * users_variance))  # eq. 5

    with np.errstate(invalid="ignore", divide="ignore"):
        producers = np.diagonal(shares) / area  # eq. 3
        others = mapped[:, None] ** 2 * inside * (1 - inside) / freedom
        np.fill_diagonal(others, 0)
        own = mapped**2 * (1 - producers) ** 2 * np.nan_to_num(users_variance)
        true_area = area * mapped.sum()
        producers_error = np.sqrt(own + producers**2 * others.sum(axis=0)) / true_area  # eq. 7
    return Accuracy(
        Estimate(area, CONFIDENCE * area_error),
        Estimate(users, CONFIDENCE * np.sqrt(users_variance)),
        Estimate(producers, CONFIDENCE * producers_error),
        Estimate(np.array(overall), CONFIDENCE * np.array(overall_error)),
    )


def allocate(mapped: np.ndarray, points: int) -> np.ndarray:
    """Shares `points` out among the classes of a map, int64 by class, as the paper advises.

    By area, but RARE for each class that would get fewer (or half of an equal share, where there are few points); what
    that takes is missing in the large classes. No class gets more points than it has pixels, and none fewer than two
    that has them: without these, `assess` knows nothing. `points` are twice the classes of the map, or more.
    """
    mapped = np.asarray(mapped, np.int64)
    least = max(2, min(RARE, points // (2 * max(1, int(np.count_nonzero(mapped))))))
    assert points >= 2 * np.count_nonzero(mapped), "too few points for the map's classes"
    rare = np.zeros(len(mapped), bool)
    while True:
        common = (mapped > 0) & ~rare
        left = points - least * np.count_nonzero(rare)
        ideal = np.where(common, left * mapped / max(1, mapped[common].sum()), 0.0)
        few = common & (ideal < least)
        if not few.any():
            break
        rare |= few
    shared = np.floor(ideal).astype(np.int64)
    by_rest = np.argsort(np.where(common, shared - ideal, np.inf), kind="stable")
    shared[by_rest[: left - shared.sum()]] += 1
    return np.minimum(np.where(rare, least, shared), mapped)
