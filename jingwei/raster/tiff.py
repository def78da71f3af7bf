"""The skeleton of a TIFF file: its directories, read from one file and written into another.

A directory lists a picture's tags: size, type, compression, georeference, where each tile lies. GDAL knows them all,
so it writes a small file of the same kind, and the directories of a giant are made from those. Little endian BigTIFF
only. Formats: TIFF 6.0 (Adobe, 1992), the BigTIFF design (AWare Systems), masks and overviews as GDAL has them.
"""

import struct
from typing import BinaryIO

import numpy as np

HEADER_SIZE = 16
_KIND, _WIDTH, _HEIGHT, _OFFSETS, _COUNTS = 254, 256, 257, 324, 325
_LONG, _LONG8 = 4, 16
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

# Kinds of pictures in one file (tag 254, NewSubfileType): bits that are added up.
IMAGE, OVERVIEW, MASK = 0, 1, 4

Directory = dict[int, tuple[int, bytes]]  # tag -> (type of its values, their bytes)


def read_directories(content: bytes) -> dict[int, Directory]:
    """The directories of a small file: kind of picture -> its tags; of several of a kind, the last."""
    order, version, _, _, place = struct.unpack_from("<2sHHHQ", content)
    assert (order, version) == (b"II", 43), "not a little endian BigTIFF"
    return {kind_of(directory): directory for directory in list_directories(content, place)}


def list_directories(content: bytes, place: int, start: int = 0) -> list[Directory]:
    """The directories from the one at `place` on, in their order; `content` is a file's from its byte `start` on."""
    directories = []
    while place:
        place -= start
        (entries,) = struct.unpack_from("<Q", content, place)
        directory: Directory = {}
        for entry in range(place + 8, place + 8 + 20 * entries, 20):
            tag, kind, count = struct.unpack_from("<HHQ", content, entry)
            size = count * _SIZES[kind]
            first = entry + 12 if size <= 8 else struct.unpack_from("<Q", content, entry + 12)[0] - start
            directory[tag] = kind, content[first : first + size]
        (place,) = struct.unpack_from("<Q", content, place + 8 + 20 * entries)
        directories.append(directory)
    return directories


def kind_of(directory: Directory) -> int:
    """What a picture is: IMAGE, OVERVIEW, MASK, added up."""
    return int.from_bytes(directory.get(_KIND, (0, b""))[1], "little")


def tiles_of(directory: Directory) -> tuple[np.ndarray, np.ndarray]:
    """Where the tiles of a picture with `with_tiles` lie, and how long they are (bytes), int64; 0 of blank ones."""
    offsets, counts = np.frombuffer(directory[_OFFSETS][1], "<u8"), np.frombuffer(directory[_COUNTS][1], "<u4")
    return offsets.astype(np.int64), counts.astype(np.int64)


def width_of(directory: Directory) -> int:
    """A picture's width in px."""
    return int.from_bytes(directory[_WIDTH][1], "little")


def with_tiles(directory: Directory, height: int, width: int, offsets: np.ndarray, counts: np.ndarray) -> Directory:
    """The same kind of picture at another size (px), its tiles at these places (bytes); blank ones have offset 0."""
    size = {_HEIGHT: (_LONG, struct.pack("<I", height)), _WIDTH: (_LONG, struct.pack("<I", width))}
    places = {_OFFSETS: (_LONG8, offsets.astype("<u8").tobytes()), _COUNTS: (_LONG, counts.astype("<u4").tobytes())}
    return directory | size | places


def write_directories(file: BinaryIO, directories: list[Directory]) -> int:
    """Writes directories at the end of a file, one after the other, and the header that leads to them at its start.

    Returns the place of the first.
    """
    place = first = _aligned(file)
    file.seek(0)
    file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, place))
    for number, directory in enumerate(directories):
        file.seek(place)
        following = place + 8 + 20 * len(directory) + 8
        entries, beyond = [], b""
        for tag, (kind, values) in directory.items():  # tags rise, as the format wants it: GDAL wrote them so
            where = values.ljust(8, b"\0") if len(values) <= 8 else struct.pack("<Q", following + len(beyond))
            entries.append(struct.pack("<HHQ", tag, kind, len(values) // _SIZES[kind]) + where)
            if len(values) > 8:
                beyond += values + bytes(-len(values) % 8)
        place = following + len(beyond) if number + 1 < len(directories) else 0
        file.write(struct.pack("<Q", len(entries)) + b"".join(entries) + struct.pack("<Q", place) + beyond)
    return first


def _aligned(file: BinaryIO) -> int:
    """The next multiple of 8 at or after the end of a file."""
    return -(-file.seek(0, 2) // 8) * 8
