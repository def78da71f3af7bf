"""8-bit PNGs of any size, row by row, several times as fast as libpng over the system's zlib.

Deflate is ISA-L's; the filters are compiled here. Only whole rows, only from the top: what else a PNG may be (16 bits,
palettes, interlaced) is GDAL's work, see `raster/`. Format: PNG specification, third edition, W3C.
"""

import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from isal import igzip_lib, isal_zlib

from jingwei.raster.deflate import Deflater
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.compiled import compiled

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # of the colour types: grey, RGB, grey with alpha, RGBA
INFLATED = 1 << 19  # bytes inflated at a time (a row at least): they stay in a core's cache
INFLATE_ERROR: Any = igzip_lib.error  # an exception's class, though isal's stubs call it an exception


class BrokenPng(ValueError):
    """A PNG whose bytes can't be right: truncated, a wrong checksum, fewer pixels than it says."""


class PngReader:
    """Reads a plain 8-bit PNG from top to bottom: grey or RGB, with or without alpha, not interlaced.

    `PngReader.opens(path)` gives one, or None where the file is another kind of PNG, or none at all.
    """

    def __init__(self, file):
        self._file = file
        self.row = self.height = 0  # the next row to be read, and how many there are
        self._size = file.seek(0, 2)
        file.seek(0)
        if file.read(8) != SIGNATURE:
            raise BrokenPng("not a PNG")
        kind, header = self._chunk()
        if kind != b"IHDR" or len(header) != 13:
            raise BrokenPng("no PNG header")
        self.width, self.height, depth, color, *methods = struct.unpack(">IIBBBBB", header)
        if not (self.width and self.height):
            raise BrokenPng(f"{self.width} x {self.height} px")
        self.channels = CHANNELS.get(color, 0)
        self.plain = depth == 8 and self.channels > 0 and methods == [0, 0, 0]
        self._inflate = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
        self._above: np.ndarray | None = None
        self._left = self._crc = 0  # of the chunk of data that is being read
        while self.plain:
            kind, _ = self._chunk()
            if kind == b"IDAT":
                break
            self.plain = kind != b"tRNS"  # one colour made transparent: rare, and GDAL knows it

    @classmethod
    def opens(cls, path: str | Path) -> "PngReader | None":
        """A reader at row 0, or None where the file is not a plain 8-bit PNG."""
        try:
            file = open(path, "rb")  # noqa: SIM115
        except OSError:
            return None
        try:
            reader = cls(file)
        except BrokenPng:
            file.close()
            return None
        if not reader.plain:
            file.close()
            return None
        return reader

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def read(self, planes: np.ndarray) -> None:
        """Fills uint8 planes (channels, rows, width) with the next rows. BrokenPng where the file doesn't hold them."""
        rows, stride = planes.shape[1], 1 + self.width * self.channels
        assert self.row + rows <= self.height, "read beyond the last row"
        at_once = max(1, INFLATED // stride)
        for first in range(0, rows, at_once):
            count = min(at_once, rows - first)
            filtered = np.frombuffer(self._inflated(count * stride), np.uint8).reshape(count, stride)
            if self._above is None:
                self._above = np.zeros(stride - 1, np.uint8)
            if not _unfilter(filtered, self._above, planes[:, first : first + count]):
                raise BrokenPng(f"unknown filter in rows {self.row} to {self.row + count}")
            self.row += count
        if self.row == self.height:
            self._finish()

    def _inflated(self, size: int) -> bytes:
        parts = []
        while size:
            data = self._file_data() if self._inflate.needs_input else b""
            try:
                part = self._inflate.decompress(data, max_length=size)
            except (INFLATE_ERROR, EOFError) as error:
                raise BrokenPng(f"broken data near row {self.row} ({error})") from error
            if not part and self._inflate.eof:
                raise BrokenPng(f"the data ends near row {self.row} of {self.height}")
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _file_data(self) -> bytes:
        """The next bytes of the IDAT chunks, their checksums looked at."""
        while not self._left:
            if struct.unpack(">I", self._bytes(4))[0] != self._crc:
                raise BrokenPng(f"wrong checksum near row {self.row}")
            self._left, kind = struct.unpack(">I4s", self._bytes(8))
            if kind != b"IDAT":
                raise BrokenPng(f"the data ends near row {self.row} of {self.height}")
            self._crc = zlib.crc32(kind)
        data = self._bytes(min(self._left, INFLATED))
        self._left -= len(data)
        self._crc = isal_zlib.crc32(data, self._crc)
        return data

    def _finish(self) -> None:
        """Checks what follows the last row: the end of the data and its checksum.

        Surplus rows or bytes are left unread, as libpng leaves them; the chunk that the pixels end in is checked whole.
        """
        surplus = b""
        while not (self._inflate.eof or surplus):
            try:
                surplus = self._inflate.decompress(
                    self._file_data() if self._inflate.needs_input else b"", max_length=1
                )
            except (INFLATE_ERROR, EOFError) as error:
                raise BrokenPng(f"broken data after the last row ({error})") from error
        while self._left:
            self._file_data()
        if struct.unpack(">I", self._bytes(4))[0] != self._crc:
            raise BrokenPng("wrong checksum after the last row")

    def _chunk(self) -> tuple[bytes, bytes]:
        """The next chunk: its kind and its data, the checksum looked at. Of the first IDAT, all is left to be read."""
        length, kind = struct.unpack(">I4s", self._bytes(8))
        if kind == b"IDAT":
            self._left, self._crc = length, zlib.crc32(kind)
            return kind, b""
        if length > self._size:
            raise BrokenPng(f"chunk {kind!r} is longer than the file")
        data = self._bytes(length)
        if struct.unpack(">I", self._bytes(4))[0] != zlib.crc32(data, zlib.crc32(kind)):
            raise BrokenPng(f"wrong checksum of chunk {kind!r}")
        return kind, data

    def _bytes(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise BrokenPng(f"truncated near row {self.row} of {self.height}")
        return data


@compiled
def _unfilter(filtered, above, planes):
    """Undoes the filters of some rows (uint8, rows x (1 + width * channels)) into planes (channels, rows, width).

    `above` holds the row before the first one, and afterwards the last row. False for an unknown filter.
    """
    channels, rows, width = planes.shape
    size = width * channels
    for r in range(rows):
        kind = filtered[r, 0]
        raw = filtered[r, 1:]
        if kind == 0:
            above[:] = raw
        elif kind == 1:  # sub: the byte to the left is added
            above[:channels] = raw[:channels]
            for i in range(channels, size):
                above[i] = raw[i] + above[i - channels]
        elif kind == 2:  # up: the byte above
            for i in range(size):
                above[i] = raw[i] + above[i]
        elif kind == 3:  # average of both
            for i in range(channels):
                above[i] = raw[i] + (above[i] >> 1)
            for i in range(channels, size):
                above[i] = raw[i] + ((np.int32(above[i]) + np.int32(above[i - channels])) >> 1)
        elif kind == 4:  # Paeth: whichever of left, above, above left is nearest to left + above - above left
            _unfilter_paeth(raw, above, channels)
        else:
            return False
        for c in range(channels):
            for x in range(width):
                planes[c, r, x] = above[x * channels + c]
    return True


@compiled
def _unfilter_paeth(raw, above, channels):
    for c in range(channels):
        left = np.int32(0)
        corner = np.int32(0)
        for i in range(c, len(raw), channels):
            up = np.int32(above[i])
            to_left, to_up = abs(up - corner), abs(left - corner)
            to_corner = abs(left + up - 2 * corner)
            if to_left <= to_up and to_left <= to_corner:
                nearest = left
            elif to_up <= to_corner:
                nearest = up
            else:
                nearest = corner
            left = (np.int32(raw[i]) + nearest) & 255
            above[i] = left
            corner = up


class PngWriter:
    """An 8-bit PNG of any size, written top to bottom, whole or not at all. A context manager.

    `bands` is 1 (grey), 2 (grey with alpha), 3 (RGB) or 4 (RGBA). Rows are filtered (`up` for label maps, whose rows
    repeat; `sub` for pictures) and deflated by ISA-L: many times the speed of zlib at about the size of its level 1.
    `tags` are kept in the file as text chunks, names and values in Latin-1. `durable`: see `whole_or_nothing`.
    """

    def __init__(
        self,
        path,
        height: int,
        width: int,
        bands: int = 1,
        tags: dict[str, str] | None = None,
        durable: bool = True,
    ):
        self.path, self.height, self.width, self.bands = Path(path), height, width, bands
        self._tags = tags or {}
        self._whole = whole_or_nothing(path, durable)

    def __enter__(self) -> Self:
        self._part = self._whole.__enter__()
        try:
            self._file = open(self._part, "wb")
            self._file.write(SIGNATURE)
            color = {channels: color for color, channels in CHANNELS.items()}[self.bands]
            header = struct.pack(">IIBBBBB", self.width, self.height, 8, color, 0, 0, 0)
            self._file.write(_png_chunk(b"IHDR", header))
            for name, value in self._tags.items():
                self._file.write(_png_chunk(b"tEXt", f"{name}\0{value}".encode("latin-1")))
        except OSError as error:
            self._whole.__exit__(type(error), error, None)
        self._deflater = Deflater()
        self._above = np.zeros(self.width, np.uint8)
        self._rows = 0
        return self

    def write(self, rows: np.ndarray) -> None:
        """Appends rows: uint8 HW (grey) or HWC."""
        filtered = _filter_labels(rows, self._above) if self.bands == 1 else _filter_pixels(rows)
        if self.bands == 1:
            self._above = rows[-1].copy()
        self._rows += len(rows)
        data = self._deflater.add(filtered)
        if data:
            self._file.write(_png_chunk(b"IDAT", data))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = None
        try:
            if error is None:
                assert self._rows == self.height, f"{self._rows} rows written of {self.height}"
                self._file.write(_png_chunk(b"IDAT", self._deflater.end()) + _png_chunk(b"IEND", b""))
            self._file.close()
        except BaseException as problem:
            failure = problem
            kind, error = type(problem), problem
        self._whole.__exit__(kind, error, trace)
        if failure is not None:
            raise failure


def write_png(path: str | Path, pixels: np.ndarray, durable: bool = True) -> None:
    """Writes a small picture (HW grey or HWC RGB/RGBA, uint8) as PNG, whole or not at all."""
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    with PngWriter(path, pixels.shape[0], pixels.shape[1], bands=bands, durable=durable) as writer:
        writer.write(pixels)


def _filter_pixels(rows: np.ndarray) -> np.ndarray:
    height, width, bands = rows.shape
    filtered = np.empty((height, 1 + width * bands), np.uint8)
    filtered[:, 0] = 1  # sub: each byte less the same band of the pixel to its left
    flat = rows.reshape(height, width * bands)
    filtered[:, 1 : 1 + bands] = flat[:, :bands]
    np.subtract(flat[:, bands:], flat[:, :-bands], out=filtered[:, 1 + bands :])
    return filtered


def _filter_labels(rows: np.ndarray, above: np.ndarray) -> np.ndarray:
    height, width = rows.shape
    filtered = np.empty((height, 1 + width), np.uint8)
    filtered[:, 0] = 2  # up: each byte less the one above it
    np.subtract(rows[0], above, out=filtered[0, 1:])
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
