"""The only file that opens rasters: scenes and labels in, tiled GeoTIFF and PNG out.

Arrays of pixels are bands first (`pixels_CHW`, as GDAL and torch have them) and keep the file's type; validity is a
bool array `valid_HW`; labels are `labels_HW`, uint8, with NODATA where nothing is known.

Giant PNGs can only be read top to bottom: a step back starts again at the first row. So everything here streams down.
"""

import logging
import os
import re
import threading
import warnings
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

# Rows are read in slices whose blocks fit this cache, in megabytes; more brings nothing (GDAL's own default is 5 % of
# the machine). Set before GDAL starts, and only where the user has not.
os.environ.setdefault("GDAL_CACHEMAX", "96")
os.environ.setdefault(
    "CPL_LOG", os.devnull
)  # what GDAL says comes back to us as errors; this is its copy for a terminal

import cv2
import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window as RasterioWindow

from jingwei.errors import InputError, OutputError
from jingwei.grid import Window, strips
from jingwei.legend import NODATA
from jingwei.outputs import room_at, whole_or_nothing
from jingwei.png import BrokenPng, PngReader, PngWriter, write_png

TILE = 256  # pixels a side: a random 512 window reads fastest from tiles of this size
# Threads are ours to deal out, and OpenCV's own pool would hang the loader processes that training forks.
cv2.setNumThreads(1)
IMAGE_TYPES = ("uint8", "uint16", "int16", "float32")
READ_ROWS = 64  # rows a slice: few enough that all bands of a slice stay in GDAL's block cache
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # the contests' PNGs have no georeference
# What GDAL signals while a file is closed raises nothing; rasterio only notes it, and at this level.
_GDAL_LOG = logging.getLogger("rasterio")
_GDAL_LOG.setLevel(logging.INFO)


class Raster:
    """A scene open for reading: sizes, type, validity and georeference come from the file.

    Validity: alpha 0 and a mask band's 0 are invalid. Where the file names a nodata value, an integer pixel is invalid
    when all bands have it (a dark red may well have blue 0), a float pixel when any band has it. NaN and infinity in
    any band are invalid. `bands` counts image bands, alpha left out.
    """

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.exists() and not str(path).startswith("/vsi"):
            raise InputError(path, "no such file", "check the path")
        try:
            self._dataset = rasterio.open(path)
        except RasterioError as error:
            raise InputError(path, f"is no raster that GDAL can read ({error})", "export it again") from error
        self.crs, self.transform = self._dataset.crs, self._dataset.transform
        self.height, self.width = self._dataset.shape
        interpretations = self._dataset.colorinterp
        self._alpha = interpretations.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in interpretations else None
        self._band_numbers = [i for i in self._dataset.indexes if i != self._alpha]
        self.bands = len(self._band_numbers)
        self.dtype = np.dtype(self._dataset.dtypes[0])
        self.nodata = self._dataset.nodata
        self._has_mask = self._alpha is None and any(
            MaskFlags.per_dataset in flags for flags in self._dataset.mask_flag_enums
        )
        # Going down a plain PNG, our own reader is twice as fast as GDAL's.
        plain = self._dataset.driver == "PNG" and not self._has_mask and self.nodata is None
        self._png = PngReader.opens(self.path) if plain else None
        self._carried = None  # (first row, arrays) of the rows read last, for windows that overlap downwards

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._dataset.close()
        if self._png:
            self._png.close()

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def tiled(self) -> bool:
        """True where any window can be read at once, without reading all rows above it."""
        return self._dataset.block_shapes[0][1] < self.width

    @property
    def tags(self) -> dict[str, str]:
        """The file's metadata items, as text."""
        return self._dataset.tags()

    def check_image(self) -> "Raster":
        """Raises InputError for a type that no stage can work on."""
        if self.dtype.name not in IMAGE_TYPES:
            raise InputError(self.path, f"pixels are {self.dtype}", f"convert them to {', '.join(IMAGE_TYPES)}")
        return self

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of a window and their validity: (pixels_CHW in the file's type, valid_HW bool)."""
        numbers = [*self._band_numbers, self._alpha] if self._alpha else self._band_numbers
        planes = self._read(numbers, window)
        pixels = planes[: self.bands]
        valid = self._validity(pixels, window)
        if self._alpha:
            valid &= planes[-1] != 0
        return pixels, valid

    def read_validity(self, window: Window) -> np.ndarray:
        """The validity of a window, bool HW, without its pixels where the file allows that."""
        if np.issubdtype(self.dtype, np.floating) or self.nodata is not None:
            return self.read(window)[1]
        if self._alpha:
            return self._read([self._alpha], window)[0] != 0
        return self._validity(np.empty((0, window.height, window.width), self.dtype), window)

    def read_rows(self, first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """`read` of full rows, for callers that go down the scene: rows that the last call gave are not read again."""
        pixels = np.empty((self.bands, end - first, self.width), self.dtype)
        valid = np.empty((end - first, self.width), bool)
        have = first
        if self._carried is not None:
            old_first, old_pixels, old_valid = self._carried
            old_end = old_first + len(old_valid)
            if old_first <= first < old_end:
                have = min(end, old_end)
                pixels[:, : have - first] = old_pixels[:, first - old_first : have - old_first]
                valid[: have - first] = old_valid[first - old_first : have - old_first]
        if self._png and self._png.row == have < end:
            self._read_png(pixels[:, have - first :], valid[have - first :], have)
            have = end
        for row, row_end in strips(end - have, READ_ROWS):
            window = Window(have + row, 0, row_end - row, self.width)
            here = slice(window.row - first, window.row_end - first)
            pixels[:, here], valid[here] = self.read(window)
        self._carried = (first, pixels, valid)
        return pixels, valid

    def read_label_rows(self, first: int, end: int) -> np.ndarray:
        """`read_rows` of a label raster, uint8, NODATA where the file says so. Raises InputError for ids beyond 255."""
        pixels, valid = self.read_rows(first, end)
        labels = np.where(valid, pixels[0], NODATA)  # a copy: rows that overlap the next call's are kept
        if self.dtype != np.uint8 and (labels.min() < 0 or labels.max() > 255):
            strange = np.unique(labels[(labels < 0) | (labels > 255)])[:8]
            problem = f"ids {', '.join(map(str, strange))} in rows {first} to {end}"
            raise InputError(self.path, problem, "class ids run 0, 1, 2 ..., and 255 is no data")
        return labels.astype(np.uint8, copy=False)

    def _read_png(self, pixels: np.ndarray, valid: np.ndarray, first: int) -> None:
        """Fills pixels_CHW and valid_HW with the next rows of a PNG."""
        try:
            if not self._alpha:
                self._png.read(pixels)
                valid[:] = True
                return
            for row, row_end in strips(len(valid), READ_ROWS):
                planes = np.empty((self.bands + 1, row_end - row, self.width), np.uint8)
                self._png.read(planes)
                pixels[:, row:row_end] = planes[:-1]
                np.not_equal(planes[-1], 0, out=valid[row:row_end])
        except BrokenPng as error:
            raise self._broken(Window(first, 0, len(valid), self.width), error) from error

    def _read(self, numbers: list[int], window: Window) -> np.ndarray:
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        try:
            with gdal_errors(of_this_thread=True) as errors:
                planes = self._dataset.read(numbers, window=place)
        except RasterioIOError as error:
            raise self._broken(window, error.__cause__ or error) from error
        if errors:
            raise self._broken(window, errors[0])
        return planes

    def _broken(self, window: Window, reason) -> InputError:
        rows = f"rows {window.row} to {window.row_end} of {self.height}"
        return InputError(self.path, f"broken or truncated at {rows} ({reason})", "copy or export the file again")

    def _validity(self, pixels: np.ndarray, window: Window) -> np.ndarray:
        if self._has_mask:
            place = RasterioWindow(window.col, window.row, window.width, window.height)
            valid = self._dataset.read_masks(1, window=place) != 0
        else:
            valid = np.ones(pixels.shape[1:], bool)
        is_float = np.issubdtype(self.dtype, np.floating)
        if self.nodata is not None and not self._has_mask and not np.isnan(self.nodata):
            valid &= (pixels != self.nodata).all(axis=0) if is_float else (pixels != self.nodata).any(axis=0)
        if is_float:
            valid &= np.isfinite(pixels).all(axis=0)
        return valid


def open_image(path) -> Raster:
    """A scene to cut or to predict. Raises InputError for missing, unreadable and unsupported files."""
    return Raster(path).check_image()


def open_labels(path) -> Raster:
    """A raster of class ids: one integer band. Raises InputError where it is something else."""
    raster = Raster(path)
    if raster.bands != 1:
        raise InputError(path, f"has {raster.bands} bands", "labels need one band of class ids, not colours")
    if not np.issubdtype(raster.dtype, np.integer):
        raise InputError(path, f"holds {raster.dtype} values", "labels need whole numbers, best uint8")
    return raster


def read_tags(path) -> dict[str, str]:
    """The metadata items of a raster file."""
    with Raster(path) as raster:
        return raster.tags


def check_same_size(raster: Raster, other: Raster) -> None:
    """Raises InputError where two rasters that must lie on each other differ in size."""
    if raster.shape != other.shape:
        ours, theirs = (f"{r.width} x {r.height}" for r in (raster, other))
        problem = f"{ours} px, but {other.path.name} is {theirs}"
        raise InputError(raster.path, problem, "export it again at the same size")


@contextmanager
def gdal_errors(of_this_thread: bool = False):
    """Collects what GDAL reports as errors while the block runs: some failed reads and writes raise nothing.

    `of_this_thread` leaves out what other threads do: a reader must not take a writer's full disk for a broken file.
    """
    collected: list[str] = []
    thread = threading.get_ident()
    handler = logging.Handler(logging.INFO)

    def emit(record: logging.LogRecord) -> None:
        message = record.getMessage()
        signalled = re.fullmatch(r"GDAL signalled an error: err_no=\d+, msg=['\"](.*)['\"]", message, re.DOTALL)
        if (signalled or record.levelno >= logging.ERROR) and (not of_this_thread or record.thread == thread):
            collected.append(signalled[1] if signalled else message)

    handler.emit = emit
    _GDAL_LOG.addHandler(handler)
    try:
        yield collected
    finally:
        _GDAL_LOG.removeHandler(handler)


class TiledWriter:
    """A tiled, compressed GeoTIFF, written window by window, whole or not at all.

    Use as a context manager. Blank tiles cost nothing (sparse), `mask=True` keeps validity as an internal mask band,
    `overviews=True` adds averages at 2, 4, 8 ... for viewers. Tags are kept in the file as text.
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
    ):
        self.path = Path(path)
        self._overviews = overviews
        self._mask = mask
        self._validities = []  # (place, its validity as deflated bits): some kilobytes a strip
        self._tags = tags or {}
        self._colormap = colormap
        floating = np.issubdtype(np.dtype(dtype), np.floating)
        self._profile = dict(
            driver="GTiff", height=height, width=width, count=bands, dtype=dtype, nodata=nodata,
            crs=like.crs if like else None, transform=like.transform if like else None,
            tiled=True, blockxsize=TILE, blockysize=TILE, interleave="pixel",
            compress="zstd", zstd_level=1, predictor=3 if floating else 2,
            sparse_ok=True, bigtiff="yes",
            # With more bands than a picture has, GDAL's threads can't agree on what the extra ones are.
            num_threads=workers if bands in (1, 3) else 1,
        )  # fmt: skip
        if bands == 3 and dtype == "uint8":
            self._profile["photometric"] = "rgb"
        elif bands > 1:
            self._profile["photometric"] = "minisblack"

    def __enter__(self):
        self._whole = whole_or_nothing(self.path)
        self._part = self._whole.__enter__()
        self._collecting = gdal_errors()
        self._errors = self._collecting.__enter__()
        self._env = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True)
        self._env.__enter__()
        try:
            self._dataset = rasterio.open(self._part, "w", **self._profile)
            if self._colormap:
                self._dataset.write_colormap(1, self._colormap)
            self._dataset.update_tags(**self._tags)
        except BaseException as error:
            self._leave(error)
            raise self._failure(error) from error
        return self

    def write(self, window: Window, pixels: np.ndarray, valid: np.ndarray | None = None) -> None:
        """Writes `pixels` (CHW, or HW for one band) at a window, and its validity where the file has a mask."""
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        try:
            self._dataset.write(pixels if pixels.ndim == 3 else pixels[None], window=place)
        except RasterioError as error:
            raise self._failure(error) from error
        if self._mask:
            self._validities.append((place, zlib.compress(np.packbits(valid), 1)))

    def __exit__(self, kind, error, trace):
        try:
            self._dataset.close()
            if error is None and not self._errors and (self._mask or self._overviews):
                with rasterio.open(self._part, "r+") as self._dataset:
                    self._write_mask()
                    self._build_overviews()
            if error is None and not self._errors:
                self._check_whole()
        except RasterioError as failure:
            error = error or failure
        if error is None and self._errors:
            error = RasterioIOError(self._errors[0])
        failure = self._failure(error) if isinstance(error, RasterioError) else None
        self._leave(error)
        if failure:
            raise failure from error

    def _leave(self, error: BaseException | None) -> None:
        self._env.__exit__(None, None, None)
        self._collecting.__exit__(None, None, None)
        if error is None:
            self._whole.__exit__(None, None, None)
            return
        # The block deletes its part and throws the error back: that one is the caller's to raise.
        with suppress(RasterioError, OutputError):
            self._whole.__exit__(type(error), error, None)

    def _failure(self, error: BaseException) -> BaseException:
        if not isinstance(error, RasterioError):
            return error
        reason = self._errors[0] if self._errors else error
        return OutputError(self.path, f"can't be written ({reason})", room_at(self.path))

    def _write_mask(self) -> None:
        # Written when the pixels are done: between them, the file's layout would depend on the number of threads.
        for place, packed in self._validities:
            bits = np.frombuffer(zlib.decompress(packed), np.uint8)
            valid = np.unpackbits(bits, count=place.height * place.width).reshape(place.height, place.width)
            self._dataset.write_mask(valid.astype(bool), window=place)

    def _check_whole(self) -> None:
        """Raises RasterioIOError where blocks are missing: what GDAL can't write on closing, it drops in silence."""
        size = self._part.stat().st_size
        with rasterio.open(self._part) as done:
            for row, _ in enumerate(range(0, done.height, TILE)):
                for col, _ in enumerate(range(0, done.width, TILE)):
                    offset, length = (
                        int(done.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1) or 0)
                        for what in ("OFFSET", "SIZE")
                    )
                    if offset + length > size:
                        raise RasterioIOError(f"the file ends at {size} bytes, before its last block")
            # The coarsest overview and its mask are the last that was written.
            factor = max(done.overviews(1), default=1)
            small = (max(1, done.height // factor), max(1, done.width // factor)) if factor > 1 else (1, 1)
            done.read(1, out_shape=small)
            done.dataset_mask(out_shape=small)

    def _build_overviews(self) -> None:
        shorter = min(self._profile["height"], self._profile["width"])
        factors = [2**k for k in range(1, 12) if shorter >> k >= TILE]
        if not factors or not self._overviews:
            return
        resampling = Resampling.nearest if self._colormap else Resampling.average
        options = dict(COMPRESS_OVERVIEW="ZSTD", ZSTD_LEVEL_OVERVIEW=1, PREDICTOR_OVERVIEW=2, BIGTIFF_OVERVIEW="YES")
        threads = self._profile["num_threads"]
        with rasterio.Env(**options, SPARSE_OK_OVERVIEW=True, GDAL_TIFF_OVR_BLOCKSIZE=TILE, GDAL_NUM_THREADS=threads):
            self._dataset.build_overviews(factors, resampling)


def without_nodata(labels: np.ndarray) -> np.ndarray:
    """Labels as the contest's PNGs have them: they know no nodata, so NODATA becomes 0."""
    return np.where(labels == NODATA, np.uint8(0), labels)


def write_submission(labels: Path, png: Path) -> None:
    """Copies a label map into the contest's PNG, strip by strip."""
    with open_labels(labels) as source, PngWriter(png, *source.shape) as writer:
        for first, end in strips(source.height, TILE):
            writer.write(without_nodata(source.read_label_rows(first, end)))


def crop_suffix(bands: int, dtype) -> str:
    """`.png` where PNG can hold a crop's pixels, else `.tif`."""
    return ".png" if bands in (1, 3) and np.dtype(dtype) == np.uint8 else ".tif"


def write_crop(path, pixels_CHW: np.ndarray) -> None:
    """Writes a crop's pixels, whole or not at all, in the format of the path's suffix."""
    if Path(path).suffix == ".png":
        write_png(path, pixels_CHW[0] if len(pixels_CHW) == 1 else cv2.merge(list(pixels_CHW)))
        return
    bands, height, width = pixels_CHW.shape
    with TiledWriter(path, height, width, bands=bands, dtype=pixels_CHW.dtype.name) as writer:
        writer.write(Window(0, 0, height, width), pixels_CHW)


def read_crop(path) -> np.ndarray:
    """A crop's pixels, HWC, in the file's type. Raises InputError where the file is missing or broken."""
    if str(path).endswith(".png"):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if Path(path).exists() else None
        if pixels is None:
            raise InputError(path, "missing or broken", "cut the scenes again")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.ndim == 3 else pixels[..., None]
    with Raster(path) as raster:
        pixels, _ = raster.read(Window(0, 0, *raster.shape))
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def read_label_crop(path) -> np.ndarray:
    """A crop's labels, HW uint8."""
    return read_crop(path)[..., 0]
