"""Whether a file is still the one that was written: its size and the checksum of its bytes."""

from pathlib import Path
from typing import NamedTuple

from isal.isal_zlib import crc32

AT_ONCE = 1 << 20  # bytes


class Digest(NamedTuple):
    """What is kept of a file, to know it again."""

    size: int
    crc: int


def digest_of(path: Path) -> Digest:
    """The digest of a file. Raises OSError where it can't be read."""
    crc = size = 0
    with open(path, "rb") as file:
        while block := file.read(AT_ONCE):
            crc, size = crc32(block, crc), size + len(block)
    return Digest(size, crc)


def has_size(path: Path, digest: Digest) -> bool:
    """Whether a file is there and as large as it was, which takes no time to say."""
    try:
        return path.stat().st_size == digest.size
    except OSError:
        return False


def is_same(path: Path, digest: Digest) -> bool:
    """Whether a file is there and holds the bytes that it held."""
    try:
        return has_size(path, digest) and digest_of(path) == digest
    except OSError:
        return False
