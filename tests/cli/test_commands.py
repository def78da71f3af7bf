"""The command line: every flag is there and explained, and every mistake gets one line, status 2, and loses nothing."""

import argparse
import io
import json
import pickle
import re
import resource
import runpy
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from jingwei.cli.parser import chosen_legend
from jingwei.legend import GF3, JINGWEI, NODATA, find_legend
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.planning import estimates
from jingwei.raster.png import write_png
from jingwei.system.progress import Progress
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "jingwei_round1_train_20190619"
TEST = "jingwei_round1_test_a_20190619"
SCRIPTS = (
    "generate_train_data.py", "generate_test_data.py", "train.py", "train_focalloss.py", "train_swa.py",
    "train_multiscale.py", "Unet_resnet34/train.py",
    "predict.py", "Unet_resnet34/predict.py", "vote.py", "fill_hole.py", "evaluate.py",
    "inference.py", "report.py", "doctor.py", "polygons.py", "export.py", "label.py",
)  # fmt: skip
TRAIN_FLAGS = (
    "train exp epochs base_lr batch_size crop_size model backbone scratch weights freeze_bn last_mult loss schedule "
    "optimizer weight_decay workers precision compile seed resume early_stop steps_per_epoch device data_dir "
    "ema accumulate clip_grad balance class_mix init_from skip_bad_steps sync_bn label_smoothing edge_smoothing"
)
PREDICT_FLAGS = (
    "exp checkpoint scene window overlap tta probabilities engine batch_size precision device output data_dir workers "
    "dry_run cluster cog no_confidence robustness"
)
FLAGS = {
    "doctor.py": "legend model backbone epochs quick label_field buffer order labelled background_outside",
    "generate_train_data.py": (
        "data_dir scene crop_size stride val_fraction keep_background workers legend dry_run cluster"
        " label_field buffer order labelled background_outside"
    ),
    "generate_test_data.py": "data_dir scene workers dry_run cluster",
    "train.py": TRAIN_FLAGS,
    "train_focalloss.py": TRAIN_FLAGS,
    "train_swa.py": TRAIN_FLAGS,
    "train_multiscale.py": TRAIN_FLAGS,
    "Unet_resnet34/train.py": TRAIN_FLAGS,
    "predict.py": PREDICT_FLAGS,
    "Unet_resnet34/predict.py": PREDICT_FLAGS,
    "vote.py": "cog no_confidence inputs output soft weights ties data_dir legend dry_run cluster",
    "fill_hole.py": (
        "input output rule max_size min_area connectivity protect frame_sizes step classes data_dir legend dry_run "
        "cluster cog"
    ),
    "evaluate.py": (
        "prediction label json areas gsd zones zone_name sample seed sample_file data_dir legend dry_run cluster"
        " label_field buffer order labelled background_outside"
    ),
    "polygons.py": "input output format simplify min_area classes background gsd data_dir legend",
    "report.py": "scene output language gsd data_dir workers legend dry_run cluster"
    " label_field buffer order labelled background_outside",
    "label.py": "count window simplify scene add status seed data_dir legend",
    "export.py": "checkpoint exp output tile overlap resolution int8 scene licence data_dir",
    "inference.py": (
        "checkpoint mode window overlap tta engine batch_size precision device ids workers origin provider author time"
    ),
}
QUICK = [
    "--train", "--scratch", "--backbone", "mobilenetv3_small_050", "--output_stride", "16", "--crop_size", "48",
    "--batch_size", "2", "--epochs", "1", "--steps_per_epoch", "1", "--workers", "0", "--device", "cpu",
]  # fmt: skip


def assert_one_line(outcome: tuple[int, str, str], *parts: str) -> None:
    """A mistake's outcome: status 2, one line on stderr that names these parts (regular expressions)."""
    status, _, err = outcome
    assert status == 2, err
    assert re.fullmatch(r"error: [^\n]+\n", err), err
    for part in parts:
        assert re.search(part, err), f"{part!r} is not in: {err}"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@contextmanager
def full_disk(after: int):
    """No file may grow beyond `after` bytes: what a full disk does, seen from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ---- -h ----


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_explains_every_flag_of_the_design(call, script):
    status, out, err = call(script, "--help_all")
    assert (status, err) == (0, "")
    for flag in FLAGS[script].split():
        assert re.search(rf"--{flag}\b", out), f"--{flag} is missing"
        assert "_" not in flag or f"--{flag.replace('_', '-')}" in out
    undocumented = re.findall(r"^  (--\S+(?:, --\S+)*(?: [A-Z{]\S*)*)$\n(?!\s{10,}\S)", out, re.MULTILINE)
    assert not undocumented


@pytest.mark.parametrize("script", ["generate_train_data.py", "train.py", "predict.py"])
def test_help_tells_the_defaults(call, script):
    out = " ".join(call(script, "--help_all")[1].split())
    expected = {
        "generate_train_data.py": ("1024)", "0.2)", "0.1)", "jingwei)", "data)"),
        "train.py": (
            "deeplabv3)",
            "its usual one, such as resnet50 for deeplabv3)",
            "0.01)",
            "16)",
            "poly)",
            "sgd)",
            "cross_entropy)",
            "auto)",
        ),
        "predict.py": ("1024)", "256)", "none)", "auto)"),
    }
    for value in expected[script]:
        assert f"(default: {value}" in out


def test_every_script_of_the_root_is_known_here():
    found = {
        path.relative_to(ROOT).as_posix() for folder in (ROOT, ROOT / "Unet_resnet34") for path in folder.glob("*.py")
    }
    assert found == set(SCRIPTS)


def test_a_script_answers_from_another_folder_as_a_process(tmp_path):
    command = [sys.executable, str(ROOT / "vote.py"), "-h"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "--inputs" in done.stdout


# ---- a project to make mistakes in ----


@pytest.fixture(scope="module")
def finished(county, tmp_path_factory) -> Path:
    """The county after cutting, with two checkpoints of random weights and their maps. Only to be read."""
    root = tmp_path_factory.mktemp("finished") / "data"
    shutil.copytree(county, root)
    torch.manual_seed(0)
    for exp, score in (("first", 0.4), ("second", 0.3)):
        model = build_model(ModelSpec("attention_unet", "mobilenetv3_small_050", 3, 5), (90,) * 3, (50,) * 3)
        recipe = replace(CROSS_ENTROPY, model="attention_unet", backbone="mobilenetv3_small_050").to_dict()
        checkpoint = Checkpoint(
            model.spec, "uint8", (90.0,) * 3, (50.0,) * 3, JINGWEI, recipe, model.state_dict(), {"miou": score}
        )
        save_checkpoint(root / "model" / "cross_entropy" / exp / "best.pt", checkpoint)
        (root / "model" / "cross_entropy" / exp / "recipe.json").write_text(json.dumps(recipe))
    for command in (["generate_train_data.py", "--crop_size", "64"], ["generate_test_data.py"],
                    ["predict.py", "--window", "64", "--overlap", "16", "--device", "cpu"]):  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [*command, "--data_dir", str(root)])
            runpy.run_path(str(ROOT / command[0]), run_name="__main__")
    return root


@pytest.fixture
def data(finished, tmp_path) -> Path:
    """A finished project of one's own."""
    return Path(shutil.copytree(finished, tmp_path / "data"))


@pytest.fixture
def bare(county, tmp_path) -> Path:
    """The county's scenes, nothing done yet."""
    return Path(shutil.copytree(county, tmp_path / "data"))


# ---- flags ----

BAD_FLAGS = [
    ("vote.py", "--colour red", "--colour"),
    ("train.py", "--epoch 3", "--epoch"),  # no abbreviations
    ("train.py", "--base 3", "--base"),
    ("generate_train_data.py", "--crop 64", "--crop"),
    ("train.py", "--epochs many", "--epochs.*many"),
    ("train.py", "--precision fp8", "--precision.*fp8.*fp32"),
    ("train.py", "--optimizer rmsprop", "--optimizer.*sgd.*adamw"),
    ("train.py QUICK", "--loss nonsense", "--loss nonsense.*cross_entropy"),
    ("train.py QUICK", "--schedule nonsense", "--schedule nonsense.*poly"),
    ("train.py QUICK", "--model nonsense", "--model nonsense.*deeplabv3"),
    ("train.py QUICK", "--backbone nonsense", "--backbone nonsense.*resnet18"),
    ("train.py QUICK", "--device cuda:99", "--device cuda:99: not usable"),
    ("train.py QUICK", "--device gpu", "--device gpu: not usable"),
    ("train.py QUICK", "--batch_size 0 --epochs -1", "epochs is -1.*batch_size is 0"),
    ("train.py QUICK", "--steps_per_epoch -1", "steps_per_epoch is -1"),
    ("train.py QUICK", "--early_stop -1", "early_stop is -1"),
    ("train.py QUICK", "--weight_decay -1", "weight_decay is -1"),
    ("train.py QUICK", "--seed -1", "seed is -1"),
    ("train.py QUICK", "--momentum 2", "momentum is 2"),
    ("train.py QUICK", "--workers -1", "--workers"),
    ("train.py QUICK", "--weights nowhere.pt", "nowhere.pt: no such file"),
    ("train.py QUICK", "--resume nowhere.pt", "nowhere.pt: no such file"),
    ("train.py", "--exp nothing", "no experiment cross_entropy/nothing.*cross_entropy/first, cross_entropy/second"),
    ("train.py QUICK", "--exp ../up", "--exp"),
    ("generate_train_data.py", "--crop_size 0", "--crop_size: 0 with --stride 0"),
    ("generate_train_data.py", "--crop_size 64 --stride 65", "stride 65"),
    ("generate_train_data.py", "--stride 0", "stride 0"),
    ("generate_train_data.py", "--val_fraction 2", "--val_fraction.*is 2"),
    ("generate_train_data.py", "--keep_background -1", "--keep_background.*is -1"),
    ("generate_train_data.py", "--workers 0", "0 is below 1"),
    ("generate_train_data.py", "--legend nonsense", "nonsense: no such legend.*jingwei, gf2, gf3"),
    ("generate_train_data.py", "--scene nowhere.png nowhere_label.png", "nowhere.*no such file"),
    ("generate_test_data.py", "--scene nowhere.png", "nowhere.png: no such file"),
    ("predict.py", "--exp nothing", "no experiment.*nothing.*cross_entropy/first, cross_entropy/second"),
    ("predict.py", "--exp swa/nothing", "no experiment swa/nothing.*cross_entropy/first"),
    ("predict.py", "--checkpoint nowhere.pt", "nowhere.pt: no such file"),
    ("predict.py", "--window 8", "--window: 8 with --overlap 256: take 32 px"),
    ("predict.py", "--window 64 --overlap 64", "overlap 64"),
    ("predict.py", "--tta many", "--tta.*many.*flips"),
    ("predict.py", "--engine fast", "--engine.*fast.*openvino"),
    ("predict.py", "--batch_size 0", "0 is below 1"),
    ("predict.py", "--precision fp16 --device cpu", "--precision fp16"),
    ("predict.py", "--scene nowhere.tif", "nowhere.tif: no such file"),
    ("vote.py", "--weights 1 2 3", "3 weights for 2 maps"),
    ("vote.py", "--weights 0 0", "--weights"),
    ("vote.py", "--weights nan 1", "--weights"),
    ("vote.py", "--weights many", "--weights: 'many' is neither a number nor `auto`"),
    ("vote.py", "--weights 1 auto", "--weights: auto stands beside other weights"),
    ("vote.py", "--weights auto --inputs a.tif --output b.tif", "a.tif: no such file"),
    ("vote.py", "--weights auto --legend gf3", "the vote's legend is gf3, that of the crops is jingwei"),
    ("vote.py", "--soft", "probabilities: no probabilities there: run predict.py --probabilities first"),
    ("vote.py", "--soft --inputs a.tif --output b.tif", "a.tif: no such file"),
    ("vote.py", "--ties nobody", "nobody.*corn"),
    ("vote.py", "--inputs a.tif b.tif", "--inputs and --output go together"),
    ("vote.py", "--output a.tif", "--inputs and --output go together"),
    ("vote.py", "--inputs a.tif b.tif --output c.tif", "a.tif: no such file"),
    ("fill_hole.py", "--max_size 0", "0 is below 1"),
    ("fill_hole.py", "--min_area -1", "--min_area.*is -1"),
    ("fill_hole.py", "--connectivity 6", "--connectivity.*6.*4, 8"),
    ("fill_hole.py", "--min_area few", "--min_area: 'few' is not a number"),
    ("fill_hole.py", "--min_area 9 wheat=4", "wheat.*corn"),
    ("fill_hole.py", "--min_area 9 corn=-4", "--min_area: is -4: "),
    ("fill_hole.py", "--min_area 9 4", "--min_area: has two numbers for all classes"),
    ("fill_hole.py", "--classes wheat", "wheat.*corn"),
    ("fill_hole.py", "--protect wheat", "wheat.*corn"),
    ("fill_hole.py", "--protect 0", "--protect: keeps the background"),
    ("fill_hole.py", "--rule square", "--rule.*square.*frame"),
    ("fill_hole.py", "--rule frame --frame_sizes 2", "--frame_sizes: is 2: "),
    ("fill_hole.py", "--rule frame --step 0", "--step: is 0: "),
    ("fill_hole.py", "--rule frame --min_area 9", "--min_area: means nothing to --rule frame: leave it out"),
    ("fill_hole.py", "--rule frame --max_size 500", "--max_size: means nothing to --rule frame"),
    ("fill_hole.py", "--rule frame --connectivity 4", "--connectivity: means nothing to --rule frame"),
    ("fill_hole.py", "--rule frame --protect corn", "--protect: means nothing to --rule frame"),
    ("fill_hole.py", "--step 50", "--step: means nothing to --rule hole: leave it out, or take --rule frame"),
    ("fill_hole.py", "--frame_sizes 500", "--frame_sizes: means nothing to --rule hole"),
    ("fill_hole.py", "--input a.tif", "--input and --output go together"),
    ("fill_hole.py", "--input a.tif --output b.tif", "a.tif: no such file"),
    ("fill_hole.py", "--legend nowhere.json", "nowhere.json: no such legend"),
    ("evaluate.py", "--prediction a.tif", "--prediction and --label go together"),
    ("report.py", "--scene image_9", "--scene: no cut scene is named image_9: take some of: image_3"),
    ("report.py", "--language fr", "--language.*fr.*en"),
    ("report.py", "--gsd 0", "--gsd.*0 is not a length"),
    ("evaluate.py", "--prediction a.tif --label b.png", "a.tif: no such file"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "flags", "message"), BAD_FLAGS, ids=lambda value: value)
def test_a_bad_flag_gets_one_line_and_changes_nothing(call, data, script, flags, message):
    before = contents(data)
    script, *quick = script.split()
    assert_one_line(call(script, "--data_dir", data, *(QUICK if quick else ()), *flags.split()), message)
    assert contents(data) == before


def test_flags_may_be_spelled_with_dashes(call, data):
    status, out, err = call("fill_hole.py", "--data-dir", data, "--max-size", 40, "--min-area", 3)
    assert (status, err) == (0, "")
    assert (data / "test" / "mask3" / "filled.tif").exists()


def test_filling_follows_its_rule(call, tmp_path):
    labels = np.ones((60, 60), np.uint8)
    labels[:, 30:] = 2
    labels[10:14, 10:14] = 0
    labels[10:14, 28:32] = 0  # in both fields: no hole, and in no frame of one class
    labels[40, 3:6] = labels[40, 50:53] = 4
    write_tif(tmp_path / "map.tif", labels[None])

    def filled(*flags):
        status, _, err = call("fill_hole.py", "--input", tmp_path / "map.tif", "--output", tmp_path / "f.tif", *flags)
        assert (status, err) == (0, "")
        with rasterio.open(tmp_path / "f.tif") as file:
            return file.read(1)

    def expected(*places):
        result = labels.copy()
        for *place, value in places:
            result[tuple(place)] = value
        return result

    hole = slice(10, 14), slice(10, 14), 1
    left, right = (40, slice(3, 6)), (40, slice(50, 53))
    np.testing.assert_array_equal(filled(), expected(hole))
    np.testing.assert_array_equal(filled("--rule", "frame", "--frame_sizes", 20, 12, "--step", 4), expected(hole))
    np.testing.assert_array_equal(filled("--rule", "frame"), labels)  # no frame of 400 px fits in
    np.testing.assert_array_equal(filled("--min_area", "building=9"), expected(hole, (*left, 1), (*right, 2)))
    np.testing.assert_array_equal(filled("--min_area", 9, "building=3"), expected(hole))
    np.testing.assert_array_equal(filled("--min_area", 9, "--protect", "building"), expected(hole))


# ---- missing and unusable scenes ----


@pytest.mark.parametrize("script", ["generate_train_data.py", "generate_test_data.py"])
def test_no_scenes_says_where_and_which_names(call, tmp_path, script):
    word = "train" if "train" in script else "test"
    for folder in (tmp_path, tmp_path / "nowhere"):
        outcome = call(script, "--data_dir", folder)
        assert_one_line(
            outcome, f"error: {folder}: no {word} scenes", rf"\*{word}\*/image_N.png", "--data_dir", "--scene"
        )
        assert not list(tmp_path.iterdir())


def nothing_looks_cut(root: Path) -> bool:
    """Nothing that the next stage would take for finished, and no temporary file."""
    return not (root / "train" / "crops.csv").exists() and not list(root.rglob("*.part"))


def write_tif(path: Path, pixels: np.ndarray, **profile) -> None:
    bands, height, width = pixels.shape
    profile |= {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": pixels.dtype.name}
    with rasterio.open(path, "w", **profile) as scene:
        scene.write(pixels)


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


# ---- stages out of order ----


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


# ---- maps and checkpoints that don't fit ----


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


def change_checkpoint(path: Path, **changes) -> None:
    save_checkpoint(path, replace(load_checkpoint(path), **changes))


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


# ---- a full disk ----

FULL = {
    "generate_train_data.py": (["--crop_size", "128", "--val_fraction", "0.3"], 8_000),
    "generate_test_data.py": ([], 8_000),
    "predict.py": (["--window", "64", "--overlap", "20", "--device", "cpu"], 2_000),
    "vote.py": ([], 2_000),
    "fill_hole.py": ([], 2_000),
    "train.py": (QUICK, 1_000_000),
}


@pytest.mark.parametrize("script", FULL)
def test_a_full_disk_gets_one_line_and_leaves_nothing_half_written(call, data, script):
    flags, limit = FULL[script]
    if script == "generate_test_data.py":
        shutil.rmtree(data / "test")
    before = contents(data)
    with full_disk(limit):
        status, out, err = call(script, "--data_dir", data, *flags)
    # libtiff has a word of its own on stderr, past every handler of GDAL's.
    ours = [line for line in err.splitlines(keepends=True) if not re.match(r"_tiff\w+Proc: ", line)]
    assert_one_line((status, out, "".join(ours)), "can't be written", "free some space")
    after = contents(data)
    assert not [name for name in after if name.endswith(".part")]
    finished = {name: content for name, content in before.items() if not name.startswith("train/")}
    assert {name: after.get(name) for name in finished} == finished
    made = {name for name in set(after) - set(before) if name.endswith((".tif", "predict.png", ".pt"))}
    # Finished crops and finished bands stay: the next run goes on with them.
    assert not {name for name in made if not name.startswith("train/") and ".parts/" not in name}
    if script == "generate_train_data.py":
        assert nothing_looks_cut(data)
    status, _, err = call(script, "--data_dir", data, *flags)  # with room again, the same command ends well
    assert (status, err) == (0, "")


AS_PROCESS = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("script", "limit", "message"),
    [("generate_train_data.py", 8_000, "can't be written"), ("predict.py", 0, "no trained experiment")],
)
def test_a_process_says_one_line_too(bare, script, limit, message):
    command = [sys.executable, "-c", AS_PROCESS, str(limit), str(ROOT / script), "--data_dir", str(bare)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert_one_line((done.returncode, done.stdout, done.stderr), message)
    assert nothing_looks_cut(bare)


def test_a_read_only_place_gets_one_line(call, data, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    outcome = call("predict.py", "--data_dir", data, "--device", "cpu", "--output", tmp_path / "file")
    assert_one_line(outcome, "can't be written")


# ---- a bug is no mistake of the user's ----


def test_a_bug_keeps_its_traceback(call, data, monkeypatch):
    def broken(*args, **how):
        raise ZeroDivisionError

    monkeypatch.setattr("jingwei.voting.vote.vote", broken)
    with pytest.raises(ZeroDivisionError):
        call("vote.py", "--data_dir", data)


def test_ctrl_c_says_that_nothing_is_lost(call, data, monkeypatch):
    def stopped(*args, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr("jingwei.voting.vote.vote", stopped)
    status, _, err = call("vote.py", "--data_dir", data)
    assert status == 130
    assert "goes on" in err


# ---- what goes well ----


def test_training_and_scoring_from_the_command_line(call, data):
    status, out, err = call("train.py", "--data_dir", data, *QUICK, "--exp", "mine", "--base-lr", "0.005")
    assert (status, err) == (0, "")
    folder = data / "model" / "cross_entropy" / "mine"
    assert json.loads((folder / "recipe.json").read_text())["base_lr"] == 0.005
    status, out, err = call("train.py", "--data_dir", data, "--exp", "mine", "--workers", 0, "--device", "cpu")
    assert (status, err) == (0, "")
    miou = load_checkpoint(folder / "best.pt").scores["miou"]
    assert re.search(rf"^mIoU +{miou:.4f}$", out, re.MULTILINE), out


def test_the_best_experiments_map_is_submitted(data):
    with rasterio.open(data / "test" / "mask3" / "cross_entropy_first.tif") as best:
        labels = best.read(1)
    with rasterio.open(data / "submit" / "image_3_predict.png") as png:
        np.testing.assert_array_equal(png.read(1), np.where(labels == NODATA, 0, labels))


def test_predicting_again_keeps_the_maps(call, data):
    maps = sorted((data / "test" / "mask3").glob("*.tif"))
    before = [path.stat().st_mtime_ns for path in maps]
    flags = ["--window", 64, "--overlap", 16, "--device", "cpu"]
    status, out, err = call("predict.py", "--data_dir", data, *flags)
    assert (status, err, out.count("kept, it is up to date")) == (0, "", 2)
    assert [path.stat().st_mtime_ns for path in maps] == before


def test_named_files_go_where_they_are_told(call, data, tmp_path):
    maps = sorted((data / "test" / "mask3").glob("*.tif"))
    voted, filled = tmp_path / "out" / "v.tif", tmp_path / "out" / "f.tif"
    assert call("vote.py", "--data_dir", data, "--inputs", *maps, "--output", voted)[0] == 0
    assert call("fill_hole.py", "--data_dir", data, "--input", voted, "--output", filled)[0] == 0
    label = data / "truth" / "image_3_label.png"
    status, out, _ = call("evaluate.py", "--data_dir", data, "--prediction", filled, "--label", label, "--json")
    assert status == 0
    assert json.loads(out)["pixels"] == 170 * 140
    names = {path.name for path in (tmp_path / "out").iterdir()}
    styles = {"v.qml", "v.tif.aux.xml", "v_agreement.qml", "v_entropy.qml", "f.qml", "f.tif.aux.xml"}
    assert names == {"v.tif", "v_agreement.tif", "v_entropy.tif", "f.tif", "f_vis.png", "confidence"} | styles


def test_voting_again_keeps_the_vote_and_submits_it(call, data):
    status, out, _ = call("vote.py", "--data_dir", data)
    assert (status, out.count("written: ")) == (0, 2)
    before = contents(data)
    write_png(data / "submit" / "image_3_predict.png", np.zeros((170, 140), np.uint8))
    status, out, _ = call("vote.py", "--data_dir", data)
    assert (status, out.count("kept, it is up to date: ")) == (0, 1)
    assert contents(data) == before


@pytest.mark.parametrize("soft", [False, True])
def test_a_vote_with_learned_weights(call, data, soft):
    masks = data / "test" / "mask3"
    maps = sorted(masks.glob("cross_entropy_*.tif"))
    if soft:
        for path in maps:
            with rasterio.open(path) as file:
                labels = file.read(1)
            planes = 200 * (labels == np.arange(5)[:, None, None]) + 10 * (labels != NODATA)
            (masks / "probabilities").mkdir(exist_ok=True)
            write_tif(masks / "probabilities" / path.name, planes.astype(np.uint8), nodata=0, photometric="minisblack")
    flags = ["--data_dir", data, "--weights", "auto", "--workers", 1, *(["--soft"] if soft else [])]
    status, out, err = call("vote.py", *flags)
    assert (status, err) == (0, "")
    shares = re.findall(r"^  cross_entropy_(?:first|second) +(\d\.\d\d)$", out, re.MULTILINE)
    assert len(shares) == 2
    assert sum(map(float, shares)) == pytest.approx(1, abs=0.011)
    assert re.search(r"validation mIoU: best single map \d.*, equal vote \d.*, weighted vote \d", out)
    assert {"vote.tif", "agreement.tif", "entropy.tif"} <= {path.name for path in masks.iterdir()}
    assert len(list(data.rglob("validation_sample.npz"))) == 2
    status, out, _ = call("vote.py", *flags)
    assert (status, out.count("kept, it is up to date: ")) == (0, 1)
    (data / "train" / "crops.csv").unlink()
    assert_one_line(call("vote.py", *flags), "crops.csv: no such file: run generate_train_data.py first")


def test_label_maps_are_no_probabilities(call, data, tmp_path):
    maps = sorted((data / "test" / "mask3").glob("*.tif"))
    outcome = call("vote.py", "--data_dir", data, "--soft", "--inputs", *maps, "--output", tmp_path / "v.tif")
    assert_one_line(outcome, f"{maps[0].name}: has one band, as label maps have.*run predict.py with --probabilities")


def test_learned_weights_want_experiments_of_the_crops_legend(call, data):
    change_checkpoint(
        data / "model" / "cross_entropy" / "second" / "best.pt", legend=replace(GF3, classes=GF3.classes[:5])
    )
    before = contents(data / "test")
    outcome = call("vote.py", "--data_dir", data, "--weights", "auto", "--workers", 1)
    assert_one_line(outcome, "second/best.pt: was trained on other classes")
    assert contents(data / "test") == before


def test_scenes_may_be_named_and_the_output_be_elsewhere(call, data, tmp_path):
    scene = tmp_path / "village.tif"
    write_tif(scene, np.full((3, 90, 70), 100, np.uint8), crs="EPSG:32650", tiled=False)
    flags = ["--scene", scene, "--exp", "first", "--output", tmp_path / "maps", "--device", "cpu", "--window", 64]
    status, _, err = call("predict.py", "--data_dir", data, *flags, "--overlap", 16)
    assert (status, err) == (0, "")
    made = {path.relative_to(tmp_path / "maps").as_posix() for path in (tmp_path / "maps").rglob("*.*")}
    styles = {f"village/{name}" for name in ("cross_entropy_first.qml", "cross_entropy_first.tif.aux.xml")}
    assert (
        made
        == {"village/cross_entropy_first.tif", "village/village_predict.png", "village/village_predict.qml"} | styles
    )


# ---- what it would take ----

SMALL = ["--window", "64", "--overlap", "16", "--device", "cpu"]
DRY = {
    "generate_train_data.py": (["--crop_size", "64"], r"image_1.png: 211 x 300 px, 3 bands of uint8: at most 20 crops"),
    "generate_test_data.py": ([], r"image_3.png: 140 x 170 px, 3 bands of uint8: a copy in tiles of 256 px"),
    "predict.py": (SMALL, r"image_3.tif: 140 x 170 px, 3 bands of uint8: at most 12 windows of 64 px, by .*best.pt"),
    "vote.py": ([], r"cross_entropy_first.tif: 140 x 170 px, 1 band of uint8: a vote of 2 maps"),
    "fill_hole.py": ([], r"cross_entropy_first.tif: 140 x 170 px, 1 band of uint8: holes to be filled"),
    "evaluate.py": ([], r"cross_entropy_second.tif: 140 x 170 px, .*: to be scored by .*truth/image_3_label.png"),
    "report.py": ([], r"truth/image_3_label.png: 140 x 170 px, 1 band of uint8: tiles to zoom in"),
}


@pytest.mark.parametrize("script", DRY)
def test_a_dry_run_tells_what_it_would_take_and_makes_nothing(call, data, script):
    flags, line = DRY[script]
    if script.startswith("generate"):
        shutil.rmtree(data / "train")
        shutil.rmtree(data / "test")
    before = contents(data)
    status, out, err = call(script, "--data_dir", data, *flags, "--dry-run")
    assert (status, err) == (0, "")
    assert re.search(line, out), out
    assert re.search(r"^  memory +[\d.]+ [MG]B at most$", out, re.MULTILINE)
    disk = re.search(r"^  disk +[\d.e+]+ [kMG]B about; [\d.e+]+ GB are free$", out, re.MULTILINE)
    assert bool(disk) == (script != "evaluate.py")
    assert re.search(r"^  time +[\d.]+ (s|min) about$", out, re.MULTILINE)
    assert out.endswith("dry run: nothing was made\n")
    assert ("all 2:" in out) == (script in ("generate_train_data.py", "predict.py", "evaluate.py"))
    assert contents(data) == before


@pytest.mark.parametrize("kind", ["scene that is not cut", "probabilities", "soft", "frames", "turns"])
def test_a_dry_run_of_the_rarer_ways(call, data, kind):
    command = {
        "scene that is not cut": ["predict.py", "--scene", data / TEST / "image_3.png", "--exp", "first", *SMALL],
        "probabilities": ["predict.py", "--probabilities", "--exp", "first", *SMALL],
        "turns": ["predict.py", "--tta", "d4", "--exp", "first", *SMALL],
        "soft": ["vote.py", "--soft"],
        "frames": ["fill_hole.py", "--rule", "frame", "--frame_sizes", 20, "--step", 5],
    }[kind]
    if kind == "soft":
        assert call("predict.py", "--data_dir", data, "--probabilities", *SMALL)[0] == 0
    if kind == "scene that is not cut":
        shutil.rmtree(data / "test")
    before = contents(data)
    status, out, err = call(*command, "--data_dir", data, "--dry_run")
    assert (status, err) == (0, "")
    assert "not measured" not in out
    assert ("each turned 8 ways" in out) == (kind == "turns")
    assert contents(data) == before


def test_a_dry_run_of_a_prediction_counts_turns_and_bands(call, data, monkeypatch):
    asked, time_of_windows = [], estimates.time_of_windows
    monkeypatch.setattr(estimates, "time_of_windows", lambda *how: asked.append(how[2]) or time_of_windows(*how))
    for tta in ("none", "d4"):
        out = call("predict.py", "--data_dir", data, "--exp", "first", "--tta", tta, *SMALL, "--dry_run")[1]
    assert asked == [12, 8 * 12]
    amount, unit = re.search(r"disk +(\S+) (kB|MB)", out).groups()
    made = (data / "test" / "mask3" / "cross_entropy_first.tif").stat().st_size
    estimate = float(amount) * {"kB": 1e3, "MB": 1e6}[unit]
    assert 1 < estimate / (2 * made) < 4  # the heads of files weigh much in small maps


def test_a_dry_run_says_when_the_disk_is_too_small(call, data, no_room):
    assert "5 kB are free: TOO LITTLE" in call("generate_test_data.py", "--data_dir", data, "--dry_run")[1]


def test_a_dry_run_makes_the_same_mistakes(call, data):
    before = contents(data)
    for script, message in (("generate_train_data.py --crop_size 0", "--crop_size: 0 with --stride 0"),
                            ("predict.py --window 8", "--window: 8 with --overlap"),
                            ("predict.py --scene nowhere.tif", "nowhere.tif: no such file"),
                            ("vote.py --inputs a.tif --output b.tif", "a.tif: no such file"),
                            ("fill_hole.py --input a.tif --output b.tif", "a.tif: no such file"),
                            ("evaluate.py --prediction a.tif --label b.png", "a.tif: no such file")):  # fmt: skip
        script, *flags = script.split()
        assert_one_line(call(script, "--data_dir", data, *flags, "--dry_run"), message)
    assert contents(data) == before


@pytest.fixture
def no_room(monkeypatch):
    """Disks with 5 kB left."""
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 5000, 5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


@pytest.mark.parametrize("script", ["generate_train_data.py", "generate_test_data.py"])
def test_a_job_that_can_never_fit_is_refused_before_it_begins(call, bare, no_room, script):
    rng = np.random.default_rng(0)
    for name, shape in (
        (f"{TRAIN}/image_1", (300, 211)),
        (f"{TRAIN}/image_2", (150, 270)),
        (f"{TEST}/image_3", (170, 140)),
    ):
        write_png(bare / f"{name}.png", rng.integers(0, 9, (*shape, 4), np.uint8))  # compresses to about half
    before = contents(bare)
    flags = ["--keep_background", "1"] if "train" in script else []
    outcome = call(script, "--data_dir", bare, *flags)
    assert_one_line(outcome, rf"error: {bare}: [\d.]+ kB are needed at the very least, and 5 kB are free: free some")
    assert contents(bare) == before


@pytest.mark.parametrize("script", ["predict.py", "vote.py", "fill_hole.py"])
def test_maps_are_refused_only_where_not_even_empty_ones_fit(call, data, no_room, monkeypatch, tmp_path, script):
    flags = {
        "predict.py": ["--output", tmp_path / "maps", *SMALL],
        "vote.py": [],
        "fill_hole.py": [],
    }[script]
    before = contents(data)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 3, 3))
        assert_one_line(call(script, "--data_dir", data, *flags), "are needed at the very least, and 0.003 kB are free")
    assert contents(data) == before
    assert not (tmp_path / "maps").exists()
    status, _, err = call(script, "--data_dir", data, *flags)
    assert (status, err) == (0, "")


def test_what_is_there_already_needs_no_room(call, data, no_room):
    status, out, err = call("generate_test_data.py", "--data_dir", data)
    assert (status, err) == (0, "")
    assert "kept, it is up to date" in out


def test_a_flag_that_is_spelled_wrong_is_told_with_the_one_that_is_like_it(call):
    status, _, err = call("train.py", "--train", "--exp", "a", "--epoch=3", "--zzz")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("error: unrecognized arguments: --epoch=3 --zzz: did you mean --epochs? ")
    _, _, err = call("vote.py", "--zzz")
    assert "did you mean" not in err


# ---- --quiet, and the last line


@pytest.mark.parametrize(
    ("script", "following"),
    [
        ("generate_test_data.py", "python predict.py"),
        ("vote.py", "python fill_hole.py"),
        ("fill_hole.py", "python evaluate.py"),
        ("polygons.py", "python report.py"),
    ],
)
def test_a_stage_ends_with_its_time_and_what_comes_next(call, data, script, following):
    status, out, err = call(script, "--data_dir", data)
    assert (status, err) == (0, "")
    assert re.fullmatch(rf"done in \d+ s; next: {re.escape(following)} --data_dir {data}", out.splitlines()[-1])


def test_a_folders_own_legend_is_found_and_told(call, bare, tmp_path):
    own = replace(JINGWEI, name="own", classes=tuple(replace(c, name=f"class {c.id}") for c in JINGWEI.classes))
    (bare / "legend.json").write_text(json.dumps(own.to_dict()))
    cut, copy = ("generate_train_data.py", "--data_dir", bare, "--crop_size", 64), bare / "train" / "legend.json"
    status, out, _ = call(*cut)
    assert status == 0
    assert f"legend {bare / 'legend.json'}: 5 classes, class 0, class 1, " in out
    assert find_legend(str(copy)) == own
    assert "legend jingwei: 5 classes, background, " in call(*cut, "--legend", "jingwei")[1]
    assert find_legend(str(copy)) == JINGWEI
    arguments = argparse.Namespace()
    assert chosen_legend(arguments, Workspace(bare)).legend == JINGWEI  # that of the cut
    copy.unlink()
    assert chosen_legend(arguments, Workspace(bare)).legend == own
    assert chosen_legend(arguments, Workspace(tmp_path)).legend == JINGWEI


def test_a_cut_without_validation_says_so(call, bare):
    cut = ("generate_train_data.py", "--data_dir", bare, "--crop_size", 64)
    assert "no validation" not in call(*cut)[1]
    assert "no validation: no pixel is left for it" in call(*cut, "--val_fraction", 0)[1]


def test_a_cut_names_the_classes_that_have_no_training_pixel(call, bare):
    assert "no training pixel" not in call("generate_train_data.py", "--data_dir", bare, "--crop_size", 64)[1]
    for path in (bare / TRAIN).glob("*_label.png"):
        with rasterio.open(path) as file:
            labels = file.read(1)
        write_png(path, np.where((labels == 2) | (labels == 4), 0, labels).astype(np.uint8))
    status, out, _ = call("generate_train_data.py", "--data_dir", bare, "--crop_size", 64, "--quiet")
    assert status == 0
    assert out.splitlines()[-1] == "no training pixel of: corn, building"


@pytest.mark.parametrize("script", ["generate_train_data.py", "generate_test_data.py", "vote.py", "report.py"])
def test_quiet_stages_say_nothing_but_results(call, data, script):
    loud, quiet = call(script, "--data_dir", data), call(script, "--data_dir", data, "--quiet")
    assert (loud[0], loud[2]) == (quiet[0], quiet[2]) == (0, "")
    assert re.search("written|kept|made", loud[1])
    assert not re.search("written|kept|made|done|next", quiet[1])


def test_quiet_keeps_results_and_errors(call, data):
    label = data / "truth" / "image_3_label.png"
    flags = ("--prediction", label, "--label", label)
    quiet, loud = call("evaluate.py", *flags, "--quiet"), call("evaluate.py", *flags)
    assert quiet[0] == loud[0] == 0
    legend, _, results = loud[1].partition("\n")
    assert (legend.split(":")[0], results) == ("legend jingwei", quiet[1])
    assert_one_line(call("vote.py", "--quiet", "--inputs", "a.tif", "--output", "b.tif"), "a.tif: no such file")


def test_progress_is_for_terminals(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    log = io.StringIO()
    for hidden, file, shown in ((False, terminal, True), (False, log, False), (True, terminal, False)):
        monkeypatch.setattr(Progress, "hidden", hidden)
        list(Progress(range(3), "steps", file=file))
        assert bool(file.getvalue()) is shown
        file.truncate(0)


def test_what_is_written_above_a_bar_is_hidden_with_it_unless_it_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(Progress, "hidden", True)
    Progress.write("epoch 1")
    Progress.write("error: it broke", file=sys.stderr)
    assert capsys.readouterr() == ("", "error: it broke\n")
