"""Learning-rate schedules by name. Each maps the share of a run that is done, 0 to 1, to a multiple of `base_lr`."""

from collections.abc import Callable
from math import cos, pi

from jingwei.errors import SettingError
from jingwei.recipes import Recipe


def poly(done: float, recipe: Recipe) -> float:
    """(1 - done) ^ power: DeepLab's schedule (Chen et al. 2017)."""
    return (1 - done) ** recipe.power


def cosine(done: float, recipe: Recipe) -> float:
    """Half a cosine wave from 1 to 0 (Loshchilov and Hutter 2017, one cycle)."""
    return (1 + cos(pi * done)) / 2


def constant(done: float, recipe: Recipe) -> float:
    """1 throughout."""
    return 1.0


SCHEDULES: dict[str, Callable[[float, Recipe], float]] = {"poly": poly, "cosine": cosine, "constant": constant}


def learning_rate(step: int, total_steps: int, recipe: Recipe) -> float:
    """The learning rate of step 0 .. `total_steps` - 1: a straight rise over the warm-up, then the schedule."""
    warmup = round(recipe.warmup * total_steps)
    if step < warmup:
        return recipe.base_lr * (step + 1) / warmup
    return recipe.base_lr * find_schedule(recipe.schedule)((step - warmup) / max(1, total_steps - warmup), recipe)


def find_schedule(name: str) -> Callable[[float, Recipe], float]:
    """A schedule by name; SettingError lists the known ones."""
    if name not in SCHEDULES:
        raise SettingError(f"--schedule {name}", "no such schedule", f"known are {', '.join(SCHEDULES)}")
    return SCHEDULES[name]
