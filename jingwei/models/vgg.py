"""VGG encoders (Simonyan and Zisserman 2015), made without the classifier that nobody keeps.

torchvision's VGG fills a classifier of 120 million parameters, which segmentation-models-pytorch then throws away: that
takes seconds and half a gigabyte. Here the network is laid out without numbers first, and what is left of it filled.
"""

import torch
from torch import nn

from jingwei.models.blocks import start_for_relu
from jingwei.models.libraries import smp


def vgg_encoder(backbone: str, bands: int) -> nn.Module:
    """A VGG's convolutions with random weights: maps of stride 1, 2, 4, 8, 16 and 32, the last alone pooled."""
    device = torch.get_default_device()
    with torch.device("meta"):
        encoder = smp.encoders.get_encoder(backbone, in_channels=bands, weights=None)
    encoder = encoder.to_empty(device=device)
    start_for_relu(encoder)
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return encoder
