"""Ctrl-C, SIGTERM and kill -9 in the middle of an epoch: a run goes on as if it had not been stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from outcomes import assert_same_result
from warm_processes import Running

from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.models.checkpoints import load_checkpoint
from jingwei.system.interrupts import Interrupted, Interrupts
from jingwei.training import loop
from jingwei.training.learner import Learner
from jingwei.training.loop import RunOptions
from jingwei.training.recipes import CROSS_ENTROPY, Recipe
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
HERE = RunOptions(device="cpu", workers=0)
# Every source of chance is in play: a step that were drawn twice, or not at all, would show in the weights.
BUSY = replace(
    CROSS_ENTROPY,
    model="pspnet",
    backbone="test_resnet",
    output_stride=16,
    pretrained=False,
    epochs=2,
    steps_per_epoch=3,
    batch_size=2,
    accumulate=2,
    crop_sizes=(48, 64),
    balance=0.5,
    hue=0.1,
    rotate=20.0,
    blur=0.5,
    dropout=0.5,
    class_mix=0.5,
    precision="fp32",
    optimizer="adamw",
    base_lr=0.002,
    last_mult=2.0,
    clip_grad=1.0,
)
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def usual():
    """The handler of both signals around each test: one that nobody noted fails the test instead of ending pytest."""

    def escaped(number, frame):
        raise AssertionError(f"signal {number} was not noted")

    before = {number: signal.signal(number, escaped) for number in SIGNALS}
    yield escaped
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def whole_run(cut) -> Path:
    """The folder of an uninterrupted run of BUSY. Only to be read."""
    torch.set_num_threads(1)
    return loop.train(Workspace(cut), BUSY, "busy", HERE)


def place_of(folder: Path) -> tuple[int, int]:
    """Epochs and steps done, as last.pt has them."""
    state = load_checkpoint(folder / "last.pt").training
    return state["epoch"], state["step"]


def send(patch, number: int, owner, name: str, nth: int, times: int = 1) -> list:
    """Lets the `nth` call of `owner.name` begin with a signal to this process, `times` times. Returns the calls."""
    work, calls = getattr(owner, name), []

    def interrupted(*args, **how):
        calls.append(1)
        if len(calls) == nth:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return work(*args, **how)

    patch.setattr(owner, name, interrupted)
    return calls


# ---- the context by itself ----


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_the_next_acts_as_usual(number, usual):
    with Interrupts() as interrupts:
        assert interrupts.asked == 0
        assert signal.getsignal(number) != usual
        os.kill(os.getpid(), number)
        assert interrupts.asked == number
        for each in SIGNALS:
            assert signal.getsignal(each) == usual
            with pytest.raises(AssertionError, match="was not noted"):
                os.kill(os.getpid(), each)
    assert interrupts.asked == number


def test_in_a_team_later_signals_do_nothing(usual):
    with Interrupts(in_team=True) as interrupts:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
            assert interrupts.asked == signal.SIGTERM  # the first
    assert [signal.getsignal(number) for number in SIGNALS] == [usual, usual]


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
def test_afterwards_both_signals_have_their_usual_handlers_back(error, usual):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(KeyError, KeyboardInterrupt), Interrupts():
        if error:
            raise error
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) == usual


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_asks_to_stop_but_not_under_nohup(ignored):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupts.asked == (0 if ignored else signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == (signal.SIG_IGN if ignored else signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_nothing_is_caught(usual):
    seen = []

    def work():
        with Interrupts() as interrupts:
            seen.append((interrupts.asked, [signal.getsignal(number) for number in SIGNALS]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(0, [usual, usual])]


# ---- a run that is asked to stop ----


@pytest.mark.parametrize(
    ("number", "workers", "stops"),
    # The calls of a start that the signal comes in, and where that leaves the run; (0, 3): all but the validation.
    [(signal.SIGTERM, 0, {1: (0, 1), 2: (0, 3)}), (signal.SIGINT, 1, {5: (1, 2)})],
)
def test_a_run_stopped_within_an_epoch_keeps_its_steps_and_goes_on_to_the_same_end(
    project, whole_run, monkeypatch, usual, number, workers, stops
):
    options, folder = replace(HERE, workers=workers), project.experiment(BUSY.name, "stopped")
    for nth, (epoch, step) in stops.items():
        with monkeypatch.context() as patch:
            send(patch, number, Learner, "step", nth)
            message = rf"stopped in epoch {epoch + 1}, step {step}; .*last\.pt is saved"
            with pytest.raises(Interrupted, match=message) as caught:
                loop.train(project, BUSY, "stopped", options)
        traceback.clear_frames(caught.tb)  # they hold the loaders, whose processes end sooner now than in a collection
        assert caught.value.signal_number == number
        assert [signal.getsignal(each) for each in SIGNALS] == [usual, usual]
        assert place_of(folder) == (epoch, step)  # the step in which the signal came was finished
    left = 6 - sum(stops)
    with monkeypatch.context() as patch:
        steps = send(patch, 0, Learner, "step", nth=0)
        loop.train(project, BUSY, "stopped", options)
    assert len(steps) == left  # nothing was done twice
    assert_same_result(folder, whole_run)


def test_a_run_stopped_within_the_validation_validates_again(project, whole_run, monkeypatch):
    folder = project.experiment(BUSY.name, "stopped")
    with monkeypatch.context() as patch:
        seen = send(patch, signal.SIGTERM, ConfusionMatrix, "update", nth=2)
        with pytest.raises(Interrupted, match="epoch 1, step 3") as caught:
            loop.train(project, BUSY, "stopped", HERE)
    assert len(seen) == 2  # of more crops
    assert place_of(folder) == (0, 3)
    assert not (folder / "best.pt").exists()
    assert not (folder / "log.csv").exists()
    # Whoever still holds the error, as a notebook does, can train on all the same.
    left_on = torch.is_inference_mode_enabled()
    traceback.clear_frames(caught.tb)
    assert not left_on
    loop.train(project, BUSY, "stopped", HERE)
    assert_same_result(folder, whole_run)


def test_a_second_signal_stops_a_run_at_once(project, monkeypatch):
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    with monkeypatch.context() as patch:
        send(patch, signal.SIGINT, Learner, "step", nth=2, times=2)
        with pytest.raises(KeyboardInterrupt) as caught:
            loop.train(project, BUSY, "stopped", HERE)
    assert not isinstance(caught.value, Interrupted)
    assert not (project.experiment(BUSY.name, "stopped") / "last.pt").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- processes ----

# Runs train.py with the flags that follow. Its nth step begins with a bug, or with a signal: to itself, or to all.
DRIVER = """
import os, runpy, subprocess, sys
from jingwei.training.learner import Learner
event, nth, *sys.argv = sys.argv[1:]
step, calls = Learner.step, []
def interrupted(*args):
    calls.append(1)
    if len(calls) == int(nth):
        if event == "bug":
            raise ZeroDivisionError
        number, to_all = event.split()
        target = -os.getpid() if to_all == "all" else os.getpid()
        subprocess.run(["kill", "-" + number, "--", str(target)])
    return step(*args)
Learner.step = interrupted
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def train_arguments(root: Path, recipe: Recipe, workers: int) -> list[str]:
    """train.py with the flags of what a recipe has otherwise than CROSS_ENTROPY."""
    arguments = [str(ROOT / "train.py"), "--train", "--scratch", "--data_dir", str(root), "--exp", "stopped"]
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if value != getattr(CROSS_ENTROPY, field.name) and field.name != "pretrained":
            values = value if isinstance(value, tuple) else (value,)
            arguments += [f"--{field.metadata['flag'] or field.name}", *map(str, values)]
    return [*arguments, "--workers", str(workers), "--device", "cpu"]


def start(*arguments: str) -> subprocess.Popen:
    """A Python process that leads a process group, as every command of a shell does."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], env=environment, start_new_session=True, **streams)


def drive(folder: Path, event: str, nth: int, *arguments: str) -> tuple[int, str]:
    """(status, stderr) of DRIVER and its loaders."""
    script = folder / "driver.py"
    script.write_text(DRIVER)
    status, _, err = Running(script, event, nth, *arguments).finish()
    return status, err


def finish(running: subprocess.Popen) -> tuple[int, str]:
    """(status, stderr) of a process that ends by itself, soon, and so do its loaders: they hold stderr open too."""
    try:
        _, err = running.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    return running.returncode, err


def assert_says_how_to_go_on(err: str, folder: Path) -> None:
    """stderr has the answer, and a line with the file and the remedy."""
    answer, stopped = (line for line in err.splitlines() if line)
    assert answer == "stopping after this step"
    assert stopped.startswith("stopped in epoch ")
    assert f"{folder / 'last.pt'} is saved: the same command goes on" in stopped


def test_sigterm_to_the_command_saves_says_how_to_go_on_and_gives_143(project, whole_run):
    running = start(*train_arguments(project.root, BUSY, workers=0))
    folder = project.experiment(BUSY.name, "stopped")
    deadline = time.monotonic() + 100
    while not (folder / "recipe.json").exists():  # written before the first step
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    running.send_signal(signal.SIGTERM)
    status, err = finish(running)
    assert status == 128 + signal.SIGTERM
    assert_says_how_to_go_on(err, folder)
    assert place_of(folder)[1] > 0
    loop.train(project, BUSY, "stopped", HERE)
    assert_same_result(folder, whole_run)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_the_command_and_its_loaders_loses_nothing_either(project, whole_run, tmp_path, number):
    # A terminal's Ctrl-C reaches them all, and so does the SIGTERM of `timeout` and of batch systems.
    arguments = train_arguments(project.root, BUSY, workers=1)
    status, err = drive(tmp_path, f"{number.value} all", 2, *arguments)
    folder = project.experiment(BUSY.name, "stopped")
    assert status == 128 + number, err
    assert_says_how_to_go_on(err, folder)
    assert place_of(folder) == (0, 2)
    loop.train(project, BUSY, "stopped", HERE)
    assert_same_result(folder, whole_run)


def test_a_run_killed_within_an_epoch_ends_as_if_it_had_not_been(project, whole_run, tmp_path):
    arguments = train_arguments(project.root, BUSY, workers=1)
    status, _ = drive(tmp_path, f"{signal.SIGKILL.value} self", 5, *arguments)
    assert status == -signal.SIGKILL
    folder = project.experiment(BUSY.name, "stopped")
    assert place_of(folder) == (1, 0)
    loop.train(project, BUSY, "stopped", HERE)
    assert_same_result(folder, whole_run)
    assert not list(folder.glob(".*.part"))


def test_a_bug_while_loaders_work_keeps_its_traceback_and_leaves_no_process(project):
    # The traceback holds the loaders until Python's own end, which waits for them.
    status, err = finish(start("-c", DRIVER, "bug", "2", *train_arguments(project.root, BUSY, workers=1)))
    assert status == 1
    assert err.endswith("\nZeroDivisionError\n")
