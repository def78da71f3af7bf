"""Tiled GeoTIFF and the contest's PNG out, whole or not at all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from jingwei.errors import OutputError, SettingError
from jingwei.grid import Window, strips
from jingwei.legend import NODATA
from jingwei.raster.checksums import HEAD_SIZE, append_checksums
from jingwei.raster.gdal import gdal_errors, without_warnings_of_place
from jingwei.raster.georeference import Georeference
from jingwei.raster.opening import PICTURE_ENDINGS, open_by
from jingwei.raster.png import PngWriter
from jingwei.raster.reading import Raster, open_labels
from jingwei.raster.tiff import (
    IMAGE,
    MASK,
    OVERVIEW,
    Directory,
    read_directories,
    with_tiles,
    write_directories,
)
from jingwei.raster.tiles import TILE, Encoded, Tile
from jingwei.system.atomic import room_at, whole_or_nothing

OTHERS = {*PICTURE_ENDINGS, ".vrt"} - {".tif", ".tiff"}  # endings of formats that are not written here
AT_ONCE = 8  # tiles that a thread is given at a time: to give it one costs as much as to compress one of labels


class TiledWriter:
    """A tiled, compressed GeoTIFF, written window by window, whole or not at all.

    Use as a context manager. Every pixel is written once at most, in windows of any size and order; a tile goes to the
    file when its last pixel comes, so windows that go down or across the scene keep one row or column of tiles in
    memory. Blank tiles cost nothing (sparse). `mask=True` keeps validity as an internal mask; invalid pixels become 0.
    `overviews=True` adds the scene at 1/2, 1/4, 1/8 ... for viewers: averages of valid pixels where there is a mask,
    else (class ids) one of the pixels, from 1/4 on, as to compress 1/2 too would take a vote a fifth of its time.
    Tags and names of bands are kept in the file as text.
    `durable`: see `whole_or_nothing`.

    GDAL writes a small file of the same kind, from which size, georeference, colours and tags get their form; tiles are
    compressed here, on `workers` threads, and lie in the file in the order in which they were finished.
    """

    def __init__(
        self,
        path,
        height: int,
        width: int,
        *,
        like: Raster | None = None,
        bands: int = 1,
        dtype="uint8",
        nodata: float | None = None,
        colormap: dict | None = None,
        mask: bool = False,
        overviews: bool = False,
        workers: int = 1,
        tags: dict[str, str] | None = None,
        band_names: tuple[str, ...] = (),
        durable: bool = True,
    ):
        assert not mask or nodata is None, "validity is a mask or a nodata value, not both"
        self.path, self._height, self._width = Path(path), height, width
        if self.path.suffix.lower() in OTHERS:
            raise SettingError(self.path, "would be a GeoTIFF under another format's ending", "name it .tif")
        self._colormap, self._mask, self._workers, self._tags = colormap, mask, workers, tags or {}
        self._band_names = band_names
        self._whole = whole_or_nothing(self.path, durable)
        self._georeference = like.georeference if like else Georeference()
        shorter = min(height, width)
        factors = [2**k for k in range(1, 12) if shorter >> k >= TILE] if overviews else []
        make = {"bands": bands, "dtype": np.dtype(dtype), "fill": nodata or 0, "mask": mask}
        self._levels = [_Level(-(-height // factor), -(-width // factor), **make) for factor in (1, *factors)]
        if not mask and factors:
            self._levels[1].in_file = False
        self._profile = dict(
            driver="GTiff", height=2 * TILE, width=2 * TILE, count=bands, dtype=dtype, nodata=nodata,
            **self._georeference.profile,
            tiled=True, blockxsize=TILE, blockysize=TILE, interleave="pixel",
            compress="zstd", predictor=3 if make["dtype"].kind == "f" else 2,
            sparse_ok=True, bigtiff="yes", endianness="little",
        )  # fmt: skip
        if bands == 3 and dtype == "uint8":
            self._profile["photometric"] = "rgb"
        elif bands > 1:
            self._profile["photometric"] = "minisblack"

    def __enter__(self) -> Self:
        self._template = self._made_by_gdal()
        self._part = self._whole.__enter__()
        try:
            self._file = open(self._part, "w+b")
            self._file.write(bytes(HEAD_SIZE))
        except OSError as error:
            self._whole.__exit__(type(error), error, None)
        self._pool = ThreadPoolExecutor(self._workers)
        return self

    def write(self, window: Window, pixels: np.ndarray, valid: np.ndarray | None = None) -> None:
        """Writes `pixels` (CHW, or HW for one band) at a window, and its validity (bool HW) where the file has a mask.

        Returns when the arrays are no longer needed. Raises OutputError where the disk is full.
        """
        pixels = pixels if pixels.ndim == 3 else pixels[None]
        for tiles in self._levels[0].touched(window):
            work: list[tuple[Tile, tuple | None]] = []
            for tile in tiles:
                common = tile.window.overlap(window)
                assert common is not None, "a tile that the window does not touch"
                here = common.relative_to(window.row, window.col).slices
                there = common.relative_to(tile.window.row, tile.window.col)
                work.append(
                    (tile, (there, pixels[:, *here], valid[here] if self._mask and valid is not None else None))
                )
            self._work(0, work)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = None
        try:
            if error is None:
                for number, level in enumerate(self._levels):
                    self._work(number, [(tile, None) for tile in level.open.values()])
                self._write_directories()
                self._check_whole()
        except BaseException as problem:
            failure = problem
            kind, error = type(problem), problem
        self._pool.shutdown(cancel_futures=True)
        with suppress(OSError):  # what a full disk left in the buffer
            self._file.close()
        self._whole.__exit__(kind, error, trace)
        if failure is not None:
            raise failure

    def _work(self, number: int, work: list[tuple[Tile, tuple | None]]) -> None:
        """Puts parts into tiles of a level, and writes those that are then whole or get no part. Then those above them.

        Tiles are taken in their order, whatever order they are done in.
        """
        level, above = self._levels[number], self._levels[number + 1] if number + 1 < len(self._levels) else None
        jobs = [(tile, part, above.above(tile) if above else None) for tile, part in work]
        groups = [jobs[i : i + AT_ONCE] for i in range(0, len(jobs), AT_ONCE)]
        whole_above: list[tuple[Tile, tuple | None]] = []
        encode = partial(_put_and_encode, level.in_file)
        for group, results in zip(groups, self._pool.map(encode, groups), strict=True):
            for (tile, _, larger), encoded in zip(group, results, strict=True):
                if encoded is None:
                    continue
                with self._output_errors():
                    level.keep(tile, encoded, self._file)
                if larger:
                    larger.missing -= -(-tile.window.height // 2) * -(-tile.window.width // 2)
                    if not larger.missing:
                        whole_above.append((larger, None))
        if whole_above:
            self._work(number + 1, whole_above)

    @contextmanager
    def _output_errors(self):
        try:
            yield
        except (OSError, RasterioError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(self.path, f"can't be written ({reason})", room_at(self.path)) from error

    def _made_by_gdal(self) -> dict[int, Directory]:
        """The directories of a small file of the same kind: what every reader of GDAL's files expects."""
        options = dict(COMPRESS_OVERVIEW="ZSTD", BIGTIFF_OVERVIEW="YES", GDAL_TIFF_OVR_BLOCKSIZE=TILE)
        options["PREDICTOR_OVERVIEW"] = self._profile["predictor"]
        options |= dict(GDAL_TIFF_INTERNAL_MASK=True, SPARSE_OK_OVERVIEW=True)
        with without_warnings_of_place, rasterio.Env(**options), MemoryFile() as memory:
            with memory.open(**self._profile) as small:
                if self._colormap:
                    small.write_colormap(1, self._colormap)
                self._georeference.put_into(small)
                small.update_tags(**self._tags)
                for number, name in enumerate(self._band_names, 1):
                    small.set_band_description(number, name)
                if self._mask:
                    small.write_mask(False)
            if len(self._levels) > 1:
                with rasterio.open(memory.name, "r+") as small:
                    small.build_overviews([2], Resampling.nearest)
            return read_directories(memory.read())

    @property
    def _in_file(self) -> list["_Level"]:
        return [level for level in self._levels if level.in_file]

    def _write_directories(self) -> None:
        kinds = (IMAGE, MASK) if self._mask else (IMAGE,)
        directories, sums = [], []
        for number, level in enumerate(self._in_file):
            for kind in kinds:
                same_kind = self._template[kind | (OVERVIEW if number else 0)]
                directories.append(with_tiles(same_kind, level.height, level.width, *level.places[kind]))
                sums.append(level.sums[kind])
        with self._output_errors():
            append_checksums(self._file, write_directories(self._file, directories), sums)
            self._file.close()

    def _check_whole(self) -> None:
        """Raises OutputError where GDAL can't read the file: the last pixel and its validity, on every level."""
        with self._output_errors(), gdal_errors(of_this_thread=True) as errors:
            for number, level in enumerate(self._in_file):
                with open_by(self._part, ["GTiff"], **{"overview_level": number - 1} if number else {}) as done:
                    assert done.shape == (level.height, level.width), f"{done.shape} on level {number}"
                    last = RasterioWindow(level.width - 1, level.height - 1, 1, 1)
                    done.read(window=last)
                    done.read_masks(1, window=last)
            if errors:
                raise RasterioIOError(errors[0])


class _Level:
    """The scene at one scale: tiles that are not whole yet, and where in the file the others lie."""

    def __init__(self, height: int, width: int, **make):
        self.height, self.width, self.in_file = height, width, True
        self._make = make  # what else a Tile wants to know
        self._across = -(-width // TILE)
        tiles = -(-height // TILE) * self._across
        # Of every kind of picture: the tiles' offsets and byte counts, 0 where they are blank.
        self.places = {kind: np.zeros((2, tiles), np.uint64) for kind in (IMAGE, MASK)}
        self.sums = {kind: np.zeros(tiles, np.uint32) for kind in (IMAGE, MASK)}
        self.open: dict[int, Tile] = {}
        self._kept = np.zeros(tiles, bool)

    def touched(self, window: Window) -> Iterator[list[Tile]]:
        """The tiles that share pixels with a window, one row of them after the other."""
        for row in range(window.row // TILE, -(-window.row_end // TILE)):
            yield [self._tile(row, col) for col in range(window.col // TILE, -(-window.col_end // TILE))]

    def above(self, tile: Tile) -> Tile:
        """The tile of this level that a tile of the level below is a quarter of."""
        return self._tile(tile.window.row // (2 * TILE), tile.window.col // (2 * TILE))

    def keep(self, tile: Tile, encoded: Encoded, file: BinaryIO) -> None:
        """Writes a tile's bytes to the end of the file, and forgets the tile."""
        number = tile.window.row // TILE * self._across + tile.window.col // TILE
        parts = ((IMAGE, encoded.pixels, encoded.pixels_crc), (MASK, encoded.mask, encoded.mask_crc))
        for kind, content, crc in parts:
            if content:
                self.places[kind][:, number] = file.tell(), len(content)
                self.sums[kind][number] = crc
                file.write(content)
        self._kept[number] = True
        del self.open[number]

    def _tile(self, row: int, col: int) -> Tile:
        number = row * self._across + col
        if number not in self.open:
            assert not self._kept[number], "a pixel was written twice"
            height, width = min(TILE, self.height - row * TILE), min(TILE, self.width - col * TILE)
            self.open[number] = Tile(Window(row * TILE, col * TILE, height, width), **self._make)
        return self.open[number]


def _put_and_encode(in_file: bool, jobs: list[tuple[Tile, tuple | None, Tile | None]]) -> list[Encoded | None]:
    """What a thread does for tiles: takes a part in; once whole, passes it on upwards and makes its bytes."""
    results: list[Encoded | None] = []
    for tile, part, above in jobs:
        if part is not None:
            tile.put(*part)
        if part is not None and tile.missing:
            results.append(None)
            continue
        if above is not None:
            tile.halve_into(above)
        results.append(tile.encoded() if in_file else Encoded.of(b"", b""))
    return results


def without_nodata(labels: np.ndarray) -> np.ndarray:
    """Labels as the contest's PNGs have them: they know no nodata, so NODATA becomes 0."""
    return np.where(labels == NODATA, np.uint8(0), labels)


def write_submission(labels: Path, png: Path) -> None:
    """Copies a label map into the contest's PNG, strip by strip."""
    with open_labels(labels) as source, PngWriter(png, *source.shape) as writer:
        for first, end in strips(source.height, TILE):
            writer.write(without_nodata(source.read_label_rows(first, end)))
