"""Which corners of a band's borders a simplified map keeps: compiled loops of `polygonize.py`.

Borders meet in nodes; between two nodes runs an arc, the common border of two regions. An arc is simplified once, and
the rings on both of its sides take the corners that are kept: so there are no gaps. A part of an arc is replaced by
a straight line (after Douglas and Peucker, Cartographica 10(2), 1973) where none of its corners is farther than the
tolerance from it, and where no corner of any border, as the map has it, lies between the two or on the line. Then no
two lines cross: for one to cross another, a border would have to end between the other and its line, or to come out
again, and both take a corner there. So there are no overlaps either, and nothing touches that did not touch.

The corners of pixels are a lattice of bits: VERTEX, where a border turns or borders meet; KEPT; MINE and SEEN are
scratch. All corners on the lines between bands are nodes, and so are those of the map: an arc is known when its band
is.
"""

import numpy as np

from jingwei.polygons.tracing import EAST, KEPT, MINE, NORTH, SEEN, SOUTH, VERTEX, WEST
from jingwei.system.compiled import compiled


@compiled
def mark_kept(labels, tolerance, lattice):
    """Fills the lattice (uint8, zeros; a row and a column more than the band has pixels) of a band.

    `labels` is the band with its margins, see `tracing.py`; `tolerance` in pixels.
    """
    corners = _mark_vertices(labels, lattice)
    xs, ys = np.empty(corners + 2, np.int64), np.empty(corners + 2, np.int64)
    waiting = np.empty((corners + 2, 3), np.int64)
    rows, cols = lattice.shape
    limit = tolerance * tolerance
    for y in range(rows):
        for x in range(cols):
            if not lattice[y, x] & KEPT or not _is_node(labels, lattice, y, x):
                continue
            for way in range(4):
                if not _goes(labels, y, x, way) or _along_edge(rows, y, way):
                    continue
                count, end_way = _follow(labels, lattice, y, x, way, xs, ys, np.inf, 0, 0)
                end_y, end_x = ys[count - 1], xs[count - 1]
                if (y, x, way) > (end_y, end_x, end_way):
                    continue  # comes once from either end
                if y == end_y and x == end_x:
                    _simplify_ring(lattice, xs, ys, count, limit, waiting)
                else:
                    twin = count > 2 and _has_twin(labels, lattice, y, x, way, end_y, end_x, xs, ys, count, limit)
                    _simplify(lattice, xs, ys, 0, count - 1, limit, twin, waiting)
    for y in range(rows):
        for x in range(cols):
            if lattice[y, x] & VERTEX and not lattice[y, x] & (KEPT | SEEN):  # a ring without a node
                way = EAST if _goes(labels, y, x, EAST) else WEST
                lattice[y, x] |= KEPT
                count, _ = _follow(labels, lattice, y, x, way, xs, ys, np.inf, 0, 0)
                _simplify_ring(lattice, xs, ys, count, limit, waiting)
    for y in range(rows):
        for x in range(cols):
            lattice[y, x] &= KEPT


@compiled
def _goes(labels, y, x, way):
    """Whether a border leaves a corner this way."""
    if way == EAST:
        return labels[y, x + 1] != labels[y + 1, x + 1]
    if way == SOUTH:
        return labels[y + 1, x] != labels[y + 1, x + 1]
    if way == WEST:
        return labels[y, x] != labels[y + 1, x]
    return labels[y, x] != labels[y, x + 1]


@compiled
def _along_edge(rows, y, way):
    """Whether this way leads along the line between two bands, or out of the band."""
    if y == 0:
        return way != SOUTH
    return y == rows - 1 and way != NORTH


@compiled
def _mark_vertices(labels, lattice):
    """Sets VERTEX, and KEPT for nodes; returns the number of vertices."""
    rows, cols = lattice.shape
    count = 0
    for y in range(rows):
        for x in range(cols):
            a, b, c, d = labels[y, x], labels[y, x + 1], labels[y + 1, x], labels[y + 1, x + 1]
            up, down, left, right = a != b, c != d, a != c, b != d
            if not (up or down):
                continue  # nothing, or a border that goes straight on
            meeting = int(up) + int(down) + int(left) + int(right)
            edge = y == 0 or y == rows - 1
            if edge or meeting > 2:
                lattice[y, x] = VERTEX | KEPT
                count += 1
            elif not (up and down):
                lattice[y, x] = VERTEX
                count += 1
    return count


@compiled
def _is_node(labels, lattice, y, x):
    """Whether arcs end here: a KEPT corner may also be one that has been kept on an arc."""
    meeting = 0
    for way in range(4):
        meeting += _goes(labels, y, x, way)
    return meeting > 2 or y == 0 or y == lattice.shape[0] - 1


@compiled
def _follow(labels, lattice, y, x, way, xs, ys, limit, end_y, end_x):
    """Follows an arc from a node (or a ring from any corner) to its end, and notes its corners.

    Returns (their number, the way back from its end). Gives up, with 0, at a corner whose squared distance from the
    line between the start and (end_y, end_x) is above `limit`.
    """
    rows = lattice.shape[0]
    begin_y, begin_x = y, x
    xs[0], ys[0] = x, y
    count = 1
    while True:
        if way == EAST:
            x += 1
        elif way == SOUTH:
            y += 1
        elif way == WEST:
            x -= 1
        else:
            y -= 1
        if not lattice[y, x] & VERTEX:
            continue
        if limit < np.inf and _square_distance(x, y, begin_x, begin_y, end_x, end_y) > limit:
            return 0, 0
        xs[count], ys[count] = x, y
        count += 1
        if (y == begin_y and x == begin_x) or y == 0 or y == rows - 1 or _is_node(labels, lattice, y, x):
            return count, (way + 2) & 3
        lattice[y, x] |= SEEN
        way = (way + 1) & 3 if _goes(labels, y, x, (way + 1) & 3) else (way + 3) & 3


@compiled
def _square_distance(x, y, x0, y0, x1, y1):
    """From a point to the line between two points."""
    dx, dy = x1 - x0, y1 - y0
    along = (x - x0) * dx + (y - y0) * dy
    length = dx * dx + dy * dy
    if along <= 0 or length == 0:
        return float((x - x0) ** 2 + (y - y0) ** 2)
    if along >= length:
        return float((x - x1) ** 2 + (y - y1) ** 2)
    cross = float((x - x0) * dy - (y - y0) * dx)
    return cross * cross / length


@compiled
def _has_twin(labels, lattice, y, x, way, end_y, end_x, xs, ys, count, limit):
    """Whether another arc between the same nodes could become the same line: what lies between would vanish."""
    for k in range(1, count - 1):
        if _square_distance(xs[k], ys[k], x, y, end_x, end_y) > limit:
            return False
    spare_xs, spare_ys = xs[count - 1 :], ys[count - 1 :]
    for other in range(4):
        if other == way or not _goes(labels, y, x, other) or _along_edge(lattice.shape[0], y, other):
            continue
        found, _ = _follow(labels, lattice, y, x, other, spare_xs, spare_ys, limit, end_y, end_x)
        if found and spare_ys[found - 1] == end_y and spare_xs[found - 1] == end_x:
            xs[count - 1], ys[count - 1] = end_x, end_y
            return True
    xs[count - 1], ys[count - 1] = end_x, end_y
    return False


@compiled
def _simplify_ring(lattice, xs, ys, count, limit, waiting):
    """Simplifies an arc that ends where it begins: one corner on either half stays, or it would be no ring."""
    farthest, _ = _farthest(xs, ys, 0, count - 1)
    lattice[ys[farthest], xs[farthest]] |= KEPT
    _simplify(lattice, xs, ys, 0, farthest, limit, True, waiting)
    _simplify(lattice, xs, ys, farthest, count - 1, limit, True, waiting)


@compiled
def _farthest(xs, ys, i, j):
    """The corner between i and j that is farthest from their line, and the square of its distance."""
    farthest, most = i, -1.0
    for k in range(i + 1, j):
        square = _square_distance(xs[k], ys[k], xs[i], ys[i], xs[j], ys[j])
        if square > most:
            farthest, most = k, square
    return farthest, most


@compiled
def _simplify(lattice, xs, ys, i, j, limit, bent, waiting):
    """Marks the corners that are KEPT between two that are. `bent` keeps one of them at least, where there is any."""
    waiting[0, 0], waiting[0, 1], waiting[0, 2] = i, j, bent
    used = 1
    while used:
        used -= 1
        i, j, bent = waiting[used]
        if j - i < 2:
            continue
        farthest, square = _farthest(xs, ys, i, j)
        if not bent and square <= limit and _is_free(lattice, xs, ys, i, j, limit):
            continue
        lattice[ys[farthest], xs[farthest]] |= KEPT
        waiting[used, 0], waiting[used, 1], waiting[used, 2] = i, farthest, 0
        waiting[used + 1, 0], waiting[used + 1, 1], waiting[used + 1, 2] = farthest, j, 0
        used += 2


@compiled
def _is_free(lattice, xs, ys, i, j, limit):
    """Whether no corner of another border, or of the rest of this one, lies between corners i to j and their line.

    Nor on the line. A line along the edge of the band is never free: the other side's band could take it too.
    """
    x0, y0, x1, y1 = xs[i], ys[i], xs[j], ys[j]
    if y0 == y1 and (y0 == 0 or y0 == lattice.shape[0] - 1):
        return False
    left, right, up, down = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    for k in range(i, j + 1):
        lattice[ys[k], xs[k]] |= MINE
        left, right, up, down = min(left, xs[k]), max(right, xs[k]), min(up, ys[k]), max(down, ys[k])
    dx, dy = x1 - x0, y1 - y0
    steep = abs(dy) > abs(dx)
    slack = np.sqrt(limit * (dx * dx + dy * dy)) / max(abs(dx), abs(dy)) + 1e-6  # of rounding
    free = True
    first, last = (up, down) if steep else (left, right)
    for along in range(first, last + 1):
        middle = x0 + (along - y0) * dx / dy if steep else y0 + (along - x0) * dy / dx
        low, high = int(np.ceil(middle - slack)), int(np.floor(middle + slack))
        low, high = max(low, left if steep else up), min(high, right if steep else down)
        for across in range(low, high + 1):
            x, y = (across, along) if steep else (along, across)
            if lattice[y, x] & (VERTEX | MINE) == VERTEX and _is_between(xs, ys, i, j, x, y):
                free = False
                break
        if not free:
            break
    for k in range(i, j + 1):
        lattice[ys[k], xs[k]] &= ~np.uint8(MINE)
    return free


@compiled
def _is_between(xs, ys, i, j, x, y):
    """Whether a point that is on no edge of corners i to j lies inside them and their line, or on it."""
    x0, y0, x1, y1 = xs[i], ys[i], xs[j], ys[j]
    cross = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
    # Beyond the line's ends, the ray below never meets it.
    if cross == 0 and min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1):
        return True
    inside = False
    for k in range(i, j):  # a ray to the right, a little below the corner: it meets upright edges alone
        if xs[k] == xs[k + 1] and xs[k] > x and min(ys[k], ys[k + 1]) <= y < max(ys[k], ys[k + 1]):
            inside = not inside
    if (y0 <= y) != (y1 <= y) and (cross > 0) == (y1 > y0):
        inside = not inside
    return inside
