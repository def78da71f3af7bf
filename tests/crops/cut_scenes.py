"""Scenes that tests cut, and what cutting leaves."""

from pathlib import Path

import numpy as np

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import Crop
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.crop_files import read_label_crop
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster
from jingwei.workspace import Workspace

SETTINGS = CutSettings(crop_size=64, stride=64, val_fraction=0.25, keep_background=1)


def cut(root: Path, scenes: list[Scene], settings=SETTINGS, legend=JINGWEI, workers=2) -> list[Crop]:
    return cut_train(Workspace(root), scenes, settings, legend, workers)


def scene_of(folder: Path, name: str, pixels: np.ndarray, labels: np.ndarray) -> Scene:
    """Writes a scene (pixels_HWC) and its labels as PNG."""
    scene = Scene(folder / f"{name}.png", folder / f"{name}_label.png")
    write_png(scene.image, pixels)
    write_png(scene.label, labels)
    return scene


def arrays_of(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pixels_CHW, valid_HW, labels_HW with NODATA outside the flight) of a whole scene."""
    with Raster(scene.image) as image, Raster(scene.label) as label:
        everything = Window(0, 0, *image.shape)
        pixels, valid = image.read(everything)
        return pixels, valid, np.where(valid, label.read(everything)[0][0], NODATA).astype(np.uint8)


def labels_of(root: Path, crop: Crop) -> np.ndarray:
    return read_label_crop(root / "train" / "label" / f"{Path(crop.name).stem}.png")


def contents(root: Path, *parts: str) -> dict[str, bytes]:
    """Every file of the training folder with its bytes."""
    base = root / "train"
    files = [path for path in sorted(base.rglob("*")) if path.is_file()]
    names = {path.relative_to(base).as_posix(): path.read_bytes() for path in files}
    return {name: content for name, content in names.items() if not parts or name.startswith(parts)}
