"""Which cells to label next: those where a label is worth most, far from what is labelled and from each other.

With a map, a greedy choice: what a cell is worth times how unlike it is to all that is labelled or chosen already.
Without one, the centres of clusters (k-means), so that few cells stand for all that there is.
"""

from typing import NamedTuple

import numpy as np

from jingwei.system.compiled import compiled

CLIP = 3.0  # deviations: beyond, a cell is not more unlike than others
LEAST = 0.25  # of the deviation of a band's mean: features that differ less are not blown up
SAMPLE = 1000  # cells whose distances say what is far
ROUNDS = 20  # of moving centres


class Chosen(NamedTuple):
    """Numbers of cells, the best first; how unlike each is to what is labelled or was chosen before (0 to 1); and, of
    clusters, the share of all cells that each stands for (NaN of others).
    """

    cells: np.ndarray
    unlike: np.ndarray
    share: np.ndarray


def alike_scales(features: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Features of cells (see `Cells`), and of others, in deviations of the cells' own, none beyond CLIP.

    What hardly differs between cells, as their texture may, counts LEAST of a band's mean at least: or noise would be
    as important as colours.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    bands = features.shape[1] // 3
    deviation = np.maximum(deviation, LEAST * np.tile(deviation[:bands], 3))
    deviation[deviation <= 1e-9 * np.maximum(1, np.abs(mean))] = 1
    return [np.clip((each - mean) / deviation, -CLIP, CLIP) for each in (features, *others)]


def choose(features: np.ndarray, worth: np.ndarray, known: np.ndarray, count: int) -> Chosen:
    """`count` cells, or as many as there are, one after the other: of those left, the one of the highest worth times
    unlikeness. Of equals the first.

    `features` float64 [cell, feature] and `known` [labelled, feature] in one scale, `worth` float64 by cell. A cell's
    unlikeness is its distance to the nearest that is labelled or chosen, as a share of the distance that is usual
    between cells, 1 at most.
    """
    nearest = _distances(features, known)
    far = _usual_distance(features)
    left = np.ones(len(features), bool)
    cells, unlike = [], []
    for _ in range(min(count, len(features))):
        factor = np.minimum(nearest / far, 1)
        scores = np.where(left, worth * factor, -1.0)
        best = int(np.argmax(scores))
        if scores[best] <= 0:  # all that are left have doubles, or nothing to teach: the most valuable first
            best = int(np.argmax(np.where(left, worth, -1.0)))
        cells.append(best)
        unlike.append(factor[best])
        left[best] = False
        _lower(features, features[best], nearest)
    return Chosen(np.array(cells, np.int64), np.array(unlike), np.full(len(cells), np.nan))


def spread(features: np.ndarray, known: np.ndarray, count: int, seed: int) -> Chosen:
    """`count` cells, or as many as there are, that stand for all: those next to the centres of clusters, the cluster of
    most cells first.

    Centres begin far from each other and from the `known` cells, which keep their places (k-means++ of Arthur and
    Vassilvitskii, SODA 2007); cells that are nearer to a known one belong to none of the new clusters.
    """
    count = min(count, len(features))
    to_known = _distances(features, known)
    centers = features[_first_centers(features, to_known, count, seed)].copy()
    for _ in range(ROUNDS):
        own = _own_centers(features, centers, to_known)
        moved = centers.copy()
        for k in range(count):
            if (mine := own == k).any():
                moved[k] = features[mine].mean(axis=0)
        if (moved == centers).all():
            break
        centers = moved
    sizes = np.bincount(own[own >= 0], minlength=count)
    left, cells = np.ones(len(features), bool), []
    order = np.argsort(-sizes, kind="stable")
    for k in order:
        apart = np.where(left, ((features - centers[k]) ** 2).sum(axis=1), np.inf)
        cells.append(int(np.argmin(apart)))
        left[cells[-1]] = False
    chosen = np.array(cells, np.int64)
    unlike = np.minimum(to_known[chosen] / _usual_distance(features), 1)
    return Chosen(chosen, unlike, sizes[order] / max(1, len(features)))


def _first_centers(features: np.ndarray, to_known: np.ndarray, count: int, seed: int) -> list[int]:
    """Cells drawn by the square of their distance to all before. Raw bits: numpy promises that their stream stays."""
    generator = np.random.PCG64(np.random.SeedSequence(seed))
    nearest = to_known.copy()
    first: list[int] = []
    for _ in range(count):
        weights = np.where(np.isinf(nearest), 1.0, nearest**2)
        weights[first] = 0
        if not weights.any():
            weights = np.ones(len(features))
            weights[first] = 0
        sums = np.cumsum(weights)
        drawn = generator.random_raw() / 2.0**64 * sums[-1]
        first.append(min(int(np.searchsorted(sums, drawn, side="right")), int(np.flatnonzero(weights)[-1])))
        _lower(features, features[first[-1]], nearest)
    return first


def _own_centers(features: np.ndarray, centers: np.ndarray, to_known: np.ndarray) -> np.ndarray:
    """The number of each cell's nearest centre, -1 where a known cell is nearer."""
    own, nearest = np.full(len(features), -1, np.int64), to_known.copy()
    for k, center in enumerate(centers):
        before = nearest.copy()
        _lower(features, center, nearest)
        own[nearest < before] = k
    return own


def _distances(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The distance of each cell to the nearest known one; infinite without any."""
    nearest = np.full(len(features), np.inf)
    for point in known:
        _lower(features, point, nearest)
    return nearest


def _usual_distance(features: np.ndarray) -> float:
    """The distance in the middle of those between some cells; 1 where that is nothing."""
    some = features[np.linspace(0, len(features) - 1, min(SAMPLE, len(features))).astype(np.int64)]
    apart = np.concatenate([np.sqrt(((some - point) ** 2).sum(axis=1)) for point in some])
    return float(np.median(apart)) or 1.0


@compiled
def _lower(features, point, nearest):
    """Lowers the distances of cells to those to a point, where that is nearer."""
    for i in range(features.shape[0]):
        total = 0.0
        for k in range(features.shape[1]):
            total += (features[i, k] - point[k]) ** 2
        distance = np.sqrt(total)
        if distance < nearest[i]:
            nearest[i] = distance
