"""Polygons that a reader draws in the report, and the file that becomes of them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio.features
from affine import Affine
from rasterio.crs import CRS
from report_page import Opened

from jingwei.grid import Window
from jingwei.labelling.rounds import add_round
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.georeference import Georeference
from jingwei.raster.writing import TiledWriter
from jingwei.reporting.report import write_report
from jingwei.workspace import Workspace

SIDE = 300
FIELD = [(40, 60), (40, 200), (160, 200), (160, 60)]  # (row, column) of corners, clockwise on the screen


def opened_report(chromium, root, transform=None) -> Opened:
    workspace = Workspace(root)
    image = root / "test" / "image3" / "image_3.tif"
    like = SimpleNamespace(georeference=Georeference(CRS.from_epsg(32649), transform)) if transform else None
    with TiledWriter(image, SIDE, SIDE, like=like, bands=3) as writer:
        writer.write(Window(0, 0, SIDE, SIDE), np.full((3, SIDE, SIDE), 120, np.uint8))
    with TiledWriter(workspace.masks(workspace.cut_scenes()[0]) / "a_1.tif", SIDE, SIDE, nodata=NODATA) as writer:
        writer.write(Window(0, 0, SIDE, SIDE), np.ones((SIDE, SIDE), np.uint8))
    write_report(workspace, workspace.cut_scenes(), JINGWEI, root / "report")
    return Opened(chromium, root / "report", accept_downloads=True)


def draw(opened: Opened, corners, *, close: str) -> None:
    points = opened.on_page(*corners)
    for x, y in points:
        opened.page.mouse.click(x, y)
        opened.page.wait_for_timeout(350)  # or OpenSeadragon takes two clicks for one double click
    if close == "first corner":
        opened.page.mouse.click(points[0][0] + 3, points[0][1] - 2)
    elif close == "double click":
        opened.page.mouse.dblclick(*points[-1])
    else:
        opened.page.keyboard.press(close)
    opened.page.wait_for_timeout(350)


def saved(opened: Opened, path) -> dict:
    with opened.page.expect_download() as download:
        opened.page.click("#save-drawn")
    assert download.value.suggested_filename == "image_3_corrections.geojson"
    download.value.save_as(path)
    return json.loads(path.read_text())


def burnt(content: dict, transform: Affine) -> np.ndarray:
    shapes = [(f["geometry"], 1 + k) for k, f in enumerate(content["features"])]
    return rasterio.features.rasterize(shapes, (SIDE, SIDE), transform=transform)


def taken_in(root, file) -> np.ndarray:
    """The labels that the scene is cut with, once `label.py --add` has the file."""
    workspace = Workspace(root)
    add_round(workspace, workspace.cut_scenes()[0], file, JINGWEI)
    (scene,) = workspace.train_scenes()
    with scene.open_labels(JINGWEI) as labels:
        return labels.read_label_rows(0, SIDE)


def test_polygons_are_drawn_taken_back_and_saved(chromium, tmp_path):
    opened = opened_report(chromium, tmp_path)
    page = opened.page
    assert page.is_disabled("#undo")
    assert page.is_disabled("#save-drawn")
    page.click("#pencil")
    page.select_option("#drawn-class", "2")
    draw(opened, FIELD, close="first corner")
    assert page.eval_on_selector_all("#drawn polygon", "all => all.length") == 1
    page.select_option("#drawn-class", "4")
    draw(opened, [(200, 20), (280, 20), (280, 90)], close="double click")
    draw(opened, [(10, 10), (30, 10), (30, 40)], close="Enter")
    page.click("#undo")  # the third one
    draw(opened, [(200, 200), (250, 250)], close="Backspace")  # two corners, one taken back
    page.keyboard.press("Escape")  # the other one
    content = saved(opened, tmp_path / "drawn.geojson")
    assert content["jingwei_y"] == "-row"
    assert [f["properties"] for f in content["features"]] == [{"label": "corn"}, {"label": "building"}]
    seen = burnt(content, Affine(1, 0, 0, 0, -1, 0))
    field = np.zeros((SIDE, SIDE), bool)
    field[40:160, 60:200] = True
    assert ((seen == 1) != field).sum() <= 2 * (120 + 140)  # a click is on a pixel of the screen
    assert (seen == 2).sum() == pytest.approx(80 * 70 / 2, abs=200)
    rings = [np.array(f["geometry"]["coordinates"][0]) for f in content["features"]]
    twice = [(r[:-1, 0] * r[1:, 1] - r[1:, 0] * r[:-1, 1]).sum() for r in rings]
    assert min(twice) > 0  # counterclockwise, as RFC 7946 wants
    taken_back = taken_in(tmp_path, tmp_path / "drawn.geojson")
    assert (taken_back == np.array([NODATA, 2, 4], np.uint8)[seen]).all()
    page.keyboard.press("Escape")
    assert page.get_attribute("#pencil", "aria-pressed") == "false"
    assert "python label.py --add image_3_corrections.geojson" in page.inner_text("#drawn-note")
    opened.assert_clean()


def test_of_a_scene_with_a_place_they_lie_on_the_ground(chromium, tmp_path):
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    opened = opened_report(chromium, tmp_path, transform)
    opened.page.click("#pencil")
    draw(opened, FIELD, close="first corner")
    content = saved(opened, tmp_path / "drawn.geojson")
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32649"
    assert "jingwei_y" not in content
    field = np.zeros((SIDE, SIDE), bool)
    field[40:160, 60:200] = True
    seen = burnt(content, transform) == 1
    assert (seen != field).sum() <= 2 * (120 + 140)
    assert (taken_in(tmp_path, tmp_path / "drawn.geojson") == np.where(seen, 1, NODATA)).all()
    opened.assert_clean()


def test_it_can_be_drawn_by_keys_alone(chromium, tmp_path):
    opened = opened_report(chromium, tmp_path)
    page = opened.page
    page.focus(".openseadragon-canvas")
    page.keyboard.press("e")
    for arrow in ("ArrowLeft", "ArrowUp", "ArrowRight"):
        page.keyboard.press(arrow)
        opened.settle()
        page.wait_for_timeout(500)
        page.keyboard.press("a")
    page.keyboard.press("Enter")
    (feature,) = saved(opened, tmp_path / "drawn.geojson")["features"]
    assert feature["properties"] == {"label": "cured tobacco"}
