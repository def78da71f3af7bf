"""Whether prediction keeps a GPU busy, shown without one: its time beside that of a device of known speed.

    python benchmarks/stand_in_device.py

The device that stands in takes so many ms for a window of 1024 px. It works on its own clock, is handed batches of 8
without being waited for, and its results are there when its clock says so. Its tensors are a 64th of their size along
both sides: a GPU's host makes calls and leaves the work to it, so the calls are made here, all that the blending makes,
and there is next to no work in them. (A call to a GPU costs its host some microseconds more than one of these, and a
network makes its own, which are not made here.) All else is real: a tiled scene is read, batches are copied, bands are
put together, written, and become a map.

The table gives, for each speed: the wall time of all of it, the device's own, their ratio, the share of the time
between its first batch and its last in which it had nothing to do, and where the host's CPU time went, in ms a window:
reading, the thread that calls the device, the one that puts bands away, and the threads that compress for it.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from measure import ROOT

from jingwei.grid import Window, strips
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import load_checkpoint
from jingwei.prediction import pipeline
from jingwei.prediction import scene as prediction
from jingwei.prediction.bands import Bands
from jingwei.prediction.blending import Blender
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.job import Job
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.writing import TiledWriter
from jingwei.system.machine import cores
from predict import random_checkpoint

FOLDER = ROOT / "data" / "benchmark"
FIELD = 4096  # px: side of the picture that the scene repeats
SIZE, OVERLAP = 1024, 256  # px, of windows
SMALLER = 64  # times: how much the tensors of the device are, along both sides


class StandIn(Engine):
    """A device that takes `seconds` a window, on its own clock."""

    name, in_flight = "torch", 2

    def __init__(self, seconds: float, classes: int, labels_HW: np.ndarray):
        self.device, self.precision = torch.device("cpu"), "fp32"
        self.seconds, self.classes, self.labels = seconds, classes, labels_HW
        self.windows, self.idle, self.free_from = 0, 0.0, 0.0
        self.pinned = np.empty(0, np.uint8)

    def _build(self, checkpoint, precision, calibration) -> None: ...

    def load(self, pixels_BCHW: np.ndarray) -> torch.Tensor:
        if self.pinned.shape != pixels_BCHW.shape:
            self.pinned = np.empty_like(pixels_BCHW)
        np.copyto(self.pinned, pixels_BCHW)  # what goes to a GPU goes through a buffer of its driver's
        count, bands, height, width = pixels_BCHW.shape
        return torch.empty(count, bands, height // SMALLER, width // SMALLER)

    def run(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        count, _, height, width = pixels_BCHW.shape
        now = time.perf_counter()
        if self.windows:
            self.idle += max(0.0, now - self.free_from)
        self.windows += count
        self.free_from = max(now, self.free_from) + count * self.seconds
        return torch.zeros(count, self.classes, height, width)

    def fetch(self, values: torch.Tensor) -> Callable[[], np.ndarray]:
        due, (height, width) = self.free_from, (SMALLER * side for side in values.shape)

        def wait() -> np.ndarray:
            time.sleep(max(0.0, due - time.perf_counter()))
            return self.labels[:height, :width]

        return wait


class SmallBlender(Blender):
    """Blending of windows that are so much smaller: the same calls."""

    def __init__(self, bands: Bands, *others):
        size, overlap = bands.size // SMALLER, bands.overlap // SMALLER
        super().__init__(Bands.of((bands.height // SMALLER, bands.width // SMALLER), size, overlap), *others)

    def add(self, number: int, col: int, end: int, probabilities_CHW: torch.Tensor | None):
        return super().add(number, col // SMALLER, end // SMALLER, probabilities_CHW)


def draw(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Fields: pixels_CHW with the texture of a photograph, and their classes HW. uint8."""
    rng = np.random.default_rng(0)
    rows, cols = (np.repeat(np.arange(side // 8), rng.integers(30, 200, side // 8))[:side] for _ in range(2))
    classes = rng.integers(0, len(JINGWEI), (rows[-1] + 1, cols[-1] + 1), np.uint8)[rows][:, cols]
    colours = rng.integers(40, 200, (len(JINGWEI), 3))
    pixels = np.empty((3, side, side), np.uint8)
    for band in range(3):
        shades = colours[:, band][classes] + rng.normal(0, 7, (side, side))
        pixels[band] = shades.clip(0, 255)
    return pixels, classes


def make_scene(path: Path, side: int, pixels: np.ndarray) -> None:
    """A tiled scene as generate_test_data.py makes it, the picture again and again."""
    if path.exists():
        return
    valid = np.ones((256, side), bool)
    with TiledWriter(path, side, side, bands=3, mask=True, workers=cores()) as writer:
        for first, end in strips(side, 256):
            rows = pixels[:, first % FIELD : first % FIELD + end - first]
            across = np.concatenate([rows] * -(-side // FIELD), axis=2)[:, :, :side]
            writer.write(Window(first, 0, end - first, side), across, valid[: end - first])


@contextmanager
def cpu_counted(spent: dict[str, float]):
    """Adds up the CPU seconds of reading and of putting bands away, on whatever threads they run.

    Blends what the stand-in gives.
    """

    def counted(name: str, function: Callable) -> Callable:
        def run(*args, **kwargs):
            begun = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.thread_time() - begun

        return run

    with (
        patch.object(pipeline, "Blender", SmallBlender),
        patch.object(pipeline, "_read", counted("read", pipeline._read)),
        patch.object(prediction, "keep_band", counted("write", prediction.keep_band)),
        patch.object(prediction.Outputs, "write", counted("write", prediction.Outputs.write)),
    ):
        yield


def measure(seconds: float, job: Job, labels: np.ndarray) -> str:
    """One line of the table."""
    checkpoint = load_checkpoint(job.weights)
    device = StandIn(seconds, checkpoint.spec.classes, labels)
    spent = {"read": 0.0, "write": 0.0}
    shutil.rmtree(job.target.parent, ignore_errors=True)
    with cpu_counted(spent):
        begun = time.perf_counter(), time.process_time(), time.thread_time()
        prediction.predict_scene(job, checkpoint, device)
        wall, process, main = (
            now - then
            for now, then in zip((time.perf_counter(), time.process_time(), time.thread_time()), begun, strict=True)
        )
    busy = device.windows * seconds
    spent |= {"main": main, "compress": process - main - sum(spent.values())}
    costs = " | ".join(f"{1e3 * spent[part] / device.windows:.1f}" for part in ("read", "main", "write", "compress"))
    all_of_it = 1e3 * process / device.windows
    idle = device.idle / (device.idle + busy)
    return (
        f"| {1e3 * seconds:g} | {device.windows} | {wall:.2f} | {busy:.2f} | {wall / busy:.3f} | {idle:.1%} "
        f"| {costs} | {all_of_it:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--ms", nargs="+", type=float, default=[40, 20, 10, 5], help="of the device, for a window")
    parser.add_argument("--across", type=int, default=26, help="windows along each side of the scene")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--repeat", type=int, default=1, help="rounds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    side = SIZE + (args.across - 1) * (SIZE - OVERLAP)  # so that smaller windows have the same places
    weights, source = FOLDER / "random.pt", FOLDER / f"stand_in_{side}.tif"
    random_checkpoint(weights)
    pixels, labels = draw(FIELD)
    make_scene(source, side, pixels)
    del pixels
    target = FOLDER / "stand_in" / "map.tif"
    job = Job(weights, source, target, PredictSettings(precision="fp32"), None, "cpu", args.batch_size, args.workers)
    print(f"{side} x {side} px, {args.across**2} windows, {cores()} cores", flush=True)
    measure(1e-3, job, labels)  # the first calls of all
    print("| ms a window | windows | wall s | device s | ratio | idle | read | main | write | compress | CPU ms |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for _ in range(args.repeat):
        for ms in args.ms:
            print(measure(ms / 1e3, job, labels), flush=True)
    shutil.rmtree(target.parent)


if __name__ == "__main__":
    main()
