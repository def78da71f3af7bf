"""Outputs named as pipes and devices: whoever is root, as in a container, replaced /dev/null for the whole machine."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from jingwei.errors import OutputError
from jingwei.system.atomic import refuse_non_file, whole_or_nothing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such files")


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_not_replaced(linked, tmp_path):
    pipe = tmp_path / "pipe.tif"
    os.mkfifo(pipe)
    path = tmp_path / "link.tif" if linked else pipe
    if linked:
        path.symlink_to(pipe)
    with pytest.raises(OutputError, match=f"{path.name}: is a pipe or a device, .*: name a file"):
        with whole_or_nothing(path) as part:
            part.write_text("x")
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert {p.name for p in tmp_path.iterdir()} == {"pipe.tif", path.name}


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stdout", "/dev/../dev/stdout", "/dev/new.tif"])
def test_nothing_is_written_among_the_devices(name):
    """/dev/stdout is a link, which may lead to a plain file."""
    with pytest.raises(OutputError, match="is a pipe or a device"):
        refuse_non_file(Path(name))


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs /dev/shm")
def test_shared_memory_and_links_to_files_are_plain_places(tmp_path):
    (tmp_path / "file.tif").write_text("theirs")
    (tmp_path / "link.tif").symlink_to(tmp_path / "file.tif")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as shared:
        for place in (Path(shared) / "map.tif", tmp_path / "link.tif", tmp_path / "new.tif"):
            with whole_or_nothing(place) as part:
                part.write_text("ours")
            assert place.read_text() == "ours"
    assert (tmp_path / "file.tif").read_text() == "theirs"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_a_folder_where_no_file_can_be_made_is_not_another_run():
    with pytest.raises(OutputError, match="/proc/map.tif: can't be written"), whole_or_nothing("/proc/map.tif"):
        pass
