"""Crops as training reads them: each is compared with what `crops.csv` says of it when it is first read."""

from pathlib import Path

import numpy as np

from jingwei.crops.table import Crop, label_path
from jingwei.errors import InputError
from jingwei.legend import NODATA
from jingwei.raster.crop_files import read_crop
from jingwei.raster.histogram import histogram


class CropReader:
    """Reads crops of a table, all of one type of pixels: that of the first. In each process by itself."""

    def __init__(self, folder: Path, crops: list[Crop]):
        self.folder, self.first = folder, crops[0] if crops else None
        self._dtype: np.dtype | None = None
        self._checked: set[str] = set()

    def read(self, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """(pixels_HWC in the file's type, labels_HW uint8). InputError for files that are not what the table says."""
        path, labels_at = self.folder / "data" / crop.name, label_path(self.folder, crop)
        labels, pixels = read_crop(labels_at), read_crop(path)
        if crop.name not in self._checked:
            if self._dtype is None:
                self._dtype = pixels.dtype if crop == self.first else self._read_dtype()
            for file, problem in ((path, self._problem(pixels, crop)), (labels_at, _label_problem(labels, crop))):
                if problem:
                    table = self.folder / "crops.csv"
                    again = f"cut the scenes again, or delete {table} where a config had them prepared"
                    raise InputError(file, problem, again)
            self._checked.add(crop.name)
        return pixels, labels[..., 0]

    def _read_dtype(self) -> np.dtype:
        return read_crop(self.folder / "data" / self.first.name).dtype

    def _problem(self, pixels: np.ndarray, crop: Crop) -> str | None:
        """What is wrong with a crop's pixels, in words; None where nothing is."""
        height, width, bands = pixels.shape
        if (height, width) != (crop.window.height, crop.window.width):
            return f"is {height} x {width} px, but crops.csv says {crop.window.height} x {crop.window.width}"
        if bands != len(crop.mean):
            return f"has {bands} bands, but crops.csv says {len(crop.mean)}"
        if pixels.dtype != self._dtype:
            return f"holds values of {pixels.dtype}, but {self.first.name} of {self._dtype}"
        return None


def _label_problem(labels: np.ndarray, crop: Crop) -> str | None:
    """What is wrong with a crop's labels (HWC as read), in words; None where nothing is."""
    height, width, bands = labels.shape
    if (height, width) != (crop.window.height, crop.window.width):
        return f"is {height} x {width} px, but crops.csv says {crop.window.height} x {crop.window.width}"
    if bands != 1 or labels.dtype != np.uint8:
        return f"has {bands} bands of {labels.dtype}, but labels are one band of uint8"
    counts = histogram(labels[..., 0])
    unknown = [i for i in np.flatnonzero(counts).tolist() if len(crop.pixels) <= i < NODATA]
    if unknown:
        return f"has ids that the legend of the crops lacks: {', '.join(f'{i} ({counts[i]:,d} px)' for i in unknown)}"
    for i, count in enumerate(crop.pixels):
        if counts[i] != count:
            return f"has {counts[i]:,d} px of class {i}, but crops.csv says {count:,d}"
    if counts[: len(crop.pixels)].sum() != crop.valid:
        return f"has {counts[:NODATA].sum():,d} labelled px, but crops.csv says {crop.valid:,d}"
    return None
