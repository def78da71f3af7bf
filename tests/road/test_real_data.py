"""The road on real scenes: RGB JPEG, 16-bit with holes, float SAR. Needs the folder named by JINGWEI_REAL_DATA.

    JINGWEI_REAL_DATA=FOLDER make test-slow

FOLDER/<set>/ holds scenes, labels named <scene>_label*.png, and legend.json.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from jingwei.configs.config import read_config
from jingwei.crops.cut import cut_train
from jingwei.crops.prepare import prepare_training
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import TRAIN, VALIDATION, label_path, read_crops
from jingwei.crops.tile import tile_scene
from jingwei.evaluation.scenes import score_file
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.legend import NODATA, find_legend
from jingwei.models.checkpoints import load_checkpoint
from jingwei.polygons.polygons import write_polygons
from jingwei.prediction.job import Job
from jingwei.prediction.scene import predict_scene
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.crop_files import read_label_crop
from jingwei.raster.reading import Raster, open_labels
from jingwei.training.loop import RunOptions, run, train
from jingwei.training.recipes import FOCAL_LOVASZ
from jingwei.training.run_files import Keeping
from jingwei.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.mark.timeout(3600)
def test_fields_of_a_radar_scene_that_were_never_seen(tmp_path):
    """configs/flevoland_unet.json, as shipped: whole fields are held out, and nine pixels in ten of them are right."""
    changes = {"train_loader.args.data_dir": str(FOLDER / "flevoland"), "trainer.save_dir": str(tmp_path)}
    config = read_config(ROOT / "configs" / "flevoland_unet.json", changes)
    assert config.data.legend.classes == find_legend(str(FOLDER / "flevoland" / "legend.json")).classes
    workspace = prepare_training(config.data, config.cache, workers=2)
    crops = read_crops(workspace.crops)

    with open_labels(FOLDER / "flevoland" / "flevo_label_train.png") as file:
        labels = file.read_label_rows(0, file.height)
    sides = {side: np.full(labels.shape, NODATA) for side in (TRAIN, VALIDATION)}
    for crop in crops:
        part = read_label_crop(label_path(workspace.train, crop))
        known = part != NODATA
        assert (sides[crop.split][crop.window.slices][known] == NODATA).all()
        sides[crop.split][crop.window.slices][known] = part[known]
    trained, held = (sides[side] != NODATA for side in (TRAIN, VALIDATION))
    for land_class in range(len(config.data.legend)):
        regions, count = ndimage.label(labels == land_class)
        seen = [np.unique(regions[side & (labels == land_class)]) for side in (trained, held)]
        assert not np.intersect1d(*seen).size
        assert count < 2 or seen[1].size

    folder = run(workspace, config.recipe, Keeping(config.runs / "test", ".pth"), RunOptions(workers=1, device="cpu"))
    scores = load_checkpoint(folder / "last.pth").scores
    print(f"overall accuracy {scores['accuracy']:.4f} on {held.sum()} px")
    assert scores["accuracy"] >= 0.9


@pytest.mark.parametrize("name", ["image_2.jpg", "image_5.jpg"])
def test_dubai_as_polygons_gives_the_same_crops(name, tmp_path):
    """Byte for byte: its labels are complete, so polygons of them are split in blocks as the raster is."""
    image = FOLDER / "dubai" / name
    legend, label = find_legend(str(FOLDER / "dubai" / "legend.json")), image.with_name(f"{image.stem}_label.png")
    drawn = tmp_path / f"{image.stem}_label.gpkg"
    write_polygons(label, drawn, legend=legend)
    folders = []
    for file in (label, drawn):
        workspace = Workspace(tmp_path / file.suffix.removeprefix("."))
        cut_train(workspace, [Scene(image, file)], CutSettings(256, 256), legend, workers=2)
        files = [path for path in workspace.train.rglob("*") if path.is_file() and ".parts" not in path.parts]
        folders.append({path.relative_to(workspace.train): path.read_bytes() for path in files})
    assert len(folders[0]) > 10
    assert folders[0] == folders[1]
