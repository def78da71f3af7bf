"""kill -9 at any moment of any stage, and the same command again: the bytes of a run that nobody stopped.

Training has tests of its own, in test_interrupts.py.
"""

import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from warm_processes import Running

from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.raster.png import write_png

# In the order of the README; each stage starts from what those before it have left.
STAGES = {
    "generate_train_data": ["--crop_size", "128"],
    "generate_test_data": [],
    "predict": ["--window", "256", "--overlap", "64", "--precision", "fp32", "--probabilities"],
    "vote": ["--soft"],
    "fill_hole": ["--min_area", "30"],
    "polygons": ["--simplify", "1"],
    "report": [],
}


def start(stage: str, data: Path) -> Running:
    return Running(f"{stage}.py", "--data_dir", data, *STAGES[stage])


def finish(process: Running) -> None:
    status, _, errors = process.finish(300)
    assert status == 0, errors


def contents(data: Path) -> dict[str, bytes]:
    """All files of a project folder; hidden ones too, so that nothing half-done goes unseen."""
    folder = os.fsencode(data)  # which a report names
    return {
        str(path.relative_to(data)): path.read_bytes().replace(folder, b"{}")
        for path in data.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> dict[str, tuple[Path, float]]:
    """The project folder as it is before each stage, and at the end; and how long the stage works, in seconds."""
    root = tmp_path_factory.mktemp("states")
    data = root / "now"
    rng = np.random.default_rng(0)
    for folder, name in (("a_train", "image_1"), ("a_test", "image_3")):
        coarse = rng.integers(0, len(JINGWEI), (9, 8), np.uint8)
        labels = np.kron(coarse, np.ones((100, 100), np.uint8))
        noise = rng.integers(0, 60, (*labels.shape, 3), np.uint8)
        pixels = np.dstack([40 * labels[..., None] + noise, np.full(labels.shape, 255, np.uint8)])
        pixels[:50, :300, 3] = 0
        (data / folder).mkdir(parents=True)
        write_png(data / folder / f"{name}.png", pixels)
        if folder == "a_train":
            write_png(data / folder / f"{name}_label.png", np.where(pixels[..., 3] == 0, np.uint8(0), labels))
    torch.manual_seed(0)
    for seed, recipe in enumerate(("cross_entropy", "swa")):
        model = build_model(ModelSpec("attention_unet", "mobilenetv3_small_050", 3, 5), (100,) * 3, (60,) * 3)
        save_checkpoint(
            data / "model" / recipe / "x" / "best.pt",
            Checkpoint(model.spec, "uint8", (100.0,) * 3, (60.0,) * 3, JINGWEI, {}, model.state_dict(), {"miou": seed}),
        )
    kept = {}
    for stage in STAGES:
        before = Path(shutil.copytree(data, root / stage))
        kept[stage] = before, working_time(stage, data)
    return kept | {"end": (data, 0.0)}


def working_time(stage: str, data: Path) -> float:
    """Seconds from a stage's first file to its end, which it is led to."""
    before = contents(data)
    process = start(stage, data)
    wait_for_work(process, data, before)
    begun = time.perf_counter()
    finish(process)
    return time.perf_counter() - begun


def assert_kills_leave_no_trace(stage: str, states: dict, folder: Path, moments: list[float]) -> None:
    """Stops a stage at shares of its working time, each time from a fresh start, and lets the next run finish it."""
    after = [*STAGES, "end"][list(STAGES).index(stage) + 1]
    before, seconds = states[stage]
    expected = contents(states[after][0])
    for number, moment in enumerate(moments):
        data = folder / str(number)
        shutil.copytree(before, data)
        process = start(stage, data)
        wait_for_work(process, data, contents(before))
        time.sleep(moment * seconds)
        process.kill()
        process.finish()
        finish(start(stage, data))
        assert contents(data) == expected, f"{stage}, killed after {moment:.3f} of its time"
        shutil.rmtree(data)


def wait_for_work(process: Running, data: Path, before: dict) -> None:
    """Until the stage has begun its first file: what comes before is Python that is starting up."""
    while process.poll() is None and {str(p.relative_to(data)) for p in data.rglob("*") if p.is_file()} <= set(before):
        time.sleep(0.005)


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_ends_with_the_same_bytes(stage, states, tmp_path):
    assert_kills_leave_no_trace(stage, states, tmp_path, [0.5])


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_at_twenty_moments_ends_with_the_same_bytes(stage, states, tmp_path):
    rng = random.Random(stage)
    assert_kills_leave_no_trace(stage, states, tmp_path, [rng.random() for _ in range(20)])
