"""Losses with all their settings, and batches for them."""

from functools import partial
from math import log

import torch

from jingwei.legend import NODATA
from jingwei.training.losses import LOSSES, cross_entropy, focal, lovasz

WEIGHTS = torch.tensor([1.0, 3.0, 0.0, 0.5])
OPTIONS = LOSSES | {
    "cross_entropy with weights": partial(cross_entropy, class_weights=WEIGHTS),
    "cross_entropy with label smoothing": partial(cross_entropy, label_smoothing=0.2),
    "cross_entropy with edge smoothing": partial(cross_entropy, edge_smoothing=0.4),
    "cross_entropy with all": partial(cross_entropy, class_weights=WEIGHTS, label_smoothing=0.1, edge_smoothing=0.4),
    "focal with gamma 0": partial(focal, gamma=0.0),
    "focal with gamma 0.5": partial(focal, gamma=0.5),
    "focal with alpha": partial(focal, gamma=3.0, alpha=WEIGHTS),
    "lovasz per image": partial(lovasz, per_image=True),
}


def random_batch(seed: int, classes: int = 4, side: int = 6, unlabelled: float = 0.3):
    """(logits_BCHW, labels_BHW) with some NODATA."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, side, side, generator=generator) * 3
    labels = torch.randint(classes, (2, side, side), generator=generator)
    hidden = torch.rand(labels.shape, generator=generator) < unlabelled
    return logits, labels.masked_fill(hidden, NODATA).to(torch.uint8)


def patchy_batch(seed: int):
    """The same in patches of 8 px and holes between, so that some pixels are at an edge and some are not."""
    logits, labels = random_batch(seed, side=16)
    labels = labels[:, ::8, ::8].repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels[:, ::3, ::4] = NODATA
    return logits, labels


def row(*pixels):
    """One row of pixels, each (probabilities, label) -> (logits_BCHW, labels_BHW)."""
    logits = torch.tensor([[log(p) for p in probabilities] for probabilities, _ in pixels])
    labels = torch.tensor([label for _, label in pixels], dtype=torch.uint8)
    return logits.T[None, :, None], labels[None, None]


def two_pixels(second_label: int = 0):
    """Two classes; the first pixel is of class 0 with p 0.8, the second has p 0.4 and 0.6, the third no label."""
    return row(((0.8, 0.2), 0), ((0.4, 0.6), second_label), ((0.999, 0.001), NODATA))
