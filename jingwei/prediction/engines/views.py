"""Test-time augmentation: a window seen turned, mirrored and scaled, whatever engine looks at it."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jingwei.prediction.engines.base import Engine
from jingwei.prediction.views import STEP, TTA, View


class Viewer:
    """An engine that looks at each window in several views, and gives the mean of its answers."""

    def __init__(self, engine: Engine, tta: str):
        self.engine, self.views = engine, TTA[tta]

    def __call__(self, pixels_BCHW: np.ndarray) -> Tensor:
        """Raw pixels of any real type -> mean class probabilities, float32 BCHW, on the engine's device."""
        pixels = self.engine.load(pixels_BCHW)
        if len(self.views) == 1:
            return self._seen(pixels, self.views[0])
        total = self._seen(pixels, self.views[0])
        for view in self.views[1:]:
            total = total + self._seen(pixels, view)
        return total / len(self.views)

    @property
    def device(self) -> torch.device:
        return self.engine.device

    @property
    def in_flight(self) -> int:
        """See Engine."""
        return self.engine.in_flight

    def fetch(self, values: Tensor) -> Callable[[], np.ndarray]:
        """See Engine."""
        return self.engine.fetch(values)

    def _seen(self, pixels: Tensor, view: View) -> Tensor:
        if view.shifted is not None:
            return self._seen_shifted(pixels, *view.shifted)
        shape = tuple(pixels.shape[2:])
        shown = _resized(pixels, _scaled(shape, view.scale))
        shown = torch.rot90(shown.flip(3) if view.mirrored else shown, view.turns, (2, 3))
        answer = torch.rot90(self.engine.run(shown), -view.turns, (2, 3))
        return _resized(answer.flip(3) if view.mirrored else answer, shape)

    def _seen_shifted(self, pixels: Tensor, rows: int, cols: int) -> Tensor:
        height, width = pixels.shape[2:]
        around = (cols, STEP - cols, rows, STEP - rows)
        answer = self.engine.run(functional.pad(pixels, around, mode="replicate"))
        return answer[:, :, rows : rows + height, cols : cols + width]


def _scaled(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    if scale == 1:
        return shape
    height, width = (max(STEP, round(side * scale / STEP) * STEP) for side in shape)
    return height, width


def _resized(values: Tensor, shape: tuple[int, int]) -> Tensor:
    if tuple(values.shape[2:]) == shape:
        return values
    return functional.interpolate(values, shape, mode="bilinear", align_corners=False)
