"""Holes and small regions, against a plain reference that holds the whole map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from jingwei.filling import holes
from jingwei.filling.holes import Filled
from jingwei.legend import NODATA
from jingwei.system import spill
from jingwei.system.spill import Table

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


@st.composite
def maps(draw):
    height, width = (draw(st.one_of(st.just(1), st.integers(1, 12), st.integers(1, 70))) for _ in range(2))
    classes = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["noise", "fields", "rings", "spiral", "combs", "blocks"]))
    if kind == "noise":
        labels = rng.integers(0, classes, (height, width), dtype=np.uint8)
    elif kind == "fields":
        smooth = ndimage.uniform_filter(rng.random((classes, height, width)), (0, 5, 5))
        labels = smooth.argmax(axis=0).astype(np.uint8)
    elif kind == "blocks":
        side = draw(st.integers(2, 6))
        coarse = rng.integers(0, classes, (height // side + 1, width // side + 1), dtype=np.uint8)
        labels = coarse.repeat(side, 0).repeat(side, 1)[:height, :width].copy()
    else:
        shape = {"rings": rings, "combs": combs, "spiral": lambda h, w, _: spiral(h, w)}[kind]
        labels = shape(height, width, classes)
    if draw(st.booleans()):
        labels = labels.T.copy()
    salt = rng.random(labels.shape) < draw(st.sampled_from([0, 0.02, 0.1]))
    labels[salt] = rng.integers(0, classes, int(salt.sum()))
    if draw(st.booleans()):
        row, col = rng.integers(0, labels.shape[0]), rng.integers(0, labels.shape[1])
        labels[row : row + draw(st.integers(1, 20)), col : col + draw(st.integers(1, 20))] = NODATA
    return labels


@pytest.fixture(
    params=[(1, 1), (1, 320_000), (1 << 13, 90)],
    ids=["one level a pass", "tidied often", "never tidied"],
    scope="module",
)
def room(request):
    before = holes.ROOM, holes.NEAR
    holes.ROOM, holes.NEAR = request.param
    yield
    holes.ROOM, holes.NEAR = before


heights = st.lists(st.integers(1, 20), min_size=1, max_size=5)


@settings(max_examples=120, deadline=None)
@given(maps(), heights, st.sampled_from([4, 8]), st.sampled_from([1, 2, 3, 5, 9, 500]), st.sampled_from([None, {1}]))
def test_holes_of_any_map(room, labels, heights, connectivity, max_size, classes):
    assert_as_reference(labels, heights, connectivity=connectivity, max_size=max_size, classes=classes)


@settings(max_examples=120, deadline=None)
@given(maps(), heights, st.sampled_from([4, 8]), st.sampled_from([0, 4, 500]), st.sampled_from([2, 3, 5, 10, 40, 400]))
def test_small_regions_of_any_map(room, labels, heights, connectivity, max_size, min_area):
    result = assert_as_reference(labels, heights, connectivity=connectivity, max_size=max_size, min_area=min_area)
    again, changed = run(result, heights, connectivity=connectivity, background=None, min_area=min_area)
    np.testing.assert_array_equal(again, result)
    assert not changed.any()


areas = st.dictionaries(st.integers(0, 3), st.sampled_from([0, 2, 5, 30, 400]), max_size=4)


@settings(max_examples=50, deadline=None)
@given(maps(), heights, st.sampled_from([4, 8]), areas, st.sets(st.integers(0, 3), max_size=2))
def test_an_area_for_each_class_and_classes_that_stay(room, labels, heights, connectivity, min_area, protect):
    result = assert_as_reference(labels, heights, connectivity=connectivity, min_area=min_area, protect=protect)
    for label in protect:
        assert (result[labels == label] == label).all()


@settings(max_examples=30, deadline=None)
@given(maps(), st.sampled_from([4, 8]), st.permutations([254, 0, 128, 7]))
def test_what_a_class_is_called_makes_no_difference(room, labels, connectivity, names):
    lookup = np.arange(256).astype(np.uint8)
    lookup[:4] = names
    rules = {"connectivity": connectivity, "min_area": 12, "max_size": 9}
    plain, _ = run(labels, background=0, **rules)
    renamed, _ = run(lookup[labels], background=names[0], **rules)
    np.testing.assert_array_equal(renamed, lookup[plain])


@settings(max_examples=30, deadline=None)
@given(maps(), st.sampled_from([4, 8]), st.sampled_from([2, 9, 40]))
def test_two_classes_are_as_scikit_image_has_them(labels, connectivity, min_area):
    """With two classes and one of them protected, to join a neighbour is to be removed."""
    ones = labels == 1
    ids = measure.label(ones, connectivity=1 if connectivity == 4 else 2)
    kept = ones & (np.bincount(ids.flat)[ids] >= min_area)
    rules = {"connectivity": connectivity, "min_area": min_area, "protect": {0}}
    result, _ = run(ones.astype(np.uint8), background=None, **rules)
    np.testing.assert_array_equal(result == 1, kept if (~ones).any() else ones)  # alone, it has nowhere to go


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), heights, st.sampled_from([4, 8]), st.sampled_from([3, 12, 60]))
def test_long_maps_with_much_to_forget(room, seed, heights, connectivity, min_area):
    rng = np.random.default_rng(seed)
    smooth = ndimage.uniform_filter(rng.random((3, 400, 14)), (0, 9, 5))
    labels = smooth.argmax(axis=0).astype(np.uint8)
    salt = rng.random(labels.shape) < 0.08
    labels[salt] = rng.integers(0, 4, int(salt.sum()))
    assert_as_reference(labels, heights, connectivity=connectivity, max_size=4, min_area=min_area)


@pytest.mark.parametrize("side", [1, 2, 511, 512, 513])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_sizes_at_the_boundary(side, connectivity):
    rng = np.random.default_rng(side)
    labels = ndimage.uniform_filter(rng.random((3, side, side)), (0, 9, 9)).argmax(axis=0).astype(np.uint8)
    assert_as_reference(labels, (512,), connectivity=connectivity, max_size=20, min_area=15)


@pytest.mark.parametrize("value", [0, 1, NODATA])
def test_one_value_only_stays(value):
    labels = np.full((40, 33), value, np.uint8)
    result, changed = run(labels, (7,), min_area=10_000)
    np.testing.assert_array_equal(result, labels)
    assert not changed.any()


@pytest.mark.parametrize(("rows", "cols", "is_hole"), [(500, 500, True), (501, 3, False), (3, 501, False)])
def test_a_hole_may_be_as_large_as_max_size_and_no_larger(rows, cols, is_hole):
    labels = np.full((520, 520), 2, np.uint8)
    labels[5 : 5 + rows, 9] = 0
    labels[7, 9 : 9 + cols] = 0
    result, changed = run(labels, (64,))
    assert (result == 2).all() == is_hole
    assert changed[0, 2] == is_hole * (rows + cols - 1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_hole_is_as_wide_as_all_its_arms(mirrored):
    """The younger arm reaches farther out than the rows that join the two."""
    labels = np.full((12, 20), 1, np.uint8)
    labels[2:8, 4] = labels[3:8, 8] = labels[7, 4:9] = 0
    labels[3, 8:12] = 0
    labels = labels[:, ::-1].copy() if mirrored else labels
    for max_size in (7, 8):
        assert (assert_as_reference(labels, (5,), max_size=max_size) == 1).all() == (max_size == 8)


def test_a_hole_at_the_edge_or_beside_nodata_stays():
    labels = np.full((9, 30), 1, np.uint8)
    labels[0, 3] = labels[8, 3] = labels[4, 0] = labels[4, 29] = 0  # edges
    labels[4, 10] = 0
    labels[4, 11] = NODATA
    labels[4, 15] = 0
    labels[5, 16] = NODATA  # only a corner: with 4-neighbours as the border, it is no neighbour
    labels[2, 20] = 0
    for connectivity in (4, 8):
        result = assert_as_reference(labels, (2,), connectivity=connectivity)
        assert result[4, 15] == 1
        assert result[2, 20] == 1
        assert (result == 0).sum() == 5


def test_a_hole_with_two_classes_around_stays_and_classes_can_be_picked():
    labels = np.ones((12, 12), np.uint8)
    labels[:, 6:] = 2
    labels[3, 5:7] = 0  # in both
    labels[6, 2] = labels[6, 9] = 0  # in one each
    assert (assert_as_reference(labels, (5,)) == 0).sum() == 2
    result = assert_as_reference(labels, (5,), classes={2})
    assert result[6, 9] == 2
    assert result[6, 2] == 0


def test_a_ring_around_a_field_is_no_hole():
    labels = np.ones((20, 20), np.uint8)
    labels[5:15, 5:15] = 0
    labels[8:12, 8:12] = 2  # the ring's border is class 1 outside and class 2 inside
    np.testing.assert_array_equal(assert_as_reference(labels), labels)


def test_small_regions_go_to_the_longest_border_and_ties_to_the_earlier():
    labels = np.ones((8, 8), np.uint8)
    labels[:, 4:] = 2
    labels[3, 3:5] = 3  # three edges each: class 1 was first
    labels[6, 4:6] = 4  # one edge with class 1, five with class 2
    result = assert_as_reference(labels, min_area=4)
    assert (result[3, 3:5] == 1).all()
    assert (result[6, 4:6] == 2).all()


def test_crumbs_in_crumbs_follow_to_the_large_region():
    labels = np.ones((11, 11), np.uint8)
    labels[3:8, 3:8] = 2
    labels[4:7, 4:7] = 3
    labels[5, 5] = 4
    assert (assert_as_reference(labels, min_area=20) == 1).all()
    island = np.where(labels == 1, NODATA, labels).astype(np.uint8)
    np.testing.assert_array_equal(assert_as_reference(island, min_area=26), island)


@pytest.mark.parametrize("joins", [True, False])
def test_neighbours_of_one_class_count_as_one_wherever_they_are_joined(room, joins):
    labels = np.full((300, 9), 9, np.uint8)
    labels[2:62, 1:9] = 1
    labels[62:, 1:4], labels[62:, 6:9] = 2, 2
    labels[62:64, 3:7] = 7  # four edges with class 1, three with each arm of class 2, two with class 9 between them
    if joins:
        labels[-1] = 2
    result = assert_as_reference(labels, (3,), min_area=40, background=None)
    assert (result[62:64, 3:7] == 2).all()


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_tie_goes_to_the_class_that_is_met_first(room, upside_down):
    labels = np.full((40, 30), 1, np.uint8)
    labels[20:] = 2
    labels[19:21, 9:12] = 7  # five edges with each
    labels = labels[::-1].copy() if upside_down else labels
    result = assert_as_reference(labels, (3,), min_area=40, background=None)
    assert (result[19:21, 9:12] == (2 if upside_down else 1)).all()


def test_a_chain_of_small_regions_longer_than_one_survey_reaches(room):
    """Every column is small, and the only large region is at one end, or none is."""
    labels = (np.arange(60) % 2 + 1).astype(np.uint8)[None].repeat(7, 0)
    labels[:, :4] = 3
    assert (assert_as_reference(labels, (2,), min_area=20) == 3).all()
    np.testing.assert_array_equal(assert_as_reference(labels[:, 4:], (2,), min_area=20), labels[:, 4:])


def test_rules_are_checked():
    strips = cut(np.zeros((3, 3), np.uint8), (3,))
    with pytest.raises(ValueError, match="connectivity 6"):
        Filled(strips, 3, 3, connectivity=6)
    with pytest.raises(ValueError, match="negative"):
        Filled(strips, 3, 3, min_area=-1)


@pytest.mark.parametrize("noise", ["crumbs in fields", "nothing but noise"])
def test_memory_does_not_follow_the_noise(noise, monkeypatch):
    """What has ended is forgotten, decided or too far away: thousands of regions pass through room for hundreds."""
    rng = np.random.default_rng(3)
    labels = np.ones((8000, 50), np.uint8)
    salt = rng.random(labels.shape) < (0.05 if noise == "crumbs in fields" else 1)
    labels[salt] = rng.choice(np.array([0, 2, 3], np.uint8), int(salt.sum()))
    monkeypatch.setattr(holes, "ROOM", 1)
    monkeypatch.setattr(spill, "GROWTH", 64)
    monkeypatch.setattr(holes, "NEAR", 4 * 50)  # as many levels as of the widest scene of the contest
    rules = holes.Rules(8000, 50, holes.Regions(-1, 0), 0, np.full(256, 100))
    with Table(None) as decisions:
        survey = holes._Survey(rules, np.ones(256, bool), decisions)
        far = survey.run(tuple(holes.Packer(50).blocks(strip))[0] for strip in cut(labels, (50,))())
        assert len(survey._nodes) <= 3200
        assert len(survey._links) <= 6400
        assert survey._counts[holes.PROVISIONAL] > 15_000
        assert not far
        assert (np.count_nonzero(decisions.array) > 15_000) == (noise == "crumbs in fields")


def test_a_map_may_be_read_once_only():
    labels = np.random.default_rng(0).integers(0, 3, (70, 40), dtype=np.uint8)
    calls = []

    def strips():
        calls.append(None)
        return iter([labels])

    pixels = []
    filled = Filled(strips, 70, 40, min_area=9, progress=pixels.append)
    assert len(list(filled)) == 1
    assert len(calls) == 1
    assert sum(pixels) == filled.passes * labels.size == 3 * labels.size


def test_strips_that_are_not_the_map_are_a_bug():
    labels = np.zeros((30, 20), np.uint8)
    with pytest.raises(AssertionError, match="30 rows of 31"):
        list(Filled(lambda: iter([labels]), 31, 20))
    with pytest.raises(AssertionError, match="20 columns of 21"):
        list(Filled(lambda: iter([labels]), 30, 21))
