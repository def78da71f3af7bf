"""torch's own compiler: as fast as the best, but it takes about a minute to start, and a C++ compiler."""

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from jingwei.checkpoints import Checkpoint
from jingwei.engines.eager import TorchEngine
from jingwei.errors import SettingError


class CompiledEngine(TorchEngine):
    """The network through torch.compile, anew for each shape."""

    name = "torch-compiled"
    pays_from_mpx = 1000

    def _build(self, checkpoint: Checkpoint, precision: torch.dtype, calibration: Iterable[np.ndarray]) -> None:
        _check_compiler(self.device)
        super()._build(checkpoint, precision, calibration)
        torch.compiler.reset()  # of earlier engines: after eight shapes torch would compile no more
        self._model = torch.compile(self._model, dynamic=False)
        self._batch = 1  # on a CPU one window at a time, on a GPU as many as came at most, so that few shapes come

    def run(self, pixels_BCHW: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.device.type == "cpu":
                return torch.cat([super(CompiledEngine, self).run(window[None]) for window in pixels_BCHW])
            count = len(pixels_BCHW)
            self._batch = max(self._batch, count)
            missing = pixels_BCHW[:1].expand(self._batch - count, -1, -1, -1)
            return super().run(torch.cat([pixels_BCHW, missing]))[:count]


def _check_compiler(device: torch.device) -> None:
    """SettingError where torch.compile finds nothing to compile with: it would tell only in the middle of the work."""
    try:
        torch.compile(lambda values: values.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:
        problem = f"torch.compile does not work here ({type(error).__name__})"
        raise SettingError(
            "--engine torch-compiled", problem, "install a C++ compiler, or take --engine torch"
        ) from error
