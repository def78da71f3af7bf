"""What can be chosen of a prediction, as data: nothing here loads torch, so that flags are explained at once."""

from dataclasses import asdict, dataclass

from jingwei.errors import SettingError, known
from jingwei.prediction.views import STEP, TTA

AUTO = "auto"
ENGINES = ("torch", "torch-compiled", "openvino", "openvino-int8", "onnx")  # names of `engines/registry.py`
MODES = ("sliding", "single", "multi_scale")
TURNS = ("none", "flips", "d4")
MOST_TILE = 4096  # px: a larger tile takes more memory than a desktop program should


@dataclass(frozen=True)
class PredictSettings:
    """How a scene is predicted. `window` and `overlap` in px; `tta` one of TTA; `engine` AUTO or one of ENGINES.

    `part` is the share of the windows to predict, spread over the scene; None predicts all of it.
    """

    window: int = 1024
    overlap: int = 256
    tta: str = "none"
    precision: str = "auto"
    engine: str = "auto"
    part: float | None = None

    def check(self) -> "PredictSettings":
        """The settings themselves, or a SettingError."""
        if self.window < 32 or not 0 <= self.overlap < self.window:
            problem = f"{self.window} with `overlap` {self.overlap}"
            raise SettingError("`window`", problem, "take 32 px or more, and an overlap below that")
        if self.tta not in TTA:
            raise SettingError(f"`tta` {self.tta}", "no such augmentation", known(TTA, self.tta))
        if self.engine not in (AUTO, *ENGINES):
            raise SettingError(f"`engine` {self.engine}", "no such engine", known([AUTO, *ENGINES], self.engine))
        if self.part is not None and not 0 < self.part < 1:
            remedy = "give the share of the windows to predict, such as 0.1; or leave it out, for the whole scene"
            raise SettingError("`part`", f"is {self.part:g}, not between 0 and 1", remedy)
        return self

    def to_dict(self) -> dict:
        """The settings as stamps have them: without `part` where all is predicted, as before there were parts."""
        return {name: value for name, value in asdict(self).items() if name != "part" or value is not None}


def check_batch_size(batch_size: int) -> None:
    """SettingError for a number of windows at a time that there can't be."""
    if batch_size < 0:
        raise SettingError("`batch_size`", f"is {batch_size}", "take 1 or more, or 0 for the usual number")


@dataclass(frozen=True)
class InferenceSettings:
    """How samples are predicted.

    `mode`: sliding, overlapping windows of `window` px; single, the whole sample in one window; multi_scale, windows
    seen at three scales. `tta` turns and mirrors each of them: none, flips or d4.
    """

    mode: str = "sliding"
    window: int = 512
    overlap: int = 128
    tta: str = "none"
    precision: str = "auto"
    engine: str = "auto"

    def check(self) -> "InferenceSettings":
        """The settings themselves, or a SettingError."""
        if self.mode not in MODES:
            raise SettingError(f"`mode` {self.mode}", "no such mode", known(MODES, self.mode))
        if self.tta not in TURNS:
            raise SettingError(f"`tta` {self.tta}", "no such augmentation", known(TURNS, self.tta))
        PredictSettings(self.window, self.overlap, self.tta, self.precision, self.engine).check()
        return self

    def of(self, shape: tuple[int, int]) -> PredictSettings:
        """The same, for a sample of (height, width)."""
        window, overlap = (max(32, *shape), 0) if self.mode == "single" else (self.window, self.overlap)
        views = self.tta
        if self.mode == "multi_scale":
            views = "scales" if self.tta == "none" else f"{self.tta}+scales"
        return PredictSettings(window, overlap, views, self.precision, self.engine)


@dataclass(frozen=True)
class ExportSettings:
    """How a network is handed over.

    tile: side of the square windows that it takes, px, a multiple of 32. overlap: percent of a tile that the next one
    repeats. resolution: side of a pixel on the ground in cm, None where it is not known. int8: convolutions in 8-bit
    whole numbers. licence: of the weights, an SPDX name.
    """

    tile: int = 512
    overlap: int = 25
    resolution: float | None = None
    int8: bool = False
    licence: str | None = None

    def check(self) -> "ExportSettings":
        """The settings themselves, or a SettingError."""
        if self.tile % STEP or not 2 * STEP <= self.tile <= MOST_TILE:
            remedy = f"take a multiple of {STEP} from {2 * STEP} to {MOST_TILE}"
            raise SettingError("`tile`", f"is {self.tile} px", remedy)
        if not 0 <= self.overlap <= 90:
            raise SettingError("`overlap`", f"is {self.overlap} percent", "take 0 to 90")
        if self.resolution is not None and not 0 < self.resolution < 1e7:
            raise SettingError("`resolution`", f"is {self.resolution:g} cm", "give the side of a pixel in centimetres")
        return self
