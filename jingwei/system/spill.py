"""Working data that may outgrow the memory, in files without a name: they are gone in every case, even when killed."""

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Self

import numpy as np

from jingwei.errors import OutputError
from jingwei.system.atomic import room_at

GROWTH = 1 << 20  # bytes by which a table grows at least
PASSED = 1 << 26  # bytes after which memory is given back


class Tape:
    """Blocks of bytes that are written in order and read from the start, as often as wanted. A context manager.

    `folder` is where the disk has room; None takes the system's place for temporary files.
    """

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._blocks: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        self._file = _nameless(self._folder)
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def append(self, rows: int, block: np.ndarray) -> None:
        """Adds a block (uint8) that stands for some rows. Raises OutputError where the disk is full."""
        self._blocks.append((rows, len(block)))
        _write(self._file, block.data, self._folder)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        self._file.seek(0)
        for rows, size in self._blocks:
            yield rows, np.frombuffer(self._file.read(size), np.uint8)


class Table:
    """A uint8 array that grows, zeros to begin with. Of a large one only the part in use is in memory.

    `array` is the whole of it; a new one after each `grow`. A context manager.
    """

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._map: mmap.mmap | None = None
        self._passed = 0
        self.array = np.zeros(0, np.uint8)

    def __enter__(self) -> Self:
        self._file = _nameless(self._folder)
        return self

    def __exit__(self, *exception: object) -> None:
        self.array = np.zeros(0, np.uint8)
        self._map = None
        self._file.close()

    def grow(self, size: int) -> None:
        """Makes room for `size` bytes at least. Raises OutputError where the disk is full."""
        have = len(self.array)
        if size <= have:
            return
        size = max(size + size // 4, have + GROWTH)
        self._file.seek(0, 2)
        # Written, not just made longer: a mapped file that finds the disk full later would kill the process.
        for begin in range(have, size, GROWTH):
            _write(self._file, bytes(min(GROWTH, size - begin)), self._folder)
        self._map = mmap.mmap(self._file.fileno(), size)
        self.array = np.frombuffer(self._map, np.uint8)

    def passed(self, place: int) -> None:
        """Says where the work is. Now and then, the memory goes back; the system reads it again where it is needed."""
        if abs(place - self._passed) > PASSED:
            self._passed = place
            if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone when the block ends, where the system has temporary files. OutputError where it can't."""
    try:
        made = tempfile.TemporaryDirectory()
    except OSError as error:
        remedy = "free some space, or name a folder with room: TMPDIR=FOLDER in the environment"
        raise OutputError("temporary files", f"can't be written ({error.strerror or error})", remedy) from error
    with made as folder:
        yield Path(folder)


def _nameless(folder: Path | None) -> FileIO:
    try:
        return tempfile.TemporaryFile(dir=folder, buffering=0)
    except OSError as error:
        raise _failure(folder, error) from error


def _write(file: FileIO, data: bytes | memoryview, folder: Path | None) -> None:
    try:
        view = memoryview(data)
        while view:  # the system writes 2 GiB at a time at most
            view = view[file.write(view) :]
    except OSError as error:
        raise _failure(folder, error) from error


def _failure(folder: Path | None, error: OSError) -> OutputError:
    folder = Path(folder or tempfile.gettempdir())
    return OutputError(
        folder, f"working data can't be written there ({error.strerror or error})", room_at(folder / "data")
    )
