"""DeepLab with dense upsampling convolution (DUC) and hybrid dilated convolution (HDC).

Wang, Chen, Yuan, Liu, Huang, Hou, Cottrell: Understanding Convolution for Semantic Segmentation. WACV 2018.

As in the paper: a ResNet of output stride 8 whose dilations change from block to block so that no pixel is left out
(the paper's "bigger" rates: 1, 2, 5, 9 in turn through its third stage, 5, 9, 17 through its fourth), an atrous pyramid
with rates 6, 12, 18, 24, and scores for each pixel of a cell of 8 x 8 px, as 64 channels per class laid out.

Deviations: the pyramid's branches have 256 channels and batch norm, and one DUC layer follows their sum, where each of
the paper's gives all 64 channels per class (1.2 million parameters for each class and branch); an output stride of 16,
with the third stage undilated and rates 1, 2, 5 in the fourth, which leave no pixel out either; any ResNet.
"""

from itertools import cycle

from torch import Tensor, nn

from jingwei.models.blocks import EncoderDecoder, convolution
from jingwei.models.libraries import smp
from jingwei.models.spec import ModelSpec

RATES: dict[int, dict[str, tuple[int, ...]]] = {
    8: {"layer3": (1, 2, 5, 9), "layer4": (5, 9, 17)},
    16: {"layer4": (1, 2, 5)},
}
PYRAMID_RATES = (6, 12, 18, 24)
PYRAMID_CHANNELS = 256


def build_duc_hdc(spec: ModelSpec) -> EncoderDecoder:
    """DUC and HDC over a ResNet or ResNeXt, at output stride 8 or 16."""
    encoder = smp.encoders.get_encoder(spec.backbone, in_channels=spec.bands, weights=None)
    for stage, rates in RATES[spec.output_stride].items():
        for block, rate in zip(getattr(encoder, stage), cycle(rates), strict=False):
            _dilate(block, rate)
    cell = spec.output_stride
    head = nn.Sequential(
        nn.Conv2d(PYRAMID_CHANNELS, spec.classes * cell**2, 3, padding=1),
        nn.PixelShuffle(cell),
    )
    return EncoderDecoder(encoder, Pyramid(encoder.out_channels[-1]), head)


class Pyramid(nn.Module):
    """The encoder's last map -> the sum of what four convolutions of unlike reach see in it."""

    def __init__(self, channels: int):
        super().__init__()
        self.branches = nn.ModuleList(convolution(channels, PYRAMID_CHANNELS, dilation=rate) for rate in PYRAMID_RATES)

    def forward(self, features: list[Tensor]) -> Tensor:
        return sum(branch(features[-1]) for branch in self.branches)


def _dilate(block: nn.Module, rate: int) -> None:
    """Takes the stride out of a residual block and spreads its 3 x 3 filters instead."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
            if layer.kernel_size == (3, 3):
                layer.dilation = layer.padding = (rate, rate)
