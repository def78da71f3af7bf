"""What a training step costs beside a plain loop's: the same network and windows, CPU seconds by part.

    taskset -c 0 python benchmarks/training_step.py

Steps of `plain_loop.py` and of ours take turns in one process, so that whatever else runs on the machine slows both
alike; medians over the steps. The crops are made up: only time is measured. Columns: the windows (read, augmented, put
together), the loss by itself, forward and backward (a part of the step), the step, windows and step together.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import plain_loop
import torch

from jingwei.crops.table import Crop
from jingwei.grid import Window
from jingwei.legend import NODATA, LandClass, Legend
from jingwei.raster.crop_files import write_crop
from jingwei.raster.histogram import histogram
from jingwei.training.datasets import training_loader
from jingwei.training.distributed import Team
from jingwei.training.learner import Learner
from jingwei.training.position import Position
from jingwei.training.recipes import RECIPES
from jingwei.training.start import DataKind, Start

CLASSES, CROP, CROPS = 5, 1024, 8
SHARED = {"model": "attention_unet", "aux_weight": 0.0, "pretrained": False, "optimizer": "adamw", "base_lr": 1e-3}
ARMS = {
    "cross entropy": ("cross_entropy", {}),
    "focal + Lovász, EMA, weights": ("focal_lovasz", {"ema": 0.99, "class_weights": "balanced"}),
}


def made_up_crops(folder: Path, seed: int = 0) -> list[Crop]:
    """Writes crops of smooth colours and patchy labels, a twentieth of them unlabelled; returns their table."""
    rng = np.random.default_rng(seed)
    crops = []
    for number in range(CROPS):
        fields = cv2.resize(rng.random((24, 24, CLASSES), np.float32)[..., :4], (CROP, CROP))
        labels = fields.argmax(2).astype(np.uint8)
        labels[fields.max(2) < np.quantile(fields.max(2), 0.2)] = CLASSES - 1
        labels[: CROP // 20] = NODATA
        pixels = np.clip(80 * fields[..., :3] + rng.normal(80, 15, (CROP, CROP, 3)), 0, 255).astype(np.uint8)
        name, window, counts = f"{number}.png", Window(0, 0, CROP, CROP), histogram(labels)[:CLASSES]
        write_crop(folder / "data" / name, pixels.transpose(2, 0, 1))
        write_crop(folder / "label" / name, labels[None])
        bands = [tuple(map(float, of(axis=(0, 1)))) for of in (pixels.mean, pixels.std)]
        crops.append(Crop(name, "made_up", window, int(counts.sum()), tuple(counts.tolist()), *bands))
    return crops


class Plain:
    """Steps of the plain loop."""

    def __init__(self, folder: Path, crops: list[Crop], args: argparse.Namespace):
        torch.manual_seed(0)
        self.model = plain_loop.build(args.backbone, 3, CLASSES).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0.01)
        self.scenes = [
            (cv2.imread(str(folder / "data" / c.name))[..., ::-1], cv2.imread(str(folder / "label" / c.name), 0))
            for c in crops
        ]
        self.rng, self.args = np.random.default_rng(0), args

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = np.float32([120] * 3), np.float32([60] * 3)
        return plain_loop.batch(self.scenes, mean, std, self.args.crop_size, self.args.batch_size, self.rng)

    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        plain_loop.step(self.model, self.optimizer, *batch, 1e-3)


class Ours:
    """Steps of a recipe."""

    def __init__(self, folder: Path, crops: list[Crop], args: argparse.Namespace, recipe: str, fields: dict):
        changes = {"backbone": args.backbone, "crop_sizes": (args.crop_size,), "batch_size": args.batch_size}
        steps = 2 * (args.steps + 3)
        self.recipe = replace(RECIPES[recipe], **SHARED, **changes, **fields, epochs=1, steps_per_epoch=steps).check()
        legend = Legend("made_up", tuple(LandClass(i, str(i), (i, i, i)) for i in range(CLASSES)), None)
        pixels = tuple(np.sum([c.pixels for c in crops], axis=0).tolist())
        kind = DataKind("uint8", crops[0].mean, crops[0].std, legend, pixels)
        self.learner = Learner(self.recipe, kind, torch.device("cpu"), Team(), Start())
        self.learner.begin_epoch()
        self.windows: Iterator = iter(training_loader(folder, crops, self.recipe, kind.mean, steps, 0))
        self.done = 0

    def batch(self) -> list[torch.Tensor]:
        return next(self.windows)

    def step(self, batch: list[torch.Tensor]) -> None:
        self.learner.step(Position(0, self.done), [batch])
        self.done += 1


def timed(work: Callable, *args) -> tuple[float, object]:
    """(CPU seconds of the process, result)"""
    begun = time.process_time()
    result = work(*args)
    return time.process_time() - begun, result


def loss_seconds(ours: Ours, batch: list[torch.Tensor]) -> float:
    """CPU seconds of the loss alone, forward and backward, of some logits as the network gives them."""
    labels = batch[1]
    logits = torch.randn(len(labels), CLASSES, *labels.shape[1:]).contiguous(memory_format=torch.channels_last)
    logits = logits.to(ours.learner.precision).requires_grad_()
    seconds, _ = timed(lambda: ours.learner._loss(logits, labels).backward())
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("data", "label"):
            (place / name).mkdir()
        crops = made_up_crops(place)
        arms = {"plain loop": Plain(place, crops, args)}
        arms |= {name: Ours(place, crops, args, *how) for name, how in ARMS.items()}
        seconds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in arms}
        for number in range(args.steps + 3):
            for name, arm in arms.items():
                windows, batch = timed(arm.batch)
                step, _ = timed(arm.step, batch)
                loss = loss_seconds(arm, batch) if isinstance(arm, Ours) else float("nan")
                if number >= 3:  # the first steps choose their kernels, and read the crops
                    seconds[name].append((windows, loss, step))
        print(f"{'':30} windows     loss     step      all    ratio (CPU seconds; medians of {args.steps})")
        for name, rows in seconds.items():
            windows, loss, step = (statistics.median(part) for part in zip(*rows, strict=True))
            total = statistics.median(w + s for w, _, s in rows)
            ratio = statistics.median(
                (w + s) / (pw + ps) for (w, _, s), (pw, _, ps) in zip(rows, seconds["plain loop"], strict=True)
            )
            print(f"{name:30} {windows:7.3f}  {loss:7.3f}  {step:7.3f}  {total:7.3f}  {ratio:7.3f}")


if __name__ == "__main__":
    main()
