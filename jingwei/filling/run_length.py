"""Rows of a label map as runs of equal pixels: found, packed, given other labels, painted.

A row of a map is a short list of runs (start, end, label). Packed, a run is its label (a byte) and its length (7 bits a
byte, the lowest first, the top bit where more follow); a *block* is some rows, packed one behind the other. A map is
read once; all that follows goes over its blocks, which are some hundred times smaller than the map.

Runs that touch runs of the same label in the row above belong to the same region. A region's first run has nothing
above to join: it gets the next *provisional label*, a number that joined regions have several of. Every pass meets the
same ones in the same order, so one byte per provisional label, the decision, says what becomes of each run:
`Relabelling` hands it down from run to run.
"""

from typing import NamedTuple

import numpy as np

from jingwei.legend import NODATA
from jingwei.raster.varint import get_varint, put_varint
from jingwei.system.compiled import compiled

BLOCK_ROWS = 64  # rows of a block: at worst, two bytes per pixel


class Runs(NamedTuple):
    """The runs of one row. `starts` (int64) has the width behind the last one; `labels` uint8; `nodes` int64."""

    starts: np.ndarray
    labels: np.ndarray
    nodes: np.ndarray

    @classmethod
    def empty(cls, width: int) -> "Runs":
        return cls(np.zeros(width + 2, np.int64), np.zeros(width + 1, np.uint8), np.zeros(width + 1, np.int64))


class Regions(NamedTuple):
    """Which runs make up regions: `only` those of one label, or -1 all but NODATA; `reach` 1 joins over corners."""

    only: int
    reach: int


class Packer:
    """Turns strips of a map into blocks."""

    def __init__(self, width: int):
        self._runs = Runs.empty(width)
        self._flags = np.zeros(-(-width // 8) * 8, np.uint8)  # a byte per pixel, looked at eight at a time
        self._room = np.empty(2 * BLOCK_ROWS * width, np.uint8)

    def blocks(self, strip: np.ndarray):
        """Pairs (rows, block) of a strip (uint8 HW). A block is only good until the next one."""
        for first in range(0, len(strip), BLOCK_ROWS):
            rows = strip[first : first + BLOCK_ROWS]
            yield len(rows), self._room[: _pack(rows, self._runs, self._flags, self._room)]


class Relabelling:
    """Gives the regions of a map new labels, block by block from the top.

    `decisions` (uint8) has a byte per provisional label: 0 stays, k + 1 becomes label k.
    """

    def __init__(self, regions: Regions, width: int, decisions: np.ndarray):
        self._regions, self._decisions = regions, decisions
        self._above, self._here = Runs.empty(width), Runs.empty(width)
        self._counts = np.zeros(2, np.int64)

    @property
    def provisional(self) -> int:
        """Provisional labels met so far."""
        return int(self._counts[PROVISIONAL])

    def __call__(self, rows: int, block: np.ndarray) -> np.ndarray:
        """The block with its new labels."""
        relabelled = np.empty_like(block)
        used = _relabel(block, rows, self._regions, self._decisions, self._above, self._here, self._counts, relabelled)
        return relabelled[:used]


RUNS, PROVISIONAL = range(2)  # places in the counts of a relabelling


@compiled
def _find_runs(row, runs, flags):
    """Finds the runs of a row and returns their number."""
    width = row.size
    behind, before, changes = row[1:], row[:-1], flags[1:width]
    for j in range(width - 1):
        changes[j] = behind[j] != before[j]
    words = flags.view(np.uint64)
    starts = runs.starts
    starts[0] = 0
    count = 1
    for w in range(words.size):
        if words[w] != 0:
            for j in range(8 * w, 8 * w + 8):
                starts[count] = j
                count += flags[j]
    starts[count] = width
    return count


@compiled
def _put(block, used, label, length):
    """Packs one run and returns the bytes used so far."""
    block[used] = label
    return put_varint(block, used + 1, length)


@compiled
def _pack(strip, runs, flags, block):
    used = 0
    for r in range(strip.shape[0]):
        row = strip[r]
        for i in range(_find_runs(row, runs, flags)):
            start = runs.starts[i]
            used = _put(block, used, row[start], runs.starts[i + 1] - start)
    return used


@compiled
def unpack_row(block, at, width, runs):
    """Reads the runs of the row that begins at byte `at`: (byte of the next row, number of runs)."""
    starts, labels = runs.starts, runs.labels
    start, count = 0, 0
    while start < width:
        labels[count] = block[at]
        starts[count] = start
        length, at = get_varint(block, at + 1)
        start += length
        count += 1
    starts[count] = width
    return at, count


@compiled
def is_region(regions, label):
    """Whether runs of a label make up regions."""
    return label != NODATA if regions.only < 0 else label == regions.only


@compiled
def _relabel(block, rows, regions, decisions, above, here, counts, relabelled):
    """Fills `relabelled` and returns the bytes used. `nodes` of the runs are decisions here."""
    width = here.labels.size - 1
    at = used = 0
    for _ in range(rows):
        begin = at
        at, count = unpack_row(block, at, width, here)
        j = 0
        changes = False
        for i in range(count):
            label, end = here.labels[i], here.starts[i + 1]
            here.nodes[i] = 0
            if not is_region(regions, label):
                continue
            decision = np.int64(-1)
            while j < counts[RUNS] and above.starts[j + 1] <= here.starts[i] - regions.reach:
                j += 1
            k = j
            while k < counts[RUNS] and above.starts[k] < end + regions.reach and decision < 0:
                if above.labels[k] == label:
                    decision = above.nodes[k]
                k += 1
            if decision < 0:
                decision = np.int64(decisions[counts[PROVISIONAL]])
                counts[PROVISIONAL] += 1
            here.nodes[i] = decision
            if decision > 0:
                changes = True
        if changes:
            i = 0
            while i < count:  # runs that have become equal are one now
                label = here.labels[i] if here.nodes[i] == 0 else here.nodes[i] - 1
                start = here.starts[i]
                i += 1
                while i < count and label == (here.labels[i] if here.nodes[i] == 0 else here.nodes[i] - 1):
                    i += 1
                used = _put(relabelled, used, label, here.starts[i] - start)
        else:
            relabelled[used : used + at - begin] = block[begin:at]
            used += at - begin
        above.starts[: count + 1] = here.starts[: count + 1]
        above.labels[:count] = here.labels[:count]
        above.nodes[:count] = here.nodes[:count]
        counts[RUNS] = count
    return used


@compiled
def paint(before, after, places, labels, top, old, new, changed, changes):
    """Paints the next rows of a block, and notes where it differs from another one.

    `before` and `after` are blocks; a run of `after` is one of `before`, or several. `places` (int64) has the bytes
    where their next rows begin, and is moved on. `labels` uint8 HW is filled from `after`; its first row is row `top`
    of the map. `old`, `new` are scratch. `changed` [from, to] int64 is added to; `changes` (row, start, end) int64 gets
    the pixels that changed, and has room for all runs. Returns how many rows of it were filled in.
    """
    width = labels.shape[1]
    noted = 0
    for r in range(labels.shape[0]):
        first, other = places[0], places[1]
        places[0], old_count = unpack_row(before, first, width, old)
        places[1], new_count = unpack_row(after, other, width, new)
        for k in range(new_count):
            labels[r, new.starts[k] : new.starts[k + 1]] = new.labels[k]
        same = places[0] - first == places[1] - other
        for b in range(places[0] - first if same else 0):
            same &= before[first + b] == after[other + b]
        k = 0
        for i in range(0 if same else old_count):
            start, end = old.starts[i], old.starts[i + 1]
            while new.starts[k + 1] <= start:
                k += 1
            if old.labels[i] != new.labels[k]:
                changed[old.labels[i], new.labels[k]] += end - start
                changes[noted, 0], changes[noted, 1], changes[noted, 2] = top + r, start, end
                noted += 1
    return noted
