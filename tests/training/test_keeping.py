"""Which checkpoints a run keeps, what it watches, and what it stops for."""

import itertools
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from config_files import TINY
from matplotlib.axes import Axes
from outcomes import rows_of

from jingwei.configs.config import config_from_dict
from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import VALIDATION, read_crops, write_crops
from jingwei.errors import SettingError
from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.legend import GF2, JINGWEI
from jingwei.models.checkpoints import load_checkpoint, save_checkpoint
from jingwei.raster.png import write_png
from jingwei.system.interrupts import Interrupted
from jingwei.training import loop
from jingwei.training.curves import draw_curves
from jingwei.training.learner import Learner, Step
from jingwei.training.log import TrainingLog
from jingwei.training.loop import RunOptions
from jingwei.training.recipes import Recipe
from jingwei.training.run_files import Keeping
from jingwei.training.validate import Validation
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

HERE = RunOptions(device="cpu", workers=0)
QUICK = replace(
    config_from_dict(TINY).recipe, loss="cross_entropy", steps_per_epoch=1, batch_size=2, schedule="constant",
    monitor="miou", min_scale=1.0, max_scale=1.0, rotate=0.0,
)  # fmt: skip


@pytest.fixture
def project(draw_scene, tmp_path) -> Workspace:
    """A project folder with a few crops of 64 px."""
    pixels, labels = draw_scene(192, 192, seed=3)
    write_png(tmp_path / "a_train" / "image_1.png", pixels)
    write_png(tmp_path / "a_train" / "image_1_label.png", labels)
    workspace = Workspace(tmp_path)
    cut_train(workspace, workspace.train_scenes(), CutSettings(64, 64), JINGWEI, workers=1)
    return workspace


@pytest.fixture
def scripted(monkeypatch):
    """Lets validations find these shares of right pixels, and losses, in turn; a step writes its epoch to `std`."""

    def step(learner, place, batches) -> Step:
        learner.model.std.fill_(place.epoch + 1)
        return Step(True, {"loss": 1.0, "lr": 0.1})

    monkeypatch.setattr(Learner, "step", step)

    def script(shares, losses=()) -> list:
        asked, turns = [], itertools.zip_longest(shares, losses, fillvalue=1.0)

        def validate(learner, *args):
            asked.append(1)
            share, loss = next(turns)
            matrix = ConfusionMatrix(len(JINGWEI))
            matrix.update(np.ones(100, np.uint8), np.where(np.arange(100) < 100 * share, 1, 0).astype(np.uint8))
            return Validation({"val_loss": loss} | scores(matrix, JINGWEI), [])

        monkeypatch.setattr(Learner, "validate", validate)
        return asked

    return script


def epoch_of(path: Path) -> int:
    """The epoch whose weights a checkpoint of a scripted run has."""
    return int(load_checkpoint(path).weights["std"].flatten()[0])


@pytest.mark.parametrize(
    ("val_period", "save_period", "validated", "numbered"),
    [(1, 0, [1, 2, 3, 4, 5], []), (2, 3, [2, 4, 5], [3]), (101, 2, [5], [2, 4]), (4, 100, [4, 5], [])],
)
def test_the_best_is_never_lost(project, tmp_path, scripted, val_period, save_period, validated, numbered):
    shares = [0.1, 0.2, 0.3, 0.9, 0.4]
    scripted(shares[epoch - 1] for epoch in validated)
    keeping = Keeping(tmp_path / "run", ".pth", tmp_path / "events", save_period=save_period)
    folder = loop.run(project, replace(QUICK, epochs=5, val_period=val_period), keeping, HERE)
    rows = rows_of(folder)
    assert [row["epoch"] for row in rows if row.get("miou") is not None] == validated
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    best = max(validated, key=lambda epoch: shares[epoch - 1])
    assert load_checkpoint(folder / "best.pth").score == shares[best - 1]
    assert [epoch_of(folder / f"{name}.pth") for name in ("best", "last")] == [best, 5]
    assert all(epoch_of(folder / f"checkpoint-epoch{epoch}.pth") == epoch for epoch in numbered)
    last = load_checkpoint(folder / "last.pth").training
    assert (last["best_epoch"], last["best_score"]) == (best - 1, shares[best - 1])
    assert {path.name for path in folder.glob("checkpoint*")} == {f"checkpoint-epoch{epoch}.pth" for epoch in numbered}


@pytest.mark.parametrize(
    ("val_period", "early_stop", "shares", "epochs_run"),
    [
        (1, 2, [0.5, 0.6, 0.1, 0.2, 0.9], 4),
        (1, 3, [0.5, 0.6, 0.1, 0.2, 0.9, 0.1, 0.3, 0.4], 8),
        (3, 2, [0.5, 0.4, 0.9], 6),  # asked where there is a score, not between: after epoch 3 came 6
        (2, 4, [0.5, 0.4, 0.3, 0.9], 6),
        (2, 3, [0.1, 0.2, 0.3, 0.4, 0.5], 9),
    ],
)
def test_a_run_stops_once_it_has_long_not_been_better(
    project, tmp_path, scripted, val_period, early_stop, shares, epochs_run
):
    scripted(shares)
    recipe = replace(QUICK, epochs=9, val_period=val_period, early_stop=early_stop)
    keeping = Keeping(tmp_path / "run", ".pth", tensorboard=False)
    folder = loop.run(project, recipe, keeping, HERE)
    assert len(rows_of(folder)) == epochs_run
    before = (folder / "last.pth").read_bytes()
    loop.run(project, recipe, keeping, HERE)
    assert (folder / "last.pth").read_bytes() == before  # and stays stopped


def test_what_is_monitored_decides_what_is_best(project, tmp_path, monkeypatch, scripted):
    scripted([0.9, 0.1])
    losses, step = iter([3.0, 1.0, 2.0, 2.0]), Learner.step
    monkeypatch.setattr(Learner, "step", lambda *args: Step(True, step(*args).values | {"loss": next(losses)}))
    recipe = replace(QUICK, epochs=9, monitor="loss", early_stop=2, val_period=3)
    folder = loop.run(project, recipe, Keeping(tmp_path / "loss", ".pth"), HERE)
    state = load_checkpoint(folder / "last.pth").training
    assert (state["best_epoch"], state["best_score"], state["epoch"]) == (1, -1.0, 4)
    assert epoch_of(folder / "best.pth") == 2


def test_of_a_monitored_validation_loss_the_lowest_is_the_best_and_a_run_stops_once_it_no_longer_falls(
    project, tmp_path, scripted, monkeypatch
):
    # The best miou is in epoch 1, and the loss of the training is 1.0 all along. Without a number, no epoch is better.
    script = [0.9, 0.1, 0.2, 0.3, 0.4], [None, 0.7, 0.3, 0.5, 0.3]
    scripted(*script)
    recipe = replace(QUICK, epochs=9, monitor="val_loss", early_stop=2)
    folder = loop.run(project, recipe, Keeping(tmp_path / "run", ".pth"), HERE)
    state = load_checkpoint(folder / "last.pth").training
    assert (state["best_epoch"], state["best_score"], state["epoch"]) == (2, -0.3, 5)
    assert epoch_of(folder / "best.pth") == 3
    assert load_checkpoint(folder / "best.pth").scores["val_loss"] == 0.3
    assert [row["val_loss"] for row in rows_of(folder)] == script[1]
    scripted(*script)
    stopped = Keeping(tmp_path / "stopped", ".pth")
    add = TrainingLog.add
    with monkeypatch.context() as patch:
        patch.setattr(TrainingLog, "add", lambda log, epoch, *args: 1 / (4 - epoch) and add(log, epoch, *args))
        with pytest.raises(ZeroDivisionError):
            loop.run(project, recipe, stopped, HERE)
    assert load_checkpoint(stopped.file("last")).training["epoch"] == 4
    scripted(*(turns[4:] for turns in script))
    loop.run(project, recipe, stopped, replace(HERE, resume=stopped.file("last")))
    assert load_checkpoint(stopped.file("last")).training == state
    assert rows_of(stopped.folder) == rows_of(folder)


def test_a_first_epoch_whose_validation_loss_is_no_number_is_better_than_none(project, tmp_path, scripted):
    scripted([0.9, 0.1], [None, 1e6])
    recipe, keeping = replace(QUICK, epochs=1, monitor="val_loss"), Keeping(tmp_path / "run")
    folder = loop.run(project, recipe, keeping, HERE)
    assert epoch_of(folder / "best.pt") == 1
    loop.run(project, replace(recipe, epochs=2), keeping, replace(HERE, resume=folder / "last.pt"))
    assert epoch_of(folder / "best.pt") == 2


@pytest.mark.parametrize("changes", [{"monitor": "off"}, {"val_period": 0}])
def test_without_a_score_to_watch_the_last_epoch_is_the_best(project, tmp_path, scripted, changes):
    asked = scripted([0.9, 0.1, 0.5])
    recipe = replace(QUICK, epochs=3, **changes)
    folder = loop.run(project, recipe, Keeping(tmp_path / "off", ".pth"), HERE)
    assert len(asked) == (0 if "val_period" in changes else 3)
    assert [epoch_of(folder / f"{name}.pth") for name in ("best", "last")] == [3, 3]
    assert load_checkpoint(folder / "last.pth").training["epoch"] == 3


BACK = replace(QUICK, epochs=5)
RISING = [0.1, 0.2, 0.3, 0.4, 0.9]


@pytest.fixture
def go_back(project, tmp_path, scripted, monkeypatch):
    """Makes a run, goes back behind its second epoch for another three, and on for two: (recipe, scores by part...).

    Gives the run's folder and its last state after each part. Scores are shares of right pixels, 1 - loss of the
    validation and 1 - loss of the training alike.
    """

    def make(recipe: Recipe, *parts: list[float]):
        keeping = Keeping(tmp_path / "run", ".pth", save_period=2, tensorboard=False)
        starts = (None, "checkpoint-epoch2", "last")
        for part, start, epochs in zip(parts, starts, (5, 5, 7), strict=False):
            losses = [round(1 - share, 6) for share in part]
            scripted(part, losses)
            steps, step = iter(losses), Learner.step
            with monkeypatch.context() as patch:
                patch.setattr(Learner, "step", lambda *args: Step(True, step(*args).values | {"loss": next(steps)}))  # noqa: B023
                options = replace(HERE, resume=start and keeping.file(start))
                loop.run(project, replace(recipe, epochs=epochs), keeping, options)
            yield keeping.folder, load_checkpoint(keeping.file("last")).training

    return make


@pytest.mark.parametrize("monitor", ["miou", "val_loss", "loss"])
def test_a_run_that_goes_back_keeps_a_best_that_it_does_not_reach(go_back, monitor):
    best = []
    parts = go_back(replace(BACK, monitor=monitor), RISING, [0.5, 0.7, 0.6], [0.8, 0.95])
    for folder, state in parts:
        best.append((epoch_of(folder / "best.pth"), load_checkpoint(folder / "best.pth").scores["miou"]))
        best[-1] += (state["best_epoch"] + 1,)  # of the history that the run has now
    assert best == [(5, 0.9, 5), (5, 0.9, 4), (7, 0.95, 7)]


def test_a_run_that_goes_back_to_the_same_epochs_ends_in_the_same_state(go_back):
    (folder, first), (_, second) = go_back(BACK, RISING, RISING[2:])
    assert second == first
    assert epoch_of(folder / "best.pth") == 5


def test_a_run_that_goes_back_stops_early_by_its_own_epochs(go_back):
    recipe = replace(BACK, early_stop=2)
    _, (_, state), (_, end) = go_back(recipe, RISING, [0.3, 0.4, 0.5], [0.4, 0.3])
    assert (state["epoch"], state["best_epoch"]) == (5, 4)
    assert (end["epoch"], end["best_epoch"]) == (7, 4)


def test_where_nothing_is_monitored_a_run_that_goes_back_has_its_last_epoch_as_the_best(go_back):
    best = []
    for folder, _ in go_back(replace(BACK, monitor="off"), RISING, [0.1, 0.1, 0.05]):
        best.append(load_checkpoint(folder / "best.pth").scores["miou"])
    assert best == [0.9, 0.05]


def test_losses_of_another_kind_are_not_compared(project, tmp_path, scripted):
    scripted([0.5, 0.5], [0.1, 2.0])
    keeping = Keeping(tmp_path / "run", ".pth")
    recipe = replace(QUICK, monitor="val_loss")
    folder = loop.run(project, replace(recipe, epochs=1), keeping, HERE)
    options = replace(HERE, resume=folder / "last.pth")
    loop.run(project, replace(recipe, epochs=2, loss="focal"), keeping, options)
    assert epoch_of(folder / "best.pth") == 2


def test_a_changed_monitor_starts_with_a_best_of_its_own(project, tmp_path, scripted):
    scripted([0.9, 0.1, 0.2])
    keeping = Keeping(tmp_path / "run", ".pth")
    folder = loop.run(project, replace(QUICK, epochs=1), keeping, HERE)
    options = replace(HERE, resume=folder / "last.pth")
    loop.run(project, replace(QUICK, epochs=2, monitor="loss"), keeping, options)
    assert load_checkpoint(folder / "last.pth").training["best_score"] < 0


def test_a_run_of_a_version_with_fewer_settings_goes_on(project, tmp_path, scripted):
    scripted([0.5, 0.6])
    keeping = Keeping(tmp_path / "run")
    recipe = replace(QUICK, epochs=2)
    folder = loop.run(project, recipe, keeping, HERE)
    old = load_checkpoint(folder / "last.pt")
    fewer = {name: value for name, value in old.recipe.items() if name not in ("val_period", "flip", "rise")}
    save_checkpoint(folder / "last.pt", replace(old, recipe=fewer))
    loop.run(project, recipe, keeping, HERE)
    with pytest.raises(SettingError, match="other settings \\(flip True -> False\\)"):
        loop.run(project, replace(recipe, flip=False), keeping, HERE)


def test_curves_have_a_point_where_there_was_a_validation(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(Axes, "plot", lambda axes, x, y, **how: shown.append((how.get("label"), x, y)) or [])
    rows = [{"epoch": epoch, "loss": 1 / epoch, "lr": 0.1} for epoch in (1, 2, 3)]
    rows[1] |= {"val_loss": 0.6, "miou": 0.5, "iou building": 0.7, "iou grass": None}
    draw_curves(rows, GF2, tmp_path / "curves.png")
    lines = {label: (list(x), [round(value, 2) for value in y if value == value]) for label, x, y in shown}
    assert lines["loss"] == ([1, 2, 3], [1.0, 0.5, 0.33])
    assert lines["val_loss"] == ([2], [0.6])
    assert lines["mIoU"] == ([2], [0.5])
    assert lines["building"] == ([2], [0.7])
    assert lines["grass"] == ([2], [])
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_no_events_are_written_where_none_are_wanted(project, tmp_path, scripted):
    scripted([0.5])
    keeping = Keeping(tmp_path / "run", ".pth", tmp_path / "events", tensorboard=False, log_steps=1)
    folder = loop.run(project, replace(QUICK, epochs=1), keeping, HERE)
    assert not (tmp_path / "events").exists()
    assert not list(folder.glob("events*"))


@pytest.mark.parametrize(("monitor", "classes"), [("miou", (0,)), ("kappa", (2,)), ("fwiou", ())])
def test_a_validation_without_what_is_monitored_chooses_no_epoch(project, tmp_path, scripted, capfd, monitor, classes):
    """Else the first false alarm would beat all epochs without one."""
    crops = read_crops(project.crops)
    kept = [
        replace(c, pixels=tuple(9 * (i in classes) for i in range(5))) if c.split == VALIDATION else c for c in crops
    ]
    write_crops(project.crops, kept)
    scripted([0.9, 0.1, 0.5])
    recipe = replace(QUICK, epochs=3, monitor=monitor, early_stop=1)
    folder = loop.run(project, recipe, Keeping(tmp_path / "run", ".pth", tensorboard=False), HERE)
    assert epoch_of(folder / "best.pth") == 3
    assert f"no validation pixels that {monitor} is about: the last epoch counts" in capfd.readouterr().out


def test_a_run_that_goes_on_in_another_folder_keeps_what_is_better_than_that_folders_best(project, tmp_path, scripted):
    scripted([0.9, 0.8])
    one = loop.run(project, replace(QUICK, epochs=2), Keeping(tmp_path / "one"), HERE)
    scripted([0.2])
    two = loop.run(project, replace(QUICK, epochs=1), Keeping(tmp_path / "two"), HERE)
    scripted([0.5])
    resumed = replace(HERE, resume=one / "last.pt")
    loop.run(project, replace(QUICK, epochs=3), Keeping(tmp_path / "two"), resumed)
    assert epoch_of(two / "best.pt") == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_asked_to_stop_says_how_to_go_on(project, tmp_path, scripted, monkeypatch, number, request):
    scripted([0.5])
    step = Learner.step
    before = signal.signal(number, signal.SIG_DFL)  # where tests run by nohup, nobody hears SIGHUP
    request.addfinalizer(lambda: signal.signal(number, before))
    monkeypatch.setattr(Learner, "step", lambda *args: os.kill(os.getpid(), number) or step(*args))
    keeping = Keeping(tmp_path / "run", ".pth", config="{}")
    with pytest.raises(Interrupted, match=r"run/last.pth is saved: train.py -r .*run/last.pth goes on") as caught:
        loop.run(project, replace(QUICK, epochs=1), keeping, HERE)
    assert caught.value.signal_number == number
    assert load_checkpoint(tmp_path / "run" / "last.pth").training["step"] == 1
    assert (tmp_path / "run" / "config.json").read_text() == "{}"
    with pytest.raises(Interrupted, match="run2/last.pt is saved: the same command goes on"):
        loop.run(project, replace(QUICK, epochs=1), Keeping(tmp_path / "run2"), HERE)
