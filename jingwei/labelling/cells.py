"""What is to be known of each cell of a scene, gathered in one walk down its rows.

Cells are squares of about one side that cover the scene. In memory are some rows of it and the sums of all cells.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from jingwei import grid
from jingwei.grid import Blocks
from jingwei.legend import NODATA
from jingwei.raster.reading import Raster
from jingwei.system.compiled import compiled
from jingwei.system.prefetch import ahead

STRIP_BYTES = 1 << 26  # of pixels that are read at a time
SUMS = 5  # per band: values, their squares, steps to the right, pixels that have a value, and a step


@dataclass(frozen=True)
class Cells:
    """The cells of a scene, in the order of `blocks`, and what is in each.

    `features` (float64 [cell, 3 x bands]) are the mean, the deviation and the mean step between neighbours in a row, of
    each band, in the file's units; 0 where a cell has no valid pixel. `valid` and `labelled` count pixels (int64),
    `classes` those of each class of the map (int64 [cell, class]). `doubt` is the mean doubt, 0 to 1; NaN where none is
    known.
    """

    blocks: Blocks
    features: np.ndarray
    valid: np.ndarray
    labelled: np.ndarray
    classes: np.ndarray
    doubt: np.ndarray

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def areas(self) -> np.ndarray:
        """Pixels of each cell, int64."""
        return np.multiply.outer(np.diff(self.blocks.row_edges), np.diff(self.blocks.col_edges)).reshape(-1)


Rows = Callable[[int, int], np.ndarray]  # (first row, the row after the last) -> uint8 HW


def read_cells(
    image: Raster,
    side: int,
    labels: Rows | None = None,
    doubt: Rows | None = None,
    given: Rows | None = None,
    *,
    class_count: int = 256,
    strip_rows: int | None = None,
    progress: Callable[[int], object] = lambda pixels: None,
) -> Cells:
    """The cells of an open scene, `side` px wide or so.

    Each of the others gives rows of the scene: `labels` the class ids of its map, below `class_count`, `doubt`
    percents, `given` the labels that people have drawn; all with NODATA where there is nothing. `progress` is called
    with pixels as they are done.
    """
    height, width = image.shape
    blocks = Blocks(height, width, side)
    down, across = len(blocks.row_edges) - 1, len(blocks.col_edges) - 1
    row_cells, col_cells = (_cell_numbers(edges) for edges in (blocks.row_edges, blocks.col_edges))
    sums = np.zeros((down, across, image.bands, SUMS))
    classes = np.zeros((down, across, class_count), np.int64)
    valid, percents, doubted, drawn = np.zeros((4, down, across), np.int64)

    def read() -> Iterator[tuple]:
        rows = strip_rows or max(1, min(256, STRIP_BYTES // (width * max(1, image.bands) * image.dtype.itemsize)))
        for first, end in grid.strips(height, rows):
            others = [None if each is None else each(first, end) for each in (labels, doubt, given)]
            yield first, *image.read_rows(first, end), *others

    def counted(values: np.ndarray) -> np.ndarray:
        """How often each cell of the strip has each value: so much is kept of the strip alone, not of the scene."""
        found = np.zeros((here.stop - here.start, across, 256), np.int64)
        _add_values(values, inside, cells - here.start, col_cells, found)
        return found

    for first, pixels, inside, map_ids, doubts, given_ids in ahead(read()):
        cells = row_cells[first : first + len(inside)]
        here = slice(cells[0], cells[-1] + 1)
        _add_colors(pixels, inside, cells, col_cells, sums, valid)
        if map_ids is not None:
            classes[here] += counted(map_ids)[..., :class_count]
        if doubts is not None:
            found = counted(doubts)[..., :101]
            percents[here] += found @ np.arange(101)
            doubted[here] += found.sum(axis=-1)
        if given_ids is not None:
            drawn[here] += counted(given_ids)[..., :NODATA].sum(axis=-1)
        progress(inside.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_doubt = percents.reshape(-1) / doubted.reshape(-1) / 100
    return Cells(
        blocks, _features(sums.reshape(down * across, image.bands, SUMS)), valid.reshape(-1), drawn.reshape(-1),
        classes.reshape(down * across, class_count), mean_doubt,
    )  # fmt: skip


def features_of(pixels_CHW: np.ndarray, valid_HW: np.ndarray) -> np.ndarray:
    """The features of a single window, float64 [3 x bands], as those of a cell."""
    bands, height, width = pixels_CHW.shape
    sums, valid = np.zeros((1, 1, bands, SUMS)), np.zeros((1, 1), np.int64)
    _add_colors(pixels_CHW, valid_HW, np.zeros(height, np.int64), np.zeros(width, np.int64), sums, valid)
    return _features(sums[0])[0]


def _cell_numbers(edges: list[int]) -> np.ndarray:
    """The cell of each row or column."""
    return np.repeat(np.arange(len(edges) - 1), np.diff(edges))


def _features(sums: np.ndarray) -> np.ndarray:
    """Mean, deviation and mean step per band, [cell, 3 x bands], of the sums of the pixels of cells."""
    pixels, steps = np.maximum(sums[..., 3], 1), np.maximum(sums[..., 4], 1)
    mean = sums[..., 0] / pixels
    deviation = np.sqrt(np.maximum(sums[..., 1] / pixels - mean**2, 0))
    return np.concatenate([mean, deviation, sums[..., 2] / steps], axis=1)


@compiled
def _add_colors(pixels, valid, row_cells, col_cells, sums, counts):
    """Adds pixels_CHW to the sums of their cells. Values are added in whole numbers exactly: up to 2^53."""
    bands, height, width = pixels.shape
    for r in range(height):
        i = row_cells[r]
        for c in range(width):
            counts[i, col_cells[c]] += valid[r, c]
        for b in range(bands):
            for c in range(width):
                value = np.float64(pixels[b, r, c])
                if not valid[r, c] or not np.isfinite(value):
                    continue
                j = col_cells[c]
                sums[i, j, b, 0] += value
                sums[i, j, b, 1] += value * value
                sums[i, j, b, 3] += 1
                if c + 1 < width and col_cells[c + 1] == j and valid[r, c + 1]:
                    step = abs(np.float64(pixels[b, r, c + 1]) - value)
                    if np.isfinite(step):
                        sums[i, j, b, 2] += step
                        sums[i, j, b, 4] += 1


@compiled
def _add_values(values, valid, row_cells, col_cells, counts):
    """Counts the values (uint8 HW) of the valid pixels of each cell."""
    for r in range(values.shape[0]):
        i = row_cells[r]
        for c in range(values.shape[1]):
            if valid[r, c]:
                counts[i, col_cells[c], values[r, c]] += 1
