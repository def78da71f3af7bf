"""Scripts in processes of their own, forked from one that has loaded the libraries: to load torch takes seconds.

They are real processes, to be killed and to form teams. How a script starts and ends as Python's first file (its
imports, what Python does at its exit) is for the tests that start it with `subprocess`. Their runs draw no curves.
"""

import faulthandler
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from jingwei.legend import Legend
from jingwei.training import log

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = multiprocessing.get_context("forkserver")
LOADED = ["jingwei.models.libraries", "jingwei.training.loop", "jingwei.prediction.scene", "jingwei.crops.cut",
          "jingwei.voting.vote", "jingwei.filling.fill_map"]  # fmt: skip


class Running:
    """A script that runs as the leader of a process group, as a shell's command does, on one thread."""

    def __init__(self, *command, **environment: str):
        """`command`: a script's file, which may be relative to the clone, and its arguments."""
        CONTEXT.set_forkserver_preload(LOADED)
        self._folder = tempfile.TemporaryDirectory(prefix="warm_")
        self._outputs = [Path(self._folder.name, name) for name in ("out", "err")]
        self._alive, held = CONTEXT.Pipe(duplex=False)
        arguments = (list(map(str, command)), environment, self._outputs, held, multiprocessing.get_start_method())
        self._process = CONTEXT.Process(target=_run, args=arguments)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")  # read when torch is loaded, by the process that all are forked from
            self._process.start()
        held.close()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The status, or None while it runs; -9 for kill -9."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9 for all of its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def finish(self, timeout: float = 120) -> tuple[int, str, str]:
        """(status, stdout, stderr) when it and all processes that it started have ended.

        One that hangs is killed, and the test fails with the stacks of its threads.
        """
        ended = self._alive.poll(timeout)  # the end of the pipe: nobody holds it any more
        if not ended:
            self.send_signal(signal.SIGABRT)
            self._process.join(10)
        self.kill()
        self._process.join()
        out, err = (path.read_text("utf-8", "replace") if path.exists() else "" for path in self._outputs)
        self._folder.cleanup()
        assert ended, f"hung for {timeout} s\n{out}\n{err}"
        return self._process.exitcode, out, err


def _run(
    command: list[str], environment: Mapping[str, str], outputs: list[Path], held: Connection, start_method: str
) -> None:
    """What the new process does. It and those that it forks keep `held` open."""
    os.setsid()
    multiprocessing.set_start_method(start_method, force=True)  # for its own processes: as without all this
    for number, path in enumerate(outputs, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    faulthandler.enable()
    log.draw_curves = leave_no_curves
    os.chdir(ROOT)
    os.environ.update(environment)
    script = ROOT / command[0]
    sys.path.insert(0, str(script.parent))
    sys.argv = [str(script), *command[1:]]
    runpy.run_path(str(script), run_name="__main__")


def leave_no_curves(rows: list[dict], legend: Legend, path: Path) -> None:
    """In place of `draw_curves`."""
    path.touch()
