"""GCN: large separable kernels that see nearly the whole map, and blocks that refine borders.

Peng, Zhang, Yu, Luo, Sun: Large Kernel Matters - Improve Semantic Segmentation by Global Convolutional Network.
CVPR 2017.

As in the paper: a global convolution of k = 15 on each of the four maps of stride 4 to 32 (k x 1 then 1 x k, beside
1 x k then k x 1, with no non-linearity between), whose output has one channel per class; boundary refinement after
each, after each sum and twice at the end; scores are doubled by transposed convolutions.

Deviations: any encoder; the transposed convolutions start as bilinear interpolation.
"""

from torch import Tensor, nn

from jingwei.models.blocks import EncoderDecoder, bilinear_doubling
from jingwei.models.encoders import encoder_settings
from jingwei.models.libraries import smp
from jingwei.models.spec import ModelSpec

KERNEL = 15  # px of a map: for windows of 512 px, nearly all of the coarsest one


def build_gcn(spec: ModelSpec) -> EncoderDecoder:
    """GCN over any encoder."""
    encoder = smp.encoders.get_encoder(
        spec.backbone, in_channels=spec.bands, weights=None, **encoder_settings(spec.backbone)
    )
    head = nn.Sequential(
        bilinear_doubling(spec.classes),
        BoundaryRefinement(spec.classes),
        bilinear_doubling(spec.classes),
        BoundaryRefinement(spec.classes),
    )
    return EncoderDecoder(encoder, Decoder(encoder.out_channels[2:], spec.classes), head)


class Decoder(nn.Module):
    """The encoder's maps of stride 4, 8, 16, 32 (the last four) -> scores of stride 4."""

    def __init__(self, channels: list[int], classes: int):
        super().__init__()
        self.scores = nn.ModuleList(
            nn.Sequential(GlobalConvolution(deep, classes), BoundaryRefinement(classes)) for deep in channels[::-1]
        )
        self.doublings = nn.ModuleList(bilinear_doubling(classes) for _ in channels[1:])
        self.refinements = nn.ModuleList(BoundaryRefinement(classes) for _ in channels[1:])

    def forward(self, features: list[Tensor]) -> Tensor:
        maps = [score(x) for score, x in zip(self.scores, features[:1:-1], strict=True)]
        x = maps[0]
        for doubling, refinement, finer in zip(self.doublings, self.refinements, maps[1:], strict=True):
            x = refinement(doubling(x) + finer)
        return x


class GlobalConvolution(nn.Module):
    """A k x k convolution as the sum of two separable ones."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        tall = {"kernel_size": (KERNEL, 1), "padding": (KERNEL // 2, 0)}
        wide = {"kernel_size": (1, KERNEL), "padding": (0, KERNEL // 2)}
        self.left = nn.Sequential(nn.Conv2d(channels, classes, **tall), nn.Conv2d(classes, classes, **wide))
        self.right = nn.Sequential(nn.Conv2d(channels, classes, **wide), nn.Conv2d(classes, classes, **tall))

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


class BoundaryRefinement(nn.Module):
    """Adds what two convolutions find to be wrong with a score map."""

    def __init__(self, classes: int):
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(classes, classes, 3, padding=1), nn.ReLU(), nn.Conv2d(classes, classes, 3, padding=1)
        )

    def forward(self, scores: Tensor) -> Tensor:
        return scores + self.residual(scores)
