"""Learning rates against their formulas."""

from dataclasses import replace
from math import cos, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jingwei.errors import SettingError
from jingwei.recipes import CROSS_ENTROPY
from jingwei.schedules import SCHEDULES, find_schedule, learning_rate

PLAIN = replace(CROSS_ENTROPY, base_lr=0.02, warmup=0.0)


@pytest.mark.parametrize("step", [0, 1, 250, 999])
def test_poly_is_one_less_the_share_done_to_the_power(step):
    recipe = replace(PLAIN, schedule="poly", power=0.9)
    assert learning_rate(step, 1000, recipe) == pytest.approx(0.02 * (1 - step / 1000) ** 0.9)


@pytest.mark.parametrize("step", [0, 1, 500, 999])
def test_cosine_is_half_a_wave(step):
    recipe = replace(PLAIN, schedule="cosine")
    assert learning_rate(step, 1000, recipe) == pytest.approx(0.01 * (1 + cos(pi * step / 1000)))


def test_constant_stays():
    recipe = replace(PLAIN, schedule="constant")
    assert {learning_rate(step, 50, recipe) for step in range(50)} == {0.02}


def test_warm_up_rises_in_a_straight_line_to_the_full_rate_and_then_the_schedule_starts():
    recipe = replace(PLAIN, schedule="poly", power=1.0, warmup=0.1)
    rates = [learning_rate(step, 100, recipe) for step in range(100)]
    assert rates[:10] == pytest.approx([0.002 * k for k in range(1, 11)])
    assert rates[10:] == pytest.approx([0.02 * (1 - k / 90) for k in range(90)])


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 400), st.floats(0, 0.99))
def test_rates_stay_between_0_and_the_base_rate_and_never_rise_after_the_warm_up(name, total, warmup):
    recipe = replace(PLAIN, schedule=name, warmup=warmup)
    rates = [learning_rate(step, total, recipe) for step in range(total)]
    assert all(0 < rate <= 0.02 + 1e-12 for rate in rates)
    after = rates[round(warmup * total) :]
    assert all(later <= earlier + 1e-12 for earlier, later in zip(after, after[1:], strict=False))


def test_an_unknown_schedule_lists_the_known_ones():
    with pytest.raises(SettingError, match="no such schedule: known are poly, cosine, constant"):
        find_schedule("step")
