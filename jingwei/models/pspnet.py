"""PSPNet: a picture's map together with its means over ever larger cells.

Zhao, Shi, Qi, Wang, Jia: Pyramid Scene Parsing Network. CVPR 2017.

As in the paper: a dilated encoder of output stride 8, means over 1, 4, 9 and 36 cells with a quarter of the channels
each, a 3 x 3 convolution to 512 channels over all of them, dropout of 0.1, and an auxiliary head on the last stage but
one. Deviations: any encoder that can be dilated; an output stride of 16.

PSPDenseNet (the contest trainer's name; it has no paper) is the same over a DenseNet:
Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks. CVPR 2017.
A DenseNet halves its maps between blocks, by pooling. For an output stride of 16 the last such pooling is left out, for
8 the last two; the 3 x 3 convolutions after them are spread as PSPNet does it with ResNet: by 2, and then by 4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jingwei.models.blocks import AveragePooling, EncoderDecoder, PooledBatchNorm, convolution
from jingwei.models.libraries import smp
from jingwei.models.spec import ModelSpec

CELLS = (1, 2, 3, 6)  # a side
CHANNELS = 512  # of the map that the classes are predicted from


def build_pspnet(spec: ModelSpec) -> EncoderDecoder:
    """PSPNet over any encoder that can be run at an output stride of 8 or 16."""
    encoder = smp.encoders.get_encoder(
        spec.backbone, in_channels=spec.bands, weights=None, output_stride=spec.output_stride
    )
    return _over(encoder, spec)


def build_pspdensenet(spec: ModelSpec) -> EncoderDecoder:
    """PSPNet over a DenseNet of output stride 8 or 16."""
    encoder = smp.encoders.get_encoder(spec.backbone, in_channels=spec.bands, weights=None)
    layers = encoder.features
    halvings = ((16, layers.transition2, layers.denseblock3), (32, layers.transition3, layers.denseblock4))
    for stride, transition, block in halvings:
        if stride > spec.output_stride:
            transition.pool = nn.Identity()
            for layer in block.children():
                layer.conv2.dilation = layer.conv2.padding = (stride // spec.output_stride,) * 2
    return _over(encoder, spec)


def _over(encoder: nn.Module, spec: ModelSpec) -> EncoderDecoder:
    head = nn.Sequential(
        nn.Conv2d(CHANNELS, spec.classes, 1),
        nn.Upsample(scale_factor=spec.output_stride, mode="bilinear", align_corners=False),
    )
    return EncoderDecoder(encoder, Decoder(encoder.out_channels[-1]), head)


class Decoder(nn.Module):
    """The encoder's last map -> one of its size that knows the whole picture."""

    def __init__(self, channels: int):
        super().__init__()
        part = channels // len(CELLS)
        self.pyramid = nn.ModuleList(nn.Sequential(AveragePooling(n), convolution(channels, part, 1)) for n in CELLS)
        single_pixel = self.pyramid[0][1]
        single_pixel[1] = PooledBatchNorm.instead_of(single_pixel[1])
        self.join = nn.Sequential(convolution(channels + part * len(CELLS), CHANNELS), nn.Dropout2d(0.1))

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        size = x.shape[2:]
        means = [functional.interpolate(level(x), size, mode="bilinear", align_corners=False) for level in self.pyramid]
        return self.join(torch.cat([x, *means], dim=1))
