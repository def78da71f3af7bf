"""Losses by name, and weighted sums of them: `focal+0.5*lovasz`.

Every loss takes logits_BCHW (float) and labels_BHW (integer ids, NODATA where there is none) and returns a float32
scalar. NODATA pixels change neither its value nor its gradient; a batch of nothing but NODATA gives 0.
"""

import re
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from jingwei.errors import SettingError
from jingwei.legend import NODATA

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log p(label) over the labelled pixels."""
    total = functional.cross_entropy(logits.float(), labels.long(), ignore_index=NODATA, reduction="sum")
    return total / (labels != NODATA).sum().clamp(min=1)


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss, mean of -(1 - p)^gamma log p over the labelled pixels (Lin et al. 2017, eq. 4, alpha 1)."""
    nll = functional.cross_entropy(logits.float(), labels.long(), ignore_index=NODATA, reduction="none")
    # Where there is no label, nll is 0, and so is this term with its gradient.
    total = ((1 - torch.exp(-nll)).clamp(min=0) ** gamma * nll).sum()
    return total / (labels != NODATA).sum().clamp(min=1)


def lovasz(logits: Tensor, labels: Tensor) -> Tensor:
    """Lovász-Softmax over the batch, mean over the classes that its labels have (Berman et al. 2018, eq. 11).

    Takes probabilities, as the paper does: feeding it raw logits, whose errors are unbounded, is a known mistake.
    """
    known = labels != NODATA
    labels = labels[known].long()
    probabilities = functional.softmax(logits.float(), dim=1).movedim(1, -1)[known]  # (pixels, classes)
    if not len(labels):
        return probabilities.sum()  # of nothing: 0, with a gradient of 0
    present = torch.unique(labels)
    truth = (labels[:, None] == present).float()
    errors, order = (truth - probabilities[:, present]).abs().sort(dim=0, descending=True)
    truth = truth.gather(0, order)
    # The Jaccard loss of "the k worst pixels are wrong", for every k; its steps weigh the sorted errors.
    size = truth.sum(0)
    intersection = size - truth.cumsum(0)
    union = size + (1 - truth).cumsum(0)
    jaccard = 1 - intersection / union
    steps = torch.diff(jaccard, dim=0, prepend=torch.zeros_like(jaccard[:1]))
    return (errors * steps).sum(0).mean()


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "focal": focal, "lovasz": lovasz}


def parse_loss(text: str) -> dict[str, tuple[float, Loss]]:
    """`focal+0.5*lovasz` -> {"focal": (1.0, focal), "lovasz": (0.5, lovasz)}. SettingError lists the known losses."""
    terms = {}
    for part in text.replace(" ", "").split("+"):
        match = re.fullmatch(r"(?:(\d+\.?\d*|\.\d+)\*)?(\w+)", part)
        name = match[2] if match else None
        if name not in LOSSES or name in terms:
            problem = f"{name} is in it twice" if name in terms else f"{part!r} is no loss"
            raise SettingError(f"--loss {text}", problem, f"known are {', '.join(LOSSES)}; sums as in focal+0.5*lovasz")
        terms[name] = (float(match[1] or 1), LOSSES[name])
    return terms
