"""A step of training: one that is not a number, one that memory does not suffice for."""

import copy
import math
import re
from dataclasses import replace

import pytest
import torch
from learner_runs import (
    EMA,
    HERE,
    SMALL,
    batch,
    learner_of,
    record,
    spoilt,
    stop_in_step,
)
from outcomes import kept_files, rows_of, same

from jingwei.crops.table import TRAIN, read_crops
from jingwei.errors import TrainingError
from jingwei.models.checkpoints import load_checkpoint
from jingwei.system.interrupts import Interrupted
from jingwei.training import loop
from jingwei.training.datasets import TrainingWindows
from jingwei.training.learner import Learner
from jingwei.training.position import Position

pytestmark = pytest.mark.usefixtures("one_thread")


def state_of(learner: Learner) -> dict:
    """A copy of all that a step may change."""
    return copy.deepcopy({"weights": dict(learner.model.state_dict())} | learner.state())


def blow_up(learner: Learner) -> None:
    """Makes the last layer so steep that the loss is still a number, but the length of its gradient isn't."""
    with torch.no_grad():
        learner.model.network.segmentation_head[0].weight *= 1e30


def spoil(patch, places: set, before=lambda learner: None, how=spoilt) -> None:
    """Spoils the steps at some places (epoch, step) of all runs; `before` is called when one is reached."""
    step = Learner.step

    def made(learner, place, batches):
        if (place.epoch, place.step) in places:
            before(learner)
            batches = how(batches)
        return step(learner, place, batches)

    patch.setattr(Learner, "step", made)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_without_a_finite_loss_leaves_all_as_it_was(accumulate):
    recipe = replace(EMA, schedule="constant", warmup=0.0, accumulate=accumulate)
    learner, twin = learner_of(recipe), learner_of(recipe)
    batches = [[batch(10 * step + number) for number in range(accumulate)] for step in range(4)]
    for each in (learner, twin):
        for step in (0, 1):
            assert each.step(Position(0, step), batches[step]).good
    before = state_of(learner)
    assert before["optimizer"]["state"]
    assert before["average"]["n_averaged"] == 2
    good, values = learner.step(Position(0, 2), [*batches[2][:-1], *spoilt(batches[2][-1:])])
    assert not good
    assert math.isnan(values["loss"])
    assert same(state_of(learner), before)
    for each in (learner, twin):
        assert each.step(Position(1, 0), batches[3]).good
    assert same(state_of(learner), state_of(twin))
    assert not same(state_of(learner), before)


def test_a_step_without_a_finite_gradient_leaves_all_as_it_was():
    learner = learner_of(replace(EMA, schedule="constant", warmup=0.0, clip_grad=1.0))
    assert learner.step(Position(0, 0), [batch(0)]).good
    blow_up(learner)
    before = state_of(learner)
    good, values = learner.step(Position(0, 1), [batch(1)])
    assert not good
    assert math.isfinite(values["loss"])
    assert math.isinf(values["grad_norm"])
    assert same(state_of(learner), before)


def test_a_loss_that_is_no_number_leaves_the_scaler_of_fp16_ready_for_the_next_step():
    learner = learner_of()
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    assert learner.step(Position(0, 0), [batch(0)]).good
    before = state_of(learner)
    for step in (1, 2):
        assert not learner.step(Position(0, step), spoilt([batch(1)])).good
    assert same(state_of(learner)["weights"], before["weights"])
    assert learner.scaler.get_scale() == 1024
    assert learner.step(Position(1, 0), [batch(2)]).good
    assert not same(state_of(learner)["weights"], before["weights"])


def test_an_overflow_of_fp16_lowers_the_scale_and_is_no_bad_step():
    learner = learner_of()
    learner.loss_terms = {"cross_entropy": (1.0, lambda logits, labels: 1e3 * logits.sum())}
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = [p.clone() for p in learner.model.parameters()]
    good, values = learner.step(Position(), [batch(0)])
    assert good
    assert math.isfinite(values["loss"])
    assert "grad_norm" not in values
    assert same(list(learner.model.parameters()), before)
    assert learner.scaler.get_scale() == 2.0**126


@pytest.mark.parametrize(
    ("before", "how", "problem"),
    [(lambda learner: None, spoilt, "the loss is nan"), (blow_up, list, "the grad_norm is inf")],
    ids=["loss", "gradient"],
)
def test_a_diverging_run_names_its_crops_and_leaves_the_last_epochs_files(project, monkeypatch, before, how, problem):
    folder, drawn, kept = project.experiment(SMALL.name, "wild"), [], {}
    item = TrainingWindows.__getitem__
    monkeypatch.setattr(TrainingWindows, "__getitem__", lambda windows, draw: drawn.append(draw) or item(windows, draw))

    def reached(learner):
        before(learner)
        kept.update(kept_files(folder))

    spoil(monkeypatch, {(1, 1)}, reached, how)
    with pytest.raises(TrainingError) as caught:
        loop.train(project, replace(SMALL, steps_per_epoch=2), "wild", HERE)
    assert {"last.pt", "best.pt", "log.csv"} < kept.keys()
    assert kept_files(folder) == kept
    crops = [crop.name for crop in read_crops(project.crops) if crop.split == TRAIN]
    names = dict.fromkeys(crops[draw.crop] for draw in drawn[-SMALL.batch_size :])
    assert f"{problem} in epoch 2, step 2, with the crops {', '.join(names)}: lower `base_lr`" in str(caught.value)
    assert re.search(rf"{folder / 'last.pt'}[^;:]* is intact", str(caught.value))


def test_a_bad_step_that_may_be_skipped_costs_its_step_alone(project, monkeypatch):
    spoil(monkeypatch, {(0, 1)})
    weights, losses = record(monkeypatch), []
    step = Learner._step

    def made(learner, batches):
        outcome = step(learner, batches)
        losses.append(outcome[1]["loss"])
        return outcome

    monkeypatch.setattr(Learner, "_step", made)
    folder = loop.train(project, replace(SMALL, epochs=1), "bad", replace(HERE, skip_bad_steps=1))
    assert same(weights[1], weights[0])
    assert not same(weights[2], weights[1])
    for name in ("last.pt", "best.pt"):
        assert all(tensor.isfinite().all() for tensor in load_checkpoint(folder / name).weights.values())
    assert math.isnan(losses[1])
    assert rows_of(folder)[0]["loss"] == pytest.approx((losses[0] + losses[2]) / 2, rel=1e-5)
    assert load_checkpoint(folder / "last.pt").training["bad_steps"] == 1


def test_an_epoch_of_nothing_but_skipped_steps_is_scored_and_costs_the_log_nothing(project, monkeypatch):
    spoil(monkeypatch, {(1, 0), (1, 1)})
    folder = loop.train(project, replace(SMALL, steps_per_epoch=2), "bad", replace(HERE, skip_bad_steps=2))
    first, second = rows_of(folder)
    assert second["miou"] == first["miou"]
    assert second.get("loss") is None or math.isnan(second["loss"])
    assert all(first[name] > 0 for name in ("loss", "cross_entropy", "auxiliary", "grad_norm"))


def test_more_bad_steps_than_may_be_skipped_end_the_run_even_over_a_resume(project, monkeypatch):
    recipe, options = replace(SMALL, epochs=1, steps_per_epoch=4), replace(HERE, skip_bad_steps=1)
    spoil(monkeypatch, {(0, 0), (0, 3)})
    with monkeypatch.context() as patch:
        stop_in_step(patch, 2)
        with pytest.raises(Interrupted):
            loop.train(project, recipe, "bad", options)
    folder = project.experiment(recipe.name, "bad")
    assert load_checkpoint(folder / "last.pt").training["bad_steps"] == 1
    before = kept_files(folder)
    with pytest.raises(TrainingError, match="epoch 1, step 4, .*`skip_bad_steps`") as caught:
        loop.train(project, recipe, "bad", options)
    assert "nothing was saved" not in str(caught.value)  # two steps were
    assert kept_files(folder) == before
    loop.train(project, recipe, "bad", replace(options, skip_bad_steps=2))
    assert load_checkpoint(folder / "last.pt").training["bad_steps"] == 2


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:9] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."
    ),
]


def failing(error: Exception, backward: bool):
    """A loss whose calculation, or that of its gradient, ends in an error."""

    def fail(*args):
        raise error

    def loss(logits, labels):
        if backward:
            logits.register_hook(fail)
            return logits.sum()
        return fail()

    return loss


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_the_end_of_memory_says_what_to_lower(error, backward):
    learner = learner_of(replace(SMALL, crop_sizes=(64, 48)))
    learner.loss_terms = {"cross_entropy": (1.0, failing(error, backward))}
    with pytest.raises(TrainingError) as caught:
        learner.step(Position(0, 1), [batch(0, count=7, size=48)])
    for part in ("out of memory", "7 windows of 48 x 48 px", "cpu", "batch_size", "accumulate", "crop_size"):
        assert part in str(caught.value)
    assert caught.value.__cause__ is error


def test_another_error_of_torch_keeps_its_traceback():
    learner = learner_of()
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    learner.loss_terms = {"cross_entropy": (1.0, failing(error, backward=False))}
    with pytest.raises(RuntimeError) as caught:
        learner.step(Position(), [batch(0)])
    assert caught.value is error
