"""Connected regions grown from runs, row by row: the compiled loops of a survey.

Runs that touch are joined by union-find over `REGION` records. A survey of holes notes the classes round a region, a
survey of small regions the pixel edges that it shares with each neighbour. `decisions.py` decides what becomes of them.
"""

from typing import NamedTuple

import numpy as np

from jingwei.filling.run_length import Regions, is_region, unpack_row
from jingwei.legend import NODATA
from jingwei.raster.union_find import find
from jingwei.system.compiled import compiled

UNSEEN, MIXED = -1, -2  # the border of a region that has met no other class yet, and of one that can be no hole
UNDECIDED, FAR = -1, -2  # the level of a region that is small so far, and of one that a later survey decides
LINKS_SEARCHED = 4  # a longer search for a known neighbour costs more than the duplicates that it saves

REGION = np.dtype(
    [
        ("parent", "i8"),  # towards the root; a root is its own parent
        ("next", "i8"),  # the region's members are a ring: two rings join by exchanging one `next`
        ("number", "i8"),  # this member's provisional label
        ("area", "i8"),  # pixels
        ("links", "i8"),  # one entry of the ring of neighbours in the links, or -1; means nothing where it is large
        ("top", "i4"),
        ("bottom", "i4"),  # last row so far
        ("left", "i4"),
        ("right", "i4"),  # one past the last column
        ("level", "i4"),  # 0 large, k joins a region of level k - 1, UNDECIDED or FAR
        ("border", "i2"),  # the one class around, UNSEEN or MIXED
        ("label", "u1"),  # the class of its pixels
        ("heir", "u1"),  # the class that its pixels end in, once the level is known
        ("open", "?"),  # has a run in the row scanned last
        ("pending", "?"),  # members and links are still needed
        ("keep", "?"),
    ],
    align=True,
)
LINK = np.dtype(
    [
        ("to", "i8"),  # a neighbour
        ("next", "i8"),
        ("count", "i8"),  # pixel edges shared with it
        ("first", "i8"),  # the first of its pixels at these edges: row * width + column
    ]
)


class Rules(NamedTuple):
    """What a survey is about. Sizes in pixels; `min_areas` (int64, 256) is by class, 0 for those that stay."""

    height: int
    width: int
    regions: Regions
    max_size: int
    min_areas: np.ndarray


RUNS, NODES, LINKS, PROVISIONAL, FARS, FRONTIER = range(6)  # places in `counts`, int64


@compiled
def _union(nodes, links, a, b):
    if a == b:
        return a
    if b < a:  # the older one stays root: its first pixel is the region's
        a, b = b, a
    root, joined = nodes[a], nodes[b]
    joined["parent"] = a
    root["next"], joined["next"] = joined["next"], root["next"]
    root["area"] += joined["area"]
    root["left"] = min(root["left"], joined["left"])
    root["right"] = max(root["right"], joined["right"])
    if joined["border"] != UNSEEN:
        _surround(root, joined["border"])
    if root["links"] < 0:
        root["links"] = joined["links"]
    elif joined["links"] >= 0:
        x, y = root["links"], joined["links"]
        links[x]["next"], links[y]["next"] = links[y]["next"], links[x]["next"]
    return a


@compiled
def _surround(node, border):
    if node["border"] == UNSEEN and border != NODATA:
        node["border"] = border
    elif node["border"] != border:
        node["border"] = MIXED


@compiled
def _begin(nodes, counts, decisions, row, start, label):
    a = counts[NODES]
    counts[NODES] += 1
    node = nodes[a]
    node["parent"] = node["next"] = a
    node["number"] = counts[PROVISIONAL]
    node["area"] = 0
    node["top"] = row
    node["left"], node["right"] = start, start
    node["links"] = -1
    node["level"] = UNDECIDED
    node["border"] = UNSEEN
    node["label"] = node["heir"] = label
    known = decisions[counts[PROVISIONAL]]
    if known > 0:  # an earlier survey has decided
        node["level"], node["heir"] = 0, known - 1
    counts[PROVISIONAL] += 1
    return a


@compiled
def _join_row(nodes, links, counts, rules, decisions, above, here, count, row):
    """Joins the runs of a row to the regions above them, or begins new ones."""
    above_count, width, reach = counts[RUNS], rules.width, rules.regions.reach
    j = 0
    for i in range(count):
        start, end, label = here.starts[i], here.starts[i + 1], here.labels[i]
        here.nodes[i] = -1
        if not is_region(rules.regions, label):
            continue
        while j < above_count and above.starts[j + 1] <= start - reach:
            j += 1
        root = -1
        k = j
        while k < above_count and above.starts[k] < end + reach:
            if above.labels[k] == label:
                upper = find(nodes, above.nodes[k])
                root = upper if root < 0 else _union(nodes, links, root, upper)
            k += 1
        if root < 0:
            root = _begin(nodes, counts, decisions, row, start, label)
        node = nodes[root]
        node["area"] += end - start
        node["left"], node["right"] = min(node["left"], start), max(node["right"], end)
        node["bottom"] = row
        if start == 0 or end == width or row == 0 or row == rules.height - 1:
            node["border"] = MIXED
        if node["level"] < 0 and node["area"] >= rules.min_areas[label]:
            node["level"], node["links"] = 0, -1
        here.nodes[i] = root


@compiled
def _border_row(nodes, counts, above, here, count):
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


@compiled
def _link_row(nodes, links, rules, counts, above, here, count, row):
    """Notes the pixel edges that the runs of a row share with each other and with those of the row above it.

    A link may be noted twice. One long function: calls from its inner loop would count references to every array.
    """
    used, j = counts[LINKS], 0
    here_begins = row * rules.width
    above_begins = here_begins - rules.width
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
                mine, its = here_begins + start, here_begins + start - 1
            else:
                other = above.nodes[k] if above.labels[k] != here.labels[i] else -1
                begin = max(start, above.starts[k])
                edges = min(end, above.starts[k + 1]) - begin
                mine, its = here_begins + begin, above_begins + begin
            k += 1
            if other < 0:
                continue
            one, two = a, find(nodes, other)
            for _ in range(2):
                if nodes[one]["level"] < 0:
                    last = entry = nodes[one]["links"]
                    known = False
                    for _ in range(LINKS_SEARCHED if last >= 0 else 0):
                        entry = links[entry]["next"]
                        known = links[entry]["to"] == two
                        if known or entry == last:
                            break
                    if known:
                        links[entry]["count"] += edges
                        links[entry]["first"] = min(links[entry]["first"], its)
                    else:
                        links[used]["to"], links[used]["count"], links[used]["next"] = two, edges, used
                        links[used]["first"] = its
                        if last >= 0:
                            links[used]["next"], links[last]["next"] = links[last]["next"], used
                        else:
                            nodes[one]["links"] = used
                        used += 1
                one, two = two, one
                mine, its = its, mine
    counts[LINKS] = used


@compiled
def survey(block, at, rows, row, rules, nodes, links, decisions, above, here, counts):
    """Adds the next `rows` rows of a block, from byte `at` on, to the regions.

    `row` is the first one's place in the map; `nodes` are REGION and `links` LINK records; `decisions` has what earlier
    surveys of the same regions decided; `above` are the runs of the row before; `here` is scratch; `counts` (int64) has
    the used parts of all of them. Returns (byte, rows) where the nodes or links may not have had enough room: all rows,
    where they had.
    """
    holes = rules.regions.only >= 0
    for r in range(rows):
        begin = at
        at, count = unpack_row(block, at, rules.width, here)
        need = 0 if holes else 2 * (2 * count + counts[RUNS])
        if counts[NODES] + count > len(nodes) or counts[LINKS] + need > len(links):
            return begin, r
        _join_row(nodes, links, counts, rules, decisions, above, here, count, row + r)
        if holes:
            _border_row(nodes, counts, above, here, count)
        else:
            _link_row(nodes, links, rules, counts, above, here, count, row + r)
        above.starts[: count + 1] = here.starts[: count + 1]
        above.labels[:count] = here.labels[:count]
        above.nodes[:count] = here.nodes[:count]
        counts[RUNS] = count
    return at, rows
