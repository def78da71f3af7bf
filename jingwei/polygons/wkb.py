"""Finished regions as polygons in WKB, the binary form that all vector files take: compiled loops of `polygonize.py`.

A polygon is valid by the OGC's rules (Simple Feature Access, 06-103r4, 6.1.11): one outer ring, counterclockwise in the
map's coordinates, and holes the other way round, which may touch at single points. A ring that meets itself over a
pinched corner is cut there.
"""

import numpy as np

from jingwei.polygons.rings import NEXT_PART, NEXT_RING, get_number, read_part
from jingwei.system.compiled import compiled

RING, POINT = 4, 16  # bytes of a ring's head and of a point
HEAD = 9  # bytes before a polygon's first ring


def most_bytes(regions: np.ndarray) -> int:
    """Room for the polygons of some finished REGION records."""
    rings = regions["rings"] + regions["pinches"]
    return int((HEAD + RING * rings + POINT * (regions["corners"] + rings)).sum())


@compiled
def write_polygons(regions, arena, affine, out, ends):
    """Writes a polygon per region to `out` (uint8), and where it ends to `ends` (int64).

    `affine` (float64, 6) turns (x, y) of pixel corners into coordinates: a, b, c, d, e, f of GDAL's and rasterio's
    order. Returns twice the area of all polygons, in pixels; -1 where a region's rings are not what its record says, or
    not one of them is the outer one.
    """
    most = 1
    for region in regions:
        most = max(most, region["corners"])
    xs, ys = np.empty(most, np.int32), np.empty(most, np.int32)
    cut_xs, cut_ys = np.empty(most, np.int32), np.empty(most, np.int32)
    pinched = np.empty(most, np.uint8)
    order = np.empty(most, np.int64)
    used, total = 0, 0
    for place in range(len(regions)):
        region = regions[place]
        ends_of_rings = np.empty(region["rings"], np.int64)
        corners, first = 0, region["first"]
        for ring in range(region["rings"]):
            part = first
            while part:
                corners = read_part(arena, part, xs, ys, pinched, corners)
                part = get_number(arena, part + NEXT_PART, 6)
            ends_of_rings[ring] = corners
            first = get_number(arena, first + NEXT_RING, 6)
        if first or corners != region["corners"] or pinched[:corners].sum() != region["pinches"]:
            return -1
        bounds = np.empty(region["rings"] + region["pinches"] + 1, np.int64)
        bounds[0] = 0
        rings, begin = 0, 0
        for end in ends_of_rings:
            rings = _cut(xs, ys, pinched, begin, end, cut_xs, cut_ys, order, bounds, rings)
            begin = end
        outer, outers = 0, 0
        for ring in range(rings):
            area = _double_area(cut_xs, cut_ys, bounds[ring], bounds[ring + 1])
            total += area
            if area > 0:
                outer, outers = ring, outers + 1
        if outers != 1:
            return -1
        used = _write_polygon(cut_xs, cut_ys, bounds, rings, outer, affine, out, used)
        ends[place] = used
    return total


@compiled
def _cut(xs, ys, pinched, begin, end, cut_xs, cut_ys, order, bounds, rings):
    """Copies a ring, in as many rings as its pinched corners make of it; returns the number of rings so far."""
    pinches = 0
    for k in range(begin, end):
        pinches += pinched[k]
    filled = bounds[rings]
    if pinches < 2:
        cut_xs[filled : filled + end - begin] = xs[begin:end]
        cut_ys[filled : filled + end - begin] = ys[begin:end]
        bounds[rings + 1] = filled + end - begin
        return rings + 1
    places = np.empty(pinches, np.int64)
    keys = np.empty(pinches, np.int64)
    pinches = 0
    for k in range(begin, end):
        if pinched[k]:
            places[pinches], keys[pinches] = k, np.int64(ys[k]) << 32 | xs[k]
            pinches += 1
    sorted_places = np.argsort(keys, kind="mergesort")  # of two equal ones, the first stays first
    before = np.full(end - begin, -1, np.int64)  # the earlier visit to the same corner
    for k in range(pinches - 1):
        one, other = sorted_places[k], sorted_places[k + 1]
        if keys[one] == keys[other]:
            before[places[other] - begin] = places[one]
    depth = 0
    height = np.empty(end - begin, np.int64)  # of each corner on the way, as it stands in `order`
    for k in range(begin, end):
        earlier = before[k - begin]
        if earlier < 0:
            order[depth] = k
            height[k - begin] = depth
            depth += 1
            continue
        bottom = height[earlier - begin]
        for level in range(bottom, depth):
            cut_xs[filled], cut_ys[filled] = xs[order[level]], ys[order[level]]
            filled += 1
        rings += 1
        bounds[rings] = filled
        depth = bottom + 1
    for level in range(depth):
        cut_xs[filled], cut_ys[filled] = xs[order[level]], ys[order[level]]
        filled += 1
    rings += 1
    bounds[rings] = filled
    return rings


@compiled
def _double_area(xs, ys, begin, end):
    """Twice the area of a ring, positive where the region lies inside it."""
    area = np.int64(0)
    k = end - 1
    for following in range(begin, end):
        area += np.int64(xs[k]) * ys[following] - np.int64(xs[following]) * ys[k]
        k = following
    return area


@compiled
def _write_polygon(xs, ys, bounds, rings, outer, affine, out, used):
    """Writes one polygon, the ring `outer` first; returns the place behind it."""
    flips = affine[0] * affine[4] < affine[1] * affine[3]
    out[used] = 1  # little endian
    used = _write_count(out, used + 1, 3)
    used = _write_count(out, used, rings)
    for turn in range(rings):
        ring = outer if turn == 0 else turn - 1 if turn <= outer else turn
        begin, end = bounds[ring], bounds[ring + 1]
        used = _write_count(out, used, end - begin + 1)
        points = out[used : used + POINT * (end - begin + 1)].view(np.float64)
        for k in range(end - begin + 1):
            at = begin + k % (end - begin)
            if flips:
                at = end - 1 - k % (end - begin)
            x, y = float(xs[at]), float(ys[at])
            points[2 * k] = affine[0] * x + affine[1] * y + affine[2]
            points[2 * k + 1] = affine[3] * x + affine[4] * y + affine[5]
        used += POINT * (end - begin + 1)
    return used


@compiled
def _write_count(out, at, count):
    for k in range(4):
        out[at + k] = count >> (8 * k) & 255
    return at + 4
