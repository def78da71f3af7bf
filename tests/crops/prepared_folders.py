"""What preparing a folder of samples leaves."""

from pathlib import Path

import numpy as np

from jingwei.crops.table import TRAIN, VALIDATION, label_path, read_crops
from jingwei.legend import NODATA
from jingwei.raster.crop_files import read_label_crop


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a training folder with its bytes, but for the records of how it was made."""
    files = [path for path in sorted((root / "train").rglob("*")) if path.is_file() and ".parts" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def sides_of(workspace) -> dict[str, set[str]]:
    """Sides of the split -> names of scenes."""
    crops = read_crops(workspace.crops)
    return {side: {crop.scene for crop in crops if crop.split == side} for side in (TRAIN, VALIDATION)}


def mosaic(workspace, scene: str, shape) -> np.ndarray:
    """The labels of a scene, put together from its crops."""
    labels = np.full(shape, NODATA, np.uint8)
    for crop in read_crops(workspace.crops):
        if crop.scene == scene:
            its = read_label_crop(label_path(workspace.train, crop))
            np.copyto(labels[crop.window.slices], its, where=its != NODATA)
    return labels
