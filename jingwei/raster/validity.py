"""Where a raster has no data, by what its file says: alpha, masks, nodata values, NaN."""

from collections.abc import Callable

import numpy as np
from rasterio.enums import MaskFlags

LARGEST = 1e18  # nothing that is measured is larger, and squares of what is do not fit float32


def measurable(pixels: np.ndarray) -> np.ndarray:
    """Whether values (of any shape and type) can have been measured: not NaN, infinite, or beyond LARGEST. Bool."""
    if np.iscomplexobj(pixels):
        return measurable(pixels.real) & measurable(pixels.imag)
    if pixels.dtype.kind != "f":
        return np.ones(pixels.shape, bool)
    return np.abs(pixels) < LARGEST if pixels.dtype.itemsize > 2 else np.isfinite(pixels)


class Validity:
    """The rules of one open dataset, for its image bands (numbers from 1, without alpha, which `Raster` reads).

    Alpha 0 and a mask's 0 are no data; of masks that each band has for itself, any 0. A nodata value that all bands
    share counts where all bands have it in whole numbers (a dark red may well have blue 0), in floats where any has
    it. Where the bands have unlike values, or some have none, it counts where any band has its own. NaN, infinity and
    values beyond LARGEST in any band are no data.
    """

    def __init__(self, dataset, bands: list[int], dtype: np.dtype):
        # Asked once: rasterio goes through all bands each time, and files may claim thousands.
        all_flags, all_values = dataset.mask_flag_enums, dataset.nodatavals
        flags = [all_flags[band - 1] for band in bands]
        # Alpha is a mask of the data set to GDAL, unless another one goes before it.
        of_all = any(MaskFlags.per_dataset in of_band and MaskFlags.alpha not in of_band for of_band in flags)
        masked = [of_all or of_band == [] for of_band in flags]
        # The bands whose masks are to be read: one for all, or each band's own.
        self._masks = [band for band, of_band in zip(bands, flags, strict=True) if of_band == []]
        if of_all:
            self._masks.insert(0, bands[0])
        values = [all_values[band - 1] for band in bands]
        self.nodata: float | None = values[0] if _alike(values) else None  # the value of all bands
        self._is_float = np.issubdtype(dtype, np.floating)
        if any(masked):  # a mask takes the place of its bands' nodata values
            values = [None if by_mask else value for value, by_mask in zip(values, masked, strict=True)]
        self._nodata = [
            (plane, int(value) if float(value).is_integer() and not self._is_float else value)
            for plane, value in enumerate(values)
            if value is not None and not np.isnan(value)
        ]
        self._in_all = _alike(values) and not self._is_float

    @property
    def by_pixels(self) -> bool:
        """Whether the pixels' own values say something."""
        return bool(self._is_float or self._nodata)

    @property
    def nodata_of_pixels(self) -> int | None:
        """The whole number that makes pixels no data where all bands have it; None where no such value does."""
        return int(self._nodata[0][1]) if self._nodata and self._in_all else None

    def forget_nodata(self) -> None:
        """From now on, no value of pixels is no data."""
        self.nodata, self._nodata = None, []

    @property
    def masked(self) -> bool:
        """Whether a mask says something."""
        return bool(self._masks)

    def of(self, pixels: np.ndarray, read_mask: Callable[[int], np.ndarray]) -> np.ndarray:
        """The validity, bool HW, of pixels_CHW; `read_mask` gives a band's mask (uint8 HW) of the same window."""
        valid = np.ones(pixels.shape[1:], bool)
        for band in self._masks:
            valid &= read_mask(band) != 0
        if self._nodata and self._in_all:
            value = self._nodata[0][1]
            valid &= (pixels != value).any(axis=0)
        else:
            for plane, value in self._nodata:
                valid &= pixels[plane] != value
        if self._is_float:
            valid &= measurable(pixels).all(axis=0)
        return valid


def _alike(values: list) -> bool:
    return len({str(value) for value in values}) == 1  # as text: NaN is not equal to itself
