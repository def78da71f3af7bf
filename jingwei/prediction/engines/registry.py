"""What runs a network over windows: torch, or a faster engine beside it, behind one call.

    engine = make_engine("openvino", checkpoint, device, precision)
    probabilities_BCHW = engine(pixels_BCHW)

Engines take raw pixels, since normalisation is a network's first step, at any size and in any batch. All but torch are
optional: one that is not installed is refused with the line that installs it. `choosing.py` measures which to take,
`views.py` lets any of them see a window turned and scaled.
"""

from collections.abc import Iterable

import numpy as np
import torch

from jingwei.errors import SettingError, known
from jingwei.models.checkpoints import Checkpoint
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.compiled import CompiledEngine
from jingwei.prediction.engines.eager import TorchEngine
from jingwei.prediction.engines.onnx import OnnxEngine
from jingwei.prediction.engines.openvino import Int8Engine, OpenVinoEngine

ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (TorchEngine, CompiledEngine, OpenVinoEngine, Int8Engine, OnnxEngine)
}


def make_engine(
    name: str,
    checkpoint: Checkpoint,
    device: torch.device,
    precision: torch.dtype,
    calibration: Iterable[np.ndarray] = (),
) -> Engine:
    """An engine of ENGINES with a checkpoint's network. Where it can't compute in `precision`, it says so in its label.

    Only openvino-int8 needs `calibration`: raw windows, CHW. Raises SettingError for a name that nobody knows, and for
    an engine that is not installed, that doesn't run on the device, or that can't run the network.
    """
    if name not in ENGINES:
        raise SettingError(f"`engine` {name}", "no such engine", known(["auto", *ENGINES], name))
    return ENGINES[name](checkpoint, device, precision, calibration)
