"""Rings in parts, packed in an arena of bytes: what `tracing.py` writes and `wkb.py` reads.

A part is a list of corners (x to the right, y down, in pixels): a link to the next part of its ring, a link from the
ring's first part to the region's next ring, the number of corners, the first corner, and then the steps from corner to
corner as varints. Every corner says whether it is pinched: see `tracing.py`.
"""

import numpy as np

from jingwei.raster.varint import get_varint
from jingwei.system.compiled import compiled

NO_PART = 0  # the arena's first bytes are not used
NEXT_PART, NEXT_RING, CORNERS, FIRST_X, FIRST_Y = 0, 6, 12, 16, 20  # where a part has them
HEADER = 24  # bytes before its steps


@compiled
def put_number(arena, at, size, value):
    """Writes a whole number of `size` bytes."""
    for k in range(size):
        arena[at + k] = value & 255
        value >>= 8


@compiled
def get_number(arena, at, size):
    """Reads a whole number of `size` bytes."""
    value = np.int64(0)
    for k in range(size):
        value |= np.int64(arena[at + k]) << (8 * k)
    return value


@compiled
def folded(step):
    """0, -1, 1, -2 ... as 0, 1, 2, 3 ..."""
    return 2 * step if step >= 0 else -2 * step - 1


@compiled
def read_part(arena, at, xs, ys, pinched, count):
    """Unpacks a part behind the first `count` corners; returns how many there are now."""
    corners = get_number(arena, at + CORNERS, 4)
    first = get_number(arena, at + FIRST_X, 4)
    x, y = first >> 1, get_number(arena, at + FIRST_Y, 4)
    xs[count], ys[count], pinched[count] = x, y, first & 1
    at += HEADER
    for k in range(count + 1, count + corners):
        for axis in range(2):
            value, at = get_varint(arena, at)
            if axis == 0:
                pinched[k] = value & 1
                value >>= 1
            step = -((value + 1) >> 1) if value & 1 else value >> 1
            if axis == 0:
                x += step
            else:
                y += step
        xs[k], ys[k] = x, y
    return count + corners
