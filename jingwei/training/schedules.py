"""Learning-rate schedules by name. Each maps the share of a run that is done, 0 to 1, to a multiple of `base_lr`.

One of them drives the momentum too.
"""

from collections.abc import Callable
from math import cos, pi

from jingwei.errors import SettingError, known
from jingwei.training.recipes import Recipe


def poly(done: float, recipe: Recipe) -> float:
    """(1 - done) ^ power: DeepLab's schedule (Chen et al. 2017)."""
    return (1 - done) ** recipe.power


def cosine(done: float, recipe: Recipe) -> float:
    """Half a cosine wave from 1 to 0 (Loshchilov and Hutter 2017, one cycle)."""
    return (1 + cos(pi * done)) / 2


def constant(done: float, recipe: Recipe) -> float:
    """1 throughout."""
    return 1.0


def cosine_cycles(done: float, recipe: Recipe) -> float:
    """A half of the run for one descent from 1 to 0, then `recipe.cycles` descents from 0.5 to 0.

    The weights at the ends of the descents are what SWA averages (Izmailov et al. 2018): each cycle starts high enough
    to leave the last one's minimum, and low enough to stay near it.
    """
    if done < 0.5:
        return cosine(2 * done, recipe)
    cycles_done = (2 * done - 1) * recipe.cycles + 1e-9  # a cycle's first step must not round into the last one's end
    return cosine(cycles_done % 1, recipe) / 2


def one_cycle(done: float, recipe: Recipe) -> float:
    """From 1 / `start_div` up to 1 in the share `rise` of the run, then down to 1 / `end_div`, by half cosine waves.

    After Smith and Topin 2018 (super-convergence), who go up and down in straight lines; the momentum goes against it.
    """
    return _up_and_down(done, recipe.rise, 1 / recipe.start_div, 1.0, 1 / recipe.end_div)


def _up_and_down(done: float, rise: float, first: float, middle: float, last: float) -> float:
    """`first` to `middle` until the share `rise` is done, from there to `last`, each time by half a cosine wave."""
    if done < rise:
        return middle + (first - middle) * (1 + cos(pi * done / rise)) / 2
    return last + (middle - last) * (1 + cos(pi * (done - rise) / (1 - rise))) / 2


SCHEDULES: dict[str, Callable[[float, Recipe], float]] = {
    "poly": poly,
    "cosine": cosine,
    "cosine_cycles": cosine_cycles,
    "constant": constant,
    "one_cycle": one_cycle,
}


def learning_rate(step: int, total_steps: int, recipe: Recipe) -> float:
    """The learning rate of step 0 .. `total_steps` - 1: a straight rise over the warm-up, then the schedule."""
    warmup = _warmup_steps(total_steps, recipe)
    if step < warmup:
        return recipe.base_lr * (step + 1) / warmup
    return recipe.base_lr * find_schedule(recipe.schedule)((step - warmup) / max(1, total_steps - warmup), recipe)


def momentum(step: int, total_steps: int, recipe: Recipe) -> float:
    """The momentum of step 0 .. `total_steps` - 1: the recipe's own; under one_cycle from high to low and back."""
    if recipe.schedule != "one_cycle":
        return recipe.momentum
    return _up_and_down(
        step / total_steps, recipe.rise, recipe.high_momentum, recipe.low_momentum, recipe.high_momentum
    )


def cycle_ends(total_steps: int, recipe: Recipe) -> list[int]:
    """How many steps are done at the end of each descent of cosine_cycles, the last being all."""
    warmup = _warmup_steps(total_steps, recipe)
    halves = 2 * recipe.cycles
    return [warmup + -(-(total_steps - warmup) * done // halves) for done in range(recipe.cycles, halves + 1)]


def _warmup_steps(total_steps: int, recipe: Recipe) -> int:
    return 0 if recipe.schedule == "one_cycle" else round(recipe.warmup * total_steps)


def find_schedule(name: str) -> Callable[[float, Recipe], float]:
    """A schedule by name; SettingError lists the known ones."""
    if name not in SCHEDULES:
        raise SettingError(f"`schedule` {name}", "no such schedule", known(SCHEDULES, name))
    return SCHEDULES[name]
