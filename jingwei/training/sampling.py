"""What each epoch draws: crops, classes and sizes of the training windows.

Every draw carries its own seed, made from the run's seed, the epoch and its place in the epoch. So a run gives the same
windows with any number of loader processes and of training processes, and one that was stopped goes on with the windows
it would have had.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from jingwei.crops.table import Crop
from jingwei.errors import SettingError
from jingwei.training.recipes import Recipe

FLOOR = 0.5  # smallest share of any class at balance 1, as a share of what it has when all are alike
SPARSE = 0.25  # of the crops' pixels: fewer labels count as so many, or a few strokes would make epochs of one step


KEPT = 1 << 28  # px of crops that loader processes keep decoded, as 8-bit RGB with labels
TOGETHER = 1 << 27  # px of crops that take turns where not all are kept
VISIT = 4  # windows that are taken of such a crop while it is decoded, at most


class Draw(NamedTuple):
    """One training window to make: of which crop, at which size in px, showing which class (-1: any), by which seed.

    `seed` is that of the run, the epoch and the place in the epoch. `last` is the place of the last window that is
    planned of the crop for the time being (-1: of this one).
    """

    crop: int
    size: int
    target: int
    seed: tuple[int, int, int]
    last: int = -1


class WindowDraws(Sampler):
    """Batches of draws for the steps `first_step` .. `steps` - 1 of an epoch; set `epoch` before each.

    A step is one of the optimizer: `recipe.accumulate` batches of one size. Sizes take turns by step. Every crop comes
    up before any comes again, but for the share `recipe.balance` of all windows: those show a class that was drawn by
    `class_targets`, in a crop that was drawn by its pixels of that class. Crops that are too many to be kept decoded
    (more than KEPT) take turns in groups: a group comes up to VISIT times before the next one. So an epoch takes
    every crop as often as it would otherwise, but decodes it less often. Of each batch, process `rank` of `world` gets
    every `world`-th draw. Raises SettingError where a batch can't be shared out like that.
    """

    def __init__(self, crops: list[Crop], recipe: Recipe, steps: int, rank: int = 0, world: int = 1):
        if recipe.batch_size % world:
            problem = f"can't be shared out over {world} processes"
            raise SettingError(f"`batch_size` {recipe.batch_size}", problem, f"give a multiple of {world}")
        if recipe.batch_size == world > 1 and not recipe.sync_bn:
            problem = f"leaves each of {world} processes 1 window, but batch norm needs 2 or more"
            raise SettingError(f"`batch_size` {recipe.batch_size}", problem, "give a larger one, or `sync_bn`")
        self.recipe, self.steps, self.rank, self.world = recipe, steps, rank, world
        self.class_pixels = np.array([crop.pixels for crop in crops], np.int64)  # (crops, classes)
        self.group = _group(crops, recipe)
        windows = (recipe.accumulate * windows_per_batch(recipe, self._size(step), world) for step in range(steps))
        self.starts = list(accumulate(windows, initial=0))  # of each step, as places in the epoch; and the epoch's end
        self.epoch = self.first_step = 0

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.recipe.accumulate

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, plan = self.epoch, self._plan(self.epoch)
        for step in range(self.first_step, self.steps):
            yield from self._batches(plan, epoch, step)

    def step_draws(self, epoch: int, step: int) -> list[list[Draw]]:
        """The batches of one step, as this process gets them."""
        return self._batches(self._plan(epoch), epoch, step)

    def _size(self, step: int) -> int:
        return self.recipe.crop_sizes[step % len(self.recipe.crop_sizes)]

    def _batches(self, plan: tuple[np.ndarray, ...], epoch: int, step: int) -> list[list[Draw]]:
        crops, targets, last = plan
        start, end, size = self.starts[step], self.starts[step + 1], self._size(step)
        batch = windows_per_batch(self.recipe, size, self.world)
        return [
            [
                Draw(int(crops[k]), size, int(targets[k]), (self.recipe.seed, epoch, k), int(last[k]))
                for k in range(first + self.rank, first + batch, self.world)
            ]
            for first in range(start, end, batch)
        ]

    def _plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Crop, target class (-1: any) and last place (see Draw) of every place of an epoch, over all processes."""
        rng = np.random.default_rng((self.recipe.seed, epoch))
        count, num_crops = self.starts[-1], len(self.class_pixels)
        crops, targets = np.empty(count, np.int64), np.full(count, -1)
        if self.recipe.balance:
            by_class = rng.random(count) < self.recipe.balance
            crops[by_class], targets[by_class] = self._draw_by_class(np.count_nonzero(by_class), rng)
        others = np.flatnonzero(targets < 0)
        last = np.full(count, -1)
        if len(others) <= num_crops or self.group >= num_crops:
            rounds = -(-len(others) // num_crops)
            order = np.array([rng.permutation(num_crops) for _ in range(rounds)], np.int64).ravel()
            crops[others] = order[: len(others)]
        else:
            crops[others], visits = grouped_turns(num_crops, len(others), self.group, rng)
            last_of = np.zeros(visits.max() + 1, np.int64)
            np.maximum.at(last_of, visits, others)
            last[others] = last_of[visits]
        return crops, targets, last

    def _draw_by_class(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """`count` crops and the classes that they were drawn for."""
        shares = class_targets(self.class_pixels.sum(axis=0), self.recipe.balance)
        targets = rng.choice(len(shares), count, p=shares)
        crops = np.empty(count, np.int64)
        for land_class in np.unique(targets):
            here = targets == land_class
            ends = self.class_pixels[:, land_class].cumsum()
            # A pixel of all that the class has, and the crop that it is in.
            pixels = rng.integers(ends[-1], size=np.count_nonzero(here))
            crops[here] = ends.searchsorted(pixels, side="right")
        return crops, targets


def _group(crops: list[Crop], recipe: Recipe) -> int:
    """How many crops take turns with each other: all, if they can be kept decoded; else enough for varied batches."""
    pixels = sum(crop.window.height * crop.window.width for crop in crops)
    if pixels <= KEPT:
        return len(crops)
    return max(TOGETHER * len(crops) // pixels, 4 * recipe.batch_size)


def grouped_turns(crops: int, count: int, group: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`count` places for so many crops, which take turns in groups: (crop, visit) of each, the visits numbered.

    Every crop gets `count // crops` of them or one more. A group's crops all have their turn before any has its next,
    up to VISIT turns; then comes another group, of crops drawn anew once all have been visited.
    """
    rounds = np.full(crops, count // crops)
    rounds[rng.permutation(crops)[: count % crops]] += 1
    order, visits = [], []
    for first_round in range(0, int(rounds.max()), VISIT):
        drawn = rng.permutation(crops)
        for first in range(0, crops, group):
            members = drawn[first : first + group]
            for turn in range(first_round, first_round + VISIT):
                order.append(rng.permutation(members[rounds[members] > turn]))
                visits.append(order[-1] + first_round // VISIT * crops)
    return np.concatenate(order), np.concatenate(visits)


def with_steps(recipe: Recipe, crops: list[Crop]) -> Recipe:
    """The recipe with its steps per epoch counted from the training crops, where they are left to the data."""
    if recipe.steps_per_epoch:
        return recipe
    # Smaller windows come in larger batches, so every step sees about as many pixels.
    step = recipe.accumulate * recipe.batch_size * max(recipe.crop_sizes) ** 2
    # A window of a scale shows so many more pixels of the crops, or so many fewer; scales are drawn by their logarithm.
    labelled = sum(crop.valid for crop in crops)
    labelled = max(labelled, SPARSE * sum(crop.window.height * crop.window.width for crop in crops))
    pixels = labelled * recipe.min_scale * recipe.max_scale
    return replace(recipe, steps_per_epoch=max(1, round(pixels / step)))


def windows_per_batch(recipe: Recipe, size: int, world: int = 1) -> int:
    """Windows of `size` px in a batch of all processes: the smaller, the more, so that memory stays level."""
    windows = recipe.batch_size * max(recipe.crop_sizes) ** 2 // size**2
    return max(world, windows // world * world)


def class_targets(pixels: np.ndarray, balance: float) -> np.ndarray:
    """How often each class is drawn, float of (classes), summing to 1, from its training pixels.

    Proportional to pixels ^ (1 - balance), for 0 <= balance <= 1; but a class of very few pixels still gets FLOOR *
    balance of what it has when all are alike (before all are scaled to sum to 1). A class without pixels gets 0.
    """
    present = pixels > 0
    shares = np.where(present, (pixels / pixels.sum()) ** (1 - balance), 0.0)
    shares /= shares.sum()
    shares = np.where(present, np.maximum(shares, FLOOR * balance / present.sum()), 0.0)
    return shares / shares.sum()
