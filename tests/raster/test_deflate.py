"""Deflate: what goes in comes out, and the bytes depend on the data alone."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jingwei.raster.deflate import AHEAD, Deflater, deflated

SIZES = [0, 1, 2, AHEAD - 1, AHEAD, AHEAD + 1, AHEAD + 2, 511, 512, 513, 70_000]


def draw(size: int, values: int = 3) -> np.ndarray:
    return np.random.default_rng(size).integers(0, values, size, dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_zlib_reads_it(size):
    for values in (1, 3, 256):
        data = draw(size, values)
        assert zlib.decompress(deflated(data)) == data.tobytes()


@given(st.lists(st.integers(0, 400), max_size=8))
def test_zlib_reads_what_came_in_pieces(sizes):
    stream, pieces = Deflater(), [draw(size) for size in sizes]
    done = b"".join([*map(stream.add, pieces), stream.end()])
    assert zlib.decompress(done) == b"".join(piece.tobytes() for piece in pieces)


def test_the_bytes_are_the_same_wherever_the_state_lies():
    """Without the remedy, some of so many addresses are taken for the data (`isal_zlib.compressobj` fails this)."""
    data = np.zeros(700, np.uint8)
    for value in range(1, 256):
        data[1:500] = value
        streams = [Deflater() for _ in range(400)]  # none is freed: each lies elsewhere
        assert len({stream.add(data) + stream.end() for stream in streams}) == 1
