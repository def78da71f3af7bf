"""The report's folder: ours is recognised by what is in it, and what others put there stays as it is."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from jingwei.errors import InputError, OutputError
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.writing import TiledWriter
from jingwei.reporting import report as report_module
from jingwei.reporting.layers import make_layer
from jingwei.reporting.names import folder_name, shown
from jingwei.reporting.report import write_report
from jingwei.workspace import Workspace

SIDE = 60
GBK = "image_" + "甘蔗地".encode("gb18030").decode("utf-8", "surrogateescape")


def add_scene(workspace: Workspace, name: str, number: str = "3") -> None:
    """A cut scene with a map and an agreement."""
    place = {"height": SIDE, "width": SIDE}
    window, folder = Window(0, 0, SIDE, SIDE), workspace.root / "test"
    with TiledWriter(folder / f"image{number}" / f"{name}.tif", **place, bands=3) as writer:
        writer.write(window, np.full((3, SIDE, SIDE), 90, np.uint8))
    scene = next(scene for scene in workspace.cut_scenes() if scene.name == name)
    for layer, value in (("swa_a", 2), ("agreement", 70)):
        with TiledWriter(workspace.masks(scene) / f"{layer}.tif", **place, nodata=NODATA) as writer:
            writer.write(window, np.full((SIDE, SIDE), value, np.uint8))


@pytest.fixture
def project(tmp_path) -> Workspace:
    workspace = Workspace(tmp_path / "data")
    add_scene(workspace, "image_3")
    return workspace


def write(workspace: Workspace, folder: Path):
    report = write_report(workspace, workspace.cut_scenes(), JINGWEI, folder)
    return report, json.loads(re.fullmatch(r"const REPORT = (.*);\n", (folder / "data.js").read_text())[1])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOREIGN = {
    "a thesis": {"thesis.docx": "years of work"},
    "tiles of a web map": {"tiles/3/2/1.png": "map", "index.html": "<title>My map</title>"},
    "tiles alone": {"tiles/image_3/map/0/0.png": "map"},
    "data of another page": {"data.js": "const REPORT = 1", "notes.txt": "mine"},
    "another page with its data": {"index.html": '<script src="data.js"></script>', "data.js": "var a = 1"},
    "a layer of another's making": {"tiles/image_3/map-0123456789abcdef/layer.json": '{"name": "roads"}'},
    "a hidden file": {".keep": ""},
}


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_a_folder_of_somebody_else_is_left_alone(project, files):
    folder = project.root / "report"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    before = content(folder)
    with pytest.raises(OutputError, match="is not a report, and not an empty folder: name another folder"):
        write(project, folder)
    assert content(folder) == before
    assert {path.name for path in project.root.iterdir()} == {"test", "report"}  # no lock is left


def test_a_file_is_not_a_folder(project):
    (project.root / "report").write_text("years of work")
    with pytest.raises(OutputError, match="not an empty folder"):
        write(project, project.root / "report")
    assert (project.root / "report").read_text() == "years of work"


def test_what_others_put_into_a_report_stays(project):
    folder = project.root / "report"
    _, data = write(project, folder)
    layer = data["scenes"][0]["layers"]["map"]["folder"]
    mine = ["notes.txt", "viewer/my.css", "tiles/readme.md", "tiles/image_3/sketch.png", f"{layer}/legend.png",
            "tiles/image_9/map-0123456789abcdef/6/0_0.js", "tiles/old-scene/3/1_2.js"]  # fmt: skip
    for name in mine:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    with TiledWriter(project.root / "test/mask3/swa_a.tif", SIDE, SIDE, nodata=NODATA) as writer:
        writer.write(Window(0, 0, SIDE, SIDE), np.full((SIDE, SIDE), 1, np.uint8))
    _, data = write(project, folder)
    assert data["scenes"][0]["layers"]["map"]["folder"] != layer
    assert [name for name in mine if (folder / name).read_text() != "mine"] == []
    assert [path.name for path in (folder / layer).iterdir()] == ["legend.png"]  # the old map itself is gone


def test_files_of_others_where_ours_are_to_go_are_not_written_over(project):
    folder = project.root / "report"
    write(project, folder)
    (folder / "viewer" / "new.js").write_text("mine")
    page = {**report_module._page_files(), "viewer/new.js": b"of a later version"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "_page_files", lambda: page)
        with pytest.raises(OutputError, match=r"new.js: is not a file of a report: move it away"):
            write(project, folder)
        assert (folder / "viewer" / "new.js").read_text() == "mine"
    (folder / "data.js").write_text("var mine = 1;")
    with pytest.raises(OutputError, match=r"data.js: is not a file of a report"):
        write(project, folder)
    assert (folder / "data.js").read_text() == "var mine = 1;"


def test_files_of_an_earlier_version_go(project):
    folder = project.root / "report"
    write(project, folder)
    page = (folder / "index.html").read_text(encoding="utf-8")
    (folder / "index.html").write_text(page + '<script src="viewer/numbers-of-old.js"></script>', encoding="utf-8")
    (folder / "viewer" / "numbers-of-old.js").write_text("old")
    (folder / "viewer" / "mine.js").write_text("mine")
    write(project, folder)
    assert not (folder / "viewer" / "numbers-of-old.js").exists()
    assert (folder / "viewer" / "mine.js").exists()


@pytest.mark.parametrize("place", ["tiles", "viewer"])
def test_links_are_not_written_through(project, place):
    folder, elsewhere = project.root / "report", project.root / "elsewhere"
    write(project, folder)
    (folder / place).rename(elsewhere)
    (folder / place).symlink_to(elsewhere)
    before = content(elsewhere)
    with pytest.raises(OutputError, match=f"{place}: is a link"):
        write(project, folder)
    assert content(elsewhere) == before


def test_links_to_folders_are_not_swept(project, tmp_path):
    folder, theirs = project.root / "report", tmp_path / "theirs"
    _, data = write(project, folder)
    layer = folder / data["scenes"][0]["layers"]["map"]["folder"]
    theirs.mkdir()
    (theirs / "layer.json").write_bytes((layer / "layer.json").read_bytes())
    layer.with_name("map-0123456789abcdef").symlink_to(theirs)
    (folder / "tiles" / "linked").symlink_to(theirs.parent)
    write(project, folder)
    assert (theirs / "layer.json").exists()


def test_a_run_that_was_stopped_before_its_page_goes_on(project, monkeypatch):
    folder = project.root / "report"

    def killed(source, legend, workers):
        if source.name == "agreement":
            raise KeyboardInterrupt
        return make_layer(source, legend, workers)

    monkeypatch.setattr(report_module, "make_layer", killed)
    with pytest.raises(KeyboardInterrupt):
        write(project, folder)
    assert [path.name for path in folder.iterdir()] == ["tiles"]
    monkeypatch.undo()
    report, _ = write(project, folder)
    assert report.made == ["image_3 agreement"]
    # Killed while the page was written: the page comes first, and names the others.
    for name in [*(f"viewer/{path.name}" for path in (folder / "viewer").iterdir()), "data.js"]:
        (folder / name).unlink()
    report, _ = write(project, folder)
    assert report.made == []


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"kind": "labels"}', "9" * 5000, "[" * 100_000])
def test_a_layer_whose_description_is_broken_is_made_again(project, broken):
    folder = project.root / "report"
    _, data = write(project, folder)
    (folder / data["scenes"][0]["layers"]["map"]["folder"] / "layer.json").write_text(broken)
    report, again = write(project, folder)
    assert report.made == ["image_3 map"]
    assert again == data


@pytest.mark.parametrize("name", ["image_#1", "image_?", "image_%25", "image_a b+c&d", "image_" + "x" * 239])
def test_any_name_gets_folders_that_are_addresses_too(project, name):
    add_scene(project, name, "4")
    folder = project.root / "report"
    _, data = write(project, folder)
    named = {scene["name"]: scene for scene in data["scenes"]}
    assert shown(name) in named
    layer = named[shown(name)]["layers"]["map"]["folder"]
    assert re.fullmatch(r"[\w./-]{1,90}", layer, re.ASCII)
    assert (folder / layer / "layer.json").is_file()
    report, _ = write(project, folder)
    assert report.made == []


@pytest.mark.parametrize("name", ["constructor", "__proto__", "a#?%25"])
def test_experiments_of_any_name(project, name):
    path = project.experiment("swa", name) / "log.csv"
    path.parent.mkdir(parents=True)
    path.write_text("epoch,loss\n1,2\n")
    _, data = write(project, project.root / "report")
    assert data["experiments"][0]["exp"] == shown(name)


def test_names_are_shown_as_people_wrote_them():
    assert shown("image_3") == "image_3"
    assert shown("影像_1") == "影像_1"
    assert shown(GBK) == "image_甘蔗地"
    assert "�" in shown(os.fsdecode(b"image_\xff\xff"))
    assert folder_name("image_3") == "image_3"
    names = ["image_#1", "image_?1", GBK, "影像", "影象", "image_" + "x" * 239, "image_" + "x" * 240, "a.", ".."]
    assert len({folder_name(name) for name in names}) == len(names)
    assert all(re.fullmatch(r"[\w-]{1,60}", folder_name(name), re.ASCII) for name in names)


@pytest.mark.parametrize(("log", "message"), [
    ("epoch,loss\none,2\n", "is not the log of a training .*not a whole number"),
    ("epoch,loss\n1,2,3\n", "is not the log of a training .*3 cells, not 2"),
    ("loss\n2\n", "has no column epoch"),
    ("epoch,loss\n1," + "2" * 200_000 + "\n", "is not the log of a training .*field larger"),
    (b"epoch,loss\n1,\xff\n", "is not UTF-8 text"),
])  # fmt: skip
def test_a_broken_log_gets_one_line(project, log, message):
    path = project.experiment("swa", "a") / "log.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(log if isinstance(log, bytes) else log.encode())
    with pytest.raises(InputError, match=message) as caught:
        write(project, project.root / "report")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("recipe", ["{", "9" * 5000, "[" * 100_000])
def test_a_broken_recipe_gets_one_line(project, recipe):
    folder = project.experiment("swa", "a")
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("epoch,loss,miou\n1,nan,0.5\n2,inf,0.6\n")
    _, data = write(project, project.root / "report")
    assert [row["loss"] for row in data["experiments"][0]["rows"]] == [None, None]  # JSON has no other word for it
    (folder / "recipe.json").write_text(recipe)
    with pytest.raises(InputError, match=r"recipe.json: (is not JSON|has a number of 5000 digits|is nested too deep)"):
        write(project, project.root / "report")


def test_truth_stays_with_a_scene_of_any_name(project):
    add_scene(project, "image_#1", "4")
    write_png(project.root / "truth" / "image_#1_label.png", np.full((SIDE, SIDE), 2, np.uint8))
    _, data = write(project, project.root / "report")
    assert data["stages"][0]["miou"] == 1
