"""Window geometry: pure integer arithmetic, no arrays, no files.

Every window lies inside its scene: the last one of a row or column is pulled back, never padded with something that a
network could learn from. A scene narrower than a window gives one window of the scene's own width.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple


class Window(NamedTuple):
    """A rectangle of pixels: rows `row` to `row + height`, columns `col` to `col + width`."""

    row: int
    col: int
    height: int
    width: int

    @property
    def row_end(self) -> int:
        return self.row + self.height

    @property
    def col_end(self) -> int:
        return self.col + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Indexes an array whose first two axes are rows and columns of the whole scene."""
        return slice(self.row, self.row_end), slice(self.col, self.col_end)

    def relative_to(self, row: int, col: int) -> "Window":
        """The same pixels, counted from another origin."""
        return self._replace(row=self.row - row, col=self.col - col)

    def overlap(self, other: "Window") -> "Window | None":
        """The pixels that both windows have, or None."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row_end, other.row_end) - row
        width = min(self.col_end, other.col_end) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def grown(self, margin: int, height: int, width: int) -> "Window":
        """The window with `margin` pixels more on every side, cut off at a scene of `height` x `width`."""
        row, col = max(0, self.row - margin), max(0, self.col - margin)
        row_end, col_end = min(height, self.row_end + margin), min(width, self.col_end + margin)
        return Window(row, col, row_end - row, col_end - col)


def starts(length: int, size: int, stride: int) -> list[int]:
    """First pixels of the windows of `size` that cover 0 .. `length` every `stride` pixels; the last is pulled back."""
    if min(length, size, stride) < 1:
        raise ValueError(f"length {length}, size {size} and stride {stride} must be positive")
    if stride > size:
        raise ValueError(f"stride {stride} leaves gaps between windows of {size}")
    if length <= size:
        return [0]
    regular = list(range(0, length - size, stride))
    return [*regular, length - size]


def even_starts(length: int, size: int, overlap: int) -> list[int]:
    """First pixels of as few windows of `size` as cover 0 .. `length` with `overlap` px or more, spread evenly.

    Pulling only the last window back could make it overlap its neighbour almost wholly.
    """
    if not 0 <= overlap < size or length < 1:
        raise ValueError(f"length {length}, size {size}, overlap {overlap}")
    if length <= size:
        return [0]
    steps = -(-(length - size) // (size - overlap))
    return [(length - size) * k // steps for k in range(steps + 1)]


def windows(height: int, width: int, size: int, stride: int) -> Iterator[Window]:
    """The windows that cover a scene, left to right, then top to bottom."""
    cols = starts(width, size, stride)
    for row in starts(height, size, stride):
        for col in cols:
            yield Window(row, col, min(size, height), min(size, width))


def far_apart(rows: int, cols: int) -> Iterator[tuple[int, int]]:
    """Places (row, col) in a rectangle without end, any first few of them far apart: Roberts' R2 sequence, in integers.

    A place may come again; sooner or later each one comes.
    """
    row_step, col_step = 3_242_174_889, 2_447_445_414  # 2^32 / p and 2^32 / p^2, where p^3 = p + 1
    y = x = 1 << 31
    while True:
        y, x = (y + row_step) % (1 << 32), (x + col_step) % (1 << 32)
        yield y * rows >> 32, x * cols >> 32


def strips(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """(first, end) of the strips of `rows` rows, top to bottom; the last may be shorter."""
    for first in range(0, height, rows):
        yield first, min(first + rows, height)


class Blocks:
    """A partition of a scene into rectangles of about `side` pixels: the units of the split into train and validation.

    Edges lie on multiples of `side`, so that crops cut on the same multiples fall into one block each. A last block
    narrower than half a side joins its neighbour. The longer axis has two blocks at least, or nothing could be split.
    """

    def __init__(self, height: int, width: int, side: int):
        self.height, self.width = height, width
        self.row_edges = _edges(height, side, at_least=2 if height > width else 1)
        self.col_edges = _edges(width, side, at_least=1 if height > width else 2)

    def __len__(self) -> int:
        return (len(self.row_edges) - 1) * (len(self.col_edges) - 1)

    def at(self, row: int, col: int) -> int:
        """The number of the block that holds a pixel."""
        across = len(self.col_edges) - 1
        return (bisect_right(self.row_edges, row) - 1) * across + bisect_right(self.col_edges, col) - 1

    def of(self, window: Window) -> int:
        """The number of the block that holds the window's centre."""
        return self.at(window.row + window.height // 2, window.col + window.width // 2)

    def window(self, number: int) -> Window:
        """The rectangle of a block."""
        i, j = divmod(number, len(self.col_edges) - 1)
        row, col = self.row_edges[i], self.col_edges[j]
        return Window(row, col, self.row_edges[i + 1] - row, self.col_edges[j + 1] - col)

    def touching(self, window: Window) -> Iterator[int]:
        """The numbers of the blocks that share pixels with a window."""
        last_row, last_col = window.row_end - 1, window.col_end - 1
        across = len(self.col_edges) - 1
        for i in range(bisect_right(self.row_edges, window.row) - 1, bisect_right(self.row_edges, last_row)):
            for j in range(bisect_right(self.col_edges, window.col) - 1, bisect_right(self.col_edges, last_col)):
                yield i * across + j


def _edges(length: int, side: int, at_least: int) -> list[int]:
    count = max(1, (length + side // 2) // side)
    if count < at_least <= length:
        return [length * k // at_least for k in range(at_least + 1)]
    return [k * side for k in range(count)] + [length]
