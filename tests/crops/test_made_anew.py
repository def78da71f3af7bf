"""A crop that is missing or broken is made anew by the same command, and nothing else is; so are our records."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from sample_folders import blocky, write_optical

from jingwei.crops.cut import cut_train
from jingwei.crops.prepare import FolderData, prepare_training
from jingwei.crops.settings import CutSettings
from jingwei.errors import InputError
from jingwei.legend import GF2, JINGWEI
from jingwei.raster.crop_files import read_crop
from jingwei.raster.png import write_png
from jingwei.workspace import Workspace

HOW = (CutSettings(64, 64, 0.2), JINGWEI, 1)


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in (root / "train").rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def dates(root: Path, scene: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (root / "train" / "data").glob(f"{scene}_*")}


@pytest.fixture(scope="module")
def cut(tmp_path_factory, draw_scene):
    root = tmp_path_factory.mktemp("cut")
    for number in (1, 2):
        pixels, labels = draw_scene(150, 130, number)
        write_png(root / "train_1" / f"image_{number}.png", pixels)
        write_png(root / "train_1" / f"image_{number}_label.png", labels)
    cut_train(Workspace(root), Workspace(root).train_scenes(), *HOW)
    return root


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def replaced(path: Path) -> None:
    """By a picture of the same size in px and other pixels."""
    write_png(path, 255 - np.squeeze(read_crop(path)))


FILES = ["data/image_1_*.png", ".parts/label/image_1_*.png", ".parts/image_1.png", ".parts/image_1.json"]


@pytest.mark.parametrize("spoil", [Path.unlink, emptied, cut_short, flipped, replaced])
@pytest.mark.parametrize("file", FILES)
def test_what_is_missing_or_broken_is_made_anew(cut, tmp_path, spoil, file):
    if file.endswith(".json") and spoil is replaced:
        pytest.skip("not a picture")
    root = Path(shutil.copytree(cut, tmp_path / "copy"))
    before, other = contents(root), dates(root, "image_2")
    spoil(next(iter(sorted((root / "train").glob(file)))))
    workspace = Workspace(root)
    cut_train(workspace, workspace.train_scenes(), *HOW)
    changed = {name for name, content in contents(root).items() if before.get(name) != content}
    assert not changed, changed
    assert dates(root, "image_2") == other  # only the scene with the broken file is cut again


def test_what_is_whole_is_not_cut_again(cut, tmp_path):
    root = Path(shutil.copytree(cut, tmp_path / "copy"))
    before = dates(root, "image_1")
    cut_train(Workspace(root), Workspace(root).train_scenes(), *HOW)
    assert dates(root, "image_1") == before


@pytest.mark.parametrize("file", ["data", "label"])
def test_prepared_data_that_lost_a_file_is_prepared_again(tmp_path, file):
    write_optical(tmp_path / "data", {str(i): blocky((64, 64), 3, i) for i in range(5)})
    data = FolderData(tmp_path / "data", GF2, crop_size=64)
    workspace = prepare_training(data, tmp_path / "cache", 1)
    before = contents(workspace.root)
    next(iter((workspace.train / file).iterdir())).unlink()
    prepare_training(data, tmp_path / "cache", 1)
    assert contents(workspace.root) == before


def test_who_finds_a_broken_crop_of_prepared_data_is_told_what_makes_it_anew(tmp_path):
    write_optical(tmp_path / "data", {str(i): blocky((64, 64), 3, i) for i in range(5)})
    data = FolderData(tmp_path / "data", GF2, crop_size=64)
    workspace = prepare_training(data, tmp_path / "cache", 1)
    before = contents(workspace.root)
    crop = next(iter((workspace.train / "data").iterdir()))
    crop.write_bytes(bytes(crop.stat().st_size))
    with pytest.raises(InputError, match=f"delete {workspace.train / 'stamp'} and start again"):
        read_crop(crop)
    (workspace.train / "stamp").unlink()
    prepare_training(data, tmp_path / "cache", 1)
    assert contents(workspace.root) == before
