"""How much of a map depends on chance: labels that change when nothing that matters has changed.

A part of a scene is predicted as it is, and again after small changes: cropped by 1 to 31 px (so that windows lie
elsewhere), mirrored, under a little other light, at a little other scale. No labels are needed. What changes is not
wrong, and what stays is not right; but a map can be no more accurate than it is repeatable.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.legend import NODATA
from jingwei.models.checkpoints import Checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.bands import Bands
from jingwei.prediction.engines.registry import make_engine
from jingwei.prediction.engines.views import Viewer
from jingwei.prediction.fitting import check_scene, open_fitting
from jingwei.prediction.model import Pixels
from jingwei.prediction.pipeline import predicted_bands
from jingwei.prediction.settings import AUTO, PredictSettings
from jingwei.raster.pixels import as_type
from jingwei.raster.reading import Raster
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.progress import Progress

SIDE = 1024  # px, of the part that is looked at: two windows of 512 px and more along each side
SHIFTS = ((1, 1), (7, 13), (16, 16), (31, 5))  # rows and columns that are cropped off, px
LIGHT = 0.05  # of a pixel's value
SCALE = 0.05
KINDS = {
    "shifts": "windows shifted by 1 to 31 px",
    "flips": "mirrored",
    "light": "5 % darker or brighter",
    "scale": "5 % smaller or larger",
}
CANDIDATES = 4  # places along each side of the scene, of which the one with most valid pixels is taken

Change = Callable[[np.ndarray], np.ndarray]


class Trial(NamedTuple):
    """A change: its name, what it does to pixels_CHW, and what brings labels_HW of those back to the first ones."""

    name: str
    change: Change
    back: Change


def robustness(
    weights: Path, checkpoint: Checkpoint, scene: Path, settings: PredictSettings, device: str = "auto"
) -> dict:
    """The share of labels that each change turns into others, on a part of a scene: what `write_robustness` keeps.

    `shifts`, `flips`, `light` and `scale` are 0 to 1, each the mean over its `trials`. Raises InputError for a scene
    without valid pixels, CheckpointError for one that doesn't fit the network.
    """
    settings.check()
    found = find_device(device)
    precision = find_precision(settings.precision, found)
    with open_fitting(scene, checkpoint) as image:
        check_scene(checkpoint, weights, image)
        part = _fullest(image)
        pixels, valid = image.read(part)
    mean = np.array(checkpoint.mean)
    if not valid.any():
        raise InputError(scene, "has no valid pixel in the part that was looked at", "take another scene")
    pixels = np.where(valid, pixels, as_type(mean[:, None, None], pixels.dtype))
    name = "torch" if settings.engine == AUTO else settings.engine
    network = Viewer(make_engine(name, checkpoint, found, precision, [pixels]), settings.tta)

    def labels_of(shown: np.ndarray) -> np.ndarray:
        shown = np.ascontiguousarray(shown)
        image = Pixels(shown, np.ones(shown.shape[1:], bool))
        bands = Bands.of(image.shape, settings.window, settings.overlap)
        labels = np.full(image.shape, NODATA, np.uint8)
        batch_size = 8 if found.type == "cuda" else 1
        numbers, classes = range(len(bands)), checkpoint.spec.classes
        for band in predicted_bands(image.read, bands, numbers, network, classes, mean, batch_size=batch_size):
            labels[bands.window(band.number).slices] = band.values["labels"]
        return labels

    first = labels_of(pixels)
    shares: dict[str, list[float]] = {}
    trials = dict(_trials(pixels.shape[1:]))
    for title, each in Progress(
        [(kind, trial) for kind, several in trials.items() for trial in several], desc="robustness", unit="trial"
    ):
        found_again = each.back(labels_of(each.change(pixels)))
        known = valid & (found_again != NODATA)
        shares.setdefault(title, []).append(float((found_again != first)[known].mean()) if known.any() else 0.0)
    return {
        **{kind: round(sum(values) / len(values), 6) for kind, values in shares.items()},
        "trials": {t.name: round(v, 6) for kind, ts in trials.items() for t, v in zip(ts, shares[kind], strict=True)},
        "part": list(part), "pixels": int(valid.sum()), "settings": settings.to_dict(),
    }  # fmt: skip


def write_robustness(path: Path, found: dict) -> None:
    """Keeps what was found, as JSON."""
    with whole_or_nothing(path) as part:
        part.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _fullest(image: Raster) -> Window:
    """The part that is looked at: of some places spread over the scene the one with most valid pixels."""
    height, width = min(SIDE, image.height), min(SIDE, image.width)
    steps = [k / (CANDIDATES - 1) for k in range(CANDIDATES)]
    places = [(round(i * (image.height - height)), round(j * (image.width - width))) for i in steps for j in steps]
    parts = [Window(*place, height, width) for place in dict.fromkeys(places)]
    return max(parts, key=lambda part: int(image.read_validity(part).sum()))


def _within(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in a type of pixels: what goes beyond it ends at its ends."""
    if np.issubdtype(dtype, np.integer):
        values = values.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return as_type(values, dtype)


def table(found: dict) -> str:
    """What `robustness` found, a line per kind of change."""
    lines = [f"  {KINDS[kind]:{max(map(len, KINDS.values()))}}  {found[kind]:6.2%}" for kind in KINDS if kind in found]
    return "\n".join([f"labels that change, of {found['pixels']:,d} px:", *lines])


def _trials(shape: tuple[int, int]) -> Iterator[tuple[str, list[Trial]]]:
    height, width = shape

    def cropped(rows: int, cols: int) -> Trial:
        def back(labels: np.ndarray) -> np.ndarray:
            placed = np.full(shape, NODATA, np.uint8)
            placed[rows:, cols:] = labels
            return placed

        return Trial(f"cropped by {rows} and {cols} px", lambda pixels: pixels[:, rows:, cols:], back)

    def mirrored(name: str, axis: int) -> Trial:
        return Trial(name, lambda pixels: np.flip(pixels, axis), lambda labels: np.flip(labels, axis - 1))

    def lit(factor: float) -> Trial:
        def change(pixels: np.ndarray) -> np.ndarray:
            return _within(pixels.astype(np.float32) * factor, pixels.dtype)

        return Trial(f"{factor - 1:+.0%} light", change, lambda labels: labels)

    def scaled(factor: float) -> Trial:
        def change(pixels: np.ndarray) -> np.ndarray:
            size = [max(32, round(side * factor)) for side in shape]
            values = torch.from_numpy(pixels.astype(np.float32))[None]
            resized = functional.interpolate(values, size, mode="bilinear", align_corners=False, antialias=factor < 1)
            return _within(resized[0].numpy(), pixels.dtype)

        def back(labels: np.ndarray) -> np.ndarray:
            rows, cols = (
                ((np.arange(side) + 0.5) * there / side).astype(int)
                for side, there in zip(shape, labels.shape, strict=True)
            )
            return labels[rows[:, None], cols]

        return Trial(f"{factor - 1:+.0%} scale", change, back)

    yield "shifts", [cropped(*shift) for shift in SHIFTS if shift[0] < height and shift[1] < width]
    yield "flips", [mirrored("mirrored left to right", 2), mirrored("mirrored top to bottom", 1)]
    yield "light", [lit(1 - LIGHT), lit(1 + LIGHT)]
    yield "scale", [scaled(1 - SCALE), scaled(1 + SCALE)]
