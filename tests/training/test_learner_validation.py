"""The loss of a validation: the mean over its labelled pixels, once through the network."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from learner_runs import CPU, LOOK, SMALL, batch, learner_of, spoilt
from torch.nn import functional

from jingwei.legend import NODATA
from jingwei.models.checkpoints import load_checkpoint
from jingwei.models.segmenter import Segmenter
from jingwei.training import experiments
from jingwei.training.datasets import validation_loader
from jingwei.training.distributed import Team
from jingwei.training.learner import Learner
from jingwei.training.log_file import read_log
from jingwei.training.losses import dice, lovasz
from jingwei.training.start import Start
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


def crops_one_by_one(count: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Crops of unlike sizes and shares of labels, as a validation's loader gives them."""
    return [batch(k, 1, 32 * (1 + k % 2), unlabelled) for k, unlabelled in enumerate([0.9, 0.1, 0.5][:count])]


def logits_of(learner: Learner, pixels: torch.Tensor) -> torch.Tensor:
    """What the network says of a crop, in evaluation."""
    learner.model.eval()
    with torch.inference_mode(), torch.autocast("cpu", learner.precision, enabled=learner.precision != torch.float32):
        return learner.model(pixels.float().contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize(
    ("loss", "precision"), [("cross_entropy", "fp32"), ("cross_entropy", "bf16"), ("focal", "fp32")]
)
def test_the_loss_of_a_validation_is_the_mean_over_its_labelled_pixels(loss, precision):
    learner, crops = (
        learner_of(replace(SMALL, loss=loss, precision=precision)),
        crops_one_by_one(),
    )  # with auxiliary head
    per_pixel = []
    for pixels, labels in crops:
        nll = functional.cross_entropy(
            logits_of(learner, pixels).double(), labels.long(), ignore_index=NODATA, reduction="none"
        )
        nll = nll[labels != NODATA]
        per_pixel.append(nll if loss == "cross_entropy" else (1 - torch.exp(-nll)) ** 2 * nll)
    found = learner.validate(crops, learner.model).scores
    assert found["val_loss"] == pytest.approx(torch.cat(per_pixel).mean().item(), abs=2e-6)
    assert found["pixels"] == sum(int((labels != NODATA).sum()) for _, labels in crops)


def test_a_loss_that_is_none_of_pixels_is_taken_over_each_crop_and_weighs_as_its_labels():
    learner, crops = learner_of(replace(SMALL, loss="dice+0.5*lovasz")), crops_one_by_one()
    losses = [
        float(dice(logits, labels) + 0.5 * lovasz(logits, labels))
        for logits, labels in ((logits_of(learner, pixels), labels) for pixels, labels in crops)
    ]
    weights = [int((labels != NODATA).sum()) for _, labels in crops]
    found = learner.validate(crops, learner.model).scores["val_loss"]
    assert found == pytest.approx(np.average(losses, weights=weights), abs=2e-6)


def test_a_crop_without_a_label_adds_nothing_and_a_validation_of_such_has_no_loss():
    learner, crops = learner_of(), crops_one_by_one()
    unlabelled = [(pixels.float() * math.nan, labels) for pixels, labels in [batch(9, 1, 32, unlabelled=1.0)]]
    expected = learner.validate(crops, learner.model).scores
    assert learner.validate(unlabelled + crops, learner.model).scores == expected
    assert learner.validate(unlabelled, learner.model).scores["val_loss"] is None
    assert learner.validate(spoilt(crops), learner.model).scores["val_loss"] is None  # it is no number


def test_a_validation_runs_the_network_once_and_draws_no_random_number(monkeypatch):
    learner, crops, calls = learner_of(), crops_one_by_one(), []
    forward = Segmenter.forward
    monkeypatch.setattr(Segmenter, "forward", lambda *args: calls.append(1) or forward(*args))
    before = torch.get_rng_state()
    learner.validate(crops, learner.model)
    assert len(calls) == len(crops)
    assert torch.equal(torch.get_rng_state(), before)


def test_log_and_checkpoints_have_the_loss_of_the_validation(cut, looked_at):
    rows = read_log(looked_at / "log.csv")
    best = max(rows, key=lambda row: row["miou"])
    names = list(rows[0])
    assert names.index("grad_norm") < names.index("val_loss") < names.index("miou")
    assert load_checkpoint(looked_at / "last.pt").scores["val_loss"] == rows[-1]["val_loss"]
    kept = load_checkpoint(looked_at / "best.pt")
    assert kept.scores["val_loss"] == best["val_loss"] > 0
    data = experiments.read_training_data(Workspace(cut))
    learner = Learner(LOOK, data.kind, CPU, Team(), Start())
    loader = validation_loader(data.folder, data.validation, kept.mean, 0)
    found = learner.validate(loader, kept.build()).scores["val_loss"]
    assert found == pytest.approx(best["val_loss"], abs=1e-4)  # another memory layout rounds otherwise
