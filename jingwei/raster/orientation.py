"""Pictures that cameras store turned: the EXIF orientation, and the picture upright.

Programs that draw masks show pictures upright, GDAL gives them as they are stored: without this, the two would meet at
a half or a quarter turn. Values 1 to 8 as in EXIF 2.3 (CIPA DC-008), tag 274.
"""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rasterio.windows import Window as RasterioWindow

from jingwei.errors import InputError
from jingwei.raster.georeference import Georeference

UPRIGHT = 1
MOST_BYTES = 1 << 29  # of a picture that is turned: it has to be in memory as a whole
_TAG, _SHORT = 274, 3


def orientation_of(dataset, path: Path) -> int:
    """The orientation that an open dataset's file names, 1 where it names none."""
    value = UPRIGHT
    if dataset.driver == "JPEG":
        text = dataset.tags().get("EXIF_Orientation", "")
        value = int(text) if text.isdecimal() else UPRIGHT
    elif dataset.driver in ("GTiff", "PNG"):
        try:
            with open(path, "rb") as file:
                value = _in_tiff(file, 0) if dataset.driver == "GTiff" else _in_png(file)
        except (OSError, struct.error, OverflowError):  # behind /vsi, or cut off: then no pixel will come either
            value = UPRIGHT
    return value if 1 <= value <= 8 else UPRIGHT


def _in_tiff(file: BinaryIO, start: int) -> int:
    """The orientation in the first directory of a TIFF that begins at `start`."""
    file.seek(start)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order else 0
    if version == 42:
        place, count, entry = struct.unpack(f"{order}I", head[4:8])[0], "H", "HHI4s"
    elif version == 43:
        place, count, entry = struct.unpack(f"{order}Q", head[8:16])[0], "Q", "HHQ8s"
    else:
        return UPRIGHT
    file.seek(start + place)
    (entries,) = struct.unpack(f"{order}{count}", file.read(struct.calcsize(f"{order}{count}")))
    size = struct.calcsize(f"{order}{entry}")
    for _ in range(min(entries, 1 << 12)):
        tag, kind, _, value = struct.unpack(f"{order}{entry}", file.read(size))
        if tag == _TAG and kind == _SHORT:
            return struct.unpack(f"{order}H", value[:2])[0]
    return UPRIGHT


def _in_png(file: BinaryIO) -> int:
    """The orientation in a PNG's eXIf chunk, where one comes before the pixels."""
    file.seek(8)
    while True:
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"eXIf":
            return _in_tiff(file, file.tell())
        if kind in (b"IDAT", b"IEND"):
            return UPRIGHT
        file.seek(length + 4, 1)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels (..., H, W) as they are to be seen; a view."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[..., ::-1, :]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[..., ::-1]
    return pixels.swapaxes(-1, -2) if orientation in (5, 6, 7, 8) else pixels


class Upright:
    """A dataset of rasterio whose pixels and masks are given upright: read as a whole, when the first are wanted.

    All else is the dataset's own. Raises InputError for a picture that is too large, and for one with a georeference,
    which would be that of the stored pixels: who drew its mask on which of the two, nobody knows.
    """

    def __init__(self, dataset, path: Path, orientation: int):
        self._dataset, self.orientation = dataset, orientation
        self._planes: np.ndarray | None = None
        self._masks: np.ndarray | None = None
        problem = f"is stored turned (EXIF orientation {orientation})"
        remedy = "save it upright (as `mogrify -auto-orient` does), or take the tag away where the pixels are right"
        if Georeference.of(dataset):
            raise InputError(path, f"{problem}, but has a georeference", remedy)
        height, width = dataset.shape
        size = height * width * sum(np.dtype(name).itemsize for name in dataset.dtypes)
        if size > MOST_BYTES:
            raise InputError(path, f"{problem}, and is too large to be turned here", remedy)
        self.shape = (width, height) if orientation >= 5 else (height, width)
        self.block_shapes = [(1, 1)] * dataset.count

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    def read(self, numbers: list[int], window: RasterioWindow, out_dtype=None) -> np.ndarray:
        """The pixels of a window, CHW."""
        if self._planes is None:
            self._planes = upright(self._dataset.read(out_dtype=out_dtype), self.orientation)
        rows, cols = window.toslices()
        return self._planes[[number - 1 for number in numbers], rows, cols]

    def read_masks(self, number: int, window: RasterioWindow) -> np.ndarray:
        """The mask of a band in a window, HW."""
        if self._masks is None:
            self._masks = upright(self._dataset.read_masks(), self.orientation)
        return self._masks[(number - 1, *window.toslices())]
