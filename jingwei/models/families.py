"""The registry: network families by name, what each is built from, and the contest's spelling of their names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from jingwei.errors import SettingError, known
from jingwei.models.blocks import AveragePooling, PooledBatchNorm
from jingwei.models.duc_hdc import build_duc_hdc
from jingwei.models.encoders import encoder_settings, find_encoder, named
from jingwei.models.enet import build_enet
from jingwei.models.fcn8 import build_fcn8
from jingwei.models.gcn import build_gcn
from jingwei.models.libraries import smp
from jingwei.models.pspnet import build_pspdensenet, build_pspnet
from jingwei.models.segnet import build_segnet
from jingwei.models.segresnet import build_segresnet
from jingwei.models.spec import ModelSpec
from jingwei.models.unet import WIDTHS, build_unet
from jingwei.models.vit import VITS, build_vit


@dataclass(frozen=True)
class Family:
    """A network family: how a network is built from a spec, and what the spec may say."""

    build: Callable[[ModelSpec], nn.Module]
    backbone: str  # the usual one
    backbones: tuple[str, ...] = ()  # those it may have; none named: any of segmentation-models-pytorch and of timm
    output_strides: tuple[int, ...] = ()  # those it may have, the usual one first; none named: there is no choice


def _deeplabv3(spec: ModelSpec) -> nn.Module:
    """DeepLabV3 (Chen et al. 2017): atrous pyramid over an encoder of output stride 8 or 16."""
    network = _dilated(smp.DeepLabV3, spec)
    _let_one_window_through(network.decoder.aspp.convs[-1], 2)
    return network


def _deeplab(spec: ModelSpec) -> nn.Module:
    """DeepLabV3+ (Chen et al. 2018): the pyramid's map, refined with the encoder's map of stride 4."""
    network = _dilated(smp.DeepLabV3Plus, spec)
    _let_one_window_through(network.decoder.aspp[0].convs[-1], 2)
    return network


def _dilated(family: type[nn.Module], spec: ModelSpec) -> nn.Module:
    """A network whose encoder is dilated to the spec's output stride."""
    return _built(family, spec, encoder_output_stride=spec.output_stride)


def _of_any_size(family: type[nn.Module], spec: ModelSpec, **settings: Any) -> nn.Module:
    """A network whose encoder takes pictures of any size."""
    return _built(family, spec, **settings, **encoder_settings(spec.backbone))


def _built(family: type[nn.Module], spec: ModelSpec, **settings: Any) -> nn.Module:
    """A network of segmentation-models-pytorch with random weights."""
    return family(spec.backbone, encoder_weights=None, in_channels=spec.bands, classes=spec.classes, **settings)


def _attention_unet(spec: ModelSpec) -> nn.Module:
    """U-Net (Ronneberger et al. 2015) with scSE attention in the decoder (Roy et al. 2018)."""
    network = _of_any_size(smp.Unet, spec, decoder_attention_type="scse")
    network.decoder.blocks[-1].attention1 = nn.Identity()  # for a skip that the last block doesn't have: never used
    return network


def _unet_resnet(spec: ModelSpec) -> nn.Module:
    """U-Net (Ronneberger et al. 2015) whose contracting path is a ResNet, or any other encoder."""
    return _of_any_size(smp.Unet, spec)


def _upernet(spec: ModelSpec) -> nn.Module:
    """UPerNet (Xiao et al. 2018): pyramid pooling and a feature pyramid, for segmentation alone of its tasks."""
    network = _of_any_size(smp.UPerNet, spec)
    levels = network.decoder.psp.blocks
    for level in levels:
        level[0] = AveragePooling(level[0].output_size)
    _let_one_window_through(levels[0][1], 1)
    return network


def _segformer(spec: ModelSpec) -> nn.Module:
    """SegFormer (Xie et al. 2021): a hierarchical transformer under a decoder of linear layers.

    As in the paper, the decoder has 256 channels over the two small encoders and 768 over the others. Any other encoder
    will do too.
    """
    channels = 256 if spec.backbone in ("mit_b0", "mit_b1") else 768
    return _of_any_size(smp.Segformer, spec, decoder_segmentation_channels=channels)


def _let_one_window_through(pooling: nn.Sequential, place: int) -> None:
    pooling[place] = PooledBatchNorm.instead_of(pooling[place])


RESNETS = named("resnet", "resnext")
VGGS = named("vgg")

MODELS = {
    "deeplabv3": Family(_deeplabv3, "resnet50", output_strides=(8, 16)),
    # Takes any output stride and has no use for it: recipes and checkpoints name one for it.
    "attention_unet": Family(_attention_unet, "resnet34", output_strides=(32, 16, 8)),
    "fcn8": Family(build_fcn8, "vgg16", VGGS),
    "unet": Family(build_unet, "plain64", tuple(WIDTHS)),
    "unet_resnet": Family(_unet_resnet, "resnet50"),
    "segnet": Family(build_segnet, "vgg16_bn", VGGS),
    "segresnet": Family(build_segresnet, "resnet50", RESNETS),
    "enet": Family(build_enet, "enet", ("enet",)),
    "gcn": Family(build_gcn, "resnet50"),
    "deeplab": Family(_deeplab, "resnet50", output_strides=(16, 8)),
    "deeplab_duc_hdc": Family(build_duc_hdc, "resnet101", RESNETS, output_strides=(8, 16)),
    "upernet": Family(_upernet, "resnet50"),
    "pspnet": Family(build_pspnet, "resnet50", output_strides=(8, 16)),
    "pspdensenet": Family(build_pspdensenet, "densenet201", named("densenet"), output_strides=(8, 16)),
    "segformer": Family(_segformer, "mit_b0"),
    "vit": Family(build_vit, VITS[0], VITS),
}

# The contest trainer's spelling, and others that people know.
ALIASES = {
    "FCN8": "fcn8",
    "UNet": "unet",
    "UNetResnet": "unet_resnet",
    "SegNet": "segnet",
    "SegResNet": "segresnet",
    "ENet": "enet",
    "GCN": "gcn",
    "DeepLab": "deeplab",
    "DeepLab_DUC_HDC": "deeplab_duc_hdc",
    "UperNet": "upernet",
    "PSPNet": "pspnet",
    "PSPDenseNet": "pspdensenet",
    "DeepLabV3": "deeplabv3",
    "SegFormer": "segformer",
    "ViT": "vit",
    "AttentionUNet": "attention_unet",
}


def find_family(name: str) -> str:
    """The registry's name for a family by that name or an alias. SettingError for an unknown one."""
    name = ALIASES.get(name, name)
    if name not in MODELS:
        raise SettingError(f"`model` {name}", "no such network", known(MODELS, name))
    return name


def find_backbone(name: str | None, family: str) -> str:
    """The name under which an encoder of a family is built; the family's usual one for none.

    Where the family takes any, names are those of segmentation-models-pytorch, torchvision or timm. SettingError for a
    name that is unknown or not of the family, listing the known.
    """
    choice = MODELS[family]
    name = name or choice.backbone
    if choice.backbones:
        if name not in choice.backbones:
            problem = f"{family} has no such encoder"
            raise SettingError(f"`backbone` {name}", problem, known(choice.backbones, name))
        return name
    return find_encoder(name)


def find_output_stride(stride: int, family: str) -> int:
    """An output stride that a family has; its usual one (0 where there is no choice) for 0. Else SettingError."""
    choices = MODELS[family].output_strides
    if stride == 0:
        return choices[0] if choices else 0
    if not choices:
        raise SettingError(f"`output_stride` {stride}", f"{family} has none to choose", "leave it at 0")
    if stride not in choices:
        remedy = f"choose {' or '.join(map(str, sorted(choices)))}, or 0 for {choices[0]}"
        raise SettingError(f"`output_stride` {stride}", f"{family} can't have it", remedy)
    return stride
