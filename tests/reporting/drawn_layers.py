"""Layers of a report, drawn at random."""

import numpy as np

from jingwei.legend import NODATA
from jingwei.reporting.pyramid import PERCENT, PICTURE


def content(kind: str, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise over large areas of one value, of which some are NODATA."""
    rng = np.random.default_rng(seed)
    values = np.array([0, 1, 2, 3, NODATA], np.uint8) if kind != PERCENT else np.array([33, 67, 100, NODATA], np.uint8)
    coarse = rng.choice(values, (height // 40 + 1, width // 40 + 1))
    pixels = np.repeat(np.repeat(coarse, 40, axis=0), 40, axis=1)[:height, :width]
    noisy = rng.random((height, width)) < 0.2
    pixels = np.where(noisy, rng.choice(values, (height, width)), pixels)
    if kind != PICTURE:
        return pixels
    colors = np.stack([40 * pixels, 60 * pixels, 255 - 50 * pixels, np.where(pixels == NODATA, 0, 255)], axis=-1)
    colors[pixels == NODATA] = 0
    return colors.astype(np.uint8)


def parts_of(pixels: np.ndarray, rows: int):
    for first in range(0, len(pixels), rows):
        yield pixels[first : first + rows]
