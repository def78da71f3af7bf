"""States of the whole process (filters of warnings, a size of a cache), set while they are needed and put back then."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager


class WhileUsed:
    """A context manager for any number of threads at once: the first to come sets a state, the last to go puts it back.

    `state` makes the context manager that does both; they may be called on different threads.
    """

    def __init__(self, state: Callable[[], AbstractContextManager]):
        self._state, self._lock = state, threading.Lock()
        self._users = 0
        self._held: AbstractContextManager | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                held = self._state()
                held.__enter__()
                self._held = held
            self._users += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._held is not None:
                held, self._held = self._held, None
                held.__exit__(None, None, None)
