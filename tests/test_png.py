"""PNG rows, written and read, against OpenCV, Pillow and GDAL; and broken files, which must never pass."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jingwei.png import SIGNATURE, BrokenPng, PngReader, PngWriter, write_png

COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(
    pixels: np.ndarray, filters, depth: int = 8, interlaced: int = 0, extra: bytes = b"", split: int = 0
) -> bytes:
    """A PNG whose row r has filter `filters[r]`: the specification's arithmetic, byte by byte, in plain Python."""
    height, width, bands = pixels.shape
    above, raw = bytes(width * bands), b""
    for row, kind in zip(pixels.reshape(height, -1), filters, strict=True):
        line, out = bytes(row.tolist()), bytearray()
        for i, value in enumerate(line):
            left = line[i - bands] if i >= bands else 0
            up, corner = above[i], above[i - bands] if i >= bands else 0
            estimate = left + up - corner
            nearest = min(
                (abs(estimate - left), 0, left), (abs(estimate - up), 1, up), (abs(estimate - corner), 2, corner)
            )
            out.append((value - (0, left, up, (left + up) // 2, nearest[2])[kind]) % 256)
        raw, above = raw + bytes([kind]) + bytes(out), line
    header = struct.pack(">IIBBBBB", width, height, depth, COLOR_TYPES[bands], 0, 0, interlaced)
    data = zlib.compress(raw)
    parts = [data[i : i + split] for i in range(0, len(data), split)] if split else [data]
    return SIGNATURE + chunk(b"IHDR", header) + extra + b"".join(chunk(b"IDAT", p) for p in parts) + chunk(b"IEND", b"")


def decode(path, heights=None) -> np.ndarray:
    """All pixels of a plain PNG, HWC, read in pieces of the given heights."""
    reader = PngReader.opens(path)
    assert reader is not None
    pieces = []
    for rows in heights or [reader.height]:
        planes = np.empty((reader.channels, rows, reader.width), np.uint8)
        reader.read(planes)
        pieces.append(planes.transpose(1, 2, 0))
    reader.close()
    return np.concatenate(pieces)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_reads_every_filter_and_colour_type(tmp_path_factory, data):
    height, width, bands = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 4)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    pixels = rng.integers(0, 256, (height, width, bands), dtype=np.uint8)
    filters = data.draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    path = tmp_path_factory.mktemp("png") / "a.png"
    path.write_bytes(encode(pixels, filters, split=data.draw(st.integers(0, 20))))
    cut = data.draw(st.integers(0, height))
    assert np.array_equal(decode(path, [h for h in (cut, height - cut) if h]), pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_reads_what_pillow_writes(tmp_path, mode):
    bands = len(mode)
    noise = np.random.default_rng(0).integers(0, 256, (211, 307, bands), dtype=np.uint8)
    pixels = cv2.blur(noise, (7, 7)).reshape(noise.shape)  # smooth, so that all filters are chosen
    Image.fromarray(pixels.squeeze(), mode=mode).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png", [100, 100, 11]), pixels)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_writes_what_pillow_and_we_read(tmp_path, bands, rows):
    pixels = np.random.default_rng(1).integers(0, 256, (64, 51, bands), dtype=np.uint8)
    with PngWriter(tmp_path / "a.png", 64, 51, bands) as writer:
        for first in range(0, 64, rows):
            part = pixels[first : first + rows]
            writer.write(part[..., 0] if bands == 1 else part)
    read = np.asarray(Image.open(tmp_path / "a.png")).reshape(pixels.shape)
    assert np.array_equal(read, pixels)
    assert np.array_equal(decode(tmp_path / "a.png"), pixels)


def test_leaves_other_kinds_of_files_to_gdal(tmp_path):
    pixels = np.zeros((4, 5, 1), np.uint8)
    files = {
        "interlaced.png": encode(pixels, [0] * 4, interlaced=1),
        "deep.png": encode(pixels, [0] * 4, depth=16),
        "transparent.png": encode(pixels, [0] * 4, extra=chunk(b"tRNS", b"\0\0")),
        "text.png": b"no picture at all, but long enough to be looked at",
        "empty.png": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert PngReader.opens(tmp_path / name) is None, name
    Image.fromarray(np.zeros((4, 5), np.uint8)).convert("P").save(tmp_path / "palette.png")
    assert PngReader.opens(tmp_path / "palette.png") is None
    assert PngReader.opens(tmp_path / "missing.png") is None


def test_a_flipped_or_missing_byte_of_the_pixels_never_passes(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", pixels)
    whole = (tmp_path / "a.png").read_bytes()
    first, last = whole.index(b"IDAT"), whole.index(b"IEND") - 4
    for place in range(first + 4, last, 37):
        flipped = bytearray(whole)
        flipped[place] ^= 0x40
        for content in (bytes(flipped), whole[:place], whole[:place] + whole[place + 1 :]):
            (tmp_path / "b.png").write_bytes(content)
            with pytest.raises(BrokenPng):
                decode(tmp_path / "b.png")


@pytest.mark.parametrize("rows", [39, 41])
def test_more_or_fewer_rows_than_the_header_says_are_refused(tmp_path, rows):
    pixels = np.random.default_rng(3).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    good = encode(pixels, [1] * 40)
    header = struct.pack(">IIBBBBB", 30, rows, 8, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(good[:8] + chunk(b"IHDR", header) + good[33:])
    with pytest.raises(BrokenPng):
        decode(tmp_path / "a.png")


def test_an_unknown_filter_is_refused(tmp_path):
    raw = bytes([7, 1, 2, 3])
    header = struct.pack(">IIBBBBB", 3, 1, 8, 0, 0, 0, 0)
    content = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BrokenPng, match="filter"):
        decode(tmp_path / "a.png")
