"""Cutting again leaves what a first run leaves, with any number of workers, settings and scenes."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from cut_scenes import contents, cut, scene_of

from jingwei.crops import write_split
from jingwei.crops.settings import CutSettings
from jingwei.errors import InputError
from jingwei.raster.crop_files import write_crop
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_writes_the_same_bytes(workers, cut_county, scenes, tmp_path):
    cut(tmp_path, scenes, workers=workers)
    assert contents(tmp_path) == contents(cut_county[0])


def test_a_second_run_cuts_nothing_again_and_changes_nothing(scenes, tmp_path):
    settings = CutSettings(64, 40, val_fraction=0.25, keep_background=0.3)
    first = cut(tmp_path, scenes, settings)
    before = contents(tmp_path)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "train" / "data").iterdir()}
    assert cut(tmp_path, scenes, settings) == first
    assert contents(tmp_path) == before
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "train" / "data").iterdir()} == times


CHANGES = {
    "stride": CutSettings(64, 40, val_fraction=0.25, keep_background=1),
    "crop size": CutSettings(80, 64, val_fraction=0.25, keep_background=1),
    "another share for validation": CutSettings(64, 64, val_fraction=0.5, keep_background=1),
    "no validation": CutSettings(64, 64, val_fraction=0, keep_background=1),
    "less background": CutSettings(64, 64, val_fraction=0.25, keep_background=0),
}


@pytest.mark.parametrize("after", CHANGES.values(), ids=CHANGES)
def test_changed_settings_leave_what_a_first_run_with_them_leaves(after, scenes, tmp_path):
    cut(tmp_path / "again", scenes)
    cut(tmp_path / "again", scenes, after)
    cut(tmp_path / "fresh", scenes, after)
    parts = ("data/", "label/", "crops.csv", "legend.json", "split_")
    assert contents(tmp_path / "again", *parts) == contents(tmp_path / "fresh", *parts)


@pytest.mark.parametrize("stride", [64, 40])
def test_a_scene_more_or_less_leaves_what_a_first_run_leaves(stride, scenes, tmp_path):
    settings = CutSettings(64, stride, val_fraction=0.25, keep_background=1)
    for name, steps in {"more": [scenes[:1], scenes], "less": [scenes, scenes[:1]]}.items():
        for step in steps:
            cut(tmp_path / name, step, settings)
        cut(tmp_path / f"{name} fresh", steps[-1], settings)
        parts = ("data/", "label/", "crops.csv")
        assert contents(tmp_path / name, *parts) == contents(tmp_path / f"{name} fresh", *parts)


def test_a_changed_scene_is_cut_again(draw_scene, tmp_path):
    pixels, labels = draw_scene(100, 150, 1)
    scene = scene_of(tmp_path, "image_1", pixels, labels)
    cut(tmp_path / "again", [scene])
    scene = scene_of(tmp_path, "image_1", pixels // 2 + 100, labels)
    cut(tmp_path / "again", [scene])
    cut(tmp_path / "fresh", [scene])
    assert contents(tmp_path / "again") == contents(tmp_path / "fresh")


def test_a_run_that_broke_down_goes_on_from_the_scenes_that_were_done(county, tmp_path):
    shutil.copytree(county, tmp_path / "county")
    scenes = Workspace(tmp_path / "county").train_scenes()
    content = scenes[1].image.read_bytes()
    scenes[1].image.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="image_2.png: broken or truncated"):
        cut(tmp_path, scenes)
    assert not (tmp_path / "train" / "crops.csv").exists()
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "train" / "data").iterdir()}
    assert done
    assert all(path.name.startswith("image_1_") for path in done)
    scenes[1].image.write_bytes(content)
    cut(tmp_path, scenes)
    assert {p: p.stat().st_mtime_ns for p in done} == done
    cut(tmp_path / "fresh", scenes)
    assert contents(tmp_path) == contents(tmp_path / "fresh")


def test_a_split_that_is_stopped_leaves_no_table_of_another_one(scenes, tmp_path, monkeypatch):
    """Its labels would be those of two splits."""
    cut(tmp_path, scenes)

    def stop(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write_split, "write_crops", stop)
        with pytest.raises(KeyboardInterrupt):
            cut(tmp_path, scenes, CHANGES["another share for validation"])
    assert not (tmp_path / "train" / "crops.csv").exists()
    cut(tmp_path, scenes)
    cut(tmp_path / "fresh", scenes)
    assert contents(tmp_path) == contents(tmp_path / "fresh")


def test_a_scene_of_another_type_leaves_no_crops_of_the_former_one(draw_scene, tmp_path):
    pixels, labels = draw_scene(100, 150, 1)
    scene = scene_of(tmp_path, "image_1", pixels, labels)
    cut(tmp_path / "again", [scene])
    scene = replace(scene, image=tmp_path / "image_1.tif")
    write_crop(scene.image, pixels[..., :3].transpose(2, 0, 1).astype(np.uint16))
    cut(tmp_path / "again", [scene])
    cut(tmp_path / "fresh", [scene])
    assert contents(tmp_path / "again") == contents(tmp_path / "fresh")
