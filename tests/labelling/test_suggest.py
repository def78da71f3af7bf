"""The places that are written for people to label: where they lie, what they hold, how QGIS opens them."""

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing

import numpy as np
import pytest
import rasterio.features
from projects_to_label import HEIGHT, PLACE, WIDTH, blocky, layer, write_scene, write_votes

from jingwei.errors import InputError, SettingError
from jingwei.labelling.suggest import rarity_of, suggest
from jingwei.legend import JINGWEI
from jingwei.raster.georeference import vector_transform
from jingwei.workspace import Workspace

SYSTEM_PYTHON = "/usr/bin/python3"  # which has QGIS's library, where the system has it
WITH_QGIS = """
import json, os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from qgis.core import QgsApplication, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
layer = QgsVectorLayer(f"{sys.argv[1]}|layername=labels", "labels", "ogr")
setup = layer.editorWidgetSetup(layer.fields().indexOf("label"))
symbols = {c.value(): c.symbol().color().name() for c in layer.renderer().categories()}
print(json.dumps([layer.featureCount(), setup.type(), setup.config(), symbols]))
"""


@pytest.fixture
def project(tmp_path):
    """A scene and the vote of three maps, which disagree in one square."""
    labels = blocky()
    workspace = write_scene(tmp_path, labels)
    other, third = labels.copy(), labels.copy()
    other[100:150, 50:100], third[100:150, 50:100] = 4, 0
    write_votes(workspace, workspace.cut_scenes()[0], labels, other, third)
    return workspace


def burnt(shapes, values, transform) -> np.ndarray:
    where = vector_transform(transform)
    return rasterio.features.rasterize(zip(shapes, values, strict=True), (HEIGHT, WIDTH), fill=255, transform=where)


def test_the_first_place_is_where_the_maps_disagree_most(project):
    done = suggest(project, project.cut_scenes(), JINGWEI, count=5, window=50, simplify=0)
    path = project.next_labels(project.cut_scenes()[0])
    assert done.files == {path: 5}
    assert "entropy" in done.by
    frames, places = layer(path, "places")
    assert places["place"].tolist() == [1, 2, 3, 4, 5]
    assert (places["row"][0], places["col"][0]) == (100, 50)
    assert places["reason"][0].startswith("unsure")
    assert places["doubt"][0] > 0
    windows = [(row, col) for row, col in zip(places["row"], places["col"], strict=True)]
    assert len(set(windows)) == 5
    drawn = burnt(frames, [1] * 5, PLACE[1]) == 1
    expected = np.zeros((HEIGHT, WIDTH), bool)
    for row, col in windows:
        expected[row : row + 50, col : col + 50] = True
    assert (drawn[:, :250] == expected[:, :250]).all()


@pytest.mark.parametrize("place", [PLACE, None], ids=["placed", "unplaced"])
def test_its_regions_are_those_of_the_map(tmp_path, place):
    labels = blocky()
    workspace = write_scene(tmp_path, labels, place=place)
    scene = workspace.cut_scenes()[0]
    write_votes(workspace, scene, labels, labels, np.roll(labels, 20, axis=1))
    suggest(workspace, [scene], JINGWEI, count=4, window=50, simplify=0)
    regions, fields = layer(workspace.next_labels(scene), "labels")
    assert set(fields["label"]) == {None}
    with scene.open_image() as image:
        transform = image.transform
    seen = burnt(regions, [JINGWEI.id_of(name) for name in fields["guess"]], transform)
    frames, places = layer(workspace.next_labels(scene), "places")
    inside = burnt(frames, places["place"], transform)
    assert (seen[inside != 255] == labels[inside != 255]).all()
    assert (seen[inside == 255] == 255).all()
    assert (burnt(regions, fields["place"], transform)[inside != 255] == inside[inside != 255]).all()


def test_the_same_choice_is_the_same_bytes(project):
    scenes = project.cut_scenes()
    suggest(project, scenes, JINGWEI, count=5, window=50)
    before = project.next_labels(scenes[0]).read_bytes()
    suggest(project, scenes, JINGWEI, count=5, window=50)
    assert project.next_labels(scenes[0]).read_bytes() == before


def test_without_a_map_places_stand_for_all_that_the_scene_shows(tmp_path):
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:50], labels[150:] = 1, 3
    workspace = write_scene(tmp_path, labels)
    scene = workspace.cut_scenes()[0]
    done = suggest(workspace, [scene], JINGWEI, count=3, window=50)
    assert "no map yet" in done.by
    frames, places = layer(workspace.next_labels(scene), "places")
    assert sorted(labels[row, col] for row, col in zip(places["row"], places["col"], strict=True)) == [0, 1, 3]
    assert places["reason"][0].startswith("stands for 50 %")
    regions, fields = layer(workspace.next_labels(scene), "labels")
    assert [r.equals(f) for r, f in zip(regions, frames, strict=True)] == [True] * 3
    assert set(fields["guess"]) == set(fields["label"]) == {None}


def test_scenes_without_a_map_wait_while_others_have_one(project):
    write_scene(project.root, blocky(5), name="image_4")
    done = suggest(project, project.cut_scenes(), JINGWEI, count=3, window=50)
    assert done.without_map == ("image_4",)
    assert [path.parent.name for path in done.files] == ["image_3"]


def test_what_has_no_labels_is_rare():
    assert rarity_of(np.array([100, 25, 0]), np.array([1, 1, 1])).tolist() == [0, 0.5, 1]
    assert rarity_of(np.zeros(3), np.array([4, 1, 0])).tolist() == [0, 0.5, 1]


def test_impossible_wishes_are_refused(project, tmp_path):
    scenes = project.cut_scenes()
    for wish in ({"count": 0}, {"window": 3}, {"simplify": -1.0}):
        with pytest.raises(SettingError, match=f"`{next(iter(wish))}`"):
            suggest(project, scenes, JINGWEI, **wish)
    other = tmp_path / "other"
    write_scene(other, blocky(), bands=4, name="image_5")
    write_scene(other, blocky())
    with pytest.raises(InputError, match="unlike bands"):
        suggest(Workspace(other), Workspace(other).cut_scenes(), JINGWEI)


def test_a_cell_outside_the_flight_is_no_place(project):
    scene = project.cut_scenes()[0]
    suggest(project, [scene], JINGWEI, count=1000, window=20)
    _, places = layer(project.next_labels(scene), "places")
    assert len(places["col"]) == (HEIGHT // 20) * (250 // 20 + 1)  # of the cells from 240 on, half is inside
    assert places["col"].max() == 240


def test_the_file_has_a_style_and_a_list_of_the_classes(project):
    scene = project.cut_scenes()[0]
    suggest(project, [scene], JINGWEI, count=2, window=50)
    with closing(sqlite3.connect(project.next_labels(scene))) as file:
        styles = dict(file.execute("SELECT f_table_name, styleQML FROM layer_styles WHERE useAsDefault"))
    assert set(styles) == {"labels", "places"}
    assert all(f'value="{name}"' in styles["labels"] for name in JINGWEI.names)
    assert "ValueMap" in styles["labels"]


def test_qgis_opens_it_with_the_list(project):
    if not shutil.which(SYSTEM_PYTHON) or subprocess.run([SYSTEM_PYTHON, "-c", "import qgis.core"], check=False,
                                                         capture_output=True, env={}).returncode:  # fmt: skip
        pytest.skip("QGIS's library is not installed")
    scene = project.cut_scenes()[0]
    suggest(project, [scene], JINGWEI, count=2, window=50)
    command = [SYSTEM_PYTHON, "-c", WITH_QGIS, str(project.next_labels(scene))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"HOME": str(project.root)})
    count, kind, config, symbols = json.loads(done.stdout.splitlines()[-1])
    assert count == len(layer(project.next_labels(scene), "labels")[0])
    assert kind == "ValueMap"
    assert [list(entry.values())[0] for entry in config["map"]][1:] == list(JINGWEI.names)
    assert symbols["corn"] == "#{:02x}{:02x}{:02x}".format(*JINGWEI.classes[2].color)
