"""ONNX Runtime, through torch's exporter."""

import io
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from jingwei.prediction.engines.base import ExportedEngine, example

OPSET = 17


class OnnxEngine(ExportedEngine):
    """The network in ONNX Runtime, always at fp32: on CPUs it has no faster float."""

    name = "onnx"

    def _convert(
        self, network: nn.Module, bands: int, precision: torch.dtype, calibration: Iterable[np.ndarray]
    ) -> None:
        import onnx  # noqa: F401  (the exporter needs it, and would not say so as an ImportError)
        import onnxruntime

        self.precision = "fp32"
        file = io.BytesIO()
        free = {"pixels": {2: "height", 3: "width"}}
        names = {"input_names": ["pixels"], "output_names": ["probabilities"], "dynamic_axes": free}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of branches on sizes: the padding's, which is right for all sizes
            # The exporter that traces: torch's newer one needs another package, and knows fewer networks.
            torch.onnx.export(network, (example(bands),), file, dynamo=False, opset_version=OPSET, **names)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch's threads work in between
        self._session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])

    def _prepare(self, height: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda window: self._session.run(None, {"pixels": window})[0]
