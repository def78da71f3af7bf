"""Filling whole arrays by scipy, and maps to fill."""

import numpy as np
from scipy import ndimage

from jingwei.filling import holes
from jingwei.filling.holes import Filled
from jingwei.legend import NODATA

STRUCTURES = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}


def reference_holes(labels, background, max_size, connectivity, classes):
    """Every background region by itself, looked at pixel by pixel."""
    height, width = labels.shape
    filled = labels.copy()
    components, _ = ndimage.label(labels == background, STRUCTURES[connectivity])
    for number, (rows, cols) in enumerate(ndimage.find_objects(components), start=1):
        if max(rows.stop - rows.start, cols.stop - cols.start) > max_size:
            continue
        if rows.start == 0 or cols.start == 0 or rows.stop == height or cols.stop == width:
            continue
        around = slice(rows.start - 1, rows.stop + 1), slice(cols.start - 1, cols.stop + 1)
        region = components[around] == number
        border = set(labels[around][ndimage.binary_dilation(region, STRUCTURES[4]) & ~region])
        if len(border) == 1 and NODATA not in border and (classes is None or border <= set(classes)):
            filled[components == number] = border.pop()
    return filled


def reference_small(labels, min_area, connectivity, protect=()):
    """Levels by plain rounds over a dictionary of borders. `min_area` is a number, or numbers by class."""
    height, width = labels.shape
    ids = np.zeros(labels.shape, int)
    count = 0
    for label in set(labels.flat) - {NODATA}:
        components, found = ndimage.label(labels == label, STRUCTURES[connectivity])
        ids += np.where(components > 0, components + count, 0)
        count += found
    area = np.bincount(ids.flat, minlength=count + 1)
    seen, first = np.unique(ids, return_index=True)
    first = dict(zip(seen.tolist(), first.tolist(), strict=True))
    places = np.arange(height * width).reshape(height, width)
    borders = {i: [] for i in range(1, count + 1)}  # region -> the pixel beyond each of its edges, row by row
    edges = []
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        for here, there in ((one, other), (other, one)):
            meet = (ids[here] != ids[there]) & (ids[here] > 0) & (ids[there] > 0)
            edges += zip(places[there][meet].tolist(), ids[here][meet].tolist(), strict=True)
    for place, i in sorted(edges):
        borders[i].append(place)
    ids = ids.ravel().tolist()
    level, heir = {}, {}
    for i in borders:
        heir[i] = labels.flat[first[i]]
        least = min_area.get(heir[i], 0) if isinstance(min_area, dict) else min_area
        if area[i] >= least or heir[i] in protect:
            level[i] = 0
    for k in range(1, count + 1):
        found = {}
        for i in borders:
            beside = [heir[ids[place]] for place in borders[i] if i not in level and level.get(ids[place]) == k - 1]
            if beside:
                found[i] = max(beside, key=beside.count)  # of equal ones, the first
        if not found:
            break
        heir |= found
        level |= dict.fromkeys(found, k)
    lookup = np.array([NODATA] + [heir[i] for i in range(1, count + 1)], np.uint8)
    return lookup[ids].reshape(labels.shape)


def reference(labels, background=0, max_size=500, min_area=0, connectivity=4, classes=None, protect=()):
    filled = labels
    if background is not None and background not in protect:
        filled = reference_holes(labels, background, max_size, connectivity, classes)
    return reference_small(filled, min_area, connectivity, protect) if min_area else filled


def cut(labels, heights):
    """The map as strips of the given heights, over and over."""

    def strips():
        row = turn = 0
        while row < len(labels):
            rows = heights[turn % len(heights)]
            yield labels[row : row + rows]
            row, turn = row + rows, turn + 1

    return strips


def run(labels, heights=(16,), **rules):
    filled = Filled(cut(labels, heights), *labels.shape, **rules)
    bands = list(filled)
    assert [band.top for band in bands] == list(range(0, len(labels), holes.BAND_ROWS))
    result = np.concatenate([band.labels for band in bands])
    noted = np.zeros(labels.shape, bool)
    for band in bands:
        for row, start, end in band.changes:
            assert band.top <= row < band.top + len(band.labels)
            assert len(np.unique(labels[row, start:end])) == len(np.unique(result[row, start:end])) == 1
            noted[row, start:end] = True
    np.testing.assert_array_equal(noted, result != labels)
    return result, filled.changed


def assert_as_reference(labels, heights=(16,), **rules):
    kept = labels.copy()
    result, changed = run(labels, heights, **rules)
    np.testing.assert_array_equal(labels, kept)
    expected = reference(labels, **rules)
    np.testing.assert_array_equal(result, expected)
    table = np.zeros((256, 256), np.int64)
    np.add.at(table, (labels.ravel(), expected.ravel()), 1)
    np.fill_diagonal(table, 0)
    np.testing.assert_array_equal(changed, table)
    return result


def spiral(height, width):
    """One winding background path of one pixel, between walls of one pixel."""
    labels = np.ones((height, width), np.uint8)
    row, col, step = 1, 1, (0, 1)
    labels[1:2, 1:2] = 0
    for _ in range(height * width):
        for _ in range(2):
            ahead, further = (row + step[0], col + step[1]), (row + 2 * step[0], col + 2 * step[1])
            inside = 0 < ahead[0] < height - 1 and 0 < ahead[1] < width - 1
            free = not (0 <= further[0] < height and 0 <= further[1] < width) or labels[further] != 0
            if inside and free and labels[ahead] != 0:
                labels[ahead], (row, col) = 0, ahead
                break
            step = (step[1], -step[0])
        else:
            return labels
    return labels


def rings(height, width, classes):
    rows, cols = np.ogrid[:height, :width]
    depth = np.minimum(np.minimum(rows, height - 1 - rows), np.minimum(cols, width - 1 - cols))
    return (depth % classes).astype(np.uint8)


def combs(height, width, classes):
    """Fields of two classes that grow together far below or above, with crumbs on their borders."""
    labels = np.zeros((height, width), np.uint8)
    labels[:, ::3] = 1
    labels[-1 if classes % 2 else 0] = 1
    return labels
