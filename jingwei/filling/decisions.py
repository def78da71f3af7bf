"""Which region becomes what: decides the regions of a survey as soon as they are certain, and forgets them.

`survey.py` grows the regions; these loops run when its records are full, and at the end of the map. A region can be
decided long before the end: what becomes of it depends on the regions round it alone.
"""

import numpy as np

from jingwei.filling.survey import FAR, FARS, FRONTIER, LINKS, NODES, RUNS, UNDECIDED, UNSEEN
from jingwei.raster.union_find import find
from jingwei.system.compiled import compiled


@compiled
def _mark_open(nodes, above, counts, last):
    for a in range(counts[NODES]):
        nodes[a]["open"] = nodes[a]["pending"] = False
    for i in range(0 if last else counts[RUNS]):
        if above.nodes[i] >= 0:
            nodes[find(nodes, above.nodes[i])]["open"] = True


@compiled
def _decide(nodes, root, decisions, label):
    """Writes a region's class to all its provisional labels."""
    a = root
    while True:
        decisions[nodes[a]["number"]] = label + 1
        a = nodes[a]["next"]
        if a == root:
            return


@compiled
def settle_holes(nodes, above, counts, rules, fillable, decisions, last):
    """Decides the background regions that have ended, and gives up those that can't become holes any more."""
    _mark_open(nodes, above, counts, last)
    for a in range(counts[NODES]):
        node = nodes[a]
        if node["parent"] != a or node["border"] < 0 and not (node["border"] == UNSEEN and node["open"]):
            continue
        tall, wide = node["bottom"] + 1 - node["top"], node["right"] - node["left"]
        if max(tall, wide) > rules.max_size:
            continue
        if node["open"]:
            node["pending"] = True
        elif fillable[node["border"]]:
            _decide(nodes, a, decisions, node["border"])


@compiled
def settle_small(nodes, links, above, counts, decisions, levels, last):
    """Decides the small regions that have ended, as far as that is certain; with `last`, all whose level is known.

    The `doubt` of a small region is how many steps, from neighbour to neighbour, it is away from one that is still
    growing, which may end at any level. So a level below the doubt is certain, and so are all levels that it
    depends on. Regions of a level above `levels` become FAR and are left to another survey.
    """
    _mark_open(nodes, above, counts, last)
    count = counts[NODES]
    queue, queued = np.empty(count, np.int64), 0
    doubt = np.full(count, levels + 1, np.int64)
    some = np.zeros(levels + 1, np.bool_)  # whether there are regions of a level
    for a in range(count):
        if nodes[a]["parent"] == a and nodes[a]["level"] == UNDECIDED:
            queue[queued] = a
            queued += 1
            if nodes[a]["open"]:
                doubt[a] = 0
        elif nodes[a]["parent"] == a and nodes[a]["level"] >= 0:
            some[nodes[a]["level"]] = True
    _spread_doubt(nodes, links, queue[:queued], doubt, levels)
    edges, first = np.zeros(256, np.int64), np.empty(256, np.int64)
    for level in range(1, levels + 1):
        if not some[level - 1]:
            continue
        left = 0
        for i in range(queued):
            a = queue[i]
            if doubt[a] > level and _choose(nodes, links, a, level, edges, first):
                _decide(nodes, a, decisions, nodes[a]["heir"])
                some[level] = True
                counts[FRONTIER] += level == levels
            else:
                queue[left] = a
                left += 1
        queued = left
    for i in range(queued):
        a = queue[i]
        if doubt[a] > levels:
            nodes[a]["level"] = FAR
            counts[FARS] += 1
        else:
            nodes[a]["pending"] = True


@compiled
def _spread_doubt(nodes, links, small, doubt, levels):
    """Walks from the regions whose doubt is 0 over their undecided neighbours, up to `levels` steps."""
    near = np.empty(small.size, np.int64)
    reached = 0
    for a in small:
        if doubt[a] == 0:
            near[reached] = a
            reached += 1
    i = 0
    while i < reached and doubt[near[i]] < levels:
        a = near[i]
        i += 1
        end = entry = nodes[a]["links"]
        while entry >= 0:
            entry = links[entry]["next"]
            b = find(nodes, links[entry]["to"])
            if doubt[b] > levels and nodes[b]["level"] == UNDECIDED:
                doubt[b] = doubt[a] + 1
                near[reached] = b
                reached += 1
            if entry == end:
                break


@compiled
def _choose(nodes, links, root, level, edges, first):
    """Finds the class that a small region takes at `level`. False where no neighbour is one level below."""
    end = entry = nodes[root]["links"]
    best, several = -1, False
    while entry >= 0:
        entry = links[entry]["next"]
        neighbour = nodes[find(nodes, links[entry]["to"])]
        if neighbour["level"] == level - 1:
            several |= best >= 0 and neighbour["heir"] != best
            best = neighbour["heir"]
        if entry == end:
            break
    if best < 0:
        return False
    if several:
        best = _longest(nodes, links, root, level, edges, first)
    nodes[root]["level"], nodes[root]["heir"] = level, best
    return True


@compiled
def _longest(nodes, links, root, level, edges, first):
    """The class with the longest common border; `edges` (zeros, left as such) and `first` are scratch, by class."""
    end = entry = nodes[root]["links"]
    best = -1
    while True:
        entry = links[entry]["next"]
        neighbour = nodes[find(nodes, links[entry]["to"])]
        if neighbour["level"] == level - 1:
            best = int(neighbour["heir"])
            place = links[entry]["first"]
            first[best] = place if edges[best] == 0 else min(first[best], place)
            edges[best] += links[entry]["count"]
        if entry == end:
            break
    for label in range(256):
        if edges[label] > edges[best] or (edges[label] == edges[best] and label != best and first[label] < first[best]):
            best = label
    edges[:] = 0
    return best


@compiled
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
        end = entry = nodes[a]["links"] if roots[a] == a and nodes[a]["pending"] else -1
        while entry >= 0:
            entry = links[entry]["next"]
            b = roots[links[entry]["to"]]
            nodes[b]["keep"] |= nodes[b]["level"] != FAR
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


@compiled
def _move_links(nodes, links, fresh, roots, place):
    """Copies the links of pending regions to `fresh`, one per neighbour. Returns their number."""
    moved = 0
    copied = np.full(len(roots), -1, np.int64)  # a neighbour's link in `fresh`, as far as it is of this region
    for a in range(len(roots)):
        if roots[a] != a:
            continue
        end = entry = nodes[a]["links"] if nodes[a]["pending"] else -1
        nodes[a]["links"] = -1
        begin = moved
        while entry >= 0:
            entry = links[entry]["next"]
            b = roots[links[entry]["to"]]
            if copied[b] >= begin:
                link = fresh[copied[b]]
                link["count"] += links[entry]["count"]
                link["first"] = min(link["first"], links[entry]["first"])
            elif place[b] >= 0:
                copied[b] = moved
                link = fresh[moved]
                link["to"], link["count"], link["next"] = place[b], links[entry]["count"], moved + 1
                link["first"] = links[entry]["first"]
                moved += 1
            if entry == end:
                break
        if moved > begin:
            fresh[moved - 1]["next"] = begin
            nodes[a]["links"] = begin
    return moved
