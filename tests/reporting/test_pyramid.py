"""Pyramids of tiles: every level is what the whole array gives."""

import cv2
import numpy as np
import pytest
from drawn_layers import content, parts_of
from hypothesis import given
from hypothesis import strategies as st

from jingwei.errors import InputError, OutputError
from jingwei.legend import NODATA
from jingwei.reporting import pyramid
from jingwei.reporting.pyramid import LABELS, PERCENT, PICTURE, TILE, finest_level, write_layer


def halved(pixels: np.ndarray, kind: str) -> np.ndarray:
    """A level from the one below it, from the whole array."""
    # Past the edge, the last row and column stand for what is missing: no class gets ahead by that, and no mean moves.
    height, width = (-(-side // 2) for side in pixels.shape[:2])
    rows, cols = (
        np.minimum(np.arange(2 * n), side - 1) for n, side in zip((height, width), pixels.shape, strict=False)
    )
    even = pixels[rows][:, cols].reshape(height, 2, width, 2, -1)
    blocks = even.transpose(0, 2, 1, 3, 4).reshape(height, width, 4, -1).astype(float)
    if kind == LABELS:
        ids = blocks[..., 0]
        counts = (ids[..., None] == ids[..., None, :]).sum(axis=-1)
        return np.take_along_axis(ids, counts.argmax(axis=-1)[..., None], axis=-1)[..., 0].astype(np.uint8)
    valid = blocks[..., -1:] != (NODATA if kind == PERCENT else 0)
    means = np.floor((blocks * valid).sum(axis=2) / np.maximum(valid.sum(axis=2), 1) + 0.5)
    if kind == PERCENT:
        return np.where(valid.any(axis=2), means, NODATA)[..., 0].astype(np.uint8)
    means[..., 3] = np.where(valid.any(axis=2)[..., 0], 255, 0)
    return means.astype(np.uint8)


@pytest.mark.parametrize("kind", [LABELS, PERCENT])
@pytest.mark.parametrize("shape", [(1, 1), (1, 513), (511, 512), (513, 700), (1030, 1025)])
def test_every_level_is_what_the_whole_array_gives(tmp_path, kind, shape):
    pixels = content(kind, *shape)
    layer = write_layer(tmp_path / "layer", parts_of(pixels, 256), *shape, kind)
    finest = finest_level(*shape)
    assert finest == int(np.ceil(np.log2(max(shape))))
    assert max(layer.tiles) == finest
    assert max(layer.size(min(layer.tiles))) <= TILE
    for level in sorted(layer.tiles, reverse=True):
        np.testing.assert_array_equal(layer.read(level), pixels)
        assert layer.size(level) == pixels.shape
        pixels = halved(pixels, kind)
    assert sum(layer.counts) == shape[0] * shape[1]
    np.testing.assert_array_equal(layer.counts, np.bincount(content(kind, *shape).reshape(-1), minlength=256))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_halving_any_small_picture(height, width, seed):
    rng = np.random.default_rng(seed)
    for kind, values in ((LABELS, [0, 1, NODATA]), (PERCENT, [0, 33, 34, 100, NODATA])):
        pixels = rng.choice(np.array(values, np.uint8), (height, width))
        small = np.empty((-(-height // 2), -(-width // 2)), np.uint8)
        pyramid._HALVE[kind](pixels, small)
        np.testing.assert_array_equal(small, halved(pixels, kind))
    pixels = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[..., 3] = rng.choice(np.array([0, 255], np.uint8), (height, width))
    small = np.empty((-(-height // 2), -(-width // 2), 4), np.uint8)
    pyramid._HALVE[PICTURE](pixels, small)
    np.testing.assert_array_equal(small, halved(pixels, PICTURE))


def test_the_picture_looks_like_the_scene_and_like_paper_outside(tmp_path):
    rng = np.random.default_rng(5)
    pixels = cv2.resize(rng.integers(0, 256, (9, 12, 4), dtype=np.uint8), (700, 530), interpolation=cv2.INTER_CUBIC)
    pixels[..., 3] = 255
    pixels[:, 600:, 3] = 0
    layer = write_layer(tmp_path / "layer", parts_of(pixels, 100), 530, 700, PICTURE)
    for level in (10, 9):
        for row in range(layer.tiles[level].shape[0]):
            for col in range(layer.tiles[level].shape[1]):
                seen = cv2.imread(str(tmp_path / f"layer/{level}/{col}_{row}.jpg"))[..., ::-1]
                expected = pixels[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE]
                paper = expected[..., 3] == 0
                assert seen.shape[:2] == expected.shape[:2]
                away = cv2.erode(paper.astype(np.uint8), np.ones((33, 33))) > 0  # JPEG rings near edges
                if away.any():
                    assert np.abs(seen[away].astype(int) - pyramid.PAPER).max() < 8
                inside = cv2.erode((~paper).astype(np.uint8), np.ones((33, 33))) > 0
                assert np.abs(seen[inside].astype(int) - expected[..., :3][inside]).mean() < 5
        pixels = halved(pixels, PICTURE)


def test_blank_tiles_have_no_file(tmp_path):
    pixels = np.full((1100, 1600), NODATA, np.uint8)
    pixels[700, 600] = 3
    layer = write_layer(tmp_path / "layer", parts_of(pixels, 256), 1100, 1600, LABELS)
    names = {path.relative_to(layer.folder).as_posix() for path in layer.folder.rglob("*.js")}
    # Half of half of it is NODATA already: a lone pixel among three of another kind goes first.
    assert names == {"11/1_1.js"}
    assert layer.tiles[11].tolist() == [[False] * 4, [False, True, False, False], [False] * 4]
    assert not layer.tiles[9].any()
    np.testing.assert_array_equal(layer.read(11), pixels)


@pytest.mark.parametrize("kind", [LABELS, PICTURE])
def test_same_bytes_for_any_number_of_workers_and_any_strip_height(tmp_path, kind):
    pixels = content(kind, 1100, 900)
    for name, rows, workers in (("a", 256, 1), ("b", 77, 3), ("c", 1100, 2)):
        write_layer(tmp_path / name, parts_of(pixels, rows), 1100, 900, kind, workers)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) > 6
    for other in "bc":
        assert files == sorted(p.relative_to(tmp_path / other) for p in (tmp_path / other).rglob("*") if p.is_file())
        for file in files:
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / other / file).read_bytes()


def test_a_layer_that_was_stopped_is_not_there(tmp_path):
    pixels = content(LABELS, 1100, 700)

    def broken():
        yield pixels[:600]
        raise InputError("scene", "is broken", "copy it again")

    with pytest.raises(InputError):
        write_layer(tmp_path / "layer", broken(), 1100, 700, LABELS)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".layer.part" / "11").mkdir(parents=True)  # what a killed run left
    (tmp_path / ".layer.part" / "11" / "9_9.js").write_text("old")
    layer = write_layer(tmp_path / "layer", parts_of(pixels, 512), 1100, 700, LABELS)
    assert not (layer.folder / "11" / "9_9.js").exists()


def test_a_full_disk_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="can't be written"):
        write_layer(tmp_path / "file" / "layer", parts_of(content(LABELS, 8, 8), 8), 8, 8, LABELS)
