"""One open raster file: what it says of itself, and windows out of it, every byte of ours checked before GDAL is."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Self

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.raster.checksums import Checksums
from jingwei.raster.gdal import GDAL_FAILURES, PNG_OPTIONS, gdal_errors, reason_of, small_cache
from jingwei.raster.georeference import Georeference
from jingwei.raster.linked_files import all_sources, companions
from jingwei.raster.opening import is_vsi, open_dataset
from jingwei.raster.orientation import UPRIGHT, Upright, orientation_of
from jingwei.raster.tiff import MASK
from jingwei.raster.validity import Validity
from jingwei.spectrum import RGB, agree, in_words, known_names

IMAGE_TYPES = ("uint8", "uint16", "int16", "float32")
MOST_ROW_BYTES = 1 << 24  # of a row of pixels: stages hold some hundred rows


class Source:
    """A raster file open for reading. A context manager.

    What counts as no data: see `Validity`. `bands` counts image bands, alpha left out; where they have unlike types,
    `dtype` holds all of them exactly. Pictures that are stored turned are read upright (see `Upright`).
    """

    notes: tuple = ()  # what people should know of it: of labels that are drawn, there may be something

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with ExitStack() as stack:
            stack.enter_context(small_cache)
            self._checksums = Checksums.of(path)  # before GDAL opens what may have changed
            if self._checksums:
                stack.callback(self._checksums.close)
            self._dataset = stack.enter_context(open_dataset(path))
            try:
                self._look()
            except GDAL_FAILURES as failure:
                problem = f"is broken ({reason_of(failure)})"
                raise InputError(path, problem, "copy or export the file again") from failure
            self._files = stack.pop_all()

    def _look(self) -> None:
        """Takes down what the open file says of itself. Raises InputError where it can't be used."""
        orientation = orientation_of(self._dataset, self.path)
        if orientation != UPRIGHT:
            self._dataset = Upright(self._dataset, self.path, orientation)
        self.upright = orientation == UPRIGHT  # as it is stored
        self.driver = self._dataset.driver
        self.georeference = Georeference.of(self._dataset)
        self.crs, self.transform = self.georeference.crs, self.georeference.transform
        self.height, self.width = self._dataset.shape
        colors = self._dataset.colorinterp
        # The number of the band, 1 up, that the file marks as alpha.
        self.alpha: int | None = colors.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colors else None
        self._band_numbers = [i for i in self._dataset.indexes if i != self.alpha]
        self.bands = len(self._band_numbers)
        dtypes = self._dataset.dtypes  # once: it asks for that of every band
        self.dtype = self._stored = _type_of([dtypes[i - 1] for i in self._band_numbers or [1]])
        if self.width * self.bands * self.dtype.itemsize > MOST_ROW_BYTES:
            problem = f"is {self.width:,d} px wide, more than fits in memory"
            raise InputError(self.path, problem, "cut it into narrower pictures, or export it again")
        self._validity = Validity(self._dataset, self._band_numbers, self.dtype)
        self.nodata = self._validity.nodata

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.close()

    @contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Closes the file where the block fails: then nobody gets it who would."""
        try:
            yield
        except BaseException:
            self.__exit__()
            raise

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def tiled(self) -> bool:
        """True where any window can be read at once, without reading all rows above it."""
        return self._dataset.block_shapes[0][1] < self.width

    def read_alpha(self, window: Window) -> np.ndarray:
        """The alpha of a window as the file has it, HW."""
        assert self.alpha is not None, "asked for the alpha of a file without one"
        return self._read([self.alpha], window)[0]

    @property
    def lossy_compression(self) -> str | None:
        """The name of a compression that changes pixels, as far as the file says so; None of others."""
        structure = self._dataset.tags(ns="IMAGE_STRUCTURE")
        name = structure.get("COMPRESSION", self.driver)
        changes_integers = float(structure.get("MAX_Z_ERROR", 0)) >= 0.5 and self.dtype.kind in "iu"  # of LERC
        lossy = structure.get("COMPRESSION_REVERSIBILITY") == "LOSSY" or "JPEG" in name.split()
        return name if lossy or changes_integers else None

    @property
    def tags(self) -> dict[str, str]:
        """The file's metadata items, as text; none where they are not UTF-8, as ours are."""
        try:
            return self._dataset.tags()
        except UnicodeDecodeError:
            return {}

    def check_all(self) -> None:
        """Raises InputError where the file has checksums, and any byte of its tiles is not as it was written."""
        if self._checksums:
            self._checksums.check_all()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that its pixels and masks come from: those that a VRT names too, and masks beside them.

        What other files beside it say, such as world files and `.aux.xml`, is in `facts`.
        """
        if is_vsi(self.path):
            return (self.path,)
        beside = [file for path in all_sources(self.path) for file in (path, *companions(path))]
        return tuple(dict.fromkeys(file for file in beside if file.is_file()))

    @property
    def described_bands(self) -> tuple[str, ...]:
        """The names of its bands by the file's descriptions of them, as they are read; () where none is known."""
        try:
            descriptions = self._dataset.descriptions
        except UnicodeDecodeError:
            return ()
        return known_names([descriptions[number - 1] for number in self._band_numbers])

    @property
    def coloured_bands(self) -> tuple[str, ...]:
        """Their names by the colours that the file gives them; () where it gives none.

        Red, green, blue of three bands is what software writes that knows nothing of them: it says little.
        """
        colors = self._dataset.colorinterp
        return known_names([colors[number - 1].name for number in self._band_numbers])

    @property
    def band_names(self) -> tuple[str, ...]:
        """What the file says of its bands: its descriptions, else colours that somebody has chosen; () for nothing."""
        return self.described_bands or (() if self.coloured_bands == RGB else self.coloured_bands)

    def arrange(self, wanted: tuple[str, ...]) -> Self:
        """From now on, gives the bands of these names, in their order, where the file's descriptions name its bands.

        Raises InputError where they can't be had. A file without descriptions stays as it is.
        """
        names = self.described_bands
        if agree(names, wanted):
            return self
        missing = [name for name in wanted if name not in names or not name]
        if missing:
            problem = f"its bands are described as {in_words(names)}, but {in_words(wanted)} are wanted"
            raise InputError(self.path, problem, "take files of these bands, or mend their descriptions")
        self._band_numbers = [self._band_numbers[names.index(name)] for name in wanted]
        self.bands = len(wanted)
        self._validity = Validity(self._dataset, self._band_numbers, self.dtype)
        self.nodata = self._validity.nodata
        return self

    @property
    def facts(self) -> dict:
        """What the file says of its pixels, in JSON's types: size, types, no data, place, colours, bands."""
        place = self.georeference
        return ({"bands": self.described_bands} if self.described_bands else {}) | {
            "size": [self.height, self.width],
            "types": list(self._dataset.dtypes),
            "nodata": [str(value) for value in self._dataset.nodatavals],
            "masks": [sorted(flag.name for flag in flags) for flags in self._dataset.mask_flag_enums],
            "colors": [color.name for color in self._dataset.colorinterp],
            "crs": [crs.to_wkt() if crs else None for crs in (place.crs, place.gcps_crs)],
            "transform": list(place.transform)[:6],
            "gcps": [list(point) for point in place.gcps],
            "rpcs": place.rpcs.to_dict() if place.rpcs else None,
            "palette": {str(value): list(color) for value, color in self.palette.items()},
            "turned": not self.upright,
        }

    @property
    def palette(self) -> dict[int, tuple[int, int, int, int]]:
        """Pixel value -> RGBA, where the file's only band has a colour table; else empty."""
        is_palette = self._dataset.colorinterp[0] == ColorInterp.palette
        return self._dataset.colormap(1) if is_palette else {}

    def _read(self, numbers: list[int], window: Window) -> np.ndarray:
        if self._checksums:
            self._checksums.check(window)
        how = {"window": _of_rasterio(window), "out_dtype": self._stored.name}
        if len(set(self._dataset.dtypes)) > 1:  # rasterio reads no bands of unlike types at once
            return self._by_gdal(window, lambda: np.concatenate([self._dataset.read([i], **how) for i in numbers]))
        return self._by_gdal(window, lambda: self._dataset.read(numbers, **how))

    def _valid(self, pixels: np.ndarray, window: Window) -> np.ndarray:
        """The validity of pixels_CHW of a window, alpha left out."""

        def read_mask(number: int) -> np.ndarray:
            if self._checksums:
                self._checksums.check(window, MASK)
            return self._by_gdal(window, lambda: self._dataset.read_masks(number, window=_of_rasterio(window)))

        return self._validity.of(pixels, read_mask)

    def _by_gdal(self, window: Window, read: Callable[[], np.ndarray]) -> np.ndarray:
        """What `read` gives. InputError where it fails, with a word or without: then pixels would be wrong."""
        try:
            with rasterio.Env(**PNG_OPTIONS) if self.driver in ("PNG", "VRT") else nullcontext():
                with gdal_errors(of_this_thread=True) as errors:
                    read_pixels = read()
        except GDAL_FAILURES as failure:
            raise self._broken(window, reason_of(failure)) from failure
        if errors:
            raise self._broken(window, errors[0])
        return read_pixels

    def _broken(self, window: Window, reason: object) -> InputError:
        rows = f"rows {window.row} to {window.row_end} of {self.height}"
        return InputError(self.path, f"broken or truncated at {rows} ({reason})", "copy or export the file again")


def _type_of(names: list[str]) -> np.dtype:
    """The smallest type that holds values of all these types of rasterio exactly; float32 where that does."""
    # What numpy has no type for is read as the next larger one.
    types = [np.dtype(name.replace("complex_int16", "complex64")) for name in names]
    joint = np.result_type(*types)
    fits = joint.name not in IMAGE_TYPES and all(np.can_cast(each, np.float32) for each in types)
    return np.dtype(np.float32) if len(set(types)) > 1 and fits else joint


def _of_rasterio(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)
