"""What training reads, and finding experiments: crops of both sides, known experiments, scores of another place."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jingwei.crops.table import read_crops, write_crops
from jingwei.errors import CheckpointError, InputError, SettingError
from jingwei.legend import GF2, JINGWEI
from jingwei.models.checkpoints import load_checkpoint
from jingwei.training.experiments import find_experiment, known_experiments, read_training_data, score_experiment
from jingwei.workspace import Workspace

ROAD = Path(__file__).resolve().parents[1] / "data" / "version_0_3_0" / "road"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """A copy of a project with crops and an experiment."""
    for name in ("train", "model"):
        shutil.copytree(ROAD / name, tmp_path / name)
    return Workspace(tmp_path)


def rewritten(workspace: Workspace, change) -> None:
    crops = read_crops(workspace.crops)
    write_crops(workspace.crops, [change(crop) for crop in crops])


def test_the_data_hold_the_crops_of_both_sides(workspace):
    crops = read_crops(workspace.crops)
    data = read_training_data(workspace)
    assert [*data.training, *data.validation] == sorted(crops, key=lambda crop: crop.split != "train")
    assert {crop.split for crop in data.training} == {"train"}
    assert (data.bands, data.dtype, data.legend) == (3, "uint8", JINGWEI)
    assert data.kind.class_pixels == tuple(np.sum([crop.pixels for crop in data.training], axis=0).tolist())
    assert data.kind.mean == data.statistics.mean


def test_without_crops_for_training_it_says_so(workspace):
    rewritten(workspace, lambda crop: replace(crop, split="validation"))
    with pytest.raises(InputError, match="no crop is for training: take a smaller `val_fraction`"):
        read_training_data(workspace)


@pytest.mark.parametrize("count", [len(JINGWEI) - 1, len(JINGWEI) + 1])
def test_a_legend_of_other_classes_than_the_crops_is_refused(workspace, count):
    """A class that was added to `train/legend.json` by hand: no crop was counted by it."""
    content = JINGWEI.to_dict()
    content["classes"] = [*content["classes"], {"id": len(JINGWEI), "name": "new", "color": "#123456"}][:count]
    (workspace.train / "legend.json").write_text(json.dumps(content), encoding="utf-8")
    problem = f"legend.json: has {count} classes, but crops.csv counts the pixels of 5: cut the scenes again"
    with pytest.raises(InputError, match=re.escape(problem)):
        read_training_data(workspace)


def test_without_crops_for_validation_it_trains_but_does_not_score(workspace):
    rewritten(workspace, lambda crop: replace(crop, split="train"))
    data = read_training_data(workspace)
    with pytest.raises(InputError, match="no crop is for validation: cut again with a larger `val_fraction`"):
        data.check_validation()


def test_without_a_table_it_names_the_step_before(tmp_path):
    with pytest.raises(InputError, match=r"run generate_train_data\.py first"):
        read_training_data(Workspace(tmp_path))


def test_experiments_are_those_with_a_best_checkpoint(workspace):
    (workspace.models / "swa" / "begun").mkdir(parents=True)
    assert known_experiments(workspace) == ["cross_entropy/old"]
    assert find_experiment(workspace, "cross_entropy", "old") == workspace.models / "cross_entropy" / "old"
    with pytest.raises(SettingError, match="no experiment cross_entropy/odl .* did you mean cross_entropy/old"):
        find_experiment(workspace, "cross_entropy", "odl")
    with pytest.raises(SettingError, match="no experiment swa/begun"):
        find_experiment(workspace, "swa", "begun")


def test_a_checkpoint_of_other_classes_or_bands_is_refused(workspace):
    data = read_training_data(workspace)
    path = workspace.models / "cross_entropy" / "old" / "best.pt"
    checkpoint = load_checkpoint(path)
    data.check_scorable(checkpoint, path)
    with pytest.raises(CheckpointError):
        replace(data, legend=GF2).check_scorable(checkpoint, path)
    two = replace(data.statistics, mean=data.statistics.mean[:2])
    with pytest.raises(CheckpointError):
        replace(data, statistics=two).check_scorable(checkpoint, path)
    with pytest.raises(CheckpointError):
        replace(data, dtype="uint16").check_scorable(checkpoint, path)


def test_scores_on_other_crops_are_said_to_flatter(workspace, capsys):
    data = read_training_data(workspace)
    path = workspace.models / "cross_entropy" / "old" / "best.pt"
    checkpoint = replace(load_checkpoint(path), crops=data.stamp)
    assert data.has_crops_of(checkpoint)
    data.check_scorable(checkpoint, path)
    assert "may flatter" not in capsys.readouterr().out
    data.check_scorable(replace(checkpoint, crops="0" * 16), path)
    assert "its scores may flatter it" in capsys.readouterr().out


def test_an_experiment_is_scored_on_all_labelled_pixels_of_the_validation(workspace):
    data = read_training_data(workspace)
    matrix, legend, path = score_experiment(workspace, "cross_entropy", "old", device="cpu", workers=0)
    assert (legend, path.name) == (JINGWEI, "best.pt")
    assert matrix.counts.sum() == sum(crop.valid for crop in data.validation)
    by_class = np.sum([crop.pixels for crop in data.validation], axis=0)
    np.testing.assert_array_equal(matrix.counts.sum(axis=1)[: len(by_class)], by_class)
