"""The bands that a scene is predicted in, and the windows of each: integers alone.

Windows are spread evenly, `overlap` px or more over each other. Bands run along the shorter side of the scene, so that
memory follows that side alone.
"""

from dataclasses import dataclass
from functools import cached_property

from jingwei.grid import Window, even_starts
from jingwei.prediction.parts import spread_windows


@dataclass(frozen=True)
class Bands:
    """Where the bands of a scene lie, and their windows.

    All is said as if bands were rows of windows; in a scene wider than high (`turned`), rows and columns change places.
    Of a `part` (see `parts.py`), some windows alone are computed; None computes all.
    """

    height: int  # the longer side
    width: int
    size: int
    overlap: int
    turned: bool
    part: float | None = None

    @classmethod
    def of(cls, shape: tuple[int, int], size: int, overlap: int, part: float | None = None) -> "Bands":
        """The bands of a scene of (height, width)."""
        width, height = sorted(shape)
        return cls(height, width, size, overlap, shape[1] > shape[0], part)

    @cached_property
    def rows(self) -> list[int]:
        """The first row of each band's windows, which is the first row that the band finishes."""
        return even_starts(self.height, self.size, self.overlap)

    @cached_property
    def cols(self) -> list[int]:
        """The first column of each window of a band."""
        return even_starts(self.width, self.size, self.overlap)

    @cached_property
    def ends(self) -> list[int]:
        """The row behind the last one that each band finishes."""
        return [*self.rows[1:], self.height]

    @cached_property
    def _chosen(self) -> list[list[int]]:
        """The numbers of the windows of each band that are computed."""
        if self.part is None:
            return [list(range(len(self.cols)))] * len(self.rows)
        chosen = spread_windows((self.rows, self.height), (self.cols, self.width), self.size, self.part)
        return [[col for col in range(len(self.cols)) if (row, col) in chosen] for row in range(len(self.rows))]

    def computed(self, number: int) -> list[int]:
        """The first column of each window of band `number` that is computed."""
        return [self.cols[col] for col in self._chosen[number]]

    @property
    def window_count(self) -> int:
        """How many windows are computed, blank ones too."""
        return sum(map(len, self._chosen))

    @property
    def window_count_of_all(self) -> int:
        """How many windows the whole scene has."""
        return len(self.rows) * len(self.cols)

    def unsettled(self, number: int, col: int) -> list[tuple[int, int]]:
        """Which pixels of the window at `col` of band `number` lie in windows before it that aren't computed.

        Each of these windows covers its upper left corner, of so many rows and columns.
        """
        corners = []
        for row in range(self.first_needed(number), number + 1):
            computed = set(self.computed(row))
            rows = self.rows[row] + self.size - self.rows[number]
            corners += [
                (rows, other + self.size - col) for other in self.cols
                if col - self.size < other <= col and other not in computed
            ]  # fmt: skip
        return corners

    @property
    def window_shape(self) -> tuple[int, int]:
        """(height, width) of every window, as the file has it."""
        sides = min(self.size, self.height), min(self.size, self.width)
        return sides[::-1] if self.turned else sides

    def __len__(self) -> int:
        return len(self.rows)

    def window(self, number: int) -> Window:
        """The part of the scene that band `number` finishes."""
        first, end = self.rows[number], self.ends[number]
        return self.turn(Window(first, 0, end - first, self.width))

    def first_needed(self, number: int) -> int:
        """The first band whose windows reach into band `number`."""
        return next(i for i, row in enumerate(self.rows) if row + self.size > self.rows[number] or i == number)

    def shared_below(self, number: int) -> int:
        """The rows of band `number`'s windows that lie below what it finishes: in the next band, which adds to them."""
        return max(0, min(self.rows[number] + self.size, self.height) - self.ends[number])

    def turn(self, window: Window) -> Window:
        """A window of the scene as the file has it."""
        return Window(window.col, window.row, window.width, window.height) if self.turned else window
