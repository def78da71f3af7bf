"""Rings of regions, traced along pixel edges band by band: compiled loops of `polygonize.py`.

Rings run along pixel edges, the region on their right hand: one around a region, one around each of its holes. Corners
of pixels are counted from the map's upper left one: x to the right, y down.

A *band* is some rows with the row above and the row below, and a column of NODATA on either side. What a band knows of
a ring is a *part* (`rings.py`). A ring that leaves the band downwards is an open *chain* of parts until a later band
closes it.

Where a region touches itself over a corner, its ring turns as if it did not: whether the two pixels belong together may
only be known far below. Such corners are marked as *pinched*, and `wkb.py` cuts the finished ring there.
"""

from typing import NamedTuple

import numpy as np

from jingwei.polygons.components import add_rings
from jingwei.polygons.rings import CORNERS, FIRST_X, FIRST_Y, HEADER, NEXT_PART, NO_PART, folded, put_number
from jingwei.raster.union_find import find
from jingwei.raster.varint import put_varint
from jingwei.system.compiled import compiled

EAST, SOUTH, WEST, NORTH = range(4)  # the way along a ring; its pixel is to the right
VERTEX, KEPT, MINE, SEEN = 1, 2, 4, 8  # bits of a lattice: see `simplify.py`

CHAIN = np.dtype(
    [
        ("first", "i8"),  # parts, or NO_PART where it has no corner yet
        ("last", "i8"),
        ("corners", "i8"),
        ("pinches", "i8"),
        ("tail", "i8"),  # the x at which it has left downwards
    ]
)


class Corners(NamedTuple):
    """Where corners go: packed into the `arena` (uint8); where `sparse`, only those that are KEPT in the `lattice`.

    The lattice (uint8, a row and a column more than the band has pixels) also knows whose upper side was SEEN.
    """

    lattice: np.ndarray
    sparse: bool
    arena: np.ndarray


class OpenRings(NamedTuple):
    """The rings that go on below a band: `chains` (CHAIN), and which of them (int64, or -1) leaves at each x."""

    heads: np.ndarray
    chains: np.ndarray


@compiled
def _enter_from_above(labels, x):
    """(row, column, way) of the first edge in a band of a chain that comes down at `x`."""
    return (1, x, SOUTH) if labels[1, x + 1] != labels[1, x] else (1, x + 1, EAST)


@compiled
def _walk(band, corners, used, above, own, begin, chain):
    """Goes along a ring until it closes or leaves the band downwards, and adds its corners to `chain`.

    Begins along the edge (row, column, way): a pixel of the band and the way along one of its sides. `used` bytes of
    the arena are in use. `above` are the rings of the band above; `own` is the chain that this walk began with, or -1.
    Returns (place in the arena, row, column, x): x is where it left, or -1, and (row, column) is a pixel of the ring.
    """
    labels, lattice, arena = band.labels, corners.lattice, corners.arena
    rows = labels.shape[0] - 2
    r, c, way = begin
    label = labels[r, c]
    part = np.int64(NO_PART)
    count = np.int64(0)
    x = y = np.int64(0)
    while True:
        if way == EAST:
            lattice[r - 1, c - 1] |= SEEN
            at_x, at_y, ahead_r, ahead_c, left_r, left_c = c, r - 1, r, c + 1, r - 1, c + 1
        elif way == SOUTH:
            at_x, at_y, ahead_r, ahead_c, left_r, left_c = c, r, r + 1, c, r + 1, c + 1
        elif way == WEST:
            at_x, at_y, ahead_r, ahead_c, left_r, left_c = c - 1, r, r, c - 1, r + 1, c - 1
        else:
            at_x, at_y, ahead_r, ahead_c, left_r, left_c = c - 1, r - 1, r - 1, c, r - 1, c - 1
        turns = True
        pinch = 0
        held_r, held_c = r, c
        if labels[ahead_r, ahead_c] != label:
            pinch = 1 if labels[left_r, left_c] == label else 0
            way = (way + 1) & 3
        elif labels[left_r, left_c] != label:
            turns = False
            r, c = ahead_r, ahead_c
        else:
            r, c = left_r, left_c
            way = (way + 3) & 3
        if (lattice[at_y, at_x] & KEPT) != 0 if corners.sparse else turns:
            if part == NO_PART:
                part = used
                put_number(arena, part + FIRST_X, 4, 2 * at_x + pinch)
                put_number(arena, part + FIRST_Y, 4, band.top + at_y)
                used += HEADER
                _append(arena, chain, part, part)
            else:
                used = put_varint(arena, used, 2 * folded(at_x - x) + pinch)
                used = put_varint(arena, used, folded(at_y - y))
            x, y = at_x, at_y
            count += 1
            chain["pinches"] += pinch
        leaves = r == 0 or r == rows + 1
        if not leaves and not (r == begin[0] and c == begin[1] and way == begin[2]):
            continue
        if part != NO_PART:
            put_number(arena, part + CORNERS, 4, count)
            chain["corners"] += count
            part = np.int64(NO_PART)
            count = np.int64(0)
        if r == rows + 1:
            return used, held_r, held_c, at_x
        if r > 0 or above.heads[at_x] == own:
            return used, held_r, held_c, -1
        joined = above.chains[above.heads[at_x]]
        above.heads[at_x] = -1
        if joined["first"] != NO_PART:
            _append(arena, chain, joined["first"], joined["last"])
            chain["corners"] += joined["corners"]
            chain["pinches"] += joined["pinches"]
        tail = joined["tail"]
        joined["tail"] = -1  # part of another one now
        r, c, way = _enter_from_above(labels, tail)


@compiled
def _append(arena, chain, first, last):
    """Links linked parts to the end of a chain."""
    if chain["last"] == NO_PART:
        chain["first"] = first
    else:
        put_number(arena, chain["last"] + NEXT_PART, 6, first)
    chain["last"] = last


@compiled
def _close(nodes, runs, arena, chain, r, c):
    """Gives a closed ring to the region of the pixel (r, c)."""
    low, high = runs.rows[r - 1], runs.rows[r]
    while high - low > 1:
        middle = (low + high) // 2
        if runs.starts[middle] <= c - 1:
            low = middle
        else:
            high = middle
    root = find(nodes, runs.owners[low])
    add_rings(nodes, root, chain["first"], chain["first"], arena)
    node = nodes[root]
    node["rings"] += 1
    node["corners"] += chain["corners"]
    node["pinches"] += chain["pinches"]


@compiled
def _clear(chain):
    chain["first"] = chain["last"] = NO_PART
    chain["corners"] = chain["pinches"] = 0


@compiled
def trace(band, corners, used, nodes, runs, above, count):
    """Traces all rings of a band: closed ones go to their regions, open ones become chains of the next band.

    `used` bytes of the arena are in use; `nodes` (REGION) and `runs` are those of the band. `above` are the `count`
    rings that come down from the band above: they are replaced by those that go on below this one. Returns (place in
    the arena, number of those).
    """
    labels, lattice, chains = band.labels, corners.lattice, above.chains
    rows, width = labels.shape[0] - 2, labels.shape[1] - 2
    fresh = np.zeros(width + 1, chains.dtype)
    fresh_heads = np.full(width + 1, -1, np.int64)
    made = 0
    for x in range(width + 1):  # those that come up from the band below
        label = labels[rows, x + 1]
        if not band.traced[label] or labels[rows + 1, x + 1] != label:
            continue
        straight = labels[rows, x] != label
        if not straight and labels[rows + 1, x] == label:
            continue
        _clear(fresh[made])
        begin = (rows, x + 1, NORTH) if straight else (rows, x, WEST)
        used, _, _, tail = _walk(band, corners, used, above, -1, begin, fresh[made])
        fresh[made]["tail"] = tail
        fresh_heads[x] = made
        made += 1
    for own in range(count):  # those from the band above that do not go down to the next
        if chains[own]["tail"] >= 0:
            begin = _enter_from_above(labels, chains[own]["tail"])
            used, r, c, _ = _walk(band, corners, used, above, own, begin, chains[own])
            chains[own]["tail"] = -1
            _close(nodes, runs, corners.arena, chains[own], r, c)
    ring = np.zeros(1, chains.dtype)
    for y in range(rows):  # those of this band alone: each goes east somewhere
        for x in range(width):
            label = labels[y + 1, x + 1]
            if label != labels[y, x + 1] and band.traced[label] and not lattice[y, x] & SEEN:
                _clear(ring[0])
                used, r, c, _ = _walk(band, corners, used, above, -1, (y + 1, x + 1, EAST), ring[0])
                _close(nodes, runs, corners.arena, ring[0], r, c)
    above.heads[:] = fresh_heads
    chains[:] = fresh
    return used, made
