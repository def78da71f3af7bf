"""Lovász by counting: the value and the slope of the sum over sorted errors, up to the width of a bin."""

import pytest
import torch
from torch.nn import functional

from jingwei.legend import NODATA
from jingwei.training.losses import LOVASZ_BINS, lovasz


def by_sorting(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Berman et al. 2018, eq. 9 and 11, with all pixels of each class sorted; float64."""
    labelled = labels != NODATA
    labels = labels[labelled].long()
    probabilities = functional.softmax(logits.double(), dim=1).movedim(1, -1)[labelled]
    present = torch.unique(labels)
    truth = (labels[:, None] == present).double()
    errors, order = (truth - probabilities[:, present]).abs().sort(dim=0, descending=True)
    truth = truth.gather(0, order)
    jaccard = 1 - (truth.sum(0) - truth.cumsum(0)) / (truth.sum(0) + (1 - truth).cumsum(0))
    return (errors * torch.diff(jaccard, dim=0, prepend=torch.zeros_like(jaccard[:1]))).sum(0).mean()


def patches(seed: int, side: int = 96, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth logits_BCHW that are often right, and labels_BHW with some NODATA."""
    torch.manual_seed(seed)
    logits = functional.interpolate(3 * torch.randn(2, classes, 8, 8), (side, side), mode="bilinear")
    labels = (logits + 2 * torch.randn_like(logits)).argmax(1).to(torch.uint8)
    labels[:, :7] = NODATA
    return logits, labels


def value_and_slope(loss, logits, labels):
    logits = logits.clone().requires_grad_()
    value = loss(logits, labels)
    value.backward()
    return value.item(), logits.grad


@pytest.mark.parametrize("seed", range(4))
def test_many_pixels_give_the_value_and_the_slope_of_the_sorted_sum(seed):
    logits, labels = patches(seed)
    expected, slope = value_and_slope(by_sorting, logits, labels)
    value, found = value_and_slope(lovasz, logits, labels)
    assert value == pytest.approx(expected, abs=0.1 / LOVASZ_BINS)
    assert float((found - slope).norm() / slope.norm()) < 1e-3


def test_ties_give_the_value_of_any_order():
    logits, labels = patches(0, side=32)
    logits = logits.round()  # a few values only
    expected, _ = value_and_slope(by_sorting, logits, labels)
    assert lovasz(logits, labels).item() == pytest.approx(expected, abs=1e-6)


def test_logits_that_are_not_numbers_give_a_loss_that_is_none():
    logits, labels = patches(0, side=32)
    logits[0, 1, 20, 20] = torch.nan
    assert not lovasz(logits, labels).isfinite()
