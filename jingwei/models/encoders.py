"""Encoders by name, and what a network that segments asks of one."""

import torch
from torch import nn

from jingwei.errors import SettingError, known
from jingwei.models.blocks import PooledBatchNorm
from jingwei.models.libraries import smp, timm

# Encoders that people know by torchvision's names, under timm's.
TORCHVISION_NAMES = {"mobilenet_v3_large": "mobilenetv3_large_100", "mobilenet_v3_small": "mobilenetv3_small_100"}


def named(*beginnings: str) -> tuple[str, ...]:
    """The encoders of segmentation-models-pytorch whose names begin so."""
    return tuple(name for name in smp.encoders.encoders if name.startswith(beginnings))


def find_encoder(name: str) -> str:
    """The name under which segmentation-models-pytorch has an encoder: its own, torchvision's or timm's.

    SettingError for a name that nobody knows.
    """
    if name in smp.encoders.encoders:
        return name
    timm_name = TORCHVISION_NAMES.get(name, name).removeprefix("tu-")
    if timm.is_model(timm_name):
        return f"tu-{timm_name}"
    usual = "resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2", "mobilenet_v3_large", "efficientnet-b0"
    raise SettingError(f"`backbone` {name}", "no such encoder", f"{known(usual, name)}, and every network of timm")


def encoder_settings(name: str) -> dict:
    """The settings with which an encoder takes pictures of any size."""
    return {"strict_img_size": False} if name.startswith("tu-swin") else {}


def prepare_encoder(encoder: nn.Module, name: str, bands: int) -> None:
    """Looks at an encoder's maps of a picture, and readies its batch norms of single pixels for batches of one.

    SettingError where it can't take the picture, or gives no maps of stride 4 to 32 (or to its output stride).
    """
    single_pixels, hooks = [], []
    for path, layer in encoder.named_modules():
        if type(layer) is nn.BatchNorm2d:
            hooks.append(
                layer.register_forward_pre_hook(
                    lambda _, inputs, path=path: single_pixels.append(path) if inputs[0].shape[2:] == (1, 1) else None
                )
            )
    training = encoder.training
    try:
        with torch.no_grad():
            features = encoder.eval()(torch.zeros(1, bands, 64, 96))
        sizes = [tuple(x.shape[2:]) for x in features[2:]]
    except Exception:  # each of the hundreds of encoders has its own way to refuse
        sizes = []
    finally:
        for hook in hooks:
            hook.remove()
        encoder.train(training)
    strides = [min(stride, int(encoder.output_stride)) for stride in (4, 8, 16, 32)]
    if sizes != [(64 // stride, 96 // stride) for stride in strides]:
        raise unfit(name)
    for path in single_pixels:
        parent, _, child = path.rpartition(".")
        setattr(encoder.get_submodule(parent), child, PooledBatchNorm.instead_of(encoder.get_submodule(path)))


def unfit(name: str) -> SettingError:
    """The error for an encoder that nothing can be segmented with."""
    problem = "needs pictures of one size, or has no maps of stride 4, 8, 16 and 32"
    return SettingError(f"`backbone` {name.removeprefix('tu-')}", problem, "take a ResNet, say")


def explain(name: str, output_stride: int) -> SettingError | None:
    """The error for an encoder that can't be made, or not with an output stride; None where it can."""
    try:
        smp.encoders.get_encoder(name, weights=None, **encoder_settings(name))
    except Exception:
        return unfit(name)
    try:
        smp.encoders.get_encoder(name, weights=None, output_stride=output_stride or 32)
    except Exception:
        problem = f"can't be run at an output stride of {output_stride}, which this `model` needs"
        return SettingError(f"`backbone` {name.removeprefix('tu-')}", problem, "take a ResNet, or another `model`")
    return None
