"""A plain vision transformer under a light pyramid.

Encoders: Dosovitskiy et al.: An Image is Worth 16x16 Words. ICLR 2021; Oquab et al.: DINOv2. TMLR 2024; as timm has
them. The pyramid is after Li, Mao, Girshick, He: Exploring Plain Vision Transformer Backbones for Object Detection.
ECCV 2022: a transformer's maps all have one size, and are brought to strides of 1/4, 1/2 and 1 of its patch.

The maps come from four depths; they are joined from the coarsest to the finest, 128 channels wide, and predicted at a
quarter of the patch. Pictures may have any size: position embeddings are resampled to the picture's patches, in steps
that exporters follow. Deviation from timm: without anti-aliasing where there are fewer patches than it was trained on.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jingwei.models.blocks import EncoderDecoder, convolution
from jingwei.models.libraries import timm
from jingwei.models.spec import ModelSpec

VITS = (
    "vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_large_patch14_dinov2", "vit_small_patch14_reg4_dinov2",
    "vit_base_patch14_reg4_dinov2", "vit_large_patch14_reg4_dinov2", "vit_tiny_patch16_224", "vit_small_patch16_224",
    "vit_base_patch16_224", "vit_large_patch16_224", "vit_small_patch8_224", "vit_base_patch8_224",
)  # fmt: skip
DEPTHS = 4  # maps that are taken, spread over the blocks
CHANNELS = 128


def build_vit(spec: ModelSpec) -> EncoderDecoder:
    """A vision transformer of timm under a pyramid."""
    encoder = Encoder(spec.backbone, spec.bands)
    head = nn.Sequential(
        nn.Conv2d(CHANNELS, spec.classes, 1),
        nn.Upsample(scale_factor=encoder.patch / 4, mode="bilinear", align_corners=False),
    )
    return EncoderDecoder(encoder, Decoder(encoder.out_channels), head)


class Encoder(nn.Module):
    """Pixels, sides of multiples of `patch` px -> four maps of that stride, from a quarter of the blocks to all."""

    def __init__(self, name: str, bands: int):
        super().__init__()
        self.model = timm.create_model(name, pretrained=False, in_chans=bands, num_classes=0)
        self.patch = self.output_stride = self.model.patch_embed.patch_size[0]
        self.out_channels = [self.model.embed_dim] * DEPTHS
        self.side = self.model.patch_embed.grid_size[0]  # patches of the square that its positions are of
        count = len(self.model.blocks)
        self.taken = {count * (k + 1) // DEPTHS - 1 for k in range(DEPTHS)}

    def forward(self, pixels: Tensor) -> list[Tensor]:
        model, maps = self.model, []
        x = model.patch_embed.proj(pixels)
        height, width = x.shape[2:]
        before = model.num_prefix_tokens
        x = model.patch_embed.norm(x.flatten(2).transpose(1, 2))
        positions = model.pos_embed
        if not model.no_embed_class:
            first, positions = positions[:, :before], positions[:, before:]
        x = x + self._resampled(positions, height, width)
        tokens = [token for token in (model.cls_token, model.reg_token) if token is not None]
        if tokens:
            front = torch.cat(tokens, dim=1)
            front = front if model.no_embed_class else front + first
            x = torch.cat([front.expand(x.shape[0], -1, -1), x], dim=1)
        x = model.norm_pre(x)
        for number, block in enumerate(model.blocks):
            x = block(x)
            if number in self.taken:
                patches = model.norm(x)[:, before:]
                maps.append(patches.transpose(1, 2).reshape(x.shape[0], -1, height, width))
        return maps

    def _resampled(self, positions: Tensor, height: int, width: int) -> Tensor:
        """Embeddings (1, patches, channels) of a square of patches, for height x width of them."""
        square = positions.transpose(1, 2).reshape(1, -1, self.side, self.side)
        fitted = functional.interpolate(square.float(), (height, width), mode="bicubic", align_corners=False)
        return fitted.flatten(2).transpose(1, 2).to(positions.dtype)


class Decoder(nn.Module):
    """Four maps of one stride -> one map of a quarter of it."""

    def __init__(self, channels: list[int]):
        super().__init__()
        finest, finer, *_ = channels
        self.four_times = nn.Sequential(
            nn.ConvTranspose2d(finest, finest // 2, 2, stride=2),
            nn.GELU(),
            nn.ConvTranspose2d(finest // 2, finest // 4, 2, stride=2),
        )
        self.twice = nn.ConvTranspose2d(finer, finer // 2, 2, stride=2)
        widths = [channels[0] // 4, channels[1] // 2, *channels[2:]]
        self.sides = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in widths)
        self.joints = nn.ModuleList(convolution(CHANNELS, CHANNELS) for _ in range(3))

    def forward(self, features: list[Tensor]) -> Tensor:
        first, second, third, last = features
        maps = [self.four_times(first), self.twice(second), third, last]
        fine, middle, coarse, deepest = (side(x) for side, x in zip(self.sides, maps, strict=True))
        x = self.joints[0](deepest + coarse)
        x = self.joints[1](functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False) + middle)
        return self.joints[2](functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False) + fine)
