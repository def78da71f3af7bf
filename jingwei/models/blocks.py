"""Pieces that several of our own networks are made of."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class EncoderDecoder(nn.Module):
    """The three parts of every network here: pixels -> maps -> one map -> logits.

    Those of segmentation-models-pytorch have them under the same names.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, segmentation_head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.segmentation_head = segmentation_head


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch norm of maps that were pooled to a single pixel: one window has one value per channel there.

    A value less its own mean is 0, so torch refuses it in training. Such a value is normalised by the running
    statistics instead, as in evaluation, and leaves them as they are; two windows or more get plain batch norm.
    """

    @classmethod
    def instead_of(cls, norm: nn.BatchNorm2d) -> "PooledBatchNorm":
        """The same layer, its parameters and statistics too."""
        pooled = cls(norm.num_features, norm.eps, norm.momentum)
        pooled.load_state_dict(norm.state_dict())
        return pooled

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or input.numel() > input.shape[1]:
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


def convolution(channels: int, out_channels: int, size: int = 3, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the size of its map, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, size, padding=size // 2 * dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def bilinear_doubling(channels: int) -> nn.ConvTranspose2d:
    """A transposed convolution to twice the size that starts as bilinear interpolation and learns from there."""
    layer = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False)
    slope = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = torch.outer(slope, slope)
    return layer


class AveragePooling(nn.Module):
    """Average pooling to a fixed number of cells a side, as nn.AdaptiveAvgPool2d, by two products of matrices.

    So it can be exported for pictures of any size: exporters know adaptive pooling for fixed sizes alone.
    """

    def __init__(self, cells: int):
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (self._shares(length, x) for length in x.shape[2:])
        return rows @ x @ columns.transpose(0, 1)

    def _shares(self, length: int, like: Tensor) -> Tensor:
        """The share of each of `length` places in the mean of each cell."""
        cell = torch.arange(self.cells, device=like.device)[:, None]
        place = torch.arange(length, device=like.device)[None]
        inside = (place >= cell * length // self.cells) & (place * self.cells < (cell + 1) * length)
        return inside.to(like.dtype) / inside.sum(1, keepdim=True)


def unpool(values: Tensor, before: Tensor) -> Tensor:
    """Max unpooling: each value goes to the place of the maximum in its 2 x 2 px of `before`, the others become 0.

    values: BCHW; before: the map of twice that size whose pooling is undone. The places are found again from the map
    itself, so that no encoder has to hand them on: the first maximum in reading order, as in max_pool2d.
    """
    if torch.jit.is_tracing():
        return _unpool_in_plain_steps(values, before)
    _, places = functional.max_pool2d(before, 2, return_indices=True)
    return functional.max_unpool2d(values, places, 2)


def _unpool_in_plain_steps(values: Tensor, before: Tensor) -> Tensor:
    """The same, for exporters: they don't know max_unpool2d, which is up to eight times as fast."""
    highest = functional.max_pool2d(before, 2)
    free, placed = torch.ones_like(values), []
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        here = free * (before[:, :, row::2, column::2] == highest)
        free = free - here
        placed.append(values * here)
    return functional.pixel_shuffle(torch.stack(placed, dim=2).flatten(1, 2), 2)


def start_for_relu(module: nn.Module) -> None:
    """The start of He et al. (2015) for a module's convolutions: the signal keeps its strength through ReLUs."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
