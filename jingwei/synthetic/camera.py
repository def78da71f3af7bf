"""The picture that a drone takes of the ground, and the label map that a surveyor draws of it."""

from math import floor

from jingwei.synthetic.fields import BUILDING, OUTSIDE
from jingwei.synthetic.noise import hash_bits, noise, share
from jingwei.system.compiled import compiled

MARGIN = 16  # pixels around a strip that shadows, the lens and label errors look at
PANEL = 640.0  # pixels of one photograph in the mosaic
DRIFT, EXPOSURE, GRAIN, SLIPS, MISSED = range(21, 26)  # added to a world's key, as in ground.py


@compiled
def _shade(world, heights, r, c):
    """The sunlight on a pixel: less in a shadow, more on the side of a crown or roof that faces the sun."""
    height = heights[r, c]
    for step in range(1, 8):
        toward = heights[r + int(round(2 * step * world.sun_row)), c + int(round(2 * step * world.sun_col))]
        if toward > height + 2 + 2 * step * 0.75:
            return 0.58
    behind = heights[r - int(round(2 * world.sun_row)), c - int(round(2 * world.sun_col))]
    ahead = heights[r + int(round(2 * world.sun_row)), c + int(round(2 * world.sun_col))]
    return 1.0 + 0.04 * min(max(float(behind) - float(ahead), -5.0), 5.0) if 0 < height < 11 else 1.0


@compiled
def _exposure(world, row, col):
    """The brightness of the photograph in the mosaic that a pixel is from."""
    i, j = int(floor((row + 0.1 * col) / PANEL)), int(floor((col - 0.1 * row) / PANEL))
    return 0.975 + 0.05 * share(hash_bits(world.key + EXPOSURE, i, j), 0)


@compiled
def photograph(world, first_row, first_col, kinds, heights, ground, pixels):
    """Takes the picture: RGBA of the inner pixels of `kinds`, `heights`, `ground`; their margin is only looked at."""
    gains = (world.red_gain, world.green_gain, world.blue_gain)
    for r in range(pixels.shape[0]):
        for c in range(pixels.shape[1]):
            i, j = r + MARGIN, c + MARGIN
            row, col = first_row + r, first_col + c
            if kinds[i, j] == OUTSIDE:
                pixels[r, c, :] = 0
                continue
            drift, haze = noise(world.key + DRIFT, col / 1300.0, row / 1300.0)
            light = _shade(world, heights, i, j) * (0.87 + 0.26 * drift) * _exposure(world, row, col)
            grain = hash_bits(world.key + GRAIN, row, col)
            luma = 7.0 * (share(grain, 0) + share(grain, 8) - 1.0)
            soft = kinds[i - 1, j] and kinds[i + 1, j] and kinds[i, j - 1] and kinds[i, j + 1]
            for band in range(3):
                value = float(ground[i, j, band])
                if soft:  # the lens: a tenth of each neighbour
                    around = float(ground[i - 1, j, band]) + ground[i + 1, j, band]
                    value = 0.6 * value + 0.1 * (around + ground[i, j - 1, band] + ground[i, j + 1, band])
                speckle = luma + 9.0 * (share(grain, 16 + 12 * band) - 0.5)
                value = value * light * gains[band] + 12.0 * haze + speckle
                pixels[r, c, band] = int(min(max(value, 0.0), 255.0))
            pixels[r, c, 3] = 255


@compiled
def survey(world, first_row, first_col, kinds, labels):
    """Draws the labels of the inner pixels of `kinds`: borders 1 to 3 px off, and here and there a patch missed."""
    for r in range(labels.shape[0]):
        for c in range(labels.shape[1]):
            row, col = first_row + r, first_col + c
            labels[r, c] = 0
            if kinds[r + MARGIN, c + MARGIN] == OUTSIDE:
                continue
            down, right = noise(world.key + SLIPS, col / 40.0, row / 40.0)
            slip_down, slip_right = int(round(5 * (down - 0.5))), int(round(5 * (right - 0.5)))
            kind = kinds[r + MARGIN + slip_down, c + MARGIN + slip_right]
            patch = hash_bits(world.key + MISSED, row // 200, col // 200)
            away = (row % 200 - 20 - 160 * share(patch, 0)) ** 2 + (col % 200 - 20 - 160 * share(patch, 16)) ** 2
            missed = share(patch, 32) < 0.25 and away < (5 + 9 * share(patch, 24)) ** 2
            if kind <= BUILDING and not missed:
                labels[r, c] = kind
