"""Torch datasets over crop files: augmented windows to train on, whole crops to validate on."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from jingwei.crops.table import Crop, statistics
from jingwei.errors import JingweiError, TrainingError
from jingwei.models.torch_files import first_line
from jingwei.raster.crop_files import opencv_on_one_thread
from jingwei.training import augment
from jingwei.training.crop_cache import CACHE_BYTES, CropCache
from jingwei.training.crop_reader import CropReader
from jingwei.training.distributed import local_size
from jingwei.training.recipes import Recipe
from jingwei.training.sampling import Draw, WindowDraws


class TrainingWindows(Dataset):
    """Augmented windows: draw -> (pixels_CHW in the file's units, labels_HW uint8). `fill`: see WholeCrops.

    Each augmentation draws random numbers only where the recipe has it, so that all others stay as they were without.
    """

    def __init__(
        self,
        folder: Path,
        crops: list[Crop],
        recipe: Recipe,
        fill: tuple[float, ...],
        cache_bytes: int = CACHE_BYTES,
        sharers: int = 1,
    ):
        self.crops, self.recipe, self.fill = crops, recipe, np.array(fill)
        self.cache = CropCache(CropReader(folder, crops), crops, cache_bytes, sharers)
        spread = statistics(crops)
        self.mean, self.std = np.array(spread.mean), np.array(spread.std)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(draw.seed)
        try:
            pixels, labels = self._window(draw, rng)
            if _chance(self.recipe.class_mix, rng):
                other = draw._replace(crop=int(rng.integers(len(self.crops))), target=-1, last=-1)
                pixels, labels = augment.class_mix(pixels, labels, *self._window(other, rng), rng)
            return _to_tensors(pixels, labels)
        finally:
            self.cache.release()

    def _window(self, draw: Draw, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(pixels_HWC, labels_HW), with all that is done to a window by itself."""
        recipe = self.recipe
        _, epoch, place = draw.seed
        now, needed = ((epoch << 32) + at for at in (place, max(place, draw.last)))
        crop = self.cache.read(self.crops[draw.crop], now, needed)
        pixels, labels = self._cut(*crop, draw.size, draw.target, rng)
        pixels, labels = augment.random_turn(pixels, labels, rng, recipe.quarter_turns, recipe.flip)
        pixels = augment.fill_unseen(pixels, labels, self.fill)  # the corners that a rotation left empty
        unseen = augment.unlabelled_of(pixels, labels, self.fill)
        if recipe.hue and pixels.dtype == np.uint8 and pixels.shape[2] == 3:
            pixels = augment.random_hue(pixels, recipe.hue, rng)
        if _chance(recipe.blur, rng):
            pixels = augment.random_blur(pixels, rng)
        if recipe.jitter:
            pixels = augment.random_light(pixels, self.mean, self.std, recipe.jitter, rng)
        if unseen is not None and (recipe.hue or recipe.blur or recipe.jitter):
            pixels = augment.replaced(pixels, unseen, self.fill)
        if _chance(recipe.dropout, rng):
            pixels = augment.coarse_dropout(pixels, self.fill, rng)
        return pixels, labels

    def _cut(
        self, pixels: np.ndarray, labels: np.ndarray, size: int, target: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A window of a crop, at a random place and scale, and rotated where the recipe says so."""
        recipe = self.recipe
        scale = float(np.exp(rng.uniform(np.log(recipe.min_scale), np.log(recipe.max_scale))))
        if not recipe.rotate:
            return augment.random_window(pixels, labels, size, scale, rng, target, self.fill)
        degrees = rng.uniform(-recipe.rotate, recipe.rotate)
        side = augment.rotated_side(size, degrees)
        for _ in range(augment.TRIES):  # what the window has to show may lie in a corner that the rotation cuts off
            larger = augment.random_window(pixels, labels, side, scale, rng, target, self.fill)
            window = augment.rotate(*larger, size, degrees)
            if target < 0 or (window[1] == target).any():
                break
        return window


def _chance(share: float, rng: np.random.Generator) -> bool:
    """True in `share` of all cases. Draws nothing where that is none."""
    return share > 0 and rng.random() < share


class WholeCrops(Dataset):
    """Crops as they are, for validation: index -> (pixels_CHW, labels_HW).

    `fill` stands where nothing was seen: the mean that the network subtracts, so that it sees 0 there.
    """

    def __init__(self, folder: Path, crops: list[Crop], fill: tuple[float, ...]):
        self.reader, self.crops, self.fill = CropReader(folder, crops), crops, np.array(fill)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pixels, labels = self.reader.read(self.crops[index])
        return _to_tensors(augment.fill_unseen(pixels, labels, self.fill), labels)


class Loader(DataLoader):
    """A DataLoader that raises the user's mistakes as they are, from its processes too: a broken crop, say.

    torch's own rewrites an error of a loader process, and makes a traceback of what should be one line. Its processes
    need no shared memory where there is none, as in a container: see `_collated`.
    """

    def __init__(self, dataset: Dataset, **settings):
        super().__init__(_ErrorsAsItems(dataset), collate_fn=_collated, **settings)

    def __iter__(self) -> Any:
        with opencv_on_one_thread, killed_loaders_named(self.num_workers):
            for batch in super().__iter__():
                if isinstance(batch, JingweiError):
                    raise batch
                pixels, labels = (torch.from_numpy(each) if isinstance(each, np.ndarray) else each for each in batch)
                yield [pixels.movedim(-1, 1), labels]


@contextlib.contextmanager
def killed_loaders_named(workers: int) -> Iterator[None]:
    """Makes a TrainingError of the death of a loader process, which torch raises wherever the training just is."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        problem = f"a process that reads and augments has died ({first_line(error)}), maybe for want of memory"
        remedy = "take fewer, or `workers` 0, with which the training process reads by itself"
        raise TrainingError(f"`workers` {workers}", problem, remedy) from error


class _ErrorsAsItems(Dataset):
    """A data set that gives its JingweiErrors as items instead of raising them."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index):
        try:
            return self.dataset[index]
        except JingweiError as error:
            return error


def _collated(items: list):
    """A batch of items, (pixels_BHWC, labels_BHW), or the first error among them.

    In a loader process torch puts batches into shared memory, of which a container may have as little as 64 MB. Where
    it is full, a batch goes through the processes' pipe, as numpy arrays: that takes some 40 ms more for 16 MB.
    """
    error = next((item for item in items if isinstance(item, JingweiError)), None)
    if error is not None:
        return error
    items = [(pixels.movedim(0, -1), labels) for pixels, labels in items]  # as they lie in memory: copied at once
    try:
        return default_collate(items)
    except RuntimeError as full:
        if "shared memory" not in str(full):
            raise
        return [np.stack([tensor.numpy() for tensor in tensors]) for tensors in zip(*items, strict=True)]


def training_loader(
    folder: Path,
    crops: list[Crop],
    recipe: Recipe,
    fill: tuple[float, ...],
    steps: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
) -> Loader:
    """Batches of augmented windows, those of one process of a team; see WindowDraws, the `batch_sampler`."""
    dataset = TrainingWindows(folder, crops, recipe, fill, CACHE_BYTES // local_size(), max(1, workers))
    return Loader(dataset, batch_sampler=WindowDraws(crops, recipe, steps, rank, world), **_loading(workers))


def validation_loader(folder: Path, crops: list[Crop], fill: tuple[float, ...], workers: int) -> Loader:
    """Whole crops one by one: they may differ in size."""
    return Loader(WholeCrops(folder, crops, fill), batch_size=1, **_loading(workers))


def _loading(workers: int) -> dict:
    # A generator of its own: from torch's common one a loader draws a seed, at other times with other workers.
    own = torch.Generator()
    pinned = torch.cuda.is_available()
    return {
        "num_workers": workers,
        "pin_memory": pinned,
        "persistent_workers": workers > 0,
        "generator": own,
        "worker_init_fn": _leave_stopping_to_training,
    }


def _leave_stopping_to_training(worker: int) -> None:
    """Makes a loader process go on at Ctrl-C and SIGHUP, and at SIGTERM unless the training process sent it.

    A terminal or a scheduler sends them to all processes, but the training process goes on to its next good place to
    stop, and stops its loader processes itself: by SIGTERM if need be.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # now: threads that start later inherit it
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    else:  # a system that doesn't say who sends a signal
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_with_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _to_tensors(pixels: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Tensors of a window, (pixels_CHW, labels_HW), whose pixels still lie in memory as HWC: so networks want them."""
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(np.int32)  # torch's uint16 knows few operations
    # Copied where it is a part of a kept crop as it stands: torch wants arrays that can be written to.
    pixels, labels = np.require(pixels, requirements="CW"), np.require(labels, requirements="CW")
    return torch.from_numpy(pixels).movedim(-1, 0), torch.from_numpy(labels)
