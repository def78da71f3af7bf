"""A tiny county in the contest's layout, drawn with numpy: what most tests cut, vote on and score."""

import os
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from warm_processes import leave_no_curves

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.legend import JINGWEI
from jingwei.raster.png import write_png
from jingwei.system.progress import Progress
from jingwei.training import log
from jingwei.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]

# `make test` gives whole files to its processes, so that what the tests of a file share is made once. The files that
# take longest are begun first: else one process works at the last of them while the others have nothing left to do.
LONGEST = (
    "reporting/test_browser_access.py",
    "models/test_zoo.py",
    "synthetic/test_county.py",
    "training/test_interrupted_runs.py",
    "reporting/test_browser.py",
    "reporting/test_browser_use.py",
    "training/test_distributed.py",
    "prediction/test_scene_again.py",
    "training/test_learning.py",
    "system/test_interrupts.py",
    "models/test_models.py",
    "road/test_kills.py",
    "cli/test_command_disks.py",
    "cli/test_output.py",
    "training/test_learner_averages.py",
    "training/test_keeping.py",
    "road/test_readme.py",
    "planning/test_estimates.py",
    "road/test_guest.py",
    "configs/test_config_runs.py",
    "crops/test_prepare_again.py",
    "voting/test_weights.py",
    "synthetic/test_gf_sample.py",
    "road/test_wheel.py",
    "cli/test_dry_runs.py",
    "models/test_damaged_checkpoints.py",
    "prediction/test_export.py",
    "training/test_crop_reader.py",  # waits more than it works
)
FIRST = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}

settings.register_profile("jingwei", deadline=None, derandomize=True)
settings.load_profile("jingwei")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: tests that start other processes wait for them much of the time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first."""
    assert all(path.exists() for path in FIRST), "a file of LONGEST is not there"
    items.sort(key=lambda item: FIRST.get(item.path, len(FIRST)))


def _draw(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene (pixels_HWC, RGBA) and its labels_HW: fields of 12 px and more, a corner outside the flight."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(height), rng.integers(12, 40, height))[:height]
    cols = np.repeat(np.arange(width), rng.integers(12, 40, width))[:width]
    fields = rng.choice(5, (rows[-1] + 1, cols[-1] + 1), p=(0.4, 0.2, 0.2, 0.15, 0.05)).astype(np.uint8)
    labels = fields[rows][:, cols]
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., :3] = 40 * labels[..., None] + rng.integers(0, 40, (height, width, 3), dtype=np.uint8)
    outside = np.add.outer(np.arange(height), np.arange(width)) < (height + width) // 5
    pixels[..., 3] = np.where(outside, 0, 255)
    return pixels, labels


@pytest.fixture
def benchmarks(monkeypatch):
    """Makes the benchmarks importable, for the test alone."""
    folder, before = ROOT / "benchmarks", set(sys.modules)
    monkeypatch.syspath_prepend(folder)
    yield
    for name in set(sys.modules) - before:
        if (folder / f"{name}.py").exists():
            del sys.modules[name]


@pytest.fixture
def one_thread():
    """torch on one thread: on small pictures, threads that wait for each other take longer than the work."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_curves():
    """A third of a small run is the drawing of its curves: runs leave an empty file, but where a test wants them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "draw_curves", leave_no_curves)
        yield


@pytest.fixture(scope="session")
def draw_scene():
    """(height, width, seed) -> (pixels_HWC RGBA, labels_HW); the labels have ids under alpha 0 too."""
    return _draw


@pytest.fixture(scope="session")
def county(tmp_path_factory):
    """A project folder with two training scenes and a test scene. Only to be read: copy it to work in it."""
    root = tmp_path_factory.mktemp("county")
    train, test = root / "jingwei_round1_train_20190619", root / "jingwei_round1_test_a_20190619"
    for folder, truth, number, shape in [(train, train, 1, (300, 211)), (train, train, 2, (150, 270)),
                                         (test, root / "truth", 3, (170, 140))]:  # fmt: skip
        pixels, labels = _draw(*shape, seed=number)
        write_png(folder / f"image_{number}.png", pixels)
        write_png(truth / f"image_{number}_label.png", labels)
    return root


@pytest.fixture
def call(monkeypatch, capfd):
    """Runs a root script in this process: (script, arguments...) -> (status, stdout, stderr)."""

    def run(script: str, *arguments) -> tuple[int, str, str]:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [script, *map(str, arguments)])
            patch.setattr(Progress, "hidden", Progress.hidden)  # so that --quiet ends with the script
            try:
                runpy.run_path(str(ROOT / script), run_name="__main__")
                status = 0
            except SystemExit as stopped:
                status = stopped.code or 0
        return status, *capfd.readouterr()

    return run


@pytest.fixture(scope="session")
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
