"""Learning rates against their formulas."""

from dataclasses import replace
from math import cos, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jingwei.errors import SettingError
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.training.schedules import SCHEDULES, cycle_ends, find_schedule, learning_rate, momentum

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


def test_cosine_cycles_descend_once_from_the_full_rate_and_then_from_half_of_it():
    recipe = replace(PLAIN, schedule="cosine_cycles", cycles=2)
    rates = [learning_rate(step, 400, recipe) for step in range(400)]
    assert rates[:200] == pytest.approx([0.01 * (1 + cos(pi * k / 200)) for k in range(200)])
    for first in (200, 300):
        assert rates[first : first + 100] == pytest.approx([0.005 * (1 + cos(pi * k / 100)) for k in range(100)])
    assert cycle_ends(400, recipe) == [200, 300, 400]


@given(st.integers(1000, 5000), st.integers(1, 8), st.floats(0, 0.5))
def test_cycles_end_where_the_rate_is_lowest_and_jumps_up(total, cycles, warmup):
    recipe = replace(PLAIN, schedule="cosine_cycles", cycles=cycles, warmup=warmup)
    *ends, last = cycle_ends(total, recipe)
    assert last == total
    assert len(ends) == cycles
    for end in ends:
        assert learning_rate(end - 1, total, recipe) < 0.004
        assert learning_rate(end, total, recipe) > 0.0099


ONE_CYCLE = replace(PLAIN, schedule="one_cycle", base_lr=0.1, momentum=0.5)
# By hand, of 100 steps: up until step 30, down until what would be step 100; sin(60 degrees) = 0.866 in the quarters.
POINTS = {
    0: (0.01, 0.95),  # a tenth
    10: (0.01 + 0.09 * 0.25, 0.95 - 0.1 * 0.25),  # a third of the way up: (1 - cos 60) / 2 of the height
    15: (0.055, 0.90),
    20: (0.01 + 0.09 * 0.75, 0.95 - 0.1 * 0.75),
    30: (0.1, 0.85),
    65: (0.052, 0.90),  # half the way down to a 25th, 0.004
    100: (0.004, 0.95),
}


@pytest.mark.parametrize("step", POINTS)
def test_one_cycle_at_points_computed_by_hand(step):
    assert (learning_rate(step, 100, ONE_CYCLE), momentum(step, 100, ONE_CYCLE)) == pytest.approx(POINTS[step])


@pytest.mark.parametrize("step", [0, 7, 199, 200, 201, 555, 999])
def test_one_cycle_is_half_a_wave_up_and_half_a_wave_down_with_the_momentum_against_it(step):
    recipe = replace(
        ONE_CYCLE, rise=0.2, start_div=4.0, end_div=1000.0, high_momentum=0.9, low_momentum=0.6, warmup=0.3
    )
    if step < 200:
        low, high, share = 0.025, (1 - cos(pi * step / 200)) / 2, "up"
    else:
        low, high, share = 0.0001, (1 + cos(pi * (step - 200) / 800)) / 2, "down"
    assert learning_rate(step, 1000, recipe) == pytest.approx(low + (0.1 - low) * high), share
    assert momentum(step, 1000, recipe) == pytest.approx(0.9 - 0.3 * high), share


@given(st.integers(1, 300), st.floats(0, 0.99), st.floats(1, 50), st.floats(1, 50), st.floats(0, 0.5))
def test_one_cycle_turns_once_stays_in_its_bounds_and_needs_no_warm_up(total, rise, start_div, end_div, warmup):
    recipe = replace(ONE_CYCLE, rise=rise, start_div=start_div, end_div=end_div, warmup=warmup)
    rates = [learning_rate(step, total, recipe) for step in range(total)]
    moments = [momentum(step, total, recipe) for step in range(total)]
    assert rates[0] == pytest.approx(0.1 / start_div if rise else 0.1)
    assert all(0.1 / max(start_div, end_div) - 1e-12 <= rate <= 0.1 + 1e-12 for rate in rates)
    assert all(0.85 - 1e-12 <= value <= 0.95 + 1e-12 for value in moments)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"one_cycle"}))
def test_the_other_schedules_leave_the_momentum_alone(name):
    recipe = replace(PLAIN, schedule=name, momentum=0.7)
    assert {momentum(step, 50, recipe) for step in range(50)} == {0.7}


ONE_DESCENT = sorted(set(SCHEDULES) - {"cosine_cycles", "one_cycle"})


@given(st.sampled_from(ONE_DESCENT), st.integers(1, 400), st.floats(0, 0.99))
def test_rates_stay_between_0_and_the_base_rate_and_never_rise_after_the_warm_up(name, total, warmup):
    recipe = replace(PLAIN, schedule=name, warmup=warmup)
    rates = [learning_rate(step, total, recipe) for step in range(total)]
    assert all(0 < rate <= 0.02 + 1e-12 for rate in rates)
    after = rates[round(warmup * total) :]
    assert all(later <= earlier + 1e-12 for earlier, later in zip(after, after[1:], strict=False))


def test_an_unknown_schedule_lists_the_known_ones():
    with pytest.raises(
        SettingError, match="no such schedule: known are poly, cosine, cosine_cycles, constant, one_cycle"
    ):
        find_schedule("step")
