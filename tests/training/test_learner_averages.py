"""Averages of weights: the moving one, and that over the cycles' ends; resumed, scored, kept."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learner_runs import CPU, EMA, HERE, SMALL, TINY, assert_close, batch, learner_of, record, stop_in_step
from outcomes import kept_files, rows_of, same

from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.system.interrupts import Interrupted
from jingwei.training import experiments, loop, run_files
from jingwei.training.datasets import validation_loader
from jingwei.training.experiments import score_experiment
from jingwei.training.learner import Learner
from jingwei.training.position import Position
from jingwei.training.recipes import SWA
from jingwei.training.validate import Validation, logits_of_crops, predicted
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


CYCLES = replace(SWA, **TINY | {"steps_per_epoch": 4}, cycles=2, warmup=0.0)


def assert_same_result(folder: Path, other: Path, names=("last.pt", "best.pt")) -> None:
    """Both runs ended with the same weights, optimizer, scores and log."""
    assert rows_of(folder) == rows_of(other)
    for name in names:
        ours, theirs = load_checkpoint(folder / name), load_checkpoint(other / name)
        assert same(dict(ours.weights), dict(theirs.weights)), f"the weights of {name} differ"
        assert same(ours.training, theirs.training), f"the optimizer state of {name} differs"
        assert ours.scores == theirs.scores


def followed(weights: list[dict], decay: float) -> dict:
    """The moving average over weights step by step, in float64; counters are those of the last step."""
    result = {name: tensor.double() for name, tensor in weights[0].items()}
    for number, current in enumerate(weights[1:], start=1):
        share = min(decay, (1 + number) / (10 + number))
        result = {name: share * result[name] + (1 - share) * tensor.double() for name, tensor in current.items()}
    return {n: t if weights[-1][n].is_floating_point() else weights[-1][n].double() for n, t in result.items()}


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
    monkeypatch.setattr(Learner, "validate", lambda *args, **how: Validation({"val_loss": next(losses)} | nothing, []))
    recipe = replace(CYCLES, steps_per_epoch=1, cycles=1, monitor="val_loss")
    folder = loop.train(project, recipe, "swa", HERE)
    best, swa = load_checkpoint(folder / "best.pt"), load_checkpoint(folder / "swa.pt")
    assert best.scores["val_loss"] == 0.4
    assert same(dict(best.weights), dict(swa.weights))


@pytest.mark.parametrize(("miou", "is_best"), [(0.6, True), (0.4, False), (0.3, False)])
def test_the_average_becomes_best_pt_where_it_scores_better(project, monkeypatch, miou, is_best):
    right_pixels = iter((40, 20, round(100 * miou)))  # of 100: two epochs, then the average

    def validate(*args, **how) -> Validation:
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
