"""What arms gained over another on several sets together, from the runs that `accuracy.py` made on each.

    python benchmarks/accuracy_sets.py data/accuracy/*/runs/*.json --base plain --arms ours ours_radar

A pair is two runs of one fold and one seed with the same budget, windows, encoder and weights. Each line is a set with
one such setting; the last one pools all, where all pairs of one fold, whatever their setting, count as one.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from accuracy import in_points
from pairing import gain_over_folds, paired_gain

# Runs are held against each other where these are alike.
SETTINGS = ("folder", "cpu_seconds", "backbone", "weights", "crop_size", "batch_size", "score_windows")
Key = tuple[str, str, tuple]  # set, fold, and what tells the runs of a fold apart: settings and seed


def scores_of_arms(results: list[dict], arms: list[str]) -> dict[Key, float]:
    """The mIoU of each run of some arms. ValueError for two runs of one key: arms that can't be told apart."""
    scores: dict[Key, float] = {}
    for result in results:
        job = result["job"]
        if job["arm"] not in arms:
            continue
        key = Path(job["folder"]).name, job["fold"], (*(job[name] for name in SETTINGS), job["seed"])
        if key in scores:
            raise ValueError(f"two runs of {key}: name arms that were not run on the same folds")
        scores[key] = result["miou"]
    return scores


def table(results: list[dict], base: str, arms: list[str]) -> str:
    """One Markdown table: a line a set and setting, and one of all together."""
    ours, others = scores_of_arms(results, arms), scores_of_arms(results, [base])
    pairs = [key for key in ours if key in others]
    lines = [
        f"| set | CPU s | encoder | pairs | {base} | {', '.join(arms)} | gain over runs | over folds |",
        "|---" * 8 + "|",
    ]
    settings = dict.fromkeys((key[0], key[2][:-1]) for key in pairs)
    for name, setting in [*settings, ("all", None)]:
        here = {key for key in pairs if setting is None or (key[0], key[2][:-1]) == (name, setting)}
        left, right = ({key: scores[key] for key in here} for scores in (others, ours))
        if not here:
            continue
        known = dict(zip(SETTINGS, setting or (), strict=False))
        encoder = "" if setting is None else f"{known['backbone']}, {'pretrained' if known['weights'] else 'scratch'}"
        seconds = f"{known['cpu_seconds']:.0f}" if setting else ""
        means = [f"{np.mean(list(scores.values())):.3f}" for scores in (left, right)]
        gains = [in_points(of(right, left)) for of in (paired_gain, gain_over_folds)]
        lines.append(f"| {' | '.join([name, seconds, encoder, str(len(here)), *means, *gains])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("runs", type=Path, nargs="+", help="result files of runs on any sets")
    parser.add_argument("--base", default="plain", help="the arm that the others are held against")
    parser.add_argument("--arms", nargs="+", default=["ours"], help="one arm, or one for each set")
    args = parser.parse_args()
    print(table([json.loads(path.read_text()) for path in args.runs], args.base, args.arms))


if __name__ == "__main__":
    main()
