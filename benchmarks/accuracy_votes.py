"""Votes of runs that `accuracy.py` made, beside runs that were given a vote's whole budget.

    python benchmarks/accuracy_votes.py RUNS/ours-*.json --against RUNS/plain-*.json       RUNS: data/accuracy/NAME/runs

The runs of each fold vote: the mean of their probabilities on the pixels that were scored, which costs no training.
What they are held against is the mean over the runs of the same fold that `--against` names. All of it twice: windows
looked at once, and as the mean over their four mirrorings.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from accuracy import in_points
from accuracy_folds import legend_of
from accuracy_score import WAYS, scores_of
from pairing import gain

from jingwei.legend import Legend


def by_fold(paths: list[Path]) -> dict[str, list[Path]]:
    """The result files of each fold."""
    folds: dict[str, list[Path]] = {}
    for path in paths:
        folds.setdefault(json.loads(path.read_text())["job"]["fold"], []).append(path)
    return folds


def vote(paths: list[Path], way: str, legend: Legend) -> float:
    """mIoU of the mean of some runs' probabilities, from the files beside their results."""
    labels, total = None, 0
    for path in paths:
        with np.load(path.with_suffix(".npz")) as seen:
            if labels is not None and not np.array_equal(labels, seen["labels"]):
                raise SystemExit(f"error: {path}: scored on other pixels than {paths[0]}: name runs of one benchmark")
            labels, total = seen["labels"], total + seen[way].astype(np.uint32)
    return scores_of(labels, total, legend)["miou"]


def mean_of_runs(paths: list[Path], way: str) -> float:
    """The mean mIoU of runs, each by itself."""
    results = [json.loads(path.read_text()) for path in paths]
    return float(np.mean([(result if way == "once" else result[way])["miou"] for result in results]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("runs", type=Path, nargs="+", help="result files of the runs that vote")
    parser.add_argument("--against", type=Path, nargs="+", default=[], help="those that the votes are held against")
    args = parser.parse_args()
    voters, others = by_fold(args.runs), by_fold(args.against)
    legend = legend_of(Path(json.loads(args.runs[0].read_text())["job"]["folder"]))
    lines = ["| | looked at | voters | each alone | vote | against | vote minus against |", "|---" * 7 + "|"]
    for way in WAYS:
        gains: list[float] = []
        for fold, paths in voters.items():
            figures = [mean_of_runs(paths, way), vote(paths, way, legend)]
            if fold in others:
                figures.append(mean_of_runs(others[fold], way))
                gains.append(figures[1] - figures[2])
            shown = [f"{figure:.3f}" for figure in figures] + ["-"] * (3 - len(figures))
            last = f"{100 * gains[-1]:+.1f}" if fold in others else "-"
            lines.append(f"| {fold} | {way} | {len(paths)} | {' | '.join(shown)} | {last} |")
        lines.append(f"| all folds | {way} | | | | | {in_points(gain(gains))} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
