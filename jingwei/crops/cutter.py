"""From windows of a scene to crop files: what is kept of each, and what is not worth a file."""

import hashlib
from pathlib import Path

import cv2
import numpy as np

from jingwei.crops.scene_cut import PREVIEW_SIDE, whole_label
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import Crop, count_classes
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.legend import NODATA, Legend
from jingwei.raster.crop_files import crop_suffix, write_crop
from jingwei.raster.far_values import FarValue, far_value
from jingwei.raster.histogram import histogram
from jingwei.raster.label_values import refuse_unknown_ids
from jingwei.raster.png import write_png
from jingwei.raster.preview import natural
from jingwei.raster.reading import Raster
from jingwei.system.digests import Digest, digest_of
from jingwei.workspace import Workspace


class Cutter:
    """Turns windows of one scene into crop files, on any thread; gathers the preview."""

    def __init__(self, workspace: Workspace, scene: Scene, image: Raster, legend: Legend, settings: CutSettings):
        self.workspace, self.scene, self.legend, self.settings = workspace, scene, legend, settings
        self.suffix = crop_suffix(image.bands, image.dtype)
        self.any_valid = False
        self._ids = np.zeros(256, np.int64)
        self._counted_to = 0
        self._written: list[Path] = []
        self._far: list[FarValue] = []
        self.files: dict[str, Digest] = {}  # those written, under train/
        self._step = -(-max(image.shape) // PREVIEW_SIDE)
        self._preview = np.zeros((-(-image.height // self._step), -(-image.width // self._step), 3), np.float32)

    def cut(self, window: Window, pixels: np.ndarray, valid: np.ndarray, labels: np.ndarray) -> Crop | None:
        """Writes one crop (pixels_CHW, valid_HW, labels_HW). None where there is nothing to learn."""
        if not valid.any():
            return None
        self.any_valid = True
        self._add_to_preview(window, pixels, valid)
        if far := far_value(pixels, valid, window.row, window.col):
            self._far.append(far)
        invalid = ~valid
        labels = labels.copy()
        np.copyto(labels, NODATA, where=invalid)  # a third of the time of `np.where`
        counts = count_classes(labels, len(self.legend))
        if not sum(counts):
            return None
        name = f"{self.scene.name}_{window.row:06d}_{window.col:06d}"
        background = self.legend.background
        only_background = background is not None and sum(counts) == counts[background]
        if only_background and not keeps_background(name, self.settings.keep_background):
            return None
        clean = pixels.copy()
        np.copyto(clean, 0, where=invalid)
        mask = valid.view(np.uint8)
        moments = np.array([cv2.meanStdDev(plane, mask=mask) for plane in clean])[:, :, 0, 0]
        picture = self.workspace.train / "data" / f"{name}{self.suffix}"
        label = whole_label(self.workspace, picture.name)
        self._written += [picture, label]
        write_crop(picture, clean)
        write_png(label, labels, durable=False)
        for path in (picture, label):
            self.files[path.relative_to(self.workspace.train).as_posix()] = digest_of(path)
        mean, std = (tuple(column.tolist()) for column in moments.T)
        return Crop(picture.name, self.scene.name, window, sum(counts), counts, mean, std)

    @property
    def far(self) -> FarValue | None:
        """The first value that is far from all others near it."""
        return min(self._far, default=None)

    def count_ids(self, first: int, labels: np.ndarray) -> None:
        """Adds up the ids of labels over the rows of a band that no earlier band had."""
        fresh = labels[self._counted_to - first :]
        self._counted_to = first + len(labels)
        if len(fresh):
            self._ids += histogram(fresh)

    def refuse_unknown(self) -> None:
        """Raises InputError naming the unknown ids and their pixel counts."""
        assert self.scene.label is not None, "ids are counted of labels"
        refuse_unknown_ids(self.scene.label, self.legend, self._ids)

    def delete_written(self) -> None:
        """Removes the crops of a scene that turned out to be unusable."""
        for path in self._written:
            path.unlink(missing_ok=True)

    def _add_to_preview(self, window: Window, pixels: np.ndarray, valid: np.ndarray) -> None:
        step = self._step
        rows, cols = (slice(-start % step, None, step) for start in (window.row, window.col))
        small = np.where(valid[rows, cols], pixels[:3, rows, cols], 0)
        small = small if len(small) == 3 else np.repeat(small[:1], 3, axis=0)
        row, col = -(-window.row // step), -(-window.col // step)
        self._preview[row : row + small.shape[1], col : col + small.shape[2]] = small.transpose(1, 2, 0)

    def preview(self) -> np.ndarray:
        """The scene at a small size, HWC RGB uint8, its brightest and darkest percent cut off."""
        return natural(self._preview)


def keeps_background(name: str, share: float) -> bool:
    """Whether a crop of nothing but background is kept: a choice by the hash of its name, the same in every run."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") < share * 2**64
