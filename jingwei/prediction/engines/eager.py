"""torch as it is: the engine that runs everywhere, and the reference for all others at fp32."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from jingwei.models.checkpoints import Checkpoint
from jingwei.models.devices import autocast
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.transfers import Download, Upload


class TorchEngine(Engine):
    """The network, run step by step, on a CPU or a GPU."""

    name = "torch"

    def _build(self, checkpoint: Checkpoint, precision: torch.dtype, calibration: Iterable[np.ndarray]) -> None:
        self._precision = precision
        self._model = checkpoint.build().to(self.device, memory_format=torch.channels_last)
        on_gpu = self.device.type == "cuda"
        self.in_flight = 2 if on_gpu else 0
        self._upload = Upload(self.device) if on_gpu else None
        self._download = Download(self.device) if on_gpu else None

    def load(self, pixels_BCHW: np.ndarray) -> Tensor:
        return self._upload(pixels_BCHW) if self._upload else super().load(pixels_BCHW)

    def fetch(self, values: Tensor) -> Callable[[], np.ndarray]:
        return self._download(values) if self._download else super().fetch(values)

    def run(self, pixels_BCHW: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(self.device, self._precision):
            logits = self._model(pixels_BCHW.contiguous(memory_format=torch.channels_last))
        return logits.float().softmax(1)  # out here: what is made in inference mode could not be added to
