"""The refined Lee filter: speckle averaged away along edges, not over them.

J.-S. Lee, "Refined filtering of image noise using local statistics", Computer Graphics and Image Processing 15 (1981),
with multiplicative noise. Of the window round a pixel only the half on the pixel's side of the strongest edge is looked
at; the less it varies beyond what speckle explains, the nearer the pixel moves to its mean.
"""

import numpy as np

from jingwei.system.compiled import compiled


def refined_lee(intensity: np.ndarray, valid: np.ndarray, side: int, looks: float) -> np.ndarray:
    """Filters intensity_HW by windows of `side` px (odd, 5 or more). Float32; pixels that are not valid_HW become 0.

    Speckle of `looks` looks has a variance of mean^2 / looks. Invalid pixels, and those outside the array, are in no
    sum. A pixel depends on those within `side` // 2 of it alone, not on its place in the array.
    """
    margin = side // 2
    padded = np.pad(np.where(valid, intensity, 0).astype(np.float64), margin)
    weights = np.pad(valid.astype(np.float64), margin)
    small = 2 * ((side + 3) // 4) - 1  # side of the windows whose 3 x 3 means show the edge: about half as wide
    return _filter(padded, weights, _halves(side, padded.shape[1]), margin, small // 2, 1 / looks)


def _halves(side: int, row: int) -> np.ndarray:
    """The 8 half windows, the middle line in each, as places in a flat array: int64 (8, pixels).

    In pairs: left, right of a vertical edge; above, below; above right, below left; above left, below right.
    """
    reach = np.arange(side) - side // 2
    down, right = (part.ravel() for part in np.meshgrid(reach, reach, indexing="ij"))
    sides = (-right, right, -down, down, right - down, down - right, -right - down, right + down)
    return np.stack([(down * row + right)[distance >= 0] for distance in sides])


@compiled
def _filter(
    intensity: np.ndarray, weights: np.ndarray, halves: np.ndarray, margin: int, reach: int, noise: float
) -> np.ndarray:
    """The filter over arrays padded by `margin`, as float32 without the padding. `noise`: variance / mean^2."""
    height, width = intensity.shape[0] - 2 * margin, intensity.shape[1] - 2 * margin
    step = margin - reach  # so that the small windows fill the large one
    means = _means(intensity, weights, reach)
    values, counted = intensity.ravel(), weights.ravel()
    out = np.zeros((height, width), np.float32)
    m = np.empty((3, 3))
    for r in range(height):
        for x in range(width):
            row, col = r + margin, x + margin
            if weights[row, col] == 0:
                continue
            middle = means[row, col]
            for i in range(3):
                for j in range(3):
                    mean = means[row + (i - 1) * step, col + (j - 1) * step]
                    m[i, j] = mean if mean >= 0 else middle
            half = halves[_half(m)]
            total = count = squares = 0.0
            at = row * intensity.shape[1] + col
            for k in range(half.size):
                value, weight = values[at + half[k]], counted[at + half[k]]
                total += value
                squares += value * value
                count += weight
            mean = total / count
            variance = max(0.0, squares / count - mean * mean)
            signal = max(0.0, (variance - mean * mean * noise) / (1 + noise))
            trust = signal / variance if variance > 0 else 0.0
            out[r, x] = mean + trust * (intensity[row, col] - mean)
    return out


@compiled
def _means(intensity: np.ndarray, weights: np.ndarray, reach: int) -> np.ndarray:
    """The mean of the valid pixels of each small window, -1 where it has none or leaves the array.

    Summed afresh for each pixel: a running sum would depend on where it began.
    """
    height, width = intensity.shape
    means = np.full((height, width), -1.0)
    for r in range(reach, height - reach):
        for x in range(reach, width - reach):
            total = count = 0.0
            for i in range(r - reach, r + reach + 1):
                for j in range(x - reach, x + reach + 1):
                    total += intensity[i, j]
                    count += weights[i, j]
            if count > 0:
                means[r, x] = total / count
    return means


@compiled
def _half(m: np.ndarray) -> int:
    """Which half window lies on the pixel's side of the strongest edge, from the 3 x 3 means."""
    vertical = abs(m[0, 0] + m[1, 0] + m[2, 0] - (m[0, 2] + m[1, 2] + m[2, 2]))
    horizontal = abs(m[0, 0] + m[0, 1] + m[0, 2] - (m[2, 0] + m[2, 1] + m[2, 2]))
    falling = abs(m[0, 1] + m[0, 2] + m[1, 2] - (m[1, 0] + m[2, 0] + m[2, 1]))
    rising = abs(m[0, 0] + m[0, 1] + m[1, 0] - (m[1, 2] + m[2, 1] + m[2, 2]))
    strongest = max(max(vertical, horizontal), max(falling, rising))
    if vertical == strongest:
        one, other, pair = m[1, 0], m[1, 2], 0
    elif horizontal == strongest:
        one, other, pair = m[0, 1], m[2, 1], 1
    elif falling == strongest:
        one, other, pair = m[0, 2], m[2, 0], 2
    else:
        one, other, pair = m[0, 0], m[2, 2], 3
    return 2 * pair if abs(one - m[1, 1]) <= abs(other - m[1, 1]) else 2 * pair + 1
