"""Which share of a step's CPU time one thread has: so much of it can't be spread over cores as the step is built.

    python benchmarks/thread_shares.py [--size 8000x8000]

Each step is called twice in this process; the second call counts. Other work on the machine makes all threads slower,
but hardly changes their shares.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from peer_groups import SMALLEST, Inputs

from jingwei import api


def shares(call: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of this thread and of all."""
    thread, process = time.thread_time(), time.process_time()
    call()
    return time.thread_time() - thread, time.process_time() - process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--size", default="8000x8000", help="width x height of the map (default 8000x8000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        have = Inputs(Path(name), *map(int, args.size.lower().split("x")))
        noisy, fields = have.map(0.01), have.map()
        steps = {
            f"fill, --min_area {SMALLEST}": lambda: api.fill(noisy, have.fresh("small.tif"), min_area=SMALLEST),
            "fill holes": lambda: api.fill(noisy, have.fresh("holes.tif")),
            "polygons": lambda: api.polygonize(fields, have.fresh("all.gpkg"), background=True),
            "polygons, --simplify 1.5": lambda: api.polygonize(
                fields, have.fresh("drawn.gpkg"), background=True, simplify=1.5
            ),
        }
        print("| | that thread's CPU s | all threads' | share | so at most |", "|---|---|---|---|---|", sep="\n")
        for title, step in steps.items():
            shares(step)
            thread, process = shares(step)
            figures = f"{thread:.2f} | {process:.2f} | {thread / process:.0%} | {process / thread:.2f}"
            print(f"| {title} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
