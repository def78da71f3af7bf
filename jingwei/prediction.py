"""From a tiled scene and a checkpoint to a label map: overlapping windows, blended smoothly, band by band.

Windows are spread evenly, `overlap` px or more over each other. Their class probabilities are weighted by a smooth bump
that nearly vanishes at a window's border, so that no seam can show. Only what overlaps is kept: along a band the
columns that the next window shares, between bands the rows. Bands run along the shorter side of the scene, so memory
follows that side alone.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from jingwei import raster
from jingwei.augment import as_type
from jingwei.checkpoints import Checkpoint
from jingwei.devices import autocast, find_device, find_precision
from jingwei.errors import CheckpointError, SettingError
from jingwei.grid import Window, even_starts
from jingwei.legend import NODATA
from jingwei.streaming import ahead
from jingwei.workspace import SCORE, STAMP, stamp, up_to_date

# Each entry: (quarter turns, mirrored).
TTA = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "d4": tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True)),
}
FLOOR = 1e-3  # the least weight of a pixel: at a scene's border a window's edge is all there is


@dataclass(frozen=True)
class PredictSettings:
    """How a scene is predicted. `window` and `overlap` in px; `tta` one of TTA."""

    window: int = 1024
    overlap: int = 256
    tta: str = "none"
    precision: str = "auto"

    def check(self) -> "PredictSettings":
        """The settings themselves, or a SettingError."""
        if self.window < 32 or not 0 <= self.overlap < self.window:
            problem = f"window {self.window} with overlap {self.overlap}"
            raise SettingError("--window", problem, "take 32 px or more, and an overlap below that")
        if self.tta not in TTA:
            raise SettingError(f"--tta {self.tta}", "no such augmentation", f"known are {', '.join(TTA)}")
        return self


def predict_scene(
    checkpoint: Checkpoint,
    weights_file: Path,
    source: Path,
    target: Path,
    settings: PredictSettings,
    *,
    device: str = "auto",
    batch_size: int = 0,
    workers: int = 1,
) -> bool:
    """Predicts the tiled scene `source` into the label map `target`. False where that was done before.

    The map is uint8, tiled, with the legend's colours and the scene's georeference; invalid pixels are NODATA.
    `batch_size` 0 takes 1 window at a time on a CPU, 8 on a GPU. Raises CheckpointError where the scene has other
    bands than the network.
    """
    settings.check()
    place = find_device(device)
    precision = find_precision(settings.precision, place)
    mark = stamp(source, weights_file, **asdict(settings) | {"precision": str(precision), "device": place.type})
    if up_to_date(target, mark):
        return False
    with raster.open_image(source) as image:
        if image.bands != checkpoint.spec.bands:
            problem = f"was trained on {checkpoint.spec.bands} bands, but {source.name} has {image.bands}"
            raise CheckpointError(weights_file, problem, "take scenes of the same bands, or train again")
        network = _Network(checkpoint, place, precision, settings.tta)
        batch_size = batch_size or (8 if place.type == "cuda" else 1)
        with raster.TiledWriter(
            target, image.height, image.width, like=image, nodata=NODATA,
            colormap=checkpoint.legend.colormap(), workers=workers, tags={STAMP: mark, SCORE: str(checkpoint.score)},
        ) as writer:  # fmt: skip
            title = f"predict {source.stem} by {target.stem}"
            with tqdm(total=image.height * image.width, unit="px", unit_scale=True, desc=title, disable=None) as bar:
                for window, labels in _labels(image, network, settings, batch_size):
                    writer.write(window, labels)
                    bar.update(labels.size)
    return True


class _Network:
    """Raw windows in, blended-ready class probabilities out."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, precision: torch.dtype, tta: str):
        self.classes = checkpoint.spec.classes
        self.fill = np.array(checkpoint.mean)[:, None, None]  # of invalid pixels: what the network sees as 0
        self.device, self.precision, self.turns = device, precision, TTA[tta]
        self.model = checkpoint.build().to(device, memory_format=torch.channels_last)

    def __call__(self, pixels_BCHW: np.ndarray) -> Tensor:
        """Mean class probabilities over the turns, float32 BCHW, on the device."""
        if pixels_BCHW.dtype == np.uint16:
            pixels_BCHW = pixels_BCHW.astype(np.int32)  # torch's uint16 knows few operations
        pixels = torch.from_numpy(pixels_BCHW).to(self.device, non_blocking=True).float()
        with torch.inference_mode(), autocast(self.device, self.precision):
            total = sum(self._turned(pixels, *turn) for turn in self.turns)
        return total / len(self.turns)

    def _turned(self, pixels: Tensor, turns: int, mirrored: bool) -> Tensor:
        view = pixels.flip(3) if mirrored else pixels
        view = torch.rot90(view, turns, (2, 3)).contiguous(memory_format=torch.channels_last)
        probabilities = torch.rot90(self.model(view).float().softmax(1), -turns, (2, 3))
        return probabilities.flip(3) if mirrored else probabilities


@dataclass
class _Piece:
    """A window on its way: where it lies along its band, its validity, and its weighted probabilities, CHW.

    A window without a valid pixel has no probabilities, and needs none: all pixels that it shares are invalid too.
    """

    col: int
    valid: np.ndarray
    weighted: Tensor | None


def _labels(
    image: raster.Raster, network: _Network, settings: PredictSettings, batch_size: int
) -> Iterator[tuple[Window, np.ndarray]]:
    """The label map, band by band: (window, labels_HW)."""
    # Everything below thinks of bands as rows of windows; in a wide scene rows and columns change places at both ends.
    turned = image.width > image.height
    height, width = sorted(image.shape, reverse=True)
    size = settings.window
    rows = even_starts(height, size, settings.overlap)
    cols = even_starts(width, size, settings.overlap)
    ends = [*rows[1:], height]
    deepest = max((first + size - end for first, end in zip(rows[:-1], ends[:-1], strict=True)), default=0)
    carry = torch.zeros(network.classes, max(0, deepest), width)
    carried = 0  # rows of `carry` that the band above has filled
    for first, end in zip(rows, ends, strict=True):
        labels = np.empty((end - first, width), np.uint8)
        pieces = _band(image, network, first, cols, size, batch_size, turned)
        for start, valid, complete in _joined_along(pieces, [*cols[1:], width]):
            stop = start + valid.shape[1]
            here = labels[:, start:stop]
            here[:] = NODATA
            if complete is None:
                continue
            complete[:, :carried] += carry[:, :carried, start:stop].to(complete.device)
            decided = complete[:, : end - first].argmax(0).to(torch.uint8).cpu().numpy()
            np.copyto(here, decided, where=valid[: end - first])
            below = complete[:, end - first :]
            carry[:, : below.shape[1], start:stop] = below.cpu()
        carried = min(first + size, height) - end
        yield _turn(Window(first, 0, end - first, width), turned), labels.T if turned else labels


def _band(
    image: raster.Raster, network: _Network, first: int, cols: list[int], size: int, batch_size: int, turned: bool
) -> Iterator[_Piece]:
    """The windows of a band, left to right, the network run on those that have valid pixels."""
    height, width = sorted(image.shape, reverse=True)
    bump = None

    def read() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for col in cols:
            window = Window(first, col, min(size, height), min(size, width))
            pixels, valid = image.read(_turn(window, turned))
            if not valid.all():
                pixels = np.where(valid, pixels, as_type(network.fill, pixels.dtype))
            yield col, pixels, valid

    def run(batch: list[tuple[int, np.ndarray, np.ndarray]]) -> Iterator[_Piece]:
        nonlocal bump
        filled = [pixels for _, pixels, valid in batch if valid.any()]
        probabilities = iter(network(np.stack(filled)) if filled else ())
        for col, _, valid in batch:
            weighted = None
            if valid.any():
                weighted = next(probabilities)
                bump = _bump(*valid.shape).to(weighted.device) if bump is None else bump
                weighted = weighted * bump
            if turned:
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


def _turn(window: Window, turned: bool) -> Window:
    return Window(window.col, window.row, window.width, window.height) if turned else window


def _bump(height: int, width: int) -> Tensor:
    """The weight of a window's pixels: a squared sine along both axes, HW, at least FLOOR."""
    sines = [torch.sin(torch.pi * (torch.arange(n) + 0.5) / n) ** 2 for n in (height, width)]
    return torch.outer(*sines).clamp(min=FLOOR)
