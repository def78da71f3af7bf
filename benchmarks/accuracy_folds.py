"""What `accuracy.py` trains and scores on: the scenes of a folder, each left out in turn.

A fold trains on all scenes but its own. Where a folder has a single scene, `blocks` cuts it into squares that play the
part of scenes, and `fields` shares its labelled fields out: each fold's fields are hidden from its training.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import rasterio
from scipy import ndimage

from jingwei.inputs.scenes import SCENE_TYPES, label_of, natural_order
from jingwei.legend import JINGWEI, NODATA, Legend, find_legend
from jingwei.workspace import Workspace

MARGIN = 32  # px between blocks that neither of them has
Pair = tuple[Path, Path]  # a picture and its label


class Fold(NamedTuple):
    """The scenes to train on and those to score."""

    name: str
    train: list[Pair]
    test: list[Pair]


def legend_of(folder: Path) -> Legend:
    """The folder's own legend, or the contest's."""
    own = folder / "legend.json"
    return find_legend(str(own)) if own.exists() else JINGWEI


def labelled_scenes(folder: Path) -> list[Pair]:
    """The labelled pictures of a folder, or of a project's training and test scenes."""
    pictures = [p for p in folder.iterdir() if p.suffix.lower() in SCENE_TYPES and not p.stem.endswith("_label")]
    pairs = [(path, label_of(path)) for path in sorted(pictures, key=lambda path: natural_order(path.name))]
    if not pairs:
        workspace = Workspace(folder)
        pairs = [(s.image, s.label) for s in (*workspace.train_scenes(), *workspace.test_scenes())]
    if not (pairs := [pair for pair in pairs if pair[1]]):
        sys.exit(f"error: {folder}: no picture with a label beside it: put image_1_label.png beside image_1.png")
    return pairs


def folds_of(folder: Path, work: Path, groups: list[str] | None, blocks: int, fields: int) -> list[Fold]:
    """The folds of a folder. `groups` are names of scenes to be left out together, joined by +, one fold each."""
    pairs = labelled_scenes(folder)
    if fields:
        return field_folds(*pairs[0], work / "fields", fields)
    if blocks:
        pairs = block_scenes(*pairs[0], work / "blocks", blocks)
    by_name = {image.stem: (image, label) for image, label in pairs}
    if missing := [name for group in groups or [] for name in group.split("+") if name not in by_name]:
        sys.exit(f"error: --groups: {', '.join(missing)}: not among {', '.join(by_name)}")
    folds = []
    for group in groups or by_name:
        out = group.split("+")
        train = [pair for name, pair in by_name.items() if name not in out]
        folds.append(Fold(group, train, [by_name[name] for name in out]))
    return folds


def block_scenes(image: Path, label: Path, work: Path, blocks: int) -> list[Pair]:
    """Cuts a scene into `blocks` x `blocks` scenes with a margin between."""
    work.mkdir(parents=True, exist_ok=True)
    with rasterio.open(image) as source, rasterio.open(label) as truth:
        pixels, labels = source.read(), truth.read(1)
    pairs = []
    rows, cols = (np.linspace(0, length, blocks + 1).astype(int) for length in labels.shape)
    for number in range(blocks**2):
        row, col = divmod(number, blocks)
        part = (slice(rows[row] + MARGIN, rows[row + 1] - MARGIN), slice(cols[col] + MARGIN, cols[col + 1] - MARGIN))
        pair = work / f"image_{number}.tif", work / f"image_{number}_label.png"
        write_tif(pair[0], pixels[:, *part])
        cv2.imwrite(str(pair[1]), labels[part])
        pairs.append(pair)
    return pairs


def field_folds(image: Path, label: Path, work: Path, count: int) -> list[Fold]:
    """Shares the fields of a label (connected regions of one class) out over folds, class by class, the large first.

    Each class begins with the next fold. A class of a single field is trained on in all folds, and scored in none.
    """
    work.mkdir(parents=True, exist_ok=True)
    with rasterio.open(image) as source, rasterio.open(label) as truth:
        pixels, labels = source.read(), truth.read(1)
    fold_of = np.full(labels.shape, -1)
    for first, land_class in enumerate(np.unique(labels[labels != NODATA])):
        regions, found = ndimage.label(labels == land_class)
        sizes = np.bincount(regions.ravel(), minlength=found + 1)[1:]
        for place, region in enumerate(np.argsort(-sizes)):
            fold_of[regions == region + 1] = (first + place) % count if found > 1 else count
    folds = []
    for number in range(count):
        test, train = work / f"image_{number}_label.png", work / f"image_{number + count}_label.png"
        for path, kept in ((test, fold_of == number), (train, (fold_of != number) & (fold_of >= 0))):
            write_tif(path.with_name(f"{path.stem.removesuffix('_label')}.tif"), pixels)
            cv2.imwrite(str(path), np.where(kept, labels, NODATA).astype(np.uint8))
        pairs = [(path.with_name(f"{path.stem.removesuffix('_label')}.tif"), path) for path in (train, test)]
        folds.append(Fold(f"fields_{number}", [pairs[0]], [pairs[1]]))
    return folds


def write_tif(path: Path, pixels_CHW: np.ndarray) -> None:
    """A plain tiled GeoTIFF."""
    bands, height, width = pixels_CHW.shape
    shape = {"count": bands, "height": height, "width": width, "dtype": pixels_CHW.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", tiled=True, **shape) as file:
        file.write(pixels_CHW)
