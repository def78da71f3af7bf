"""What a training run says: what begins, how each epoch did by class names, what time is left, that it will stop."""

import os
import signal
from dataclasses import replace

import pytest

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.legend import JINGWEI
from jingwei.system.interrupts import Interrupts
from jingwei.training import loop
from jingwei.training.log import TrainingLog
from jingwei.training.loop import RunOptions
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = replace(
    CROSS_ENTROPY, model="attention_unet", backbone="mobilenetv3_small_050", output_stride=16, aux_weight=0.0,
    pretrained=False, epochs=2, steps_per_epoch=2, batch_size=4, crop_sizes=(48, 64), precision="fp32",
)  # fmt: skip


def test_a_run_says_what_it_is_and_each_epoch_names_its_classes(county, tmp_path, capsys):
    workspace = Workspace(tmp_path)
    crops = cut_train(workspace, Workspace(county).train_scenes(), CutSettings(64, 64), JINGWEI, workers=1)
    folder = loop.train(workspace, TINY, "said", RunOptions(device="cpu", workers=0))
    out = capsys.readouterr().out.splitlines()
    training = sum(crop.split == "train" for crop in crops)
    assert out[0].startswith("attention_unet over tu-mobilenetv3_small_050, 3 bands")
    assert "M weights; cpu, 1 threads, float32" in out[0]
    assert out[1].startswith(
        f"{training} crops to train, {len(crops) - training} to validate; 2 epochs of 2 steps of 4"
    )
    assert out[1].endswith("windows of 48 and 64 px")
    assert out[2] == f"TensorBoard: tensorboard --logdir {folder}"
    first, last = (line for line in out if line.startswith("epoch"))
    assert first.startswith("epoch   1/2")
    assert all(f"{name} " in first for name in JINGWEI.names)
    assert first.endswith(" s left")
    assert "left" not in last


def test_a_run_says_that_its_windows_are_larger_than_the_crops(project, capsys):
    larger = replace(TINY, epochs=1, steps_per_epoch=1, crop_sizes=(128,), batch_size=2, min_scale=0.5, max_scale=1.0)
    loop.train(project, larger, "padded", RunOptions(device="cpu", workers=0))
    told = "windows are larger than the usual crop (64 px), and the rest of them is padding: cut larger ones"
    assert told in capsys.readouterr().out


def test_the_time_left_is_that_of_this_runs_own_epochs(tmp_path):
    log = TrainingLog(tmp_path, 0, JINGWEI, None, epochs=10)
    log.rows, log._earlier = [{"seconds": 900.0}, {"seconds": 20.0}, {"seconds": 40.0}], 1
    assert log._left({"epoch": 3}) == 7 * 30


def test_a_wish_to_stop_is_answered_at_once_and_once(capfd):
    with Interrupts(answer="stopping after this step") as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.asked == signal.SIGTERM
        assert capfd.readouterr().err.count("stopping after this step") == 1
