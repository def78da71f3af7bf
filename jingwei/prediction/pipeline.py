"""A scene's bands through a network, as one pipeline: read, network, blend, fetch.

Threads read batches of windows ahead. The network and the blending are given one batch after another without waiting
for their results, which are class ids and quantised shares, one byte a pixel. On a GPU they are fetched while it works
on the batches after them, of which a few are under way at a time.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from torch import Tensor

from jingwei.grid import Window, strips
from jingwei.legend import NODATA
from jingwei.prediction.bands import Bands
from jingwei.prediction.blending import Blender
from jingwei.prediction.engines.fitting_batches import FittingBatches
from jingwei.prediction.engines.views import Viewer
from jingwei.raster.pixels import as_type
from jingwei.system.scheduling import Task, Threads

Read = Callable[[Window], tuple[np.ndarray, np.ndarray]]  # pixels_CHW and valid_HW of a window
INVALID = {"labels": NODATA, "probabilities": 0, "confidence": NODATA}  # what invalid pixels hold, by kind of output
Array = TypeVar("Array", np.ndarray, Tensor)
Item = TypeVar("Item")


@dataclass
class Finished:
    """A finished band, at its window of the scene: `values`, uint8, by kind of output.

    labels: class ids, HW. probabilities: 255 for 1, CHW. confidence: the label's probability in percent, HW.
    """

    number: int
    values: dict[str, np.ndarray]


class _Batch(NamedTuple):
    """Windows of a band, none where it has none to compute: their first columns, their validity, and the pixels_BCHW
    of those with any.
    """

    band: int
    cols: list[int]
    valid: list[np.ndarray]
    pixels: np.ndarray | None


class _Piece(NamedTuple):
    """What a window finishes, from column `col` on: which pixels get it and, by kind, what waits for the values."""

    col: int
    valid: np.ndarray
    values: dict[str, Callable[[], np.ndarray]]


def predicted_bands(
    read: Read,
    bands: Bands,
    numbers: range,
    network: Viewer,
    classes: int,
    fill: np.ndarray,
    *,
    batch_size: int = 1,
    readers: int = 1,
    temperature: float = 1.0,
    kinds: tuple[str, ...] = ("labels",),
) -> Iterator[Finished]:
    """The bands `numbers` of a scene, one after another, with the outputs of these `kinds`.

    `read` is called on `readers` threads. Invalid pixels are shown to the network as `fill`, of one value per band.
    They are NODATA in labels and confidence, and 0 in all probabilities, and so is what a part of a scene leaves out.
    The `temperature` calibrates confidence and probabilities; labels don't depend on it. Raises SettingError where
    memory ends at a single window.
    """
    first = bands.first_needed(numbers.start)
    run = FittingBatches(network, bands.size)
    blender = Blender(bands, first, classes, network.device, temperature, kinds)
    ends = dict(zip(bands.cols, [*bands.cols[1:], bands.width], strict=True))

    def begun() -> Iterator[tuple[int, bool, list[_Piece]]]:
        """Gives batches to the network and the blending, and waits for none: (band, whether it ends there, pieces)."""
        for batch in _batches(read, bands, range(first, numbers.stop), fill, batch_size, readers):
            answers = iter(run(batch.pixels) if batch.pixels is not None else ())
            pieces = []
            for col, valid in zip(batch.cols, batch.valid, strict=True):
                answer = _turned(bands, next(answers)) if valid.any() else None
                decided = blender.add(batch.band, col, ends[col], answer)
                if decided is not None and batch.band in numbers:
                    values = {kind: network.fetch(values) for kind, values in decided.items()}
                    pieces.append(_Piece(col, _settled(bands, batch.band, col, _turned(bands, valid)), values))
            yield batch.band, batch.cols[-1:] == bands.computed(batch.band)[-1:], pieces
            del batch, answers  # or they would live until the next batch is there

    canvas = _Canvas(bands, numbers.start, classes, kinds)
    for band, is_last, pieces in _held_back(begun(), network.in_flight):
        for piece in pieces:
            canvas.put(piece)
        if is_last and band in numbers:
            yield canvas.finished()
            canvas = _Canvas(bands, band + 1, classes, kinds) if band + 1 in numbers else canvas


def _batches(
    read: Read, bands: Bands, numbers: range, fill: np.ndarray, batch_size: int, readers: int
) -> Iterator[_Batch]:
    """The windows of bands, read ahead on threads. A batch has windows of one band, so that bands can be made apart."""

    def tasks() -> Iterator[Task]:
        for number in numbers:
            cols = bands.computed(number)
            for start, end in strips(len(cols), batch_size) if cols else [(0, 0)]:
                yield Task(_read, (read, bands, number, cols[start:end], fill))

    for _, batch in Threads(readers).run(tasks()):
        yield batch
        del batch


def _read(read: Read, bands: Bands, number: int, cols: list[int], fill: np.ndarray) -> _Batch:
    validity, filled = [], []
    for col in cols:
        height, width = min(bands.size, bands.height), min(bands.size, bands.width)
        pixels, valid = read(bands.turn(Window(bands.rows[number], col, height, width)))
        validity.append(valid)
        if valid.all():
            filled.append(pixels)
        elif valid.any():
            filled.append(np.where(valid, pixels, as_type(fill[:, None, None], pixels.dtype)))
    return _Batch(number, cols, validity, np.stack(filled) if filled else None)


def _held_back(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items, each given when `count` more have been taken after it, or at the end."""
    waiting: deque[Item] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def _turned(bands: Bands, values: Array) -> Array:
    """Rows and columns of CHW or HW change places where bands run down the scene."""
    return values.swapaxes(-1, -2) if bands.turned else values


def _settled(bands: Bands, number: int, col: int, valid: np.ndarray) -> np.ndarray:
    """The valid pixels of a window that no window before it reaches which isn't computed."""
    corners = bands.unsettled(number, col)
    settled = valid.copy() if corners else valid
    for rows, cols in corners:
        settled[:rows, :cols] = False
    return settled


class _Canvas:
    """A band on the host while its pieces come in."""

    def __init__(self, bands: Bands, number: int, classes: int, kinds: tuple[str, ...]):
        self.bands, self.number = bands, number
        shape = bands.ends[number] - bands.rows[number], bands.width
        shapes = {kind: (classes, *shape) if kind == "probabilities" else shape for kind in kinds}
        self.values = {kind: np.full(shapes[kind], INVALID[kind], np.uint8) for kind in kinds}

    def put(self, piece: _Piece) -> None:
        """Waits for a piece, and puts it to its place where it is valid."""
        valid = piece.valid
        for kind, wait_for in piece.values.items():
            values = wait_for()
            height, width = values.shape[-2:]
            place, known = self.values[kind][..., piece.col : piece.col + width], valid[:height, :width]
            np.copyto(place, values, where=True if known.all() else known)

    def finished(self) -> Finished:
        return Finished(self.number, {kind: _turned(self.bands, values) for kind, values in self.values.items()})
