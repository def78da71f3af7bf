"""A run that was stopped anywhere ends as if it had not been; what else may, and may not, change its end."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from learner_runs import HERE
from loop_runs import SMALL
from outcomes import assert_same_result, rows_of
from warm_processes import Running

from jingwei.models.checkpoints import load_checkpoint
from jingwei.training import loop, run_files
from jingwei.training.learner import Learner
from jingwei.training.log import TrainingLog
from jingwei.training.log_file import read_log

pytestmark = pytest.mark.usefixtures("one_thread")


def command(root: Path, exp: str, recipe=SMALL) -> list[str]:
    """train.py, and the flags that make it train SMALL."""
    flags = {
        "data_dir": root, "exp": exp, "model": recipe.model, "backbone": recipe.backbone,
        "output_stride": recipe.output_stride, "epochs": recipe.epochs, "steps_per_epoch": recipe.steps_per_epoch,
        "batch_size": recipe.batch_size, "precision": recipe.precision, "optimizer": recipe.optimizer,
        "base_lr": recipe.base_lr, "last_mult": recipe.last_mult, "workers": 1, "device": "cpu",
    }  # fmt: skip
    given = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    sizes = ["--crop_size", *map(str, recipe.crop_sizes)]
    return ["train.py", "--train", "--scratch", *given, *sizes]


def test_a_run_killed_after_an_epoch_ends_as_if_it_had_not_been(project, whole_run):
    folder = project.experiment(SMALL.name, "killed")
    running = Running(*command(project.root, "killed"))
    last, log = folder / "last.pt", folder / "log.csv"
    deadline = time.monotonic() + 120
    # An epoch writes its line of the log, then last.pt.
    while not (len(read_log(log)) >= 2 and last.exists() and last.stat().st_mtime_ns >= log.stat().st_mtime_ns):
        assert running.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    assert running.finish()[0] == -signal.SIGKILL
    assert load_checkpoint(last).training["epoch"] in (2, 3)
    status, _, errors = Running(*command(project.root, "killed")).finish()
    assert status == 0, errors
    assert_same_result(folder, whole_run)
    assert not list(folder.glob(".*.part"))


PLACES = {
    "while the log is written": (TrainingLog, "add", 3),
    "between log and checkpoint": (run_files, "save_checkpoint", 4),
    "between best.pt and last.pt": (run_files, "save_checkpoint", 2),
    "in the middle of an epoch": (Learner, "step", 8),
    "in the validation": (Learner, "validate", 3),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("place", PLACES)
def test_a_run_interrupted_anywhere_goes_on_to_the_same_end(project, whole_run, monkeypatch, place, workers):
    owner, name, nth = PLACES[place]
    work, calls = getattr(owner, name), []

    def interrupted(*args, **how):
        calls.append(1)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return work(*args, **how)

    options = replace(HERE, workers=workers)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.train(project, SMALL, "stopped", options)
    folder = loop.train(project, SMALL, "stopped", options)
    assert_same_result(folder, whole_run)


def test_loader_processes_change_nothing(project, whole_run):
    assert_same_result(loop.train(project, SMALL, "two", replace(HERE, workers=2)), whole_run)


def test_another_seed_learns_something_else(project, whole_run):
    folder = loop.train(project, replace(SMALL, seed=1, epochs=1), "other", HERE)
    assert rows_of(folder)[0]["loss"] != rows_of(whole_run)[0]["loss"]
