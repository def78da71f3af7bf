"""Holes and small regions, against a plain reference that holds the whole map."""

import hashlib

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from jingwei import regions
from jingwei.errors import InputError, SettingError
from jingwei.filling import fill_map
from jingwei.legend import GF3, JINGWEI, NODATA, LandClass, Legend
from jingwei.raster import write_png
from jingwei.regions import Filled

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


def reference_small(labels, min_area, connectivity):
    """Levels by plain rounds over a dictionary of borders."""
    ids = np.zeros(labels.shape, int)
    count = 0
    for label in set(labels.flat) - {NODATA}:
        components, found = ndimage.label(labels == label, STRUCTURES[connectivity])
        ids += np.where(components > 0, components + count, 0)
        count += found
    area = np.bincount(ids.flat, minlength=count + 1)
    seen, first = np.unique(ids, return_index=True)
    first = dict(zip(seen.tolist(), first.tolist(), strict=True))
    borders = {i: {} for i in range(1, count + 1)}
    for a, b in ((ids[:, 1:], ids[:, :-1]), (ids[1:], ids[:-1])):
        for i, j in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
            if i != j and i and j:
                borders[i][j] = borders[i].get(j, 0) + 1
                borders[j][i] = borders[j].get(i, 0) + 1
    level = {i: 0 for i in borders if area[i] >= min_area}
    heir = {i: labels.flat[first[i]] for i in borders}
    for k in range(1, count + 1):
        found = {}
        for i in borders:
            near = [j for j in borders[i] if i not in level and level.get(j) == k - 1]
            if near:
                found[i] = heir[max(near, key=lambda j: (borders[i][j], -first[j]))]
        if not found:
            break
        heir |= found
        level |= dict.fromkeys(found, k)
    lookup = np.array([NODATA] + [heir[i] for i in range(1, count + 1)], np.uint8)
    return lookup[ids]


def reference(labels, background=0, max_size=500, min_area=0, connectivity=4, classes=None):
    filled = labels
    if background is not None:
        filled = reference_holes(labels, background, max_size, connectivity, classes)
    return reference_small(filled, min_area, connectivity) if min_area else filled


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
    pairs = list(filled)
    np.testing.assert_array_equal(np.concatenate([before for before, _ in pairs]), labels)
    return np.concatenate([after for _, after in pairs]), filled.changed


def check(labels, heights=(16,), **rules):
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


@pytest.fixture(params=[1, 1 << 18], ids=["tidied often", "never tidied"], scope="module")
def room(request):
    before, regions.ROOM = regions.ROOM, request.param
    yield
    regions.ROOM = before


heights = st.lists(st.integers(1, 20), min_size=1, max_size=5)


@settings(max_examples=250, deadline=None)
@given(maps(), heights, st.sampled_from([4, 8]), st.sampled_from([1, 2, 3, 5, 9, 500]), st.sampled_from([None, {1}]))
def test_holes_of_any_map(room, labels, heights, connectivity, max_size, classes):
    check(labels, heights, connectivity=connectivity, max_size=max_size, classes=classes)


@settings(max_examples=350, deadline=None)
@given(maps(), heights, st.sampled_from([4, 8]), st.sampled_from([0, 4, 500]), st.sampled_from([2, 3, 5, 10, 40, 400]))
def test_small_regions_of_any_map(room, labels, heights, connectivity, max_size, min_area):
    result = check(labels, heights, connectivity=connectivity, max_size=max_size, min_area=min_area)
    again, changed = run(result, heights, connectivity=connectivity, background=None, min_area=min_area)
    np.testing.assert_array_equal(again, result)
    assert not changed.any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), heights, st.sampled_from([4, 8]), st.sampled_from([3, 12, 60]))
def test_long_maps_with_much_to_forget(room, seed, heights, connectivity, min_area):
    rng = np.random.default_rng(seed)
    smooth = ndimage.uniform_filter(rng.random((3, 400, 14)), (0, 9, 5))
    labels = smooth.argmax(axis=0).astype(np.uint8)
    salt = rng.random(labels.shape) < 0.08
    labels[salt] = rng.integers(0, 4, int(salt.sum()))
    check(labels, heights, connectivity=connectivity, max_size=4, min_area=min_area)


@pytest.mark.parametrize("side", [1, 2, 511, 512, 513])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_sizes_at_the_boundary(side, connectivity):
    rng = np.random.default_rng(side)
    labels = ndimage.uniform_filter(rng.random((3, side, side)), (0, 9, 9)).argmax(axis=0).astype(np.uint8)
    check(labels, (512,), connectivity=connectivity, max_size=20, min_area=15)


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


def test_a_hole_at_the_edge_or_beside_nodata_stays():
    labels = np.full((9, 30), 1, np.uint8)
    labels[0, 3] = labels[8, 3] = labels[4, 0] = labels[4, 29] = 0  # edges
    labels[4, 10] = 0
    labels[4, 11] = NODATA
    labels[4, 15] = 0
    labels[5, 16] = NODATA  # only a corner: with 4-neighbours as the border, it is no neighbour
    labels[2, 20] = 0
    for connectivity in (4, 8):
        result = check(labels, (2,), connectivity=connectivity)
        assert result[4, 15] == 1
        assert result[2, 20] == 1
        assert (result == 0).sum() == 5


def test_a_hole_with_two_classes_around_stays_and_classes_can_be_picked():
    labels = np.ones((12, 12), np.uint8)
    labels[:, 6:] = 2
    labels[3, 5:7] = 0  # in both
    labels[6, 2] = labels[6, 9] = 0  # in one each
    assert (check(labels, (5,)) == 0).sum() == 2
    result = check(labels, (5,), classes={2})
    assert result[6, 9] == 2
    assert result[6, 2] == 0


def test_a_ring_around_a_field_is_no_hole():
    labels = np.ones((20, 20), np.uint8)
    labels[5:15, 5:15] = 0
    labels[8:12, 8:12] = 2  # the ring's border is class 1 outside and class 2 inside
    np.testing.assert_array_equal(check(labels), labels)


def test_small_regions_go_to_the_longest_border_and_ties_to_the_earlier():
    labels = np.ones((8, 8), np.uint8)
    labels[:, 4:] = 2
    labels[3, 3:5] = 3  # three edges each: class 1 was first
    labels[6, 4:6] = 4  # one edge with class 1, five with class 2
    result = check(labels, min_area=4)
    assert (result[3, 3:5] == 1).all()
    assert (result[6, 4:6] == 2).all()


def test_crumbs_in_crumbs_follow_to_the_large_region():
    labels = np.ones((11, 11), np.uint8)
    labels[3:8, 3:8] = 2
    labels[4:7, 4:7] = 3
    labels[5, 5] = 4
    assert (check(labels, min_area=20) == 1).all()
    island = np.where(labels == 1, NODATA, labels).astype(np.uint8)
    np.testing.assert_array_equal(check(island, min_area=26), island)


@pytest.mark.parametrize(("joins", "winner"), [(True, 2), (False, 1)])
def test_a_tie_goes_to_the_region_that_was_first_in_the_end(room, joins, winner):
    labels = np.full((300, 9), 9, np.uint8)
    labels[:, 0] = 2  # earlier than class 1, but only the last row joins it to the field on the right
    labels[2:, 2:5] = 1
    labels[2:, 5:8] = 2
    labels[20, 4:6] = 7  # three edges with class 1, three with class 2
    if joins:
        labels[-1] = 2
    result = check(labels, (3,), min_area=40, background=None)
    assert (result[20, 4:6] == winner).all()


@pytest.mark.parametrize(("joins", "winner"), [(True, 2), (False, 1)])
def test_borders_add_up_when_their_regions_have_grown_together(room, joins, winner):
    labels = np.full((300, 9), 9, np.uint8)
    labels[2:62, 1:9] = 1
    labels[62:, 1:4], labels[62:, 6:9] = 2, 2
    labels[62:64, 3:7] = 7  # four edges with class 1, three with each arm of class 2, two with class 9 between them
    if joins:
        labels[-1] = 2
    result = check(labels, (3,), min_area=40, background=None)
    assert (result[62:64, 3:7] == winner).all()


def test_rules_are_checked():
    strips = cut(np.zeros((3, 3), np.uint8), (3,))
    with pytest.raises(ValueError, match="connectivity 6"):
        Filled(strips, 3, 3, connectivity=6)
    with pytest.raises(ValueError, match="negative"):
        Filled(strips, 3, 3, min_area=-1)


def test_memory_does_not_follow_the_noise(room):
    """Finished regions are forgotten: 20,000 crumbs pass through room for a few hundred."""
    rng = np.random.default_rng(3)
    labels = np.ones((8000, 50), np.uint8)
    salt = rng.random(labels.shape) < 0.05
    labels[salt] = rng.choice(np.array([0, 2, 3], np.uint8), int(salt.sum()))
    rules = regions.Rules(8000, -1, 0, 0, 20)
    survey = regions._Survey(rules, 50, np.ones(256, bool))
    begun = len(survey._nodes), len(survey._links)
    verdicts = survey.run(cut(labels, (100,))())
    assert (len(survey._nodes), len(survey._links)) == begun
    assert np.count_nonzero(verdicts) > 15_000


# Files


def tiff(path, labels, **profile):
    crs, transform = "EPSG:32649", rasterio.transform.from_origin(500_000, 4_000_000, 0.5, 0.5)
    profile = dict(crs=crs, transform=transform, nodata=NODATA) | profile
    height, width = labels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=labels.dtype, **profile
    ) as f:
        f.write(labels, 1)


@pytest.fixture
def field_map():
    rng = np.random.default_rng(0)
    labels = np.ones((300, 413), np.uint8)
    labels[:, 200:] = 2
    labels[rng.random(labels.shape) < 0.01] = 0
    labels[50:90, 60:110] = 0
    labels[:40] = NODATA
    return labels


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("strip_rows", [1, 37, 512])
def test_a_geotiff_keeps_its_place_on_earth(tmp_path, field_map, strip_rows):
    source, target = tmp_path / "vote.tif", tmp_path / "out" / "filled.tif"
    png, picture = tmp_path / "submit" / "image_3_predict.png", tmp_path / "submit" / "fill_vis_3.png"
    tiff(source, field_map)
    before = digest(source)
    changed = fill_map(
        source, target, legend=JINGWEI, min_area=3, submit_png=png, picture=picture, strip_rows=strip_rows
    )
    assert digest(source) == before
    expected = reference(field_map, min_area=3)
    with rasterio.open(target) as result, rasterio.open(source) as original:
        np.testing.assert_array_equal(result.read(1), expected)
        assert (result.crs, result.transform, result.nodata) == (original.crs, original.transform, NODATA)
        assert result.colormap(1)[1] == (230, 159, 0, 255)
    with rasterio.open(png) as result:
        np.testing.assert_array_equal(result.read(1), np.where(expected == NODATA, 0, expected))
    assert changed.sum() == (expected != field_map).sum() > 2000
    with rasterio.open(picture) as result:
        assert result.shape == field_map.shape
        pixels = result.read()
    highlighted = (pixels == np.array([255, 0, 255])[:, None, None]).all(axis=0)
    np.testing.assert_array_equal(highlighted, expected != field_map)
    assert not list(tmp_path.rglob("*.part"))


def test_a_large_map_gets_a_small_picture_that_shows_every_change(tmp_path):
    labels = np.ones((40, 4501), np.uint8)
    labels[7, 4400] = 0
    tiff(tmp_path / "vote.tif", labels)
    fill_map(tmp_path / "vote.tif", tmp_path / "filled.tif", legend=JINGWEI, picture=tmp_path / "vis.png", strip_rows=3)
    with rasterio.open(tmp_path / "vis.png") as result:
        assert result.shape == (10, 1126)
        pixels = result.read()
    assert pixels[:, 1, 1100].tolist() == [255, 0, 255]
    assert (pixels == pixels[:, :1, :1]).all(axis=0).sum() == 10 * 1126 - 1


def test_a_contest_png(tmp_path, field_map):
    labels = np.where(field_map == NODATA, 0, field_map).astype(np.uint8)
    write_png(tmp_path / "image_3_predict.png", labels)
    changed = fill_map(tmp_path / "image_3_predict.png", tmp_path / "filled.tif", legend=JINGWEI, connectivity=8)
    with rasterio.open(tmp_path / "filled.tif") as result:
        np.testing.assert_array_equal(result.read(1), reference(labels, connectivity=8))
    assert changed[0, 1] > 0


def test_a_legend_without_background_can_only_lose_small_regions(tmp_path, field_map):
    tiff(tmp_path / "map.tif", field_map)
    with pytest.raises(SettingError, match="gf3: has no background class"):
        fill_map(tmp_path / "map.tif", tmp_path / "filled.tif", legend=GF3)
    fill_map(tmp_path / "map.tif", tmp_path / "filled.tif", legend=GF3, min_area=5)
    with rasterio.open(tmp_path / "filled.tif") as result:
        np.testing.assert_array_equal(result.read(1), reference(field_map, background=None, min_area=5))


def test_wrong_settings_get_one_line_and_leave_nothing(tmp_path, field_map):
    source, target = tmp_path / "map.tif", tmp_path / "filled.tif"
    tiff(source, field_map)
    before = digest(source)
    for rules, text in (
        (dict(connectivity=5), "--connectivity: is 5: "),
        (dict(max_size=-1), "--max_size: is -1: "),
        (dict(min_area=-1), "--min_area: is -1: "),
        (dict(max_size=0), "--max_size: is 0 and --min_area is 0"),
        (dict(classes={7}), "--classes: "),
    ):
        with pytest.raises(SettingError, match=text):
            fill_map(source, target, legend=JINGWEI, **rules)
    with pytest.raises(SettingError, match="is the input"):
        fill_map(source, source, legend=JINGWEI)
    with pytest.raises(InputError, match="no such file"):
        fill_map(tmp_path / "none.tif", target, legend=JINGWEI)
    assert digest(source) == before
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]


def test_a_broken_file_leaves_nothing(tmp_path, field_map):
    source = tmp_path / "map.tif"
    tiff(source, np.random.default_rng(0).integers(0, 3, (900, 900), dtype=np.uint8))
    source.write_bytes(source.read_bytes()[:400_000])
    with pytest.raises(InputError, match="map.tif"):
        fill_map(source, tmp_path / "filled.tif", legend=JINGWEI, submit_png=tmp_path / "submit.png")
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]


def test_changes_are_shown_in_a_colour_that_no_class_has(tmp_path):
    labels = np.ones((9, 9), np.uint8)
    labels[4, 4] = 0
    tiff(tmp_path / "map.tif", labels)
    legend = Legend("own", (LandClass(0, "other", (0, 0, 0)), LandClass(1, "vehicle", (255, 0, 255))))
    fill_map(tmp_path / "map.tif", tmp_path / "filled.tif", legend=legend, picture=tmp_path / "vis.png")
    with rasterio.open(tmp_path / "vis.png") as result:
        pixels = result.read()
    assert pixels[:, 0, 0].tolist() == [255, 0, 255]
    assert pixels[:, 4, 4].tolist() != [255, 0, 255]
