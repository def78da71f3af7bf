"""Scene, maps, polygons and points of a world lie on each other and say what they show: for GDAL, and in real QGIS."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from jingwei.legend import JINGWEI
from jingwei.polygons.reading import read_features
from jingwei.raster.georeference import placed, vector_transform

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from open_in_qgis import WORLDS, look_at_all, make_world

PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qgis")
    for world, crs in WORLDS.items():
        make_world(folder / world, crs)
    return folder


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("world", WORLDS)
def test_all_layers_lie_on_each_other_for_gdal(worlds, world):
    folder = worlds / world
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    with rasterio.open(folder / "scene.tif") as scene:
        transform, height, width = scene.transform, scene.height, scene.width
        for name in ("vote", "vote_agreement", "vote_entropy", "probabilities"):
            with rasterio.open(folder / f"{name}.tif") as file:
                assert (file.transform, file.shape, file.crs) == (transform, scene.shape, scene.crs)
                assert file.overviews(1) == [4]
    x, y = placed(vector_transform(transform), np.array([0, width]), np.array([height, 0]))
    assert [x[0], y[0], x[1], y[1]] == expected["extent"]
    polygons = pyogrio.read_info(folder / "polygons.gpkg", layer="polygons", force_total_bounds=True)
    assert list(polygons["total_bounds"]) == pytest.approx(expected["extent"])
    shapes, columns, _ = read_features(folder / "sample.gpkg", "Point")
    x, y = placed(vector_transform(transform), columns["col"] + 0.5, columns["row"] + 0.5)
    np.testing.assert_allclose(shapely.get_coordinates(shapes), np.stack([x, y], axis=1))
    for name in ("polygons.gpkg", "polygons.geojson"):
        shapes, columns, _ = read_features(folder / name)
        assert shapely.is_valid(shapes).all()
        assert set(columns["name"]) == set(JINGWEI.names)


@pytest.mark.parametrize("world", WORLDS)
def test_maps_name_their_classes_for_gdal(worlds, world):
    aux = ElementTree.parse(worlds / world / "vote.tif.aux.xml")
    assert [each.text for each in aux.iter("Category")] == list(JINGWEI.names)
    with rasterio.open(worlds / world / "probabilities.tif") as file:
        assert file.descriptions == JINGWEI.names
    with rasterio.open(worlds / world / "vote.tif") as file:
        colors = file.colormap(1)
    assert [colors[c.id][:3] for c in JINGWEI.classes] == [c.color for c in JINGWEI.classes]


def has_qgis() -> bool:
    if not PYTHON:
        return False
    return subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, timeout=60).returncode == 0


def test_qgis_shows_what_was_meant(worlds):
    if not has_qgis():
        pytest.skip("QGIS is not installed for the system's Python")
    done = look_at_all(worlds, PYTHON)
    assert "all layers are as they should be" in done.stdout, done.stdout + done.stderr
    # It finds what is wrong: a map without its style, and one that lies elsewhere.
    (worlds / "placed" / "vote.qml").unlink()
    (worlds / "placed" / "vote.tif.aux.xml").unlink()
    shutil.copy(worlds / "placed" / "polygons.gpkg", worlds / "nowhere" / "polygons.gpkg")
    done = look_at_all(worlds, PYTHON)
    assert "placed/vote.tif: classes" in done.stdout
    assert "nowhere/polygons.gpkg: lies at" in done.stdout


@pytest.mark.parametrize("name", ["polygons", "sample", "next"])
def test_older_readers_of_geopackages_have_nothing_to_warn_of(worlds, name):
    """GDAL before 3.8 warns of later versions, and of times that are not to the millisecond in UTC."""
    with closing(sqlite3.connect(worlds / "placed" / f"{name}.gpkg")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (10200,)
        times = [time for (time,) in file.execute("SELECT update_time FROM layer_styles")]
    assert times
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times)
