"""A flipped bit in a TIFF of ours never gives other pixels, another place or other no data without a word."""

import json

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.legend import JINGWEI
from jingwei.raster import checksums
from jingwei.raster.checksums import CHECKSUMS, HEAD_SIZE, MAGIC, Checksums, is_whole
from jingwei.raster.cog import write_cog
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster
from jingwei.raster.writing import TiledWriter, write_submission

FLIPS = 100  # of each kind of file
HEIGHT, WIDTH = 600, 700
WHOLE = Window(0, 0, HEIGHT, WIDTH)


def labels() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.kron(rng.integers(0, 5, (38, 44)), np.ones((16, 16), int))[:HEIGHT, :WIDTH].astype(np.uint8)


def noise(bands: int, dtype: str) -> np.ndarray:
    values = np.random.default_rng(2).normal(100, 30, (bands, HEIGHT, WIDTH))
    return values.clip(0, 255).astype(dtype)


KINDS = {
    "scene": (noise(3, "uint8"), {"mask": True, "overviews": True}),
    "map": (labels()[None], {"nodata": 255, "colormap": JINGWEI.colormap(), "tags": {"JINGWEI_STAMP": "0123456789ab"}}),
    "probabilities": (noise(4, "uint8"), {"nodata": 0}),
    "crop": (noise(2, "float32"), {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def like(tmp_path_factory):
    path = tmp_path_factory.mktemp("like") / "like.tif"
    how = dict(driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="uint8", crs="EPSG:32650")
    with rasterio.open(path, "w", transform=from_origin(500000, 4000000, 0.5, 0.5), **how) as file:
        file.write(labels(), 1)
    with Raster(path) as raster:
        yield raster


def write(path, kind: str, like):
    pixels, how = KINDS[kind]
    with TiledWriter(path, HEIGHT, WIDTH, like=like, bands=len(pixels), dtype=pixels.dtype.name, **how) as writer:
        valid = labels() > 0 if how.get("mask") else None
        writer.write(WHOLE, pixels, valid)
    return path


def read(path) -> tuple:
    """All that any stage takes from a file."""
    with Raster(path) as raster:
        facts, tags = json.dumps(raster.facts), sorted(raster.tags.items())
        rows = [raster.read_rows(first, min(first + 256, raster.height)) for first in range(0, raster.height, 256)]
    return facts, tags, *(np.concatenate(part, axis=-2).tobytes() for part in zip(*rows, strict=True))


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


def places(content: bytes, seed: int) -> list[tuple[int, int]]:
    """Half of them anywhere, half in the header, the directories and what comes behind them."""
    rng = np.random.default_rng(seed)
    directories = int.from_bytes(content[8:16], "little")
    heads = np.r_[0:HEAD_SIZE, directories : len(content)]
    anywhere = rng.integers(0, len(content), FLIPS // 2)
    return list(
        zip(np.r_[anywhere, rng.choice(heads, FLIPS // 2)].tolist(), rng.integers(0, 8, FLIPS).tolist(), strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_passes_without_a_word(kind, like, tmp_path):
    whole = write(tmp_path / "whole.tif", kind, like)
    content, expected = whole.read_bytes(), read(whole)
    refused = []
    for place, bit in places(content, len(kind)):
        (tmp_path / "a.tif").write_bytes(flipped(content, place, bit))
        try:
            found = read(tmp_path / "a.tif")
        except InputError as error:
            refused.append(str(error))
        else:
            assert found == expected, f"bit {bit} of byte {place} of {len(content)}"
    assert len(refused) > 0.9 * FLIPS
    assert "\n" not in "".join(refused)


def test_without_the_check_flipped_bits_do_pass(like, tmp_path, monkeypatch):
    """So the flips above are such as matter."""
    monkeypatch.setenv(CHECKSUMS, "0")
    whole = write(tmp_path / "whole.tif", "map", like)
    content, expected = whole.read_bytes(), read(whole)
    passed = 0
    for place, bit in places(content, 3):
        (tmp_path / "a.tif").write_bytes(flipped(content, place, bit))
        try:
            passed += read(tmp_path / "a.tif") != expected
        except InputError:
            continue
    assert passed > 0


def test_every_byte_of_the_head_is_checked(like, tmp_path):
    whole = write(tmp_path / "whole.tif", "map", like)
    content = whole.read_bytes()
    directories = int.from_bytes(content[8:16], "little")
    for place in [*range(HEAD_SIZE), *range(directories, len(content), 7)]:
        (tmp_path / "a.tif").write_bytes(flipped(content, place, place % 8))
        with pytest.raises(
            InputError,
            match="a.tif: is (not as it was written|cut off: ).*: delete it and make it again, or copy it again; if",
        ):
            Raster(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_off_anywhere_is_refused(kind, like, tmp_path):
    """GDAL would read many of them, without what the directories say behind the cut."""
    content = write(tmp_path / "whole.tif", kind, like).read_bytes()
    directories = int.from_bytes(content[8:16], "little")
    sizes = [
        *range(HEAD_SIZE, len(content), len(content) // 20),
        *range(directories, len(content), 5),
        len(content) - 1,
    ]
    for size in sizes:
        (tmp_path / "a.tif").write_bytes(content[:size])
        with pytest.raises(
            InputError, match=f"a.tif: is cut off: {size:,} of its {len(content):,} bytes are there: delete"
        ):
            Raster(tmp_path / "a.tif")


def test_bytes_behind_a_file_change_nothing(like, tmp_path):
    whole = write(tmp_path / "whole.tif", "map", like)
    (tmp_path / "a.tif").write_bytes(whole.read_bytes() + bytes(9))
    assert read(tmp_path / "a.tif") == read(whole)


def test_tiles_are_checked_in_a_file_that_something_was_added_to(like, tmp_path):
    content = write(tmp_path / "whole.tif", "scene", like).read_bytes()
    (tmp_path / "a.tif").write_bytes(flipped(content, _offset(content, tile=6) + 40, 2) + bytes(100))
    with Raster(tmp_path / "a.tif") as raster, pytest.raises(InputError, match="a.tif: is not as it was written"):
        raster.read(Window(511, 0, 2, 3))


def test_tiles_are_checked_when_they_are_read_and_once(like, tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", "scene", like)
    content = path.read_bytes()
    (tmp_path / "b.tif").write_bytes(flipped(content, _offset(content, tile=6) + 40, 2))
    with Raster(tmp_path / "b.tif") as raster:
        assert raster.read(Window(0, 0, 512, WIDTH))[1].any()
        assert raster.read(Window(512, 256, 88, 300))[1].any()
        with pytest.raises(
            InputError, match="b.tif: is not as it was written, near row 512: delete it and make it again"
        ):
            raster.read(Window(511, 0, 2, 3))
    asked = []
    crc32 = checksums.isal_zlib.crc32
    monkeypatch.setattr(
        checksums.isal_zlib, "crc32", lambda data, *start: (asked.append(len(data)), crc32(data, *start))[1]
    )
    with Raster(path) as raster:
        for first in range(0, HEIGHT - 100, 50):
            raster.read(Window(first, 0, 100, WIDTH))
    assert len(asked) == 2 * 9  # 3 x 3 tiles and their masks


def _offset(content: bytes, tile: int) -> int:
    """Where a tile of the first picture lies."""
    from jingwei.raster.tiff import list_directories, tiles_of

    first = int.from_bytes(content[8:16], "little")
    return int(tiles_of(list_directories(content, first)[0])[0][tile])


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_whole_or_it_is_not(kind, like, tmp_path):
    path = write(tmp_path / "a.tif", kind, like)
    assert is_whole(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 30):
        path.write_bytes(flipped(content, int(place), 5))
        assert not is_whole(path) or content[place : place + 1] == b"\0"  # between a tile and the directories
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert not is_whole(path)
    path.write_bytes(b"\0" * len(content))
    assert not is_whole(path)
    assert not is_whole(tmp_path / "missing.tif")


def _tags(file):
    file.update_tags(a="b" * 5000)


def _no_data(file):
    file.nodata = 3


def _pixels(file):
    file.write(np.full((1, 300, 300), 2, np.uint8), window=((100, 400), (50, 350)))


def _blank(file):
    file.write(np.zeros((1, HEIGHT, WIDTH), np.uint8))


def _overviews(file):
    file.build_overviews([2, 4], Resampling.nearest)


def _place(file):
    """As `gdal_edit.py -a_srs` does."""
    file.crs = "EPSG:32651"


def _shift(file):
    file.transform = from_origin(1, 2, 3, 3)


@pytest.mark.parametrize("edit", [_tags, _no_data, _pixels, _blank, _overviews, _place, _shift])
def test_what_another_program_changed_in_place_is_refused_and_its_copy_is_read(edit, like, tmp_path):
    path = write(tmp_path / "a.tif", "map", like)
    with rasterio.open(path, "r+") as file:
        edit(file)
    with rasterio.open(path) as file:
        expected, facts = file.read(), (file.nodata, file.crs, file.transform)
    with (
        pytest.raises(InputError, match="a.tif: is not as it was written.*: delete .* copy it with gdal_translate$"),
        Raster(path) as raster,
    ):
        raster.read(WHOLE)
    rasterio.shutil.copy(path, tmp_path / "copy.tif", driver="GTiff")
    with Raster(tmp_path / "copy.tif") as raster:
        np.testing.assert_array_equal(raster.read(WHOLE)[0], expected)
        assert (raster.nodata, raster.crs, raster.transform) == facts


@pytest.mark.parametrize("place", [*range(8, HEAD_SIZE), -60])
def test_a_file_with_more_behind_it_and_another_head_is_refused(place, like, tmp_path):
    """It was taken for a file of another program, and gave another place without a word."""
    content = write(tmp_path / "whole.tif", "map", like).read_bytes()
    place %= len(content)
    (tmp_path / "a.tif").write_bytes(flipped(content, place, 2) + b"\n")
    with pytest.raises(InputError, match="a.tif: is (not as it was written|cut off)"):
        Raster(tmp_path / "a.tif")


def test_files_of_others_have_none(tmp_path):
    write_png(tmp_path / "a.png", labels())
    (tmp_path / "empty.tif").touch()
    (tmp_path / "short.tif").write_bytes(MAGIC)
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", height=9, width=9, count=1, dtype="uint8") as file:
        file.write(np.ones((1, 9, 9), np.uint8))
    for name in ("a.png", "empty.tif", "short.tif", "a.tif", "missing.tif", "."):
        assert Checksums.of(tmp_path / name) is None


@pytest.mark.parametrize("write_it", [write_cog, write_submission])
def test_copies_of_a_changed_map_are_not_made(write_it, like, tmp_path):
    path = write(tmp_path / "a.tif", "map", like)
    content = path.read_bytes()
    path.write_bytes(flipped(content, _offset(content, 8) + 30, 1))
    with pytest.raises(InputError, match="a.tif: is not as it was written, near row 512"):
        write_it(path, tmp_path / "copy")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_other_readers_find_the_checksums_of_frames(like, tmp_path):
    """The flag of ZSTD: the third bit of a frame's head."""
    content = write(tmp_path / "a.tif", "map", like).read_bytes()
    place = _offset(content, 4)
    assert content[place : place + 4] == b"\x28\xb5\x2f\xfd"
    assert content[place + 4] & 4
