"""Bounds: which numbers a field may have, and what to say of one that it may not."""

from collections.abc import Callable
from typing import NamedTuple


class Bound(NamedTuple):
    """A bound of a number: whether a value keeps it, and what is wrong with one that doesn't, after `is 3, `."""

    holds: Callable[[float], bool]
    problem: str


def at_least(low: float, unit: str = "") -> Bound:
    """From `low` up."""
    return Bound(lambda value: value >= low, f"below {low}{unit}")


def at_most(high: float, problem: str) -> Bound:
    """Up to `high`."""
    return Bound(lambda value: value <= high, problem)


def between(low: float, high: float) -> Bound:
    """From `low` to `high`, both included."""
    return Bound(lambda value: low <= value <= high, f"not between {low} and {high}")


def one_of(values: tuple[int, ...], problem: str) -> Bound:
    """One of a few numbers."""
    return Bound(lambda value: value in values, problem)


ABOVE_0 = Bound(lambda value: value > 0, "not above 0")
BELOW_1 = Bound(lambda value: 0 <= value < 1, "not from 0 to below 1")
