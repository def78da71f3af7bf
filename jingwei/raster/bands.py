"""A map that comes in portions of any height, given out in bands of one height."""

from collections.abc import Iterable, Iterator

import numpy as np


class BandBuffer:
    """Collects the rows of a map (uint8) into bands of `rows` rows; the last band has what is left.

    Fill `free` from its top, as many rows as you have, and say so by `filled`.
    """

    def __init__(self, height: int, width: int, rows: int):
        self._height, self._width, self._rows = height, width, rows
        self._top, self._used = 0, 0
        self._band = self._new()

    @property
    def free(self) -> np.ndarray:
        """The rows of the band in work that are still to be filled: uint8 HW, a view."""
        return self._band[self._used :]

    @property
    def row(self) -> int:
        """Where the first of them is in the map."""
        return self._top + self._used

    def filled(self, count: int) -> tuple[int, np.ndarray] | None:
        """Takes `count` more rows as filled. Returns (its first row, the band) where that makes it whole."""
        self._used += count
        if self._used < len(self._band):
            return None
        whole = self._top, self._band
        self._top, self._used = self._top + self._used, 0
        self._band = self._new()
        return whole

    def check_whole(self) -> None:
        """Asserts that all rows of the map have come."""
        assert self.row == self._height, f"{self.row} rows of {self._height}"

    def _new(self) -> np.ndarray:
        return np.empty((min(self._rows, self._height - self._top), self._width), np.uint8)


def bands(strips: Iterable[np.ndarray], height: int, width: int, rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, band) of a map that comes as strips (uint8, of any heights), `rows` rows each, less in the last."""
    buffer = BandBuffer(height, width, rows)
    for strip in strips:
        assert strip.dtype == np.uint8, strip.dtype
        assert strip.shape[1] == width, f"{strip.shape[1]} columns of {width}"
        while len(strip):
            assert len(buffer.free), f"more than {height} rows"
            part = strip[: len(buffer.free)]
            buffer.free[: len(part)] = part
            if whole := buffer.filled(len(part)):
                yield whole
            strip = strip[len(part) :]
    buffer.check_whole()
