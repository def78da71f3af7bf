"""Overlapping windows of a scene, blended into labels band by band: the arithmetic of `prediction.py`.

Windows are spread evenly, `overlap` px or more over each other. Their class probabilities are weighted by a smooth bump
that nearly vanishes at a window's border, so that no seam can show. Only what overlaps is kept: along a band the
columns that the next window shares, between bands the rows. Bands run along the shorter side of the scene, so memory
follows that side alone.

Bands can be computed apart from each other, by runs that know nothing of each other: what a band needs of the windows
above it is computed again where it is not at hand, and comes out the same to the last bit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jingwei.grid import Window, even_starts
from jingwei.legend import NODATA
from jingwei.raster.pixels import as_type
from jingwei.raster.reading import Raster
from jingwei.system.prefetch import ahead

LEAST_WEIGHT = 1e-3  # the least weight of a pixel: at a scene's border a window's edge is all there is
# Of what bands hand down to each other: half the memory, and its rounding (1 in 2,000) is below that of bf16.
CARRIED = torch.float16


@dataclass(frozen=True)
class Bands:
    """Where the bands of a scene lie, and their windows: integers alone.

    All is said as if bands were rows of windows; in a scene wider than high (`turned`), rows and columns change places.
    """

    height: int  # the longer side
    width: int
    size: int
    overlap: int
    turned: bool

    @classmethod
    def of(cls, shape: tuple[int, int], size: int, overlap: int) -> "Bands":
        """The bands of a scene of (height, width)."""
        width, height = sorted(shape)
        return cls(height, width, size, overlap, shape[1] > shape[0])

    @property
    def rows(self) -> list[int]:
        """The first row of each band's windows, which is the first row that the band finishes."""
        return even_starts(self.height, self.size, self.overlap)

    @property
    def cols(self) -> list[int]:
        """The first column of each window of a band."""
        return even_starts(self.width, self.size, self.overlap)

    @property
    def ends(self) -> list[int]:
        """The row behind the last one that each band finishes."""
        return [*self.rows[1:], self.height]

    def __len__(self) -> int:
        return len(self.rows)

    def window(self, number: int) -> Window:
        """The part of the scene that band `number` finishes."""
        first, end = self.rows[number], self.ends[number]
        return self.turn(Window(first, 0, end - first, self.width))

    def first_needed(self, number: int) -> int:
        """The first band whose windows reach into band `number`."""
        return next(i for i, row in enumerate(self.rows) if row + self.size > self.rows[number] or i == number)

    def turn(self, window: Window) -> Window:
        """A window of the scene as the file has it."""
        return Window(window.col, window.row, window.width, window.height) if self.turned else window


@dataclass
class Finished:
    """A finished band, at its window of the scene: labels_HW and, where asked for, what else there is to keep.

    probabilities_CHW: 255 for 1. confidence_HW: the label's probability in percent. All uint8.
    """

    number: int
    labels: np.ndarray
    probabilities: np.ndarray | None = None
    confidence: np.ndarray | None = None


def blended(
    image: Raster,
    bands: Bands,
    numbers: range,
    network: Callable[[np.ndarray], Tensor],
    classes: int,
    fill: np.ndarray,
    *,
    batch_size: int = 1,
    temperature: float = 1.0,
    with_probabilities: bool = False,
    with_confidence: bool = False,
) -> Iterator[Finished]:
    """The bands `numbers` of a scene, one after another, `network` run on their windows.

    `network` takes pixels_BCHW of the scene's type and gives probabilities_BCHW. Invalid pixels are shown to it as
    `fill`, of one value per band. They are NODATA in labels and confidence, and 0 in all probabilities. The
    `temperature` calibrates confidence and probabilities, see `_weighed`; labels don't depend on it.
    """
    rows, ends, cols = bands.rows, bands.ends, bands.cols
    deepest = max((rows[i] + bands.size - ends[i] for i in range(len(bands) - 1)), default=0)
    carry = torch.zeros(classes, max(0, deepest), bands.width, dtype=CARRIED)
    carried = 0  # rows of `carry` that the band above has filled
    for number in range(bands.first_needed(numbers.start), numbers.stop):
        height = ends[number] - rows[number]
        labels = np.full((height, bands.width), NODATA, np.uint8)
        shares = np.zeros((classes, height, bands.width), np.uint8) if with_probabilities else None
        sure = np.full_like(labels, NODATA) if with_confidence else None
        pieces = _band(image, bands, number, network, fill, batch_size)
        for start, valid, complete in _joined_along(pieces, [*cols[1:], bands.width]):
            stop = start + valid.shape[1]
            if complete is None:
                continue
            complete[:, :carried] += carry[:, :carried, start:stop].to(complete.device)
            decided, valid = complete[:, :height], valid[:height]
            np.copyto(labels[:, start:stop], _likeliest(decided).cpu().numpy(), where=valid)
            if with_probabilities or with_confidence:
                chances = _weighed(decided, temperature)
                total = chances.sum(0)
            if with_probabilities:
                quantised = (chances * (255 / total)).round().to(torch.uint8)
                np.copyto(shares[:, :, start:stop], quantised.cpu().numpy(), where=valid)
            if with_confidence:
                percent = (chances.amax(0) * (100 / total)).round().to(torch.uint8)
                np.copyto(sure[:, start:stop], percent.cpu().numpy(), where=valid)
            below = complete[:, height:]
            carry[:, : below.shape[1], start:stop] = below.cpu()
        carried = max(0, min(rows[number] + bands.size, bands.height) - ends[number])
        if number in numbers:
            if bands.turned:
                labels, shares = labels.T, shares.transpose(0, 2, 1) if with_probabilities else None
                sure = sure.T if with_confidence else None
            yield Finished(number, labels, shares, sure)


@dataclass
class _Piece:
    """A window on its way: where it lies along its band, its validity, and its weighted probabilities, CHW.

    A window without a valid pixel has no probabilities, and needs none: all pixels that it shares are invalid too.
    """

    col: int
    valid: np.ndarray
    weighted: Tensor | None


def _band(
    image: Raster, bands: Bands, number: int, network: Callable, fill: np.ndarray, batch_size: int
) -> Iterator[_Piece]:
    """The windows of a band, left to right, the network run on those that have valid pixels."""
    bump = None

    def read() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for col in bands.cols:
            size = min(bands.size, bands.height), min(bands.size, bands.width)
            pixels, valid = image.read(bands.turn(Window(bands.rows[number], col, *size)))
            if not valid.all():
                pixels = np.where(valid, pixels, as_type(fill[:, None, None], pixels.dtype))
            yield col, pixels, valid

    def run(batch: list[tuple[int, np.ndarray, np.ndarray]]) -> Iterator[_Piece]:
        nonlocal bump
        filled = [pixels for _, pixels, valid in batch if valid.any()]
        probabilities = iter(network(np.stack(filled)) if filled else ())
        for col, _, valid in batch:
            weighted = None
            if valid.any():
                weighted = next(probabilities)
                bump = bump_of(*valid.shape).to(weighted.device) if bump is None else bump
                weighted = weighted * bump
            if bands.turned:
                valid = valid.T
                weighted = weighted.transpose(1, 2) if weighted is not None else None
            yield _Piece(col, valid, weighted)

    batch = []
    for entry in ahead(read(), depth=2 * batch_size):
        batch.append(entry)
        if sum(valid.any() for _, _, valid in batch) == batch_size:
            yield from run(batch)
            batch = []
    yield from run(batch)


def _joined_along(pieces: Iterator[_Piece], ends: list[int]) -> Iterator[tuple[int, np.ndarray, Tensor | None]]:
    """Adds up what neighbours in a band share: (first column, validity, weighted probabilities) of finished columns.

    Gives each piece up to where the next one starts; what lies beyond is added to that one.
    """
    shared = None
    for piece, end in zip(pieces, ends, strict=True):
        done = end - piece.col
        if piece.weighted is None:
            shared = None
            yield piece.col, piece.valid[:, :done], None
            continue
        if shared is not None:
            piece.weighted[:, :, : shared.shape[2]] += shared
        shared = piece.weighted[:, :, done:]
        yield piece.col, piece.valid[:, :done], piece.weighted[:, :, :done]


def _weighed(sums_CHW: Tensor, temperature: float) -> Tensor:
    """Blended probabilities, of any common factor, at a temperature: softmax(log p / temperature), of any factor.

    Of one window that is softmax(logits / temperature). It is taken of the blend, not of the windows that go into it,
    because so no label changes: the order of the classes stays.
    """
    return sums_CHW if temperature == 1 else (sums_CHW / sums_CHW.sum(0)).pow(1 / temperature)


def _likeliest(scores_CHW: Tensor) -> Tensor:
    """The class of the highest score of each pixel, uint8 HW; of equal ones the first.

    Class by class: on a CPU, torch's argmax over the first axis takes ten times as long.
    """
    best = scores_CHW[0].clone()
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for number in range(1, len(scores_CHW)):
        labels.masked_fill_(scores_CHW[number] > best, number)
        torch.maximum(best, scores_CHW[number], out=best)
    return labels


def bump_of(height: int, width: int) -> Tensor:
    """The weight of a window's pixels: a squared sine along both axes, HW, at least LEAST_WEIGHT."""
    sines = [torch.sin(torch.pi * (torch.arange(n) + 0.5) / n) ** 2 for n in (height, width)]
    return torch.outer(*sines).clamp(min=LEAST_WEIGHT)
