"""Outputs are whole or absent: after exceptions, in places that can't be written, on full disks."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from written_rasters import left_in, noise

from jingwei.errors import InputError, OutputError
from jingwei.grid import Window
from jingwei.raster.png import PngWriter
from jingwei.raster.writing import TiledWriter
from jingwei.system.atomic import whole_or_nothing

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def _tiled(path):
    with TiledWriter(path, 600, 500, mask=True, overviews=True) as writer:
        writer.write(Window(0, 0, 300, 500), noise(1, 300, 500), np.ones((300, 500), bool))
        yield


def _png(path):
    with PngWriter(path, 600, 500) as writer:
        writer.write(noise(1, 300, 500)[0])
        yield


def _text(path):
    with whole_or_nothing(path) as part:
        part.write_text("half of it")
        yield


@pytest.mark.parametrize("exception", [ValueError("stop"), KeyboardInterrupt(), InputError("a", "b", "c")])
@pytest.mark.parametrize("older", [False, True], ids=["new", "older"])
@pytest.mark.parametrize("begin", [_tiled, _png, _text])
def test_an_exception_in_the_middle_leaves_nothing_and_keeps_an_older_file(begin, older, exception, tmp_path):
    path = tmp_path / "out.tif"
    if older:
        path.write_bytes(b"the older one")
    writing = begin(path)
    next(writing)
    with pytest.raises(type(exception)) as raised:
        writing.throw(exception)
    assert raised.value is exception
    assert left_in(tmp_path) == (["out.tif"] if older else [])
    assert not older or path.read_bytes() == b"the older one"


@pytest.mark.parametrize("begin", [_tiled, _png, _text])
def test_nothing_is_seen_under_the_final_name_before_the_end(begin, tmp_path):
    writing = begin(tmp_path / "out.tif")
    next(writing)
    assert not (tmp_path / "out.tif").exists()
    writing.close()


def test_a_png_with_rows_missing_is_not_kept(tmp_path):
    with pytest.raises(AssertionError, match="300 rows written of 600"):
        for _ in _png(tmp_path / "a.png"):
            pass
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("begin", [_tiled, _png, _text])
def test_a_place_that_cannot_be_written_is_an_output_error(begin, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="can't be written") as raised:
        next(begin(tmp_path / "file" / "out.tif"))
    assert "\n" not in str(raised.value)
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(OutputError, match="folder.tif: is a folder, not a file"):
        for _ in _text(tmp_path / "folder.tif"):
            pass
    assert left_in(tmp_path) == ["file", "folder.tif"]


FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
import numpy as np
from jingwei.raster.writing import TiledWriter, write_submission
from jingwei.crops.table import Crop, write_crops
from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.tile import tile_scene
from jingwei.errors import JingweiError
from jingwei.grid import Window
from jingwei.legend import JINGWEI
from jingwei.raster.png import write_png
from jingwei.inputs.scenes import Scene
from jingwei.workspace import Workspace

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
root, outcome = Path(sys.argv[1]), {}
noise = np.random.default_rng(0).integers(0, 256, (3, 1500, 1500), dtype=np.uint8)
write_png(root / "scene.png", noise.transpose(1, 2, 0))
write_png(root / "label.png", noise[0] % 5)
with TiledWriter(root / "scene16.tif", 700, 700, bands=4, dtype="uint16") as writer:
    writer.write(Window(0, 0, 700, 700), np.concatenate([noise, noise[:1]])[:, :700, :700].astype("uint16") * 99)
write_png(root / "label16.png", noise[0, :700, :700] % 5)

def tiled(path, side, **how):
    with TiledWriter(path, side, side, bands=3, **how) as writer:
        for row in range(0, side, 100):
            writer.write(Window(row, 0, 100, side), noise[:, row : row + 100, :side])

def cut(path, scene, label):
    settings = CutSettings(crop_size=128, stride=128)
    cut_train(Workspace(path.parent), [Scene(root / scene, root / label)], settings, JINGWEI, 4)

def on_full_disk(case, limit, write):
    folder = root / case
    folder.mkdir()
    path = folder / "out.tif"
    path.write_bytes(older)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write(path)
        outcome[case] = ["nothing", "", []]
    except Exception as error:
        outcome[case] = [type(error).__name__, str(error), []]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    outcome[case][2] = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    if path.read_bytes() != older:
        outcome[case][2].append("the older one is lost")

# What is compiled is kept beside the code: it must not be kept for the first time when the disk is full.
cut(root / "once" / "out", "scene.png", "label.png")
cut(root / "once16" / "out", "scene16.tif", "label16.png")
tile_scene(root / "scene.png", root / "once.tif", 2)
tiled(root / "older.tif", 100)
older = (root / "older.tif").read_bytes()
tiled(root / "plain.tif", 600)
plain = (root / "plain.tif").stat().st_size
on_full_disk("tiled", 100_000, lambda path: tiled(path, 600))
on_full_disk("tiled, 4 workers", 100_000, lambda path: tiled(path, 600, workers=4))
on_full_disk("tiled, at the end", 5_000, lambda path: tiled(path, 100))
on_full_disk("tiled, at once", 0, lambda path: tiled(path, 100))
tiled(root / "large.tif", 1100)
large = (root / "large.tif").stat().st_size
on_full_disk("tiled, in the overviews", large + 20_000, lambda path: tiled(path, 1100, overviews=True))
on_full_disk("tiled, its last byte", plain - 1, lambda path: tiled(path, 600))
on_full_disk("png", 100_000, lambda path: write_png(path, noise.transpose(1, 2, 0)))
on_full_disk("png, at the end", 20, lambda path: write_png(path, noise[0, :9, :9]))
on_full_disk("text", 20, lambda path: write_crops(path, [Crop("a", "b", Window(0, 0, 9, 9), 1, (1,), (1.0,), (1.0,))]))
on_full_disk("png crops", 5_000, lambda path: cut(path, "scene.png", "label.png"))
on_full_disk("tiff crops", 50_000, lambda path: cut(path, "scene16.tif", "label16.png"))
on_full_disk("tiled scene", 300_000, lambda path: tile_scene(root / "scene.png", path, 2))
print(json.dumps(outcome))
"""
CASES = [
    "tiled", "tiled, 4 workers", "tiled, at the end", "tiled, at once", "tiled, in the overviews",
    "tiled, its last byte", "png", "png, at the end", "text", "png crops", "tiff crops", "tiled scene",
]  # fmt: skip


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory):
    """What each writer did when no file could grow past a limit: {case: [exception, message, files left]}."""
    # A block cache of 1 MB, so that blocks are written while others are read, as in scenes larger than the cache.
    environment = os.environ | {"GDAL_CACHEMAX": "1"}
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path_factory.mktemp("full"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits are set as Linux has them")
@pytest.mark.parametrize("case", CASES)
def test_a_full_disk_is_an_output_error_and_leaves_nothing_but_the_older_file(case, full_disk):
    error, message, left = full_disk[case]
    assert error == "OutputError", message
    assert "can't be written" in message
    assert "GB left" in message
    assert "\n" not in message
    assert left == ["out.tif"]
