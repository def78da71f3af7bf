"""Bounds that hold: against scipy's, and by simulation on maps whose errors are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jingwei.evaluation.accuracy import allocate
from jingwei.evaluation.certificate import (
    Points,
    accuracy_bounds,
    certified_part,
    compare,
    error_at_most,
    exact_bounds,
    exact_low,
    users_bounds,
)


@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_bounds_are_clopper_and_pearsons(hits, misses, risk):
    points = hits + misses
    if points == 0:
        assert exact_bounds(0, 0) == (0, 1)
        return
    expected = stats.binomtest(hits, points).proportion_ci(1 - risk, method="exact")
    assert exact_bounds(hits, points, risk) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_all_right_and_all_wrong_have_an_open_side():
    assert exact_bounds(0, 30).low == 0
    assert exact_bounds(30, 30).high == 1
    assert exact_low(30, 30, 0.05) == pytest.approx(0.05 ** (1 / 30))
    with pytest.raises(ValueError, match="31 hits of 30"):
        exact_low(31, 30, 0.05)


@pytest.fixture(scope="module")
def world():
    """(mapped, truth, confidence) of 200,000 pixels: the map is better where it is surer, in five unequal classes."""
    rng = np.random.default_rng(0)
    mapped = rng.choice(5, 200_000, p=[0.5, 0.3, 0.12, 0.06, 0.02])
    confidence = rng.integers(40, 101, len(mapped))
    chance = np.clip(0.55 + (confidence - 40) / 130 - 0.03 * mapped, 0, 1)
    other = (mapped + rng.integers(1, 5, len(mapped))) % 5
    return mapped, np.where(rng.random(len(mapped)) < chance, mapped, other), confidence


def redraws(world, count, points=400):
    """Stratified samples of the map, as `evaluate.py --sample` draws them."""
    mapped, truth, confidence = world
    rng = np.random.default_rng(1)
    members = [np.flatnonzero(mapped == c) for c in range(5)]
    shares = allocate(np.array([len(m) for m in members]), points)
    for _ in range(count):
        drawn = np.concatenate([rng.choice(m, n, replace=False) for m, n in zip(members, shares, strict=True)])
        yield Points(mapped[drawn], truth[drawn], confidence[drawn])


def test_exact_bounds_hold_in_simulations(world):
    """benchmarks/certificate.py does the same a thousand times."""
    mapped, truth, confidence = world
    weights = np.bincount(mapped, minlength=5)
    users = [(truth[mapped == c] == c).mean() for c in range(5)]
    error = (mapped != truth).mean()
    pixels = np.zeros((5, 101), np.int64)
    np.add.at(pixels, (mapped, confidence), 1)
    held_users, held_error, held_both, held_part, any_part, count = np.zeros(5), 0, 0, 0, 0, 150
    for points in redraws(world, count):
        held_users += [low <= true <= high for (low, high), true in zip(users_bounds(points, 5), users, strict=True)]
        held_error += error_at_most(points, weights) >= error
        low, high = accuracy_bounds(points, weights)
        held_both += low <= 1 - error <= high
        part = certified_part(points, pixels, alpha=0.3)
        inside = confidence >= part.confidence if part else np.zeros(len(mapped), bool)
        any_part += part is not None
        held_part += part is None or (mapped[inside] != truth[inside]).mean() <= 0.3
    least = 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / count)
    assert (held_users / count >= least).all()
    assert min(held_error, held_both, held_part) / count >= least
    assert any_part / count > 0.5  # it certifies something, too


def test_the_certified_part_is_the_largest_of_those_that_pass():
    """By hand: 60 points, all right, of one class; half of the map is of confidence 90, half of 50."""
    points = Points(np.zeros(60, int), np.zeros(60, int), np.repeat([90, 50], 30))
    pixels = np.zeros((1, 101), np.int64)
    pixels[0, [50, 90]] = 500
    half = 1 - 0.025 ** (1 / 30)
    assert certified_part(points, pixels, half + 1e-6) == (50, 1.0)
    wrong = points._replace(truth=np.repeat([0, 1], 30))  # where it is unsure, it is wrong
    assert certified_part(wrong, pixels, half + 1e-6) == (90, 0.5)
    assert certified_part(wrong, pixels, half - 1e-6) is None
    # The trials from 0.6 on have their own half of the risk, though the surest half has too few points to pass:
    assert certified_part(points, pixels, half - 1e-6) == (50, 1.0)
    assert certified_part(points, pixels, 1 - 0.025 ** (1 / 60) - 1e-6) is None


def test_several_classes_that_are_all_right_leave_what_one_class_would():
    """With the sample shared out by area and no error, the worst case is one class alone: Clopper and Pearson's."""
    points = Points(np.repeat([0, 1, 2], [60, 30, 10]), np.repeat([0, 1, 2], [60, 30, 10]))
    weights = np.array([6, 3, 1])
    assert error_at_most(points, weights) == pytest.approx(1 - 0.05 ** (1 / 100), rel=0.15)
    assert error_at_most(points, weights) >= 1 - 0.05 ** (1 / 100)


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1), st.floats(0.01, 1)), min_size=2, max_size=4))
def test_the_bound_over_classes_rules_out_no_share_that_is_likely(classes):
    """Against the exact probability of as few errors, or fewer, were the shares anything with that sum."""
    counts = np.array([n for n, _, _ in classes])
    hits = np.array([round(n * share) for n, share, _ in classes])
    weights = np.array([w for _, _, w in classes]) / sum(w for _, _, w in classes)
    mapped = np.repeat(np.arange(len(counts)), counts)
    wrong = np.concatenate([np.arange(n) < k for n, k in zip(counts, hits, strict=True)])
    bound = error_at_most(Points(mapped, np.where(wrong, -1, mapped)), weights, 0.05)
    seen = (weights * hits / counts).sum()
    assert seen <= bound + 1e-9
    rng = np.random.default_rng(int(counts.sum()))
    for p in rng.random((20, len(counts))):
        p = p * min(1, bound * 1.02 / (weights * p).sum())
        if (weights * p).sum() > bound:  # ruled out: then so small an error must be rarer than 1 in 20
            draws = rng.binomial(counts, p, (4000, len(counts)))
            assert ((draws * weights / counts).sum(axis=1) <= seen + 1e-12).mean() < 0.065


def test_a_class_without_points_may_be_all_wrong():
    points = Points(np.zeros(50, int), np.zeros(50, int))
    assert error_at_most(points, np.array([0.8, 0.2])) == pytest.approx(0.2 + 0.8 * (1 - 0.05 ** (1 / 50)))


def test_comparison_by_hand():
    """Two classes of equal area, 4 points each: the second map mends two in one class, and breaks one in the other."""
    first = Points(np.repeat([0, 1], 4), np.array([1, 1, 0, 0, 1, 1, 1, 1]))
    second = np.array([True, True, True, True, False, True, True, True])
    difference, margin, better, worse, p_value = compare(first, second, np.array([0.5, 0.5]))
    assert (better, worse) == (2, 1)
    assert difference == pytest.approx(0.5 * 0.5 - 0.5 * 0.25)
    variance = 0.25 * (np.var([1, 1, 0, 0], ddof=1) + np.var([-1, 0, 0, 0], ddof=1)) / 4
    assert margin == pytest.approx(1.96 * np.sqrt(variance))
    assert p_value == pytest.approx(stats.binomtest(1, 3).pvalue)
    with pytest.raises(ValueError, match="class 1 of the map has 1 points"):
        compare(Points(first.mapped[:5], first.truth[:5]), second[:5], np.array([0.5, 0.5]))


def test_the_interval_of_a_comparison_covers_the_difference(world):
    mapped, truth, _ = world
    rng = np.random.default_rng(2)
    other = np.where(rng.random(len(mapped)) < 0.9, mapped, truth)  # the same map, a tenth of it mended
    gain = (other == truth).mean() - (mapped == truth).mean()
    weights = np.bincount(mapped, minlength=5)
    members = [np.flatnonzero(mapped == c) for c in range(5)]
    shares = allocate(weights, 400)
    covered = 0
    for _ in range(300):
        drawn = np.concatenate([rng.choice(m, n, replace=False) for m, n in zip(members, shares, strict=True)])
        found = compare(Points(mapped[drawn], truth[drawn]), other[drawn] == truth[drawn], weights)
        covered += abs(found.difference - gain) <= found.margin
    assert covered / 300 > 0.92
