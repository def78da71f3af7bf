"""Which pixels of a map belong together, band by band, and which rings are whose: compiled loops of `polygonize.py`.

A region is what pixels of one class make over their four neighbours: runs of equal pixels, joined by union-find over
REGION records. A region's rings are a list in the arena of `rings.py`.
"""

from typing import NamedTuple

import numpy as np

from jingwei.polygons.rings import NEXT_RING, NO_PART, put_number
from jingwei.raster.pixel_area import ground_under
from jingwei.raster.union_find import find
from jingwei.system.compiled import compiled

REGION = np.dtype(
    [
        ("parent", "i8"),
        ("area", "i8"),  # pixels
        ("ground", "f8"),  # square metres
        ("first", "i8"),  # its rings: the first part of each is linked to that of the next
        ("last", "i8"),
        ("rings", "i8"),
        ("corners", "i8"),
        ("pinches", "i8"),
        ("label", "u1"),
        ("open", "?"),
    ],
    align=True,
)


class Band(NamedTuple):
    """A band: its labels with their margins (uint8, see `tracing.py`), the row of the map that its first one is.

    `traced` (bool, 256) says of which classes there are polygons.
    """

    labels: np.ndarray
    top: int
    traced: np.ndarray


class Runs(NamedTuple):
    """The runs of equal pixels of a band's own rows: int64 each.

    `starts` are their first columns, `owners` the regions that they belong to (-1: of no traced class), `rows` the
    place of each row's first run and, at last, how many there are.
    """

    starts: np.ndarray
    owners: np.ndarray
    rows: np.ndarray

    @classmethod
    def room_for(cls, labels: np.ndarray) -> "Runs":
        """Room for the runs of a band."""
        count = count_runs(labels)
        return cls(np.empty(count, np.int64), np.empty(count, np.int64), np.empty(len(labels) - 1, np.int64))


@compiled
def count_runs(labels):
    """Runs of equal pixels in a band's own rows."""
    count = 0
    for r in range(1, labels.shape[0] - 1):
        count += 1
        for c in range(2, labels.shape[1] - 1):
            count += labels[r, c] != labels[r, c - 1]
    return count


@compiled
def find_regions(band, ground, nodes, used, seam, runs):
    """Joins the runs of a band to regions, and those to the regions that came down to it.

    `nodes` (REGION) has `used` records; `seam` (int64) the regions of the pixels above the band; `runs` is filled.
    Returns the records used.
    """
    labels, traced, starts, owners, rows = band.labels, band.traced, runs.starts, runs.owners, runs.rows
    width = labels.shape[1] - 2
    run = 0
    for r in range(1, labels.shape[0] - 1):
        rows[r - 1] = run
        above = rows[r - 2] if r > 1 else 0
        above_end = run
        c = 1
        while c <= width:
            label, start = labels[r, c], c - 1
            c += 1
            while c <= width and labels[r, c] == label:
                c += 1
            end = c - 1
            starts[run] = start
            owner = -1
            if traced[label]:
                if r == 1:
                    for x in range(start, end):
                        if labels[0, x + 1] == label and (x == start or labels[0, x] != label):
                            owner = _join(nodes, owner, seam[x])
                else:
                    while above + 1 < above_end and starts[above + 1] <= start:
                        above += 1
                    other = above
                    while other < above_end and starts[other] < end:
                        if labels[r - 1, max(starts[other], start) + 1] == label:
                            owner = _join(nodes, owner, owners[other])
                        other += 1
                if owner < 0:
                    owner = used
                    used += 1
                    node = nodes[owner]
                    node["parent"], node["label"] = owner, label
                    node["area"] = node["rings"] = node["corners"] = node["pinches"] = 0
                    node["ground"] = 0.0
                    node["first"] = node["last"] = NO_PART
                nodes[owner]["area"] += end - start
                nodes[owner]["ground"] += ground_under(ground, band.top + r - 1, start, end)
            owners[run] = owner
            run += 1
    rows[labels.shape[0] - 2] = run
    return used


@compiled
def _join(nodes, one, other):
    """The root of two regions that touch, `one` a root or -1. The older stays root."""
    other = find(nodes, other)
    if one < 0 or one == other:
        return other
    if other < one:
        one, other = other, one
    root, joined = nodes[one], nodes[other]
    joined["parent"] = one
    root["area"] += joined["area"]
    root["ground"] += joined["ground"]
    root["rings"] += joined["rings"]
    root["corners"] += joined["corners"]
    root["pinches"] += joined["pinches"]
    return one


@compiled
def link_rings(nodes, used, arena):
    """Hands the rings of regions that have been joined to their roots. Called once before a band's rings are traced."""
    for a in range(used):
        root = find(nodes, a)
        if root != a and nodes[a]["first"] != NO_PART:
            add_rings(nodes, root, nodes[a]["first"], nodes[a]["last"], arena)
            nodes[a]["first"] = nodes[a]["last"] = NO_PART


@compiled
def add_rings(nodes, a, first, last, arena):
    if nodes[a]["first"] == NO_PART:
        nodes[a]["first"] = first
    else:
        put_number(arena, nodes[a]["last"] + NEXT_RING, 6, first)
    nodes[a]["last"] = last


@compiled
def settle(nodes, used, runs, last, seam):
    """Parts the regions at a band's end: those that reach its last row go on, the others are finished.

    Where the band is the `last`, all are. Returns (the finished records, the records that go on), and fills `seam` with
    the places of the latter, pixel by pixel.
    """
    starts, owners, last_run = runs.starts, runs.owners, runs.rows[-1]
    first_run = last_run if last else runs.rows[-2]
    for a in range(used):
        nodes[a]["open"] = False
    for run in range(first_run, last_run):
        if owners[run] >= 0:
            nodes[find(nodes, owners[run])]["open"] = True
    places = np.full(used, -1, np.int64)
    kept = ended = 0
    for a in range(used):
        if nodes[a]["parent"] == a:
            if nodes[a]["open"]:
                places[a] = kept
                kept += 1
            else:
                ended += 1
    finished = np.empty(ended, nodes.dtype)
    for run in range(first_run, last_run):
        end = starts[run + 1] if run + 1 < last_run else seam.size
        place = places[find(nodes, owners[run])] if owners[run] >= 0 else -1
        seam[starts[run] : end] = place
    ended = 0
    for a in range(used):
        if nodes[a]["parent"] == a:
            if places[a] >= 0:
                nodes[places[a]] = nodes[a]
                nodes[places[a]]["parent"] = places[a]
            else:
                finished[ended] = nodes[a]
                ended += 1
    return finished, kept
