"""torch as it is: the engine that runs everywhere, and the reference for all others at fp32."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from jingwei.models.checkpoints import Checkpoint
from jingwei.models.devices import autocast
from jingwei.prediction.engines.base import Engine


class TorchEngine(Engine):
    """The network, run step by step, on a CPU or a GPU."""

    name = "torch"

    def _build(self, checkpoint: Checkpoint, precision: torch.dtype, calibration: Iterable[np.ndarray]) -> None:
        self._precision = precision
        self._model = checkpoint.build().to(self.device, memory_format=torch.channels_last)
        self._upload = _Upload(self.device) if self.device.type == "cuda" else None

    def load(self, pixels_BCHW: np.ndarray) -> Tensor:
        return self._upload(pixels_BCHW).float() if self._upload else super().load(pixels_BCHW)

    def run(self, pixels_BCHW: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(self.device, self._precision):
            logits = self._model(pixels_BCHW.contiguous(memory_format=torch.channels_last))
        return logits.float().softmax(1)  # out here: what is made in inference mode could not be added to


class _Upload:
    """Copies batches to a GPU while it works on the one before: pinned buffers in turn, a stream of its own."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.buffers: list[Tensor | None] = [None, None]
        self.copied = [torch.cuda.Event(), torch.cuda.Event()]
        self.turn = 0

    def __call__(self, pixels: np.ndarray) -> Tensor:
        if pixels.dtype == np.uint16:
            pixels = pixels.astype(np.int32)  # torch's uint16 knows few operations
        source = torch.from_numpy(np.ascontiguousarray(pixels))
        self.turn ^= 1
        self.copied[self.turn].synchronize()  # the copy before last, out of the same buffer
        buffer = self.buffers[self.turn]
        if buffer is None or buffer.dtype != source.dtype or buffer.numel() < source.numel():
            buffer = self.buffers[self.turn] = torch.empty(source.numel(), dtype=source.dtype, pin_memory=True)
        pinned = buffer[: source.numel()].view(source.shape).copy_(source)
        with torch.cuda.stream(self.stream):
            there = pinned.to(self.device, non_blocking=True)
            self.copied[self.turn].record(self.stream)
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self.stream)
        there.record_stream(current)
        return there
