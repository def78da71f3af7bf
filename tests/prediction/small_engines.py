"""Engines over small networks, and what torch says of the same pixels."""

import functools
import importlib.util

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.registry import make_engine

CPU = torch.device("cpu")
CLASSES = len(JINGWEI)
PACKAGES = {"torch": ["torch"], "openvino": ["openvino"], "onnx": ["onnx", "onnxruntime"],
            "openvino-int8": ["openvino", "nncf"], "torch-compiled": ["torch"]}  # fmt: skip
ENCODERS = {
    "fcn8": "vgg16", "segnet": "vgg16", "pspdensenet": "densenet121", "unet": "", "enet": "", "segformer": "",
    "vit": "vit_tiny_patch16_224",
}  # fmt: skip


def need(name: str) -> None:
    """Skips a test where an engine's packages are not installed."""
    for package in PACKAGES[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def make_checkpoint(family: str = "attention_unet") -> Checkpoint:
    """A small network with random weights."""
    torch.manual_seed(0)
    backbone = {"attention_unet": "mobilenetv3_small_050", "deeplabv3": "test_resnet"}[family]
    spec = ModelSpec(family, backbone, 3, CLASSES, output_stride=16)
    mean, std = (120.0,) * 3, (60.0,) * 3
    return Checkpoint(spec, "uint8", mean, std, JINGWEI, {}, build_model(spec, mean, std).state_dict())


def bare_checkpoint(bands: int = 3) -> Checkpoint:
    """A checkpoint of a network that a test puts in the place of Checkpoint.build."""
    spec = ModelSpec("attention_unet", "resnet18", bands, CLASSES)
    return Checkpoint(spec, "uint8", (100.0,) * bands, (50.0,) * bands, JINGWEI, {}, {})


@functools.cache
def ready(name: str, family: str) -> tuple[Checkpoint, Engine]:
    """A small network, and an engine of it at fp32: made once for all tests that only run it."""
    need(name)
    checkpoint = make_checkpoint(family)
    torch.set_num_threads(1)
    return checkpoint, make_engine(name, checkpoint, CPU, torch.float32)


class Small(nn.Module):
    """Two convolutions behind the normalisation that every network here begins with: exported in no time."""

    def __init__(self, bands: int, mean: float, std: float):
        super().__init__()
        torch.manual_seed(0)
        self.mean, self.std = mean, std
        self.layers = nn.Sequential(nn.Conv2d(bands, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, CLASSES, 3, padding=1))

    def forward(self, pixels: Tensor) -> Tensor:
        return 3 * self.layers((pixels - self.mean) / self.std)


class Bright(nn.Module):
    """Classes by brightness: class k is nearest to 30 + 50 k. Sure of itself, so that labels can be compared."""

    def __init__(self):
        super().__init__()
        self.blur = nn.Conv2d(3, 8, 3, padding=1, padding_mode="replicate", bias=False)
        self.head = nn.Conv2d(8, CLASSES, 1)
        centres = (30 + 50 * torch.arange(CLASSES).float()) / 255
        with torch.no_grad():
            self.blur.weight.fill_(1 / 27)
            self.head.weight[:] = (100 * centres / 4).view(-1, 1, 1, 1)
            self.head.bias[:] = -100 * centres**2

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.blur(pixels / 255))


def noise(*shape: int, dtype: str = "uint8", low: int = 0, high: int = 255) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(low, high, shape).astype(dtype)


def fields(count: int = 4, side: int = 64, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Samples for Bright: fields in the brightness of a class, with a little noise, a corner of them invalid."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        labels = np.kron(rng.integers(0, CLASSES, (side // 16, side // 16)), np.ones((16, 16), int))
        pixels = (30 + 50 * labels + rng.integers(-8, 9, (3, side, side))).clip(0, 255).astype(np.uint8)
        valid = np.add.outer(np.arange(side), np.arange(side)) >= side // 4
        samples.append((pixels, valid))
    return samples


def expected(checkpoint: Checkpoint, pixels_BCHW: np.ndarray) -> np.ndarray:
    """The network itself, at fp32."""
    with torch.no_grad():
        return checkpoint.build()(torch.from_numpy(pixels_BCHW.astype(np.float32))).softmax(1).numpy()
