"""Checksums of the TIFFs that we write: of each tile, of the header, of the directories.

GDAL takes a flipped bit in a tile for other pixels, and one in a directory for another place, mostly without a word.
So what our reader asks GDAL for, it looks at first. The checksums lie behind the directories, where TIFF readers do not
look; files without them, of other programs and of version 0.3, are read as they are. A program that changes a file in
place (gdal_edit.py, QGIS) leaves the mark behind the header, so what it did looks like any damage, and is refused with
the way out: a copy by GDAL has no mark. Bytes that were merely added change nothing.

    behind the header: MAGIC, size of the file, uint64: so that one that was cut off is known
    at the end: CRC-32 of each tile's bytes, uint32, in the order of the directories; 0 of a blank one
    MAGIC, place of the first directory, uint64, BLAKE2b (16 bytes) of header and size and of all from that place on

JINGWEI_CHECKSUMS=0 in the environment turns the check off.
"""

import hashlib
import os
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import isal_zlib

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.raster.tiff import HEADER_SIZE, IMAGE, Directory, kind_of, list_directories, tiles_of, width_of
from jingwei.raster.tiles import TILE

CHECKSUMS = "JINGWEI_CHECKSUMS"  # the environment's name for the switch
MAGIC = b"JWSUMS1\n"
_MARK, _FOOT = struct.Struct("<8sQ"), struct.Struct("<8sQ16s")
HEAD_SIZE = HEADER_SIZE + _MARK.size  # bytes: tiles come behind
AT_ONCE = 1 << 22  # bytes that are read at a time
# Deleted first: who makes it looks at its stamp alone, and would keep it.
REMEDY = (
    "delete it and make it again, or copy it again; "
    "if another program changed it on purpose, copy it with gdal_translate"
)


def append_checksums(file: BinaryIO, directories: int, sums: Sequence[np.ndarray]) -> None:
    """Ends a TIFF (open to read and write) whose first directory lies at `directories` with the checksums of its tiles.

    `sums`: uint32 arrays, of each directory in its order.
    """
    file.seek(0, 2)
    file.write(b"".join(part.astype("<u4").tobytes() for part in sums))
    file.write(_FOOT.pack(MAGIC, directories, bytes(16))[:-16])
    end = file.tell()
    file.seek(HEADER_SIZE)
    file.write(_MARK.pack(MAGIC, end + _FOOT.size - _MARK.size))
    file.seek(0)
    head = file.read(HEAD_SIZE)
    file.seek(directories)
    digest = _digest(head, file.read(end - directories))
    file.seek(end)
    file.write(digest)


class Checksums:
    """The checksums of one file, and which of its tiles have been found right. `Checksums.of(path)` gives them."""

    def __init__(self, path: str | Path, file: BinaryIO, directories: list[Directory], sums: np.ndarray):
        self._path, self._file, self._lock = path, file, threading.Lock()
        self._pictures, first = [], 0
        for directory in directories:
            offsets, counts = tiles_of(directory)
            tiles = _Tiles(kind_of(directory), -(-width_of(directory) // TILE), offsets, counts, sums[first:])
            self._pictures.append(tiles)
            first += len(offsets)

    @classmethod
    def of(cls, path: str | Path) -> "Checksums | None":
        """Those of a file; None where it has none, or they are not wanted.

        Raises InputError where the header or a directory is not as it was written.
        """
        return None if os.environ.get(CHECKSUMS) == "0" else cls._open(path)

    @classmethod
    def _open(cls, path: str | Path) -> "Checksums | None":
        try:
            file = open(path, "rb", buffering=0)  # noqa: SIM115
        except OSError:  # behind /vsi, or not there: whoever opens it will say so
            return None
        try:
            with suppress(OSError):
                found = cls._read(path, file)
                if found:
                    return found
            file.close()
            return None
        except BaseException:
            file.close()
            raise

    @classmethod
    def _read(cls, path: str | Path, file: BinaryIO) -> "Checksums | None":
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(HEAD_SIZE)
        begins, noted = _MARK.unpack(head[HEADER_SIZE:]) if len(head) == HEAD_SIZE else (b"", 0)
        if begins == MAGIC and size < noted:
            raise InputError(path, f"is cut off: {size:,} of its {noted:,} bytes are there", REMEDY)
        written = noted if begins == MAGIC else size  # behind it lies what was merely added
        magic, place, digest = b"", 0, b""
        if HEAD_SIZE + _FOOT.size <= written:
            file.seek(written - _FOOT.size)
            magic, place, digest = _FOOT.unpack(file.read(_FOOT.size))
        if magic != MAGIC and not _like_mark(begins):
            return None
        tail = b""
        if HEAD_SIZE <= place < written - _FOOT.size:
            file.seek(place)
            tail = _read_all(file, written - len(digest) - place)
        if _digest(head, tail) != digest:
            raise InputError(path, "is not as it was written: its header or its directories have changed", REMEDY)
        directories = list_directories(tail, place, place)
        tiles = sum(len(tiles_of(directory)[0]) for directory in directories)
        end = len(tail) - _FOOT.size + len(digest)
        return cls(path, file, directories, np.frombuffer(tail[end - 4 * tiles : end], "<u4"))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def check(self, window: Window, kind: int = IMAGE) -> None:
        """Raises InputError where a tile of the scene (or of its MASK) that a window touches has changed."""
        for tiles in self._pictures:
            if tiles.kind == kind:
                for row in range(window.row // TILE, -(-window.row_end // TILE)):
                    first = row * tiles.across
                    self._check(tiles, first + window.col // TILE, first + -(-window.col_end // TILE))

    def check_all(self) -> None:
        """Raises InputError where any tile has changed, those of masks and overviews too."""
        for tiles in self._pictures:
            for first in range(0, len(tiles.right), tiles.across):
                self._check(tiles, first, first + tiles.across)

    def _check(self, tiles: "_Tiles", first: int, end: int) -> None:
        """Reads tiles that have not been read yet: those that lie one behind the other at once."""
        todo = first + np.flatnonzero(~tiles.right[first:end])
        if not len(todo):
            return
        offsets = tiles.offsets[todo]
        ends = offsets + tiles.counts[todo]
        breaks = np.flatnonzero(offsets[1:] != ends[:-1]) + 1
        sums = tiles.sums[todo].tolist()
        for begin, end in pairwise([0, *breaks.tolist(), len(todo)]):
            wrong = self._first_wrong(offsets[begin:end].tolist(), ends[begin:end].tolist(), sums[begin:end])
            if wrong is not None:
                rows = int(todo[begin + wrong]) // tiles.across * TILE
                raise InputError(self._path, f"is not as it was written, near row {rows}", REMEDY)
        tiles.right[todo] = True

    def _first_wrong(self, offsets: list[int], ends: list[int], sums: list[int]) -> int | None:
        """Which of some tiles, one behind the other, is the first whose bytes have not this CRC-32; None if none."""
        start, content = offsets[0], memoryview(b"")
        for number, (offset, end, crc) in enumerate(zip(offsets, ends, sums, strict=True)):
            if end - start > len(content):
                start = offset
                with self._lock:
                    self._file.seek(start)
                    content = memoryview(_read_all(self._file, min(ends[-1], max(end, start + AT_ONCE)) - start))
            if isal_zlib.crc32(content[offset - start : end - start]) != crc:
                return number
        return None


class _Tiles:
    """The tiles of one picture of a file."""

    def __init__(self, kind: int, across: int, offsets: np.ndarray, counts: np.ndarray, sums: np.ndarray):
        self.kind, self.across, self.offsets, self.counts = kind, across, offsets, counts
        self.sums = sums[: len(offsets)]
        self.right = counts == 0  # blank ones take no bytes


def is_whole(path: str | Path) -> bool:
    """Whether a file is there, has checksums, and is as it was written in every byte; whatever the switch says."""
    try:
        sums = Checksums._open(path)
        if sums is None:
            return False
        try:
            sums.check_all()
        finally:
            sums.close()
    except InputError:
        return False
    return True


def _like_mark(begins: bytes) -> bool:
    """Whether what lies behind a header is our mark, or what damage has left of it."""
    return sum(a == b for a, b in zip(begins, MAGIC, strict=False)) > len(MAGIC) // 2


def _digest(head: bytes, tail: bytes) -> bytes:
    digest = hashlib.blake2b(head, digest_size=16)
    digest.update(tail)
    return digest.digest()


def _read_all(file: BinaryIO, count: int) -> bytes:
    """`count` bytes; fewer where the file ends, or can't be read, before."""
    parts, count = [], int(count)
    with suppress(OSError):
        while count and (part := file.read(count)):
            parts.append(part)
            count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
