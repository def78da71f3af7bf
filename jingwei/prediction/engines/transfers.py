"""Windows to a GPU and results from it, while it works on others: pinned memory, and a stream of its own each way."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


class Upload:
    """Copies batches to a GPU while it works on the one before: pinned buffers in turn."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.buffers: list[Tensor | None] = [None, None]
        self.copied = [torch.cuda.Event(), torch.cuda.Event()]
        self.turn = 0

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """Raw pixels of any real type -> the same as float32 on the device."""
        source = torch.from_numpy(as_carried(pixels))
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
        return as_float(there, pixels.dtype)


class Download:
    """Copies results from a GPU while it works on the batches after them."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def __call__(self, values: Tensor) -> Callable[[], np.ndarray]:
        """Begins to copy values; what is given back waits for the copy, and gives it."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        copied = torch.cuda.Event(blocking=True)  # who waits for it sleeps: readers and writers want the core
        with torch.cuda.stream(self.stream):
            host.copy_(values, non_blocking=True)
            copied.record(self.stream)
        values.record_stream(self.stream)

        def wait() -> np.ndarray:
            copied.synchronize()
            return host.numpy()

        return wait


def as_carried(pixels: np.ndarray) -> np.ndarray:
    """Pixels of a type that torch moves: uint16, of which it knows little, as int16 of the same bits."""
    pixels = np.ascontiguousarray(pixels)
    return pixels.view(np.int16) if pixels.dtype == np.uint16 else pixels


def as_float(carried: Tensor, dtype: np.dtype) -> Tensor:
    """What `as_carried` made of pixels of a type, as float32: the pixels' own values."""
    values = carried.float()
    return values + 65536 * (values < 0) if dtype == np.uint16 else values
