"""Do window borders show? Disagreement at the borders of windows over disagreement elsewhere.

    python benchmarks/seams.py --data_dir data/sample

Predicts each test scene twice with the best trained network, on two different grids of windows, and compares the two
maps: pixels within 8 px of a border line of the first grid, against all others. 1.0 means that borders can't be
told from anywhere else. Then label changes across border lines, over those across all other lines: a seam is a line of
them. For scale, both with windows that don't overlap and so aren't blended.
"""

import argparse
from pathlib import Path

import numpy as np
from measure import ROOT, run

from jingwei.grid import Window, even_starts
from jingwei.legend import NODATA
from jingwei.models.checkpoints import load_checkpoint
from jingwei.raster.reading import open_labels
from jingwei.workspace import Workspace

NEAR = 8  # px to either side of a border line
WINDOW, OTHER = 512, 576


def predict(data_dir: Path, checkpoint: Path, window: int, overlap: int) -> dict[str, np.ndarray]:
    """The maps of all test scenes, by scene name, for one grid of windows."""
    output = data_dir / "seams" / f"{window}_{overlap}"
    grid = ("--window", str(window), "--overlap", str(overlap), "--output", str(output))
    run("predict.py", "--data_dir", str(data_dir), "--checkpoint", str(checkpoint), *grid, quiet=True)
    maps = {}
    for path in sorted(output.glob("*/*.tif")):
        with open_labels(path) as labels:
            maps[path.parent.name] = labels.read_label_rows(0, labels.height)
    return maps


def near_borders(height: int, width: int, window: int, overlap: int) -> np.ndarray:
    """True within NEAR px of a line where a window begins or ends, bool HW; the scene's own edges are no border."""
    near = np.zeros((height, width), bool)
    for axis, length in enumerate((height, width)):
        firsts = even_starts(length, window, overlap)
        lines = {line for first in firsts for line in (first, first + window)} - {0, length}
        for line in lines:
            strip = (0, max(0, line - NEAR), height, 2 * NEAR) if axis else (max(0, line - NEAR), 0, 2 * NEAR, width)
            near[Window(*strip).slices] = True
    return near


def ratio(maps: dict[str, np.ndarray], others: dict[str, np.ndarray], overlap: int) -> tuple[float, float]:
    """(disagreement near borders over disagreement elsewhere, share of all pixels that disagree)."""
    counts = np.zeros((2, 2))
    for name, labels in maps.items():
        near = near_borders(*labels.shape, WINDOW, overlap)
        for side, chosen in enumerate((near, ~near)):
            seen = chosen & (labels != NODATA)
            counts[side] += (np.count_nonzero(seen & (labels != others[name])), np.count_nonzero(seen))
    shares = counts[:, 0] / counts[:, 1]
    return shares[0] / shares[1], counts[:, 0].sum() / counts[:, 1].sum()


def steps(maps: dict[str, np.ndarray], overlap: int) -> float:
    """Label changes across lines where a window begins or ends, over those across all other lines, per pair of pixels.

    Above 1 where seams are drawn into the map.
    """
    counts = np.zeros((2, 2))
    for labels in maps.values():
        for across in (labels, labels.T):
            firsts = even_starts(len(across), WINDOW, overlap)
            lines = {line for first in firsts for line in (first, first + WINDOW)} - {0, len(across)}
            known = (across[1:] != NODATA) & (across[:-1] != NODATA)
            changes = (known & (across[1:] != across[:-1])).sum(axis=1)
            border = np.isin(np.arange(1, len(across)), sorted(lines))
            for side, chosen in enumerate((border, ~border)):
                counts[side] += (changes[chosen].sum(), known.sum(axis=1)[chosen].sum())
    shares = counts[:, 0] / counts[:, 1]
    return shares[0] / shares[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data_dir", type=Path, default=ROOT / "data" / "sample")
    args = parser.parse_args()
    paths = sorted(Workspace(args.data_dir).models.glob("*/*/best.pt"))
    if not paths:
        parser.error(f"no trained network under {args.data_dir}: run make demo first")
    best = max(paths, key=lambda path: load_checkpoint(path).score)
    others = predict(args.data_dir, best, OTHER, 256)
    print(f"{best}: windows of {WINDOW}, against windows of {OTHER} that share 256 px")
    for overlap in (128, 0):
        maps = predict(args.data_dir, best, WINDOW, overlap)
        near, share = ratio(maps, others, overlap)
        print(f"overlap {overlap:3d}: {share:.2%} of all pixels differ; at borders over elsewhere {near:.2f};")
        print(f"             label changes across border lines over other lines {steps(maps, overlap):.2f}")


if __name__ == "__main__":
    main()
