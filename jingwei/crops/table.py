"""The table of training crops, `crops.csv`: their places, what their labels hold, their statistics."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.legend import Legend
from jingwei.raster.histogram import histogram
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.own_files import finite, read_table, read_text, short, whole

TRAIN, VALIDATION = "train", "validation"
FEW = 500  # validation pixels of a class: from fewer, no score says much
SPOILT = 1e4  # how many times as large as the usual crop's values those of a crop with a number that went wrong are
_FIXED: dict[str, Callable[[str], Any]] = {
    "name": str, "scene": str, "row": whole, "col": whole, "height": whole, "width": whole, "valid": whole, "split": str
}  # fmt: skip
_COLUMNS = _FIXED | {"class_*": whole, "mean_*": finite, "std_*": finite}


@dataclass(frozen=True)
class Crop:
    """One crop of a scene: its place, what its label holds, and its side of the split.

    `pixels[c]` counts the pixels of class c, `valid` all labelled ones; `mean` and `std` are per band, over the pixels
    inside the flight, in the file's units.
    """

    name: str
    scene: str
    window: Window
    valid: int
    pixels: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split: str = TRAIN


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per band, in the file's units: what a network's input is normalised by."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def statistics(crops: Iterable[Crop]) -> Statistics:
    """The statistics of all pixels of some crops, from those of each crop.

    Band by band, crops are left out that a single value has spoilt: those with values SPOILT times as large as those
    of the crop in the middle.
    """
    crops = list(crops)
    means, stds = (np.array([getattr(crop, name) for crop in crops]) for name in ("mean", "std"))
    sizes = np.hypot(means, stds)
    middle = np.median(sizes, axis=0)
    usual = (sizes <= SPOILT * middle) | (middle == 0)
    weights = np.array([crop.valid for crop in crops], np.float64)[:, None] * usual
    mean = (weights * means).sum(0) / weights.sum(0)
    variance = (weights * (stds**2 + means**2)).sum(0) / weights.sum(0) - mean**2
    std = np.sqrt(np.maximum(variance, 0))
    std[std == 0] = 1  # a constant band says nothing; dividing by 1 keeps it finite
    return Statistics(tuple(mean.tolist()), tuple(std.tolist()))


def unlabelled(crops: Iterable[Crop], names: Iterable[str], split: str) -> list[str]:
    """The names of the classes, given in the order of their ids, of which no pixel on that side is labelled."""
    pixels = [crop.pixels for crop in crops if crop.split == split]
    return [name for i, name in enumerate(names) if not any(counts[i] for counts in pixels)]


def write_crops(path: Path, crops: list[Crop]) -> None:
    """Writes `crops.csv`, whole or not at all."""
    classes = [f"class_{i}" for i in range(len(crops[0].pixels))]
    bands = range(1, len(crops[0].mean) + 1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_FIXED, *classes, *(f"mean_{b}" for b in bands), *(f"std_{b}" for b in bands)])
    for c in crops:
        writer.writerow(
            [c.name, c.scene, *c.window, c.valid, c.split, *c.pixels, *map(repr, c.mean), *map(repr, c.std)]
        )
    with whole_or_nothing(path, durable=False) as part:
        part.write_text(text.getvalue(), encoding="utf-8")


def read_crops(path: Path) -> list[Crop]:
    """Reads `crops.csv`. Raises InputError where it is missing or is not such a table."""
    cut = "run generate_train_data.py"
    what, remedy, missing = "is not a table of crops", f"{cut} again", f"{cut} first"
    crops = [_crop(row) for row in read_table(path, _COLUMNS, what=what, remedy=remedy, missing=missing)]
    for crop in crops:
        if not crop.pixels or not len(crop.mean) == len(crop.std) > 0:
            raise InputError(path, f"{what} (has no columns for classes, or not a mean_ and a std_ per band)", remedy)
        if crop.split not in (TRAIN, VALIDATION) or Path(crop.name).name != crop.name:  # never a path to elsewhere
            raise InputError(path, f"{what} ({short(crop.name)}, split {short(crop.split)})", remedy)
    names = [crop.name for crop in crops]
    if len(set(names)) < len(names):  # it would count twice, or be on both sides of the split
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise InputError(path, f"lists {short(twice)} twice", f"{cut} again, or delete all but one of its lines")
    return crops


def crops_stamp(path: Path, legend: Legend) -> str:
    """A hash of `crops.csv` and what its classes are, wherever it lies: of other crops, splits or classes, another."""
    text = read_text(path, remedy="run generate_train_data.py again").replace("\r\n", "\n")
    hashed = f"{text}\n{legend.names} {legend.background}"
    return hashlib.sha256(hashed.encode()).hexdigest()[:16]


def notes_on_classes(crops: Iterable[Crop], legend: Legend, validated: bool = True) -> list[str]:
    """A line that names the classes that training can't learn, and one for those that no validation can judge."""
    crops, lines = list(crops), []
    missing = unlabelled(crops, legend.names, TRAIN)
    if missing:
        lines.append(f"no training pixel of: {', '.join(missing)}")
    unjudged = unlabelled(crops, legend.names, VALIDATION)
    if validated and len(unjudged) == len(legend):
        lines.append("no validation: no pixel is left for it")
    elif validated and set(unjudged) - set(missing):
        lines.append(f"no validation pixel of: {', '.join(unjudged)}")
    judged = [c.pixels for c in crops if c.split == VALIDATION]
    pixels = np.sum(judged, axis=0).tolist() if judged else [0] * len(legend)
    few = [f"{name} ({count:,d} px)" for name, count in zip(legend.names, pixels, strict=True) if 0 < count < FEW]
    if validated and few:
        lines.append(f"few validation pixels, so their scores will say little: {', '.join(few)}")
    return lines


def _crop(row: dict[str, Any]) -> Crop:
    kept: dict[str, Any] = {
        name: tuple(v for k, v in row.items() if k.startswith(f"{name}_")) for name in ("mean", "std")
    }
    return Crop(
        name=row["name"],
        scene=row["scene"],
        window=Window(*(row[key] for key in ("row", "col", "height", "width"))),
        valid=row["valid"],
        pixels=tuple(v for k, v in row.items() if k.startswith("class_")),
        split=row["split"],
        **kept,
    )


def label_path(folder: Path, crop: Crop) -> Path:
    """Where a crop's labels are under the training folder."""
    return folder / "label" / f"{Path(crop.name).stem}.png"


def count_classes(labels: np.ndarray, num_classes: int) -> tuple[int, ...]:
    """Pixels per class id 0 .. `num_classes` - 1 of a uint8 label array (HW)."""
    return tuple(histogram(labels)[:num_classes].tolist())


def with_labels(crop: Crop, labels: np.ndarray) -> Crop:
    """The crop with its counts taken from new labels."""
    pixels = count_classes(labels, len(crop.pixels))
    return replace(crop, pixels=pixels, valid=sum(pixels))
