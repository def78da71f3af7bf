"""Loops that numpy can't say, compiled by numba, and kept compiled where there is a place to keep them."""

import functools
from collections.abc import Callable
from typing import Any


class Compiled:
    """A loop that is called as its function is: compiled, and without Python's lock.

    numba takes a third of a second to load; the first call does that.
    """

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function)
        self._function, self._loop = function, None

    def __call__(self, *arguments: Any) -> Any:
        return (self._loop or self.loop)(*arguments)

    @property
    def loop(self) -> Any:
        """numba's own object."""
        if self._loop is None:
            self._loop = _loop(self._function)
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
    none is kept and numba has to compile, it loads the rest itself.
    """
    from numba.core.caching import FunctionCache
    from numba.core.runtime import rtsys

    class Kept(FunctionCache):
        def load_overload(self, sig: Any, target_context: Any) -> Any:
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)

    return Kept
