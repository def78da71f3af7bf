"""Every step beside the other programs that do its work: the same input, the same cores, results compared.

    python benchmarks/peers.py [--size 8000x8000] [--groups polygons sieve ...] [--cores 1] [--repeat 3] [--memory 2048]

Programs of GDAL are those of the system (package gdal-bin); those of PyPI are installed into an environment of their
own, DIR/environments/, beside the packages that are here already. One that is missing or fails is a row that says so.
Runs go in turn, each a process (or tree of them) of its own; of `--repeat` rounds, the one of least CPU time counts.
Ours is to be compiled before, as `make setup` leaves it: `python -m jingwei.cli.compile_ahead` (see `start_up.py` for
what a start takes). The first row of each group is ours; its result is what the others' are compared with. Where
rules differ, the last column says how.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from measure import ROOT, Measured, attempt
from peer_groups import GROUPS, Contender, Inputs
from peer_programs import Absent
from peer_results import Row, table


def measure(contenders: Sequence[Contender], repeat: int, log: Path, limit_mib: float | None = None) -> list[Row]:
    """All of a group, in turn, `repeat` times. Of each, the run of least CPU time, or why there is none."""
    best: dict[str, Measured] = {}
    failed: dict[str, str] = {}
    for contender in contenders:
        contender.prepare()
    for _ in range(repeat):
        for each in contenders:
            if each.name in failed:
                continue
            try:
                with open(log, "w") as output:
                    status, measured = attempt(each.command(), output, limit_mib=limit_mib)
            except Absent as reason:
                failed[each.name] = str(reason)
                continue
            print(f"{each.name}: {measured.seconds:.1f} s, {measured.cpu_seconds:.1f} s of CPU", file=sys.stderr)
            if limit_mib and measured.peak_mib > limit_mib:
                failed[each.name] = f"killed at {limit_mib:.0f} MiB, after {measured.cpu_seconds:.1f} s of CPU"
            elif status:
                failed[each.name] = f"failed: {' '.join(log.read_text(errors='replace').split()[-12:])}"
            else:
                best[each.name] = min(best.get(each.name, measured), measured, key=lambda run: run.cpu_seconds)
    rows = []
    for each in contenders:
        agreement = each.agreement() if each.agreement and each.name not in failed else None
        rows.append(Row(each.name, best.get(each.name), agreement, failed.get(each.name, each.note)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--size", default="8000x8000", help="width x height of maps and scene (default 8000x8000)")
    usual = [name for name in GROUPS if name != "predict"]
    text = "(default: all but predict, which takes far longer and installs half a gigabyte)"
    parser.add_argument("--groups", nargs="+", default=usual, choices=GROUPS, help=text)
    parser.add_argument("--cores", type=int, default=1, help="cores that every program may use (default 1)")
    parser.add_argument("--repeat", type=int, default=1, help="rounds (default 1)")
    parser.add_argument("--memory", type=float, metavar="MIB", help="kill what takes more than this (default: none)")
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "benchmark" / "peers", help="inputs and results")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    width, height = map(int, args.size.lower().split("x"))
    folder = args.folder.resolve() / args.size
    (folder / "made").mkdir(parents=True, exist_ok=True)
    have = Inputs(folder, width, height)
    for name in args.groups:
        rows = measure(GROUPS[name](have), args.repeat, folder / "made" / "log.txt", args.memory)
        limit = f", at most {args.memory:.0f} MiB" if args.memory else ""
        print(f"\n{name}, {args.size} px, {args.cores} core{'s'[: args.cores > 1]}{limit}, best of {args.repeat}\n")
        print(table(rows, width * height / 1e6), flush=True)


if __name__ == "__main__":
    main()
