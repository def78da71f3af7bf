"""Holes and small regions of a label map of any size, strip by strip, exactly as if the whole map were in memory.

`Filled` goes over the map twice (three times with `min_area`): a survey finds the regions, decides each as soon as it
is certain (`verdicts.py`) and forgets it; the last pass writes. What stays is one byte per region's birth (`runs.py`),
and records of the regions that are still growing or can't be decided yet.
"""

from collections.abc import Callable, Collection, Iterator

import numpy as np

from jingwei.legend import NODATA
from jingwei.runs import BIRTHS, LINK, LINKS, NODES, REGION, Rules, Runs, count_changes, flags_for, rewrite, survey
from jingwei.verdicts import compact, settle_holes, settle_small

# Region records to begin with. When they are full, the survey tidies up; where that is no help, it doubles them.
ROOM = 1 << 17


class Filled:
    """A label map with its holes filled and its small regions removed.

    A hole is a connected region of `background` whose bounding box fits in a `max_size` x `max_size` square and whose
    whole outer border (its 4-neighbours) is one class; it takes that class. A region at the map's edge or beside
    NODATA is no hole. Regions are joined over 4 or 8 neighbours (`connectivity`).

    Then regions of any class with fewer than `min_area` pixels are removed, all at once. A region that is large enough
    has level 0; a small one beside a region of level k - 1, and of none lower, has level k. A small region takes the
    final class of the neighbour, among those one level below its own, with the longest common border (in pixel edges,
    each neighbouring region by itself); of equal ones, that whose first pixel comes first, row by row. So nothing
    smaller than `min_area` is left, except where NODATA and the edge leave no way to a large region: there all stays.
    NODATA is no region and never changes.

    Parameters
    ----------
    strips
        Starts a pass over the map, top to bottom: an iterator of uint8 arrays of the full width, of any heights. Must
        give the same map every time.
    height, width
        Of the map, in pixels.
    background
        The class whose regions can be holes; None fills none.
    max_size, min_area
        In pixels (side of a square; area). 0 leaves the step out.
    classes
        Fill only holes in these classes; None fills holes in any class.

    Iterating does the work and gives pairs (strip as it was, strip as it is now), of the heights that `strips` gave.
    After that, `changed[a, b]` (int64, 256 x 256) has the pixels that went from class a to class b.
    """

    def __init__(
        self,
        strips: Callable[[], Iterator[np.ndarray]],
        height: int,
        width: int,
        *,
        background: int | None = 0,
        max_size: int = 500,
        min_area: int = 0,
        connectivity: int = 4,
        classes: Collection[int] | None = None,
    ):
        if connectivity not in (4, 8):
            raise ValueError(f"connectivity {connectivity}: regions are joined over 4 or 8 neighbours")
        if background is not None and not 0 <= background < NODATA:
            raise ValueError(f"background {background} is no class")
        if max_size < 0 or min_area < 0:
            raise ValueError(f"max_size {max_size} and min_area {min_area} can't be negative")
        self._strips, self._height, self._width = strips, height, width
        self._passes = []
        reach = 1 if connectivity == 8 else 0
        if background is not None and max_size > 0:
            self._passes.append(Rules(height, int(background), reach, int(max_size), 0))
        if min_area > 1:
            self._passes.append(Rules(height, -1, reach, 0, int(min_area)))
        self._fillable = np.zeros(256, bool)
        self._fillable[list(range(255) if classes is None else classes)] = True
        self.changed = np.zeros((256, 256), np.int64)

    @property
    def passes(self) -> int:
        """How often `strips` is called."""
        return len(self._passes) + 1

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        self.changed[:] = 0
        decided: list[tuple[Rules, np.ndarray]] = []
        for rules in self._passes:
            verdicts = _Survey(rules, self._width, self._fillable).run(after for _, after in self._rewritten(decided))
            decided.append((rules, verdicts))
        rows = 0
        for before, after in self._rewritten(decided):
            count_changes(before.reshape(-1), after.reshape(-1), self.changed)
            rows += len(after)
            yield before, after
        assert rows == self._height, f"{rows} rows of {self._height}"

    def _rewritten(self, decided) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        writers = [_Rewriter(rules, self._width, verdicts) for rules, verdicts in decided]
        for strip in self._strips():
            assert strip.dtype == np.uint8, strip.dtype
            assert strip.shape[1] == self._width, f"{strip.shape[1]} columns of {self._width}"
            before = np.ascontiguousarray(strip)
            after = before.copy() if writers else before
            for writer in writers:
                writer.write(after)
            yield before, after


class _Rewriter:
    """Writes the verdicts of one survey into the strips of a pass."""

    def __init__(self, rules: Rules, width: int, verdicts: np.ndarray):
        self._state = rules, verdicts, Runs.empty(width), Runs.empty(width), flags_for(width), np.zeros(4, np.int64)

    def write(self, strip: np.ndarray) -> None:
        rewrite(strip, *self._state)


class _Survey:
    """One pass over the regions of a map. Gives a verdict per birth: 0 stays, k + 1 becomes class k."""

    def __init__(self, rules: Rules, width: int, fillable: np.ndarray):
        self._rules, self._fillable = rules, fillable
        self._nodes = np.zeros(max(ROOM, 4 * width), REGION)
        self._links = np.zeros(max(2 * ROOM, 16 * width) if rules.only < 0 else 0, LINK)
        self._spare = np.zeros_like(self._links)
        self._above, self._here, self._flags = Runs.empty(width), Runs.empty(width), flags_for(width)
        self._counts = np.zeros(4, np.int64)
        self._verdicts = np.zeros(len(self._nodes), np.uint8)

    def run(self, strips) -> np.ndarray:
        top = 0
        for strip in strips:
            begin = 0
            while True:
                begin = survey(
                    strip, begin, top, self._rules, self._nodes, self._links,
                    self._above, self._here, self._flags, self._counts,
                )  # fmt: skip
                if begin == len(strip):
                    break
                self._make_room()
            top += len(strip)
        self._settle(last=True)
        return self._verdicts

    def _settle(self, last: bool) -> None:
        state = self._nodes, self._links, self._above, self._counts, self._rules
        if self._rules.only >= 0:
            settle_holes(*state, self._fillable, self._verdicts, last)
        else:
            settle_small(*state, self._verdicts, last)

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
        # In place: a copy would hold the largest array of all twice.
        need = self._counts[BIRTHS] + len(self._nodes)
        if need > len(self._verdicts):
            self._verdicts.resize(need + need // 4, refcheck=False)
