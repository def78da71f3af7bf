"""PNG rows, written and read, against OpenCV, Pillow and GDAL; and broken files, which must never pass."""

import re
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jingwei.raster.gdal import PNG_OPTIONS, gdal_errors
from jingwei.raster.png import SIGNATURE, BrokenPng, PngReader, PngWriter, write_png

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
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


def decode(path, heights=()) -> np.ndarray:
    """All pixels of a plain PNG, HWC, read in pieces of the given heights, then of 50 rows."""
    reader, heights = PngReader.opens(path), list(heights)
    assert reader is not None
    pieces = []
    try:
        while reader.row < reader.height:
            rows = heights.pop(0) if heights else min(50, reader.height - reader.row)
            # Of a width that is a lie, no pixel will come, so no memory is needed.
            planes = np.broadcast_to(np.uint8(0), (reader.channels, rows, reader.width))
            if reader.width < 1 << 16:
                planes = planes.copy()
            reader.read(planes)
            pieces.append(planes.transpose(1, 2, 0))
    finally:
        reader.close()
    return np.concatenate(pieces)


def by_gdal(path) -> np.ndarray:
    """All pixels as rasterio reads them, HWC."""
    with rasterio.Env(**PNG_OPTIONS), rasterio.open(path) as file:
        return file.read().transpose(1, 2, 0)


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
    assert np.array_equal(by_gdal(path), pixels)


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
    Image.fromarray(np.zeros((4, 5), np.uint8)).convert("1").save(tmp_path / "bits.png")
    assert PngReader.opens(tmp_path / "bits.png") is None
    Image.fromarray(np.zeros((4, 5), np.uint8)).convert("P").save(tmp_path / "palette.png")
    assert PngReader.opens(tmp_path / "palette.png") is None
    assert PngReader.opens(tmp_path / "missing.png") is None


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, data) of all chunks of a PNG."""
    found, place = [], 8
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        found.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += length + 12
    return found


@st.composite
def pngs(draw) -> tuple[np.ndarray, bytes]:
    """A small PNG of any plain kind, any filters, its data in one or many chunks, others before it: (pixels, bytes)."""
    height, width, bands = draw(st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 4)))
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (height, width, bands), dtype=np.uint8)
    filters = draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    extra = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"tEXt", b"note\0" + bytes(40)) + chunk(b"zzZz", b"?")
    extra = extra if draw(st.booleans()) else b""
    return pixels, encode(pixels, filters, extra=extra, split=draw(st.integers(0, 9)))


@st.composite
def damaged(draw) -> tuple[np.ndarray, bytes]:
    """A PNG with bytes flipped, lost, doubled or put in, or cut off anywhere; its pixels when it was whole."""
    pixels, content = draw(pngs())
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        end = place + draw(st.integers(1, 30))
        how = draw(st.sampled_from(["flip", "set", "cut", "lose", "double", "put in"]))
        if how == "flip" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "set" and content:
            content[place] = draw(st.sampled_from([0, 1, 127, 128, 255]))
        elif how == "cut":
            del content[place:]
        elif how == "lose":
            del content[place:end]
        elif how == "double":
            content[end:end] = content[place:end]
        elif how == "put in":
            content[place:place] = draw(st.binary(min_size=1, max_size=30))
    return pixels, bytes(content)


def refused_or_decoded(path, content: bytes) -> np.ndarray | None:
    """What our reader makes of a file's bytes. Anything but pixels, BrokenPng or leaving it to GDAL comes through."""
    path.write_bytes(content)
    reader = PngReader.opens(path)
    if reader is None:
        return None
    reader.close()
    try:
        return decode(path)
    except BrokenPng:
        return None


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_damage_of_any_kind_is_refused_or_harmless(tmp_path_factory, case):
    pixels, content = case
    found = refused_or_decoded(tmp_path_factory.getbasetemp() / "damaged.png", content)
    assert found is None or np.array_equal(found, pixels)


@st.composite
def odd(draw) -> bytes:
    """A file whose checksums are all right, but whose chunks are changed, lost, doubled or swapped."""
    _, content = draw(pngs())
    parts = chunks(content)
    for _ in range(draw(st.integers(1, 3))):
        i, j = draw(st.integers(0, len(parts) - 1)), draw(st.integers(0, len(parts) - 1))
        kind, data = parts[i]
        how = draw(st.sampled_from(["swap", "lose", "double", "rename", "cut", "empty", "change", "header", "data"]))
        if how == "swap":
            parts[i], parts[j] = parts[j], parts[i]
        elif how == "lose" and len(parts) > 1:
            del parts[i]
        elif how == "double":
            parts.insert(j, parts[i])
        elif how == "rename":
            parts[i] = draw(st.sampled_from([b"IDAT", b"IEND", b"tEXt", b"IHDR", b"PLTE", b"tRNS"])), data
        elif how == "cut":
            parts[i] = kind, data[: len(data) // 2]
        elif how == "empty":
            parts.insert(i, (kind, b""))
        elif how == "change" and data:
            place = draw(st.integers(0, len(data) - 1))
            parts[i] = kind, data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
        elif how == "header":
            fields = [
                draw(st.integers(0, 12)),
                draw(st.integers(0, 9)),
                8,
                draw(st.sampled_from([0, 2, 4, 6])),
                0,
                0,
                0,
            ]
            parts[0] = b"IHDR", struct.pack(">IIBBBBB", *fields)
        elif how == "data":
            raw = draw(st.binary(max_size=200))
            parts[i] = b"IDAT", zlib.compress(raw) if draw(st.booleans()) else raw
    return SIGNATURE + b"".join(chunk(kind, data) for kind, data in parts)


@settings(max_examples=300, deadline=None)
@given(odd())
def test_odd_files_are_refused_or_read_as_gdal_reads_them(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "odd.png"
    found = refused_or_decoded(path, content)
    if found is None:
        return
    try:
        with gdal_errors() as errors:
            theirs = by_gdal(path)
    except rasterio.errors.RasterioIOError:
        return  # stricter than we are, of what has nothing to do with the pixels
    assert errors or np.array_equal(found, theirs)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (2**31 - 1, 2), (2, 2**31 - 1), (2**32 - 1, 2**32 - 1)])
def test_absurd_sizes_take_no_memory(width, height, tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    path = tmp_path / "a.png"
    path.write_bytes(SIGNATURE + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b""))
    if not width * height:
        assert PngReader.opens(path) is None
        return
    with pytest.raises(BrokenPng):
        decode(path)


@pytest.mark.parametrize("kind", [b"IHDR", b"tEXt"])
def test_a_chunk_longer_than_the_file_takes_no_memory(kind, tmp_path):
    whole = encode(np.zeros((4, 5, 1), np.uint8), [0] * 4, extra=chunk(b"tEXt", b"note"))
    place = whole.index(kind) - 4
    (tmp_path / "a.png").write_bytes(whole[:place] + b"\xff\xff\xff\xff" + whole[place + 4 :])
    tracemalloc.start()
    assert PngReader.opens(tmp_path / "a.png") is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24


def test_a_header_that_its_checksum_denies_is_refused(tmp_path):
    """4 px of RGB and 12 px of grey take the same bytes: only the checksum tells that the header is wrong."""
    whole = encode(np.zeros((3, 4, 3), np.uint8), [0] * 3)
    (tmp_path / "a.png").write_bytes(whole.replace(struct.pack(">IIBB", 4, 3, 8, 2), struct.pack(">IIBB", 12, 3, 8, 0)))
    assert PngReader.opens(tmp_path / "a.png") is None


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_wrong_checksum_of_any_data_chunk_is_refused(which, tmp_path):
    content = bytearray(encode(np.zeros((30, 20, 3), np.uint8), [0, 4] * 15, split=5))
    places = [match.end() + 5 for match in re.finditer(b"\0\0\0[\1-\5]IDAT", content)]
    content[places[which] if which >= 0 else content.index(b"IEND") - 5] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BrokenPng, match="checksum"):
        decode(tmp_path / "a.png")


def test_thousands_of_empty_chunks_are_passed_over(tmp_path):
    pixels = np.random.default_rng(4).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    parts = chunks(encode(pixels, [0, 1, 2, 3, 4, 0, 1, 2, 3]))
    content = SIGNATURE + chunk(*parts[0]) + chunk(b"IDAT", b"") * 3000 + chunk(*parts[1]) + chunk(b"IDAT", b"") * 3000
    (tmp_path / "a.png").write_bytes(content + chunk(b"IEND", b""))
    assert np.array_equal(decode(tmp_path / "a.png"), pixels)


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


def test_fewer_rows_than_the_header_says_are_refused(tmp_path):
    good = encode(np.random.default_rng(3).integers(0, 256, (40, 30, 3), dtype=np.uint8), [1] * 40)
    header = struct.pack(">IIBBBBB", 30, 41, 8, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(good[:8] + chunk(b"IHDR", header) + good[33:])
    with pytest.raises(BrokenPng):
        decode(tmp_path / "a.png")


def _surplus(pixels: np.ndarray) -> dict[str, list[bytes]]:
    """The data chunks of PNGs that go on after their last row: libpng, GDAL and Pillow read all of them."""
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    data, more = zlib.compress(rows), rows + np.random.default_rng(1).bytes(200_000)
    long = zlib.compress(more)
    half = len(zlib.compress(rows)) // 2
    return {
        "two rows more": [zlib.compress(rows + bytes(2 * (1 + pixels[0].size)))],
        "one byte more": [zlib.compress(rows + b"\7")],
        "many rows more, in chunks": [long[i : i + 9000] for i in range(0, len(long), 9000)],
        "a byte after the end": [data + b"\0"],
        "a chunk after the end": [data, b"\0\0\0\0"],
        "two streams": [data, data],
        "empty chunks": [b"", data[:half], b"", b"", data[half:], b""],
    }


@pytest.mark.parametrize("kind", _surplus(np.zeros((1, 1, 3), np.uint8)))
def test_surplus_data_is_left_unread_as_libpng_leaves_it(kind, tmp_path):
    pixels = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    data = b"".join(chunk(b"IDAT", part) for part in _surplus(pixels)[kind])
    (tmp_path / "a.png").write_bytes(SIGNATURE + chunk(b"IHDR", header) + data + chunk(b"IEND", b""))
    assert np.array_equal(decode(tmp_path / "a.png"), pixels)
    assert np.array_equal(by_gdal(tmp_path / "a.png"), pixels)


def test_a_flipped_bit_before_surplus_rows_never_passes(tmp_path):
    pixels = np.random.default_rng(5).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    whole = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", _surplus(pixels)["two rows more"][0])
    for place in range(8 + 25 + 8, len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        (tmp_path / "a.png").write_bytes(bytes(flipped) + chunk(b"IEND", b""))
        with pytest.raises(BrokenPng):
            decode(tmp_path / "a.png")


def test_an_unknown_filter_is_refused(tmp_path):
    raw = bytes([7, 1, 2, 3])
    header = struct.pack(">IIBBBBB", 3, 1, 8, 0, 0, 0, 0)
    content = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BrokenPng, match="filter"):
        decode(tmp_path / "a.png")
