"""The command line: every flag is there and explained, and every mistake gets one line, status 2, and loses nothing."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from command_projects import QUICK, ROOT, assert_one_line, contents, write_tif

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_help_tells_what_quick_stands_for(call):
    out = " ".join(call("train_swa.py", "--quick", "--help_all")[1].split())
    for value in ("attention_unet", "tf_efficientnet_lite0", "0.001", "[256]", "100", "balanced", "adamw"):
        assert f"(default: {value})" in out


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


def test_predicting_a_scene_that_was_replaced_since_it_was_cut_warns(call, data):
    small = ("--data_dir", data, "--exp", "first", "--window", 64, "--overlap", 16, "--device", "cpu")
    status, _, err = call("predict.py", *small)
    assert (status, "warning" in err) == (0, False)
    image = next(data.glob("*test*/image_3.png"))
    os.utime(image, ns=(1, 1))
    status, _, err = call("predict.py", *small)
    assert status == 0
    assert f"image_3.tif: is not {image} as it is now" in err
    assert "run generate_test_data.py again" in err
    assert call("generate_test_data.py", "--data_dir", data)[0] == 0
    assert "warning" not in call("predict.py", *small)[2]


def test_a_scene_of_elsewhere_is_no_scene_of_the_project_where_its_maps_go_elsewhere(call, data, tmp_path):
    other = shutil.copyfile(next(data.glob("*test*/image_3.png")), tmp_path / "other.png")
    before = contents(data)
    there = ("--data_dir", data, "--scene", other, "--output", tmp_path / "out")
    small = ("--exp", "first", "--window", 64, "--overlap", 16, "--device", "cpu")
    status, out, err = call("predict.py", *there, *small)
    assert status == 0, err
    assert "written: " in out
    assert contents(data) == before
    assert "kept, it is up to date" in call("predict.py", *there, *small)[1]
    status, _, err = call("vote.py", "--data_dir", data)
    assert status == 0, err
