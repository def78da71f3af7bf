"""How far more cores help: every step on 1, 2 and more of them.

    python benchmarks/scaling.py [--size 8000x8000] [--cores 1 2] [--steps cut_test vote ...] [--repeat 3 --minutes 5]

Runs are those of `peers.py`, with its inputs, each a process of its own that gets so many cores; rounds go in turn, and
of each the fastest counts. The serial share is the part of the work that one core alone did, by Amdahl's law from
the wall times of the fewest and the most cores: it needs a machine with nothing else to do. So do the cores in use, CPU
seconds over wall seconds. What numba compiles has to be compiled before: `python -m jingwei.cli.compile_ahead`.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from measure import ROOT, Measured, attempt
from peer_groups import Inputs, cut, polygons, predict, script, sieve, vote


def steps(have: Inputs) -> dict[str, Callable[[], list]]:
    """What makes the command of each step; inputs are made here."""
    tiles, crops = cut(have)[:2]
    network = predict(have)[0]
    network.prepare()
    project = have.folder / "county"
    return {
        "cut_train": crops.command,
        "cut_test": tiles.command,
        "predict": network.command,
        "vote": vote(have)[0].command,
        "fill": sieve(have)[0].command,
        "polygons": polygons(have)[0].command,
        "evaluate": lambda: script("evaluate.py", "--prediction", have.map(0.02), "--label", have.map()),
        "report": lambda: script("report.py", "--data_dir", project, "--output", have.fresh("report")),
    }


def serial_share(few: int, many: int, slow: float, fast: float) -> float:
    """The share of the work that does not spread, from the seconds on `few` and on `many` cores (Amdahl).

    With a share s of the time that one core takes, n cores take s + (1 - s) / n of it. 0 where all spreads, 1 where
    nothing does; what the clock says beyond that is noise.
    """
    ratio = fast / slow
    share = (ratio / few - 1 / many) / (1 - 1 / many - ratio * (1 - 1 / few))
    return min(1.0, max(0.0, share))


def table(found: dict[str, dict[int, Measured]]) -> str:
    """A line per step and number of cores."""
    lines = ["| step | cores | wall s | CPU s | cores in use | peak MiB | serial share |", "|---" * 7 + "|"]
    for name, by_cores in found.items():
        few, many = min(by_cores), max(by_cores)
        for count, (seconds, peak, cpu) in sorted(by_cores.items()):
            share = serial_share(few, many, by_cores[few].seconds, by_cores[many].seconds) if many > few else 0.0
            last = f"{share:.0%}" if count == many > few else ""
            lines.append(
                f"| {name} | {count} | {seconds:.1f} | {cpu:.1f} | {cpu / seconds:.2f} | {peak:.0f} | {last} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--size", default="8000x8000", help="width x height of maps and scene (default 8000x8000)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="how many cores (default 1 2)")
    parser.add_argument("--steps", nargs="+", help="(default: all)")
    parser.add_argument("--repeat", type=int, default=1, help="rounds (default 1)")
    parser.add_argument("--minutes", type=float, default=60, help="no round is begun that would end later (default 60)")
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "benchmark" / "peers", help="inputs and results")
    args = parser.parse_args()
    there = sorted(os.sched_getaffinity(0))
    if max(args.cores) > len(there):
        parser.error(f"--cores {max(args.cores)}: {len(there)} are there")
    width, height = map(int, args.size.lower().split("x"))
    folder = args.folder.resolve() / args.size
    (folder / "made").mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    every = steps(Inputs(folder, width, height))
    unknown = sorted({*(args.steps or ())} - every.keys())
    if unknown:
        parser.error(f"--steps {' '.join(unknown)}: take some of {' '.join(every)}")
    found: dict[str, dict[int, Measured]] = {}
    rounds, longest = 0, 0.0
    while rounds < args.repeat and time.monotonic() - begun + longest < 60 * args.minutes:
        round_begun = time.monotonic()
        for name in args.steps or every:
            for count in args.cores:
                command = every[name]()
                os.sched_setaffinity(0, there[:count])
                status, measured = attempt(command)
                os.sched_setaffinity(0, there)
                if status:
                    sys.exit(f"error: {name}: status {status}: {' '.join(map(str, command))}")
                best = found.setdefault(name, {})
                best[count] = min(best.get(count, measured), measured)
                print(f"{name}, cores {count}: {measured.seconds:.1f} s", file=sys.stderr, flush=True)
        rounds, longest = rounds + 1, max(longest, time.monotonic() - round_begun)
    print(f"{args.size} px, best of {rounds}\n\n{table(found)}")


if __name__ == "__main__":
    main()
