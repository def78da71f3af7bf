"""Full disks, read-only places, bugs, and what goes well."""

import json
import re
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from command_projects import (
    QUICK,
    ROOT,
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


@contextmanager
def full_disk(after: int):
    """No file may grow beyond `after` bytes: what a full disk does, seen from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
    styles |= {f"village/confidence/cross_entropy_first.{ending}" for ending in ("tif", "qml")}
    styles.add("village/tiled/village.tif")  # the scene itself has no tiles
    assert (
        made
        == {"village/cross_entropy_first.tif", "village/village_predict.png", "village/village_predict.qml"} | styles
    )
