"""Crop files: PNG where it holds the pixels, else tiled GeoTIFF."""

import os
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.raster.png import BrokenPng, PngReader, write_png
from jingwei.raster.reading import Raster
from jingwei.raster.writing import TiledWriter
from jingwei.system.while_used import WhileUsed


@contextmanager
def _one_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


# Threads are ours to deal out, and OpenCV's own pool would hang the loader processes that training forks.
opencv_on_one_thread = WhileUsed(_one_thread)


def crop_suffix(bands: int, dtype) -> str:
    """`.png` where PNG can hold a crop's pixels, else `.tif`."""
    return ".png" if bands in (1, 3) and np.dtype(dtype) == np.uint8 else ".tif"


def write_crop(path: str | Path, pixels_CHW: np.ndarray) -> None:
    """Writes a crop's pixels, whole or not at all, in the format of the path's suffix.

    Not durable: there are thousands of crops, and each is checked when it is read.
    """
    if Path(path).suffix == ".png":
        write_png(path, pixels_CHW[0] if len(pixels_CHW) == 1 else cv2.merge(list(pixels_CHW)), durable=False)
        return
    bands, height, width = pixels_CHW.shape
    with TiledWriter(path, height, width, bands=bands, dtype=pixels_CHW.dtype.name, durable=False) as writer:
        writer.write(Window(0, 0, height, width), pixels_CHW)


def read_crop(path: str | Path) -> np.ndarray:
    """A crop's pixels, HWC, in the file's type. Raises InputError where the file is missing or broken."""
    if str(path).endswith(".png"):
        pixels = _png(path) if os.path.exists(path) else None  # False too for a name no disk takes
        if pixels is None:
            raise InputError(path, "missing or broken", _how_to_cut_again(path))
        return pixels
    try:
        with Raster(path) as raster:
            pixels, _ = raster.read(Window(0, 0, *raster.shape))
    except InputError as error:
        raise InputError(path, error.args[1], _how_to_cut_again(path)) from error
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _how_to_cut_again(path: str | Path) -> str:
    """What makes a broken crop anew: cutting looks at all files, but what is prepared for a config has a stamp."""
    done = Path(path).parents[1] / "stamp"
    return f"delete {done} and start again: what is broken is made anew" if done.exists() else "cut the scenes again"


def _png(path: str | Path) -> np.ndarray | None:
    """A PNG's pixels, HWC; None for a broken one. Grey and RGB by our own reader, in half of OpenCV's time."""
    reader = PngReader.opens(path)
    if reader is None or reader.channels not in (1, 3):
        if reader:
            reader.close()
        return _by_opencv(str(path))
    pixels = np.empty((reader.height, reader.width, reader.channels), np.uint8)
    try:
        reader.read(pixels.transpose(2, 0, 1))
    except (BrokenPng, OSError):
        return None
    finally:
        reader.close()
    return pixels


def _by_opencv(path: str) -> np.ndarray | None:
    """What OpenCV makes of a PNG of another kind, HWC; None where it can't."""
    try:
        path.encode()
        pixels = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    except UnicodeEncodeError:  # a name in another encoding: OpenCV takes UTF-8
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.ndim == 3 else pixels[..., None]


def read_label_crop(path: str | Path) -> np.ndarray:
    """A crop's labels, HW uint8."""
    return read_crop(path)[..., 0]
