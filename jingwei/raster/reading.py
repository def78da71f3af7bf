"""Scenes and labels in: their pixels and validity, class ids, window by window or down the rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np

from jingwei.errors import InputError, known
from jingwei.grid import Window, strips
from jingwei.legend import NODATA, Legend
from jingwei.raster.label_values import UNKNOWN, ids_of_values, takes_nodata_for_class
from jingwei.raster.linked_files import all_sources
from jingwei.raster.opening import is_vsi
from jingwei.raster.png import BrokenPng, PngReader
from jingwei.raster.source import IMAGE_TYPES, Source

READ_ROWS = 64  # rows a slice: few enough that all bands of a slice stay in GDAL's block cache


class Raster(Source):
    """A scene or labels open for reading: see `Source`.

    Of an image with a palette (see `open_image`), the bands are red, green and blue, uint8.
    """

    def __init__(self, path: str | Path):
        super().__init__(path)
        self._plain = not self.alpha and not self._validity.masked
        # Going down a plain PNG, our own reader is twice as fast as GDAL's.
        plain = self.driver == "PNG" and self.upright and not (self._validity.masked or self._validity.by_pixels)
        self._png = PngReader.opens(self.path) if plain else None
        if self._png:
            self._files.callback(self._png.close)
        self._plain_labels = self._plain and self.dtype == np.uint8 and self.nodata in (None, NODATA)
        self._ids: np.ndarray | None = None  # of labels whose legend has values: value -> class id, int16 of 256
        # Of images with a palette: (3, values) uint8 and bool, by pixel value.
        self._colors: np.ndarray | None = None
        self._opaque: np.ndarray | None = None
        # (first row, arrays) of the rows read last, for windows that overlap downwards.
        self._carried: tuple[int, np.ndarray, np.ndarray] | None = None

    def expand_palette(self) -> "Raster":
        """From now on, gives the colours of a palette in place of its indices, which no network could learn from.

        Greys that rise stay one band, and so does a file without a palette. Values that the palette lacks are invalid.
        """
        palette = self.palette if self.bands == 1 else {}
        colors = [palette[i] for i in sorted(palette)]
        if colors == sorted(colors) and all(red == green == blue and opaque for red, green, blue, opaque in colors):
            return self
        values = sorted(palette)
        self._colors = np.zeros((3, max(256, np.iinfo(self.dtype).max + 1)), np.uint8)
        self._colors[:, values] = np.array(colors, np.uint8)[:, :3].T
        self._opaque = np.zeros(self._colors.shape[1], bool)
        self._opaque[values] = [palette[i][3] > 0 and i != self.nodata for i in values]
        self.bands, self.dtype, self.nodata = 3, np.dtype(np.uint8), None
        return self

    def arrange(self, wanted: tuple[str, ...]) -> Self:
        """Gives the bands of these names in their order, see `Source.arrange`; a palette's colours stay as they are."""
        if self._colors is None:
            before = self._band_numbers
            super().arrange(wanted)
            if self._band_numbers != before and self._png:
                self._png = None  # it knows the file's order alone
        return self

    def check_image(self) -> "Raster":
        """Raises InputError for a type that no stage can work on."""
        if self.dtype.name not in IMAGE_TYPES:
            raise InputError(self.path, f"pixels are {self.dtype}", f"convert them to {', '.join(IMAGE_TYPES)}")
        return self

    def refuse_lossy(self) -> "Raster":
        """Raises InputError for a compression with losses: of labels, some values would pass for other classes.

        A VRT has none itself: one of its files of each ending is looked at, as the tiles of a mosaic are alike.
        """
        with self.closed_on_error():
            if self.driver == "JPEG":
                raise InputError(self.path, "is a JPEG, which changes ids and colours", "save masks as PNG")
            if how := self.lossy_compression:
                problem = f"is compressed with losses ({how}), which changes ids and colours"
                raise InputError(self.path, problem, "save masks as PNG, or as TIFF with DEFLATE")
            named = all_sources(self.path) if self.driver == "VRT" and not is_vsi(self.path) else []
            for path in {path.suffix.lower(): path for path in named if path.suffix.lower() != ".vrt"}.values():
                with Raster(path) as source:
                    source.refuse_lossy()
        return self

    def settle_nodata(self, legend: Legend, class_of: Callable[[int], int]) -> "Raster":
        """Has the legend say what counts where a label's nodata tag is a class: see `takes_nodata_for_class`.

        `class_of` gives the class id of pixels that have a value (0 to 255) in all bands.
        """
        value = self._validity.nodata_of_pixels
        if value is not None and 0 <= value <= 255:
            meant = int(class_of(value))
            if takes_nodata_for_class(self.path, legend, value, meant, lambda: self._count(value)):
                self._validity.forget_nodata()
                self.nodata = None
                self._plain_labels = self._plain and self.dtype == np.uint8
        return self

    def _count(self, value: int) -> int:
        """The pixels that have a value in all bands."""
        windows = (Window(first, 0, end - first, self.width) for first, end in strips(self.height, READ_ROWS))
        return sum(int(np.count_nonzero((self._read(self._band_numbers, w) == value).all(axis=0))) for w in windows)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of a window and their validity: (pixels_CHW in the file's type, valid_HW bool)."""
        numbers = [*self._band_numbers, self.alpha] if self.alpha else self._band_numbers
        planes = self._read(numbers, window)
        pixels = planes[: len(self._band_numbers)]
        valid = self._valid(pixels, window)
        if self.alpha:
            valid &= planes[-1] != 0
        if self._colors is not None and self._opaque is not None:
            return self._colors[:, pixels[0]], valid & self._opaque[pixels[0]]
        return pixels, valid

    def read_validity(self, window: Window) -> np.ndarray:
        """The validity of a window, bool HW, without its pixels where the file allows that."""
        if self._validity.by_pixels or self._colors is not None:
            return self.read(window)[1]
        valid = self._valid(np.empty((0, window.height, window.width), self.dtype), window)
        return valid & (self._read([self.alpha], window)[0] != 0) if self.alpha else valid

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
            self._read_png(self._png, pixels[:, have - first :], valid[have - first :], have)
            have = end
        for row, row_end in strips(end - have, READ_ROWS):
            window = Window(have + row, 0, row_end - row, self.width)
            here = slice(window.row - first, window.row_end - first)
            pixels[:, here], valid[here] = self.read(window)
        self._carried = (first, pixels, valid)
        return pixels, valid

    def read_label_rows(self, first: int, end: int) -> np.ndarray:
        """`read_rows` of a label raster, class ids, uint8, NODATA where the file says so.

        Raises InputError for ids beyond 255, and for values of no class where the legend has values.
        """
        if self.tiled and self._plain_labels and self._ids is None:
            return self._read(self._band_numbers, Window(first, 0, end - first, self.width))[0]  # labels as they are
        pixels, valid = self.read_rows(first, end)
        if self._ids is not None:
            return self._ids_of(self._ids, pixels[0], valid, first)
        # A copy: rows that overlap the next call's are kept. Of a type that holds NODATA, as int8 does not.
        labels = np.where(valid, pixels[0], np.uint8(NODATA))
        if labels.dtype != np.uint8 and (labels.min() < 0 or labels.max() > 255):
            strange = np.unique(labels[(labels < 0) | (labels > 255)])[:8]
            problem = f"ids {', '.join(map(str, strange))} in rows {first} to {end}"
            raise InputError(self.path, problem, "class ids run 0, 1, 2 ..., and 255 is no data")
        return labels.astype(np.uint8, copy=False)

    def _ids_of(self, ids_by_value: np.ndarray, values: np.ndarray, valid: np.ndarray, first: int) -> np.ndarray:
        """The class ids, uint8, of rows of values (both HW), by the legend."""
        inside = (values >= 0) & (values <= 255)
        ids = np.where(valid & inside, ids_by_value[np.where(inside, values, 0).astype(np.uint8)], NODATA)
        strange = valid & (~inside | (ids == UNKNOWN))
        if strange.any():
            listed = ", ".join(map(str, np.unique(values[strange])[:8]))
            values_known = known(map(str, np.flatnonzero(ids_by_value != UNKNOWN)))
            problem = f"values {listed} in rows {first} to {first + len(values)}"
            remedy = f'{values_known}: correct the labels, or give the values a class or "ignore" in the legend'
            raise InputError(self.path, problem, remedy)
        return ids.astype(np.uint8)

    def _read_png(self, png: PngReader, pixels: np.ndarray, valid: np.ndarray, first: int) -> None:
        """Fills pixels_CHW and valid_HW with the next rows of a PNG."""
        try:
            if not self.alpha:
                png.read(pixels)
                valid[:] = True
                return
            for row, row_end in strips(len(valid), READ_ROWS):
                planes = np.empty((self.bands + 1, row_end - row, self.width), np.uint8)
                png.read(planes)
                pixels[:, row:row_end] = planes[:-1]
                np.not_equal(planes[-1], 0, out=valid[row:row_end])
        except BrokenPng as error:
            raise self._broken(Window(first, 0, len(valid), self.width), error) from error


def open_image(path: str | Path) -> Raster:
    """A scene to cut or to predict; one with a palette as its colours.

    Raises InputError for missing, unreadable and unsupported files.
    """
    raster = Raster(path)
    with raster.closed_on_error():
        return raster.expand_palette().check_image()


def open_labels(path: str | Path, legend: Legend | None = None) -> Raster:
    """A raster of class ids: one integer band. Raises InputError where it is something else.

    Of labels that people make, name the legend: where its classes have values, `read_label_rows` makes ids of them; and
    where the file's nodata tag is a class's value, the legend says what counts, or the file is refused.
    """
    raster = Raster(path)
    with raster.closed_on_error():
        raster.refuse_lossy()
        if raster.bands != 1:
            raise InputError(path, f"has {raster.bands} bands", "labels need one band of class ids, not colours")
        if not np.issubdtype(raster.dtype, np.integer):
            raise InputError(path, f"holds {raster.dtype} values", "labels need whole numbers, best uint8")
        if legend:
            raster.settle_nodata(legend, lambda value: ids_of_values(legend)[value])
            if legend.has_values:
                raster._ids = ids_of_values(legend)
    return raster


def read_tags(path: str | Path) -> dict[str, str]:
    """The metadata items of a raster file."""
    with Raster(path) as raster:
        return raster.tags
