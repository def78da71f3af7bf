"""Runs commands as whole processes and tells their time and peak memory, for the benchmarks beside this file."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Measured(NamedTuple):
    """A finished command: wall seconds, and the peak resident memory of its largest process in MiB."""

    seconds: float
    peak_mib: float


def run(*command: str, quiet: bool = False) -> Measured:
    """Runs `python COMMAND` from the project's root. Exits with the command's status where it fails."""
    print("$ python", *(part if "\n" not in part else "..." for part in command), flush=True)
    with tempfile.NamedTemporaryFile("r") as report:
        output = subprocess.DEVNULL if quiet else None
        # Through a small process: the system counts a child's peak from the memory of whoever starts it.
        launcher = [sys.executable, __file__, report.name, sys.executable, *command]
        status = subprocess.run(launcher, cwd=ROOT, stdout=output).returncode
        if status:
            sys.exit(status)
        return Measured(*json.load(report))


def launch(report: str, *command: str) -> int:
    """Runs a command, writes [seconds, peak MiB] to the file `report`; returns the command's status."""
    begun = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    Path(report).write_text(json.dumps([seconds, usage.ru_maxrss / per_mib]))
    return os.waitstatus_to_exitcode(status)


def side_by_side(rows: list[tuple[str, Measured]], megapixels: float, base: float) -> str:
    """A table: seconds, Mpx/s, ratio to `base` seconds, peak MiB."""
    width = max(len(name) for name, _ in rows)
    lines = [f"{'':{width}}   wall s    Mpx/s    ratio   peak MiB"]
    for name, (seconds, peak) in rows:
        lines.append(f"{name:{width}} {seconds:8.1f} {megapixels / seconds:8.1f} {seconds / base:8.2f} {peak:10.0f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(launch(*sys.argv[1:]))
