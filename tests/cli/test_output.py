"""A standard output that is narrow, closed or full: what was asked for is done, and no traceback is seen."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jingwei.grid import Window
from jingwei.legend import LandClass, Legend
from jingwei.raster.png import write_png
from jingwei.raster.reading import open_labels
from jingwei.raster.writing import TiledWriter

ROOT = Path(__file__).resolve().parents[2]
FULL = Path("/dev/full")


@pytest.fixture
def chinese(tmp_path) -> tuple[str, ...]:
    """The flags of evaluate.py for a map whose classes have Chinese names."""
    legend = Legend("中国", (LandClass(0, "背景", (0, 0, 0)), LandClass(1, "玉米🌽", (255, 0, 0))))
    (tmp_path / "legend.json").write_text(json.dumps(legend.to_dict(), ensure_ascii=False), encoding="utf-8")
    labels = np.eye(20, dtype=np.uint8)
    write_png(tmp_path / "truth.png", labels)
    with TiledWriter(tmp_path / "map.tif", 20, 20) as writer:
        writer.write(Window(0, 0, 20, 20), labels)
    return tuple(map(str, ("--prediction", tmp_path / "map.tif", "--label", tmp_path / "truth.png")))


def process(*arguments, stdout=subprocess.PIPE, **env) -> subprocess.CompletedProcess:
    """A script as a process of its own, bytes out."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    command = [sys.executable, str(ROOT / arguments[0]), *arguments[1:]]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=env, timeout=120)


@pytest.mark.parametrize("env", [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii:strict"},
])  # fmt: skip
def test_names_that_a_terminal_can_not_print_are_spelled_in_ascii(chinese, env):
    done = process("evaluate.py", *chinese, **env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u7389\u7c73" in done.stdout
    done = process("evaluate.py", *chinese, "--json", **env)
    assert set(json.loads(done.stdout.decode("ascii"))["classes"]) == {"背景", "玉米🌽"}


def test_a_terminal_that_can_print_them_prints_them(chinese):
    done = process("evaluate.py", *chinese, PYTHONIOENCODING="utf-8")
    assert "玉米🌽" in done.stdout.decode("utf-8")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_gets_one_line(chinese):
    with FULL.open("wb") as full:
        for flags in (chinese, ("-h",)):
            done = process("evaluate.py", *flags, stdout=full)
            assert done.returncode == 2
            assert done.stderr.decode().startswith("error: standard output: can't be written (No space left")
            assert done.stderr.count(b"\n") == 1


def test_a_closed_output_is_no_error(chinese):
    script = 'exec "$0" "$@" >&-'
    command = ["sh", "-c", script, sys.executable, str(ROOT / "evaluate.py"), *chinese]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, env=env, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("closed", ["2>&-", "2>&- >&-", "2>&- >&- <&-"])
def test_closed_errors_are_no_error_and_no_file_takes_their_place(closed, tmp_path):
    """A file that is opened at the number of standard error gets what libraries in C complain of; bars had nowhere."""
    labels = np.eye(300, dtype=np.uint8)
    write_png(tmp_path / "map.png", labels)
    flags = ("--input", tmp_path / "map.png", "--output", tmp_path / "filled.tif", "--min_area", "2")
    command = ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, ROOT / "fill_hole.py", *flags]
    done = subprocess.run(list(map(str, command)), env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=120)
    assert done.returncode == 0
    with open_labels(tmp_path / "filled.tif") as filled:
        assert not filled.read_label_rows(0, 300).any()


def test_who_stops_reading_gets_no_complaint(chinese):
    reading, writing = os.pipe()
    os.close(reading)
    done = process("evaluate.py", *chinese, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["constructor", "__proto__", "實驗", "n" * 200, "n" * 245])
def test_experiments_of_odd_names_work_or_get_a_line(call, tmp_path, name):
    road = shutil.copytree(ROOT / "tests" / "data" / "version_0_3_0" / "road", tmp_path / "road")
    where = ("--data_dir", road)
    flags = (
        "--scratch --backbone mobilenetv3_small_050 --model attention_unet --aux_weight 0 --crop_size 64 --batch_size 2"
    )
    running = "--epochs 1 --steps_per_epoch 1 --workers 0 --device cpu --precision fp32"
    assert call("generate_test_data.py", *where)[0] == 0  # else predict.py warns of the old copy
    trained = call("train.py", "--train", "--exp", name, *where, *flags.split(), *running.split())
    predicted = call("predict.py", *where, "--window", 64, "--overlap", 16, "--engine", "torch", "--device", "cpu")
    for status, _, err in (trained, predicted):
        assert (status, err) == (0, "") or (status == 2 and err.startswith("error: ") and err.count("\n") == 1)
    if len(name) < 245:
        assert (road / "test" / "mask3" / f"cross_entropy_{name}.tif").exists()
        assert call("vote.py", *where)[0] == 0
        assert call("report.py", *where)[0] == 0


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "-x", "\udcb2"])
def test_names_that_can_be_no_folder_are_refused(call, tmp_path, name):
    status, _, err = call("train.py", "--train", "--data_dir", tmp_path, f"--exp={name}")
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 are Linux's")
def test_files_whose_names_are_not_utf8_get_a_line_or_work(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xd5\xfd\xca\xc7"  # GBK
    os.mkdir(folder)
    os.mkdir(folder + b"/a_test")
    write_png(tmp_path / "x.png", np.full((40, 50, 3), 9, np.uint8))
    os.rename(tmp_path / "x.png", folder + b"/a_test/image_3.png")
    done = process("generate_test_data.py", "--data_dir", folder)
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 2)
    done = process("evaluate.py", "--prediction", folder + b"/no\xff.tif", "--label", folder + b"/no.tif")
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
