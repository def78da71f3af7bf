"""A trained network as an object: what it knows of itself, and pixels in memory to class ids.

model = load_model("best.pt")
labels_HW = model.predict(pixels_CHW)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jingwei.errors import CheckpointError, SettingError
from jingwei.grid import Window
from jingwei.inputs.sar import SarSettings, decibels_of, has_echo
from jingwei.legend import NODATA, Legend
from jingwei.models.checkpoints import Checkpoint, fits_type, load_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.bands import Bands
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.choosing import CALIBRATION, ORDER, SIDE, choose_engine, trial_windows
from jingwei.prediction.engines.registry import ENGINES
from jingwei.prediction.engines.views import Viewer
from jingwei.prediction.pipeline import predicted_bands
from jingwei.prediction.settings import PredictSettings, check_batch_size
from jingwei.prediction.views import TTA
from jingwei.raster.identity import identity
from jingwei.raster.validity import measurable


@dataclass(frozen=True)
class Pixels:
    """An array that reads like a `raster.reading.Raster`: pixels_CHW and valid_HW (bool)."""

    pixels: np.ndarray
    valid: np.ndarray

    @property
    def bands(self) -> int:
        return self.pixels.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.valid.shape[0], self.valid.shape[1]

    @property
    def height(self) -> int:
        return self.shape[0]

    @property
    def width(self) -> int:
        return self.shape[1]

    @property
    def dtype(self) -> np.dtype:
        return self.pixels.dtype

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of a window and their validity: (pixels_CHW, valid_HW bool)."""
        return self.pixels[:, *window.slices], self.valid[window.slices]


class Model:
    """A trained network: `legend`, `bands`, `dtype` and `scores` say what it was trained on and how good it is.

    Made by `load_model`. Optical and radar networks are used alike; a radar one takes four bands, HH, HV, VH and VV, as
    the files have them (`radar` says which values these are), and makes decibels of them by itself.
    """

    def __init__(self, checkpoint: Checkpoint, path: Path, device: str = "auto", identity: list | None = None):
        self.checkpoint, self.path = checkpoint, path
        self._identity = identity  # of its file when that was read; None where nobody has looked
        self.device = find_device(device)
        self._engines: dict[tuple, Engine] = {}

    def __repr__(self) -> str:
        spec = self.checkpoint.spec
        network = f"{spec.family} over {spec.backbone}" if spec.backbone else spec.family
        return f"<Model {str(self.path)!r}: {network}, {self.bands} bands of {self.dtype}, legend {self.legend.name}>"

    @property
    def legend(self) -> Legend:
        """The classes that it knows: their ids are what `predict` gives."""
        return self.checkpoint.legend

    @property
    def bands(self) -> int:
        """How many bands it takes."""
        return self.checkpoint.spec.bands

    @property
    def band_names(self) -> tuple[str, ...]:
        """Which bands these are, in its order: pixels must come so. Empty where the training's had no names."""
        return self.checkpoint.legend.bands

    @property
    def dtype(self) -> str:
        """The type of the pixels that it was trained on; of a radar network, of the decibels."""
        return self.checkpoint.dtype

    @property
    def scores(self) -> Mapping[str, float | None]:
        """What the validation said when it was kept: miou and others; empty where there was none."""
        return self.checkpoint.scores

    @property
    def calibration(self) -> Mapping[str, Any]:
        """How probabilities were calibrated on the validation: temperature, error (before and after); else empty."""
        return self.checkpoint.calibration

    @property
    def radar(self) -> SarSettings | None:
        """How radar values become its input; None for an optical network."""
        return SarSettings(**self.checkpoint.source) if self.checkpoint.source else None

    def check_file(self) -> None:
        """CheckpointError where its file is another by now: a map's stamp would tell of that one, not of this network.

        As where a training goes on, and its best.pt is written anew.
        """
        if self._identity is not None and identity(self.path) != self._identity:
            raise CheckpointError(self.path, "has changed since it was loaded", "load it again")

    def predict(
        self,
        pixels: np.ndarray,
        *,
        valid: np.ndarray | None = None,
        nodata: float | None = None,
        window: int = 1024,
        overlap: int = 256,
        tta: str = "none",
        engine: str = "auto",
        precision: str = "auto",
        batch_size: int = 0,
    ) -> np.ndarray:
        """The class of every pixel: labels_HW, uint8, 255 (NODATA) where there is no data.

        The labels are those that predict.py writes for a scene of the same pixels with the same settings.

        Parameters
        ----------
        pixels
            pixels_CHW, raw, of the type that the network was trained on; HW for a network of one band. NaN and infinity
            are no data, and so is what a masked array hides, as of `nodata`.
        valid
            valid_HW, bool: False where there is no data.
        nodata
            The value that stands for no data: a pixel is none where all bands have it (of float pixels, where any has).
        window, overlap
            Side of a window and what neighbours share at least, in px.
        tta
            Views of each window to average: none, flips, d4, shift, scales, flips+scales, d4+scales.
        engine, precision
            What runs the network, and in which arithmetic. `auto`: the fastest engine that gives torch's labels, where
            there is so much to do that trying pays; bf16 where the device has it.
        batch_size
            Windows at a time; 0: 1 on a CPU, 8 on a GPU.

        Raises SettingError for pixels that the network can't take and for settings that make no sense.
        """
        settings = PredictSettings(window, overlap, tta, precision, engine)
        return self._predict(pixels, valid, nodata, settings, batch_size, None)

    def predict_probabilities(
        self,
        pixels: np.ndarray,
        *,
        valid: np.ndarray | None = None,
        nodata: float | None = None,
        window: int = 1024,
        overlap: int = 256,
        tta: str = "none",
        engine: str = "auto",
        precision: str = "auto",
        batch_size: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """`predict`, with the same arguments, and the probability of every class: (labels_HW, probabilities_CHW).

        Probabilities are float32, 0 to 1 in steps of 1/255, and 0 for all classes where there is no data. They are
        calibrated where the training had a validation, see `calibration`.
        """
        settings = PredictSettings(window, overlap, tta, precision, engine)
        probabilities = np.zeros((len(self.legend), *np.shape(pixels)[-2:]), np.float32)
        return self._predict(pixels, valid, nodata, settings, batch_size, probabilities), probabilities

    def _predict(
        self,
        pixels: np.ndarray,
        valid: np.ndarray | None,
        nodata: float | None,
        settings: PredictSettings,
        batch_size: int,
        probabilities: np.ndarray | None,
    ) -> np.ndarray:
        """The labels; `probabilities`, zeros CHW, are filled where they are wanted."""
        check_batch_size(batch_size)
        image = self._as_image(pixels, valid, nodata)
        bands = Bands.of(image.shape, settings.check().window, settings.overlap)
        network = Viewer(self._engine(settings, image, bands), settings.tta)
        labels = np.full(image.shape, NODATA, np.uint8)
        how: dict[str, Any] = {"batch_size": batch_size or (8 if self.device.type == "cuda" else 1)}
        kinds = ("labels",) if probabilities is None else ("labels", "probabilities")
        how |= {"temperature": self.checkpoint.temperature, "kinds": kinds}
        mean = np.array(self.checkpoint.mean)  # what the network sees as 0
        classes = self.checkpoint.spec.classes
        for band in predicted_bands(image.read, bands, range(len(bands)), network, classes, mean, **how):
            place = bands.window(band.number).slices
            labels[place] = band.values["labels"]
            if probabilities is not None:
                probabilities[:, *place] = band.values["probabilities"] / np.float32(255)
        return labels

    def _as_image(self, pixels: np.ndarray, valid: np.ndarray | None, nodata: float | None) -> Pixels:
        hidden, pixels = np.ma.getmask(pixels), np.asarray(pixels)  # rasterio's `read(masked=True)` hides no data
        pixels = pixels[None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3 or pixels.shape[0] != self.bands:
            turned = pixels.shape[-1:] == (self.bands,)
            remedy = "put them first: np.moveaxis(pixels, -1, 0)" if turned else "take those that it was trained on"
            raise SettingError(
                "`pixels`", f"have shape {pixels.shape}, but the network takes {self.bands} bands", remedy
            )
        if not pixels.size:
            raise SettingError("`pixels`", f"have shape {pixels.shape}: there are none", "give one at least")
        known = _validity(pixels, nodata)
        if hidden is not np.ma.nomask:
            hidden = hidden.reshape(pixels.shape)
            known &= ~(hidden.any(axis=0) if pixels.dtype.kind in "fc" else hidden.all(axis=0))
        if valid is not None:
            valid = np.asarray(valid)
            if valid.shape != known.shape:
                problem = f"has shape {valid.shape}, but the pixels are {known.shape[0]} x {known.shape[1]}"
                raise SettingError("`valid`", problem, "give a bool for each pixel, HW")
            known &= valid.astype(bool, copy=False)
        radar = self.radar
        if radar is not None:
            return _radar_image(pixels, known, radar)
        dtype = pixels.dtype.name
        if not fits_type(self.checkpoint, dtype):
            problem = f"are {dtype}, but the network was trained on {self.dtype}"
            raise SettingError("`pixels`", problem, "convert them as those of the training were")
        return Pixels(pixels, known)

    def _engine(self, settings: PredictSettings, image: Pixels, bands: Bands) -> Engine:
        """The engine for settings, kept for the next call."""
        precision = find_precision(settings.precision, self.device)
        windows = len(bands.rows) * len(bands.cols) * len(TTA[settings.tta])
        megapixels = windows * settings.window**2 / 1e6
        worth_it = tuple(name for name in ORDER if megapixels >= ENGINES[name].pays_from_mpx)
        key = settings.engine, precision, worth_it
        if key in self._engines:
            return self._engines[key]

        def look() -> list[tuple[np.ndarray, np.ndarray]]:
            return trial_windows(image, min(SIDE, settings.window), self.checkpoint.mean)

        calibration = (pixels for pixels, _ in trial_windows(image, SIDE, self.checkpoint.mean, CALIBRATION))
        how = {"calibration": calibration, "say": _silent}
        chosen = choose_engine(settings.engine, self.checkpoint, self.device, precision, look, megapixels, **how)
        self._engines[key] = chosen.engine
        return chosen.engine


def _radar_image(planes: np.ndarray, known: np.ndarray, settings: SarSettings) -> Pixels:
    """Radar values CHW as a network sees them. SettingError for values below 0, which decibels alone have."""
    known = known & has_echo(planes, settings)
    if settings.values != "db" and planes.dtype.kind != "c" and (least := planes.min(where=known, initial=0)) < 0:
        problem = f"have values below 0 ({least:g}), but the network takes {settings.values}"
        raise SettingError("`pixels`", problem, "give radar values of the kind that it was trained on")
    decibels = np.zeros(planes.shape, np.float32)
    decibels_of(planes, known, settings, slice(None), decibels)
    return Pixels(decibels, known)


def _silent(line: str) -> None:
    """What was measured is good to know at a terminal, not in a program."""


def _validity(pixels: np.ndarray, nodata: float | None) -> np.ndarray:
    """valid_HW (bool) of pixels_CHW, as of a file with one nodata value for all bands."""
    valid = np.ones(pixels.shape[1:], bool)
    inexact = pixels.dtype.kind in "fc"
    if nodata is not None and not np.isnan(nodata):
        valid &= (pixels != nodata).all(axis=0) if inexact else (pixels != nodata).any(axis=0)
    if inexact:
        valid &= measurable(pixels).all(axis=0)
    return valid


def load_model(path: str | Path, device: str = "auto") -> Model:
    """A trained network from its checkpoint, .pt or .pth: it needs no other file.

    `device` is auto (the GPU where there is one), cpu, cuda or cuda:1. Raises CheckpointError where the file is
    missing, broken, or not a checkpoint of this library.
    """
    path = Path(path)
    before = identity(path) if path.is_file() else None  # of what is read, or of what comes before it
    return Model(load_checkpoint(path), path, device, before)
