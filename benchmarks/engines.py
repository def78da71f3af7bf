"""Windows per second of every engine that is installed, and how far its labels are torch's at fp32.

    python benchmarks/engines.py --checkpoint data/model/.../best.pt --scene data/test/image5/image_5.tif

The windows are the scene's own. Rounds of all engines are interleaved, so that a busy machine slows all of them; the
rate is that of the median window, and the ratio of CPU seconds stands beside that of wall time. The base of the ratios
is torch at fp32 as it comes: eager, one window at a time.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from jingwei.errors import SettingError
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.choosing import trial_windows
from jingwei.prediction.engines.registry import ENGINES, make_engine
from jingwei.raster.reading import open_image


class Plain:
    """torch as most people call it: float32, its own layout."""

    label = "torch fp32, plain"

    def __init__(self, checkpoint: Checkpoint):
        self.model = checkpoint.build()

    @torch.inference_mode()
    def __call__(self, pixels_BCHW: np.ndarray) -> torch.Tensor:
        return self.model(torch.from_numpy(pixels_BCHW.astype(np.float32))).softmax(1)


def engines(names: list[str], checkpoint: Checkpoint, calibration: list[np.ndarray]) -> list[Plain | Engine]:
    """The base, torch at fp32 and `auto`'s precision, and the other engines that can be built."""
    device = find_device("cpu")
    found = [Plain(checkpoint)]
    for name in names:
        for precision in dict.fromkeys((torch.float32, find_precision("auto", device))):
            begun = time.perf_counter()
            try:
                engine = make_engine(name, checkpoint, device, precision, calibration)
            except SettingError as error:
                print(f"left out: {error}")
                break
            if engine.label not in [other.label for other in found]:
                found.append(engine)
                print(f"{engine.label}: built in {time.perf_counter() - begun:.1f} s", flush=True)
    return found


def compare(candidates: list, samples: list, rounds: int, size: int) -> None:
    """Prints a table for windows of one size."""
    seconds: dict[str, list[tuple[float, float]]] = {}  # wall, CPU
    labels: dict[str, list[np.ndarray]] = {}
    for engine in candidates:
        begun = time.perf_counter()
        labels[engine.label] = [engine(pixels[None])[0].argmax(0).numpy() for pixels, _ in samples]
        print(f"{engine.label}: first {len(samples)} windows in {time.perf_counter() - begun:.1f} s", flush=True)
        seconds[engine.label] = []
    for number in range(rounds):
        pixels = samples[number % len(samples)][0][None]
        for engine in candidates:
            begun = time.perf_counter(), time.process_time()
            engine(pixels)
            seconds[engine.label].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    medians = {label: np.median(times, axis=0) for label, times in seconds.items()}
    base = medians[Plain.label]
    expected = labels[Plain.label]
    valid = sum(np.count_nonzero(there) for _, there in samples)
    print(f"\n{'window ' + str(size):26}windows/s   ratio   CPU ratio   labels as {Plain.label}, worst window")
    for label, middle in medians.items():
        same = [
            np.count_nonzero((found == right) & there)
            for found, right, (_, there) in zip(labels[label], expected, samples, strict=True)
        ]
        worst = min(count / np.count_nonzero(there) for count, (_, there) in zip(same, samples, strict=True))
        wall, cpu = base / middle
        print(f"{label:26}{1 / middle[0]:9.2f}{wall:8.2f}{cpu:12.2f}   {sum(same) / valid:.2%}, {worst:.2%}")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--scene", required=True, help="a tiled scene")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--windows", nargs="+", type=int, default=[512, 1024], help="sides, px")
    parser.add_argument("--samples", type=int, default=6, help="windows that labels are compared on")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    checkpoint = load_checkpoint(Path(args.checkpoint))
    print(f"{checkpoint.spec.family} over {checkpoint.spec.backbone}, {args.threads} threads")
    with open_image(Path(args.scene)) as image:
        samples = {size: trial_windows(image, size, checkpoint.mean, args.samples) for size in args.windows}
        calibration = [pixels for pixels, _ in trial_windows(image, 256, checkpoint.mean, 48)]
    candidates = engines(args.engines, checkpoint, calibration)
    for size in args.windows:
        compare(candidates, samples[size], args.rounds, size)


if __name__ == "__main__":
    main()
