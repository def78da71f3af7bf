"""torch's own compiler: as fast as the best, but it takes about a minute to start, and a C++ compiler."""

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from jingwei.errors import SettingError
from jingwei.models.checkpoints import Checkpoint
from jingwei.prediction.engines.base import padded, padding_step
from jingwei.prediction.engines.eager import TorchEngine


class CompiledEngine(TorchEngine):
    """The network through torch.compile, anew for each shape, of which padding to multiples of 32 px leaves few."""

    name = "torch-compiled"
    pays_from_mpx = 1000

    def _build(self, checkpoint: Checkpoint, precision: torch.dtype, calibration: Iterable[np.ndarray]) -> None:
        _check_compiler(self.device)
        super()._build(checkpoint, precision, calibration)
        torch.compiler.reset()  # of earlier engines: after eight shapes torch would compile no more
        self._step = padding_step(self._model)
        self._model = torch.compile(self._model, dynamic=False)
        self._mean = checkpoint.mean
        self._batch = 1  # on a CPU one window at a time, on a GPU as many as came at most, so that few shapes come

    def run(self, pixels_BCHW: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            count, _, height, width = pixels_BCHW.shape
            pixels = padded(pixels_BCHW, self._mean, self._step)
            if self.device.type == "cpu":
                answers = torch.cat([super(CompiledEngine, self).run(window[None]) for window in pixels])
            else:
                self._batch = max(self._batch, count)
                missing = pixels[:1].expand(self._batch - count, -1, -1, -1)
                answers = super().run(torch.cat([pixels, missing]))
            return answers[:count, :, :height, :width]


def _check_compiler(device: torch.device) -> None:
    """SettingError where torch.compile finds nothing to compile with: it would tell only in the middle of the work."""
    try:
        torch.compile(lambda values: values.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:
        problem = f"torch.compile does not work here ({type(error).__name__})"
        raise SettingError(
            "`engine` torch-compiled", problem, "install a C++ compiler, or take `engine` torch"
        ) from error
