"""The contest script's own rule for holes: a square frame slides over the map, and what it wholly surrounds is filled.

`Framed` goes down a map once. Of each size of frame, it holds as many rows as the frame is high. Whether a frame's
sides are one class is known from lengths of runs along its rows and down its columns, which are kept up to date.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from itertools import tee
from typing import NamedTuple

import numpy as np

from jingwei.filling.holes import BAND_ROWS, Band
from jingwei.legend import NODATA
from jingwei.raster.bands import bands
from jingwei.system.compiled import compiled


class Framed:
    """A label map with the background filled that square frames surround.

    A frame of `size` x `size` pixels stands at rows 0, step, 2 step ... and columns 0, step, 2 step ..., wherever it
    lies wholly inside the map. Where all pixels of its four sides are one class, other than background and NODATA,
    every background pixel inside becomes that class. Frames come row by row, from left to right, and see what those
    before them have filled; the next of the `sizes` begins when the last has gone over the whole map.

    That is the rule of the script with which the contest's teams filled holes (sizes 500 and 400, step 50). It went on
    with frames that reach beyond the map, and failed with an index error there. It misses holes between two steps,
    takes background of any shape inside a frame, and leaves holes near the edge; `holes.Filled` does not.

    Parameters
    ----------
    strips
        Starts a pass over the map, top to bottom: an iterator of uint8 arrays of the full width, of any heights.
    height, width
        Of the map, in pixels.
    background
        The class that is filled.
    sizes, step
        Sides of the frames and the distance of their positions, in pixels. In memory are about two times the first
        and the largest size, in rows.
    classes
        Classes whose frames count; None takes all.
    progress
        Called with a number of pixels as they are done, `passes` times the map's in all.

    Iterating does the work and gives `Band`s. After that, `changed[a, b]` (int64, 256 x 256) has the pixels that went
    from class a to class b.
    """

    passes = 1

    def __init__(
        self,
        strips: Callable[[], Iterable[np.ndarray]],
        height: int,
        width: int,
        *,
        background: int = 0,
        sizes: Sequence[int] = (500, 400),
        step: int = 50,
        classes: Collection[int] | None = None,
        progress: Callable[[int], object] = lambda pixels: None,
    ):
        if step < 1 or min(sizes, default=1) < 1:
            raise ValueError(f"sizes {sizes} and step {step} must be 1 or more")
        self._strips, self._height, self._width, self._progress = strips, height, width, progress
        fillable = np.zeros(256, bool)
        fillable[list(range(NODATA) if classes is None else classes)] = True
        fillable[background] = False
        fitting = [size for size in sizes if size <= min(height, width)]  # no room for the rows of others is taken
        self._plans = [_plan(height, width, size, step, background, fillable) for size in fitting]
        self.changed = np.zeros((256, 256), np.int64)

    def __iter__(self) -> Generator[Band]:
        self.changed[:] = 0
        before, strips = tee(self._read())  # keeps the rows whose result is still to come
        for plan in self._plans:
            strips = _slid(strips, plan)
        both = (bands(source, self._height, self._width, BAND_ROWS) for source in (before, strips))
        for (top, old), (_, labels) in zip(*both, strict=True):
            yield Band(top, labels, _compare(old, labels, top, self.changed))

    def _read(self) -> Iterator[np.ndarray]:
        for strip in self._strips():
            yield strip
            self._progress(strip.size)


class _Plan(NamedTuple):
    """The frames of one size. `columns` are those of all their sides; `lefts`, `rights` say which, frame by frame."""

    size: int
    step: int
    background: int
    fillable: np.ndarray
    columns: np.ndarray
    lefts: np.ndarray
    rights: np.ndarray
    rows: int  # rows that have frames beginning there


def _plan(height: int, width: int, size: int, step: int, background: int, fillable: np.ndarray) -> _Plan:
    left = np.arange(0, width - size + 1, step)
    columns = np.unique(np.concatenate([left, left + size - 1]))
    places = np.searchsorted(columns, left), np.searchsorted(columns, left + size - 1)
    across = len(range(0, height - size + 1, step)) if len(left) else 0
    return _Plan(size, step, background, fillable, columns, *places, across)


def _slid(strips: Iterator[np.ndarray], plan: _Plan) -> Iterator[np.ndarray]:
    """Pieces of the map after all frames of one size. A piece is only good until the next one."""
    held = None
    first = end = 0  # rows of the map that are held
    done = 0  # rows of frames that are done
    for strip in strips:
        width = strip.shape[1]
        if held is None:
            held = np.empty((plan.size + BAND_ROWS, width), np.uint8)
            depth = np.zeros(len(plan.columns), np.int64)
            # Background pixels of each square of step x step, of as many rows of squares as lie under a frame.
            cells = np.zeros((-(-plan.size // plan.step), -(-width // plan.step)), np.int64)
        while len(strip):
            rows = min(len(strip), first + len(held) - end)
            held[end - first : end - first + rows] = strip[:rows]
            done = _slide(held, end - first, end - first + rows, first, done, plan, depth, cells)
            strip, end = strip[rows:], end + rows
            final = min(end, done * plan.step if done < plan.rows else end)
            yield held[: final - first]
            held[: end - final] = held[final - first : end - first]
            first = final


@compiled
def _slide(held, begin, end, first, done, plan, depth, cells):
    """Takes rows `begin` to `end` of `held` in, and moves the frames whose last row is among them over the map.

    `first` is the place of `held[0]` in the map; `done` counts the rows of frames so far, and is returned; `depth` has,
    for each of the plan's columns, the pixels from the last row upwards that are equal, at least as far as a frame
    reaches.
    """
    step, width = plan.step, held.shape[1]
    for r in range(begin, end):
        if done == plan.rows:
            break
        row, cell_row = held[r], (first + r) // step % len(cells)
        if (first + r) % step == 0:
            cells[cell_row] = 0
        for c in range(cells.shape[1]):
            count = 0
            for x in range(c * step, min(c * step + step, width)):
                count += row[x] == plan.background
            cells[cell_row, c] += count
        for i in range(plan.columns.size):
            x = plan.columns[i]
            depth[i] = depth[i] + 1 if r > 0 and held[r - 1, x] == row[x] else 1
        if first + r == done * step + plan.size - 1:
            _row_of_frames(held, r + 1 - plan.size, r, first, plan, depth, cells)
            done += 1
    return done


@compiled
def _row_of_frames(held, top, bottom, first, plan, depth, cells):
    """Fills the frames between two rows of `held`, from left to right."""
    upper, lower, width = held[top], held[bottom], held.shape[1]
    upper_end = lower_end = 0  # of the runs that were looked at last
    for p in range(plan.lefts.size):
        begin = p * plan.step
        end = begin + plan.size
        label = upper[begin]
        if not plan.fillable[label] or lower[begin] != label:
            continue
        upper_end, lower_end = max(upper_end, begin + 1), max(lower_end, begin + 1)
        while upper_end < width and upper[upper_end] == upper[upper_end - 1]:
            upper_end += 1
        while lower_end < width and lower[lower_end] == lower[lower_end - 1]:
            lower_end += 1
        left, right = plan.lefts[p], plan.rights[p]
        if min(upper_end, lower_end) < end or min(depth[left], depth[right]) < plan.size:
            continue
        if _fill(held, first, first + top, first + bottom + 1, begin, end, plan, cells, label):
            for i in range(left + 1, right):
                x, r = plan.columns[i], bottom
                while r > top and held[r - 1, x] == held[bottom, x]:
                    r -= 1
                depth[i] = bottom + 1 - r


@compiled
def _fill(held, first, top, bottom, left, right, plan, cells, label):
    """Gives the background inside a frame (rows and columns of the map) its class. False where there is none."""
    step = plan.step
    filled = False
    for cell_row in range(top // step, (bottom - 1) // step + 1):
        for c in range(left // step, (right - 1) // step + 1):
            if cells[cell_row % len(cells), c] == 0:
                continue
            count = 0
            for r in range(max(cell_row * step, top) - first, min(cell_row * step + step, bottom) - first):
                for x in range(max(c * step, left), min(c * step + step, right)):
                    if held[r, x] == plan.background:
                        held[r, x] = label
                        count += 1
            cells[cell_row % len(cells), c] -= count
            filled |= count > 0
    return filled


@compiled
def _compare(before, after, top, changed):
    """The pixels that differ, as `Band.changes` has them; adds them to `changed` [from, to]. Both uint8 HW."""
    height, width = before.shape
    differ = np.zeros(height, np.bool_)
    for r in range(height):
        old, new = before[r], after[r]
        some = 0
        for x in range(width):
            some |= old[x] ^ new[x]
        differ[r] = some != 0
    changes = np.empty((differ.sum() * width, 3), np.int64)
    noted = 0
    for r in range(height):
        x = 0
        while differ[r] and x < width:
            old, new = before[r, x], after[r, x]
            start = x
            while x < width and before[r, x] == old and after[r, x] == new:
                x += 1
            if old != new:
                changed[old, new] += x - start
                changes[noted, 0], changes[noted, 1], changes[noted, 2] = top + r, start, x
                noted += 1
    return changes[:noted].copy()
