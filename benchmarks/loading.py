"""Whether training waits for its data: step time with real crops over step time with batches held in memory.

    python benchmarks/loading.py --data_dir data/sample [--backbone resnet18 --crop_size 256 --batch_size 8]

Both in turn, several times, on the same network; the ratio of the medians should stay below 1.05 on a CPU and 1.10 on a
GPU. Needs the crops of generate_train_data.py.
"""

import argparse
import statistics
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from jingwei.models.devices import find_device
from jingwei.training import datasets, experiments
from jingwei.training.distributed import Team
from jingwei.training.learner import Learner
from jingwei.training.position import Position
from jingwei.training.recipes import RECIPES
from jingwei.training.start import Start
from jingwei.workspace import Workspace


def timed(learner: Learner, batches: Iterable) -> float:
    """Seconds per step over some batches."""
    begun, steps = time.perf_counter(), 0
    for batch in batches:
        learner.step(Position(0, steps), [batch])
        steps += 1
    return (time.perf_counter() - begun) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--recipe", default="attention_unet", choices=list(RECIPES))
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=16, help="steps of each round")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    recipe = replace(
        RECIPES[args.recipe], backbone=args.backbone, crop_sizes=(args.crop_size,), batch_size=args.batch_size,
        pretrained=False, epochs=args.rounds + 1, steps_per_epoch=args.steps,
    ).check()  # fmt: skip
    data = experiments.read_training_data(Workspace(args.data_dir))
    learner = Learner(recipe, data.kind, find_device(args.device), Team(), Start())
    learner.begin_epoch()
    loader = datasets.training_loader(
        data.folder, data.training, recipe, learner.kind.mean, recipe.steps_per_epoch, args.workers
    )
    held = list(loader)
    timed(learner, held)  # first steps choose their kernels
    real, memory = [], []
    for epoch in range(1, args.rounds + 1):
        memory.append(timed(learner, held))
        loader.batch_sampler.epoch = epoch
        real.append(timed(learner, loader))
        print(
            f"round {epoch}: in memory {memory[-1] * 1e3:.0f} ms a step, real data {real[-1] * 1e3:.0f} ms", flush=True
        )
    ratio = statistics.median(real) / statistics.median(memory)
    print(f"real data / held in memory: {ratio:.3f}")


if __name__ == "__main__":
    main()
