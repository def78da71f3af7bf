"""Preparing again, and after a stop: the same bytes, and nothing done twice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prepared_folders import contents
from sample_folders import blocky, painted, write_optical, write_sar

from jingwei.crops import prepare
from jingwei.crops.prepare import FolderData, prepare_training
from jingwei.errors import OutputError
from jingwei.inputs.sar import SarSettings
from jingwei.legend import GF2, GF3
from jingwei.raster.png import write_png
from jingwei.system import atomic
from jingwei.system.atomic import only_run

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def all_kinds(tmp_path: Path) -> list[FolderData]:
    labels = {str(i): blocky((40 + 9 * i, 60), 6, i) for i in range(5)}
    write_sar(tmp_path / "radar", labels)
    write_optical(tmp_path / "optical", labels)
    folders, optical = tmp_path / "radar", FolderData(tmp_path / "optical", GF2, crop_size=48)
    return [FolderData(folders, GF3, SarSettings(lee=5), crop_size=48), optical, replace(optical, split="blocks"),
            replace(optical, split="fields", val_fraction=0.3)]  # fmt: skip


def test_the_bytes_are_the_same_for_any_number_of_workers(tmp_path):
    for number, data in enumerate(all_kinds(tmp_path)):
        found = [contents(prepare_training(data, tmp_path / f"{number}_{w}", w).root) for w in (1, 3)]
        assert found[0] == found[1]
        assert len(found[0]) > 20


def test_what_was_prepared_is_not_prepared_again(tmp_path, monkeypatch):
    (data, *_) = all_kinds(tmp_path)
    workspace = prepare_training(data, tmp_path / "cache", 1)
    before = contents(workspace.root)
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "cut_train", None)
        patch.setattr(prepare, "_look", None)
        assert prepare_training(data, tmp_path / "cache", 1) == workspace
    # A changed mask, and changed settings, are seen.
    mask = tmp_path / "radar" / "lbl" / "1_gt.png"
    write_png(mask, painted(np.full((49, 60), 2, np.uint8), GF3))
    prepare_training(data, tmp_path / "cache", 1)
    changed = contents(workspace.root)
    assert changed != before
    prepare_training(replace(data, crop_size=32), tmp_path / "cache", 1)
    assert contents(workspace.root).keys() != changed.keys()
    prepare_training(data, tmp_path / "cache", 1)
    assert contents(workspace.root) == changed
    unfiltered = replace(data, sar=SarSettings())
    prepare_training(unfiltered, tmp_path / "cache", 1)
    assert contents(workspace.root) == contents(prepare_training(unfiltered, tmp_path / "fresh", 1).root) != changed


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kind", range(4))
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(kind, tmp_path, monkeypatch):
    data = all_kinds(tmp_path)[kind]
    whole = contents(prepare_training(data, tmp_path / "whole", 1).root)
    real, left = atomic.os.replace, [0]

    def dies(*paths):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return real(*paths)

    monkeypatch.setattr(atomic.os, "replace", dies)
    for stop in (1, 4, 15, 30):
        left[0] = stop
        with pytest.raises(Killed):
            prepare_training(data, tmp_path / str(stop), 1)
    for stop in (1, 4, 15, 30):
        assert contents(prepare_training(data, tmp_path / str(stop), 1).root) == whole


def test_a_stop_on_the_way_to_other_settings_is_not_taken_for_the_first_ones(tmp_path, monkeypatch):
    data = all_kinds(tmp_path)[1]
    whole = contents(prepare_training(data, tmp_path / "cache", 1).root)
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "cut_train", lambda *a: (tmp_path / "cache" / "train" / "source.json").unlink() or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare_training(replace(data, val_fraction=0.6), tmp_path / "cache", 1)
    assert contents(prepare_training(data, tmp_path / "cache", 1).root) == whole


def test_finished_samples_are_not_cut_again_after_a_stop(tmp_path):
    (data, *_) = all_kinds(tmp_path)
    workspace = prepare_training(data, tmp_path / "cache", 1)
    crops = {path: path.stat().st_mtime_ns for path in (workspace.train / "data").iterdir()}
    (workspace.train / "stamp").unlink()
    workspace.crops.unlink()
    prepare_training(data, tmp_path / "cache", 1)
    assert {path: path.stat().st_mtime_ns for path in (workspace.train / "data").iterdir()} == crops


def test_two_runs_do_not_prepare_the_same_cache(two_sides, tmp_path):
    with only_run(tmp_path / "cache"), pytest.raises(OutputError, match="another run is writing it"):
        prepare_training(FolderData(two_sides, GF2), tmp_path / "cache", 1)
