"""Which engine predicts a scene: the fastest that gives torch's labels, measured on windows of the scene itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from jingwei.errors import SettingError
from jingwei.grid import Window, far_apart
from jingwei.models.checkpoints import Checkpoint
from jingwei.prediction.engines.base import PRECISIONS, Engine, buildable
from jingwei.prediction.engines.registry import ENGINES, make_engine
from jingwei.prediction.fitting import check_scene, open_fitting
from jingwei.prediction.settings import AUTO
from jingwei.raster.pixels import as_type
from jingwei.raster.reading import Raster

# What `auto` takes, the fastest on most CPUs first. openvino-int8 answers a little differently: only who asks gets it.
ORDER = ("openvino", "torch-compiled", "onnx", "torch")
LEAST_AGREEMENT = {"openvino-int8": 0.99}
USUAL_AGREEMENT = 0.995  # of all others: as torch's own bf16
AS_FAST = 0.85  # of the best rate: within what a busy machine adds, the first in ORDER is taken, in every run
SIDE = 512  # px, of windows to measure on: a rate there is the rate at 1024 px, and costs a quarter
CALIBRATION = 32  # windows for openvino-int8
TRIES = 64  # places looked at for windows to measure on

Trial = tuple[np.ndarray, np.ndarray]  # raw pixels_CHW, filled where invalid, and valid_HW


@dataclass(frozen=True)
class Choice:
    """An engine, ready to run, and what was measured on the way to it, by label: `openvino bf16`.

    `agreement` is the share of valid pixels with the labels of torch at fp32; `rates` are windows per second.
    """

    engine: Engine
    agreement: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """The engine's label: read_label knows what to do with it."""
        return self.engine.label


def read_label(label: str) -> tuple[str, torch.dtype]:
    """Name and precision, for make_engine: `openvino bf16` -> ("openvino", torch.bfloat16)."""
    name, precision = label.split()
    return name, {text: dtype for dtype, text in PRECISIONS.items()}[precision]


def is_label(text: str) -> bool:
    """Whether a text is a label that `read_label` reads."""
    name, _, precision = text.partition(" ")
    return name in ENGINES and precision in PRECISIONS.values()


def choose_engine(
    name: str,
    checkpoint: Checkpoint,
    device: torch.device,
    precision: torch.dtype,
    look: Callable[[], list[Trial]],
    megapixels: float,
    *,
    calibration: Iterable[np.ndarray] = (),
    say: Callable[[str], None] = print,
) -> Choice:
    """The engine `name`, or what `auto` takes for `megapixels` to come (all windows, each view of them counted).

    `look` gives trial windows of the scene; it is called only where something has to be measured.

    `auto` takes the fastest engine of ORDER whose labels agree with torch's at fp32 on 99.5 % of the valid pixels of
    those windows. It measures only what can pay: six windows of 512 px through torch at fp32 and one engine, and the
    engine's start-up, take as long as ten to twenty windows of 1024 px, and the best engine saves a third to two thirds
    of a window's time. Below 64 Mpx (64 windows) it takes torch at once; so it does on a GPU, and where nothing is
    valid. torch.compile starts so slowly that it joins at 1000 Mpx. Where nothing agrees at `precision`, fp32 is tried.

    openvino-int8 is made with `calibration` (raw windows, CHW) and refused below 99 %. Every engine that is measured
    gets a line. Raises SettingError as make_engine does, and for the refusal.
    """
    fitting = [other for other in ORDER if megapixels >= ENGINES[other].pays_from_mpx]
    if name == AUTO and (device.type != "cpu" or fitting == ["torch"]):
        name = "torch"
    if name != AUTO and name not in LEAST_AGREEMENT:
        return Choice(make_engine(name, checkpoint, device, precision))
    trials = look()
    if not trials:
        return Choice(make_engine("torch", checkpoint, device, precision))
    measure = _Measure(checkpoint, device, trials, say)
    if name == AUTO:
        return _fastest(fitting, measure, precision)
    return _checked(make_engine(name, checkpoint, device, precision, calibration), measure)


def calibration_windows(crops: Sequence[Path], scene: Path, checkpoint: Checkpoint) -> Iterator[np.ndarray]:
    """Raw windows, CHW, to make openvino-int8 with: one of each of the crops, or of so many that they are spread over.

    Where there are no crops, windows of the scene. Nothing is opened before the first window is asked for. Raises
    CheckpointError where they have other bands, or pixels of another type, than the network takes.
    """
    count = 1 if crops else CALIBRATION
    for path in crops[:: -(-len(crops) // CALIBRATION) or 1] or [scene]:
        with open_fitting(path, checkpoint) as image:
            check_scene(checkpoint, checkpoint.path or Path("checkpoint"), image)
            yield from (pixels for pixels, _ in trial_windows(image, SIDE, checkpoint.mean, count))


def trial_windows(image: Raster, side: int, mean: Sequence[float], count: int = 6) -> list[Trial]:
    """Windows of a scene to measure on, at most `side` px wide: spread over it, the most valid first.

    At least half of each is valid where the scene has such windows at the TRIES places that are looked at. Invalid
    pixels hold `mean`, a value per band, as in prediction.
    """
    height, width = min(side, image.height), min(side, image.width)
    found: list[Trial] = []
    places = islice(far_apart(image.height - height + 1, image.width - width + 1), TRIES)
    for row, col in dict.fromkeys(places):
        pixels, valid = image.read(Window(row, col, height, width))
        if valid.any():
            fill = as_type(np.array(mean)[:, None, None], pixels.dtype)
            found.append((np.where(valid, pixels, fill), valid))
        if sum(valid.mean() >= 0.5 for _, valid in found) == count:
            break
    return sorted(found, key=lambda trial: -trial[1].mean())[:count]


class _Measure:
    """Runs engines over the same trial windows, and compares their labels with torch's at fp32."""

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, trials: Sequence[Trial], say: Callable[[str], None]
    ):
        self.checkpoint, self.device, self.trials, self.say = checkpoint, device, trials, say
        self.agreement: dict[str, float] = {}
        self.rates: dict[str, float] = {}
        self.reference = make_engine("torch", checkpoint, device, torch.float32)
        self.expected, self.reference_rate = self._labels(self.reference)

    def __call__(self, engine: Engine) -> bool:
        """True where the engine agrees well enough."""
        least = LEAST_AGREEMENT.get(engine.name, USUAL_AGREEMENT)
        if engine.label == self.reference.label:
            labels, rate = self.expected, self.reference_rate
        else:
            with buildable(engine.name, self.checkpoint):
                labels, rate = self._labels(engine)
        same = valid = 0
        for found, expected, (_, there) in zip(labels, self.expected, self.trials, strict=True):
            same += np.count_nonzero((found == expected) & there)
            valid += np.count_nonzero(there)
        agreement = same / valid
        self.agreement[engine.label], self.rates[engine.label] = agreement, rate
        verdict = "" if agreement >= least else f": not used, below {least:.1%}"
        height, width = self.expected[0].shape
        self.say(
            f"engine {engine.label}: {agreement:.2%} of the labels of torch fp32, "
            f"{rate:.2f} windows/s of {width} x {height} px{verdict}"
        )
        return agreement >= least

    def _labels(self, engine: Engine) -> tuple[list[np.ndarray], float]:
        """Labels_HW of the trials, and windows per second, the first one left out: it may have to be compiled."""
        labels, seconds = [], []
        for pixels, _ in self.trials:
            begun = perf_counter()
            probabilities = engine(pixels[None])
            seconds.append(perf_counter() - begun)
            labels.append(probabilities[0].argmax(0).to(torch.uint8).cpu().numpy())
        return labels, 1 / median(seconds[1:] or seconds)


def _fastest(names: Sequence[str], measure: _Measure, precision: torch.dtype) -> Choice:
    """The first of `names` that is about as fast as the fastest; at fp32 where none agrees at `precision`."""
    for arithmetic in dict.fromkeys((precision, torch.float32)):
        agreeing: dict[str, Engine] = {}
        for name in names:
            try:
                engine = make_engine(name, measure.checkpoint, measure.device, arithmetic)
                if engine.label not in measure.rates and measure(engine):
                    agreeing[engine.label] = engine
            except SettingError as error:
                measure.say(f"engine {name} is left out: {error}")
        if agreeing:
            best = max(measure.rates[label] for label in agreeing)
            chosen = next(label for label in agreeing if measure.rates[label] >= AS_FAST * best)
            return Choice(agreeing[chosen], measure.agreement, measure.rates)
    raise AssertionError("torch at fp32 agrees with itself")


def _checked(engine: Engine, measure: _Measure) -> Choice:
    if not measure(engine):
        share, least = measure.agreement[engine.label], LEAST_AGREEMENT[engine.name]
        problem = f"only {share:.2%} of its labels are those of torch fp32, less than {least:.0%}"
        raise SettingError(f"`engine` {engine.name}", problem, "take `engine` openvino, or auto")
    return Choice(engine, measure.agreement, measure.rates)
