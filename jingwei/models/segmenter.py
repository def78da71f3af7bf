"""A network with what surrounds it: normalisation, padding, the auxiliary head, parts that stay frozen."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from jingwei.models.encoders import explain, prepare_encoder
from jingwei.models.families import MODELS, find_backbone, find_family, find_output_stride
from jingwei.models.spec import ModelSpec

PAD_TO = 32  # px: encoders halve five times; transformers want a multiple of their patch


class Segmenter(nn.Module):
    """A network that takes raw pixels of any size and gives logits of that size."""

    def __init__(self, spec: ModelSpec, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.spec = spec
        self.network = MODELS[spec.family].build(spec)
        # What only EfficientNet's classifier would use: the processes of a team wait for the gradients of all the rest.
        for unused in ("_conv_head", "_bn1"):
            if hasattr(self.network.encoder, unused):
                getattr(self.network.encoder, unused).requires_grad_(False)
        self.auxiliary = (
            _auxiliary_head(self.network.encoder.out_channels[-2], spec.classes) if spec.auxiliary else None
        )
        patch = getattr(self.network.encoder, "patch", PAD_TO)
        self.pad_to = PAD_TO if PAD_TO % patch == 0 else patch  # px: sides become multiples of it
        self._still_norm = False  # the encoder's batch norms stay in evaluation
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, pixels_BCHW: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Raw pixels -> logits_BCHW; in training, where there is an auxiliary head, (logits_BCHW, its logits_BCHW)."""
        height, width = pixels_BCHW.shape[2:]
        pixels = (pixels_BCHW - self.mean) / self.std
        bottom, right = _missing(height, self.pad_to), _missing(width, self.pad_to)
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

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """The encoder's parameters: those that pretrained weights fill."""
        return self.network.encoder.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """All others: decoder, segmentation head, auxiliary head."""
        backbone = {id(parameter) for parameter in self.backbone_parameters()}
        return (parameter for parameter in self.parameters() if id(parameter) not in backbone)

    def freeze_batch_norm(self) -> None:
        """Puts the encoder's batch norms into evaluation, where each later `train()` leaves them."""
        self._still_norm = True
        self.train(self.training)

    def freeze_backbone(self) -> None:
        """Keeps the encoder as it is: no gradient reaches its parameters, its batch norms keep their statistics."""
        for parameter in self.backbone_parameters():
            parameter.requires_grad_(False)
        self.freeze_batch_norm()

    def train(self, mode: bool = True) -> "Segmenter":
        """As of every module; frozen batch norms stay in evaluation."""
        super().train(mode)
        if self._still_norm:
            for module in self.network.encoder.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def build_model(spec: ModelSpec, mean: tuple[float, ...], std: tuple[float, ...]) -> Segmenter:
    """The network of a spec, with random weights. SettingError for a family, encoder or stride that can't be had."""
    family = find_family(spec.family)
    spec = replace(
        spec,
        family=family,
        backbone=find_backbone(spec.backbone, family),
        output_stride=find_output_stride(spec.output_stride, family),
    )
    any_encoder = not MODELS[family].backbones
    try:
        model = Segmenter(spec, mean, std)
    except Exception as error:
        mistake = explain(spec.backbone, spec.output_stride) if any_encoder else None
        if mistake is None:
            raise
        raise mistake from error
    if any_encoder:
        prepare_encoder(model.network.encoder, spec.backbone, spec.bands)
    return model


def _missing(size: int, step: int) -> int:
    """The px to add to a side: to a multiple of `step`, by arithmetic that can be traced for other sizes too.

    To two steps at least: four values in the coarsest map, so that batch norm can train with a single small window.
    """
    return -size % step + (size <= step) * step


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
