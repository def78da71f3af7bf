"""Validation: what a network predicts for labelled crops, and how well."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.legend import NODATA, Legend
from jingwei.models.devices import autocast, to_device
from jingwei.system.progress import Progress
from jingwei.training.calibration import LogitSample
from jingwei.training.distributed import Team


class Validation(NamedTuple):
    """What a validation found: `scores` as of `metrics.scores`, with `val_loss`; and some crops to look at.

    `val_loss` is the recipe's loss without the auxiliary head's, each crop weighing as much as it has labelled pixels:
    for cross entropy and focal the mean over these pixels. Lovász, Dice and class weights are taken over each crop by
    itself. None where it is not finite. The `pictures` are (pixels_HWC, labels_HW, prediction_HW).
    """

    scores: dict
    pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def logits_of_crops(
    model: nn.Module,
    loader: DataLoader,
    device: torch.device,
    precision: torch.dtype,
    *,
    title: str = "validate",
    quiet: bool = False,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """What a network says about labelled crops, one by one: (pixels_BCHW, labels_BHW, logits_BCHW).

    The logits are on the device, all else on the CPU.
    """
    model.eval()
    for pixels, labels in Progress(loader, desc=title, unit="crop", disable=quiet, leave=False):
        with torch.inference_mode(), autocast(device, precision):  # not around the yield: whoever takes it may train
            logits = model(to_device(pixels, device))
        yield pixels, labels, logits


def predicted(logits_BCHW: Tensor) -> np.ndarray:
    """The class ids of the highest logits, uint8 of (B, H, W)."""
    return logits_BCHW.argmax(1).to(torch.uint8).cpu().numpy()


def validate(
    crops: Iterator[tuple[Tensor, Tensor, Tensor]],
    legend: Legend,
    loss: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
    team: Team,
    shown: set[int],
    after_each: Callable[[], None] | None = None,
    sample: LogitSample | None = None,
) -> Validation:
    """The scores over the labelled crops (as of `logits_of_crops`) of all processes of a team.

    `loss` is of (logits_BCHW, labels_BHW) on the device. The crops whose numbers are in `shown` are kept as pictures;
    `after_each` is called after each crop; the `sample` takes some pixels of each.
    """
    matrix, losses, pictures = ConfusionMatrix(len(legend)), [], []
    for number, (pixels, labels, logits) in enumerate(crops):
        labelled = int((labels != NODATA).sum())
        if labelled:
            with torch.inference_mode():
                losses.append(labelled * float(loss(logits, labels.to(device))))
        prediction = predicted(logits)
        matrix.update(labels.numpy(), prediction)
        if sample is not None:
            sample.add(number, labels, logits)
        if number in shown:
            pictures.append((pixels[0].numpy().transpose(1, 2, 0), labels[0].numpy(), prediction[0]))
        if after_each:
            after_each()
    matrix.counts = team.total_counts(matrix.counts, device)
    # Losses of float32 times pixels, added up in float64: however the crops are shared out, the same six digits.
    total = team.total(torch.tensor(math.fsum(losses), device=device, dtype=torch.float64)).item()
    found = scores(matrix, legend)
    mean_loss = round(total / found["pixels"], 6) if found["pixels"] and math.isfinite(total) else None
    return Validation({"val_loss": mean_loss} | found, pictures)
