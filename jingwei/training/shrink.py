"""Windows made smaller: the mean over the area that each new pixel covers, several times as fast as OpenCV's.

Columns are shrunk as rows are, of the picture turned over its diagonal: along rows the processor takes many values at
a time, across them it takes one.
"""

from functools import lru_cache

import cv2
import numpy as np

from jingwei.system.compiled import compiled


def shrink(pixels: np.ndarray, size: int) -> np.ndarray:
    """Square pixels_HWC (uint8, up to 4 bands) at `size` x `size`, which is no more than they have.

    Rounded after the rows and again after the columns. Halves go down once and up once, or pictures would brighten.
    """
    side, _, bands = pixels.shape
    covered = _covered(side, size)
    rows = _means_of_rows(pixels.reshape(side, side * bands), *covered, np.float32(0.499))
    turned = cv2.transpose(rows.reshape(size, side, bands))
    columns = _means_of_rows(turned.reshape(side, size * bands), *covered, np.float32(0.5))
    return cv2.transpose(columns.reshape(size, size, bands)).reshape(size, size, bands)


@lru_cache(64)
def _covered(side: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What each of `size` new rows covers of `side`: (first row, int64; shares of those from there on, float32)."""
    starts = np.arange(size) * side / size
    ends = starts + side / size
    most = int((np.ceil(ends) - np.floor(starts)).max())
    first = np.minimum(starts.astype(np.int64), side - most)
    rows = first[:, None] + np.arange(most)
    shares = np.minimum(rows + 1, ends[:, None]) - np.maximum(rows, starts[:, None])
    return first, (shares.clip(0) * size / side).astype(np.float32)


@compiled
def _means_of_rows(rows, first, weights, half):
    """Weighted means of some rows each (uint8, rows x width -> new rows x width), with `half` added, rounded down."""
    size, most = weights.shape
    width = rows.shape[1]
    means = np.empty((size, width), np.uint8)
    exact = np.empty(width, np.float32)
    for new in range(size):
        exact[:] = half
        for k in range(most):
            weight = weights[new, k]
            if weight:
                row = rows[first[new] + k]
                for x in range(width):
                    exact[x] += weight * np.float32(row[x])
        for x in range(width):
            means[new, x] = np.int32(exact[x])
    return means
