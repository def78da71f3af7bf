"""What commands say of scenes, maps and checkpoints that they can't use, one line each."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_projects import (
    QUICK,
    TEST,
    TRAIN,
    assert_one_line,
    change_checkpoint,
    contents,
    nothing_looks_cut,
    write_tif,
)

from jingwei.legend import GF3, NODATA
from jingwei.models.checkpoints import load_checkpoint
from jingwei.raster.png import write_png

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("script", ["generate_train_data.py", "generate_test_data.py"])
def test_no_scenes_says_where_and_which_names(call, tmp_path, script):
    word = "train" if "train" in script else "test"
    for folder in (tmp_path, tmp_path / "nowhere"):
        outcome = call(script, "--data_dir", folder)
        assert_one_line(
            outcome, f"error: {folder}: no {word} scenes", rf"\*{word}\*/image_N.png", "--data_dir", "--scene"
        )
        assert not list(tmp_path.iterdir())


def break_scene(root: Path, how: str) -> Path:
    """Makes image_2 or its label unusable. Returns the file that is wrong."""
    image, label = (root / TRAIN / f"image_2{end}.png" for end in ("", "_label"))
    if how == "no label":
        label.unlink()
        return image
    if how == "label of another size":
        write_png(label, np.zeros((150, 269), np.uint8))
    elif how == "colours for a label":
        write_png(label, np.zeros((150, 270, 3), np.uint8))
    elif how == "unknown ids":
        labels = np.zeros((150, 270), np.uint8)
        labels[3:8, 3:8], labels[100, 200:203] = 7, 9
        write_png(label, labels)
    elif how == "label of numbers beyond 255":
        label.unlink()
        label = label.with_suffix(".tif")
        write_tif(label, np.full((1, 150, 270), 300, np.uint16))
    elif how == "label of fractions":
        label.unlink()
        label = label.with_suffix(".tif")
        write_tif(label, np.zeros((1, 150, 270), np.float32))
    elif how == "empty file":
        image.write_bytes(b"")
        return image
    elif how == "text":
        image.write_text("no picture")
        return image
    elif how == "truncated label":
        label.write_bytes(label.read_bytes()[:-60])
    elif how in ("truncated", "corrupt"):
        content = bytearray(image.read_bytes())
        middle = len(content) // 2
        if how == "corrupt":
            content[middle : middle + 50] = bytes(50)
        image.write_bytes(content[: len(content) if how == "corrupt" else middle])
        return image
    elif how == "transparent":
        write_png(image, np.zeros((150, 270, 4), np.uint8))
        return image
    elif how == "unlabelled":
        write_png(label, np.full((150, 270), NODATA, np.uint8))
        (root / TRAIN / "image_1.png").unlink()
        return root
    elif how == "other bands":
        image.unlink()
        write_tif(image.with_suffix(".tif"), np.ones((5, 150, 270), np.uint16))
        return root / "train"
    elif how == "unknown type":
        image.unlink()
        image = image.with_suffix(".tif")
        write_tif(image, np.ones((3, 150, 270), np.float64))
        return image
    return label


BROKEN = {
    "no label": ("has no label image_2_label.png",),
    "label of another size": ("269 x 150 px, but image_2.png is 270 x 150",),
    "colours for a label": ("has 3 bands",),
    "unknown ids": (r"7 \(25 px\), 9 \(3 px\)", "known are 0 background, 1 cured tobacco", "--legend"),
    "label of numbers beyond 255": ("300",),
    "label of fractions": ("float32",),
    "empty file": ("is not a raster",),
    "text": ("is not a raster",),
    "truncated": ("broken or truncated at rows .* of 150",),
    "truncated label": ("broken or truncated at rows .* of 150",),
    "corrupt": ("broken or truncated at rows .* of 150",),
    "transparent": ("has no valid pixel",),
    "unlabelled": ("no labelled pixel in image_2",),
    "other bands": ("image_1: 3 bands of uint8; image_2: 5 bands of uint16",),
    "unknown type": ("float64.*uint8, uint16",),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_training_scene_that_cannot_be_used_is_named(call, bare, how):
    place = break_scene(bare, how)
    scenes = contents(bare / TRAIN)
    outcome = call("generate_train_data.py", "--data_dir", bare, "--crop_size", 64)
    assert_one_line(outcome, f"error: {place}: ", *BROKEN[how])
    assert nothing_looks_cut(bare)
    assert contents(bare / TRAIN) == scenes


def test_two_scenes_of_one_name_are_refused(call, bare):
    pair = (bare / TRAIN / "image_1.png", bare / TRAIN / "image_1_label.png")
    outcome = call("generate_train_data.py", "--data_dir", bare, "--scene", *pair, "--scene", *pair)
    assert_one_line(outcome, "two scenes are named image_1")
    shutil.copytree(bare / TEST, bare / "jingwei_round2_test_20190801")
    assert_one_line(call("generate_test_data.py", "--data_dir", bare), "image_3.png: another image_3 is in", "--scene")
    assert not (bare / "test").exists()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "broken or truncated at rows .* of 170"),
        ("corrupt", "broken or truncated at rows .* of 170"),
        ("transparent", "has no valid pixel"),
        ("text", "is not a raster"),
    ],
)
def test_a_test_scene_that_cannot_be_used_is_named(call, bare, how, message):
    image = bare / TEST / "image_3.png"
    content = bytearray(image.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "corrupt":
        content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    elif how == "text":
        content = b"no picture"
    image.write_bytes(content)
    if how == "transparent":
        write_png(image, np.zeros((170, 140, 4), np.uint8))
    assert_one_line(call("generate_test_data.py", "--data_dir", bare), f"error: {image}: {message}")
    assert not [path for path in (bare / "test").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "has no list"),
        ('{"classes": [{"id": 0, "name": "a"}]}', "class at place 0"),
        ('{"classes": [{"id": 1, "name": "a", "color": "#000000"}], "colour": 1}', "unknown keys colour.*has id 1"),
    ],
)
def test_a_legend_file_that_makes_no_sense_is_refused(call, bare, tmp_path, content, problem):
    (tmp_path / "own.json").write_text(content)
    outcome = call("generate_train_data.py", "--data_dir", bare, "--legend", tmp_path / "own.json")
    assert_one_line(outcome, f"error: {tmp_path / 'own.json'}: .*{problem}")
    assert nothing_looks_cut(bare)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("train.py --train --scratch", "crops.csv: no such file: run generate_train_data.py first"),
        ("train.py", "no experiment .*known are none yet"),
        ("predict.py", "model: no trained experiment there: run train.py"),
        ("vote.py", "no cut scenes there: run generate_test_data.py first"),
        ("fill_hole.py", "no cut scenes there: run generate_test_data.py first"),
        ("evaluate.py", "no cut scenes there: run generate_test_data.py first"),
        ("report.py", "neither a cut scene nor a trained experiment is there: run generate_test_data.py or train.py"),
    ],
)
def test_a_stage_without_the_one_before_says_what_to_run(call, bare, script, message):
    before = contents(bare)
    script, *flags = script.split()
    assert_one_line(call(script, "--data_dir", bare, *flags), message)
    assert contents(bare) == before


@pytest.mark.parametrize("script", ["vote.py", "fill_hole.py", "evaluate.py"])
def test_scenes_without_maps_say_what_to_run(call, data, script):
    shutil.rmtree(data / "test" / "mask3")
    assert_one_line(call(script, "--data_dir", data), "mask3: no .*there: run predict.py first")


def test_without_labels_there_is_no_score(call, data):
    shutil.rmtree(data / "truth")
    assert_one_line(call("evaluate.py", "--data_dir", data), "no test scene has a label: put image_N_label.png")


def test_a_missing_crop_is_named(call, data):
    for crop in (data / "train" / "data").iterdir():
        crop.unlink()
    assert_one_line(call("train.py", "--data_dir", data, *QUICK), "cut the scenes again")
    (data / "train" / "crops.csv").write_text("name,split\nimage_1,train\n")
    assert_one_line(call("train.py", "--data_dir", data, *QUICK), "crops.csv: is not a table of crops")


def test_maps_of_different_sizes_are_not_voted_on(call, data, tmp_path):
    one = data / "test" / "mask3" / "cross_entropy_first.tif"
    write_tif(tmp_path / "other.tif", np.zeros((1, 170, 141), np.uint8))
    outcome = call(
        "vote.py", "--data_dir", data, "--inputs", one, tmp_path / "other.tif", "--output", tmp_path / "v.tif"
    )
    assert_one_line(outcome, f"error: {tmp_path / 'other.tif'}: 141 x 170 px, but {one.name} is 140 x 170")
    assert [path.name for path in tmp_path.glob("*.*")] == ["other.tif"]


def test_a_prediction_and_a_label_of_different_sizes_are_not_compared(call, data, tmp_path):
    write_png(tmp_path / "label.png", np.zeros((10, 10), np.uint8))
    one = data / "test" / "mask3" / "cross_entropy_first.tif"
    outcome = call("evaluate.py", "--data_dir", data, "--prediction", one, "--label", tmp_path / "label.png")
    assert_one_line(outcome, "140 x 170", "10 x 10")


def test_ids_beyond_the_legend_are_named_not_scored(call, data, tmp_path):
    write_png(tmp_path / "label.png", np.full((170, 140), 8, np.uint8))
    one = data / "test" / "mask3" / "cross_entropy_first.tif"
    outcome = call("evaluate.py", "--data_dir", data, "--prediction", one, "--label", tmp_path / "label.png")
    assert_one_line(outcome, r"label.png: ids 8 .*the first at row 0, column 0", "--legend")


def test_a_map_is_never_filled_onto_itself(call, data):
    one = data / "test" / "mask3" / "cross_entropy_first.tif"
    before = one.read_bytes()
    assert_one_line(call("fill_hole.py", "--data_dir", data, "--input", one, "--output", one), "input and an output")
    assert one.read_bytes() == before


def test_a_map_is_never_voted_onto_itself(call, data):
    one = data / "test" / "mask3" / "cross_entropy_first.tif"
    before = one.read_bytes()
    assert_one_line(call("vote.py", "--data_dir", data, "--inputs", one, one, "--output", one), one.name)
    assert one.read_bytes() == before


@pytest.mark.parametrize("command", [
    ["vote.py"], ["fill_hole.py"], ["polygons.py"], ["evaluate.py"], ["evaluate.py", "--areas"], ["report.py"],
    ["label.py"],
], ids=" ".join)  # fmt: skip
def test_maps_of_another_legend_than_the_cuts_are_refused(call, data, command):
    legend = json.loads((data / "train" / "legend.json").read_text())
    first, second = legend["classes"][1:3]
    legend["classes"][1:3] = second | {"id": 1}, first | {"id": 2}
    (data / "train" / "legend.json").write_text(json.dumps(legend))
    before = contents(data)
    assert_one_line(call(*command, "--data_dir", data), r"test/mask3/cross_entropy_first.tif: says that 1 is",
                    "train/legend.json says", "run predict.py again")  # fmt: skip
    assert contents(data) == before
    assert call(*command, "--data_dir", data, "--legend", "jingwei")[0] == 0


@pytest.mark.parametrize("script", ["predict.py", "train.py"])
def test_a_checkpoint_of_another_legend_is_refused(call, data, script):
    change_checkpoint(
        data / "model" / "cross_entropy" / "first" / "best.pt", legend=replace(GF3, classes=GF3.classes[:5])
    )
    before = contents(data / "test")
    flags = ["--exp", "cross_entropy/first" if script == "predict.py" else "first", "--device", "cpu"]
    outcome = call(script, "--data_dir", data, *flags)
    assert_one_line(outcome, "first/best.pt: was trained on other classes.*industrial.*corn")
    assert contents(data / "test") == before


@pytest.mark.parametrize("script", ["predict.py", "train.py"])
def test_a_checkpoint_of_other_bands_is_refused(call, data, script):
    path = data / "model" / "cross_entropy" / "first" / "best.pt"
    spec = replace(load_checkpoint(path).spec, bands=7)
    change_checkpoint(path, spec=spec, mean=(1.0,) * 7, std=(1.0,) * 7)
    before = contents(data / "test")
    flags = ["--exp", "cross_entropy/first" if script == "predict.py" else "first", "--device", "cpu"]
    assert_one_line(call(script, "--data_dir", data, *flags), "first/best.pt: was trained on 7 bands.* has 3")
    assert contents(data / "test") == before


def test_checkpoints_of_one_name_are_refused(call, data, tmp_path):
    """Else the map of the last would be there alone."""
    source = next(data.glob("model/*/*/best.pt"))
    twins = [tmp_path / folder / "mine.pt" for folder in "ab"]
    for twin in twins:
        twin.parent.mkdir()
        shutil.copyfile(source, twin)
    outcome = call("predict.py", "--data_dir", data, "--checkpoint", *twins)
    assert_one_line(outcome, str(twins[1]), str(twins[0]), "copy one under another name")


def test_runs_from_a_config_give_maps_of_their_own(call, data, tmp_path):
    source = next(data.glob("model/*/*/best.pt"))
    runs = [tmp_path / "saved" / "houses" / time / "best.pth" for time in ("2026-01-01", "2026-01-02")]
    for run in runs:
        run.parent.mkdir(parents=True)
        shutil.copyfile(source, run)
    flags = ("--output", tmp_path / "maps", "--window", "64", "--overlap", "16", "--engine", "torch")
    assert call("predict.py", "--data_dir", data, "--checkpoint", *runs, *flags)[0] == 0
    maps = {path.stem for path in tmp_path.glob("maps/*/houses_*.tif")}
    assert maps == {"houses_2026-01-01", "houses_2026-01-02"}


@pytest.mark.parametrize("way", [["--exp", "cross_entropy/first"], ["--checkpoint", "{}"], []], ids=str)
def test_a_checkpoint_with_code_is_not_opened(call, data, way):
    victim = data / "touched"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (victim,)

    path = data / "model" / "cross_entropy" / "first" / "best.pt"
    path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    outcome = call("predict.py", "--data_dir", data, *(part.format(path) for part in way))
    assert_one_line(outcome, f"error: {path}: carries code")
    assert_one_line(call("train.py", "--data_dir", data, *QUICK, "--weights", path), f"error: {path}: carries code")
    assert not victim.exists()


def test_a_broken_scene_stops_the_prediction_without_a_map(call, data):
    tiled = data / "test" / "image3" / "image_3.tif"
    content = tiled.read_bytes()
    tiled.write_bytes(content[: len(content) * 2 // 3])
    before = contents(data / "test")
    outcome = call("predict.py", "--data_dir", data, "--window", 64, "--overlap", 8, "--device", "cpu")
    assert_one_line(outcome, "image_3.tif")
    assert contents(data / "test") == before
