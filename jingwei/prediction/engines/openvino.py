"""OpenVINO: the fastest engine for CPUs, in fp32, bf16 and int8."""

import warnings
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from jingwei.prediction.engines.base import ExportedEngine, example, silent_imports
from jingwei.prediction.engines.int8 import quantised


class OpenVinoEngine(ExportedEngine):
    """The network in OpenVINO, in bf16 where that was asked for and the CPU has it, else in fp32."""

    name = "openvino"

    def _convert(
        self, network: nn.Module, bands: int, precision: torch.dtype, calibration: Iterable[np.ndarray]
    ) -> None:
        with silent_imports():
            import openvino
            import openvino.tools.ovc.convert  # which asks for it when it is first called, else

        self._core = openvino.Core()
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.precision = "bf16" if precision == torch.bfloat16 and has_bf16 else "fp32"
        self._hints = {
            "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[self.precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # reading and writing threads want the cores too
        }
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of branches on sizes: the padding's, which is right for all sizes
            # Pixels come as float32 in every case: OpenVINO normalises those in fp32, but whole numbers in bf16, which
            # can't tell 10000 from 10020.
            self._model = openvino.convert_model(network, example_input=example(bands), input=[1, bands, -1, -1])

    def _prepare(self, height: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
        model = self._model.clone()
        bands = model.input().get_partial_shape()[1].get_length()
        model.reshape([1, bands, height, width])  # a fixed size is faster than any
        request = self._core.compile_model(model, "CPU", self._hints).create_infer_request()
        return lambda window: request.infer({0: window})[0]


class Int8Engine(OpenVinoEngine):
    """The network in OpenVINO, convolutions in 8-bit whole numbers, their ranges found on windows (NNCF)."""

    name = "openvino-int8"

    def _convert(
        self, network: nn.Module, bands: int, precision: torch.dtype, calibration: Iterable[np.ndarray]
    ) -> None:
        super()._convert(network, bands, precision, calibration)
        windows = [np.ascontiguousarray(window[None], np.float32) for window in calibration]
        self._model = quantised(self._model, windows)
