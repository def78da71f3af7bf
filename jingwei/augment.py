"""What a training window goes through between its crop and the network: numpy and OpenCV, any bands, any type.

Whatever lies outside a crop becomes NODATA in the labels, so that no padding is ever learned as a class.
"""

import cv2
import numpy as np

from jingwei.legend import NODATA

TRIES = 4  # positions tried for a window that is at least half labelled


def random_window(
    pixels: np.ndarray, labels: np.ndarray, size: int, scale: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A window of `size` px after scaling by `scale`, at a random place: (pixels_HWC, labels_HW).

    The window covers round(size / scale) px of the crop; a crop smaller than that is padded, with NODATA labels.
    Several places are tried and the best-labelled is taken, since crops at a flight's edge are largely empty.
    """
    side = max(1, round(size / scale))
    height, width = labels.shape
    best = None
    for _ in range(TRIES):
        row = int(rng.integers(0, max(1, height - side + 1)))
        col = int(rng.integers(0, max(1, width - side + 1)))
        part = labels[row : row + side, col : col + side]
        share = np.count_nonzero(part != NODATA)
        if best is None or share > best[0]:
            best = (share, row, col)
        if 2 * share >= part.size:
            break
    _, row, col = best
    pixels = pixels[row : row + side, col : col + side]
    labels = labels[row : row + side, col : col + side]
    bottom, right = side - labels.shape[0], side - labels.shape[1]
    if bottom or right:
        pixels = np.pad(pixels, ((0, bottom), (0, right), (0, 0)))
        labels = np.pad(labels, ((0, bottom), (0, right)), constant_values=NODATA)
    return resize(pixels, labels, size)


def resize(pixels: np.ndarray, labels: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Both at `size` x `size`: pixels by area or linear interpolation, labels by the nearest pixel."""
    if labels.shape == (size, size):
        return pixels, labels
    shrinking = labels.shape[0] > size
    bands = pixels.shape[2]
    how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    # OpenCV resizes four bands at a time, and drops the axis of a single one.
    parts = [cv2.resize(pixels[..., b : b + 4], (size, size), interpolation=how) for b in range(0, bands, 4)]
    pixels = np.concatenate([part.reshape(size, size, -1) for part in parts], axis=2)
    labels = cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    return pixels, labels


def fill_unseen(pixels: np.ndarray, labels: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """Pixels outside the flight and padding (0 in all bands and unlabelled) become `fill`, a value per band: HWC.

    The black of nodata would be the strongest signal in a picture. The mean that the network subtracts is none.
    """
    unseen = (labels == NODATA) & ~pixels.any(axis=2)
    if not unseen.any():
        return pixels
    return np.where(unseen[..., None], as_type(fill, pixels.dtype), pixels)


def as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in a file's type, rounded where that has whole numbers only."""
    return (values if np.issubdtype(dtype, np.floating) else np.round(values)).astype(dtype)


def random_light(
    pixels: np.ndarray, mean: np.ndarray, std: np.ndarray, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Another light: gain and offset at random, float32 HWC, safe for any band count and unit.

    `mean` and `std` are the bands' (float, of C). All bands brighten together by up to `strength` standard deviations,
    each alone by half of that; contrast changes by the same shares.
    """
    bands = len(mean)
    gain = 1 + rng.uniform(-1, 1) * strength + rng.uniform(-0.5, 0.5, bands) * strength
    offset = (rng.uniform(-1, 1) + rng.uniform(-0.5, 0.5, bands)) * strength * std
    return pixels * gain.astype(np.float32) + (mean - mean * gain + offset).astype(np.float32)


def random_turn(pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One of the eight turns and mirrorings of a square: seen from above, all are as likely."""
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    pixels, labels = np.rot90(pixels, turns), np.rot90(labels, turns)
    if mirrored:
        pixels, labels = pixels[:, ::-1], labels[:, ::-1]
    return pixels, labels
