"""The road on real scenes: RGB JPEG, 16-bit with holes, float SAR. Needs the folder named by JINGWEI_REAL_DATA.

    JINGWEI_REAL_DATA=FOLDER make test-slow

FOLDER/<set>/ holds scenes, labels named <scene>_label*.png, and legend.json.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jingwei.crops import read_crops
from jingwei.cutting import CutSettings, cut_train, tile_scene
from jingwei.evaluation import score_file
from jingwei.grid import Window
from jingwei.legend import NODATA, find_legend
from jingwei.prediction import Job, PredictSettings, predict_scene
from jingwei.raster import Raster
from jingwei.recipes import FOCAL_LOVASZ
from jingwei.training import RunOptions, train
from jingwei.workspace import Scene, Workspace

FOLDER = Path(os.environ.get("JINGWEI_REAL_DATA", "/nonexistent"))
SCENES = {
    "dubai": ("image_2.jpg", "image_2_label.png"),
    "landsat_crops": ("image_1.tif", "image_1_label.png"),
    "flevoland": ("flevo.tif", "flevo_label_train.png"),
}
TINY = replace(
    FOCAL_LOVASZ, backbone="resnet18", output_stride=16, pretrained=False, crop_sizes=(64,), batch_size=4,
    epochs=1, steps_per_epoch=3,
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="JINGWEI_REAL_DATA names no folder of real scenes"),
]


@pytest.mark.parametrize("name", SCENES)
def test_cut_train_predict_and_score_a_real_scene(name, tmp_path):
    scene = Scene(*(FOLDER / name / file for file in SCENES[name]))
    workspace, legend = Workspace(tmp_path), find_legend(str(FOLDER / name / "legend.json"))
    cut_train(workspace, [scene], CutSettings(256, 256), legend, workers=2)
    crops = read_crops(workspace.crops)
    assert {crop.split for crop in crops} == {"train", "validation"}

    tile_scene(scene.image, workspace.tiled(scene), workers=2)
    with Raster(scene.image) as source, Raster(workspace.tiled(scene)) as tiled:
        assert (tiled.crs, tiled.transform) == (source.crs, source.transform)
        whole = Window(0, 0, *source.shape)
        (pixels, valid), (copy, copy_valid) = source.read(whole), tiled.read(whole)
    assert np.array_equal(valid, copy_valid)
    assert np.array_equal(pixels[:, valid], copy[:, valid])

    folder = train(workspace, TINY, "real", RunOptions(workers=0))
    target = tmp_path / "map.tif"
    settings = PredictSettings(window=512, overlap=64)
    predict_scene(Job(folder / "best.pt", workspace.tiled(scene), target, settings))
    with Raster(target) as labels:
        predicted = labels.read_label_rows(0, labels.height)
    assert np.array_equal(predicted == NODATA, ~valid)
    assert score_file(target, scene.label, legend, scene.image).counts.sum() > 0
