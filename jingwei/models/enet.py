"""ENet: a network of 0.37 million parameters that halves its map early and works at an eighth of the size.

Paszke, Chaurasia, Kim, Culurciello: ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation.
arXiv 1606.02147, 2016.

As in the paper (its Table 1): an initial block of a strided convolution beside a pooling, then bottlenecks, those of an
eighth of the size in two like stages (regular, dilated by 2 to 16, and 5 x 1 then 1 x 5), batch norm and PReLU between
convolutions, no biases, dropout of 0.01 and later 0.1 of the channels, and a decoder that unpools to the places of the
maxima.

Deviations: n bands make the first map 13 + n channels wide, and the last one too (the paper's 16 for 3 bands); encoder
and decoder are trained at once, not one after the other; ENet is its own and only encoder.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jingwei.models.blocks import EncoderDecoder, unpool
from jingwei.models.spec import ModelSpec


def build_enet(spec: ModelSpec) -> EncoderDecoder:
    """ENet."""
    encoder = Encoder(spec.bands)
    width = encoder.out_channels[0]
    head = nn.ConvTranspose2d(width, spec.classes, 3, stride=2, padding=1, output_padding=1)
    return EncoderDecoder(encoder, Decoder(width), head)


class Encoder(nn.Module):
    """Pixels -> maps of stride 2, 4, 8 and 8."""

    def __init__(self, bands: int):
        super().__init__()
        width = 13 + bands
        self.out_channels = [width, 64, 128, 128]
        self.initial = nn.Conv2d(bands, 13, 3, stride=2, padding=1, bias=False)
        self.pooling = nn.MaxPool2d(2)  # a module, so that it is seen that not filters alone look at the bands
        self.after = _norm_prelu(width)
        self.stage1 = nn.Sequential(Halving(width, 64, 0.01), *(Bottleneck(64, dropout=0.01) for _ in range(4)))
        self.stage2 = nn.Sequential(Halving(64, 128, 0.1), *_long_stage())
        self.stage3 = nn.Sequential(*_long_stage())

    def forward(self, pixels: Tensor) -> list[Tensor]:
        first = self.after(torch.cat([self.initial(pixels), self.pooling(pixels)], dim=1))
        second = self.stage1(first)
        third = self.stage2(second)
        return [first, second, third, self.stage3(third)]


class Decoder(nn.Module):
    """Those maps -> one map of stride 2."""

    def __init__(self, width: int):
        super().__init__()
        self.up4 = Doubling(128, 64)
        self.stage4 = nn.Sequential(Bottleneck(64), Bottleneck(64))
        self.up5 = Doubling(64, width)
        self.stage5 = Bottleneck(width)

    def forward(self, features: list[Tensor]) -> Tensor:
        first, second, _, last = features
        x = self.stage4(self.up4(last, second))
        return self.stage5(self.up5(x, first))


class Bottleneck(nn.Module):
    """1 x 1 to a quarter of the channels, a convolution, 1 x 1 back, dropout: added to the input.

    The convolution is 3 x 3, dilated or not, or (asymmetric) 5 x 1 then 1 x 5.
    """

    def __init__(self, channels: int, dilation: int = 1, asymmetric: bool = False, dropout: float = 0.1):
        super().__init__()
        middle = channels // 4
        if asymmetric:
            convolutions = [
                nn.Conv2d(middle, middle, (5, 1), padding=(2, 0), bias=False),
                nn.Conv2d(middle, middle, (1, 5), padding=(0, 2), bias=False),
            ]
        else:
            convolutions = [nn.Conv2d(middle, middle, 3, padding=dilation, dilation=dilation, bias=False)]
        first = nn.Conv2d(channels, middle, 1, bias=False)
        self.branch = _bottleneck(first, convolutions, channels, dropout)
        self.prelu = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(x + self.branch(x))


class Halving(nn.Module):
    """To half the size and more channels: a strided bottleneck beside a pooling that is filled up with zeros."""

    def __init__(self, channels: int, out_channels: int, dropout: float):
        super().__init__()
        middle = channels // 4
        self.more = out_channels - channels
        first = nn.Conv2d(channels, middle, 2, stride=2, bias=False)
        self.branch = _bottleneck(first, [nn.Conv2d(middle, middle, 3, padding=1, bias=False)], out_channels, dropout)
        self.prelu = nn.PReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = functional.pad(functional.max_pool2d(x, 2), (0, 0, 0, 0, 0, self.more))
        return self.prelu(pooled + self.branch(x))


class Doubling(nn.Module):
    """To twice the size and fewer channels: a transposed bottleneck beside an unpooling."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        middle = channels // 4
        self.main = nn.Sequential(nn.Conv2d(channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        first = nn.Conv2d(channels, middle, 1, bias=False)
        up = nn.ConvTranspose2d(middle, middle, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.branch = _bottleneck(first, [up], out_channels, dropout=0.1)
        self.prelu = nn.PReLU(out_channels)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        return self.prelu(unpool(self.main(x), before) + self.branch(x))


def _long_stage() -> list[Bottleneck]:
    """The paper's bottlenecks 2.1 to 2.8."""
    return [
        Bottleneck(128),
        Bottleneck(128, dilation=2),
        Bottleneck(128, asymmetric=True),
        Bottleneck(128, dilation=4),
        Bottleneck(128),
        Bottleneck(128, dilation=8),
        Bottleneck(128, asymmetric=True),
        Bottleneck(128, dilation=16),
    ]


def _bottleneck(first: nn.Conv2d, convolutions: list[nn.Module], channels: int, dropout: float) -> nn.Sequential:
    """A branch: narrowed by `first`, convolved, widened to `channels`."""
    middle = first.out_channels
    return nn.Sequential(
        first,
        _norm_prelu(middle),
        *convolutions,
        _norm_prelu(middle),
        nn.Conv2d(middle, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.Dropout2d(dropout),
    )


def _norm_prelu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))
