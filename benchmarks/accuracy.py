"""Recipes beside a fair plain loop: each scene left out in turn, several seeds, paired differences with intervals.

    python benchmarks/accuracy.py FOLDER --groups image_2 image_5 image_4+image_7+image_8
    python benchmarks/accuracy.py FOLDER --blocks 2                    one large scene, cut into four
    python benchmarks/accuracy.py FOLDER --fields 4 --crop_size 64     one scene with labelled fields
    python benchmarks/accuracy.py FOLDER --arms plain ours mine=cross_entropy,ema=0.99,jitter=0.2

FOLDER holds labelled pictures (image_N.EXT, image_N_label.png) and legend.json, or a project's scenes. Every arm trains
the same U-Net for the same CPU seconds on one core (see `accuracy_run.py`), from random weights, or from `--weights`.
Each run leaves a file, so that a call that was stopped goes on, and one with more arms or seeds does only what is new.
The first arm is the one that the others are compared with.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import numpy as np
from accuracy_arms import parse_arm
from accuracy_folds import Fold, folds_of, legend_of
from pairing import Gain, gain_over_folds, paired_gain

ROOT = Path(__file__).resolve().parent.parent


def jobs_of(args: argparse.Namespace, folds: list[Fold]) -> list[dict]:
    """Every run as JSON has it, in an order that completes pairs early: seed by seed, fold by fold, arm by arm."""
    names = ("backbone", "weights", "crop_size", "batch_size", "cpu_seconds", "score_windows")
    shared = {name: getattr(args, name) for name in names} | {"folder": str(args.folder.resolve())}
    jobs = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for fold in folds:
            sides = {side: [list(map(str, pair)) for pair in getattr(fold, side)] for side in ("train", "test")}
            for text in args.arms:
                name, recipe, changes = parse_arm(text)
                arm = {"arm": name, "recipe": recipe, "changes": changes, "seed": seed, "fold": fold.name}
                jobs.append(shared | arm | sides | {"work": str(args.work.resolve() / "cut" / fold.name)})
    return jobs


def result_path(job: dict, work: Path) -> Path:
    """The file of a run: of other settings, another one."""
    mark = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:10]
    return work / "runs" / f"{job['arm']}-{job['fold']}-{job['seed']}-{mark}.json"


def run_job(job: dict, path: Path, core: int) -> None:
    """Runs a job as a process of its own on one core; its output goes into a file beside its result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    todo = path.with_suffix(".job")
    todo.write_text(json.dumps(job))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("accuracy_run.py")), str(todo), str(path)]
    with open(path.with_suffix(".log"), "w") as log:
        pinned = {"env": environment, "preexec_fn": lambda: os.sched_setaffinity(0, {core})}
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, **pinned).returncode
    if status:
        sys.exit(f"error: {path.with_suffix('.log')}: the run ended with {status}: see its last lines")


def run_all(jobs: list[dict], work: Path, cores: list[int], execute: Callable[[dict, Path, int], None]) -> list[dict]:
    """Runs what has no result yet, one job a core at a time; returns all results, each with its job."""
    free, failed = Queue(), threading.Event()
    for core in cores:
        free.put(core)

    def work_on(job: dict) -> dict:
        path = result_path(job, work)
        if not path.exists():
            core = free.get()
            try:
                if failed.is_set():
                    raise CancelledError
                execute(job, path, core)
            except BaseException:
                failed.set()  # no other begins: what failed would mostly fail again
                raise
            finally:
                free.put(core)
            result = json.loads(path.read_text())
            print(
                f"{job['arm']:>20} {job['fold']:>20} seed {job['seed']}: mIoU {result['miou']:.3f}, "
                f"{result['steps']} steps, {result['cpu_seconds']:.0f} CPU s",
                flush=True,
            )
        return json.loads(path.read_text()) | {"job": job}

    with ThreadPoolExecutor(len(cores)) as pool:
        return list(pool.map(work_on, jobs))


def in_points(gain: Gain) -> str:
    """`+3.1 (+0.4 to +5.8)`, in points of mIoU."""
    if not gain.pairs:
        return "-"
    if gain.pairs == 1:
        return f"{100 * gain.mean:+.1f}"
    return f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def table(results: list[dict], names: list[str]) -> str:
    """One Markdown table: per arm its runs, steps, CPU seconds, mIoU, paired gains over the first arm, IoU by class."""
    scores: dict[str, dict] = {}
    by_arm: dict[str, list[dict]] = {}
    for result in results:
        job = result["job"]
        scores.setdefault(job["arm"], {})[(job["fold"], job["seed"])] = result["miou"]
        by_arm.setdefault(job["arm"], []).append(result)
    base = next(iter(scores))
    lines = [
        f"| | runs | steps | CPU s | mIoU | minus {base}, over runs | over folds | {' | '.join(names)} |",
        "|---" * (7 + len(names)) + "|",
    ]
    for arm, runs in by_arm.items():
        iou = np.array([[np.nan if v is None else v for v in run["iou"]] for run in runs], float)
        means = [f"{np.nanmean(column):.3f}" if not np.isnan(column).all() else "-" for column in iou.T]
        gains = ["", ""]
        if arm != base:
            gains = [in_points(of(scores[arm], scores[base])) for of in (paired_gain, gain_over_folds)]
        figures = [
            str(len(runs)),
            f"{np.mean([run['steps'] for run in runs]):.0f}",
            f"{np.mean([run['cpu_seconds'] for run in runs]):.0f}",
            f"{np.mean([run['miou'] for run in runs]):.3f}",
        ]
        lines.append(f"| {' | '.join([arm, *figures, *gains, *means])} |")
    return "\n".join(lines)


def by_fold(results: list[dict]) -> str:
    """The mean mIoU of each arm on each fold, a line an arm."""
    folds = list(dict.fromkeys(result["job"]["fold"] for result in results))
    lines = [f"| | {' | '.join(folds)} |", "|---" * (1 + len(folds)) + "|"]
    for arm in dict.fromkeys(result["job"]["arm"] for result in results):
        found = [[r["miou"] for r in results if (r["job"]["arm"], r["job"]["fold"]) == (arm, fold)] for fold in folds]
        lines.append(f"| {arm} | {' | '.join(', '.join(f'{score:.3f}' for score in each) for each in found)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arms", nargs="+", default=["plain", "ours"], help="plain, names of accuracy_arms.py, or own")
    parser.add_argument("--groups", nargs="+", help="scenes left out, those joined by + together (default: one by one)")
    parser.add_argument("--blocks", type=int, default=0, help="cut the first scene into so many blocks a side")
    parser.add_argument(
        "--fields", type=int, default=0, help="share the fields of the first scene out over so many folds"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--cpu_seconds", type=float, default=180, help="of training for each run")
    parser.add_argument("--crop_size", type=int, default=256, help="of every arm, px")
    parser.add_argument("--batch_size", type=int, default=8, help="of every arm")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", help="weights for the encoder, of every arm")
    parser.add_argument("--score_windows", type=int, default=48, help="windows of 512 px that are scored in each fold")
    parser.add_argument("--cores", type=int, nargs="+", help="one run at a time on each (default: the last one alone)")
    parser.add_argument("--work", type=Path, help="folder to work in (default: data/accuracy/NAME of FOLDER)")
    parser.add_argument("--table", action="store_true", help="only print the table of the runs that are there")
    args = parser.parse_args()
    args.work = (args.work or ROOT / "data" / "accuracy" / args.folder.resolve().name).resolve()
    folds = folds_of(args.folder.resolve(), args.work, args.groups, args.blocks, args.fields)
    jobs = jobs_of(args, folds)
    if args.table:
        jobs = [job for job in jobs if result_path(job, args.work).exists()]
    results = run_all(jobs, args.work, args.cores or sorted(os.sched_getaffinity(0))[-1:], run_job)
    if results:
        print(table(results, list(legend_of(args.folder).names)), by_fold(results), sep="\n\n")


if __name__ == "__main__":
    main()
