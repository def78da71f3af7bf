"""Connected regions as runs: the compiled loops that go down a label map, row by row.

A row of a map is a short list of runs (start, end, class). Runs that touch runs of the same class in the row above
belong to the same region (union-find over `REGION` records). A region's first run has nothing above to join: that is
a *birth*, and births are numbered in the order of the scan. A later pass meets the same births in the same order, so
one byte per birth is all that it needs to know what becomes of every run: `rewrite` hands it down from run to run.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from jingwei.legend import NODATA

UNSEEN, MIXED = -1, -2  # the border of a region that has met no other class yet, and of one that can be no hole
UNDECIDED = -1  # the level of a region that is small so far
LINKS_SEARCHED = 4  # a longer search for a known neighbour costs more than the duplicates that it saves

REGION = np.dtype(
    [
        ("parent", "i8"),  # towards the root; a root is its own parent
        ("next", "i8"),  # the region's members are a ring: two rings join by exchanging one `next`
        ("birth", "i8"),  # the number of this member's birth in the scan
        ("area", "i8"),  # pixels
        ("first", "i8"),  # row * width + column of the first pixel
        ("left", "i8"),
        ("right", "i8"),  # one past the last column
        ("bottom", "i8"),  # last row so far
        ("links", "i8"),  # one entry of the ring of neighbours in the links, or -1
        ("tally", "i8"),  # scratch: common border, in pixel edges
        ("level", "i4"),  # 0 large, k joins a region of level k - 1, UNDECIDED
        ("border", "i2"),  # the one class around, UNSEEN or MIXED
        ("label", "u1"),  # the class of its pixels
        ("heir", "u1"),  # the class that its pixels end in, once the level is known
        ("open", "?"),  # has a run in the row scanned last
        ("pending", "?"),  # members and links are still needed
        ("keep", "?"),
    ],
    align=True,
)
LINK = np.dtype([("to", "i8"), ("next", "i8"), ("count", "i8")])  # one neighbour and the pixel edges shared with it


class Runs(NamedTuple):
    """The runs of one row. `starts` (int64) has the width behind the last one; `labels` uint8; `nodes` int64."""

    starts: np.ndarray
    labels: np.ndarray
    nodes: np.ndarray

    @classmethod
    def empty(cls, width: int) -> "Runs":
        return cls(np.zeros(width + 2, np.int64), np.zeros(width + 1, np.uint8), np.zeros(width + 1, np.int64))


class Rules(NamedTuple):
    """What a pass is about.

    `only` is the one class that has regions, or -1 for all but NODATA; `reach` 1 joins regions over corners too.
    """

    height: int
    only: int
    reach: int
    max_size: int
    min_area: int


RUNS, NODES, LINKS, BIRTHS = range(4)  # places in `counts`, int64


def flags_for(width: int) -> np.ndarray:
    """Scratch for `find_runs`: a byte per pixel, looked at eight at a time."""
    return np.zeros(-(-width // 8) * 8, np.uint8)


@njit(cache=True, nogil=True)
def find_runs(row, runs, flags):
    """Finds the runs of a row and returns their number."""
    width = row.size
    behind, before, changes = row[1:], row[:-1], flags[1:width]
    for j in range(width - 1):
        changes[j] = behind[j] != before[j]
    words = flags.view(np.uint64)
    starts, labels = runs.starts, runs.labels
    starts[0] = 0
    count = 1
    for w in range(words.size):
        if words[w] != 0:
            for j in range(8 * w, 8 * w + 8):
                starts[count] = j
                count += flags[j]
    starts[count] = width
    for i in range(count):
        labels[i] = row[starts[i]]
    return count


@njit(cache=True, nogil=True)
def find(nodes, a):
    """The root of a member."""
    while nodes[a]["parent"] != a:
        nodes[a]["parent"] = nodes[nodes[a]["parent"]]["parent"]
        a = nodes[a]["parent"]
    return a


@njit(cache=True, nogil=True)
def _union(nodes, links, a, b, min_area):
    if a == b:
        return a
    if b < a:  # the older one stays root
        a, b = b, a
    root, joined = nodes[a], nodes[b]
    joined["parent"] = a
    root["next"], joined["next"] = joined["next"], root["next"]
    root["area"] += joined["area"]
    root["first"] = min(root["first"], joined["first"])
    root["left"] = min(root["left"], joined["left"])
    root["right"] = max(root["right"], joined["right"])
    root["bottom"] = max(root["bottom"], joined["bottom"])
    if joined["border"] != UNSEEN:
        _surround(root, joined["border"])
    if root["area"] >= min_area:
        root["links"] = -1
    elif root["links"] < 0:
        root["links"] = joined["links"]
    elif joined["links"] >= 0:
        x, y = root["links"], joined["links"]
        links[x]["next"], links[y]["next"] = links[y]["next"], links[x]["next"]
    return a


@njit(cache=True, nogil=True)
def _surround(node, border):
    if node["border"] == UNSEEN and border != NODATA:
        node["border"] = border
    elif node["border"] != border:
        node["border"] = MIXED


@njit(cache=True, nogil=True)
def _bear(nodes, counts, row, start, width, label):
    a = counts[NODES]
    counts[NODES] += 1
    node = nodes[a]
    node["parent"] = node["next"] = a
    node["birth"] = counts[BIRTHS]
    counts[BIRTHS] += 1
    node["area"] = node["tally"] = 0
    node["first"] = row * width + start
    node["left"], node["right"] = start, start
    node["links"] = -1
    node["level"] = UNDECIDED
    node["border"] = UNSEEN
    node["label"] = node["heir"] = label
    return a


@njit(cache=True, nogil=True)
def _join_row(nodes, links, counts, rules, above, here, count, row):
    """Joins the runs of a row to the regions above them, or begins new ones."""
    above_count, width = counts[RUNS], here.starts[count]
    j = 0
    for i in range(count):
        start, end, label = here.starts[i], here.starts[i + 1], here.labels[i]
        here.nodes[i] = -1
        if (label != rules.only) if rules.only >= 0 else (label == NODATA):
            continue
        while j < above_count and above.starts[j + 1] <= start - rules.reach:
            j += 1
        root = -1
        k = j
        while k < above_count and above.starts[k] < end + rules.reach:
            if above.labels[k] == label:
                upper = find(nodes, above.nodes[k])
                root = upper if root < 0 else _union(nodes, links, root, upper, rules.min_area)
            k += 1
        if root < 0:
            root = _bear(nodes, counts, row, start, width, label)
        node = nodes[root]
        node["area"] += end - start
        node["left"], node["right"] = min(node["left"], start), max(node["right"], end)
        node["bottom"] = row
        if start == 0 or end == width or row == 0 or row == rules.height - 1:
            node["border"] = MIXED
        if node["area"] >= rules.min_area:
            node["links"] = -1
        here.nodes[i] = root


@njit(cache=True, nogil=True)
def _border_row(nodes, rules, counts, above, here, count):
    """Notes the classes around the background runs of a row and of the row above it."""
    j = 0
    for i in range(count):
        start, end, label, a = here.starts[i], here.starts[i + 1], here.labels[i], here.nodes[i]
        if a >= 0:
            a = find(nodes, a)
            if i > 0:
                _surround(nodes[a], here.labels[i - 1])
            if i < count - 1:
                _surround(nodes[a], here.labels[i + 1])
        while j < counts[RUNS] and above.starts[j + 1] <= start:
            j += 1
        k = j
        while k < counts[RUNS] and above.starts[k] < end:
            if a >= 0:
                if above.labels[k] != label:
                    _surround(nodes[a], above.labels[k])
            elif above.nodes[k] >= 0:
                _surround(nodes[find(nodes, above.nodes[k])], label)
            k += 1


@njit(cache=True, nogil=True)
def _link_row(nodes, links, rules, counts, above, here, count):
    """Notes the pixel edges that the runs of a row share with each other and with those of the row above it.

    A link may be noted twice. One long function: calls from its inner loop would count references to every array.
    """
    used, j = counts[LINKS], 0
    for i in range(count):
        start, end, a = here.starts[i], here.starts[i + 1], here.nodes[i]
        if a < 0:
            continue
        a = find(nodes, a)
        while j < counts[RUNS] and above.starts[j + 1] <= start:
            j += 1
        k = j - 1  # stands for the run to the left; from j on, the runs above
        while k < j or (k < counts[RUNS] and above.starts[k] < end):
            if k < j:
                other, edges = here.nodes[i - 1] if i > 0 else -1, 1
            else:
                other = above.nodes[k] if above.labels[k] != here.labels[i] else -1
                edges = min(end, above.starts[k + 1]) - max(start, above.starts[k])
            k += 1
            if other < 0:
                continue
            one, two = a, find(nodes, other)
            for _ in range(2):
                if nodes[one]["area"] < rules.min_area:
                    last = entry = nodes[one]["links"]
                    known = False
                    for _ in range(LINKS_SEARCHED if last >= 0 else 0):
                        entry = links[entry]["next"]
                        known = links[entry]["to"] == two
                        if known or entry == last:
                            break
                    if known:
                        links[entry]["count"] += edges
                    else:
                        links[used]["to"], links[used]["count"], links[used]["next"] = two, edges, used
                        if last >= 0:
                            links[used]["next"], links[last]["next"] = links[last]["next"], used
                        else:
                            nodes[one]["links"] = used
                        used += 1
                one, two = two, one
    counts[LINKS] = used


@njit(cache=True, nogil=True)
def survey(strip, begin, top, rules, nodes, links, above, here, flags, counts):
    """Adds the rows of a strip, from row `begin` on, to the regions.

    `strip` is uint8 HW, and its first row is row `top` of the map; `nodes` are REGION and `links` LINK records; `above`
    are the runs of the row before; `here` and `flags` are scratch; `counts` (int64) has the used parts of all of them.
    Returns the row at which the nodes or links may not have had enough room, or the strip's height.
    """
    for r in range(begin, strip.shape[0]):
        count = find_runs(strip[r], here, flags)
        need = 2 * (2 * count + counts[RUNS]) if rules.only < 0 else 0
        if counts[NODES] + count > len(nodes) or counts[LINKS] + need > len(links):
            return r
        _join_row(nodes, links, counts, rules, above, here, count, top + r)
        if rules.only >= 0:
            _border_row(nodes, rules, counts, above, here, count)
        else:
            _link_row(nodes, links, rules, counts, above, here, count)
        above.starts[: count + 1] = here.starts[: count + 1]
        above.labels[:count] = here.labels[:count]
        above.nodes[:count] = here.nodes[:count]
        counts[RUNS] = count
    return strip.shape[0]


@njit(cache=True, nogil=True)
def rewrite(strip, rules, verdicts, above, here, flags, counts):
    """Writes the verdicts into a strip (uint8 HW), in place. `verdicts` uint8: 0 stays, k + 1 becomes class k.

    Here `nodes` of the runs are verdicts, and `counts` has the runs above and the births so far.
    """
    for r in range(strip.shape[0]):
        count = find_runs(strip[r], here, flags)
        j = 0
        for i in range(count):
            label, end = here.labels[i], here.starts[i + 1]
            here.nodes[i] = 0
            if (label != rules.only) if rules.only >= 0 else (label == NODATA):
                continue
            verdict = -1
            while j < counts[RUNS] and above.starts[j + 1] <= here.starts[i] - rules.reach:
                j += 1
            k = j
            while k < counts[RUNS] and above.starts[k] < end + rules.reach and verdict < 0:
                if above.labels[k] == label:
                    verdict = above.nodes[k]
                k += 1
            if verdict < 0:
                verdict = np.int64(verdicts[counts[BIRTHS]])
                counts[BIRTHS] += 1
            here.nodes[i] = verdict
            if verdict > 0:
                strip[r, here.starts[i] : end] = verdict - 1
        above.starts[: count + 1] = here.starts[: count + 1]
        above.labels[:count] = here.labels[:count]
        above.nodes[:count] = here.nodes[:count]
        counts[RUNS] = count


@njit(cache=True, nogil=True)
def count_changes(before, after, changed):
    """Adds the pixels that differ to `changed` [from, to], int64, 256 x 256. `before` and `after` are flat uint8."""
    whole = before.size // 8
    words, other_words = before[: 8 * whole].view(np.uint64), after[: 8 * whole].view(np.uint64)
    for w in range(whole):
        if words[w] != other_words[w]:
            for i in range(8 * w, 8 * w + 8):
                if before[i] != after[i]:
                    changed[before[i], after[i]] += 1
    for i in range(8 * whole, before.size):
        if before[i] != after[i]:
            changed[before[i], after[i]] += 1
