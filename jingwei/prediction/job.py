"""A map to be made: its settings, its files, and what is left to do of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jingwei.models.devices import find_device, find_precision
from jingwei.prediction.bands import Bands
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.map_legend import legend_of_map
from jingwei.raster.stamps import remove_stale, stamp, up_to_date
from jingwei.raster.styles import write_class_style, write_percent_style


@dataclass(frozen=True)
class Job:
    """A map to be made, of all of a scene or of a part: all that a machine needs to know to take a share of the work.

    `probabilities` and `confidence` are where the class probabilities and the labels' own go, None keeps none; where an
    earlier map of this name may have left a confidence that is not kept now, it is in `stale`. `batch_size` 0 takes 1
    window at a time on a CPU, 8 on a GPU. `crops` are training crops, which only the engine openvino-int8 looks at.
    `originals` are the files that the scene is, where `source` is but a copy of it that any window can be read from.
    """

    weights: Path
    source: Path
    target: Path
    settings: PredictSettings
    probabilities: Path | None = None
    device: str = "auto"
    batch_size: int = 0
    workers: int = 1
    crops: tuple[Path, ...] = ()
    originals: tuple[Path, ...] = ()
    confidence: Path | None = None
    stale: tuple[Path, ...] = ()

    @property
    def outputs(self) -> dict[str, Path]:
        """Where things go, by their kind: labels, and what else is wanted."""
        places = {"labels": self.target, "confidence": self.confidence, "probabilities": self.probabilities}
        return {kind: path for kind, path in places.items() if path is not None}

    def bands(self, shape: tuple[int, int]) -> Bands:
        """The bands of a scene of (height, width)."""
        settings = self.settings.check()
        return Bands.of(shape, settings.window, settings.overlap, settings.part)

    @property
    def parts(self) -> Path:
        """The folder of finished bands, while the map is not whole."""
        return self.target.with_name(f".{self.target.stem}.parts")

    def files_of(self, band: int) -> dict[str, Path]:
        """Where a finished band is kept, by the kinds of `outputs`."""
        endings = {kind: "" if kind == "labels" else f"_{kind}" for kind in self.outputs}
        return {kind: self.parts / f"{band:05d}{ending}.tif" for kind, ending in endings.items()}

    @property
    def mark(self) -> str:
        """What its outputs are stamped with. Raises SettingError where this machine can't do it."""
        device = find_device(self.device)
        precision = str(find_precision(self.settings.check().precision, device))
        settings = self.settings.to_dict() | {"precision": precision, "device": device.type}
        return stamp(*(self.originals or (self.source,)), self.weights, **settings)

    def is_done(self, mark: str) -> bool:
        """Whether its outputs are there, made of the same files in the same way."""
        return all(up_to_date(path, mark) for path in self.outputs.values())

    def remove_stale(self, mark: str) -> None:
        """Deletes the confidence of another map than the one of this mark: beside this one it would mislead."""
        for path in (*self.stale, *([self.confidence] if self.confidence else [])):
            remove_stale(path, mark)

    def write_styles(self) -> None:
        """Writes how its map and confidence look in QGIS, once they are made."""
        if legend := legend_of_map(self.target):
            write_class_style(self.target, legend)
        if self.confidence:
            write_percent_style(self.confidence)


@dataclass(frozen=True)
class Plan:
    """What is left to do of a job: its outputs' stamp, its engine's label, the numbers of the missing bands.

    `weights` is the identity of the network's file.
    """

    mark: str
    engine: str
    bands: Bands
    missing: tuple[int, ...]
    weights: list

    def px_of(self, numbers: Iterable[int]) -> int:
        """The pixels of some bands."""
        windows = (self.bands.window(number) for number in numbers)
        return sum(window.height * window.width for window in windows)


def runs_of(numbers: tuple[int, ...], longest: int | None = None) -> list[tuple[int, int]]:
    """Rising numbers as runs (first, behind the last), of at most `longest`: (1, 2, 3, 7) -> [(1, 4), (7, 8)]."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number and (longest is None or number - runs[-1][0] < longest):
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs
