"""The regions of a label map of any size as polygons, exactly as if the whole map were in memory.

`RegionPolygons` goes down the map in bands. Of each it finds the regions (`components.py`), traces their rings
(`tracing.py`), and gives the regions that have ended as polygons (`wkb.py`). In memory are a band and the records of
the regions that reach its last row; their corners, three bytes or so each, are in a file without a name.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jingwei.legend import NODATA
from jingwei.polygons.components import REGION, Band, Runs, find_regions, link_rings, settle
from jingwei.polygons.simplify import mark_kept
from jingwei.polygons.tracing import CHAIN, Corners, OpenRings, trace
from jingwei.polygons.wkb import most_bytes, write_polygons
from jingwei.raster.bands import bands
from jingwei.raster.pixel_area import PIXELS, Ground
from jingwei.system.spill import Table

BAND_ROWS = 512  # a simplified ring keeps its corners on the lines between bands
BATCH = 1 << 15  # polygons given at a time, at most
BATCH_BYTES = 1 << 26  # of them, unless one alone has more
CORNER_BYTES = 12  # of the arena, at most, with a fair share of what begins a part


class Batch(NamedTuple):
    """Some polygons: WKB, class ids (uint8), areas in pixels (int64) and on the ground (float64, square metres)."""

    polygons: list[bytes]
    labels: np.ndarray
    areas: np.ndarray
    ground: np.ndarray


class RegionPolygons:
    """The polygons of a label map, one per region: what pixels of one class make over their four neighbours.

    Parameters
    ----------
    strips
        The map, top to bottom: uint8 arrays of the full width, of any heights.
    height, width
        Of the map, in pixels.
    classes
        Which classes get polygons; None: all. NODATA never does.
    min_area
        Regions of fewer pixels are left out, and leave holes in those around.
    simplify
        No border moves farther than this, in pixels; 0 keeps every corner. Common borders stay common, no two
        polygons overlap, none vanishes, and corners on every BAND_ROWS-th row stay.
    affine
        (a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f. None: x is the column, y the row, downwards.
    ground
        What a pixel covers.
    folder
        Where files for working data may be. None takes the system's place for temporary files.
    progress
        Called with a number of pixels as they are done.

    Iterating gives `Batch`es, in the order in which regions end. The order, and where batches end, are the same for
    all heights of strips. After that, `class_areas` (int64, 256) has the pixels of all regions with a polygon.
    """

    def __init__(
        self,
        strips: Iterable[np.ndarray],
        height: int,
        width: int,
        *,
        classes: Collection[int] | None = None,
        min_area: int = 0,
        simplify: float = 0.0,
        affine: tuple[float, ...] | None = None,
        ground: Ground | None = None,
        folder: Path | None = None,
        band_rows: int = BAND_ROWS,
        progress: Callable[[int], object] = lambda pixels: None,
    ):
        self._strips, self._height, self._width = strips, height, width
        self._traced = np.zeros(256, bool)
        self._traced[list(range(NODATA) if classes is None else classes)] = True
        assert not self._traced[NODATA]
        self._min_area, self._simplify = min_area, float(simplify)
        self._affine = np.array(affine or (1, 0, 0, 0, 1, 0), np.float64)
        self._ground = ground or PIXELS
        self._folder, self._band_rows, self._progress = folder, band_rows, progress
        self.class_areas = np.zeros(256, np.int64)

    def __iter__(self) -> Generator[Batch]:
        self.class_areas[:] = 0
        with Table(self._folder) as arena:
            waiting: list[Any] = []
            count = room = 0
            for finished in self._finished(arena):
                for region in np.array_split(finished, range(BATCH, len(finished), BATCH)):
                    if not len(region):
                        continue
                    size = most_bytes(region)
                    if waiting and (count + len(region) > BATCH or room + size > BATCH_BYTES):
                        yield self._batch(np.concatenate(waiting), arena)
                        waiting, count, room = [], 0, 0
                    waiting.append(region)
                    count, room = count + len(region), room + size
            if waiting:
                yield self._batch(np.concatenate(waiting), arena)

    def _finished(self, arena: Table) -> Iterator[np.ndarray]:
        """The REGION records that end in each band, once their rings are in the arena."""
        width = self._width
        used, going_on, open_chains = 8, 0, 0
        nodes = np.zeros(1 << 12, REGION)
        seam = np.full(width, -1, np.int64)
        rings = OpenRings(np.full(width + 1, -1, np.int64), np.zeros(width + 1, CHAIN))
        for top, labels in _with_margins(self._strips, self._height, width, self._band_rows):
            rows = len(labels) - 2
            band, runs = Band(labels, top, self._traced), Runs.room_for(labels)
            count = len(runs.starts)
            if going_on + count > len(nodes):
                nodes = np.concatenate([nodes, np.zeros(going_on + count - len(nodes), REGION)])
            found = find_regions(band, self._ground, nodes, going_on, seam, runs)
            link_rings(nodes, going_on, arena.array)
            lattice = np.zeros((rows + 1, width + 1), np.uint8)
            if self._simplify > 0:
                mark_kept(labels, self._simplify, lattice)
                corners = 4 * int(np.count_nonzero(lattice))
            else:
                corners = 4 * (count + rows)  # every corner is an end of an upright pixel edge with two sides
            arena.grow(used + CORNER_BYTES * corners + 64 * (width + 1))
            table = Corners(lattice, self._simplify > 0, arena.array)
            used, open_chains = trace(band, table, used, nodes, runs, rings, open_chains)
            finished, going_on = settle(nodes, found, runs, top + rows == self._height, seam)
            self._progress(rows * width)
            yield finished[finished["area"] >= self._min_area]
        assert going_on == open_chains == 0

    def _batch(self, regions: np.ndarray, arena: Table) -> Batch:
        out, ends = np.empty(most_bytes(regions), np.uint8), np.empty(len(regions), np.int64)
        total = write_polygons(regions, arena.array, self._affine, out, ends)
        assert total == 2 * regions["area"].sum() or (self._simplify > 0 and total > 0), "rings that don't close"
        arena.passed(int(regions["first"][-1]))
        np.add.at(self.class_areas, regions["label"], regions["area"])
        content = out.data
        begins = [0, *ends[:-1].tolist()]
        polygons = [bytes(content[begin:end]) for begin, end in zip(begins, ends.tolist(), strict=True)]
        return Batch(polygons, regions["label"], regions["area"], regions["ground"])


def _with_margins(strips: Iterable[np.ndarray], height: int, width: int, rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, band) of a map: `rows` rows each, with the row above and below and a column beside; see `tracing.py`.

    A band is only good until the next one.
    """
    band = np.full((rows + 2, width + 2), NODATA, np.uint8)
    waiting = 0  # rows of the band that only wait for the row below them
    for top, part in bands(strips, height, width, rows):
        if waiting:
            band[rows + 1, 1:-1] = part[0]
            yield top - rows, band
            band[:2] = band[-2:]
        band[1 : len(part) + 1, 1:-1] = part
        waiting = len(part)
    band[waiting + 1] = NODATA
    yield height - waiting, band[: waiting + 2]
