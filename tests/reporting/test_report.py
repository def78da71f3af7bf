"""The report: it says what the files say, invents nothing, and is whole or absent."""

import json
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from jingwei.errors import InputError
from jingwei.evaluation.metrics import scores
from jingwei.evaluation.scenes import score_stages
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.reading import open_labels
from jingwei.raster.writing import TiledWriter
from jingwei.reporting import pyramid
from jingwei.reporting.layers import make_layer
from jingwei.reporting.report import write_report
from jingwei.workspace import Workspace


@pytest.fixture
def project(tmp_path, draw_scene) -> Workspace:
    """A cut scene with a label, two maps, a vote, a filled map and an experiment."""
    workspace = Workspace(tmp_path / "data")
    pixels, labels = draw_scene(170, 140, seed=3)
    valid = pixels[..., 3] > 0
    image = workspace.root / "test" / "image3" / "image_3.tif"
    with TiledWriter(image, 170, 140, bands=3, mask=True) as writer:
        writer.write(Window(0, 0, 170, 140), pixels[..., :3].transpose(2, 0, 1).copy(), valid)
    write_png(workspace.root / "truth" / "image_3_label.png", labels)
    scene = workspace.cut_scenes()[0]
    inside = np.where(valid, labels, NODATA).astype(np.uint8)
    wrong = np.where((inside == 1) & (np.arange(140) > 70), 2, inside).astype(np.uint8)
    filled = np.where(inside == 0, 1, inside).astype(np.uint8)
    agreement = np.where(valid, np.where(wrong == inside, 100, 50), NODATA).astype(np.uint8)
    for name, values in (("swa_a", inside), ("swa_b", wrong), ("vote", inside), ("agreement", agreement),
                         ("filled", filled)):  # fmt: skip
        with TiledWriter(workspace.masks(scene) / f"{name}.tif", 170, 140, nodata=NODATA) as writer:
            writer.write(Window(0, 0, 170, 140), values)
    log = workspace.experiment("swa", "a") / "log.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,loss,lr,val_loss,miou,iou corn,seconds\n1,1.5,0.1,,,,9\n2,0.8,0.1,0.9,0.5,0.4,9\n")
    return workspace


def report_of(workspace: Workspace, legend=JINGWEI, **settings):
    folder = workspace.root / "report"
    scenes = workspace.cut_scenes() if (workspace.root / "test").exists() else []
    report = write_report(workspace, scenes, legend, folder, **settings)
    text = (folder / "data.js").read_text()
    return report, json.loads(re.fullmatch(r"const REPORT = (.*);\n", text)[1])


def values_of(workspace: Workspace, name: str) -> np.ndarray:
    with open_labels(workspace.masks(workspace.cut_scenes()[0]) / f"{name}.tif") as labels:
        return labels.read_label_rows(0, labels.height)


def test_the_report_says_what_the_files_say(project):
    report, data = report_of(project)
    assert report.page == project.root / "report" / "index.html"
    (scene,) = data["scenes"]
    assert set(scene["layers"]) == {"scene", "map", "agreement", "truth"}
    filled, vote = values_of(project, "filled"), values_of(project, "vote")
    assert scene["stage"] == "filled"
    assert scene["areas"]["classes"] == [int((filled == k).sum()) for k in range(len(JINGWEI))]
    assert scene["areas"]["nodata"] == (filled == NODATA).sum()
    expected = [[int(((vote == a) & (filled == b)).sum()) for b in range(5)] for a in range(5)]
    assert scene["changed"] == expected
    stages = score_stages(project, JINGWEI)
    expected = [(name, scores(matrix, JINGWEI)) for name, matrix in stages.items()]
    assert data["stages"] == [{"name": n, "scenes": 1} | s | {"classes": [*s["classes"].values()]} for n, s in expected]
    assert [stage["name"] for stage in data["stages"]] == ["swa_a", "swa_b", "vote", "filled"]
    (run,) = data["experiments"]
    assert (run["recipe"], run["exp"]) == ("swa", "a")
    assert run["rows"] == [{"epoch": 1, "loss": 1.5, "val_loss": None, "miou": None, "iou corn": None},
                           {"epoch": 2, "loss": 0.8, "val_loss": 0.9, "miou": 0.5, "iou corn": 0.4}]  # fmt: skip
    assert scene["worst"][0]["truth"] == 0
    assert scene["worst"][0]["guess"] == 1
    assert scene["place"] is None
    assert scene["hectares"] is None


def test_truth_goes_by_the_legends_values_and_maps_by_ids(project):
    report, data = report_of(project)
    path, values = project.root / "truth" / "image_3_label.png", np.arange(256, dtype=np.uint8)
    values[[1, 4]] = (4, 200)
    with open_labels(path) as labels:
        write_png(path, values[labels.read_label_rows(0, 170)])
    classes = tuple(replace(c, value=int(values[c.id])) for c in JINGWEI.classes)
    _, by_values = report_of(project, legend=replace(JINGWEI, classes=classes))
    for scene in (data["scenes"][0], by_values["scenes"][0]):
        del scene["layers"]  # their folders' names are stamps
    assert by_values["scenes"] == data["scenes"]
    assert by_values["stages"] == data["stages"]


def test_truth_outside_the_flight_is_unknown(project):
    _, data = report_of(project)
    folder = project.root / "report" / data["scenes"][0]["layers"]["truth"]["folder"]
    layer = pyramid.read_layer(folder)
    truth = layer.read(max(layer.tiles))
    np.testing.assert_array_equal(truth, values_of(project, "swa_a"))


def test_nothing_is_invented(project):
    """A project grows stage by stage: each report shows what is there, and no more."""
    masks = project.root / "test" / "mask3"
    away = project.root / "away"
    shutil.move(masks, away)
    shutil.move(project.root / "truth", project.root / "later")
    shutil.move(project.models, project.root / "models_later")
    _, data = report_of(project)
    (scene,) = data["scenes"]
    assert set(scene["layers"]) == {"scene"}
    assert (scene["areas"], scene["changed"], scene["worst"], scene["stage"]) == (None, None, [], None)
    assert (data["stages"], data["experiments"]) == ([], [])
    masks.mkdir()
    shutil.copy(away / "swa_b.tif", masks)
    _, data = report_of(project)
    assert data["scenes"][0]["stage"] == "swa_b"
    assert data["scenes"][0]["worst"] == []
    for name in ("vote", "agreement"):
        shutil.copy(away / f"{name}.tif", masks)
    _, data = report_of(project)
    (scene,) = data["scenes"]
    assert scene["stage"] == "vote"
    assert scene["changed"] is None
    assert scene["worst"]
    assert all(place["sure"] < 100 for place in scene["worst"])
    shutil.move(project.root / "models_later", project.models)
    shutil.rmtree(project.root / "test")
    _, data = report_of(project)
    assert data["scenes"] == []
    assert len(data["experiments"]) == 1


def test_nothing_to_report(tmp_path):
    with pytest.raises(InputError, match="neither a cut scene nor a trained experiment"):
        write_report(Workspace(tmp_path), [], JINGWEI, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_layers_that_are_up_to_date_are_kept(project):
    first, data = report_of(project)
    assert len(first.made) == 4
    folder = project.root / "report"
    again, same = report_of(project, workers=2)
    assert (again.made, len(again.kept)) == ([], 4)
    assert same == data
    with TiledWriter(project.root / "test/mask3/filled.tif", 170, 140, nodata=NODATA) as writer:
        writer.write(Window(0, 0, 170, 140), np.full((170, 140), 3, np.uint8))
    (folder / "tiles" / "image_3" / ".map-0123456789abcdef.part" / "8").mkdir(parents=True)
    third, changed = report_of(project)
    assert third.made == ["image_3 map"]
    assert changed["scenes"][0]["areas"]["classes"] == [0, 0, 0, 170 * 140, 0]
    assert len(list((folder / "tiles" / "image_3").iterdir())) == 4  # the old map and what was broken off are gone
    with TiledWriter(project.root / "test/image3/image_3.tif", 170, 140, bands=3, mask=True) as writer:
        writer.write(Window(0, 0, 170, 140), np.full((3, 170, 140), 9, np.uint8), np.ones((170, 140), bool))
    fourth, _ = report_of(project)
    assert fourth.made == ["image_3 scene", "image_3 truth"]  # where the scene is valid, the truth counts


class Backwards:
    """Does tasks in another order, as a cluster may."""

    def run(self, tasks):
        for task in reversed(list(tasks)):
            yield task, task()


def test_the_page_is_the_same_whichever_task_ends_first(project):
    _, data = report_of(project)
    written = (project.root / "report" / "data.js").read_bytes()
    shutil.rmtree(project.root / "report")
    report, _ = report_of(project, scheduler=Backwards())
    assert (project.root / "report" / "data.js").read_bytes() == written
    assert report.made == [f"image_3 {name}" for name in ("scene", "map", "agreement", "truth")]


def test_a_stopped_run_leaves_the_report_that_was_there(project, monkeypatch):
    report_of(project)
    folder = project.root / "report"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in ("filled", "agreement"):
        with TiledWriter(project.root / f"test/mask3/{name}.tif", 170, 140, nodata=NODATA) as writer:
            writer.write(Window(0, 0, 170, 140), np.full((170, 140), 2, np.uint8))
    made = []

    def killed(source, legend, workers):
        if source.name == "agreement":
            raise KeyboardInterrupt
        made.append(source.name)
        return make_layer(source, legend, workers)

    monkeypatch.setattr("jingwei.reporting.report.make_layer", killed)
    with pytest.raises(KeyboardInterrupt):
        report_of(project)
    assert "map" in made
    assert all(path.read_bytes() == content for path, content in before.items())
    monkeypatch.undo()
    report, _ = report_of(project)
    assert report.made == ["image_3 agreement"]  # the map was finished


@pytest.mark.parametrize(("name", "values", "message"), [
    ("filled", np.full((170, 140), 7, np.uint8), "ids 7 .*in rows 0 to 170, .* legend jingwei ends at 4"),
    ("filled", np.full((169, 140), 1, np.uint8), "140 x 169 px, but image_3.tif is 140 x 170"),
])  # fmt: skip
def test_a_map_that_does_not_fit_gets_one_line(project, name, values, message):
    with TiledWriter(project.root / f"test/mask3/{name}.tif", *values.shape, nodata=NODATA) as writer:
        writer.write(Window(0, 0, *values.shape), values)
    with pytest.raises(InputError, match=message):
        report_of(project)
    assert not (project.root / "report" / "index.html").exists()


def test_a_broken_log_gets_one_line(project):
    (project.experiment("swa", "a") / "log.csv").write_text("epoch,loss\none,2\n")
    with pytest.raises(InputError, match="is not the log of a training"):
        report_of(project)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_place_and_area_come_from_the_georeference_and_any_type_is_shown(project, dtype):
    import rasterio

    path = project.root / "test" / "image3" / "image_3.tif"
    path.unlink()
    values = np.random.default_rng(0).integers(200, 900, (4, 170, 140)).astype(dtype)
    transform = rasterio.Affine(0.3, 0.4, 500_000, 0.4, -0.3, 3_000_000)  # turned: a pixel is 0.5 m a side
    profile = {"driver": "GTiff", "height": 170, "width": 140, "count": 4, "dtype": dtype, "tiled": True,
               "blockxsize": 256, "blockysize": 256, "crs": "EPSG:32648", "transform": transform}  # fmt: skip
    if dtype == "float32":
        values[0, :, :20] = np.nan
    with rasterio.open(path, "w", **profile) as target:
        target.write(values)
    _, data = report_of(project)
    (scene,) = data["scenes"]
    assert scene["place"] == {"transform": [0.3, 0.4, 500_000, 0.4, -0.3, 3_000_000], "crs": "EPSG:32648", "digits": 2}
    assert scene["metres"] == pytest.approx(0.5 / 0.9996, rel=1e-6)
    assert scene["hectares"] == pytest.approx(0.25 / 0.9996**2 / 1e4, rel=1e-6)  # on the ground, not in the projection
    (tile,) = (project.root / "report" / scene["layers"]["scene"]["folder"]).rglob("8/*.jpg")
    seen = cv2.imread(str(tile))
    bright = seen[:, 40:].astype(int)
    assert bright.max() - bright.min() > 200  # stretched from black to white
    if dtype == "float32":
        assert np.abs(seen[:, :12].astype(int) - pyramid.PAPER[::-1]).max() < 20
    _, data = report_of(project, gsd=0.2)
    assert data["scenes"][0]["hectares"] == pytest.approx(0.04 / 1e4)


def test_the_page_and_all_it_needs_travel_with_the_package(project):
    report_of(project)
    folder = project.root / "report"
    page = (folder / "index.html").read_text(encoding="utf-8")
    needed = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert len(needed) >= 7
    for file in needed:
        assert file.startswith("data:") or (folder / file).is_file(), file
    assert "Redistribution and use" in (folder / "viewer" / "openseadragon-LICENSE.txt").read_text()
    own = [path for path in (folder / "viewer").glob("*.js") if not path.name.startswith("openseadragon")]
    assert {f"viewer/{path.name}" for path in (folder / "viewer").iterdir()} <= set(needed)  # else they are not swept
    for path in own:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 300, path
    for path in [folder / "index.html", *(folder / "viewer").glob("*.css"), *own]:
        addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org"}, path  # the name of SVG, which nobody asks for
