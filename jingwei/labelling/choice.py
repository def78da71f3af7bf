"""Which cells to label next: the centres of clusters (k-means), so that few cells stand for all that there is.

With a map, cells weigh what a label there is worth, so that most centres lie where the map is unsure, and none is an
oddity that stands for itself alone. That is the idea of CLUE (Prabhu, Chandrasekaran, Saenko, Hoffman, ICCV 2021), on
colours in place of a network's features.
"""

from typing import NamedTuple

import numpy as np

from jingwei.system.compiled import compiled

CLIP = 3.0  # deviations: beyond, a cell is not more unlike than others
LEAST = 0.25  # of the deviation of a band's mean: features that differ less are not blown up
LIGHTEST = 1e-6  # of the heaviest cell: what is worth nothing still belongs somewhere
ROUNDS = 20  # of moving centres


class Chosen(NamedTuple):
    """Numbers of cells, the best first, and the share of all cells that each stands for."""

    cells: np.ndarray
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


def spread(features: np.ndarray, known: np.ndarray, count: int, seed: int, worth: np.ndarray | None = None) -> Chosen:
    """`count` cells, or as many as there are, that stand for all: those next to the centres of clusters, the heaviest
    cluster first.

    A cell weighs its `worth` (float64 by cell, from 0 up; None: all weigh alike). Centres begin far from each other and
    from the `known` cells, which keep their places (k-means++ of Arthur and Vassilvitskii, SODA 2007); cells that are
    nearer to a known one belong to none of the new clusters.
    """
    count = min(count, len(features))
    weights = np.ones(len(features)) if worth is None or not worth.any() else np.maximum(worth / worth.max(), LIGHTEST)
    to_known = _distances(features, known)
    centers = features[_first_centers(features, weights, to_known, count, seed)].copy()
    for _ in range(ROUNDS):
        own = _own_centers(features, centers, to_known)
        moved = centers.copy()
        for k in range(count):
            if (mine := own == k).any():
                moved[k] = np.average(features[mine], axis=0, weights=weights[mine])
        if (moved == centers).all():
            break
        centers = moved
    sizes, heavy = (np.bincount(own[own >= 0], each, count) for each in (None, weights[own >= 0]))
    left, cells = np.ones(len(features), bool), []
    order = np.argsort(-heavy, kind="stable")
    for k in order:
        apart = np.where(left, ((features - centers[k]) ** 2).sum(axis=1), np.inf)
        cells.append(int(np.argmin(apart)))
        left[cells[-1]] = False
    return Chosen(np.array(cells, np.int64), sizes[order] / max(1, len(features)))


def _first_centers(features: np.ndarray, weights: np.ndarray, to_known: np.ndarray, count: int, seed: int) -> list[int]:
    """Cells drawn by weight and the square of their distance to all before. Raw bits: numpy promises their stream."""
    generator = np.random.PCG64(np.random.SeedSequence(seed))
    nearest = to_known.copy()
    first: list[int] = []
    for _ in range(count):
        chances = np.where(np.isinf(nearest), 1.0, nearest**2) * weights
        chances[first] = 0
        if not chances.any():
            chances = weights.copy()
            chances[first] = 0
        sums = np.cumsum(chances)
        drawn = generator.random_raw() / 2.0**64 * sums[-1]
        first.append(min(int(np.searchsorted(sums, drawn, side="right")), int(np.flatnonzero(chances)[-1])))
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
