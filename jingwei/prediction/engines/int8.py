"""Networks in 8-bit whole numbers, by NNCF, of any kind that it knows: OpenVINO's or ONNX."""

import io
import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from jingwei.prediction.engines.base import silent_imports

# Parts that weigh whole maps, of scSE and squeeze-and-excitation blocks, stay as they are. They cost next to nothing,
# and all pixels suffer from their rounding: on a trained U-Net 99.5 % of the labels agree instead of 98.7 %.
GATES = [r".*attention.*", r".*\.se\..*", r".*/se/.*"]


def quantised(model: Any, inputs: Sequence[Any]) -> Any:
    """The model with its convolutions in 8-bit whole numbers; their ranges are found on the inputs.

    Weights take half of the 8-bit range. CPUs without instructions made for it (VNNI: Intel before 2019, AMD before
    Zen 4) add up products in 16 bits, which full weights overflow: on one of them 63 % of a network's labels were
    those of torch, and 99 % with half of the range. An exported file may be run on any CPU, so it is the same
    everywhere.
    """
    with silent_imports():
        import nncf

    nncf.set_log_level(logging.ERROR)
    progress = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with redirect_stdout(progress):
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(patterns=GATES, validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )
