"""Groups of drawn features that touch or overlap: what must not be torn by a split into training and validation."""

from typing import NamedTuple

import numpy as np

from jingwei.grid import Window, strips
from jingwei.labels.areas import ANY
from jingwei.labels.drawn import DrawnLabels
from jingwei.legend import NODATA
from jingwei.raster.rasterize import paint, runs_of
from jingwei.raster.tiles import TILE
from jingwei.system.compiled import compiled

NOTHING = -1  # no feature


class Groups(NamedTuple):
    """The groups of a scene's features, numbered in the order of their first features.

    `of_feature` (int32) is the group of each feature, areas of background behind the drawn ones; NOTHING of one without
    a pixel. `pixels` (groups, classes; int64) counts those that are seen.
    """

    of_feature: np.ndarray
    pixels: np.ndarray


def find_groups(labels: DrawnLabels) -> Groups:
    """The groups of the features of drawn labels: those whose pixels touch, over edges or corners, or overlap.

    Pixels of areas whose use is said belong to none: they have a side already.
    """
    values = feature_values(labels)
    parents = np.arange(len(values), dtype=np.int32)
    seen = np.zeros(len(values), np.int64)
    above = np.full(labels.width, NOTHING, np.int32)
    for first, end in strips(labels.height, TILE):
        features = read_features(labels, Window(first, 0, end - first, labels.width), parents)
        _join(features, above, parents, seen)
        above = features[-1].copy()
    _flatten(parents)
    numbers = np.cumsum(parents == np.arange(len(parents))) - 1
    groups = numbers[parents].astype(np.int32) if len(parents) else parents
    pixels = np.zeros((groups.max(initial=-1) + 1, len(labels.legend)), np.int64)
    counted = (values != NODATA) & (seen > 0)
    np.add.at(pixels, (groups[counted], values[counted]), seen[counted])
    groups[seen == 0] = NOTHING
    return Groups(groups, pixels)


def feature_values(labels: DrawnLabels) -> np.ndarray:
    """The class id of each feature, then of each area: uint8."""
    background = NODATA if labels.legend.background is None else labels.legend.background
    return np.append(labels.values, np.full(len(labels.areas), background, np.uint8))


def read_features(labels: DrawnLabels, window: Window, parents: np.ndarray | None = None) -> np.ndarray:
    """The feature that each pixel of a window shows, int32 HW, NOTHING where there is none: numbers as of `Groups`.

    With `parents`, those that a feature lies above are joined with it.
    """
    features = np.full((window.height, window.width), NOTHING, np.int32)
    areas, drawn = labels.areas.polygons, labels.polygons
    behind = np.arange(len(drawn), len(drawn) + len(areas), dtype=np.int32)
    for polygons, order, numbers in (
        (areas, areas.touching(window)[: None if labels.rules.areas_complete else 0], behind),
        (drawn, labels.features_in(window), np.arange(len(drawn), dtype=np.int32)),
    ):
        runs = runs_of(polygons, window, order)
        if parents is not None:
            _join_covered(features, runs, numbers, parents)
        paint(features, runs, numbers)
    features[labels.areas.read(window) > ANY] = NOTHING
    return features


@compiled
def _find(parents, feature):
    while parents[feature] != feature:
        parents[feature] = parents[parents[feature]]
        feature = parents[feature]
    return feature


@compiled
def _unite(parents, one, other):
    one, other = _find(parents, one), _find(parents, other)
    if one < other:
        parents[other] = one
    else:
        parents[one] = other


@compiled
def _join_covered(features, runs, numbers, parents):
    """Joins the features of runs with those that they are about to be painted over, or that an earlier run covers."""
    rows, starts, ends, which = runs
    for k in range(len(rows)):
        feature = numbers[which[k]]
        for col in range(starts[k], ends[k]):
            under = features[rows[k], col]
            if under >= 0 and under != feature:
                _unite(parents, under, feature)
            features[rows[k], col] = feature


@compiled
def _join(features, above, parents, seen):
    """Joins the features (int32 HW) of pixels that touch over edges or corners, and counts each feature's pixels."""
    height, width = features.shape
    for r in range(height):
        upper = above if r == 0 else features[r - 1]
        for c in range(width):
            feature = features[r, c]
            if feature < 0:
                continue
            seen[feature] += 1
            if c and features[r, c - 1] >= 0 and features[r, c - 1] != feature:
                _unite(parents, features[r, c - 1], feature)
            for near in range(max(0, c - 1), min(width, c + 2)):
                if upper[near] >= 0 and upper[near] != feature:
                    _unite(parents, upper[near], feature)


@compiled
def _flatten(parents):
    for feature in range(len(parents)):
        parents[feature] = _find(parents, feature)
