"""What no run can be made of gives one line, before anything is written."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from learner_runs import HERE
from loop_runs import SMALL

from jingwei.crops.table import read_crops
from jingwei.errors import InputError, SettingError
from jingwei.training import loop
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


def test_offline_nothing_is_left_behind(project, monkeypatch):
    def unreachable(*args, **how):
        raise OSError("no network")

    monkeypatch.setattr("jingwei.models.weights.smp.encoders.get_encoder", unreachable)
    with pytest.raises(SettingError, match="`weights` FILE.*`scratch`"):
        loop.train(project, replace(SMALL, model="attention_unet", pretrained=True), "online", HERE)
    assert not project.experiment(SMALL.name, "online").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "nonsense"}, "`loss` nonsense.*known are cross_entropy, focal, lovasz"),
        ({"schedule": "nonsense"}, "`schedule` nonsense.*known are poly, cosine"),
        ({"model": "nonsense"}, "`model` nonsense.*known are deeplabv3, attention_unet"),
        ({"backbone": "nonsense"}, "`backbone` nonsense.*known are resnet18"),
        ({"crop_sizes": (16,), "epochs": 0}, "epochs is 0.*crop_size is 16"),
        ({"precision": "fp16"}, "`precision` fp16.*CPU"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_written(project, changes, message):
    with pytest.raises(SettingError, match=message):
        loop.train(project, replace(SMALL, **changes), "x", HERE)
    assert not project.models.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused(project):
    with pytest.raises(SettingError, match="`device` cuda: not usable"):
        loop.train(project, SMALL, "x", replace(HERE, device="cuda"))


def test_missing_crops_say_what_to_run(tmp_path, project):
    with pytest.raises(InputError, match=r"crops.csv: no such file: run generate_train_data.py"):
        loop.train(Workspace(tmp_path / "empty"), SMALL, "x", HERE)
    first = next(iter(read_crops(project.crops)))
    (project.train / "data" / first.name).unlink()
    with pytest.raises(InputError, match=f"{Path(first.name).stem}.*cut the scenes again"):
        loop.train(project, replace(SMALL, epochs=30), "x", HERE)
