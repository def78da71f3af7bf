"""Scenes that can't be cut: one line says why, and nothing half is left."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cut_scenes import contents, cut, scene_of
from rasterio.transform import Affine

from jingwei.crops.settings import CutSettings
from jingwei.errors import InputError, SettingError
from jingwei.inputs.scenes import Scene
from jingwei.legend import NODATA
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def broken_scene(problem: str, folder: Path, pixels: np.ndarray, labels: np.ndarray) -> Scene:
    if problem == "unknown ids":
        labels = labels.copy()
        labels[100:103, 60:64] = 7
        labels[149, 145:150] = 200
    if problem == "coloured label":
        labels = np.repeat(labels[..., None], 3, axis=2)
    if problem == "sizes":
        labels = labels[:-1]
    if problem == "no valid pixel":
        pixels = pixels.copy()
        pixels[..., 3] = 0
    scene = scene_of(folder, "image_9", pixels, labels)
    if problem == "no label":
        return Scene(scene.image, None)
    truncated = {"truncated picture": scene.image, "truncated label": scene.label}.get(problem)
    if truncated:
        truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size * 2 // 3])
    return scene


def test_a_label_at_another_place_than_its_scene_is_refused(tmp_path):
    scene = Scene(tmp_path / "image_9.tif", tmp_path / "image_9_label.tif")
    for path, epsg in ((scene.image, 32650), (scene.label, 32651)):
        kind = {"height": 64, "width": 64, "count": 1, "dtype": "uint8", "crs": f"EPSG:{epsg}"}
        with rasterio.open(path, "w", driver="GTiff", transform=Affine(1, 0, 5e5, 0, -1, 4e6), **kind) as file:
            file.write(np.ones((1, 64, 64), np.uint8))
    with pytest.raises(InputError, match=r"image_9_label.tif: is in EPSG:32651, but image_9.tif is in EPSG:32650"):
        cut(tmp_path, [scene])


REFUSED = {
    "sizes": r"image_9_label.png: 160 x 149 px, but image_9.png is 160 x 150",
    "unknown ids": r"image_9_label.png: .*legend jingwei does not know: 7 \(12 px\), 200 \(5 px\): known are 0",
    "coloured label": r"image_9_label.png: has 3 bands",
    "no valid pixel": r"image_9.png: has no valid pixel",
    "no label": r"image_9.png: has no label image_9_label.png",
    "truncated picture": r"image_9.png: broken or truncated",
    "truncated label": r"image_9_label.png: broken or truncated",
}


@pytest.mark.parametrize("stride", [64, 30])
@pytest.mark.parametrize("problem", REFUSED)
def test_a_refused_scene_gives_one_line_and_leaves_no_table_and_no_crops(problem, stride, draw_scene, tmp_path):
    pixels, labels = draw_scene(150, 160, 2)
    settings = CutSettings(64, stride, keep_background=1)
    scene = broken_scene(problem, tmp_path, pixels, labels)
    with pytest.raises(InputError, match=REFUSED[problem]) as raised:
        cut(tmp_path, [scene], settings)
    assert "\n" not in str(raised.value)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("problem", sorted(set(REFUSED) - {"no label"}))
def test_a_scene_that_became_unusable_leaves_all_of_an_older_cut_or_no_table(problem, draw_scene, tmp_path):
    good = scene_of(tmp_path, "image_9", *draw_scene(150, 160, 2))
    cut(tmp_path, [good], CutSettings(64, 64, keep_background=1))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=REFUSED[problem]):
        cut(tmp_path, [broken_scene(problem, tmp_path, *draw_scene(150, 160, 2))])
    assert "crops.csv" not in contents(tmp_path) or contents(tmp_path) == before


def test_scenes_of_different_kinds_are_refused_together(draw_scene, tmp_path):
    pixels, labels = draw_scene(100, 90, 1)
    one = scene_of(tmp_path, "image_1", pixels, labels)
    grey = scene_of(tmp_path, "image_2", pixels[..., 0], labels)
    with pytest.raises(InputError, match="image_1: 3 bands of uint8; image_2: 1 bands of uint8"):
        cut(tmp_path, [one, grey])
    assert not (tmp_path / "train" / "crops.csv").exists()


def test_scenes_without_a_single_label_are_refused(draw_scene, tmp_path):
    pixels, labels = draw_scene(100, 90, 1)
    scene = scene_of(tmp_path, "image_1", pixels, np.full_like(labels, NODATA))
    with pytest.raises(InputError, match="no labelled pixel in image_1"):
        cut(tmp_path, [scene])
    assert not (tmp_path / "train" / "crops.csv").exists()


def test_where_no_scenes_are_found_the_place_and_the_names_are_told(tmp_path):
    with pytest.raises(InputError) as raised:
        Workspace(tmp_path).train_scenes()
    assert str(tmp_path / "*train*" / "image_N.png") in str(raised.value)
    assert "image_N_label.png" in str(raised.value)
    with pytest.raises(InputError) as raised:
        Workspace(tmp_path).test_scenes()
    assert str(tmp_path / "*test*" / "image_N.png") in str(raised.value)


def test_two_scenes_of_one_name_are_refused(county, tmp_path):
    for folder in ("round1_train", "round2_train"):
        shutil.copytree(county / "jingwei_round1_train_20190619", tmp_path / folder)
    with pytest.raises(InputError, match="round2_train/image_1.png: another image_1 is in round1_train"):
        Workspace(tmp_path).train_scenes()


@pytest.mark.parametrize(
    "values",
    [{"crop_size": 31, "stride": 31}, {"stride": 0}, {"stride": 65}, {"val_fraction": 1.1}, {"val_fraction": -0.1},
     {"keep_background": 2}, {"val_fraction": float("nan")}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(values):
    with pytest.raises(SettingError):
        CutSettings(**{"crop_size": 64, "stride": 64} | values).check()
