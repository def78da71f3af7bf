"""Loops that numpy can't say, compiled by numba, and kept compiled where there is a place to keep them."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Compiled:
    """A loop that is called as its function is: compiled, and without Python's lock.

    numba takes a third of a second to load; the first call does that.
    """

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._loop: Any = None

    def __call__(self, *arguments: Any) -> Any:
        return (self._loop or self.loop)(*arguments)

    @property
    def loop(self) -> Any:
        """numba's own object."""
        if self._loop is None:
            self._loop = _loop(self.__wrapped__)
        return self._loop

    @property
    def _numba_type_(self) -> Any:
        """What numba asks for where another compiled loop calls this one."""
        return self.loop._numba_type_


def compiled(function: Callable) -> Compiled:
    """The function as a compiled loop, whose code is kept for the next run.

    numba keeps it beside the module, else in the user's folder for caches. Where neither can be written (a package that
    is only to be read, a user without a home), it is compiled in each run anew.
    """
    return Compiled(function)


def _loop(function: Callable) -> Any:
    from numba import njit

    loop: Any = njit(nogil=True)(function)
    try:
        loop._cache = _kept()(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
    return loop


@functools.cache
def _kept() -> type:
    """numba's store of compiled code, reading it without half a second of preparation for compiling.

    Before it reads, numba's own loads all that it can compile. Code that is kept needs only the memory manager; where
    none is kept and numba has to compile, it loads the rest itself. And numba takes code for fresh while the loop's own
    file is as it was; here, what the loop takes from other files must be so too.
    """
    from numba.core.caching import FunctionCache
    from numba.core.runtime import rtsys

    class Kept(FunctionCache):
        def __init__(self, function: Callable):
            super().__init__(function)
            self._cache_file._source_stamp = (self._cache_file._source_stamp, _taken(function))

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)

    return Kept


def _taken(function: Callable) -> dict[str, Any]:
    """What a loop finds by name outside itself: sources of the loops that it calls, and of those theirs; constants."""
    taken: dict[str, Any] = {}
    waiting = [function]
    while waiting:
        caller: Any = waiting.pop()
        for name in sorted(set(caller.__code__.co_names) & caller.__globals__.keys()):
            value = caller.__globals__[name]
            key = f"{caller.__module__}.{name}"
            if isinstance(value, int | float | str | tuple):
                taken[key] = repr(value)
            elif isinstance(value, Compiled) and key not in taken:
                taken[key] = _digest(value.__wrapped__.__code__.co_filename)
                waiting.append(value.__wrapped__)
    return taken


@functools.cache
def _digest(source: str) -> str:
    """Of a file's content; the name itself where it is no file (a package in an archive)."""
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if Path(source).is_file() else source
