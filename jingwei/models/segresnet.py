"""SegResNet: SegNet's decoder, which gets nothing but places of maxima, over a residual encoder.

After Badrinarayanan, Kendall, Cipolla: SegNet (see segnet.py), with the residual blocks of
He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016.
There is no paper of this network: the name is the contest trainer's.

A ResNet pools only once, by windows that overlap. So every halving is undone by the places of the maxima in the map
that was halved, one in each 2 x 2 px. Between two unpoolings: a 1 x 1 convolution to the finer map's channels, then two
of ResNet's bottleneck blocks. The last step, from stride 2 to 1, has no such map and is bilinear.
"""

from torch import Tensor, nn

from jingwei.models.blocks import EncoderDecoder, convolution, unpool
from jingwei.models.libraries import smp
from jingwei.models.spec import ModelSpec


def build_segresnet(spec: ModelSpec) -> EncoderDecoder:
    """SegResNet over a ResNet or ResNeXt."""
    encoder = smp.encoders.get_encoder(spec.backbone, in_channels=spec.bands, weights=None)
    channels = encoder.out_channels
    head = nn.Sequential(
        nn.Conv2d(channels[1], spec.classes, 3, padding=1),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    )
    return EncoderDecoder(encoder, Decoder(channels), head)


class Decoder(nn.Module):
    """The encoder's maps (of stride 1, 2, 4, 8, 16, 32) -> one map of stride 2."""

    def __init__(self, channels: list[int]):
        super().__init__()
        steps = list(zip(channels[2:], channels[1:-1], strict=True))[::-1]
        self.narrow = nn.ModuleList(convolution(deep, fine, 1) for deep, fine in steps)
        self.blocks = nn.ModuleList(nn.Sequential(Bottleneck(fine), Bottleneck(fine)) for _, fine in steps)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for narrow, block, before in zip(self.narrow, self.blocks, features[-2:0:-1], strict=True):
            x = block(unpool(narrow(x), before))
        return x


class Bottleneck(nn.Module):
    """ResNet's bottleneck block: a quarter of the channels through 1 x 1, 3 x 3 and 1 x 1, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        middle = channels // 4
        self.branch = nn.Sequential(
            convolution(channels, middle, 1),
            convolution(middle, middle),
            nn.Conv2d(middle, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.branch(x))
