"""Ctrl-C, SIGTERM and a terminal that closes (SIGHUP) as a wish to stop, looked at where stopping loses nothing."""

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, Self


class Interrupted(KeyboardInterrupt):
    """A run that stopped because it was asked to, after it had kept what it had. `str()` says what to do next."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal_number = signal_number


class Interrupts:
    """A context in which the first SIGINT, SIGTERM or SIGHUP is only noted, in `asked`; a second one acts as usual.

    `answer` is said at once on standard error, since the work goes on to its next good place. In a team, later signals
    do nothing: torchrun repeats them while the leader saves, and in the end it kills. Outside the
    main thread, which alone may catch signals, nothing is noted. Under `nohup` SIGHUP stays ignored.
    """

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self, in_team: bool = False, answer: str = ""):
        self.in_team, self.answer = in_team, answer
        self.asked = 0  # the number of the signal; 0: none came
        self._usual: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._usual = {number: signal.signal(number, self._note) for number in self.SIGNALS if _is_wanted(number)}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.answer and not self.asked:
            with suppress(OSError):  # a terminal that was closed
                os.write(2, f"\n{self.answer}\n".encode())  # not print: the signal may have come in the middle of one
        self.asked = self.asked or number
        if not self.in_team:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._usual.items():
            if handler is not None:  # one that wasn't set from Python can't be set from it either
                signal.signal(number, handler)
        self._usual = {}


def _is_wanted(number: int) -> bool:
    """Whether a signal means something here: `nohup` has a process ignore that its terminal closes."""
    return number != getattr(signal, "SIGHUP", None) or signal.getsignal(number) != signal.SIG_IGN
