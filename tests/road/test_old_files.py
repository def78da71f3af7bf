"""What version 0.3.0 wrote stays readable: `tests/data/version_0_3_0/`, two networks, crops and maps.

`road/` was cut, trained, predicted (window 64, overlap 16, engine torch), voted on and filled by it; `radar/` is a
sample with the labels that its inference.py gave by the radar network.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

import jingwei
from jingwei.crops.table import read_crops
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster, open_image, open_labels
from jingwei.training.recipes import read_recipe

OLD = Path(__file__).resolve().parents[1] / "data" / "version_0_3_0"
HOW = {"window": 64, "overlap": 16, "engine": "torch"}
FLAGS = ("--window", 64, "--overlap", 16, "--engine", "torch", "--device", "cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def road(tmp_path):
    return Path(shutil.copytree(OLD / "road", tmp_path / "road"))


def ids_of(path: Path) -> np.ndarray:
    with open_labels(path) as labels:
        return labels.read_label_rows(0, labels.height)


def pixels_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with open_image(path) as image:
        return image.read_rows(0, image.height)


def assert_the_same_but_for_ties(model, pixels, expected: np.ndarray, **how) -> np.ndarray:
    """The labels, once they are found to be those expected: another processor's sums (bf16, where it has it) may only
    change one where two classes are as good as equal.
    """
    labels, probabilities = model.predict_probabilities(pixels, **how)
    rows, cols = np.nonzero(labels != expected)
    assert np.all(expected[rows, cols] != NODATA)
    assert np.all(labels[rows, cols] != NODATA)
    assert len(rows) < 0.02 * labels.size
    lost = probabilities[labels[rows, cols], rows, cols] - probabilities[expected[rows, cols], rows, cols]
    assert np.all(lost < 0.03)
    return labels


def test_an_optical_network_and_a_radar_one_load_alike():
    model = jingwei.load(OLD / "road" / "model" / "cross_entropy" / "old" / "best.pt")
    assert (model.legend.names, model.bands, model.dtype, model.radar) == (JINGWEI.names, 3, "uint8", None)
    assert 0 < model.scores["miou"] <= 1
    model = jingwei.load(OLD / "radar" / "best.pth")
    assert (model.legend, model.bands, model.dtype) == (GF3, 4, "float32")
    assert model.radar.values == "amplitude"
    assert len(model.radar.low) == 4


def test_a_network_gives_the_labels_that_were_kept(call, road):
    scene, kept = road / "a_test" / "image_3.png", road / "test" / "mask3" / "cross_entropy_old.tif"
    model = jingwei.load(road / "model" / "cross_entropy" / "old" / "best.pt", device="cpu")
    pixels, valid = pixels_of(scene)
    labels = assert_the_same_but_for_ties(model, pixels, ids_of(kept), valid=valid, **HOW)
    jingwei.predict(scene, model, road / "new.tif", **HOW)
    assert np.array_equal(ids_of(road / "new.tif"), labels)
    kept.unlink()
    status, _, err = call("predict.py", "--data_dir", road, *FLAGS)
    assert status == 0, err
    assert np.array_equal(ids_of(kept), labels)


def test_a_radar_network_gives_the_labels_that_were_kept(call, tmp_path):
    radar = Path(shutil.copytree(OLD / "radar", tmp_path / "radar"))
    planes = []
    for channel in ("HH", "HV", "VH", "VV"):
        with Raster(radar / f"5_{channel}.tiff") as file:
            planes.append(file.read_rows(0, file.height)[0][0])
    model = jingwei.load(radar / "best.pth", device="cpu")
    how = {"window": 512, "overlap": 128, "engine": "torch"}
    kept = ids_of(radar / "predicted_label.png")
    labels = assert_the_same_but_for_ties(model, np.stack(planes), kept, **how)
    jingwei.predict(radar / "5_HH.tiff", model, tmp_path / "map.tif", **how)
    assert np.array_equal(ids_of(tmp_path / "map.tif"), labels)
    weights = ("--checkpoint", radar / "best.pth", "--ids", "--engine", "torch", "--device", "cpu")
    (radar / "predicted_label.png").unlink()  # it would be a mask of a sample `predicted`
    status, _, err = call("inference.py", radar, tmp_path / "out", *weights)
    assert status == 0, err
    assert np.array_equal(ids_of(tmp_path / "out" / "5_label.png"), labels)


def test_crops_are_read_trained_on_and_scored(call, road):
    crops = read_crops(road / "train" / "crops.csv")
    assert {crop.split for crop in crops} == {"train", "validation"}
    assert read_recipe(road / "model" / "cross_entropy" / "old" / "recipe.json").name == "cross_entropy"
    status, out, err = call("train.py", "--data_dir", road, "--exp", "old", "--device", "cpu", "--workers", 0)
    assert status == 0, err
    assert "mIoU" in out
    small = {"model": "attention_unet", "backbone": "resnet18", "aux_weight": 0.0, "crop_sizes": (64,)}
    small |= {"batch_size": 2, "steps_per_epoch": 1, "epochs": 1, "precision": "fp32"}
    how = {"scratch": True, "device": "cpu", "workers": 0}
    best = jingwei.train("cross_entropy", road, "new", **how, **small)
    assert jingwei.load(best).legend.names == JINGWEI.names


def test_scenes_are_cut_again_into_the_same_crops(road):
    before = read_crops(road / "train" / "crops.csv")
    size = before[0].window.height
    stride = sorted({crop.window.row for crop in before})[1]
    after = jingwei.cut(data_dir=road, crop_size=size, stride=stride, val_fraction=0.2, keep_background=1.0)
    assert {crop.name for crop in after} >= {crop.name for crop in before}


def test_old_maps_are_voted_on_filled_scored_and_turned_into_polygons(call, road, tmp_path):
    old = road / "test" / "mask3"
    maps = [old / "cross_entropy_old.tif", old / "vote.tif", old / "filled.tif"]
    vote = jingwei.vote(maps, tmp_path / "vote.tif")
    filled = jingwei.fill(old / "vote.tif", tmp_path / "filled.tif", max_size=500)
    assert np.array_equal(ids_of(filled), ids_of(old / "filled.tif"))
    assert set(np.unique(ids_of(vote))) <= {*range(5), NODATA}
    truth = road / "truth" / "image_3_label.png"
    scores = jingwei.evaluate(old / "filled.tif", truth)
    assert scores["pixels"] == np.array(scores["confusion"]).sum()
    assert jingwei.polygonize(old / "filled.tif", tmp_path / "fields.gpkg").stat().st_size
    for script in ("vote.py", "fill_hole.py", "evaluate.py", "report.py"):
        status, _, err = call(script, "--data_dir", road)
        assert status == 0, err


def test_a_soft_vote_counts_old_probabilities(road, tmp_path):
    chances = road / "test" / "mask3" / "probabilities" / "cross_entropy_old.tif"
    soft = jingwei.vote([chances], tmp_path / "soft.tif", soft=True)
    hard = ids_of(road / "test" / "mask3" / "cross_entropy_old.tif")
    assert (ids_of(soft) == hard).mean() > 0.99  # 8 bits make a tie here and there


def test_the_fixture_is_of_that_version():
    """Guards the others: were the files written anew, they would show nothing."""
    with Raster(OLD / "road" / "test" / "mask3" / "vote.tif") as vote:
        assert set(vote.tags) & {"JINGWEI_STAMP"}
        assert "JINGWEI_LEGEND" not in vote.tags


def test_what_is_made_now_is_not_mixed_up_with_what_was(road, tmp_path):
    """A scene of another size beside old maps is refused, not scored."""
    write_png(tmp_path / "label.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(jingwei.InputError, match="9 x 9"):
        jingwei.evaluate(road / "test" / "mask3" / "vote.tif", tmp_path / "label.png")
