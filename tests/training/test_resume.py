"""Which checkpoints a run goes on from: those with a whole state, of the same crops and settings."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from jingwei.errors import CheckpointError, SettingError
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.training.distributed import Team
from jingwei.training.learner import Learner
from jingwei.training.position import EpochSums
from jingwei.training.recipes import Recipe
from jingwei.training.resume import checkpoint_to_resume
from jingwei.training.run_files import Keeping, RunFiles
from jingwei.training.start import DataKind, Start

RECIPE = replace(Recipe(), model="enet", aux_weight=0.0, pretrained=False, batch_size=2, crop_sizes=(32,))
KIND = DataKind("uint8", (100.0,) * 3, (50.0,) * 3, JINGWEI, (1,) * 5)
ANY_CROPS = SimpleNamespace(has_crops_of=lambda checkpoint: True)


@pytest.fixture
def learner() -> Learner:
    return Learner(RECIPE, KIND, torch.device("cpu"), Team(), Start())


def state_of(learner: Learner, **changes) -> dict:
    state = learner.state() | {
        "epoch": 1, "step": 2, "bad_steps": 0, "in_progress": vars(EpochSums()), "best_score": -math.inf,
        "best_epoch": 0,
    }  # fmt: skip
    return {key: value for key, value in (state | changes).items() if value is not ...}


@pytest.fixture
def files(tmp_path) -> RunFiles:
    return RunFiles(Keeping(tmp_path), leads=True)


def save(files: RunFiles, learner: Learner, **changes) -> None:
    save_checkpoint(files.last, learner.checkpoint(learner.model, {}, state_of(learner, **changes)))


def test_without_a_checkpoint_a_fresh_run_begins(files):
    assert checkpoint_to_resume(files, None, RECIPE, ANY_CROPS) is None
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint_to_resume(files, files.folder / "none.pt", RECIPE, ANY_CROPS)


def test_a_whole_state_is_gone_on_from(files, learner):
    save(files, learner)
    found = checkpoint_to_resume(files, None, RECIPE, ANY_CROPS)
    assert (found.path, found.training["step"]) == (files.last, 2)
    learner.load(found, files.last)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"optimizer": ...}, "has no optimizer"),
        ({"epoch": -1}, "epoch is -1"),
        ({"epoch": 1.5}, "epoch is 1.5, not a whole number"),
        ({"bad_steps": "none"}, 'bad_steps is "none", not a whole number'),
        ({"step": torch.ones(1)}, "a value is of another type"),
        ({"best_score": math.nan}, "best_score is not a number"),
        ({"best_score": "best"}, "best_score is not a number"),
        ({"in_progress": {}}, "has no in_progress.totals"),
        ({"in_progress": vars(EpochSums()) | {"more": 1}}, "in_progress has other values"),
        ({"in_progress": vars(EpochSums()) | {"totals": {"loss": math.nan}}}, "in_progress.totals.loss is NaN"),
    ],
    ids=repr,
)
def test_a_state_that_no_run_can_go_on_from_gives_one_line(files, learner, changes, problem):
    save(files, learner, **changes)
    with pytest.raises(CheckpointError) as caught:
        checkpoint_to_resume(files, None, RECIPE, ANY_CROPS)
    assert str(caught.value).startswith(f"{files.last}: holds a state that no run can go on from ({problem}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"optimizer": {}}, {"optimizer": {"state": {}, "param_groups": [{}]}},
                                     {"optimizer": {"state": 3, "param_groups": 4}}], ids=repr)  # fmt: skip
def test_an_optimizer_state_that_does_not_fit_gives_one_line(files, learner, changes):
    save(files, learner, **changes)
    found = checkpoint_to_resume(files, None, RECIPE, ANY_CROPS)
    with pytest.raises(CheckpointError) as caught:
        learner.load(found, files.last)
    assert "last.pt: its weights or its optimizer's state don't fit its network (" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_settings_and_other_crops_need_to_be_asked_for(files, learner):
    save(files, learner)
    other, others = replace(RECIPE, epochs=9), SimpleNamespace(has_crops_of=lambda checkpoint: False)
    with pytest.raises(SettingError, match="holds an experiment with other settings .epochs 20 -> 9."):
        checkpoint_to_resume(files, None, other, ANY_CROPS)
    with pytest.raises(SettingError, match="was trained on other crops"):
        checkpoint_to_resume(files, None, RECIPE, others)
    assert checkpoint_to_resume(files, files.last, other, others) is not None


def test_a_checkpoint_that_keeps_a_recipe_of_fewer_fields_goes_on(files, learner):
    save(files, learner)
    old = load_checkpoint(files.last)
    save_checkpoint(files.last, replace(old, recipe={"model": "enet", "aux_weight": 0.0}))
    with pytest.raises(SettingError, match="other settings"):
        checkpoint_to_resume(files, None, RECIPE, ANY_CROPS)
    found = checkpoint_to_resume(files, files.last, RECIPE, ANY_CROPS)
    learner.load(found, files.last)


def test_weights_alone_are_no_state(files, tmp_path):
    model = build_model(ModelSpec("enet", "enet", 3, 5), (100.0,) * 3, (50.0,) * 3)
    alone = Checkpoint(model.spec, "uint8", (100.0,) * 3, (50.0,) * 3, JINGWEI, {}, model.state_dict())
    save_checkpoint(Path(files.last), alone)
    with pytest.raises(CheckpointError, match=r"last.pt: holds weights alone, no state to go on from: give a last.pt"):
        checkpoint_to_resume(files, None, RECIPE, ANY_CROPS)


def test_pixels_of_another_type_do_not_fit(files, learner):
    save(files, learner)
    found = replace(checkpoint_to_resume(files, None, RECIPE, ANY_CROPS), dtype="float32")
    with pytest.raises(CheckpointError, match="was trained on pixels of float32, but the training data has uint8"):
        learner.load(found, files.last)
