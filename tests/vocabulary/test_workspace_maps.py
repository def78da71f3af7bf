"""The maps of a project folder: the best first, the last stage's map, whose confidence; experiments' names."""

import numpy as np
import pytest

from jingwei.cli.parser import warn_of_earlier_fill
from jingwei.errors import InputError, SettingError
from jingwei.filling.fill_map import fill_map
from jingwei.grid import Window
from jingwei.inputs.scenes import LONGEST_NAME, Scene
from jingwei.legend import JINGWEI
from jingwei.raster.stamps import SCORE, STAMP, read_score, stamp, up_to_date
from jingwei.raster.writing import TiledWriter
from jingwei.workspace import Workspace, checked_name, confidence_of


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path / "test" / "image3" / "image_3.tif")


def make(path, score=None, mark=None):
    tags = ({} if score is None else {SCORE: str(score)}) | ({} if mark is None else {STAMP: mark})
    path.parent.mkdir(parents=True, exist_ok=True)
    with TiledWriter(path, 4, 5, tags=tags) as writer:
        writer.write(Window(0, 0, 4, 5), np.zeros((4, 5), np.uint8))
    return path


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_predictions_come_best_first_and_of_equals_by_name(workspace, scene):
    masks = workspace.masks(scene)
    for name, score in (("b", 0.5), ("a", 0.5), ("c", 0.9), ("unscored", None), ("d", 0.1)):
        make(masks / f"{name}.tif", score)
    assert names(workspace.predictions(scene)) == ["c.tif", "a.tif", "b.tif", "d.tif", "unscored.tif"]
    assert read_score(masks / "unscored.tif") == -1


def test_of_rounds_of_labels_the_newest_goes_first_whatever_was_validated(workspace, scene):
    masks = workspace.masks(scene)
    for name, score in (("unet_round_2", 0.6), ("unet_round_10", 0.3), ("swa_round_10", 0.4), ("unet_first", 0.9)):
        make(masks / f"{name}.tif", score)
    scored = ["unet_first.tif", "unet_round_2.tif", "swa_round_10.tif", "unet_round_10.tif"]
    assert names(workspace.predictions(scene)) == scored  # of somebody who does not use label.py
    workspace.rounds(scene).mkdir(parents=True)
    in_rounds = ["swa_round_10.tif", "unet_round_10.tif", "unet_round_2.tif", "unet_first.tif"]
    assert names(workspace.predictions(scene)) == in_rounds
    assert workspace.final_map(scene) == masks / "swa_round_10.tif"


def test_results_of_later_stages_are_no_predictions(workspace, scene):
    masks = workspace.masks(scene)
    make(masks / "model.tif", 0.4)
    for name in ("vote", "agreement", "entropy", "filled", "model_agreement", "model_entropy"):
        make(masks / f"{name}.tif", 0.99)
    make(masks / "lone_agreement.tif", 0.3)  # beside no lone.tif: a model of that name
    assert names(workspace.predictions(scene)) == ["model.tif", "lone_agreement.tif"]


def test_soft_predictions_come_best_first_too(workspace, scene):
    for name, score in (("a", 0.2), ("b", 0.7)):
        make(workspace.probabilities(scene) / f"{name}.tif", score)
    assert names(workspace.soft_predictions(scene)) == ["b.tif", "a.tif"]


def test_the_final_map_is_that_of_the_last_stage(workspace, scene):
    assert not workspace.has_map(scene)
    with pytest.raises(InputError, match=r"no maps there: run predict\.py first"):
        workspace.final_map(scene)
    masks = workspace.masks(scene)
    make(masks / "weak.tif", 0.1), make(masks / "strong.tif", 0.6)
    for path in (masks / "strong.tif", workspace.vote(scene), workspace.filled(scene)):
        make(path, 0.6)
        assert workspace.final_map(scene) == path
        assert workspace.has_map(scene)
    assert workspace.vote_or_best(scene) == workspace.vote(scene)  # what is filled is never what was filled


def test_the_confidence_is_the_final_maps_own_or_that_of_what_was_filled(workspace, scene):
    make(workspace.vote(scene)), make(workspace.filled(scene))
    assert workspace.confidence(scene) is None
    of_vote = make(confidence_of(workspace.vote(scene)))
    assert workspace.confidence(scene) == of_vote
    own = make(confidence_of(workspace.filled(scene)))
    assert workspace.confidence(scene) == own


def test_a_stamp_changes_with_inputs_and_settings_and_up_to_date_asks_for_it(workspace, scene, tmp_path):
    source = make(tmp_path / "source.tif")
    mark = stamp(source, size=3)
    assert stamp(source, size=3) == mark
    assert len({mark, stamp(source, size=4), stamp(source, side=3), stamp(make(tmp_path / "b.tif"), size=3)}) == 4
    target = make(workspace.vote(scene), mark=mark)
    assert up_to_date(target, mark)
    assert not up_to_date(target, stamp(source, size=4))
    assert not up_to_date(tmp_path / "missing.tif", mark)
    target.write_bytes(target.read_bytes()[:100])
    assert not up_to_date(target, mark)


@pytest.mark.parametrize("name", ["bn_lr7e-3", "a", "ünï", "x" * LONGEST_NAME])
def test_names_of_experiments(name):
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a\\b", "x" * (LONGEST_NAME + 1), "ü" * LONGEST_NAME])
def test_names_that_no_folder_can_have(name):
    with pytest.raises(SettingError, match="`exp`"):
        checked_name(name)


def test_scenes_by_name(workspace):
    assert workspace.named_scenes(None) == []
    for number in (10, 2):
        make(workspace.root / "test" / f"image{number}" / f"image_{number}.tif")
    assert [scene.name for scene in workspace.named_scenes(None)] == ["image_2", "image_10"]
    assert [scene.name for scene in workspace.named_scenes(["image_10", "image_10"])] == ["image_10"]
    with pytest.raises(SettingError, match="no cut scene is named image_1: take some of: image_2, image_10"):
        workspace.named_scenes(["image_1"])


def test_a_filled_map_of_an_earlier_vote_is_told(workspace, scene, capsys):
    best, vote = make(workspace.masks(scene) / "model.tif", 0.4, "1"), workspace.vote(scene)
    fill_map(best, workspace.filled(scene), legend=JINGWEI)
    assert workspace.is_fill_of_now(scene)
    make(vote, mark="2")
    warn_of_earlier_fill(workspace, [scene])
    assert "filled.tif: was made of an earlier map" in capsys.readouterr().err
    fill_map(vote, workspace.filled(scene), legend=JINGWEI)
    make(best, 0.4, "3")  # which is not what is filled
    warn_of_earlier_fill(workspace, [scene])
    assert not capsys.readouterr().err
    make(vote)  # of another program: it doesn't say
    assert not workspace.is_fill_of_now(scene)
    make(workspace.filled(scene))
    assert workspace.is_fill_of_now(scene)
