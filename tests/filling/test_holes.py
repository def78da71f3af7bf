"""Holes and small regions: any map at any strips, against scipy and scikit-image on the whole array."""

import numpy as np
import pytest
from filled_maps import (
    assert_as_reference,
    combs,
    cut,
    rings,
    run,
    spiral,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from jingwei.filling import holes
from jingwei.filling.holes import Filled
from jingwei.legend import NODATA
from jingwei.system import spill
from jingwei.system.spill import Table


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
