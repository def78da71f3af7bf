"""What is round every command: mistakes in one line, Ctrl-C, and a standard output that may be closed or narrow."""

import errno
import functools
import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress

from jingwei.cli.wording import say, spelled
from jingwei.errors import JingweiError, OutputError
from jingwei.system.progress import spell_seconds


def command(work: Callable[..., str | None]) -> Callable[..., None]:
    """Turns a user's mistake into one line and status 2, and Ctrl-C into status 130.

    Where `work` returns what to do next, the last line tells that, and how long it took.
    """

    @functools.wraps(work)
    def guarded(*args, **kwargs):
        if isinstance(sys.stdout, _Output):  # called by another command, which sees to all that
            return work(*args, **kwargs)
        begun = time.perf_counter()
        try:
            with _guarded_output():
                following = work(*args, **kwargs)
                if following:
                    say(f"done in {spell_seconds(time.perf_counter() - begun)}; next: {following}")
        except JingweiError as error:
            print(f"error: {spelled(str(error))}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt as stop:
            if os.environ.get("RANK", "0") == "0":
                print(spelled(str(stop)) or "stopped; the same command goes on from what is done", file=sys.stderr)
            sys.exit(128 + getattr(stop, "signal_number", 2))
        except BrokenPipeError:  # `evaluate.py | head`
            sys.exit(1)

    return guarded


class _Output:
    """A stream whose failed writes become one line: a full disk behind `> FILE`. All else is the stream's own."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._told():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._told():
            self._stream.flush()

    @contextmanager
    def _told(self):
        try:
            yield
        except BrokenPipeError:  # whoever read has seen enough
            raise
        except OSError as error:
            remedy = "free some space, or send it elsewhere" if error.errno == errno.ENOSPC else "send it elsewhere"
            raise OutputError("standard output", f"can't be written ({error.strerror or error})", remedy) from error


@contextmanager
def _guarded_output():
    """Standard output that goes line by line, and prints what its encoding lacks as \\uXXXX.

    One that can't be written raises OutputError or BrokenPipeError. A closed one swallows all: results are in files,
    and the status says how it went.
    """
    _hold_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a notebook or a test has put its own
            stream.reconfigure(errors="backslashreplace")
    plain = sys.stdout
    if plain is None:  # `>&-`
        with open(os.devnull, "w") as sys.stdout:
            try:
                yield
            finally:
                sys.stdout = plain
        return
    if hasattr(plain, "reconfigure"):
        plain.reconfigure(line_buffering=True)  # a log file shows each epoch when it ends
    sys.stdout = _Output(plain)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except (BrokenPipeError, OutputError):
        _give_up(plain)
        raise
    finally:
        sys.stdout = plain


def _hold_closed_streams() -> None:
    """Opens nothing at the numbers of streams that are closed (`2>&-`).

    Else the first files that are opened get these numbers, and what a library in C complains of goes into them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _give_up(stream) -> None:
    """What a stream that can't be written still holds goes nowhere: else the interpreter complains at its end."""
    with suppress(OSError, ValueError, AttributeError):
        stream.flush()
        return
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
