"""Every family of networks, small enough for tests."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from jingwei.legend import JINGWEI
from jingwei.models.families import MODELS
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec

SMALL = {
    "fcn8": "vgg11",
    "unet": "plain16",
    "segnet": "vgg11_bn",
    "enet": "enet",
    "pspdensenet": "densenet121",
    "segformer": "mit_b0",
    "vit": "vit_tiny_patch16_224",
}
CLASSES = len(JINGWEI)
SIZES = ((1, 1), (33, 47), (64, 64), (100, 7))
OF_ANY_ENCODER = {"deeplabv3", "attention_unet", "gcn", "deeplab", "upernet", "pspnet", "unet_resnet", "segformer"}
FAMILIES = list(MODELS)


def build(family, bands=3, classes=CLASSES, *, auxiliary=False, output_stride=0, seed=0):
    torch.manual_seed(seed)
    spec = ModelSpec(family, SMALL.get(family, "resnet18"), bands, classes, output_stride, auxiliary)
    return build_model(spec, (117.0,) * bands, (58.0,) * bands)


def pictures(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 255


def without_dropout(model):
    """The model with nothing left to chance in training: no dropout of values or, in transformers, of whole blocks."""
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        elif hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    return model


def parameters(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def weightless(family, backbone, classes=CLASSES, output_stride=0):
    """A network that has shapes, but no numbers: quick to make at any size."""
    linspace = torch.linspace
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        # What changes no shape does nothing here, and takes three quarters of the time.
        for name in ("normal_", "uniform_", "erfinv_", "clamp_"):
            patch.setattr(torch.Tensor, name, lambda tensor, *how, **more: tensor)
        patch.setattr(functional, "batch_norm", lambda pixels, *how, **more: pixels)
        patch.setattr(
            torch, "linspace", lambda *ends, **how: linspace(*ends, **how | {"device": "cpu"})
        )  # MiT reads numbers from it
        return build_model(ModelSpec(family, backbone, 3, classes, output_stride), (0,) * 3, (1,) * 3)
