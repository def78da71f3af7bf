"""Lets torchvision be imported with a torch that its compiled part was not built for.

torchvision's wheels are built for CUDA. With a CPU build of torch the compiled part doesn't load, and
`import torchvision` dies with "operator torchvision::nms does not exist": its Python part declares fake versions of two
box operators that only the compiled part defines. Nothing here calls those operators. So, only when the compiled part
can't be loaded, their two schemas are declared first. Must run before the first import of torchvision, timm or
segmentation-models-pytorch.
"""

import importlib.util
import sys
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library = None  # torch forgets the declarations when this object goes


def declare_missing_operators() -> bool:
    """Declares torchvision's box operators where its compiled part can't load. True where that was needed."""
    global _library
    if "torchvision" in sys.modules or _library is not None:
        return _library is not None
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    compiled = sorted(Path(spec.origin).parent.glob("_C*"))
    try:
        for path in compiled:
            torch.ops.load_library(str(path))
        if compiled:
            return False
    except OSError:
        pass
    _library = torch.library.Library("torchvision", "DEF")
    _library.define(f"nms{_SCHEMA}")
    _library.define(f"qnms{_SCHEMA}")
    return True
