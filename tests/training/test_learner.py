"""What one step, one average and one start do to a network: against sums by hand, and against runs without mishap."""

import copy
import csv
import json
import math
import os
import re
import runpy
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from outcomes import rows_of, same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import TRAIN, read_crops
from jingwei.errors import TrainingError
from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.legend import JINGWEI, NODATA, Legend
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import Segmenter, build_model
from jingwei.models.spec import ModelSpec
from jingwei.models.weights import IMAGENET
from jingwei.raster.crop_files import read_label_crop
from jingwei.raster.preview import painted
from jingwei.system.interrupts import Interrupted
from jingwei.training import experiments, loop, run_files, start
from jingwei.training.datasets import TrainingWindows, validation_loader
from jingwei.training.distributed import Team
from jingwei.training.experiments import score_experiment
from jingwei.training.learner import Learner
from jingwei.training.log_file import read_log
from jingwei.training.loop import RunOptions
from jingwei.training.losses import dice, lovasz
from jingwei.training.position import Position
from jingwei.training.recipes import CROSS_ENTROPY, MULTISCALE, SWA, read_recipe
from jingwei.training.start import DataKind, Start
from jingwei.training.validate import Validation, logits_of_crops, predicted
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
HERE = RunOptions(device="cpu", workers=0)
CPU = torch.device("cpu")
TINY = {
    "model": "attention_unet",
    "backbone": "mobilenetv3_small_050",
    "output_stride": 16,
    "pretrained": False,
    "epochs": 2,
    "steps_per_epoch": 3,
    "batch_size": 4,
    "crop_sizes": (64,),
    "precision": "fp32",
    "optimizer": "adamw",
    "base_lr": 0.002,
    "last_mult": 2.0,
}
SMALL = replace(CROSS_ENTROPY, **TINY)
EMA = replace(SMALL, ema=0.6)  # low, so that few steps reach it
CYCLES = replace(SWA, **TINY | {"steps_per_epoch": 4}, cycles=2, warmup=0.0)
# One step that changes nothing that can be seen: what is in last.pt is what the run began with.
STILL = replace(SMALL, epochs=1, steps_per_epoch=1, base_lr=1e-12, warmup=0.0, weight_decay=0.0)
KIND = DataKind("uint8", (100.0,) * 3, (50.0,) * 3, JINGWEI, (1000,) * len(JINGWEI))


@pytest.fixture(scope="module")
def cut(county, tmp_path_factory) -> Path:
    """A project folder with 64-px training crops. Only to be read."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("cut")
    cut_train(Workspace(root), Workspace(county).train_scenes(), CutSettings(64, 64), JINGWEI, workers=2)
    return root


@pytest.fixture
def project(cut, tmp_path) -> Workspace:
    """A project folder of one's own."""
    shutil.copytree(cut / "train", tmp_path / "train")
    return Workspace(tmp_path)


def assert_same_result(folder: Path, other: Path, names=("last.pt", "best.pt")) -> None:
    """Both runs ended with the same weights, optimizer, scores and log."""
    assert rows_of(folder) == rows_of(other)
    for name in names:
        ours, theirs = load_checkpoint(folder / name), load_checkpoint(other / name)
        assert same(dict(ours.weights), dict(theirs.weights)), f"the weights of {name} differ"
        assert same(ours.training, theirs.training), f"the optimizer state of {name} differs"
        assert ours.scores == theirs.scores


def kept_files(folder: Path) -> dict[str, bytes]:
    """The files that mean something: all but TensorBoard's."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("events")}


def learner_of(recipe=SMALL, kind: DataKind = KIND, start: Start | None = None) -> Learner:
    """A learner about to make its first step."""
    learner = Learner(recipe, kind, CPU, Team(), start or Start())
    learner.load_start()
    learner.begin_epoch()
    return learner


def batch(seed: int, count: int = 4, size: int = 64, unlabelled: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows: (pixels_BCHW uint8, labels_BHW uint8), a share of them NODATA."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(JINGWEI), (count, size, size), dtype=np.uint8)
    labels[rng.random(labels.shape) < unlabelled] = NODATA
    pixels = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def state_of(learner: Learner) -> dict:
    """A copy of all that a step may change."""
    return copy.deepcopy({"weights": dict(learner.model.state_dict())} | learner.state())


def blow_up(learner: Learner) -> None:
    """Makes the last layer so steep that the loss is still a number, but the length of its gradient isn't."""
    with torch.no_grad():
        learner.model.network.segmentation_head[0].weight *= 1e30


def spoilt(batches: list) -> list:
    """Batches of pixels that are no numbers."""
    return [(pixels.float() * math.nan, labels) for pixels, labels in batches]


def spoil(patch, places: set, before=lambda learner: None, how=spoilt) -> None:
    """Spoils the steps at some places (epoch, step) of all runs; `before` is called when one is reached."""
    step = Learner.step

    def made(learner, place, batches):
        if (place.epoch, place.step) in places:
            before(learner)
            batches = how(batches)
        return step(learner, place, batches)

    patch.setattr(Learner, "step", made)


def record(patch) -> list[dict]:
    """The weights and buffers after each step that is made from now on."""
    step, kept = Learner.step, []

    def recorded(learner, place, batches):
        made = step(learner, place, batches)
        kept.append({name: tensor.clone() for name, tensor in learner.model.state_dict().items()})
        return made

    patch.setattr(Learner, "step", recorded)
    return kept


def stop_in_step(patch, nth: int) -> None:
    """Sends this process a SIGTERM in the nth step from now on."""
    step, calls = Learner.step, []

    def stopped(learner, place, batches):
        calls.append(1)
        if len(calls) == nth:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(learner, place, batches)

    patch.setattr(Learner, "step", stopped)


# ---- steps that are no numbers ----


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


# ---- memory ----

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


# ---- the loss of a validation ----


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


# ---- the moving average ----


def followed(weights: list[dict], decay: float) -> dict:
    """The moving average over weights step by step, in float64; counters are those of the last step."""
    result = {name: tensor.double() for name, tensor in weights[0].items()}
    for number, current in enumerate(weights[1:], start=1):
        share = min(decay, (1 + number) / (10 + number))
        result = {name: share * result[name] + (1 - share) * tensor.double() for name, tensor in current.items()}
    return {n: t if weights[-1][n].is_floating_point() else weights[-1][n].double() for n, t in result.items()}


def assert_close(ours: dict, theirs: dict, names=None) -> None:
    """Both hold about the same tensors."""
    assert ours.keys() == theirs.keys()
    for name in names or ours:
        torch.testing.assert_close(ours[name].double(), theirs[name].double(), rtol=1e-4, atol=1e-5, msg=name)


@pytest.fixture(scope="module")
def averaged_run(cut) -> tuple[Path, list[dict]]:
    """The folder of a run of EMA, only to be read, and its weights after each step."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        weights = record(patch)
        return loop.train(Workspace(cut), EMA, "averaged", HERE), weights


def test_best_pt_holds_the_averaged_weights_and_last_pt_the_raw_ones(cut, averaged_run):
    folder, weights = averaged_run
    best, last = load_checkpoint(folder / "best.pt"), load_checkpoint(folder / "last.pt")
    assert same(dict(last.weights), weights[-1])
    steps = EMA.steps_per_epoch * max(rows_of(folder), key=lambda row: row["miou"])["epoch"]
    assert_close(best.weights, followed(weights[:steps], EMA.ema))
    raw = weights[steps - 1]
    assert not any(same(best.weights[name], raw[name]) for name in raw if name.endswith("conv1.0.weight"))
    average = {name.removeprefix("module."): tensor for name, tensor in last.training["average"].items()}
    assert average.pop("n_averaged") == len(weights) == 6
    assert_close(average, followed(weights, EMA.ema))


def test_it_is_the_averaged_network_that_is_scored(cut, averaged_run):
    folder, _ = averaged_run
    matrix, legend, _ = score_experiment(Workspace(cut), EMA.name, "averaged", "cpu", 0)
    best = max(rows_of(folder), key=lambda row: row["miou"])
    assert scores(matrix, legend)["miou"] == best["miou"] == load_checkpoint(folder / "best.pt").score


def test_a_run_with_a_moving_average_goes_on_to_the_same_end(project, averaged_run, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in_step(patch, 5)
        with pytest.raises(Interrupted, match="epoch 2, step 2"):
            loop.train(project, EMA, "stopped", HERE)
    folder = loop.train(project, EMA, "stopped", HERE)
    assert_same_result(folder, averaged_run[0])


def test_a_moving_average_can_be_switched_on_for_the_rest_of_a_run(project, monkeypatch):
    folder = loop.train(project, replace(SMALL, epochs=1), "late", HERE)
    weights = record(monkeypatch)
    loop.train(project, EMA, "late", replace(HERE, resume=folder / "last.pt"))
    average = load_checkpoint(folder / "last.pt").training["average"]
    assert average.pop("n_averaged") == len(weights) == 3
    average = {name.removeprefix("module."): tensor for name, tensor in average.items()}
    assert_close(average, followed(weights, EMA.ema))


def checkpoint_of(learner: Learner) -> Checkpoint:
    """What a run with this learner would go on from."""
    return learner.checkpoint(learner.model, {}, learner.state())


@pytest.mark.parametrize(("before", "after"), [("ema", "cycles"), ("cycles", "ema")])
def test_one_kind_of_average_does_not_go_on_from_the_other(before, after):
    recipes = {"ema": replace(CYCLES, average_cycles=False, ema=0.6), "cycles": CYCLES}
    first, second = learner_of(recipes[before]), learner_of(recipes[after])
    for step in range(4):
        first.step(Position(0, step), [batch(step)])
        first.note_cycle_end(step + 1)
    assert first.average.n_averaged > 0
    second.load(checkpoint_of(first), Path("last.pt"))
    assert second.average.n_averaged == 0
    assert same(dict(second.average.module.state_dict()), dict(second.model.state_dict()))
    assert same(dict(second.model.state_dict()), dict(first.model.state_dict()))


def test_a_run_begun_without_fp16_goes_on_with_it():
    """`auto` is bf16 on one machine and fp16 on another."""
    first, second = learner_of(), learner_of()
    second.scaler = torch.amp.GradScaler("cpu")
    second.load(checkpoint_of(first), Path("last.pt"))
    assert second.scaler.get_scale() == torch.amp.GradScaler("cpu").get_scale()


# ---- the average over cycles ----


@pytest.fixture(scope="module")
def swa_run(cut) -> tuple[Path, list[dict]]:
    """The folder of a run of CYCLES, only to be read, and its weights after each step."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        weights = record(patch)
        return loop.train(Workspace(cut), CYCLES, "swa", HERE), weights


def test_swa_pt_is_the_mean_of_the_weights_at_the_cycles_ends(swa_run):
    folder, weights = swa_run
    assert len(weights) == 8
    # A first descent over half of the 8 steps, then two cycles over the rest.
    ends = [weights[done - 1] for done in (4, 6, 8)]
    mean = {name: sum(end[name].double() for end in ends) / 3 for name in ends[0]}
    swa, last = load_checkpoint(folder / "swa.pt"), load_checkpoint(folder / "last.pt")
    names = [name for name, _ in swa.build().named_parameters()]
    assert len(names) > 100
    assert_close(swa.weights, mean, names)
    assert not same([swa.weights[name] for name in names], [last.weights[name] for name in names])
    assert swa.training is None


def test_swa_pt_has_batch_norms_of_its_own(swa_run):
    folder, _ = swa_run
    swa, last = load_checkpoint(folder / "swa.pt").weights, load_checkpoint(folder / "last.pt").weights
    used = [name for name in swa if "running_" in name and not name.startswith("auxiliary")]
    assert len(used) > 20
    for name in used:
        assert swa[name].isfinite().all(), name
        assert not torch.equal(swa[name], last[name]), name
    assert all((swa[name] >= 0).all() for name in used if name.endswith("running_var"))


def test_swa_pt_is_scored_on_the_validation(cut, swa_run):
    data, swa = experiments.read_training_data(Workspace(cut)), load_checkpoint(swa_run[0] / "swa.pt")
    matrix = ConfusionMatrix(len(JINGWEI))
    loader = validation_loader(data.folder, data.validation, swa.mean, 0)
    for _, labels, logits in logits_of_crops(swa.build(), loader, CPU, torch.float32):
        matrix.update(labels.numpy(), predicted(logits))
    expected = scores(matrix, JINGWEI)
    assert swa.scores["pixels"] == expected["pixels"] > 0
    assert swa.score == pytest.approx(expected["miou"], abs=1e-3)  # another memory layout may round a tie otherwise


def test_an_average_with_a_lower_validation_loss_becomes_best_pt_where_that_is_monitored(project, monkeypatch):
    losses = iter([0.5, 0.7, 0.4])  # two epochs, then the average
    nothing = scores(ConfusionMatrix(len(JINGWEI)), JINGWEI)
    monkeypatch.setattr(Learner, "validate", lambda *args: Validation({"val_loss": next(losses)} | nothing, []))
    recipe = replace(CYCLES, steps_per_epoch=1, cycles=1, monitor="val_loss")
    folder = loop.train(project, recipe, "swa", HERE)
    best, swa = load_checkpoint(folder / "best.pt"), load_checkpoint(folder / "swa.pt")
    assert best.scores["val_loss"] == 0.4
    assert same(dict(best.weights), dict(swa.weights))


@pytest.mark.parametrize(("miou", "is_best"), [(0.6, True), (0.4, False), (0.3, False)])
def test_the_average_becomes_best_pt_where_it_scores_better(project, monkeypatch, miou, is_best):
    right_pixels = iter((40, 20, round(100 * miou)))  # of 100: two epochs, then the average

    def validate(*args) -> Validation:
        matrix = ConfusionMatrix(len(JINGWEI))
        matrix.update(np.ones(100, np.uint8), (np.arange(100) < next(right_pixels)).astype(np.uint8))
        return Validation({"val_loss": 1.0} | scores(matrix, JINGWEI), [])

    monkeypatch.setattr(Learner, "validate", validate)
    folder = loop.train(project, replace(CYCLES, steps_per_epoch=1, cycles=1), "swa", HERE)
    best, swa = load_checkpoint(folder / "best.pt"), load_checkpoint(folder / "swa.pt")
    assert swa.score == miou
    assert best.score == max(miou, 0.4)
    assert same(dict(best.weights), dict(swa.weights)) == is_best


def test_running_a_finished_swa_again_changes_no_file(project, swa_run):
    folder = project.experiment(CYCLES.name, "swa")
    shutil.copytree(swa_run[0], folder)
    before = kept_files(folder)
    assert "swa.pt" in before
    loop.train(project, CYCLES, "swa", HERE)
    assert kept_files(folder) == before


def test_an_average_over_other_crops_is_made_anew(project, swa_run):
    folder = project.experiment(CYCLES.name, "swa")
    shutil.copytree(swa_run[0], folder)
    average = load_checkpoint(folder / "swa.pt")
    save_checkpoint(folder / "swa.pt", replace(average, crops="others"))
    loop.train(project, CYCLES, "swa", HERE)
    assert load_checkpoint(folder / "swa.pt").crops == average.crops != ""


def test_a_run_killed_before_its_average_was_written_makes_it_on_the_next_call(project, swa_run, monkeypatch):
    save = run_files.save_checkpoint

    def killed(*args):
        raise KeyboardInterrupt

    def save_but_swa(path, checkpoint):
        return killed() if path.name == "swa.pt" else save(path, checkpoint)

    for owner, name, work in [
        (Learner, "averaged_over_cycles", killed),
        (run_files, "save_checkpoint", save_but_swa),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, work)
            with pytest.raises(KeyboardInterrupt):
                loop.train(project, CYCLES, "swa", HERE)
    folder = project.experiment(CYCLES.name, "swa")
    assert not (folder / "swa.pt").exists()
    loop.train(project, CYCLES, "swa", HERE)
    assert_same_result(folder, swa_run[0], ("last.pt", "best.pt", "swa.pt"))


def test_a_run_stopped_between_two_cycles_ends_gives_the_same_average(project, swa_run, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in_step(patch, 5)
        with pytest.raises(Interrupted, match="epoch 2, step 1"):
            loop.train(project, CYCLES, "swa", HERE)
    folder = loop.train(project, CYCLES, "swa", HERE)
    assert_same_result(folder, swa_run[0], ("last.pt", "best.pt", "swa.pt"))


# ---- batches, gradients, sizes ----


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


# ---- where a run starts ----

ODD_MEAN, ODD_STD = (1.0, 2.0, 3.0), (40.0, 50.0, 60.0)


def source(path: Path, legend: Legend = JINGWEI) -> dict[str, torch.Tensor]:
    """Writes a checkpoint of a network like SMALL's with a normalisation of its own. Returns its weights."""
    torch.manual_seed(77)
    spec = ModelSpec(SMALL.model, SMALL.backbone, 3, len(legend), SMALL.output_stride, auxiliary=True)
    model = build_model(spec, ODD_MEAN, ODD_STD)
    spec = model.spec
    for name, buffer in model.named_buffers():
        if "running_" in name:
            buffer += torch.rand_like(buffer)
    content = Checkpoint(spec, "uint8", ODD_MEAN, ODD_STD, legend, SMALL.to_dict(), model.state_dict())
    save_checkpoint(path, content)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def statistics_of(folder: Path) -> tuple:
    """Mean and std as recipe.json has them."""
    content = json.loads((folder / "recipe.json").read_text())["statistics"]
    return tuple(content["mean"]), tuple(content["std"])


def test_an_experiment_to_start_from_gives_its_weights_and_its_normalisation(tmp_path):
    weights = source(tmp_path / "best.pt")
    learner = learner_of(replace(EMA, pretrained=True), start=Start(experiment=tmp_path / "best.pt"))
    assert (learner.kind.mean, learner.kind.std) == (ODD_MEAN, ODD_STD)
    assert same(dict(learner.model.state_dict()), weights)
    assert same(dict(learner.average.module.state_dict()), weights)


def test_an_experiment_of_other_classes_gives_all_but_the_heads(tmp_path):
    weights = source(tmp_path / "best.pt", Legend("own", JINGWEI.classes[:3]))
    fresh = learner_of().model.state_dict()
    learner = learner_of(start=Start(experiment=tmp_path / "best.pt"))
    assert (learner.kind.mean, learner.kind.std) == (ODD_MEAN, ODD_STD)
    state = learner.model.state_dict()
    heads = [name for name in state if state[name].shape != weights[name].shape]
    assert sorted(heads) == sorted(
        f"{layer}.{kind}" for layer in ("network.segmentation_head.0", "auxiliary.4") for kind in ("weight", "bias")
    )
    for name, tensor in state.items():
        assert torch.equal(tensor, fresh[name] if name in heads else weights[name]), name


def test_a_run_that_started_from_an_experiment_keeps_its_normalisation_when_it_goes_on(project, tmp_path, monkeypatch):
    weights = source(tmp_path / "best.pt")
    recipe = replace(STILL, epochs=2)
    with monkeypatch.context() as patch:
        stop_in_step(patch, 1)
        with pytest.raises(Interrupted):
            loop.train(project, recipe, "tuned", replace(HERE, init_from=tmp_path / "best.pt"))
    folder = project.experiment(recipe.name, "tuned")
    for options in (HERE, replace(HERE, resume=folder / "last.pt")):  # --init_from is needed for the start alone
        loop.train(project, recipe, "tuned", options)
        last = load_checkpoint(folder / "last.pt")
        assert_close(last.weights, weights, [name for name in weights if name.endswith("weight")])
        assert (tuple(last.weights["mean"].flatten().tolist()), last.mean) == (ODD_MEAN, ODD_MEAN)
        assert (tuple(last.weights["std"].flatten().tolist()), last.std) == (ODD_STD, ODD_STD)
        assert statistics_of(folder) == (ODD_MEAN, ODD_STD)


@pytest.fixture
def call(monkeypatch, capfd):
    """Runs a root script in this process: (script, arguments...) -> (status, stdout, stderr)."""

    def run(script: str, *arguments) -> tuple[int, str, str]:
        capfd.readouterr()
        status = 0
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [script, *map(str, arguments)])
            try:
                runpy.run_path(str(ROOT / script), run_name="__main__")
            except SystemExit as stopped:
                status = stopped.code or 0
        return status, *capfd.readouterr()

    return run


def test_init_from_takes_an_experiment_by_its_name_and_refuses_what_cannot_be(project, call):
    source(project.experiment("cross_entropy", "first") / "best.pt")
    source(project.experiment("swa", "second") / "best.pt")
    command = (
        f"--train --scratch --data_dir {project.root} --exp tuned --model {SMALL.model} --backbone {SMALL.backbone} "
        "--crop_size 64 --batch_size 2 --epochs 1 --steps_per_epoch 1 --workers 0 --device cpu --precision fp32"
    ).split()
    for arguments, parts in {
        ("--init_from", "swa/first"): ["swa/first", "known are cross_entropy/first, swa/second"],
        ("--init_from", "first"): ["--init_from first", "RECIPE/EXP"],
        ("--init_from", "swa/second", "--weights", "some.pt"): ["--init_from", "--weights", "one of them"],
    }.items():
        status, _, err = call("train.py", *command, *arguments)
        assert status == 2
        assert re.fullmatch(r"error: [^\n]+\n", err), err
        assert all(part in err for part in parts), err
    folder = project.experiment("cross_entropy", "tuned")
    assert not folder.exists()
    status, _, err = call("train.py", *command, "--init_from", "swa/second")
    assert status == 0, err
    assert statistics_of(folder) == (ODD_MEAN, ODD_STD)


OWN = {bands: ((90.0,) * bands, (30.0,) * bands) for bands in (1, 3, 4)}


@pytest.mark.parametrize(
    ("pretrained", "dtype", "bands", "expected"),
    [
        (True, "uint8", 3, tuple(tuple(255 * value for value in each) for each in IMAGENET)),
        (False, "uint8", 3, OWN[3]),
        (True, "uint16", 3, OWN[3]),
        (True, "float32", 3, OWN[3]),
        (True, "uint8", 4, OWN[4]),
        (True, "uint8", 1, OWN[1]),
    ],
)
def test_imagenets_statistics_are_for_its_weights_over_8_bit_rgb(monkeypatch, pretrained, dtype, bands, expected):
    loaded = []
    monkeypatch.setattr(start, "load_imagenet", lambda model, bands: loaded.append(model) or [])
    kind = DataKind(dtype, *OWN[bands], JINGWEI, KIND.class_pixels)
    learner = learner_of(replace(SMALL, pretrained=pretrained), kind)
    assert (learner.kind.mean, learner.kind.std) == expected
    np.testing.assert_allclose(learner.model.mean.flatten(), expected[0], rtol=1e-6)
    np.testing.assert_allclose(learner.model.std.flatten(), expected[1], rtol=1e-6)
    assert loaded == [learner.model] * pretrained


# ---- what a run leaves to look at ----

LOOK = replace(CROSS_ENTROPY, **TINY | {"optimizer": "sgd", "loss": "focal+0.5*lovasz"}, momentum=0.7)


@pytest.fixture(scope="module")
def looked_at(cut) -> Path:
    """The folder of a run of LOOK, only to be read."""
    torch.set_num_threads(1)
    return loop.train(Workspace(cut), LOOK, "look", HERE)


def test_recipe_json_has_the_recipe_and_the_statistics_of_the_training_crops(cut, looked_at):
    with open(Workspace(cut).crops, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == TRAIN]
    weights = np.array([float(row["valid"]) for row in rows])
    means, stds = (
        np.array([[float(row[f"{kind}_{band}"]) for band in (1, 2, 3)] for row in rows]) for kind in ("mean", "std")
    )
    mean = np.average(means, axis=0, weights=weights)
    std = np.sqrt(np.average(stds**2 + means**2, axis=0, weights=weights) - mean**2)
    np.testing.assert_allclose(statistics_of(looked_at), (mean, std), rtol=1e-9)
    last = load_checkpoint(looked_at / "last.pt")
    assert (last.mean, last.std) == statistics_of(looked_at)
    assert read_recipe(looked_at / "recipe.json") == LOOK


def test_log_and_tensorboard_have_every_term_score_and_rate(looked_at):
    rows = read_log(looked_at / "log.csv")
    events = EventAccumulator(str(looked_at)).Reload()
    names = {"loss", "focal", "lovasz", "auxiliary", "lr", "momentum", "grad_norm", "windows_per_s", "seconds"}
    names |= {"val_loss", "miou"} | {f"iou {name}" for name in JINGWEI.names}
    assert names < rows[0].keys()
    for name in names:
        values = {row["epoch"]: row[name] for row in rows if row[name] is not None}
        tag = name.replace("iou ", "iou/")
        found = {e.step: e.value for e in events.Scalars(tag)} if values else {}
        assert found == pytest.approx(values, rel=1e-6), tag
    for row in rows:
        assert row["loss"] == pytest.approx(row["focal"] + row["lovasz"] + row["auxiliary"], rel=1e-4)
        assert row["momentum"] == 0.7
        assert row["grad_norm"] > 0
        assert row["windows_per_s"] > 0
    # poly over 6 steps without a warm-up: that of each epoch's last step
    assert [row["lr"] for row in rows] == pytest.approx([0.002 * (1 - step / 6) ** 0.9 for step in (2, 5)], rel=1e-4)


def test_tensorboard_shows_scenes_beside_their_labels_and_predictions(cut, looked_at):
    data = experiments.read_training_data(Workspace(cut))
    labels = [read_label_crop(data.folder / "label" / crop.name) for crop in data.validation]
    events = EventAccumulator(str(looked_at), {"images": 0}).Reload()
    count = min(4, len(labels))
    assert count > 1
    tags = events.Tags()["images"]
    assert sorted(tags) == [f"validation/{number + 1}" for number in range(count)]
    colors = {land_class.color for land_class in JINGWEI.classes}
    shown = []
    for tag in sorted(tags):
        images = events.Images(tag)
        assert [image.step for image in images] == [1, 2]
        for image in images:
            assert (image.width, image.height) == (3 * 64, 64)
            picture = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            _, truth, prediction = np.split(picture, 3, axis=1)
            assert {tuple(color) for color in prediction.reshape(-1, 3).tolist()} <= colors
        shown.append([i for i, label in enumerate(labels) if np.array_equal(painted(label, JINGWEI), truth)])
    assert all(shown)
    assert len({tuple(each) for each in shown}) == count  # not one crop over and over
