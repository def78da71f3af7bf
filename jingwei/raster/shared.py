"""One raster, read by several threads at once."""

from collections.abc import Callable
from contextlib import ExitStack
from queue import LifoQueue
from typing import Self

import numpy as np

from jingwei.grid import Window
from jingwei.raster.gdal import speaking
from jingwei.raster.reading import Raster


class SharedRaster:
    """A raster that is opened once for each of `threads`, since GDAL lets one thread at a time read what is open.

    `open_raster` opens it. A context manager.
    """

    def __init__(self, open_raster: Callable[[], Raster], threads: int):
        self._free: LifoQueue[Raster] = LifoQueue()
        with ExitStack() as stack:
            stack.enter_context(speaking)  # once: to begin it at every window would take a twelfth of all reading
            for _ in range(threads):
                self._free.put(stack.enter_context(open_raster()))
            self._opened = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """`Raster.read`, on any thread; waits where as many threads as it is opened for are reading."""
        raster = self._free.get()
        try:
            return raster.read(window)
        finally:
            self._free.put(raster)
