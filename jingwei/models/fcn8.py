"""FCN-8s: a classifier made convolutional, its scores joined with those of two finer maps.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation. CVPR 2015.

As in the paper: VGG's two fully connected layers as convolutions of 7 x 7 and 1 x 1 with 4096 channels (134 million
parameters with VGG-16), scores of pool3, pool4 and these, doubled by transposed convolutions that start as bilinear
interpolation; the last step, by 8, is fixed bilinear interpolation.

Deviations: maps are padded by half a filter, not the picture by 100 px, so nothing has to be cropped; all three streams
are trained at once; scores start at random, not at 0; any of VGG's depths, with batch norm or without.
"""

from torch import Tensor, nn
from torch.nn import functional

from jingwei.models.blocks import EncoderDecoder, bilinear_doubling, start_for_relu
from jingwei.models.spec import ModelSpec
from jingwei.models.vgg import vgg_encoder

WIDTH = 4096  # channels of the two layers that were VGG's fully connected ones


def build_fcn8(spec: ModelSpec) -> EncoderDecoder:
    """FCN-8s over a VGG."""
    encoder = vgg_encoder(spec.backbone, spec.bands)
    head = nn.Upsample(scale_factor=8, mode="bilinear", align_corners=False)
    return EncoderDecoder(encoder, Decoder(encoder.out_channels, spec.classes), head)


class Decoder(nn.Module):
    """VGG's maps (of stride 1, 2, 4, 8, 16, 32, the last alone pooled) -> scores of stride 8."""

    def __init__(self, channels: list[int], classes: int):
        super().__init__()
        self.fc6 = nn.Conv2d(channels[5], WIDTH, 7, padding=3)
        self.fc7 = nn.Conv2d(WIDTH, WIDTH, 1)
        start_for_relu(self)
        self.dropout = nn.Dropout2d(0.5)
        self.score3 = nn.Conv2d(channels[2], classes, 1)
        self.score4 = nn.Conv2d(channels[3], classes, 1)
        self.score7 = nn.Conv2d(WIDTH, classes, 1)
        self.double7 = bilinear_doubling(classes)
        self.double4 = bilinear_doubling(classes)

    def forward(self, features: list[Tensor]) -> Tensor:
        pool3, pool4 = (functional.max_pool2d(features[i], 2) for i in (2, 3))
        x = self.dropout(functional.relu(self.fc6(features[5])))
        x = self.dropout(functional.relu(self.fc7(x)))
        x = self.double7(self.score7(x)) + self.score4(pool4)
        return self.double4(x) + self.score3(pool3)

    def take_classifier(self, tensors: dict[str, Tensor]) -> int:
        """Takes VGG's fully connected layers from torchvision's weights, where they are there. Returns how many."""
        taken = 0
        for layer, number in ((self.fc6, 0), (self.fc7, 3)):
            for name, own in layer.named_parameters():
                theirs = tensors.get(f"classifier.{number}.{name}")
                if theirs is not None and theirs.numel() == own.numel():
                    own.data.copy_(theirs.view_as(own))
                    taken += 1
        return taken
