"""label.py: what it says, what it writes, and that mistakes get one line."""

import re
import shutil

import pyogrio
import pytest


@pytest.fixture
def folder(county, tmp_path):
    """A project of which nothing is cut yet."""
    shutil.copytree(county, tmp_path / "p")
    return tmp_path / "p"


def test_before_the_first_map_it_draws_by_what_the_scenes_show(call, folder):
    status, out, err = call("label.py", "--data_dir", folder, "--count", 4, "--window", 40)
    assert status == 0, err
    path = folder / "label" / "image_3" / "next.gpkg"
    assert f"written: {path} (4 places)" in out
    assert "no map yet" in out
    assert "then python generate_train_data.py" in out
    assert pyogrio.read_info(path, layer="places")["features"] == 4


def test_scenes_may_be_named(call, folder):
    image = next(folder.glob("*train*/image_1.png"))
    assert call("label.py", "--data_dir", folder, "--scene", image, "--count", 2, "--window", 40)[0] == 0
    assert [path.parent.name for path in folder.glob("label/*/next.gpkg")] == ["image_1"]


@pytest.mark.parametrize(("flags", "said"), [
    (["--count", "0"], "--count.*0 is below 1"),
    (["--window", "4"], "--window: is 4: give the side of a place in px, from 16 up"),
    (["--simplify", "-1"], "--simplify: is -1"),
    (["--scene", "missing.png"], "missing.png: no such file"),
])  # fmt: skip
def test_mistakes_get_one_line(call, folder, flags, said):
    status, _, err = call("label.py", "--data_dir", folder, *flags)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert re.search(said, err), err
    assert not list(folder.glob("label/*/next.gpkg"))
