"""Outlines of regions, traced along pixel edges band by band: the compiled loops of `outlines.py`.

Outlines are closed rings along pixel edges, the region on their right hand: one around a region, one around each of its
holes. Corners of pixels are counted from the map's upper left one: x to the right, y down.

A *band* is some rows with the row above and the row below, and a column of NODATA on either side. What a band knows of
a ring is a piece (`pieces.py`). A ring that leaves the band downwards is an open *chain* of pieces until a later band
closes it.

Where a region touches itself over a corner, its ring turns as if it did not: whether the two pixels belong together may
only be known far below. Such corners are marked as *pinched*, and `wkb.py` cuts the finished ring there.
"""

import numpy as np
from numba import njit

from jingwei.polygons.components import add_rings
from jingwei.polygons.rings import CORNERS, FIRST_X, FIRST_Y, HEADER, NEXT_PIECE, NO_PIECE, folded, put_number
from jingwei.raster.union_find import find
from jingwei.raster.varint import put_varint

EAST, SOUTH, WEST, NORTH = range(4)  # the way along a ring; its pixel is to the right
VERTEX, KEPT, MINE, SEEN = 1, 2, 4, 8  # bits of a lattice: see `borders.py`

CHAIN = np.dtype(
    [
        ("first", "i8"),  # pieces, or NO_PIECE where it has no corner yet
        ("last", "i8"),
        ("corners", "i8"),
        ("pinches", "i8"),
        ("tail", "i8"),  # the x at which it has left downwards
    ]
)


@njit(cache=True, nogil=True)
def _enter_from_above(labels, x):
    """(row, column, way) of the first edge in a band of a chain that comes down at `x`."""
    return (1, x, SOUTH) if labels[1, x + 1] != labels[1, x] else (1, x + 1, EAST)


@njit(cache=True, nogil=True)
def _walk(labels, top, lattice, sparse, arena, used, heads, chains, own, r, c, way, chain):
    """Goes along a ring until it closes or leaves the band downwards, and adds its corners to `chain`.

    Starts along the edge (r, c, way): a pixel of the band and the way along one of its sides. `heads` (int64) has the
    chains of the band above by the x at which they go on upwards; `own` is the one that this walk began with, or -1.
    Where `sparse`, only corners that are KEPT in the lattice are noted. Pixels whose upper side was walked along are
    SEEN in it. Returns (place in the arena, row, column, x): x is where it left, or -1, and (row, column) is a pixel of
    the ring.
    """
    rows = labels.shape[0] - 2
    label = labels[r, c]
    begin_r, begin_c, begin_way = r, c, way
    piece = np.int64(NO_PIECE)
    corners = np.int64(0)
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
        if (lattice[at_y, at_x] & KEPT) != 0 if sparse else turns:
            if piece == NO_PIECE:
                piece = used
                put_number(arena, piece + FIRST_X, 4, 2 * at_x + pinch)
                put_number(arena, piece + FIRST_Y, 4, top + at_y)
                used += HEADER
                if chain["last"] == NO_PIECE:
                    chain["first"] = piece
                else:
                    put_number(arena, chain["last"] + NEXT_PIECE, 6, piece)
                chain["last"] = piece
            else:
                used = put_varint(arena, used, 2 * folded(at_x - x) + pinch)
                used = put_varint(arena, used, folded(at_y - y))
            x, y = at_x, at_y
            corners += 1
            chain["pinches"] += pinch
        leaves = r == 0 or r == rows + 1
        if not leaves and not (r == begin_r and c == begin_c and way == begin_way):
            continue
        if piece != NO_PIECE:
            put_number(arena, piece + CORNERS, 4, corners)
            chain["corners"] += corners
            piece = np.int64(NO_PIECE)
            corners = np.int64(0)
        if r == rows + 1:
            return used, held_r, held_c, at_x
        if r > 0 or heads[at_x] == own:
            return used, held_r, held_c, -1
        above = chains[heads[at_x]]
        heads[at_x] = -1
        if above["first"] != NO_PIECE:
            if chain["last"] == NO_PIECE:
                chain["first"] = above["first"]
            else:
                put_number(arena, chain["last"] + NEXT_PIECE, 6, above["first"])
            chain["last"] = above["last"]
            chain["corners"] += above["corners"]
            chain["pinches"] += above["pinches"]
        tail = above["tail"]
        above["tail"] = -1  # part of another one now
        r, c, way = _enter_from_above(labels, tail)


@njit(cache=True, nogil=True)
def _close(nodes, starts, rows, owners, arena, chain, r, c):
    """Gives a closed ring to the region of the pixel (r, c)."""
    low, high = rows[r - 1], rows[r]
    while high - low > 1:
        middle = (low + high) // 2
        if starts[middle] <= c - 1:
            low = middle
        else:
            high = middle
    root = find(nodes, owners[low])
    add_rings(nodes, root, chain["first"], chain["first"], arena)
    node = nodes[root]
    node["rings"] += 1
    node["corners"] += chain["corners"]
    node["pinches"] += chain["pinches"]


@njit(cache=True, nogil=True)
def _clear(chain):
    chain["first"] = chain["last"] = NO_PIECE
    chain["corners"] = chain["pinches"] = 0


@njit(cache=True, nogil=True)
def trace(labels, top, traced, lattice, sparse, nodes, starts, rows, owners, arena, used, heads, chains, count):
    """Traces all rings of a band: closed ones go to their regions, open ones become chains of the next band.

    `heads` (int64, one per x) and `chains` (CHAIN, `count` of them) are the open ones of the band above; both are
    filled with those of this one. Returns (place in the arena, number of chains).
    """
    band, width = labels.shape[0] - 2, labels.shape[1] - 2
    fresh = np.zeros(width + 1, chains.dtype)
    fresh_heads = np.full(width + 1, -1, np.int64)
    made = 0
    for x in range(width + 1):  # those that come up from the band below
        label = labels[band, x + 1]
        if not traced[label] or labels[band + 1, x + 1] != label:
            continue
        straight = labels[band, x] != label
        if not straight and labels[band + 1, x] == label:
            continue
        _clear(fresh[made])
        begin = (band, x + 1, NORTH) if straight else (band, x, WEST)
        used, _, _, tail = _walk(
            labels, top, lattice, sparse, arena, used, heads, chains, -1, *begin, fresh[made]
        )  # fmt: skip
        fresh[made]["tail"] = tail
        fresh_heads[x] = made
        made += 1
    for own in range(count):  # those from the band above that do not go down to the next
        if chains[own]["tail"] >= 0:
            begin = _enter_from_above(labels, chains[own]["tail"])
            used, r, c, _ = _walk(
                labels, top, lattice, sparse, arena, used, heads, chains, own, *begin, chains[own]
            )  # fmt: skip
            chains[own]["tail"] = -1
            _close(nodes, starts, rows, owners, arena, chains[own], r, c)
    ring = np.zeros(1, chains.dtype)
    for y in range(band):  # those of this band alone: each goes east somewhere
        for x in range(width):
            label = labels[y + 1, x + 1]
            if label != labels[y, x + 1] and traced[label] and not lattice[y, x] & SEEN:
                _clear(ring[0])
                used, r, c, _ = _walk(
                    labels, top, lattice, sparse, arena, used, heads, chains, -1, y + 1, x + 1, EAST, ring[0]
                )  # fmt: skip
                _close(nodes, starts, rows, owners, arena, ring[0], r, c)
    heads[:] = fresh_heads
    chains[:] = fresh
    return used, made
