"""SegNet: VGG's convolutions, and their mirror image after unpooling to the places of the maxima.

Badrinarayanan, Kendall, Cipolla: SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation.
IEEE Transactions on Pattern Analysis and Machine Intelligence, 2017.

As in the paper: the decoder has VGG's convolutions in reverse, each with batch norm and ReLU; nothing but the places of
the maxima passes from encoder to decoder; the last convolution gives the classes (29.5 million parameters with VGG-16).

Deviations: any of VGG's depths; without the `_bn` in its name, the encoder has no batch norm.
"""

from torch import Tensor, nn

from jingwei.models.blocks import EncoderDecoder, convolution, start_for_relu, unpool
from jingwei.models.spec import ModelSpec
from jingwei.models.vgg import vgg_encoder


def build_segnet(spec: ModelSpec) -> EncoderDecoder:
    """SegNet over a VGG."""
    encoder = vgg_encoder(spec.backbone, spec.bands)
    head = nn.Conv2d(encoder.out_channels[0], spec.classes, 3, padding=1)
    return EncoderDecoder(encoder, Decoder(_stages(encoder.features)), head)


class Decoder(nn.Module):
    """VGG's maps (of stride 1, 2, 4, 8, 16, 32, the last alone pooled) -> one map of stride 1."""

    def __init__(self, stages: list[list[tuple[int, int]]]):
        super().__init__()
        mirrored = [[convolution(out, channels) for channels, out in stage[::-1]] for stage in stages]
        mirrored[0].pop()  # the mirror image of the very first convolution gives the classes: it is the head
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in mirrored[::-1])
        start_for_relu(self)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for stage, before in zip(self.stages, features[-2::-1], strict=True):
            x = stage(unpool(x, before))
        return x


def _stages(layers: nn.Sequential) -> list[list[tuple[int, int]]]:
    """The (channels, out_channels) of a VGG's convolutions, from each pooling to the next."""
    stages: list[list[tuple[int, int]]] = [[]]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            stages[-1].append((layer.in_channels, layer.out_channels))
        elif isinstance(layer, nn.MaxPool2d):
            stages.append([])
    return stages[:-1]
