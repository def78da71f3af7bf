"""Radar scenes of four polarisations, as a network sees them: decibels, their tails clipped.

A sample is four files, `N_HH.tiff`, `N_HV.tiff`, `N_VH.tiff` and `N_VV.tiff`. Zero in HH is no data. Backscatter spans
several powers of ten, so logarithms are what can be learned from; speckle, a factor there, is a term here.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from jingwei.errors import InputError, JingweiError, SettingError
from jingwei.grid import strips
from jingwei.inputs.lee_filter import refined_lee
from jingwei.raster.preview import limits, stretched
from jingwei.raster.reading import Raster
from jingwei.raster.same_place import check_same_grid
from jingwei.raster.tiles import TILE
from jingwei.raster.validity import measurable
from jingwei.system.own_files import misfit

CHANNELS = ("HH", "HV", "VH", "VV")
VALUES = ("amplitude", "intensity", "db")
LEAST_INTENSITY = 1e-10  # -100 dB: an echo of nothing has no logarithm
MOST_DB = 300.0  # no echo is stronger, and what is, float32 may not hold as intensity


KEPT = {"values": str, "lee": int, "looks": float, "low": tuple[float, ...], "high": tuple[float, ...]}  # in JSON


@dataclass(frozen=True)
class SarSettings:
    """How radar values become what a network sees. In JSON: `asdict`, read by `read_settings`."""

    values: str = "amplitude"  # what the files hold: amplitude (complex files too), intensity or db
    lee: int = 0  # side of the refined Lee filter's window in px (5, 7, 9 ...); 0: no speckle filter
    looks: float = 1.0  # number of looks, which says how strong the speckle is
    low: tuple[float, ...] = ()  # dB per channel that the tails are clipped to; (): as the training data has them
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("low", "high"):  # JSON knows no tuples
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))

    def check(self) -> "SarSettings":
        """The settings themselves, or a SettingError."""
        if self.values not in VALUES:
            raise SettingError(f"sar values {self.values!r}", "no such kind of values", f"take {', '.join(VALUES)}")
        if self.lee and (self.lee < 5 or self.lee % 2 == 0):
            raise SettingError(f"sar lee {self.lee}", "is not a window's side", "take 5, 7, 9 ..., or 0 for no filter")
        if not self.looks > 0:
            raise SettingError(f"sar looks {self.looks}", "is not a number of looks", "take 1 or more")
        if self.low or self.high:
            if len(self.low) != len(CHANNELS) or len(self.high) != len(CHANNELS):
                problem = f"{len(self.low)} values of low and {len(self.high)} of high"
                raise SettingError("sar low and high", problem, f"give one per channel: {', '.join(CHANNELS)}")
            if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
                problem = f"low {self.low} does not lie below high {self.high}"
                raise SettingError("sar low and high", problem, "swap them, or leave both out")
        return self


def read_settings(content: dict, where: object, remedy: str, error: type[JingweiError] = InputError) -> SarSettings:
    """The settings that a file of ours, `where`, keeps in JSON. Raises `error` where they make no sense."""
    problem = misfit(KEPT, content)
    unknown = sorted(set(content) - set(KEPT))
    if problem is None and unknown:
        problem = f"has unknown radar settings {', '.join(unknown)}"
    if problem is None:
        try:
            return SarSettings(**content).check()
        except SettingError as wrong:
            problem = f"{wrong.args[0]}: {wrong.args[1]}"
    raise error(where, problem, remedy)


def to_intensity(values: np.ndarray, kind: str) -> np.ndarray:
    """Radar values of a kind (see VALUES), of any shape and type, as float32 intensity of LEAST_INTENSITY or more.

    What float32 can't hold becomes infinity: such pixels are no data, see `has_echo`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if kind == "db":
            intensity = np.power(10, values.astype(np.float32) / 10, dtype=np.float32)
        elif kind == "intensity":
            intensity = np.abs(values) if np.iscomplexobj(values) else values.astype(np.float32)
        elif np.iscomplexobj(values):
            intensity = values.real.astype(np.float32) ** 2 + values.imag.astype(np.float32) ** 2
        else:
            intensity = values.astype(np.float32) ** 2
    return np.maximum(intensity, np.float32(LEAST_INTENSITY))


def to_db(values: np.ndarray, kind: str) -> np.ndarray:
    """Radar values of a kind (see VALUES), of any shape and type, as float32 decibels, -100 or more."""
    if kind == "db":
        return np.maximum(values.astype(np.float32), np.float32(10 * np.log10(LEAST_INTENSITY)))
    # Contiguous: so that every pixel goes the same way through numpy's loops, wherever it lies in an array.
    return np.float32(10) * np.log10(np.ascontiguousarray(to_intensity(values, kind)))


def has_echo(planes: Sequence[np.ndarray], settings: SarSettings) -> np.ndarray:
    """Where all four channels (HW each) hold values of a strength that an echo can have, and HH is not 0: bool HW."""
    known = planes[CHANNELS.index("HH")] != 0
    for plane in planes:
        known &= measurable(plane)
        if settings.values == "db":
            known &= plane < MOST_DB
    return known


def decibels_of(
    planes: Sequence[np.ndarray], valid: np.ndarray, settings: SarSettings, rows: slice, decibels: np.ndarray
) -> None:
    """Fills some rows of four channels as a network sees them: filtered and clipped as the settings say.

    `planes` are radar values HW, one array per channel, with the rows round those wanted that the filter looks at;
    `valid` (bool HW) says where all have a value. `decibels`, float32 CHW of the wanted `rows`, stay as they are
    elsewhere.
    """
    for number, plane in enumerate(planes):
        if settings.lee:
            filtered = refined_lee(to_intensity(plane, settings.values), valid, settings.lee, settings.looks)
            values = to_db(filtered[rows], "intensity")
        else:
            values = to_db(plane[rows], settings.values)
        if settings.low:
            values = values.clip(np.float32(settings.low[number]), np.float32(settings.high[number]))
        np.copyto(decibels[number], values, where=valid[rows])


class SarReader:
    """The four files of a sample, read as one scene of float32 decibels: filtered and clipped as the settings say.

    Reads like a `raster.Raster`: rows from the top, any number at a time, with the same result for any. Raises
    InputError for values that can't be what the settings say.
    """

    bands, dtype = len(CHANNELS), np.dtype(np.float32)
    band_names: tuple[str, ...] = ()  # files are known by their names, and their order is always one

    def __init__(self, images: tuple[Path, ...], settings: SarSettings):
        self.path, self._settings = images[0], settings.check()
        with ExitStack() as stack:
            self._files = [stack.enter_context(Raster(path)) for path in images]
            for file in self._files[1:]:
                check_same_grid(file, self._files[0])
            self._stack = stack.pop_all()
        self.height, self.width = self._files[0].shape
        self.georeference = self._files[0].georeference
        self.crs, self.transform = self.georeference.crs, self.georeference.transform

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    def read_rows(self, first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Full rows: (decibels_CHW float32, 0 where there is no data; valid_HW bool)."""
        decibels = np.zeros((self.bands, end - first, self.width), np.float32)
        valid = np.empty((end - first, self.width), bool)
        for row, row_end in strips(end - first, TILE):  # what is worked with is many times what comes out
            self._fill(first + row, decibels[:, row:row_end], valid[row:row_end])
        return decibels, valid

    def _fill(self, first: int, decibels: np.ndarray, valid: np.ndarray) -> None:
        """Fills decibels_CHW, which are 0, and valid_HW with the rows from `first` on."""
        margin = self._settings.lee // 2
        top, bottom = max(0, first - margin), min(self.height, first + len(valid) + margin)
        planes, known = self._read(top, bottom)
        rows = slice(first - top, first - top + len(valid))
        valid[:] = known[rows]
        decibels_of(planes, known, self._settings, rows, decibels)

    @property
    def has_phases(self) -> bool:
        """Whether the files hold complex values."""
        return all(file.dtype.kind == "c" for file in self._files)

    def colors(self, first: int, end: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Red, green and blue intensity of full rows, unfiltered, at 1 / `step`: see radar_picture. (CHW, valid_HW)"""
        planes, valid = self._read(first, end)
        if self.has_phases:
            hh, hv, vh, vv = planes
            colors = [(hh - vv) / np.sqrt(2), (hv + vh) / np.sqrt(2), (hh + vv) / np.sqrt(2)]
            colors = [to_intensity(color, "amplitude") for color in colors]
        else:
            hh, hv, vh, vv = (to_intensity(plane, self._settings.values) for plane in planes)
            colors = [hh, (hv + vh) / 2, vv]
        averaged = [_averaged(color, valid, step) for color in colors]
        return np.stack([plane for plane, _ in averaged]), averaged[0][1]

    def _read(self, first: int, end: int) -> tuple[list[np.ndarray], np.ndarray]:
        """What the four files hold in full rows, and where all have a value and HH is not 0."""
        read = [file.read_rows(first, end) for file in self._files]
        planes = [pixels[0] for pixels, _ in read]
        valid = np.logical_and.reduce([valid for _, valid in read]) & has_echo(planes, self._settings)
        if self._settings.values != "db":
            self._refuse_negative(planes, valid)
        return planes, valid

    def _refuse_negative(self, planes: list[np.ndarray], valid: np.ndarray) -> None:
        """Raises InputError where a valid value is below 0. Complex ones have lengths, which never are."""
        for file, plane in zip(self._files, planes, strict=True):
            if plane.dtype.kind == "c":
                continue
            least = plane.min(where=valid, initial=0)
            if least < 0:
                problem = f"has values below 0 ({least:g}), as no {self._settings.values} has, but decibels have"
                remedy = 'decibels are read with "sar": {"values": "db"}; a network takes what it was trained on'
                raise InputError(file.path, problem, remedy)

    def strips(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """The whole scene, top to bottom: (first row, decibels_CHW, valid_HW)."""
        for first, end in strips(self.height, TILE):
            yield first, *self.read_rows(first, end)


class Tails:
    """A histogram of decibels per channel, which can be added up, and the percentiles that it tells."""

    STEP = 0.01  # dB
    LOWEST, HIGHEST = -100.0, 200.0

    def __init__(self) -> None:
        self.counts = np.zeros((len(CHANNELS), round((self.HIGHEST - self.LOWEST) / self.STEP)), np.int64)

    def update(self, decibels: np.ndarray, valid: np.ndarray) -> None:
        """Counts the valid pixels of decibels_CHW."""
        last = self.counts.shape[1] - 1
        for counts, plane in zip(self.counts, decibels, strict=True):
            places = np.clip((plane[valid] - self.LOWEST) / self.STEP, 0, last).astype(np.int64)
            counts += np.bincount(places, minlength=last + 1)

    def merge(self, other: "Tails") -> None:
        """Adds another histogram's pixels to these."""
        self.counts += other.counts

    def cut_off(self, percent: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(low, high) per channel: `percent` % of the pixels lie below the one, and as many above the other."""
        totals = self.counts.cumsum(axis=1)
        lows = [np.searchsorted(total, total[-1] * percent / 100, side="right") for total in totals]
        highs = [np.searchsorted(total, total[-1] * (1 - percent / 100), side="left") + 1 for total in totals]
        low, high = (tuple(round(self.LOWEST + int(p) * self.STEP, 2) for p in each) for each in (lows, highs))
        return low, high


def radar_picture(images: tuple[Path, ...], settings: SarSettings, side: int = 1600) -> tuple[np.ndarray, str]:
    """A sample for people to look at: (uint8 RGB, its longer side at most `side` px, no data black; what it shows).

    Complex files give the Pauli picture (S. R. Cloude and E. Pottier, IEEE TGRS 34, 1996): double bounce |HH - VV| in
    red, volume |HV + VH| in green, surface |HH + VV| in blue. Others have lost the phases that such sums need: HH in
    red, the mean of HV and VH in green, VV in blue. Pixels are averages of intensity, in decibels, each colour
    stretched by itself from its first to its last percent.
    """
    with SarReader(images, settings) as reader:
        step = -(-max(reader.shape) // side)
        parts = [reader.colors(first, end, step) for first, end in strips(reader.height, 64 * step)]
        colors, valid = (np.concatenate(list(part), axis=-2) for part in zip(*parts, strict=True))
        title = (
            "Pauli" if reader.has_phases else "HH, mean of HV and VH, VV (no Pauli picture: the files have no phases)"
        )
    decibels = to_db(colors, "intensity")
    picture = np.zeros((*valid.shape, 3), np.uint8)
    for number, plane in enumerate(decibels):
        shades = stretched(plane, *limits(plane[valid]), black=1)  # 0 is left to no data
        picture[..., number] = np.where(valid, shades, 0)
    return picture, title


def _averaged(plane: np.ndarray, valid: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of the valid pixels of every `step` x `step` of an array HW, and whether there are any."""
    height, width = valid.shape
    around = ((0, -height % step), (0, -width % step))
    sums, counts = (
        np.pad(array.astype(np.float64), around)
        .reshape((height + step - 1) // step, step, (width + step - 1) // step, step)
        .sum(axis=(1, 3))
        for array in (np.where(valid, plane, 0), valid)
    )
    return sums / np.maximum(counts, 1), counts > 0
