"""How often each value stands in a map."""

import numpy as np

from jingwei.grid import strips


def histogram(labels: np.ndarray) -> np.ndarray:
    """Pixels per value, int64 of 256, of a uint8 array (HW)."""
    import cv2  # not loaded where nothing is counted

    counts = np.zeros(256, np.int64)
    # OpenCV's histogram is four times as fast as numpy's, but counts in float32: exact up to 2^24 pixels a call.
    for first, end in strips(len(labels), max(1, 2**24 // labels.shape[1])):
        counts += cv2.calcHist([labels[first:end]], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
    return counts
