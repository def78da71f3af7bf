"""Loops that numpy can't say, compiled by numba, and kept compiled where there is a place to keep them."""

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """The function compiled without Python's lock; its code is kept for the next run.

    numba keeps it beside the module, else in the user's folder for caches. Where neither can be written (a package that
    is only to be read, a user without a home), it is compiled in each run anew.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return njit(nogil=True)(function)
