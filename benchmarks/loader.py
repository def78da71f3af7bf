"""How many training windows one core makes in a second, step by step.

    python benchmarks/loader.py [--size 512] [--windows 64] [--rounds 3]

CPU seconds of this process, which reads and augments by itself, as each loader process does: windows are made from
crops of 1024 px (made up: much noise, so they decode slowly), put together in batches of 16. Cached: all crops are
decoded already. Cold: none is kept, one window of each decoded crop. Visited: twice as many crops as can be kept, each
of which gives 4 windows while it is. Of some rounds, the fastest counts.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

from training_step import made_up_crops

from jingwei.crops.table import Crop
from jingwei.raster.crop_files import opencv_on_one_thread
from jingwei.training import sampling
from jingwei.training.datasets import TrainingWindows, _collated
from jingwei.training.recipes import CROSS_ENTROPY, Recipe
from jingwei.training.sampling import WindowDraws

BATCH, FILL = 16, (100.0, 100.0, 100.0)
PLAIN = replace(
    CROSS_ENTROPY, batch_size=BATCH, min_scale=1.0, max_scale=1.0, flip=False, quarter_turns=False, jitter=0.0
)
SCALED = replace(PLAIN, min_scale=0.5, max_scale=2.0)
TURNED = replace(SCALED, flip=True, quarter_turns=True)
STANDARD = replace(TURNED, jitter=0.1)
STEPS = {
    "read, cut out": PLAIN,
    "+ scale": SCALED,
    "+ turns, mirrors": TURNED,
    "+ light: the standard": STANDARD,
    "the standard, half of it by class": replace(STANDARD, balance=0.5),
    "the standard + hue": replace(STANDARD, hue=0.05),
    "system B: scale, mirrors, rotation, blur": replace(SCALED, flip=True, rotate=10.0, blur=0.5),
}


def rate(folder: Path, crops: list[Crop], recipe: Recipe, steps: int, limit: int, rounds: int) -> float:
    """Windows in a CPU second, put together in batches."""
    windows, best = TrainingWindows(folder, crops, recipe, FILL, limit), 0.0
    for crop in crops:  # what can be kept is
        windows.cache.read(crop)
        windows.cache.release()
    draws = WindowDraws(crops, recipe, steps)
    for draws.epoch in range(1, rounds + 1):
        begun, count = time.process_time(), 0
        for batch in draws:
            count += len(_collated([windows[draw] for draw in batch])[1])
        best = max(best, count / (time.process_time() - begun))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--size", type=int, default=512, help="of the windows, px (default 512)")
    parser.add_argument("--windows", type=int, default=64, help="in a round, a multiple of 32 (default 64)")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    steps = args.windows // BATCH
    print(f"| windows of {args.size} px in a CPU second | cached | cold | visited |", "|---|---|---|---|", sep="\n")
    with tempfile.TemporaryDirectory() as name, opencv_on_one_thread:
        folder = Path(name)
        crops = made_up_crops(folder)
        a_crop = crops[0].window.height * crops[0].window.width * 4  # bytes, with its labels
        for title, recipe in STEPS.items():
            recipe = replace(recipe, crop_sizes=(args.size,)).check()
            found = [rate(folder, crops, recipe, steps, limit, args.rounds) for limit in (len(crops) * a_crop, 0)]
            with mock.patch.multiple(sampling, KEPT=0, _group=lambda crops, recipe: len(crops) // 2):
                found.append(rate(folder, crops, recipe, 2 * steps, len(crops) // 2 * a_crop, args.rounds))
            print(f"| {title} |", " | ".join(f"{each:.0f}" for each in found), "|", flush=True)


if __name__ == "__main__":
    main()
