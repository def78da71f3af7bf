"""Prediction's memory: the same for a scene ten times as long.

    python benchmarks/predict.py --sizes 4000x4000 4000x40000 40000x4000

Makes each scene with data/make_sample.py (kept in data/benchmark/), predicts it with a small network of random weights
in a process of its own, and prints wall time and peak memory.
"""

import argparse
import shutil
from pathlib import Path

import torch
from measure import ROOT, run, side_by_side

from jingwei.checkpoints import Checkpoint, save_checkpoint
from jingwei.legend import JINGWEI
from jingwei.models import ModelSpec, build_model

FOLDER = ROOT / "data" / "benchmark"


def random_checkpoint(path: Path) -> None:
    """Writes a checkpoint of a small network that has learned nothing: enough to measure a pipeline with."""
    torch.manual_seed(0)
    spec = ModelSpec("deeplabv3", "resnet18", bands=3, classes=len(JINGWEI), output_stride=16)
    mean, std = (120.0,) * 3, (40.0,) * 3
    weights = build_model(spec, mean, std).state_dict()
    save_checkpoint(path, Checkpoint(spec, "uint8", mean, std, JINGWEI, {}, weights))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--sizes", nargs="+", default=["4000x4000", "4000x40000"], help="width x height of each scene")
    parser.add_argument("--window", default="1024")
    parser.add_argument("--overlap", default="256")
    args = parser.parse_args()
    checkpoint = FOLDER / "random.pt"
    random_checkpoint(checkpoint)
    rows, megapixels = [], []
    for size in args.sizes:
        folder = FOLDER / f"predict_{size}"
        run("data/make_sample.py", "--data_dir", str(folder), "--size", size, "--scenes", "3", quiet=True)
        run("generate_test_data.py", "--data_dir", str(folder), quiet=True)
        shutil.rmtree(folder / "maps", ignore_errors=True)
        command = ("predict.py", "--data_dir", str(folder), "--checkpoint", str(checkpoint))
        windows = ("--window", args.window, "--overlap", args.overlap, "--output", str(folder / "maps"))
        rows.append((size, run(*command, *windows)))
        width, height = map(int, size.split("x"))
        megapixels.append(width * height / 1e6)
    for row, area in zip(rows, megapixels, strict=True):
        print(side_by_side([row], area, rows[0][1].seconds))
    peaks = [measured.peak_mib for _, measured in rows]
    print(f"largest peak over smallest: {max(peaks) / min(peaks):.3f}")


if __name__ == "__main__":
    main()
