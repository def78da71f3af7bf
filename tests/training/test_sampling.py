"""What an epoch draws: every crop in turn or by class, the same for any number of processes and from any step on."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.crops.table import TRAIN, Crop
from jingwei.errors import SettingError
from jingwei.grid import Window
from jingwei.training import sampling
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.training.sampling import FLOOR, VISIT, WindowDraws, class_targets, grouped_turns, windows_per_batch

RECIPE = replace(CROSS_ENTROPY, batch_size=4, crop_sizes=(32,))


def crops_of(*pixels: tuple[int, ...]) -> list[Crop]:
    """Crops whose labels have so many pixels of each class."""
    return [Crop(f"{i}.png", "a", Window(0, 0, 9, 9), sum(p), p, (1.0,), (1.0,), TRAIN) for i, p in enumerate(pixels)]


TEN = crops_of(*[(1,)] * 10)
# Of classes 0 to 3, the last is nowhere; class 2 is in two crops only, once little and once much.
UNEVEN = crops_of((9000, 0, 0, 0), (7000, 2000, 0, 0), (0, 980, 20, 0), (920, 0, 80, 0))


def drawn(*arguments, **more) -> list:
    """All draws of an epoch."""
    return list(chain.from_iterable(WindowDraws(*arguments, **more)))


def test_an_epoch_draws_every_crop_before_any_comes_again():
    draws = drawn(TEN, RECIPE, steps=5)
    assert len(draws) == 20
    assert {draw.crop for draw in draws[:10]} == {draw.crop for draw in draws[10:]} == set(range(10))
    assert {draw.target for draw in draws} == {-1}


def test_no_two_draws_of_a_run_share_a_seed_and_epochs_differ():
    sampler = WindowDraws(TEN, RECIPE, steps=5)
    assert len(sampler) == 5
    epochs = []
    for sampler.epoch in (0, 1):
        epochs.append([draw for batch in sampler for draw in batch])
    assert len({draw.seed for epoch in epochs for draw in epoch}) == 40
    assert [draw.crop for draw in epochs[0]] != [draw.crop for draw in epochs[1]]
    sampler.epoch = 0
    assert [draw for batch in sampler for draw in batch] == epochs[0]
    assert next(iter(WindowDraws(TEN, replace(RECIPE, seed=1), 5))) != epochs[0][:4]


def test_sizes_take_turns_by_step_and_smaller_windows_come_in_larger_batches():
    recipe = replace(RECIPE, crop_sizes=(64, 48, 32), accumulate=2)
    batches = list(WindowDraws(TEN, recipe, steps=4))
    assert [{draw.size for draw in batch} for batch in batches] == [{s} for s in (64, 64, 48, 48, 32, 32, 64, 64)]
    assert [len(batch) for batch in batches] == [4, 4, 7, 7, 16, 16, 4, 4]


@pytest.mark.parametrize(("batch_size", "sizes", "size", "world", "expected"), [
    (16, (512, 448), 512, 1, 16), (16, (512, 448), 448, 1, 20), (16, (448, 512), 448, 1, 20),
    (16, (512, 448), 448, 8, 16), (8, (512, 448), 448, 4, 8), (4, (512, 256), 256, 4, 16), (4, (96, 32), 32, 1, 36),
    (12, (512,), 512, 3, 12),
])  # fmt: skip
def test_batches_hold_as_many_pixels_as_those_of_the_largest_windows(batch_size, sizes, size, world, expected):
    assert windows_per_batch(replace(RECIPE, batch_size=batch_size, crop_sizes=sizes), size, world) == expected


recipes = st.builds(
    lambda **fields: replace(RECIPE, **fields),
    batch_size=st.just(12),
    accumulate=st.integers(1, 3),
    sync_bn=st.just(True),
    crop_sizes=st.lists(st.sampled_from([32, 48, 64, 512]), min_size=1, max_size=3).map(tuple),
    balance=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 5),
)


@given(recipes, st.integers(1, 5), st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(0, 3))
@settings(max_examples=60)
def test_all_processes_together_draw_what_one_would_of_the_same_batches(recipe, steps, world, epoch):
    ranks = [WindowDraws(UNEVEN, recipe, steps, rank, world) for rank in range(world)]
    one = WindowDraws(UNEVEN, recipe, steps)
    for sampler in (one, *ranks):
        sampler.epoch = epoch
    size_of = [recipe.crop_sizes[step % len(recipe.crop_sizes)] for step in range(steps)]
    expected = [windows_per_batch(recipe, size, world) for size in size_of for _ in range(recipe.accumulate)]
    batches = [list(rank) for rank in ranks]
    together = []
    for parts in zip(*batches, strict=True):
        assert len({len(part) for part in parts}) == 1  # no process waits for another
        together.append([draw for draws in zip(*parts, strict=True) for draw in draws])
    assert [len(batch) for batch in together] == expected
    places = [draw.seed for batch in together for draw in batch]
    assert places == [(recipe.seed, epoch, place) for place in range(sum(expected))]
    if expected == [len(batch) for batch in one]:  # rounding down to a multiple of `world` changed nothing
        assert together == list(one)


@given(recipes, st.integers(1, 6), st.integers(0, 6), st.sampled_from([1, 2, 3]), st.integers(0, 3))
@settings(max_examples=60)
def test_an_epoch_can_start_at_any_step_and_every_step_can_be_looked_up(recipe, steps, first, world, epoch):
    first = min(first, steps)
    sampler = WindowDraws(UNEVEN, recipe, steps, rank=world - 1, world=world)
    sampler.epoch = epoch
    whole = list(sampler)
    assert len(sampler) == len(whole) == steps * recipe.accumulate
    sampler.first_step = first
    assert list(sampler) == whole[first * recipe.accumulate :]
    assert len(sampler) == len(whole) - first * recipe.accumulate
    sampler.epoch = 99  # what a step holds depends neither on where the sampler is nor on where it began
    found = [batch for step in range(steps) for batch in sampler.step_draws(epoch, step)]
    assert found == whole


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(SettingError, match=r"`batch_size` 4: can't be shared out over 3 processes: give a multiple"):
        WindowDraws(TEN, RECIPE, 1, 0, 3)
    with pytest.raises(SettingError, match=r"`batch_size` 4: leaves each of 4 processes 1 window.*`sync_bn`"):
        WindowDraws(TEN, RECIPE, 1, 0, 4)
    assert WindowDraws(TEN, replace(RECIPE, sync_bn=True), 1, 0, 4)


# --- classes ---------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=9).filter(any), st.floats(0, 1), st.floats(0, 1)
)  # fmt: skip
def test_class_targets_are_shares_of_the_classes_that_there_are(pixels, balance, more):
    pixels = np.array(pixels)
    targets = class_targets(pixels, balance)
    assert targets.sum() == pytest.approx(1)
    assert (targets[pixels == 0] == 0).all()
    # What is raised to the floor takes no more from the others than all floors together.
    floor = FLOOR * balance / np.count_nonzero(pixels)
    assert (targets[pixels > 0] >= floor / (1 + FLOOR * balance) - 1e-12).all()
    order = np.argsort(pixels, kind="stable")
    assert (np.diff(targets[order]) >= -1e-12).all()  # a commoner class is never drawn less
    more = balance + more * (1 - balance)
    present = pixels > 0
    spread, spread_more = (np.ptp(class_targets(pixels, b)[present]) for b in (balance, more))
    assert spread_more <= spread + 1e-12


def test_class_targets_by_hand():
    pixels = np.array([8100, 900, 0, 100])
    np.testing.assert_allclose(class_targets(pixels, 0), pixels / 9100)
    np.testing.assert_allclose(class_targets(pixels, 1), [1 / 3, 1 / 3, 0, 1 / 3])
    roots = np.array([90, 30, 0, 10]) / 130  # at 0.5: the last is raised to 0.5 * 0.5 / 3
    expected = np.maximum(roots, [0, 0, 0, 1 / 12])
    np.testing.assert_allclose(class_targets(pixels, 0.5), expected / expected.sum())
    assert expected[3] > roots[3]


@pytest.mark.parametrize("balance", [0.25, 0.5, 1.0])
def test_classes_and_crops_come_up_as_often_as_they_should(balance):
    draws = drawn(UNEVEN, replace(RECIPE, batch_size=20_000, balance=balance), steps=2)
    targets, crops = np.array([draw.target for draw in draws]), np.array([draw.crop for draw in draws])
    by_class = targets >= 0
    assert by_class.mean() == pytest.approx(balance, abs=0.01)
    pixels = np.array([crop.pixels for crop in UNEVEN])
    for land_class, share in enumerate(class_targets(pixels.sum(axis=0), balance)):
        here = targets == land_class
        assert here.sum() / by_class.sum() == pytest.approx(share, abs=0.015)
        if share:
            found = np.bincount(crops[here], minlength=4) / here.sum()
            np.testing.assert_allclose(found, pixels[:, land_class] / pixels[:, land_class].sum(), atol=0.03)
            assert (pixels[crops[here], land_class] > 0).all()
    # All the others still take turns.
    np.testing.assert_allclose(np.bincount(crops[~by_class], minlength=4), (~by_class).sum() / 4, atol=1)
    # The two kinds are mixed through the epoch.
    assert balance == 1 or by_class[: len(draws) // 10].mean() == pytest.approx(balance, abs=0.03)


def test_balanced_epochs_differ():
    sampler = WindowDraws(UNEVEN, replace(RECIPE, balance=1.0), steps=5)
    assert sampler.step_draws(0, 0) != sampler.step_draws(1, 0)
    kinds = [[(draw.crop, draw.target) for draw in sampler.step_draws(epoch, 0)[0]] for epoch in range(5)]
    assert len({tuple(kind) for kind in kinds}) > 1


# ---- crops that are too many to be kept ----


@given(st.integers(1, 40), st.integers(1, 400), st.integers(1, 50), st.integers(0, 100))
@settings(max_examples=60)
def test_groups_take_every_crop_as_often_as_any_other(crops, count, group, seed):
    order, visits = grouped_turns(crops, count, group, np.random.default_rng(seed))
    assert len(order) == len(visits) == count
    times = np.bincount(order, minlength=crops)
    assert times.min() >= count // crops
    assert times.max() <= -(-count // crops)
    for visit in np.unique(visits):
        places = np.flatnonzero(visits == visit)
        assert len(places) <= VISIT
        assert len(set(order[places])) == 1
        assert np.ptp(places) < VISIT * group  # while no more than a group of crops has to be kept
        assert len(places) < 2 or count < 4 * crops or np.diff(places).max() <= 2 * group


def test_the_windows_of_a_crop_are_spread_over_its_groups_turns():
    order, _ = grouped_turns(1000, 4000, 100, np.random.default_rng(0))
    for batch in order.reshape(-1, 20):
        assert len(set(batch)) == 20  # 100 is a multiple: a batch lies within one turn
    apart = [np.diff(np.flatnonzero(order == crop)) for crop in range(1000)]
    assert np.mean(apart) == pytest.approx(100, rel=0.05)
    assert np.std(apart) > 30  # in an order of its own each time


def test_crops_that_can_be_kept_are_drawn_as_ever(monkeypatch):
    """And of those that can't, a draw says where the last window of its crop's visit is."""
    ever = drawn(TEN, RECIPE, steps=10)
    monkeypatch.setattr(sampling, "KEPT", 10 * 81)
    assert drawn(TEN, RECIPE, steps=10) == ever
    assert {draw.last for draw in ever} == {-1}
    monkeypatch.setattr(sampling, "KEPT", 10 * 81 - 1)
    monkeypatch.setattr(sampling, "TOGETHER", 81)
    few = replace(RECIPE, batch_size=1)
    draws = drawn(TEN, few, steps=40)
    for draw in draws:
        alike = [other.seed[2] for other in draws if other.crop == draw.crop and other.last == draw.last]
        assert len(alike) == VISIT
        assert max(alike) == draw.last


@pytest.mark.parametrize("step", [0, 3, 7])
def test_a_run_that_goes_on_has_the_same_groups(monkeypatch, step):
    monkeypatch.setattr(sampling, "KEPT", 0)
    whole = WindowDraws(TEN, replace(RECIPE, balance=0.3), steps=12)
    part = WindowDraws(TEN, replace(RECIPE, balance=0.3), steps=12)
    part.first_step = step
    assert list(part) == list(whole)[step:]
