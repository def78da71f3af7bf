"""Batches of a step, gradients, windows of two sizes."""

import math
from dataclasses import replace

import pytest
import torch
from learner_runs import (
    HERE,
    SMALL,
    TINY,
    batch,
    learner_of,
)
from outcomes import same
from torch.nn import functional

from jingwei.crops.table import TRAIN, read_crops
from jingwei.legend import NODATA
from jingwei.models.segmenter import Segmenter
from jingwei.training import loop
from jingwei.training.learner import Learner
from jingwei.training.position import Position
from jingwei.training.recipes import MULTISCALE, read_recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def gradients(learner: Learner) -> dict[str, torch.Tensor]:
    """The gradients of the last step."""
    return {name: p.grad.clone() for name, p in learner.model.named_parameters() if p.grad is not None}


def length(tensors: dict[str, torch.Tensor]) -> float:
    """The length of all tensors as one vector."""
    return math.sqrt(sum(float((tensor.double() ** 2).sum()) for tensor in tensors.values()))


def parts_and_whole() -> tuple[list, list]:
    """Batches of unlike sizes and shares of labels, one without any; and all their windows as one batch."""
    parts = [batch(1, 2, 48, 0.9), batch(2, 5, 48, 0.1), batch(3, 2, 48, 1.0)]
    return parts, [tuple(torch.cat(each) for each in zip(*parts, strict=True))]


def test_batches_in_one_step_have_the_loss_and_the_gradient_of_all_their_pixels_together():
    parts, whole = parts_and_whole()
    found = []
    for batches in (parts, whole):
        learner = learner_of(replace(SMALL, schedule="constant"))
        learner.model.eval()  # batch norm and dropout would tell the batches apart
        if not found:
            with torch.no_grad():
                logits = learner.model(whole[0][0].float())
            expected = functional.cross_entropy(logits, whole[0][1].long(), ignore_index=NODATA).item()
        good, values = learner.step(Position(), batches)
        assert good
        assert values["loss"] == values["cross_entropy"] == pytest.approx(expected, rel=1e-5)
        found.append((values["grad_norm"], gradients(learner)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    for name, gradient in found[1][1].items():
        torch.testing.assert_close(found[0][1][name], gradient, rtol=1e-3, atol=1e-6, msg=name)
    assert length(found[1][1]) > 1e-3


def test_a_step_without_any_label_is_a_good_one_of_loss_0():
    learner = learner_of()
    good, values = learner.step(Position(), [batch(1, unlabelled=1.0), batch(2, unlabelled=1.0)])
    assert good
    assert (values["loss"], values["grad_norm"]) == (0, 0)


def test_a_gradient_is_shortened_to_clip_grad_and_never_stretched():
    found = {}
    for limit in (0.0, 1e-3, 1e3):
        learner = learner_of(replace(SMALL, clip_grad=limit))
        _, values = learner.step(Position(), [batch(0)])
        found[limit] = values["grad_norm"], gradients(learner)
    norm, free = found[0.0]
    assert norm == pytest.approx(length(free), rel=1e-5)
    assert 1e-3 < norm < 1e3
    assert {values[0] for values in found.values()} == {norm}  # the log has the length before
    assert length(found[1e-3][1]) == pytest.approx(1e-3, rel=1e-3)
    for name, gradient in free.items():
        torch.testing.assert_close(found[1e-3][1][name], gradient * (1e-3 / norm), rtol=1e-3, atol=1e-12, msg=name)
    assert same(found[1e3][1], free)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_windows_of_two_sizes_take_turns_in_batches_of_about_as_many_pixels(project, monkeypatch, accumulate):
    shapes, forward = [], Segmenter.forward

    def seen(model, pixels):
        if model.training:
            shapes.append(tuple(pixels.shape))
        return forward(model, pixels)

    monkeypatch.setattr(Segmenter, "forward", seen)
    sizes = {"crop_sizes": (64, 48), "steps_per_epoch": 0, "epochs": 1, "accumulate": accumulate}
    folder = loop.train(project, replace(MULTISCALE, **TINY | sizes), "sizes", HERE)
    pixels = sum(crop.valid for crop in read_crops(project.crops) if crop.split == TRAIN)
    steps = round(pixels / (4 * 64 * 64 * accumulate))
    assert steps > 1
    assert read_recipe(folder / "recipe.json").steps_per_epoch == steps
    turns = [(4, 3, 64, 64), (7, 3, 48, 48)]  # 7 x 48 x 48 px are just below 4 x 64 x 64
    assert shapes == [turns[step % 2] for step in range(steps) for _ in range(accumulate)]
