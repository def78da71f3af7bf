"""The folders that stages share: which of them hold scenes, and in which order."""

import pytest

from jingwei.errors import InputError
from jingwei.inputs.scenes import Scene, label_of, natural_order
from jingwei.workspace import Workspace


def scene(root, folder: str, number: int):
    path = root / folder / f"image_{number}.png"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


TEST_FOLDERS = ["jingwei_round1_test_a_20190619", "test", "test_A", "testset", "round2-test", "a test", "1test"]


@pytest.mark.parametrize("folder", TEST_FOLDERS)
def test_a_word_that_begins_with_test_makes_a_folder_of_test_scenes(folder, tmp_path):
    path = scene(tmp_path, folder, 3)
    assert Workspace(tmp_path).test_scenes() == [Scene(path)]


@pytest.mark.parametrize("folder", ["latest", "contest", "Greatest_hits"])
def test_test_within_a_word_makes_none(folder, tmp_path):
    scene(tmp_path, folder, 3)
    with pytest.raises(InputError, match="no test scenes found"):
        Workspace(tmp_path).test_scenes()


@pytest.mark.parametrize(("image", "label"), [
    ("image_1.TIF", "image_1_label.TIF"), ("image_1.png", "image_1_label.Png"), ("image_1.Tiff", "image_1_label.tif"),
    ("a[1].tif", "a[1]_label.TIF"),
])  # fmt: skip
def test_endings_may_be_in_capitals(tmp_path, image, label):
    for name in (image, label, "image_1_label.TIF.aux.xml"):
        (tmp_path / name).touch()
    assert label_of(tmp_path / image) == tmp_path / label


def test_of_labels_in_capitals_the_usual_ending_goes_first(tmp_path):
    for name in ("image_1_label.TIF", "image_1_label.PNG"):
        (tmp_path / name).touch()
    assert label_of(tmp_path / "image_1.tif") == tmp_path / "image_1_label.PNG"
    (tmp_path / "image_1_label.bmp").touch()
    assert label_of(tmp_path / "image_1.tif") == tmp_path / "image_1_label.bmp"
    assert label_of(tmp_path / f"{'a' * 245}.tif") is None


def test_train_is_found_in_the_same_way(tmp_path):
    scene(tmp_path, "restraint", 1)
    with pytest.raises(InputError, match="no train scenes found"):
        Workspace(tmp_path).train_scenes()
    scene(tmp_path, "jingwei_round1_train_20190619", 2)
    assert [s.name for s in Workspace(tmp_path).train_scenes()] == ["image_2"]


@pytest.mark.parametrize("names", [["9", "10"], ["a9c", "a10b"], ["1", "1a", "a1"], ["1²", "²"]])
def test_numbers_in_names_count_as_numbers(names):
    assert sorted(reversed(names), key=natural_order) == names


def test_no_two_scenes_share_a_folder_or_an_output(tmp_path):
    """`image_x` and `x` have the same maps' names in the same folders, were it not for the underscore."""
    workspace = Workspace(tmp_path)
    scenes = [Scene(tmp_path / f"{name}.tif") for name in ("image_3", "3", "image_x", "x", "image__x", "_x", "image x")]
    for place in (workspace.tiled, workspace.masks, workspace.parts, workspace.fill_picture, workspace.submission):
        assert len({place(scene) for scene in scenes}) == len(scenes)
    assert workspace.masks(scenes[0]) == tmp_path / "test" / "mask3"
    assert workspace.masks(scenes[3]) == tmp_path / "test" / "mask_x"
    assert workspace.fill_picture(scenes[0]) == tmp_path / "submit" / "fill_vis_3.png"


def test_the_folder_of_a_scene_whose_name_ends_like_a_picture_is_no_scene(tmp_path):
    workspace, path = Workspace(tmp_path), scene(tmp_path, "test", 3)
    workspace.tiled(Scene(tmp_path / "T50.jp2.tif")).parent.mkdir()  # test/image_T50.jp2
    assert workspace.test_scenes() == [Scene(path)]
