"""The places of a scene that are worth a look: the largest wrong regions, or where the map is least sure."""

from typing import NamedTuple

import cv2
import numpy as np

from jingwei.legend import NODATA
from jingwei.reporting.pyramid import Layer, finest_level

SIDE = 4096  # px of the level that places are looked for on: the finest that is no larger
PLACES = 20
FEW_PIXELS = 4  # of that level: smaller regions are not worth a jump
RIGHT = 0xFFFF  # not a kind of error: NODATA is not a class of the truth
SPLIT = 16  # parts that are counted one after the other, for numpy's copies of them
CELLS = 32  # squares along the longer side, of which the least sure are shown


class Place(NamedTuple):
    """A rectangle of the scene, px, and what is wrong there.

    Where there is truth: `pixels` of class `truth` that the map has as class `guess`, joined over their 4 neighbours.
    Else: how `sure` the map is on average, in percent.
    """

    row: int
    col: int
    height: int
    width: int
    pixels: int | None = None
    truth: int | None = None
    guess: int | None = None
    sure: float | None = None


def largest_errors(labels: Layer, truth: Layer) -> list[Place]:
    """The largest regions that are wrong in one way (this class taken for that one), the largest first.

    Found on the finest level of at most SIDE px, so exact for scenes no larger; on others areas are about right, and a
    region narrower than a pixel of that level may be missed.
    """
    level, scale = _level_for(labels)
    kinds = _kinds_of_errors(labels.read(level), truth.read(level))
    counts = np.zeros(RIGHT + 1, np.int64)
    for rows in np.array_split(kinds, SPLIT):
        counts += np.bincount(rows.reshape(-1), minlength=RIGHT + 1)
    counts[RIGHT] = 0
    found: list[tuple[int, ...]] = []
    for kind in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist():
        if len(found) == PLACES and counts[kind] < found[-1][0]:
            break  # no region of this kind, or of those that follow, is as large as the last of the list
        count, _, boxes, _ = cv2.connectedComponentsWithStats((kinds == kind).view(np.uint8), connectivity=4)
        for col, row, width, height, pixels in boxes[1:count].tolist():
            if pixels >= FEW_PIXELS or scale == 1:
                found.append((pixels, row, col, height, width, kind))
        found = sorted(found, key=lambda region: (-region[0], region[1:]))[:PLACES]
    return [
        Place(*_inside(labels, scale, row, col, height, width), pixels * scale * scale, *divmod(kind, 256))
        for pixels, row, col, height, width, kind in found
    ]


def _kinds_of_errors(guessed: np.ndarray, known: np.ndarray) -> np.ndarray:
    """256 times the true class and the map's beside it, uint16; RIGHT where they are one, or nothing is known.

    A map's NODATA where there is truth is wrong too: class 255 of the guesses.
    """
    kinds = known.astype(np.uint16)
    kinds *= 256
    kinds += guessed
    kinds[(known == NODATA) | (guessed == known)] = RIGHT
    return kinds


def least_sure(sure: Layer) -> list[Place]:
    """The squares in which a map is least sure, by a layer of percents; none that is mostly outside the flight."""
    level, scale = _level_for(sure)
    percent = sure.read(level)
    side = max(1, -(-max(percent.shape) // CELLS))
    rows, cols = (-(-length // side) for length in percent.shape)
    padded = np.full((rows * side, cols * side), NODATA, np.uint8)
    padded[: percent.shape[0], : percent.shape[1]] = percent
    cells = padded.reshape(rows, side, cols, side).transpose(0, 2, 1, 3).reshape(rows, cols, side * side)
    valid = cells != NODATA
    counts = valid.sum(axis=2)
    means = np.where(valid, cells, 0).sum(axis=2) / np.maximum(counts, 1)
    shown = [(means[place], *place) for place in map(tuple, np.argwhere(2 * counts > side * side).tolist())]
    shown = sorted(place for place in shown if place[0] < 100)[:PLACES]
    return [
        Place(*_inside(sure, scale, row * side, col * side, side, side), sure=round(float(mean), 1))
        for mean, row, col in shown
    ]


def _level_for(layer: Layer) -> tuple[int, int]:
    """(the finest level of at most SIDE px, its scale: pixels of the scene along a side of one of its pixels)"""
    finest = finest_level(layer.height, layer.width)
    level = next(number for number in sorted(layer.tiles, reverse=True) if max(layer.size(number)) <= SIDE)
    return level, 1 << (finest - level)


def _inside(layer: Layer, scale: int, row: int, col: int, height: int, width: int) -> tuple[int, int, int, int]:
    """A rectangle of a level in pixels of the scene, cut off at its edges."""
    top, left = row * scale, col * scale
    return top, left, min(height * scale, layer.height - top), min(width * scale, layer.width - left)
