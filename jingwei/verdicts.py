"""Which region becomes what: decides the regions of a survey as soon as they are certain, and forgets them.

`runs.survey` grows the regions; these loops run when its records are full, and at the end of the map.
"""

import numpy as np
from numba import njit

from jingwei.runs import LINKS, NODES, RUNS, UNDECIDED, UNSEEN, find


@njit(cache=True, nogil=True)
def _mark_open(nodes, above, counts, last):
    for a in range(counts[NODES]):
        nodes[a]["open"] = nodes[a]["pending"] = False
    for i in range(0 if last else counts[RUNS]):
        if above.nodes[i] >= 0:
            nodes[find(nodes, above.nodes[i])]["open"] = True


@njit(cache=True, nogil=True)
def _decide(nodes, root, verdicts, label):
    """Writes a region's class to all its births."""
    a = root
    while True:
        verdicts[nodes[a]["birth"]] = label + 1
        a = nodes[a]["next"]
        if a == root:
            return


@njit(cache=True, nogil=True)
def settle_holes(nodes, links, above, counts, rules, fillable, verdicts, last):
    """Decides the background regions that have ended, and gives up those that can't become holes any more."""
    _mark_open(nodes, above, counts, last)
    width = above.nodes.size - 1
    for a in range(counts[NODES]):
        node = nodes[a]
        if node["parent"] != a or node["border"] < 0 and not (node["border"] == UNSEEN and node["open"]):
            continue
        tall = node["bottom"] + 1 - node["first"] // width
        if max(tall, node["right"] - node["left"]) > rules.max_size:
            continue
        if node["open"]:
            node["pending"] = True
        elif fillable[node["border"]]:
            _decide(nodes, a, verdicts, node["border"])


@njit(cache=True, nogil=True)
def _choose(nodes, links, root, level, last):
    """Finds the neighbour that a small region joins at `level`. False where there is none, or it is not certain yet.

    While the survey runs, large regions can still grow together, which adds up their borders and moves their first
    pixels. The choice is certain all the same where one class has all of the border, or one region more than half.
    """
    end = nodes[root]["links"]
    if end < 0:
        return False
    waiting = False
    entry = end
    while True:
        entry = links[entry]["next"]
        neighbour = nodes[find(nodes, links[entry]["to"])]
        neighbour["tally"] += links[entry]["count"]
        waiting |= neighbour["level"] == UNDECIDED and neighbour["open"]
        if entry == end:
            break
    best, total, growing, one_class = np.int64(-1), np.int64(0), False, True
    longest = np.int64(0)
    while True:
        entry = links[entry]["next"]
        b = find(nodes, links[entry]["to"])
        neighbour = nodes[b]
        if neighbour["level"] == level - 1 and neighbour["tally"] > 0:
            total += neighbour["tally"]
            growing |= neighbour["open"]
            one_class &= best < 0 or neighbour["heir"] == nodes[best]["heir"]
            first = neighbour["first"]
            if neighbour["tally"] > longest or (neighbour["tally"] == longest and first < nodes[best]["first"]):
                best, longest = b, neighbour["tally"]
        neighbour["tally"] = 0
        if entry == end:
            break
    certain = last or not waiting and (not growing or one_class or 2 * longest > total)
    if best < 0 or not certain:
        return False
    nodes[root]["level"] = level
    nodes[root]["heir"] = nodes[best]["heir"]
    return True


@njit(cache=True, nogil=True)
def settle_small(nodes, links, above, counts, rules, verdicts, last):
    """Decides the small regions that have ended, as far as their neighbours are known; with `last`, all that can be."""
    _mark_open(nodes, above, counts, last)
    count = counts[NODES]
    for a in range(count):
        if nodes[a]["parent"] == a and nodes[a]["area"] >= rules.min_area:
            nodes[a]["level"] = 0
    queue = np.empty(count, np.int64)
    queued = 0
    for a in range(count):
        if nodes[a]["parent"] == a and nodes[a]["level"] == UNDECIDED:
            if not nodes[a]["open"] and _choose(nodes, links, a, 1, last):
                _decide(nodes, a, verdicts, nodes[a]["heir"])
            else:
                nodes[a]["pending"] = True
                queue[queued] = a
                queued += 1
    level = 2
    while last and queued > 0:
        queued = _settle_level(nodes, links, verdicts, queue, queued, level)
        level += 1


@njit(cache=True, nogil=True)
def _settle_level(nodes, links, verdicts, queue, queued, level):
    """Decides the regions of one level among those in the queue, and queues their undecided neighbours for the next."""
    settled = 0
    for i in range(queued):
        a = queue[i]
        nodes[a]["keep"] = False
        if _choose(nodes, links, a, level, True):
            _decide(nodes, a, verdicts, nodes[a]["heir"])
            queue[settled] = a
            settled += 1
    following = []
    for i in range(settled):
        end = entry = nodes[queue[i]]["links"]
        while True:
            entry = links[entry]["next"]
            b = find(nodes, links[entry]["to"])
            if nodes[b]["level"] == UNDECIDED and not nodes[b]["keep"]:
                nodes[b]["keep"] = True
                following.append(b)
            if entry == end:
                break
    for i in range(len(following)):
        queue[i] = following[i]
    return len(following)


@njit(cache=True, nogil=True)
def compact(nodes, links, fresh, above, counts):
    """Throws away the records that nothing needs any more, and moves the others and their links together.

    Needed are all members of pending regions, the roots in the row scanned last, and the neighbours of pending regions.
    """
    count = counts[NODES]
    roots = np.empty(count, np.int64)
    for a in range(count):
        roots[a] = find(nodes, a)
        nodes[a]["keep"] = nodes[roots[a]]["pending"]
    for i in range(counts[RUNS]):
        if above.nodes[i] >= 0:
            nodes[roots[above.nodes[i]]]["keep"] = True
    for a in range(count):
        end = entry = nodes[a]["links"] if nodes[a]["pending"] else -1
        while entry >= 0:
            entry = links[entry]["next"]
            nodes[roots[links[entry]["to"]]]["keep"] = True
            if entry == end:
                break
    place = np.full(count, -1, np.int64)
    kept = 0
    for a in range(count):
        if nodes[a]["keep"]:
            place[a] = kept
            kept += 1
    for i in range(counts[RUNS]):
        if above.nodes[i] >= 0:
            above.nodes[i] = place[roots[above.nodes[i]]]
    counts[LINKS] = _move_links(nodes, links, fresh, roots, place)
    for a in range(count):
        if place[a] >= 0:
            if nodes[roots[a]]["pending"]:
                nodes[a]["next"] = place[nodes[a]["next"]]
            else:
                nodes[a]["next"] = place[a]
            nodes[a]["parent"] = place[roots[a]]
    for a in range(count):
        if place[a] >= 0:
            nodes[place[a]] = nodes[a]
    counts[NODES] = kept


@njit(cache=True, nogil=True)
def _move_links(nodes, links, fresh, roots, place):
    """Copies the links of pending regions to `fresh`, one per neighbour. Returns their number."""
    moved = 0
    for a in range(len(roots)):
        if roots[a] != a:
            continue
        end = entry = nodes[a]["links"] if nodes[a]["pending"] else -1
        nodes[a]["links"] = -1
        while entry >= 0:
            entry = links[entry]["next"]
            nodes[roots[links[entry]["to"]]]["tally"] += links[entry]["count"]
            if entry == end:
                break
        begin = moved
        while entry >= 0:
            entry = links[entry]["next"]
            b = roots[links[entry]["to"]]
            if nodes[b]["tally"] > 0:
                fresh[moved]["to"], fresh[moved]["count"], fresh[moved]["next"] = place[b], nodes[b]["tally"], moved + 1
                nodes[b]["tally"] = 0
                moved += 1
            if entry == end:
                fresh[moved - 1]["next"] = begin
                nodes[a]["links"] = begin
                break
    return moved
