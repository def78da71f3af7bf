"""Torch datasets over crop files, and the sampler that says what each epoch draws.

Every draw carries its own seed, made from the run's seed, the epoch and its place in the epoch. So a run gives the same
windows with any number of loader processes, and a resumed run goes on with the windows it would have had.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from jingwei import augment, raster
from jingwei.crops import Crop, label_path, statistics
from jingwei.recipes import Recipe


class Draw(NamedTuple):
    """One training window to make: which crop, at which size in px, with which seed."""

    crop: int
    size: int
    seed: tuple[int, int, int]


class WindowDraws(Sampler):
    """Batches of draws for one epoch: every crop comes up before any comes up again. Sizes take turns by batch."""

    def __init__(self, num_crops: int, recipe: Recipe, steps: int):
        self.num_crops, self.recipe, self.steps = num_crops, recipe, steps
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, self.epoch))
        count = self.steps * recipe.batch_size
        rounds = -(-count // self.num_crops)
        order = np.concatenate([rng.permutation(self.num_crops) for _ in range(rounds)])[:count]
        for step in range(self.steps):
            size = recipe.crop_sizes[step % len(recipe.crop_sizes)]
            places = range(step * recipe.batch_size, (step + 1) * recipe.batch_size)
            yield [Draw(int(order[place]), size, (recipe.seed, self.epoch, place)) for place in places]


class TrainingWindows(Dataset):
    """Augmented windows: draw -> (pixels_CHW in the file's units, labels_HW uint8). `fill`: see WholeCrops."""

    def __init__(self, folder: Path, crops: list[Crop], recipe: Recipe, fill: tuple[float, ...]):
        self.folder, self.crops, self.recipe, self.fill = folder, crops, recipe, np.array(fill)
        spread = statistics(crops)
        self.mean, self.std = np.array(spread.mean), np.array(spread.std)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(draw.seed)
        pixels, labels = _read(self.folder, self.crops[draw.crop])
        scale = float(np.exp(rng.uniform(np.log(self.recipe.min_scale), np.log(self.recipe.max_scale))))
        pixels, labels = augment.random_window(pixels, labels, draw.size, scale, rng)
        pixels, labels = augment.random_turn(pixels, labels, rng)
        pixels = augment.fill_unseen(pixels, labels, self.fill)
        if self.recipe.jitter:
            pixels = augment.random_light(pixels, self.mean, self.std, self.recipe.jitter, rng)
        return _to_tensors(pixels, labels)


class WholeCrops(Dataset):
    """Crops as they are, for validation: index -> (pixels_CHW, labels_HW).

    `fill` stands where nothing was seen: the mean that the network subtracts, so that it sees 0 there.
    """

    def __init__(self, folder: Path, crops: list[Crop], fill: tuple[float, ...]):
        self.folder, self.crops, self.fill = folder, crops, np.array(fill)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pixels, labels = _read(self.folder, self.crops[index])
        return _to_tensors(augment.fill_unseen(pixels, labels, self.fill), labels)


def training_loader(
    folder: Path, crops: list[Crop], recipe: Recipe, fill: tuple[float, ...], steps: int, workers: int
) -> DataLoader:
    """Batches of augmented windows; set `loader.batch_sampler.epoch` before each epoch."""
    dataset = TrainingWindows(folder, crops, recipe, fill)
    draws = WindowDraws(len(crops), recipe, steps)
    return DataLoader(dataset, batch_sampler=draws, **_loading(workers))


def validation_loader(folder: Path, crops: list[Crop], fill: tuple[float, ...], workers: int) -> DataLoader:
    """Whole crops one by one: they may differ in size."""
    return DataLoader(WholeCrops(folder, crops, fill), batch_size=1, **_loading(workers))


def _loading(workers: int) -> dict:
    # A generator of its own: from torch's common one a loader draws a seed, at other times with other workers.
    own = torch.Generator()
    pinned = torch.cuda.is_available()
    return {"num_workers": workers, "pin_memory": pinned, "persistent_workers": workers > 0, "generator": own}


def _read(folder: Path, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
    labels = raster.read_label_crop(label_path(folder, crop))
    return raster.read_crop(folder / "data" / crop.name), labels


def _to_tensors(pixels: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(np.int32)  # torch's uint16 knows few operations
    return torch.from_numpy(pixels), torch.from_numpy(np.ascontiguousarray(labels))
