"""Tiles of a pyramid: filled window by window, made into bytes, and halved into the tile above them.

All of it runs on worker threads: the loops are compiled and, like the codecs, leave Python's lock.
"""

import threading
from typing import NamedTuple

import numpy as np
import zstandard
from isal import isal_zlib

from jingwei.grid import Window
from jingwei.raster.deflate import deflated
from jingwei.system.compiled import compiled

TILE = 256  # pixels a side: a random 512 window reads fastest from tiles of this size
_compressors = threading.local()


class Encoded(NamedTuple):
    """A tile's bytes as they lie in the file, of its pixels and of its mask: empty where it is blank. Their CRC-32."""

    pixels: bytes
    mask: bytes
    pixels_crc: int
    mask_crc: int

    @classmethod
    def of(cls, pixels: bytes, mask: bytes) -> "Encoded":
        return cls(pixels, mask, isal_zlib.crc32(pixels), isal_zlib.crc32(mask))


class Tile:
    """One tile of a picture, TILE x TILE, of which `window` (in px of its level) lies inside the scene.

    Pixels outside the scene and those that nobody wrote are `fill`; where there is a mask, they are invalid, and so
    are pixels that were written as invalid: their values are dropped.
    """

    def __init__(self, window: Window, bands: int, dtype: np.dtype, fill: float, mask: bool):
        self.window, self.fill = window, fill
        self.missing = window.height * window.width  # pixels that are still to be written
        self.pixels_CHW = np.full((bands, TILE, TILE), fill, dtype) if fill else np.zeros((bands, TILE, TILE), dtype)
        self.valid_HW = np.zeros((TILE, TILE), bool) if mask else None

    def put(self, window: Window, pixels_CHW: np.ndarray, valid_HW: np.ndarray | None) -> None:
        """Writes a part of the tile; `window` is counted from the tile's corner."""
        rows, cols = window.slices
        self.missing -= window.height * window.width
        assert self.missing >= 0, "a pixel was written twice"
        if self.valid_HW is None:
            self.pixels_CHW[:, rows, cols] = pixels_CHW
        elif valid_HW is not None and valid_HW.any():
            self.valid_HW[rows, cols] = valid_HW
            _put_valid(pixels_CHW, valid_HW, self.pixels_CHW[:, rows, cols])

    def halve_into(self, above: "Tile") -> None:
        """Writes the tile at half its size to its place in the tile above: averages of valid pixels.

        Without a mask these are class ids, which can't be averaged: of 2 x 2 pixels, the upper left one stays.
        """
        half = TILE // 2
        rows = slice(self.window.row // 2 % TILE, self.window.row // 2 % TILE + half)
        cols = slice(self.window.col // 2 % TILE, self.window.col // 2 % TILE + half)
        small = above.pixels_CHW[:, rows, cols]
        if self.valid_HW is None:
            small[:] = self.pixels_CHW[:, ::2, ::2]
        elif above.valid_HW is not None and self.valid_HW.any():
            _halve(self.pixels_CHW, self.valid_HW, small, above.valid_HW[rows, cols], small.dtype.kind != "f")

    def encoded(self) -> Encoded:
        """The tile's bytes: pixels by ZSTD after TIFF's predictor 2 (3 for floats), the mask's bits by deflate.

        The ZSTD frames carry checksums, 4 bytes each: with them, other readers find most flipped bits.
        """
        mask = b""
        if self.valid_HW is not None:
            if not self.valid_HW.any():
                return Encoded.of(b"", b"")
            mask = deflated(np.packbits(self.valid_HW, axis=1))
        if self.pixels_CHW[0, 0, 0] == self.fill and (self.pixels_CHW == self.fill).all():
            return Encoded.of(b"", mask)
        if not hasattr(_compressors, "zstd"):
            _compressors.zstd = zstandard.ZstdCompressor(level=1, write_checksum=True)
        return Encoded.of(_compressors.zstd.compress(_predicted(self.pixels_CHW)), mask)


def _predicted(pixels_CHW: np.ndarray) -> np.ndarray:
    """The bytes that a TIFF's codec gets: what is left of each pixel once its left neighbour is known."""
    bands, height, width = pixels_CHW.shape
    size = pixels_CHW.dtype.itemsize
    if pixels_CHW.dtype.kind == "f":
        # Technical note 3 of TIFF: the bytes of a row's values in planes, the highest first, then byte differences.
        rows = np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0), dtype=pixels_CHW.dtype.newbyteorder(">"))
        planes = rows.view(np.uint8).reshape(height, width * bands, size).transpose(0, 2, 1).reshape(height, -1)
        result = planes.copy()
        result[:, bands:] -= planes[:, :-bands]
        return result
    values = pixels_CHW.view(f"u{size}")
    result = np.empty((height, width, bands), values.dtype)
    _differences(values, result)
    return result


@compiled
def _put_valid(pixels, valid, out):
    """Writes pixels (C, H, W) to `out` where they are valid (H, W), and 0 elsewhere."""
    bands, height, width = pixels.shape
    for c in range(bands):
        for r in range(height):
            for x in range(width):
                out[c, r, x] = pixels[c, r, x] if valid[r, x] else 0


@compiled
def _halve(pixels, valid, small, small_valid, whole):
    """Averages of the valid pixels of each 2 x 2, invalid ones being 0; whole numbers round halves away from 0."""
    bands, height, width = small.shape
    for r in range(height):
        for x in range(width):
            some = valid[2 * r, 2 * x] | valid[2 * r, 2 * x + 1] | valid[2 * r + 1, 2 * x] | valid[2 * r + 1, 2 * x + 1]
            small_valid[r, x] = some
    for c in range(bands):
        for r in range(height):
            upper, lower, above, below = pixels[c, 2 * r], pixels[c, 2 * r + 1], valid[2 * r], valid[2 * r + 1]
            for x in range(width):
                left, right = 2 * x, 2 * x + 1
                total = np.float64(upper[left]) + upper[right] + lower[left] + lower[right]
                count = np.int32(above[left]) + above[right] + below[left] + below[right]
                mean = total / max(count, 1)
                small[c, r, x] = np.copysign(np.floor(abs(mean) + 0.5), mean) if whole else mean


@compiled
def _differences(pixels, out):
    """Each value (C, H, W) less the one to its left, wrapping round, as (H, W, C)."""
    bands, height, width = pixels.shape
    for r in range(height):
        for c in range(bands):
            row, to = pixels[c, r], out[r, :, c]
            to[0] = row[0]
            for x in range(1, width):
                to[x] = row[x] - row[x - 1]
