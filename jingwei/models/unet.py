"""U-Net: a contracting path of plain convolutions and an expanding one that gets its maps.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015.

As in the paper: five levels of two 3 x 3 convolutions with 64 to 1024 channels (31 million parameters), 2 x 2 max
pooling, 2 x 2 transposed convolutions, dropout at the end of the contracting path, the start of He et al.

Deviations: maps are padded, so the logits have the size of the picture and no skip is cropped; batch norm after each
convolution, which lets it start without pretrained weights; narrower ones beside the paper's width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jingwei.models.blocks import EncoderDecoder, convolution, start_for_relu
from jingwei.models.spec import ModelSpec

WIDTHS = {"plain64": 64, "plain32": 32, "plain16": 16}  # channels of the first level


def build_unet(spec: ModelSpec) -> EncoderDecoder:
    """U-Net of the width that its backbone names."""
    encoder = Encoder(spec.bands, WIDTHS[spec.backbone])
    network = EncoderDecoder(
        encoder, Decoder(encoder.out_channels), nn.Conv2d(encoder.out_channels[0], spec.classes, 1)
    )
    start_for_relu(network)
    return network


class Encoder(nn.Module):
    """Pixels -> maps of stride 1, 2, 4, 8 and 16."""

    def __init__(self, bands: int, width: int):
        super().__init__()
        self.out_channels = [width * 2**level for level in range(5)]
        before = [bands, *self.out_channels[:-1]]
        self.levels = nn.ModuleList(_twice(*channels) for channels in zip(before, self.out_channels, strict=True))
        self.dropout = nn.Dropout(0.5)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        features = [self.levels[0](pixels)]
        for level in self.levels[1:]:
            features.append(level(functional.max_pool2d(features[-1], 2)))
        features[-2:] = [self.dropout(x) for x in features[-2:]]
        return features


class Decoder(nn.Module):
    """Those maps -> one map of stride 1."""

    def __init__(self, channels: list[int]):
        super().__init__()
        steps = list(zip(channels[1:], channels[:-1], strict=True))[::-1]
        self.doublings = nn.ModuleList(nn.ConvTranspose2d(deep, fine, 2, stride=2) for deep, fine in steps)
        self.levels = nn.ModuleList(_twice(deep, fine) for deep, fine in steps)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for doubling, level, skip in zip(self.doublings, self.levels, features[-2::-1], strict=True):
            x = level(torch.cat([skip, doubling(x)], dim=1))
        return x


def _twice(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(convolution(channels, out_channels), convolution(out_channels, out_channels))
