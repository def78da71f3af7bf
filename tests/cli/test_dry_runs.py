"""What a command would take: dry runs, and jobs that can never fit; quiet runs and the last line."""

import argparse
import io
import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from command_projects import (
    TEST,
    TRAIN,
    assert_one_line,
    contents,
)

from jingwei.cli.parser import chosen_legend
from jingwei.legend import JINGWEI, find_legend
from jingwei.planning import estimates
from jingwei.raster.png import write_png
from jingwei.system.progress import Progress
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")


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
