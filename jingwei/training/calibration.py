"""Probabilities that are right as often as they say: one temperature, fitted on the validation.

Logits are divided by a temperature, which changes no label: the one of the lowest negative log-likelihood (Guo, Pleiss,
Sun and Weinberger 2017, "On calibration of modern neural networks", ICML). How far confidence and accuracy lie apart is
the expected calibration error: over BINS ranges of confidence, each weighing as much as it has pixels.

While crops are validated, a few of their pixels are kept. They are all that is looked at, so memory doesn't grow.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from jingwei.crops.table import Crop
from jingwei.legend import NODATA, Legend
from jingwei.training.distributed import Team

PIXELS = 300_000  # of all validation crops together, at most (but one of each crop at least)
BINS = 15
LOWEST, HIGHEST = 0.2, 10.0  # temperatures that are tried
ROUNDS = 22  # of golden-section search: to a ten-thousandth of the temperature


class LogitSample:
    """Labels and logits of some pixels of validation crops: the same pixels for every network.

    `crops` are those of this process, in the order in which they are added; `total` the labelled pixels of all crops.
    """

    def __init__(self, crops: Sequence[Crop], total: int):
        self._crops, self._share = crops, min(1, PIXELS / max(1, total))
        self._labels: list[Tensor] = []
        self._logits: list[Tensor] = []

    def add(self, number: int, labels_BHW: Tensor, logits_BCHW: Tensor) -> None:
        """Keeps pixels of crop `number`, which is a batch of one."""
        crop, labels = self._crops[number], labels_BHW.flatten()
        drawn = torch.from_numpy(draw_pixels(crop.name, labels.numpy(), math.ceil(crop.valid * self._share)))
        self._labels.append(labels[drawn].long())
        self._logits.append(logits_BCHW[0].flatten(1)[:, drawn.to(logits_BCHW.device)].float().T.cpu())

    def calibration(self, legend: Legend, team: Team, device: torch.device) -> dict:
        """What a checkpoint keeps, from the samples of all processes of a team; {} where there is nothing to fit.

        `temperature`; `pixels`, how many were looked at; `error`, the expected calibration error (before, after);
        `classes`, the same by name, over the pixels that were given the class; None where there are none. Where the
        error would grow, the temperature is 1.
        """
        labels, logits = torch.zeros(0, dtype=torch.long), torch.zeros(0, len(legend))
        labels, logits = torch.cat([labels, *self._labels]), torch.cat([logits, *self._logits])

        def total(values: Tensor) -> Tensor:
            return team.total(values.to(device, torch.float64)).cpu()

        def loss(temperature: float) -> float:
            return total(_loss(labels, logits, temperature)).item()

        pixels, finite = total(torch.tensor([len(labels), logits.isfinite().all()])).tolist()
        if not pixels or finite < team.size:
            return {}
        temperature = round(_lowest(loss), 4)
        before, after = (total(_bins(labels, logits, t)) for t in (1.0, temperature))
        if _error(after) > _error(before):
            temperature, after = 1.0, before
        classes = {c.name: [_error(bins[c.id : c.id + 1]) for bins in (before, after)] for c in legend.classes}
        return {
            "temperature": temperature,
            "pixels": int(pixels),
            "error": [_error(before), _error(after)],
            "classes": {name: None if errors[0] is None else errors for name, errors in classes.items()},
        }


def _loss(labels_N: Tensor, logits_NC: Tensor, temperature: float) -> Tensor:
    """The sum of the negative log-likelihoods, float64."""
    cooled = logits_NC / temperature
    right = cooled.gather(1, labels_N[:, None])[:, 0] if len(labels_N) else cooled.sum(1)
    return (cooled.logsumexp(1) - right).sum(dtype=torch.float64)


def _lowest(loss) -> float:
    """The temperature of the lowest loss, which has one valley, by golden-section search over its logarithm."""
    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(LOWEST), math.log(HIGHEST)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    of_left, of_right = loss(math.exp(left)), loss(math.exp(right))
    for _ in range(ROUNDS):
        if of_left <= of_right:
            high, right, of_right = right, left, of_left
            left = high - ratio * (high - low)
            of_left = loss(math.exp(left))
        else:
            low, left, of_left = left, right, of_right
            right = low + ratio * (high - low)
            of_right = loss(math.exp(right))
    return math.exp((low + high) / 2)


def _bins(labels_N: Tensor, logits_NC: Tensor, temperature: float) -> Tensor:
    """By class that pixels were given and by range of confidence: pixels, sum of confidence, right ones; CB3."""
    classes = logits_NC.shape[1]
    confidence, given = (logits_NC / temperature).softmax(1).double().max(1)
    ranges = (confidence * BINS).long().clamp(max=BINS - 1)
    sums = torch.zeros(classes * BINS, 3, dtype=torch.float64)
    values = torch.stack([torch.ones_like(confidence), confidence, (given == labels_N).double()], 1)
    return sums.index_add_(0, given * BINS + ranges, values).view(classes, BINS, 3)


def _error(bins_CB3: Tensor) -> float | None:
    """The expected calibration error of some classes together, to six digits; None without pixels."""
    pixels, confidence, right = bins_CB3.sum(0).T
    total = pixels.sum().item()
    return round((confidence - right).abs().sum().item() / total, 6) if total else None


def draw_pixels(name: str, labels_N: np.ndarray, count: int) -> np.ndarray:
    """Places of `count` labelled pixels of a crop (of all, where it has fewer), rising: a choice by the crop's name."""
    labelled = np.flatnonzero(labels_N != NODATA)
    if count >= labelled.size:
        return labelled
    # Bare bits of this generator are promised to stay the same in all versions of numpy; its `choice` is not.
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    keys = np.random.PCG64(seed).random_raw(labelled.size)
    return labelled[np.sort(np.argpartition(keys, count)[:count])]
