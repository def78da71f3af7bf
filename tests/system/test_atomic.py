"""Outputs: whole or not at all, and one run at a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.tile import tile_scene
from jingwei.errors import OutputError
from jingwei.legend import JINGWEI
from jingwei.system.atomic import only_run, whole_or_nothing
from jingwei.workspace import Workspace

HOLD = """
import sys, time
from jingwei.system.atomic import only_run
with only_run(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
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
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match="another run"), only_run(target):
        pass
    holder.send_signal(signal.SIGKILL if how == "is killed" else signal.SIGINT)
    holder.communicate()
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
