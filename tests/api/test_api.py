"""`import jingwei`: light, complete, and the same results as the command line."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

import jingwei
from jingwei.grid import Window
from jingwei.legend import GF3, JINGWEI, LandClass, Legend
from jingwei.polygons.writing import vector_writer
from jingwei.prediction.model import Model
from jingwei.raster.map_legend import legend_of_map
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster, open_image, open_labels, read_tags
from jingwei.raster.writing import TiledWriter

OLD = Path(__file__).resolve().parents[1] / "data" / "version_0_3_0"
WEIGHTS = OLD / "road" / "model" / "cross_entropy" / "old" / "best.pt"
SCENE = OLD / "road" / "a_test" / "image_3.png"
TRUTH = OLD / "road" / "truth" / "image_3_label.png"
HOW = {"window": 64, "overlap": 16, "engine": "torch"}

pytestmark = pytest.mark.usefixtures("one_thread")


def ids_of(path) -> np.ndarray:
    with open_labels(path) as labels:
        return labels.read_label_rows(0, labels.height)


@pytest.fixture(scope="module")
def model():
    return jingwei.load(WEIGHTS, device="cpu")


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """pixels_CHW and valid_HW of SCENE."""
    with open_image(SCENE) as image:
        return image.read(Window(0, 0, image.height, image.width))


# ---- the import ----


def fresh(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_the_import_loads_nothing_heavy():
    heavy = ("torch", "numpy", "rasterio", "cv2", "matplotlib", "numba", "tqdm", "argparse")
    code = f"import sys, jingwei, jingwei.api; dir(jingwei); print([name for name in {heavy} if name in sys.modules])"
    assert fresh(code).strip() == "[]"


def test_the_import_takes_less_than_a_tenth_of_a_second():
    code = "import time; t = time.perf_counter(); import jingwei; print(time.perf_counter() - t)"
    assert min(float(fresh(code)) for _ in range(3)) < 0.1


def test_every_public_name_is_there_and_documented():
    assert set(jingwei.__all__) <= set(dir(jingwei))
    for name in jingwei.__all__:
        thing = getattr(jingwei, name)
        assert not callable(thing) or thing.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        jingwei.nonsense  # noqa: B018


def test_no_package_takes_the_place_of_a_function():
    """A subpackage or module named like a function would replace it as soon as it is imported."""
    inside = Path(jingwei.__file__).parent
    there = {path.stem for folder in (inside, inside / "api") for path in folder.iterdir()}
    assert {"api", "training"} <= there
    assert not there & set(jingwei.__all__)


# ---- pixels in memory ----


@pytest.mark.parametrize("how", [HOW, HOW | {"tta": "flips"}, HOW | {"window": 40, "overlap": 8, "batch_size": 3}])
def test_labels_are_those_of_predict_py(call, tmp_path, model, scene, how):
    flags = [part for name, value in how.items() for part in (f"--{name}", value)]
    where = ("--checkpoint", WEIGHTS, "--scene", SCENE, "--output", tmp_path / "out", "--data_dir", tmp_path)
    status, _, err = call("predict.py", *where, *flags, "--device", "cpu", "--probabilities")
    assert status == 0, err
    pixels, valid = scene
    labels, probabilities = model.predict_probabilities(pixels, valid=valid, **how)
    folder = tmp_path / "out" / "image_3"
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, ids_of(folder / "cross_entropy_old.tif"))
    assert np.array_equal(labels, model.predict(pixels, valid=valid, **how))
    with Raster(folder / "probabilities" / "cross_entropy_old.tif") as kept:
        planes, _ = kept.read(Window(0, 0, *kept.shape))
    assert probabilities.dtype == np.float32
    assert np.array_equal(np.round(probabilities * 255).astype(np.uint8), planes)
    assert np.allclose(probabilities.sum(0)[labels != 255], 1, atol=0.02)


def test_what_is_no_data_is_255_and_no_class(model, scene):
    pixels, _ = scene
    labels, probabilities = model.predict_probabilities(pixels, valid=np.zeros(pixels.shape[1:], bool), **HOW)
    assert (labels == 255).all()
    assert not probabilities.any()
    marked = pixels.copy()
    marked[:, :9, :9] = 7
    marked[0, 20, 20] = 7  # one band alone is a colour
    labels = model.predict(marked, nodata=7, **HOW)
    assert (labels[:9, :9] == 255).all()
    assert labels[20, 20] != 255


def test_what_a_masked_array_hides_is_no_data(model, scene):
    pixels, _ = scene
    hidden = np.zeros(pixels.shape, bool)
    hidden[:, :9] = True
    hidden[0, 20, 20] = True  # in one band alone, as of a nodata value that it happens to have
    labels = model.predict(np.ma.array(pixels, mask=hidden), **HOW)
    assert np.array_equal(labels, model.predict(pixels, valid=~hidden.all(axis=0), **HOW))
    assert (labels[:9] == 255).all()
    assert np.array_equal(model.predict(np.ma.array(pixels), **HOW), model.predict(pixels, **HOW))


def test_one_engine_is_made_for_many_calls(model, scene, monkeypatch):
    from jingwei.prediction import model as module

    pixels, _ = scene
    labels = model.predict(pixels, **HOW)
    monkeypatch.setattr(module, "choose_engine", lambda *_, **__: pytest.fail("another engine is made"))
    assert (model.predict(pixels, **HOW) == labels).all()


@pytest.mark.parametrize(("change", "message"), [
    ({"pixels": np.zeros((40, 40, 3), np.uint8)}, r"`pixels`: have shape \(40, 40, 3\).*np.moveaxis"),
    ({"pixels": np.zeros((40, 40), np.uint8)}, "takes 3 bands"),
    ({"pixels": np.zeros((3, 0, 40), np.uint8)}, "there are none"),
    ({"pixels": np.zeros((3, 40, 40), np.float32)}, "`pixels`: are float32, .* trained on uint8"),
    ({"valid": np.ones((4, 4), bool)}, "`valid`: has shape"),
    ({"window": 7}, "`window`: 7 with `overlap` 256"),
    ({"tta": "many"}, "`tta` many"),
    ({"engine": "tensorrt"}, "`engine` tensorrt"),
    ({"batch_size": -1}, "`batch_size`: is -1"),
])  # fmt: skip
def test_mistakes_name_arguments_not_flags(model, change, message):
    given = {"pixels": np.zeros((3, 40, 40), np.uint8)} | change
    with pytest.raises(jingwei.SettingError, match=message) as caught:
        model.predict(given.pop("pixels"), **given)
    assert "--" not in str(caught.value)


def test_radar_below_0_is_refused():
    radar = jingwei.load(OLD / "radar" / "best.pth", device="cpu")
    with pytest.raises(jingwei.SettingError, match="below 0"):
        radar.predict(np.full((4, 40, 40), -3, np.float32))


def test_a_model_says_which_bands_it_takes(model):
    legend = replace(model.legend, bands=("red", "green", "blue"))
    assert model.band_names == ()
    assert Model(replace(model.checkpoint, legend=legend), WEIGHTS, "cpu").band_names == ("red", "green", "blue")


# ---- files ----


def test_a_map_is_kept_and_made_anew_when_its_scene_changes(tmp_path, model, scene):
    source = Path(shutil.copyfile(SCENE, tmp_path / "image_3.png"))
    target = jingwei.predict(source, model, tmp_path / "map.tif", **HOW)
    pixels, valid = scene
    assert np.array_equal(ids_of(target), model.predict(pixels, valid=valid, **HOW))
    before = target.stat().st_mtime_ns
    jingwei.predict(source, model, target, **HOW)
    assert target.stat().st_mtime_ns == before
    os.utime(source, ns=(1, 1))
    jingwei.predict(source, model, target, **HOW)
    assert target.stat().st_mtime_ns != before
    assert {path.name for path in tmp_path.iterdir()} == {"image_3.png", "map.tif", "map.qml", "map.tif.aux.xml"}


def test_no_map_takes_the_place_of_what_it_is_made_of_or_of_a_folder(tmp_path, model):
    scene = Path(shutil.copyfile(SCENE, tmp_path / "image_3.tif"))
    weights = Path(shutil.copyfile(WEIGHTS, tmp_path / "best.pt"))
    link = tmp_path / "link.tif"
    link.symlink_to(scene)
    at_once = "is an input and an output at once"
    for target, how, message in (
        (scene, {}, at_once),
        (link, {}, at_once),
        (weights, {}, at_once),
        (tmp_path / "map.tif", {"confidence": scene}, at_once),
        (tmp_path / "map.tif", {"confidence": tmp_path / "." / "map.tif"}, "map.tif: is named for two outputs: give"),
        (tmp_path, {}, "is a folder, not a file: name a file in it"),
    ):
        with pytest.raises(jingwei.JingweiError, match=message):
            jingwei.predict(scene, weights, target, device="cpu", **how, **HOW)
    with pytest.raises(jingwei.SettingError, match="`batch_size`: is -2"):
        jingwei.predict(scene, model, tmp_path / "map.tif", batch_size=-2)
    assert scene.read_bytes() == SCENE.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"image_3.tif", "best.pt", "link.tif"}


def test_a_network_whose_file_has_changed_makes_no_map_in_its_name(tmp_path):
    weights = Path(shutil.copyfile(WEIGHTS, tmp_path / "best.pt"))
    model = jingwei.load(weights, "cpu")
    os.utime(weights, ns=(1, 1))  # as where the training has gone on
    with pytest.raises(jingwei.CheckpointError, match="has changed since it was loaded: load it again"):
        jingwei.predict(SCENE, model, tmp_path / "map.tif", **HOW)
    assert jingwei.predict(SCENE, jingwei.load(weights, "cpu"), tmp_path / "map.tif", **HOW).exists()


def test_radar_files_may_come_in_any_order_and_with_small_letters(tmp_path):
    weights, channels = OLD / "radar" / "best.pth", ("HH", "HV", "VH", "VV")
    first = jingwei.predict(OLD / "radar" / "5_HH.tiff", weights, tmp_path / "first.tif", device="cpu", **HOW)
    files = [
        shutil.copyfile(OLD / "radar" / f"5_{name}.tiff", tmp_path / f"5_{name.lower()}.tiff") for name in channels
    ]
    for number, scene in enumerate((files[::-1], files[0], files[3])):
        found = jingwei.predict(scene, weights, tmp_path / f"{number}.tif", device="cpu", **HOW)
        assert np.array_equal(ids_of(found), ids_of(first))
    with pytest.raises(jingwei.InputError, match="5_hh.tiff: is of the channel HH, as 5_hh.tiff is"):
        jingwei.predict([*files[:3], files[0]], weights, tmp_path / "map.tif")


def test_a_scene_without_tiles_is_copied_and_the_copy_goes(tmp_path, model, scene, monkeypatch):
    monkeypatch.setattr("jingwei.prediction.prepare_sample.SMALL_PX", 1)
    target = jingwei.predict(SCENE, model, tmp_path / "map.tif", **HOW)
    pixels, valid = scene
    assert np.array_equal(ids_of(target), model.predict(pixels, valid=valid, **HOW))
    assert {path.name for path in tmp_path.iterdir()} == {"map.tif", "map.qml", "map.tif.aux.xml"}


def test_a_scene_that_does_not_fit_leaves_nothing(tmp_path, model, monkeypatch):
    monkeypatch.setattr("jingwei.prediction.prepare_sample.SMALL_PX", 1)
    write_png(tmp_path / "grey.png", np.zeros((50, 50), np.uint8))
    with pytest.raises(jingwei.CheckpointError, match="3 bands, but grey.png has 1"):
        jingwei.predict(tmp_path / "grey.png", model, tmp_path / "map.tif", **HOW)
    with pytest.raises(jingwei.InputError, match="is 2 files, but an optical network takes one"):
        jingwei.predict([SCENE, SCENE], model, tmp_path / "map.tif", **HOW)
    with pytest.raises(jingwei.InputError, match="a radar network takes four"):
        jingwei.predict(SCENE, OLD / "radar" / "best.pth", tmp_path / "map.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["grey.png"]


def test_probabilities_go_where_they_are_wanted(tmp_path, model):
    jingwei.predict(SCENE, WEIGHTS, tmp_path / "map.tif", probabilities=tmp_path / "chances.tif", device="cpu", **HOW)
    jingwei.vote([tmp_path / "chances.tif"], tmp_path / "soft.tif", soft=True)
    assert (ids_of(tmp_path / "soft.tif") == ids_of(tmp_path / "map.tif")).mean() > 0.99


def test_a_part_of_a_scene_says_so(tmp_path, model):
    quick = jingwei.predict(SCENE, model, tmp_path / "part.tif", part=0.2, **HOW)
    assert read_tags(quick)["JINGWEI_PART"] == "0.2"
    with pytest.raises(jingwei.InputError, match="is only a part of a map"):
        jingwei.vote([quick], tmp_path / "vote.tif")
    with pytest.raises(jingwei.SettingError, match="`part`: is 2, not between 0 and 1"):
        jingwei.predict(SCENE, model, tmp_path / "map.tif", part=2, **HOW)


def test_maps_say_what_their_ids_mean(tmp_path):
    own = Legend("own", tuple(LandClass(i, name, (i, 0, 0)) for i, name in enumerate(("sky", "sea", "land"))), None)
    with TiledWriter(tmp_path / "a.tif", 40, 50) as writer:
        writer.write(Window(0, 0, 40, 50), np.full((40, 50), 2, np.uint8))
    vote = jingwei.vote([tmp_path / "a.tif"], tmp_path / "vote.tif", legend=own)
    assert legend_of_map(vote) == own
    filled = jingwei.fill(vote, tmp_path / "filled.tif", min_area=4)
    assert legend_of_map(filled) == own
    jingwei.polygonize(filled, tmp_path / "fields.geojson", pixels=True)
    assert '"land"' in (tmp_path / "fields.geojson").read_text()
    assert jingwei.evaluate(filled, filled)["classes"]["land"]["iou"] == 1
    assert legend_of_map(tmp_path / "a.tif") is None


def test_a_legend_tag_of_somebody_else_is_left_aside(tmp_path):
    with TiledWriter(tmp_path / "a.tif", 4, 5, tags={"JINGWEI_LEGEND": "[" * 5000}) as writer:
        writer.write(Window(0, 0, 4, 5), np.zeros((4, 5), np.uint8))
    assert read_tags(tmp_path / "a.tif")["JINGWEI_LEGEND"].startswith("[[")
    assert legend_of_map(tmp_path / "a.tif") is None


def test_classes_go_by_name_or_id(tmp_path):
    labels = np.full((40, 40), 1, np.uint8)
    labels[5:9, 5:9] = 0
    labels[20:22, 20:22] = 2
    with TiledWriter(tmp_path / "a.tif", 40, 40) as writer:
        writer.write(Window(0, 0, 40, 40), labels)
    filled = jingwei.fill(tmp_path / "a.tif", tmp_path / "b.tif", classes=[JINGWEI.names[1]], min_area={2: 9})
    assert (ids_of(filled) == 1).all()
    jingwei.fill(tmp_path / "a.tif", tmp_path / "c.tif", protect=["background"], min_area={"corn": 9})
    assert (ids_of(tmp_path / "c.tif")[5:9, 5:9] == 0).all()
    with pytest.raises(jingwei.SettingError, match="no class 'wheat'"):
        jingwei.fill(tmp_path / "a.tif", tmp_path / "d.tif", classes=["wheat"])
    framed = jingwei.fill(tmp_path / "a.tif", tmp_path / "e.tif", frame_sizes=[20, 10], step=5)
    assert framed.exists()


def test_scores_are_a_mapping_with_the_confusion_matrix():
    scores = jingwei.evaluate(OLD / "road" / "test" / "mask3" / "vote.tif", TRUTH)
    confusion = np.array(scores["confusion"])
    assert confusion.shape == (5, 6)
    hits = np.diagonal(confusion)
    assert scores["accuracy"] == pytest.approx(hits.sum() / confusion.sum())
    assert set(scores["classes"]) == set(JINGWEI.names)
    folder = jingwei.evaluate(OLD / "radar" / "lbl", OLD / "radar" / "lbl", legend="gf3")
    assert folder["miou"] == 1
    assert folder["labels"] == 1
    assert set(folder["classes"]) == set(GF3.names)
    with pytest.raises(jingwei.InputError, match="is a file, but .* is a folder"):
        jingwei.evaluate(TRUTH, OLD / "radar" / "lbl")


def test_a_sample_of_a_map_whose_nodata_tag_is_a_class_is_scored_where_that_is_said(tmp_path):
    labels = np.repeat(np.arange(3, dtype=np.uint8), 400).reshape(30, 40)
    with TiledWriter(tmp_path / "map.tif", 30, 40, nodata=0) as writer:
        writer.write(Window(0, 0, 30, 40), labels)
    rows, cols = np.divmod(np.arange(0, 1200, 60), 40)
    with vector_writer(tmp_path / "points.gpkg", "Point", {"label": str}) as writer:
        points = shapely.to_wkb(shapely.points(cols + 0.5, -rows - 0.5))
        writer.write(points, {"label": [str(labels[place]) for place in zip(rows, cols, strict=True)]})
    with pytest.raises(jingwei.InputError, match="its nodata tag is 0, .*: take `label_nodata` keep"):
        jingwei.evaluate(tmp_path / "map.tif", sample=tmp_path / "points.gpkg")
    scores = jingwei.evaluate(tmp_path / "map.tif", sample=tmp_path / "points.gpkg", label_nodata="keep")
    assert scores["accuracy"] == 1


# ---- the whole road ----


def test_the_road_from_scenes_to_a_report(county, tmp_path):
    project = Path(shutil.copytree(county, tmp_path / "project"))
    train = project / "jingwei_round1_train_20190619"
    pairs = [(train / f"image_{n}.png", train / f"image_{n}_label.png") for n in (1, 2)]
    crops = jingwei.cut(pairs, project, crop_size=64)
    assert {crop.scene for crop in crops} == {"image_1", "image_2"}
    small = {"backbone": "resnet18", "batch_size": 2, "crop_sizes": (64,), "epochs": 1, "steps_per_epoch": 1}
    how = {"scratch": True, "device": "cpu", "workers": 0, "precision": "fp32"}
    best = jingwei.train("attention_unet", project, "first", quick=True, **how, **small)
    assert best == project / "model" / "attention_unet" / "first" / "best.pt"
    recipe = json.loads(best.with_name("recipe.json").read_text())
    assert (recipe["epochs"], recipe["crop_sizes"], recipe["optimizer"], recipe["ema"]) == (1, [64], "adamw", 0.99)
    image = next(project.glob("*test*/image_3.png"))
    tiled = jingwei.tile(image, project / "test" / "image3" / "image_3.tif")
    masks = project / "test" / "mask3"
    jingwei.predict(tiled, best, masks / "attention_unet_first.tif", window=96, overlap=24, device="cpu")
    vote = jingwei.vote([masks / "attention_unet_first.tif"] * 2, masks / "vote.tif", weights=[2, 1])
    jingwei.fill(vote, masks / "filled.tif", picture=tmp_path / "picture.png")
    page = jingwei.report(project)
    assert page.exists()
    assert jingwei.report(project, tmp_path / "other", scenes=["image_3"], language="zh").exists()
    with pytest.raises(jingwei.SettingError, match="`scene`: no cut scene is named image_9"):
        jingwei.report(project, scenes=["image_9"])
    exported = jingwei.export(best, tmp_path / "net.onnx", tile=64)
    assert exported.stat().st_size > 1e6


@pytest.mark.parametrize(("arguments", "changes", "message"), [
    (("nonsense",), {}, "`recipe` nonsense: no such recipe: known are cross_entropy, focal_lovasz"),
    (("swa",), {"base_lt": 1}, "`base_lt`: is not a field of a recipe: did you mean base_lr. known are name, model"),
    (("swa",), {"epochs": 0}, "epochs"),
    (("swa",), {"epochs": "3", "loss": None}, "loss is None, not a text; epochs is '3', not a whole number"),
    (("swa",), {"crop_sizes": 64}, "crop_sizes is 64, not a list"),
    (("swa",), {"crop_sizes": [16]}, "crop_size is 16, below 32 px"),
    (("swa",), {"workers": -1}, "`workers`: is -1"),
    (("x.json",), {"epochs": 3}, "says itself what is trained"),
    (("x.json",), {"quick": True}, "says itself what is trained"),
    (("x.json",), {"data_dir": "project"}, "says itself what is trained"),
    (("x.json",), {}, "x.json: no such file"),
])  # fmt: skip
def test_mistakes_in_training_are_told_first(tmp_path, arguments, changes, message):
    project = shutil.copytree(OLD / "road", tmp_path / "road")
    with pytest.raises(jingwei.SettingError, match=message):
        jingwei.train(*arguments, *([project] if arguments[0] != "x.json" else []), **changes)


@pytest.mark.parametrize(("call_it", "message"), [
    (lambda: jingwei.vote("a.tif", "vote.tif"), "`inputs`: is one path, a.tif: give a list of maps"),
    (lambda: jingwei.cut("a.png"), "`scenes`: is 'a.png', not a list of pairs"),
    (lambda: jingwei.cut(("a.png", "a_label.png")), "`scenes`: is .*, not a list of pairs"),
    (lambda: jingwei.cut([("a.png",)]), "`scenes`: is .*, not a list of pairs"),
    (lambda: jingwei.cut([()]), "`scenes`: is .*, not a list of pairs"),
    (lambda: jingwei.cut([]), "`scenes`: is .*, not a list of pairs"),
])  # fmt: skip
def test_one_path_is_no_list(tmp_path, monkeypatch, call_it, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(jingwei.SettingError, match=message):
        call_it()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("call_it", [
    lambda: jingwei.cut([("a.png", "a_label.png"), ("b/a.png", "a_label.png")]),
    lambda: jingwei.vote([], "vote.tif"),
    lambda: jingwei.vote([TRUTH], "vote.tif", workers=0),
    lambda: jingwei.polygonize(OLD / "radar" / "lbl" / "5_gt.png", "a.gpkg", background=True, legend="gf3"),
    lambda: jingwei.fill("nowhere.tif", "filled.tif"),
    lambda: jingwei.fill(TRUTH, "filled.tif", picture="filled.tif"),
    lambda: jingwei.load("nowhere.pt"),
    lambda: jingwei.export(WEIGHTS, "net.onnx", int8=True),
    lambda: jingwei.export(WEIGHTS, "net.onnx", int8=True, scene=OLD / "radar" / "5_HH.tiff"),
    lambda: jingwei.export(OLD / "radar" / "best.pth", "net.onnx", int8=True, scene=OLD / "radar" / "5_HH.tiff"),
])  # fmt: skip
def test_every_mistake_is_an_error_of_the_family(tmp_path, monkeypatch, call_it):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(jingwei.JingweiError) as caught:
        call_it()
    assert "--" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
