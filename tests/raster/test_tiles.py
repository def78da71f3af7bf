"""Tiled GeoTIFFs as we write them: against GDAL's own, a plain numpy pyramid, and any order of windows."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.transform import from_origin
from rasterio.windows import Window as RasterioWindow
from written_rasters import DTYPES, noise

from jingwei.grid import Window, strips
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.reading import Raster
from jingwei.raster.tiff import IMAGE, MASK, OVERVIEW, read_directories
from jingwei.raster.writing import TiledWriter


def patches(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A validity with large valid and invalid parts and single pixels of both, bool HW."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.random((-(-height // 90), -(-width // 70))) < 0.6, np.ones((90, 70), bool))
    return coarse[:height, :width] ^ (rng.random((height, width)) < 0.01)


def write(path, pixels: np.ndarray, valid: np.ndarray | None = None, *, rows: int = 256, **how):
    """Writes pixels_CHW in strips, top to bottom."""
    bands, height, width = pixels.shape
    how = {"bands": bands, "dtype": pixels.dtype.name, "mask": valid is not None} | how
    with TiledWriter(path, height, width, **how) as writer:
        for first, end in strips(height, rows):
            part = valid[first:end] if valid is not None else None
            writer.write(Window(first, 0, end - first, width), pixels[:, first:end], part)
    return path


def pyramid(pixels: np.ndarray, valid: np.ndarray, levels: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The averages of valid pixels of each 2 x 2, again and again, in plain numpy: [(pixels_CHW, valid_HW)]."""
    result = []
    for _ in range(levels):
        _, height, width = pixels.shape
        even = ((0, height % 2), (0, width % 2))
        values, counted = np.pad(np.where(valid, pixels, 0), ((0, 0), *even)).astype(np.float64), np.pad(valid, even)
        corners = [np.s_[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
        total, count = sum(values[c] for c in corners), sum(counted[c].astype(int) for c in corners)
        mean = total / np.maximum(count, 1)
        pixels = (mean if pixels.dtype.kind == "f" else np.sign(mean) * np.floor(abs(mean) + 0.5)).astype(pixels.dtype)
        valid = count > 0
        result.append((pixels, valid))
    return result


def level(path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Level `number` of a file as GDAL reads it, 0 the scene itself: (pixels_CHW, valid_HW)."""
    with rasterio.open(path, **{"overview_level": number - 1} if number else {}) as file:
        return file.read(), file.dataset_mask() != 0


# --- the pyramid -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1024, 2048), (1025, 1111), (2047, 1031)])
@pytest.mark.parametrize(("dtype", "bands"), [("uint8", 3), ("uint16", 4), ("int16", 1), ("float32", 2)])
def test_overviews_are_those_of_plain_numpy(dtype, bands, size, tmp_path):
    pixels, valid = noise(bands, *size, dtype), patches(*size)
    if dtype == "float32":
        pixels[0, ~valid] = np.nan  # what lies under an invalid pixel must not come out
    path = write(tmp_path / "a.tif", pixels, valid, overviews=True, workers=2)
    with rasterio.open(path) as file:
        assert [file.overviews(band) for band in file.indexes] == [[2, 4]] * bands
    for number, (expected, expected_valid) in enumerate(pyramid(pixels, valid, 2), 1):
        found, found_valid = level(path, number)
        np.testing.assert_array_equal(found_valid, expected_valid)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_overviews_of_fully_valid_scenes_are_those_of_gdal(dtype, tmp_path):
    pixels = noise(3, 1024, 1536, dtype)
    ours = write(tmp_path / "a.tif", pixels, np.ones((1024, 1536), bool), overviews=True)
    profile = dict(driver="GTiff", count=3, height=1024, width=1536, dtype=dtype)
    with rasterio.open(tmp_path / "b.tif", "w", **profile) as file:
        file.write(pixels)
    with rasterio.open(tmp_path / "b.tif", "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    for number in (1, 2):
        found, theirs = level(ours, number)[0].astype(float), level(tmp_path / "b.tif", number)[0].astype(float)
        assert abs(found - theirs).max() <= 1
        assert (found == theirs).mean() > 0.99


@pytest.mark.parametrize(
    ("size", "factors"),
    [((511, 9000), []), ((512, 512), [2]), ((513, 1), []), ((1023, 1024), [2]), ((1024, 1024), [2, 4])],
)
def test_overviews_go_on_while_they_are_a_tile_or_more(size, factors, tmp_path):
    path = write(tmp_path / "a.tif", noise(1, *size), np.ones(size, bool), overviews=True)
    with rasterio.open(path) as file:
        assert file.overviews(1) == factors
    for number, factor in enumerate(factors, 1):
        assert level(path, number)[0].shape == (1, -(-size[0] // factor), -(-size[1] // factor))


def test_overviews_of_class_ids_are_pixels_of_the_map(tmp_path):
    labels = noise(1, 2100, 2050) % 5
    colormap = JINGWEI.colormap()
    path = write(tmp_path / "a.tif", labels, overviews=True, nodata=NODATA, colormap=colormap)
    for number, step in ((1, 4), (2, 8)):
        np.testing.assert_array_equal(level(path, number)[0], labels[:, ::step, ::step])
        with rasterio.open(path, overview_level=number - 1) as file:
            assert file.colormap(1)[1][:3] == colormap[1][:3]


# --- windows of any size and order -----------------------------------------------------------------------------------


def parts_of(draw, window: Window) -> list[Window]:
    """A window, cut in two again and again where the draw wants it."""
    tall = draw(st.booleans())
    length = window.height if tall else window.width
    if length < 2 or window.height * window.width < 9000 or not draw(st.integers(0, 3)):
        return [window]
    at = draw(st.integers(1, length - 1))
    if tall:
        halves = window._replace(height=at), window._replace(row=window.row + at, height=length - at)
    else:
        halves = window._replace(width=at), window._replace(col=window.col + at, width=length - at)
    return [part for half in halves for part in parts_of(draw, half)]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_windows_may_come_in_any_size_and_order(tmp_path_factory, data):
    height, width = data.draw(st.tuples(st.integers(1, 700), st.integers(1, 700)))
    pixels, valid = noise(2, height, width, "uint16"), patches(height, width)
    windows = data.draw(st.permutations(parts_of(data.draw, Window(0, 0, height, width))))
    path = tmp_path_factory.mktemp("tiles") / "a.tif"
    how = {"bands": 2, "dtype": "uint16", "mask": True, "overviews": True, "workers": 2}
    with TiledWriter(path, height, width, **how) as writer:
        for window in windows:
            writer.write(window, pixels[:, *window.slices], valid[window.slices])
    found, found_valid = level(path, 0)
    np.testing.assert_array_equal(found_valid, valid)
    np.testing.assert_array_equal(found, np.where(valid, pixels, 0))
    if min(height, width) >= 512:
        ((half, half_valid),) = pyramid(pixels, valid, 1)
        np.testing.assert_array_equal(level(path, 1)[0], half)
        np.testing.assert_array_equal(level(path, 1)[1], half_valid)


def test_any_workers_and_any_strip_heights_write_the_same_bytes(tmp_path):
    pixels, valid = noise(3, 1100, 1300), patches(1100, 1300)
    files = []
    for workers, rows in [(1, 256), (5, 256), (2, 77), (3, 1100), (2, 512)]:
        path = write(tmp_path / "a.tif", pixels, valid, rows=rows, workers=workers, overviews=True)
        files.append(path.read_bytes())
    assert len(set(files)) == 1


def test_arrays_are_free_when_a_window_is_written(tmp_path):
    """Whoever writes may use the same array for the next strip."""
    pixels, strip = noise(1, 1024, 800), np.empty((1, 128, 800), np.uint8)
    with TiledWriter(tmp_path / "a.tif", 1024, 800, workers=3) as writer:
        for first in range(0, 1024, 128):
            strip[:] = pixels[:, first : first + 128]
            writer.write(Window(first, 0, 128, 800), strip)
            strip[:] = 99
    np.testing.assert_array_equal(level(tmp_path / "a.tif", 0)[0], pixels)


@pytest.mark.parametrize("size", [(1100, 1300), (513, 1025), (257, 600)])
def test_no_tile_stays_in_memory_once_all_its_pixels_are_written(size, tmp_path):
    pixels, valid = noise(1, *size), patches(*size)
    with TiledWriter(tmp_path / "a.tif", *size, mask=True, overviews=True) as writer:
        for first, end in strips(size[0], 100):
            writer.write(Window(first, 0, end - first, size[1]), pixels[:, first:end], valid[first:end])
            assert len(writer._levels[0].open) <= -(-size[1] // 256)
        assert not any(level.open for level in writer._levels)


@pytest.mark.parametrize("mask", [True, False])
def test_what_nobody_wrote_is_nodata(mask, tmp_path):
    window = Window(200, 500, 300, 300)
    pixels = np.maximum(noise(1, 300, 300), 1)
    how = {"mask": True} if mask else {"nodata": 7}
    with TiledWriter(tmp_path / "a.tif", 1100, 1200, overviews=True, **how) as writer:
        writer.write(window, pixels, np.ones((300, 300), bool))
    found, valid = level(tmp_path / "a.tif", 0)
    expected = np.full((1, 1100, 1200), 0 if mask else 7, np.uint8)
    expected[:, *window.slices] = pixels
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(valid, expected[0] != (0 if mask else 7))
    quarter = level(tmp_path / "a.tif", 2 if mask else 1)[1]
    np.testing.assert_array_equal(quarter.nonzero()[0][[0, -1]], [50, 124])


@pytest.mark.parametrize("rows", [[(0, 300), (0, 300)], [(0, 90), (10, 300)], [(0, 200), (0, 56), (200, 300)]])
def test_pixels_that_are_written_twice_are_a_bug(rows, tmp_path):
    """A tile is in the file once as many pixels as it has were written: what came later would be lost in silence."""
    with pytest.raises(AssertionError, match="written twice"), TiledWriter(tmp_path / "a.tif", 300, 50) as writer:
        [writer.write(Window(row, 0, end - row, 50), noise(1, end - row, 50)) for row, end in rows]
    assert not any(tmp_path.iterdir())


# --- the file, as GDAL sees it ---------------------------------------------------------------------------------------


def sparse(path, number: int) -> np.ndarray:
    """True for each tile of a level that takes no byte, bool, rows x columns of tiles."""
    with rasterio.open(path, **{"overview_level": number - 1} if number else {}) as file:
        shape = -(-file.height // 256), -(-file.width // 256)
        places = [[file.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=1) for x in range(shape[1])]
                  for y in range(shape[0])]  # fmt: skip
    return np.array([[place is None for place in row] for row in places])


@pytest.mark.parametrize("nodata", [None, 7])
def test_blank_tiles_take_no_byte_on_any_level(nodata, tmp_path):
    pixels = np.full((1, 1024, 1280), nodata or 0, np.uint8)
    pixels[0, 300, 1032] = 9  # 4 x 75, 4 x 258: so it is in the overview
    path = write(tmp_path / "a.tif", pixels, overviews=True, nodata=nodata)
    for number, (halved, row, col) in enumerate([(0, 1, 4), (2, 0, 1)]):  # class ids have no overview at 1/2
        blank = np.ones((4 >> halved, -(-5 // 2**halved)), bool)
        blank[row, col] = False
        np.testing.assert_array_equal(sparse(path, number), blank)
    np.testing.assert_array_equal(level(path, 0)[0], pixels)


def test_black_tiles_that_are_valid_keep_their_validity(tmp_path):
    valid = np.zeros((600, 600), bool)
    valid[:256, :256] = True
    path = write(tmp_path / "a.tif", np.zeros((3, 600, 600), np.uint8), valid, overviews=True)
    assert sparse(path, 0).all()
    np.testing.assert_array_equal(level(path, 0)[1], valid)
    np.testing.assert_array_equal(level(path, 1)[1], valid[::2, ::2])


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("bands", [1, 3, 4, 7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_file_is_what_gdal_would_have_written(dtype, bands, mask, tmp_path):
    """The same tags, on all levels, as of a file with the same content that GDAL wrote itself."""
    height, width, factor = (530, 700, 2) if mask else (1030, 1040, 4)
    pixels, valid = noise(bands, height, width, dtype), patches(height, width)
    where = {"crs": "EPSG:32648", "transform": from_origin(5e5, 2.8e6, 0.1, 0.1)}
    profile = dict(
        driver="GTiff", count=bands, height=height, width=width, dtype=dtype,
        tiled=True, blockxsize=256, blockysize=256, interleave="pixel",
        compress="zstd", predictor=3 if dtype == "float32" else 2, bigtiff="yes",
        photometric="rgb" if (dtype, bands) == ("uint8", 3) else "minisblack", nodata=None if mask else 3, **where,
    )  # fmt: skip
    overview = {"COMPRESS_OVERVIEW": "ZSTD", "PREDICTOR_OVERVIEW": profile["predictor"], "BIGTIFF_OVERVIEW": "YES"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_TIFF_OVR_BLOCKSIZE=256, **overview):
        with rasterio.open(tmp_path / "theirs.tif", "w", **profile) as file:
            file.write(pixels)
            file.update_tags(note="烤烟", JINGWEI_STAMP="0123")
            if mask:
                file.write_mask(valid)
        with rasterio.open(tmp_path / "theirs.tif", "r+") as file:
            file.build_overviews([factor], Resampling.nearest)
    how = {"mask": True} if mask else {"nodata": 3}
    tags = {"note": "烤烟", "JINGWEI_STAMP": "0123"}
    with Raster(tmp_path / "theirs.tif") as like:
        write(tmp_path / "ours.tif", pixels, valid if mask else None, like=like, tags=tags, overviews=True, **how)
    seen = [{}, {}]
    for name, what in zip(("ours", "theirs"), seen, strict=True):
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            what |= dict(
                profile=file.profile, color=file.colorinterp, tags=file.tags(), masks=file.mask_flag_enums,
                structure=file.tags(ns="IMAGE_STRUCTURE"), overviews=[file.overviews(b) for b in file.indexes],
            )  # fmt: skip
    assert seen[0] == seen[1]
    ours, theirs = (read_directories((tmp_path / f"{name}.tif").read_bytes()) for name in ("ours", "theirs"))
    kinds = {IMAGE, OVERVIEW, MASK, MASK | OVERVIEW} if mask else {IMAGE, OVERVIEW}
    assert set(ours) == set(theirs) == kinds
    size_and_tiles = {256, 257, 324, 325}
    for kind in kinds:
        assert ours[kind].keys() == theirs[kind].keys()
        for tag in ours[kind].keys() - size_and_tiles:
            assert ours[kind][tag] == theirs[kind][tag], f"tag {tag} of kind {kind}"


def test_a_mask_is_a_mask_of_the_whole_file(tmp_path):
    path = write(tmp_path / "a.tif", noise(3, 300, 300), patches(300, 300))
    with rasterio.open(path) as file:
        assert file.mask_flag_enums == ([MaskFlags.per_dataset],) * 3
        assert file.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_places_beyond_4_gigabytes_are_kept(tmp_path, monkeypatch):
    """The file's first half is a hole: nothing is written there, but all tiles lie behind it."""
    from jingwei.raster import writing

    begun = writing.TiledWriter.__enter__

    def behind_a_hole(self):
        begun(self)
        self._file.seek((1 << 32) + 5)
        return self

    monkeypatch.setattr(writing.TiledWriter, "__enter__", behind_a_hole)
    pixels, valid = noise(1, 600, 520), patches(600, 520)
    path = write(tmp_path / "a.tif", pixels, valid, overviews=True)
    assert path.stat().st_size > 1 << 32
    found, found_valid = level(path, 0)
    np.testing.assert_array_equal(found_valid, valid)
    np.testing.assert_array_equal(found, np.where(valid, pixels, 0))


@pytest.mark.parametrize("damage", ["the directories", "a tile"])
def test_a_file_that_gdal_cannot_read_gets_no_name(damage, tmp_path, monkeypatch):
    from jingwei.errors import OutputError
    from jingwei.raster import writing

    if damage == "the directories":
        monkeypatch.setattr(writing, "write_directories", lambda file, directories: 16)
    else:
        kept = writing._Level.keep
        broken = writing.Encoded.of(b"not ZSTD at all", b"")
        monkeypatch.setattr(writing._Level, "keep", lambda self, tile, encoded, file: kept(self, tile, broken, file))
    with pytest.raises(OutputError, match="a.tif: can't be written") as raised:
        write(tmp_path / "a.tif", noise(1, 300, 300))
    assert "\n" not in str(raised.value)
    assert not any(tmp_path.iterdir())


def test_any_window_reads_as_it_was_written(tmp_path):
    pixels = noise(3, 600, 900, "uint16")
    path = write(tmp_path / "a.tif", pixels, rows=100)
    with rasterio.open(path) as file:
        for row, col, height, width in [(0, 0, 1, 1), (255, 255, 2, 2), (599, 899, 1, 1), (100, 0, 300, 900)]:
            found = file.read(window=RasterioWindow(col, row, width, height))
            np.testing.assert_array_equal(found, pixels[:, row : row + height, col : col + width])


@pytest.mark.parametrize("bands", [1, 5])
def test_overviews_of_maps_are_the_same_bytes_for_any_strips_and_workers(bands, tmp_path):
    labels = np.random.default_rng(3).integers(0, 5, (bands, 1300, 1100), dtype=np.uint8)
    kind = {"overviews": True, "nodata": NODATA}
    files = {write(tmp_path / f"{rows}_{workers}.tif", labels, rows=rows, workers=workers, **kind).read_bytes()
             for rows in (1, 100, 256, 700, 1300) for workers in (1, 3)}  # fmt: skip
    assert len(files) == 1
    with rasterio.open(tmp_path / "1_1.tif") as file:
        assert file.overviews(1) == [4]
    with rasterio.open(tmp_path / "1_1.tif", overview_level=0) as small:
        np.testing.assert_array_equal(small.read(), labels[:, ::4, ::4])
