"""Outputs: whole or not at all, and one run at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.tile import tile_scene
from jingwei.errors import OutputError
from jingwei.legend import JINGWEI
from jingwei.system.atomic import make_own_folder, only_run, remove, whole_or_nothing
from jingwei.workspace import Workspace

HOLD = """
import sys
from jingwei.system.atomic import only_run
with only_run(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def write_half(path: Path) -> None:
    with whole_or_nothing(path) as part:
        part.write_text("half")
        raise ZeroDivisionError


def test_a_file_appears_when_it_is_whole_and_nothing_else_stays(tmp_path):
    path = tmp_path / "new" / "x.txt"
    with whole_or_nothing(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_second_writer_of_the_same_file_says_so_and_one_of_another_does_not(tmp_path):
    with whole_or_nothing(tmp_path / "x.tif") as part:
        part.touch()
        with pytest.raises(OutputError, match="x.tif: another run is writing it: wait for its end, or stop it"):
            with whole_or_nothing(tmp_path / "x.tif"):
                pass
        with whole_or_nothing(tmp_path / "y.tif") as other:
            other.touch()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.tif", "y.tif"]
    with only_run(tmp_path / "x.tif"):
        pass


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_another_process_keeps_an_output_until_it(tmp_path, how):
    target = tmp_path / "folder"
    command = [sys.executable, "-c", HOLD, str(target)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match="another run"), only_run(target):
        pass
    if how == "is killed":
        holder.kill()
    holder.communicate()  # closes what it reads
    with only_run(target):
        pass
    assert list(tmp_path.iterdir()) == []


def test_stages_keep_their_outputs_to_one_run(county, tmp_path):
    workspace = Workspace(tmp_path)
    scenes = Workspace(county).train_scenes()
    with only_run(workspace.train), pytest.raises(OutputError, match="train: another run is writing it"):
        cut_train(workspace, scenes, CutSettings(64, 64), JINGWEI, workers=1)
    tiled = tmp_path / "tiled.tif"
    with only_run(tiled), pytest.raises(OutputError, match="tiled.tif: another run is writing it"):
        tile_scene(scenes[0].image, tiled, workers=1)
    assert not tiled.exists()
    assert tile_scene(scenes[0].image, tiled, workers=1)


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_folder_that_nobody_may_write_to_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="check the folder and its permissions"), whole_or_nothing(tmp_path / "x"):
        pass


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"), whole_or_nothing(Path(tmp_path / "file" / "x")):
        pass


def test_a_folder_is_told_before_any_work_is_done(tmp_path):
    with pytest.raises(OutputError, match="is a folder, not a file"), whole_or_nothing(tmp_path):
        pytest.fail("the work has begun")


def plant(tmp_path: Path, name: str, how: str) -> Path:
    """Something of somebody else's where an output is made; the file or folder that it leads to."""
    victim = tmp_path / "elsewhere" / "victim"
    victim.parent.mkdir()
    place = tmp_path / "out" / name
    place.parent.mkdir()
    if how == "link to a file":
        victim.write_text("precious")
        place.symlink_to(victim)
    elif how == "link to a folder":
        victim.mkdir()
        (victim / "x.txt").write_text("precious")
        place.symlink_to(victim)
    elif how == "link to nothing":
        place.symlink_to(victim)
    elif how == "file":
        place.write_text("half")
    elif how == "folder":
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "old").write_text("half")
        (place / "x.txt").symlink_to(victim)
        victim.write_text("precious")
    return victim


def untouched(victim: Path, how: str) -> bool:
    if how == "link to a folder":
        return [(p.name, p.read_text()) for p in victim.iterdir()] == [("x.txt", "precious")]
    if how in ("link to a file", "folder"):
        return victim.read_text() == "precious"
    return not victim.exists()


@pytest.mark.parametrize("how", ["link to a file", "link to a folder", "link to nothing", "file", "folder"])
def test_what_lies_where_an_output_is_made_is_replaced_and_not_followed(how, tmp_path):
    victim = plant(tmp_path, ".x.txt.part", how)
    path = tmp_path / "out" / "x.txt"
    with whole_or_nothing(path) as part:
        assert not part.exists()  # a GeoPackage that is there would be added to
        assert part.parent.stat().st_mode & 0o777 == 0o700
        part.write_text("whole")
        assert part.name == "x.txt"
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]
    assert untouched(victim, how)


@pytest.mark.parametrize("how", ["link to a file", "link to nothing"])
def test_a_link_where_the_lock_is_made_is_refused(how, tmp_path):
    victim = plant(tmp_path, ".x.txt.lock", how)
    with pytest.raises(OutputError, match="x.txt: can't be written"), whole_or_nothing(tmp_path / "out" / "x.txt"):
        pass
    assert untouched(victim, how)


@pytest.mark.parametrize("how", ["link to a file", "link to a folder", "link to nothing"])
def test_own_folders_take_the_place_of_links(how, tmp_path):
    victim = plant(tmp_path, ".map.parts", how)
    folder = tmp_path / "out" / ".map.parts"
    make_own_folder(folder)
    make_own_folder(folder)
    (folder / "stamp").write_text("ours")
    assert not folder.is_symlink()
    assert untouched(victim, how)
    remove(folder)
    remove(folder)
    assert list(folder.parent.iterdir()) == []


def test_own_folders_are_cleared_of_links(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "x").write_text("precious")
    deep = tmp_path / ".work" / "maps" / "a"
    deep.mkdir(parents=True)
    (deep / "kept").write_text("kept")
    (deep / "folder").symlink_to(tmp_path / "victim")
    (deep / "file").symlink_to(tmp_path / "victim" / "x")
    (tmp_path / ".work" / "gone").symlink_to(tmp_path / "nothing")
    make_own_folder(tmp_path / ".work")
    assert sorted(path.name for path in (tmp_path / ".work").rglob("*")) == ["a", "kept", "maps"]
    assert (tmp_path / "victim" / "x").read_text() == "precious"


def test_an_output_replaces_a_link_of_its_name_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "x.txt").symlink_to(tmp_path / "victim")
    with whole_or_nothing(tmp_path / "x.txt") as part:
        part.write_text("whole")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "x.txt").read_text() == "whole"


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_file_is_on_the_disk_before_its_name_and_its_name_after(durable, tmp_path, monkeypatch):
    told = []
    whole, replace = os.fsync, os.replace

    def fsync(handle):
        told.append(os.readlink(f"/proc/self/fd/{handle}"))
        whole(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: (told.append("moved"), replace(*paths)))
    with whole_or_nothing(tmp_path / "x.txt", durable) as part:
        part.write_text("whole")
    expected = [str(tmp_path / ".x.txt.part" / "x.txt"), "moved", str(tmp_path)]
    assert told == (expected if durable else ["moved"])


def test_a_file_that_the_disk_refuses_at_last_is_not_kept(tmp_path, monkeypatch):
    def fsync(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="No space left on device.*free some space"):
        with whole_or_nothing(tmp_path / "x.txt") as part:
            part.write_text("whole")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_that_one_is_in_is_kept_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "report").mkdir()
    monkeypatch.chdir(tmp_path / "report")
    with only_run(Path()), pytest.raises(OutputError, match="another run"), only_run(tmp_path / "report"):
        pass
