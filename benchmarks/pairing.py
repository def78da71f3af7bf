"""Paired differences: the mean of what one way gained over another on the same scenes and seeds, and its interval."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import t


class Gain(NamedTuple):
    """A mean difference, its 95 % interval (nan for fewer than two pairs) and the number of pairs."""

    mean: float
    low: float
    high: float
    pairs: int


def gain(differences) -> Gain:
    """The mean of some differences with Student's 95 % interval."""
    differences = np.asarray(list(differences), float)
    count = len(differences)
    if count == 0:
        return Gain(float("nan"), float("nan"), float("nan"), 0)
    mean = float(differences.mean())
    if count == 1:
        return Gain(mean, float("nan"), float("nan"), 1)
    reach = float(t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count))
    return Gain(mean, mean - reach, mean + reach, count)


def paired_gain(scores: Mapping, base: Mapping) -> Gain:
    """What `scores` gained over `base`, over the keys that both have: (set, fold, seed) -> score."""
    return gain(scores[key] - base[key] for key in sorted(scores.keys() & base.keys()))


def gain_over_folds(scores: Mapping, base: Mapping) -> Gain:
    """The same where the last part of each key is a seed: the seeds of one fold are one pair, their mean.

    Seeds of one fold see the same scenes and are not independent of each other; this interval doesn't count on it.
    """
    folds: dict = {}
    for key in scores.keys() & base.keys():
        folds.setdefault(key[:-1], []).append(scores[key] - base[key])
    return gain(float(np.mean(folds[fold])) for fold in sorted(folds))
