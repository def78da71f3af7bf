"""Network families by name, each over any encoder and any number of bands.

Networks take raw pixels (float32 BCHW, in the file's units): normalisation is their first step and travels with their
weights. They give logits_BCHW at the size of the input, whatever it is; in training, those of the auxiliary head too.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from jingwei.errors import SettingError
from jingwei.models.mixed_wheels import declare_missing_operators

declare_missing_operators()

import segmentation_models_pytorch as smp  # noqa: E402
import timm  # noqa: E402

# Encoders that people know by torchvision's names, under timm's.
TORCHVISION_NAMES = {"mobilenet_v3_large": "mobilenetv3_large_100", "mobilenet_v3_small": "mobilenetv3_small_100"}
PAD_TO = 32  # px: encoders halve five times


@dataclass(frozen=True)
class ModelSpec:
    """What rebuilds a network: its family, its encoder, its input and its output."""

    family: str
    backbone: str
    bands: int
    classes: int
    output_stride: int = 8
    auxiliary: bool = False


def _deeplabv3(spec: ModelSpec) -> nn.Module:
    """DeepLabV3 (Chen et al. 2017): atrous pyramid over an encoder of output stride 8 or 16."""
    return smp.DeepLabV3(
        spec.backbone,
        encoder_weights=None,
        encoder_output_stride=min(spec.output_stride, 16),
        in_channels=spec.bands,
        classes=spec.classes,
    )


def _attention_unet(spec: ModelSpec) -> nn.Module:
    """U-Net (Ronneberger et al. 2015) with scSE attention in the decoder (Roy et al. 2018)."""
    unet = smp.Unet(
        spec.backbone,
        encoder_weights=None,
        decoder_attention_type="scse",
        in_channels=spec.bands,
        classes=spec.classes,
    )
    unet.decoder.blocks[-1].attention1 = nn.Identity()  # for a skip that the last block doesn't have: never used
    return unet


MODELS = {"deeplabv3": _deeplabv3, "attention_unet": _attention_unet}


class Segmenter(nn.Module):
    """A network with what surrounds it: normalisation, padding to the encoder's stride, the auxiliary head."""

    def __init__(self, spec: ModelSpec, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.spec = spec
        self.network = MODELS[spec.family](spec)
        # What only EfficientNet's classifier would use: the processes of a team wait for the gradients of all the rest.
        for unused in ("_conv_head", "_bn1"):
            if hasattr(self.network.encoder, unused):
                getattr(self.network.encoder, unused).requires_grad_(False)
        self.auxiliary = (
            _auxiliary_head(self.network.encoder.out_channels[-2], spec.classes) if spec.auxiliary else None
        )
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, pixels_BCHW: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Raw pixels -> logits_BCHW; in training, where there is an auxiliary head, (logits_BCHW, its logits_BCHW)."""
        height, width = pixels_BCHW.shape[2:]
        pixels = (pixels_BCHW - self.mean) / self.std
        bottom, right = -height % PAD_TO, -width % PAD_TO
        if bottom or right:
            pixels = functional.pad(pixels, (0, right, 0, bottom))  # zeros: the mean colour
        features = self.network.encoder(pixels)
        decoded = self.network.decoder(features)
        logits = self.network.segmentation_head(decoded)[:, :, :height, :width]
        if not self.training or self.auxiliary is None:
            return logits
        auxiliary = functional.interpolate(
            self.auxiliary(features[-2]), pixels.shape[2:], mode="bilinear", align_corners=False
        )
        return logits, auxiliary[:, :, :height, :width]

    def freeze_batch_norm(self) -> None:
        """Puts the encoder's batch norms into evaluation: call after each `train()`."""
        for module in self.network.encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _auxiliary_head(channels: int, classes: int) -> nn.Module:
    """A small FCN head on the encoder's last map but one, as PSPNet and torchvision have it."""
    middle = max(32, channels // 4)
    return nn.Sequential(
        nn.Conv2d(channels, middle, 3, padding=1, bias=False),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(middle, classes, 1),
    )


def build_model(spec: ModelSpec, mean: tuple[float, ...], std: tuple[float, ...]) -> Segmenter:
    """The network of a spec, with random weights. SettingError for an unknown family or encoder."""
    if spec.family not in MODELS:
        raise SettingError(f"--model {spec.family}", "no such network", f"known are {', '.join(MODELS)}")
    try:
        return Segmenter(replace(spec, backbone=find_backbone(spec.backbone)), mean, std)
    except TypeError as error:
        if "output_stride" not in str(error):
            raise
        problem = f"can't be run at an output stride, which {spec.family} needs"
        raise SettingError(
            f"--backbone {spec.backbone}", problem, "take a ResNet, or --model attention_unet"
        ) from error


def find_backbone(name: str) -> str:
    """The name under which segmentation-models-pytorch has an encoder: its own, torchvision's or timm's."""
    if name in smp.encoders.encoders:
        return name
    timm_name = TORCHVISION_NAMES.get(name, name).removeprefix("tu-")
    if timm.is_model(timm_name):
        return f"tu-{timm_name}"
    known = "resnet18, resnet34, resnet50, resnet101, mobilenet_v2, mobilenet_v3_large, efficientnet-b0"
    raise SettingError(f"--backbone {name}", "no such encoder", f"known are {known}, and every network of timm")
