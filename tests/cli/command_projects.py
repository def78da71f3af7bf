"""What several test files of this folder make their inputs with."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio

from jingwei.models.checkpoints import load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]

TRAIN = "jingwei_round1_train_20190619"

TEST = "jingwei_round1_test_a_20190619"

QUICK = [
    "--train", "--scratch", "--backbone", "test_resnet", "--output_stride", "16", "--crop_size", "48",
    "--batch_size", "2", "--epochs", "1", "--steps_per_epoch", "1", "--workers", "0", "--device", "cpu",
]  # fmt: skip


def assert_one_line(outcome: tuple[int, str, str], *parts: str) -> None:
    """A mistake's outcome: status 2, one line on stderr that names these parts (regular expressions)."""
    status, _, err = outcome
    assert status == 2, err
    assert re.fullmatch(r"error: [^\n]+\n", err), err
    for part in parts:
        assert re.search(part, err), f"{part!r} is not in: {err}"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def nothing_looks_cut(root: Path) -> bool:
    """Nothing that the next stage would take for finished, and no temporary file."""
    return not (root / "train" / "crops.csv").exists() and not list(root.rglob("*.part"))


def write_tif(path: Path, pixels: np.ndarray, **profile) -> None:
    bands, height, width = pixels.shape
    profile |= {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": pixels.dtype.name}
    with rasterio.open(path, "w", **profile) as scene:
        scene.write(pixels)


def change_checkpoint(path: Path, **changes) -> None:
    save_checkpoint(path, replace(load_checkpoint(path), **changes))
