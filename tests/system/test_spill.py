"""Working data on disk."""

import mmap
import os

import numpy as np
import pytest

from jingwei.errors import OutputError
from jingwei.system import spill
from jingwei.system.spill import Table, Tape, temporary_folder


def test_a_tape_is_read_as_often_as_wanted(tmp_path):
    rng = np.random.default_rng(0)
    blocks = [rng.integers(0, 256, size, dtype=np.uint8) for size in (5, 0, 100_000, 1)]
    with Tape(tmp_path) as tape:
        scratch = np.empty(100_000, np.uint8)
        for rows, block in enumerate(blocks):
            scratch[: len(block)] = block
            tape.append(rows, scratch[: len(block)])
        for _ in range(2):
            read = list(tape)
            assert [rows for rows, _ in read] == [0, 1, 2, 3]
            for (_, again), block in zip(read, blocks, strict=True):
                np.testing.assert_array_equal(again, block)


@pytest.mark.parametrize("passed", [1, 1 << 30])
def test_a_table_keeps_what_was_written(tmp_path, monkeypatch, passed):
    monkeypatch.setattr(spill, "GROWTH", mmap.PAGESIZE)
    monkeypatch.setattr(spill, "PASSED", passed)
    rng = np.random.default_rng(0)
    expected = np.zeros(0, np.uint8)
    with Table(tmp_path) as table:
        for size in (1, 10, 5000, 300_000, 40):
            table.grow(size)
            assert len(table.array) >= max(size, len(expected))
            expected = np.concatenate([expected, np.zeros(len(table.array) - len(expected), np.uint8)])
            np.testing.assert_array_equal(table.array, expected)
            places = rng.integers(0, len(expected), 50)
            table.array[places] = expected[places] = rng.integers(1, 256, 50)
            table.passed(size)
        np.testing.assert_array_equal(table.array, expected)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the memory of this process from Linux")
def test_a_large_table_takes_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "PASSED", 1 << 22)

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE

    with Table(tmp_path) as table:
        table.grow(1 << 27)
        begun = resident()
        for place in range(0, 1 << 27, 1 << 20):
            table.array[place : place + (1 << 20)] = 1
            table.passed(place)
        assert resident() - begun < 1 << 24
        assert table.array[: 1 << 27 : 1 << 20].all()


class _Hasty:
    """A file that writes no more than 1000 bytes at once, as a system may."""

    def __init__(self, file):
        self._file = file

    def write(self, data):
        return self._file.write(memoryview(data)[:1000])

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_what_is_written_in_parts_is_whole(tmp_path, monkeypatch):
    plain = spill.tempfile.TemporaryFile
    monkeypatch.setattr(spill.tempfile, "TemporaryFile", lambda **settings: _Hasty(plain(**settings)))
    block = np.random.default_rng(0).integers(0, 256, 4321, dtype=np.uint8)
    with Tape(tmp_path) as tape, Table(tmp_path) as table:
        tape.append(1, block)
        ((_, again),) = tape
        np.testing.assert_array_equal(again, block)
        table.grow(5000)
        assert len(table.array) >= 5000


@pytest.mark.parametrize("kind", [Tape, Table])
def test_nothing_lies_in_the_folder(tmp_path, kind):
    with kind(tmp_path):
        assert not list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [Tape, Table])
def test_a_folder_that_is_not_there_is_told(tmp_path, kind):
    with pytest.raises(OutputError, match="nowhere: working data can't be written there"):
        kind(tmp_path / "nowhere").__enter__()


def test_a_machine_without_room_for_temporary_files_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(spill.tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(OutputError, match="temporary files: can't be written .*: free some space, or name a folder"):
        temporary_folder().__enter__()
