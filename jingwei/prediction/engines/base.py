"""What all engines share: how raw pixels come in, and how one says that it can't run."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from jingwei.errors import JingweiError, SettingError
from jingwei.models.checkpoints import Checkpoint
from jingwei.models.segmenter import PAD_TO, Segmenter
from jingwei.system.extras import install_hint

KEPT = 8  # window shapes that an engine stays ready for: one window has six in all its views, and each takes memory
PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


class Engine(ABC):
    """A network in the hands of a library that runs it: raw windows in, class probabilities out."""

    name: str
    # Batches that it may be given before the answers to the first are fetched: none where it answers at once.
    in_flight = 0
    # Megapixels that have to go through the network before `auto` tries the engine: what its start-up is worth.
    pays_from_mpx: float = 0

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        precision: torch.dtype,
        calibration: Iterable[np.ndarray] = (),
    ):
        self.device = device
        self.precision = PRECISIONS[precision]
        with buildable(self.name, checkpoint):
            self._build(checkpoint, precision, calibration)

    @property
    def label(self) -> str:
        """Name and arithmetic, as in `openvino bf16`: what a report or a resumed run needs to know."""
        return f"{self.name} {self.precision}"

    def __call__(self, pixels_BCHW: np.ndarray) -> Tensor:
        """Raw pixels of any real type -> class probabilities, float32 BCHW, on the device."""
        return self.run(self.load(pixels_BCHW))

    def load(self, pixels_BCHW: np.ndarray) -> Tensor:
        """Raw pixels as float32, on the device: what `run` takes."""
        return torch.from_numpy(np.ascontiguousarray(pixels_BCHW, np.float32))

    def fetch(self, values: Tensor) -> Callable[[], np.ndarray]:
        """Begins to bring values from the device; what is given back waits for them, and gives them."""
        return values.cpu().numpy

    @abstractmethod
    def run(self, pixels_BCHW: Tensor) -> Tensor:
        """Raw pixels, float32 BCHW, on the device -> class probabilities, float32 BCHW, on the device."""

    @abstractmethod
    def _build(self, checkpoint: Checkpoint, precision: torch.dtype, calibration: Iterable[np.ndarray]) -> None: ...


class ExportedEngine(Engine):
    """An engine for CPUs into which a network is converted once, then made ready for each window shape that comes.

    Sides are padded to multiples of 32 px, or as the network would, so that scenes of many sizes bring few shapes; the
    latest KEPT stay ready. Windows go through one at a time. On a CPU batches are no faster, a smaller last batch needs
    nothing of its own, and a window's answer doesn't depend on the others.
    """

    pays_from_mpx = 64

    def run(self, pixels_BCHW: Tensor) -> Tensor:
        height, width = pixels_BCHW.shape[2:]
        pixels = padded(pixels_BCHW, self._checkpoint.mean, self._step)
        ready = self._ready_for(*pixels.shape[2:])
        answers = [ready(window[None])[:, :, :height, :width] for window in pixels.contiguous().numpy()]
        return torch.from_numpy(answers[0] if len(answers) == 1 else np.concatenate(answers))

    def _ready_for(self, *shape: int) -> Callable[[np.ndarray], np.ndarray]:
        if shape not in self._ready:
            with buildable(self.name, self._checkpoint):
                self._ready[shape] = self._prepare(*shape)
        self._ready[shape] = ready = self._ready.pop(shape)  # the latest last
        if len(self._ready) > KEPT:
            del self._ready[next(iter(self._ready))]
        return ready

    def _build(self, checkpoint: Checkpoint, precision: torch.dtype, calibration: Iterable[np.ndarray]) -> None:
        if self.device.type != "cpu":
            problem = f"runs on CPUs, not on {self.device}"
            raise SettingError(f"`engine` {self.name}", problem, "take `engine` torch, or `device` cpu")
        self._checkpoint = checkpoint
        self._ready: dict[tuple[int, int], Callable[[np.ndarray], np.ndarray]] = {}
        network = checkpoint.build()
        self._step = padding_step(network)
        self._convert(WithSoftmax(network).eval(), checkpoint.spec.bands, precision, calibration)

    @abstractmethod
    def _convert(
        self, network: nn.Module, bands: int, precision: torch.dtype, calibration: Iterable[np.ndarray]
    ) -> None:
        """Converts a network (raw float32 pixels_BCHW -> probabilities_BCHW) for windows of any size."""

    @abstractmethod
    def _prepare(self, height: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
        """What turns one window (float32 1CHW) of a shape into probabilities (float32 1CHW)."""


class WithSoftmax(nn.Module):
    """A network that gives probabilities, so that an engine computes those too."""

    def __init__(self, network: Segmenter):
        super().__init__()
        self.network = network

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        return self.network(pixels_BCHW).softmax(1)


def padding_step(network: nn.Module) -> int:
    """The px that a network pads sides to a multiple of."""
    return getattr(network, "pad_to", PAD_TO)


def padded(pixels_BCHW: Tensor, mean: Sequence[float], step: int) -> Tensor:
    """Raw windows with sides of a multiple of `step` px: below and to the right, where the network itself would pad.

    With the mean colour, which it normalises to the zeros that it pads with: its answers stay the same.
    """
    count, bands, height, width = pixels_BCHW.shape
    bottom, right = -height % step, -width % step
    if not (bottom or right):
        return pixels_BCHW
    fill = torch.tensor(mean, dtype=torch.float32, device=pixels_BCHW.device).view(1, bands, 1, 1)
    larger = fill.repeat(count, 1, height + bottom, width + right)
    larger[:, :, :height, :width] = pixels_BCHW
    return larger


def example(bands: int) -> Tensor:
    """A window to trace networks with: of a ragged size, so that their padding is part of what is traced."""
    return torch.zeros(1, bands, 100, 90)


@contextmanager
def buildable(name: str, checkpoint: Checkpoint) -> Iterator[None]:
    """Whatever goes wrong inside becomes a SettingError that says what to install or take instead."""
    try:
        yield
    except JingweiError:
        raise
    except ImportError as error:
        problem = f"needs the package {error.name or 'that it is named after'}, which is not installed"
        remedy = f"{install_hint('cpu')}, or take `engine` torch"
        raise SettingError(f"`engine` {name}", problem, remedy) from error
    except Exception as error:  # each library raises its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        problem = f"can't run {checkpoint.spec.family} over {checkpoint.spec.backbone} ({reason})"
        raise SettingError(f"`engine` {name}", problem, "take `engine` torch") from error


@contextmanager
def silent_imports() -> Iterator[None]:
    """OpenVINO and NNCF report their use to their makers over the network: by a package that they don't find here.

    They look for it when they are imported, and do without it from then on.
    """
    name = "openvino_telemetry"
    there = name in sys.modules
    if not there:
        sys.modules[name] = None  # what Python takes for a package that is not installed
    try:
        yield
    finally:
        if not there:
            sys.modules.pop(name, None)
