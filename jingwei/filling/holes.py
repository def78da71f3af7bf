"""Holes and small regions of a label map of any size, exactly as if the whole map were in memory.

`Filled` reads the map once, from top to bottom, and keeps it as packed runs (`run_length.py`). A survey (`survey.py`)
goes over them, finds the regions, decides each as soon as it is certain (`decisions.py`) and forgets it; the last pass
paints. In memory are the records of regions that are still growing, or near one that is. The runs, and a byte per
provisional label that says what becomes of it, are in files (`spill.py`).
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jingwei.filling.decisions import compact, settle_holes, settle_small
from jingwei.filling.run_length import Packer, Regions, Relabelling, Runs, paint
from jingwei.filling.survey import FARS, FRONTIER, LINK, LINKS, NODES, PROVISIONAL, REGION, Rules, survey
from jingwei.legend import NODATA
from jingwei.raster.bands import BandBuffer
from jingwei.system.spill import Table, Tape

BAND_ROWS = 256  # rows painted at a time: a row of a GeoTIFF's tiles
# Region records to begin with. When they are full, the survey tidies up; where that is no help, it doubles them.
ROOM = 1 << 17
# A survey of a map of this width decides one level, of one half as wide two, and so on: all regions within as many
# steps from the row scanned last have to be remembered. Where noise goes on for longer, another survey takes over.
NEAR = 320_000


class Band(NamedTuple):
    """Some rows of the new map.

    `labels` uint8 HW, its first row is row `top` of the map. `changes` int64 (n, 3): row of the map, first column, one
    past the last; pixels of one row that were of one class and are of another one now.
    """

    top: int
    labels: np.ndarray
    changes: np.ndarray


class Filled:
    """A label map with its holes filled and its small regions removed.

    A hole is a connected region of `background` whose bounding box fits in a `max_size` x `max_size` square and whose
    whole outer border (its 4-neighbours) is one class; it takes that class. A region at the map's edge or beside
    NODATA is not a hole. Regions are joined over 4 or 8 neighbours (`connectivity`).

    Then regions with fewer than `min_area` pixels are removed, all at once. A region that is large enough has level 0;
    a small one beside a region of level k - 1, and of none lower, has level k. A small region takes the class with
    which its neighbours one level below its own have the longest common border (in pixel edges), where these
    neighbours count as what they become; of equal ones, the class that it meets first, row by row. So nothing smaller
    than `min_area` is left, except where NODATA and the edge leave no way to a large region: there all stays. NODATA
    is not a region and never changes.

    What becomes of a region depends on the regions round it alone: neighbours of one class count as one, whether or not
    they are joined somewhere far away.

    Parameters
    ----------
    strips
        Starts a pass over the map, top to bottom: an iterator of uint8 arrays of the full width, of any heights.
        Called once per iteration.
    height, width
        Of the map, in pixels.
    background
        The class whose regions can be holes; None fills none.
    max_size, min_area
        In pixels (side of a square; area). 0 leaves the step out. `min_area` may be a number per class: classes that
        it leaves out count as large.
    classes
        Fill only holes in these classes; None fills holes in any class.
    protect
        Classes whose pixels never change. Their regions count as large, so small ones of others may join them.
    folder
        Where files for working data may be: two bytes per run of the map, one per region. None takes the system's
        place for temporary files.
    progress
        Called with a number of pixels as they are done, `passes` times the map's in all.

    Iterating does the work and gives `Band`s of BAND_ROWS rows. After that, `changed[a, b]` (int64, 256 x 256) has the
    pixels that went from class a to class b.
    """

    def __init__(
        self,
        strips: Callable[[], Iterable[np.ndarray]],
        height: int,
        width: int,
        *,
        background: int | None = 0,
        max_size: int = 500,
        min_area: int | Mapping[int, int] = 0,
        connectivity: int = 4,
        classes: Collection[int] | None = None,
        protect: Collection[int] = (),
        folder: Path | None = None,
        progress: Callable[[int], object] = lambda pixels: None,
    ):
        if connectivity not in (4, 8):
            raise ValueError(f"connectivity {connectivity}: regions are joined over 4 or 8 neighbours")
        if background is not None and not 0 <= background < NODATA:
            raise ValueError(f"background {background} is not a class")
        min_areas = np.zeros(256, np.int64)
        if isinstance(min_area, Mapping):
            min_areas[list(min_area)] = list(min_area.values())
        else:
            min_areas[:] = min_area
        if max_size < 0 or (min_areas < 0).any():
            raise ValueError(f"max_size {max_size} and min_area {min_area} can't be negative")
        min_areas[list(protect)] = 0
        self._strips, self._height, self._width = strips, height, width
        self._folder, self._progress = folder, progress
        self._surveys: list[Rules] = []
        reach = 1 if connectivity == 8 else 0
        if background is not None and background not in protect and max_size > 0:
            holes = Regions(int(background), reach)
            self._surveys.append(Rules(height, width, holes, int(max_size), np.zeros(256, np.int64)))
        if (min_areas > 1).any():
            self._surveys.append(Rules(height, width, Regions(-1, reach), 0, min_areas))
        self._fillable = np.zeros(256, bool)
        self._fillable[list(range(255) if classes is None else classes)] = True
        self.changed = np.zeros((256, 256), np.int64)

    @property
    def passes(self) -> int:
        """Passes over the map: one that reads and surveys, one for each further survey, one that paints."""
        return max(1, len(self._surveys)) + 1

    def __iter__(self) -> Generator[Band]:
        self.changed[:] = 0
        with ExitStack() as stack:
            tape = stack.enter_context(Tape(self._folder))
            blocks: Iterable[tuple[int, np.ndarray]] = self._recorded(tape)
            decided: list[tuple[Any, Table]] = []
            for rules in self._surveys:
                decisions = stack.enter_context(Table(self._folder))
                while _Survey(rules, self._fillable, decisions).run(self._relabelled(blocks, decided)):
                    blocks = tape  # some regions are too far from a large one to be decided at once
                decided.append((rules, decisions))
                blocks = self._counted(tape)
            for _ in () if decided else blocks:
                pass
            yield from self._painted(tape, decided)

    def _recorded(self, tape: Tape) -> Iterator[tuple[int, np.ndarray]]:
        """The blocks of the map, each of them put on the tape."""
        packer, done = Packer(self._width), 0
        for strip in self._strips():
            assert strip.dtype == np.uint8, strip.dtype
            assert strip.shape[1] == self._width, f"{strip.shape[1]} columns of {self._width}"
            for rows, block in packer.blocks(strip):
                tape.append(rows, block)
                yield rows, block
                self._progress(rows * self._width)
            done += len(strip)
        assert done == self._height, f"{done} rows of {self._height}"

    def _counted(self, tape: Tape) -> Iterator[tuple[int, np.ndarray]]:
        for rows, block in tape:
            yield rows, block
            self._progress(rows * self._width)

    def _relabelled(self, blocks, decided) -> Iterator[tuple[int, np.ndarray]]:
        for rows, _, block in self._both(blocks, decided):
            yield rows, block

    def _both(self, blocks, decided) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(rows, block, the same block after all that was decided)."""
        relabellings = [
            (Relabelling(rules.regions, self._width, decisions.array), decisions) for rules, decisions in decided
        ]
        for rows, before in blocks:
            after = before
            for relabelling, decisions in relabellings:
                after = relabelling(rows, after)
                decisions.passed(relabelling.provisional)
            yield rows, before, after

    def _painted(self, tape: Tape, decided) -> Iterator[Band]:
        old, new = Runs.empty(self._width), Runs.empty(self._width)
        buffer, changes = BandBuffer(self._height, self._width, BAND_ROWS), []
        for rows, before, after in self._both(self._counted(tape), decided):
            places = np.zeros(2, np.int64)
            room = np.empty((len(before) // 2, 3), np.int64)
            while rows > 0:
                part = buffer.free[:rows]
                noted = paint(before, after, places, part, buffer.row, old, new, self.changed, room)
                changes.append(room[:noted].copy())
                rows -= len(part)
                if whole := buffer.filled(len(part)):
                    yield Band(*whole, np.concatenate(changes))
                    changes = []


class _Survey:
    """One pass over the regions of a map. Leaves a decision per provisional label: 0 stays, k + 1 becomes class k."""

    def __init__(self, rules: Rules, fillable: np.ndarray, decisions: Table):
        self._rules, self._fillable, self._decisions = rules, fillable, decisions
        self._holes = rules.regions.only >= 0
        width = rules.width
        self._nodes = np.zeros(max(ROOM, 4 * width), REGION)
        self._links = np.zeros(0 if self._holes else max(2 * ROOM, 16 * width), LINK)
        self._spare = np.zeros_like(self._links)
        self._above, self._here = Runs.empty(width), Runs.empty(width)
        self._counts = np.zeros(6, np.int64)
        self._levels = max(1, NEAR // width)
        decisions.grow(len(self._nodes))

    def run(self, blocks: Iterable[tuple[int, np.ndarray]]) -> bool:
        """Goes over the map. True where another survey, which knows the decisions of this one, can decide more."""
        row = 0
        for rows, block in blocks:
            place = 0
            while rows > 0:
                place, done = survey(
                    block, place, rows, row, self._rules, self._nodes, self._links, self._decisions.array,
                    self._above, self._here, self._counts,
                )  # fmt: skip
                row, rows = row + done, rows - done
                if rows > 0:
                    self._make_room()
        self._settle(last=True)
        return bool(self._counts[FARS] and self._counts[FRONTIER])

    def _settle(self, last: bool) -> None:
        if self._holes:
            settle_holes(
                self._nodes, self._above, self._counts, self._rules, self._fillable, self._decisions.array, last
            )
        else:
            settle_small(self._nodes, self._links, self._above, self._counts, self._decisions.array, self._levels, last)

    def _make_room(self) -> None:
        self._settle(last=False)
        compact(self._nodes, self._links, self._spare, self._above, self._counts)
        self._links, self._spare = self._spare, self._links
        # Less than half of the room won back: with twice the room, tidying up stays rare.
        if 2 * self._counts[NODES] > len(self._nodes):
            self._nodes = np.concatenate([self._nodes, np.zeros_like(self._nodes)])
        if 2 * self._counts[LINKS] > len(self._links):
            self._links = np.concatenate([self._links, np.zeros_like(self._links)])
            self._spare = np.zeros_like(self._links)
        labels = int(self._counts[PROVISIONAL])
        self._decisions.grow(labels + len(self._nodes))
        self._decisions.passed(labels)
