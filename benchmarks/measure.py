"""Runs commands as whole processes and tells their time and peak memory, for the benchmarks beside this file."""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SAMPLED_EVERY = 0.05  # seconds, of the memory of a tree of processes


class Measured(NamedTuple):
    """A finished command: wall seconds, peak memory in MiB, and the CPU seconds of all its processes.

    Memory is the resident set of the whole tree of processes, added up every 50 ms (pages that two processes share
    count twice), or the largest process's own peak as the system kept it, whichever is more.
    """

    seconds: float
    peak_mib: float
    cpu_seconds: float


def run(*command: str, quiet: bool = False) -> Measured:
    """Runs `python COMMAND` from the project's root. Exits with the command's status where it fails."""
    print("$ python", *(part if "\n" not in part else "..." for part in command), flush=True)
    status, measured = attempt([sys.executable, *command], output=subprocess.DEVNULL if quiet else None)
    if status:
        sys.exit(status)
    return measured


def attempt(
    command: Sequence[str | Path],
    output=subprocess.DEVNULL,
    cwd: Path = ROOT,
    limit_mib: float | None = None,
    **env: str,
) -> tuple[int, Measured]:
    """Runs any command in a folder: its status and figures. `output` takes what it prints; None shows it.

    A tree of processes that takes more than `limit_mib` of memory is killed, as a machine without more would do.
    Python keeps its bytecode, as it does for everybody who does not forbid it.
    """
    env = {name: value for name, value in (os.environ | env).items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.NamedTemporaryFile("r") as report:
        # Through a small process: the system counts a child's peak from the memory of whoever starts it.
        launcher = [sys.executable, __file__, report.name, str(limit_mib or math.inf), *map(str, command)]
        errors = None if output is None else subprocess.STDOUT
        done = subprocess.run(launcher, cwd=cwd, stdout=output, stderr=errors, env=env)
        return done.returncode, Measured(*json.load(report))


def launch(report: str, limit_mib: str, *command: str) -> int:
    """Runs a command, writes [seconds, peak MiB, CPU seconds] to the file `report`; returns the command's status.

    The command is killed where it takes more than `limit_mib`.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(command)
    ended, peaks = threading.Event(), [0]
    sampler = threading.Thread(target=_sample, args=(process.pid, ended, peaks, float(limit_mib) * 2**20))
    sampler.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    ended.set()
    sampler.join()
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 2**10)
    figures = [seconds, max(largest, *peaks) / 2**20, usage.ru_utime + usage.ru_stime]
    Path(report).write_text(json.dumps(figures))
    return os.waitstatus_to_exitcode(status)


def _sample(pid: int, ended: threading.Event, peaks: list[int], limit: float) -> None:
    while not ended.wait(SAMPLED_EVERY):
        tree = memory_of_tree(pid)
        peaks[0] = max(peaks[0], sum(tree.values()))
        if peaks[0] > limit:
            for each in tree:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)


def memory_of_tree(pid: int) -> dict[int, int]:
    """Bytes resident in a process and in all that it has started, by process; none where the system doesn't tell."""
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        children = [c for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:  # it has ended, or there is no /proc
        return {}
    tree = {pid: resident}
    for child in children:
        tree |= memory_of_tree(int(child))
    return tree


def side_by_side(rows: list[tuple[str, Measured]], megapixels: float, base: float) -> str:
    """A table: wall and CPU seconds, Mpx/s, ratio to `base` seconds, peak MiB."""
    width = max(len(name) for name, _ in rows)
    lines = [f"{'':{width}}   wall s    CPU s    Mpx/s    ratio   peak MiB"]
    for name, (seconds, peak, cpu) in rows:
        figures = f"{seconds:8.1f} {cpu:8.1f} {megapixels / seconds:8.1f} {seconds / base:8.2f} {peak:10.0f}"
        lines.append(f"{name:{width}} {figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(launch(*sys.argv[1:]))
