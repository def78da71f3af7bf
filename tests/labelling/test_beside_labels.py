"""Rounds beside other labels: what is drawn above a raster, and background that only complete labels have."""

import numpy as np
import pyogrio
import pytest
import shapely
from projects_to_label import HEIGHT, WIDTH, blocky, layer, write_scene

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.inputs.label_files import LabelFiles
from jingwei.inputs.scenes import scene_of
from jingwei.labelling.rounds import add_round, scene_meant
from jingwei.labelling.suggest import suggest
from jingwei.labels.rules import TRAINING, rules_of
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.writing import TiledWriter
from jingwei.workspace import Workspace

SQUARE = shapely.box(20, 30, 60, 80)  # columns 20 to 60, rows 30 to 80


def draw(path, shapes, *, layer=None, append=False, **columns):
    """Writes shapes (x the column, y the row) with their columns, as they lie in QGIS without a place: y = -row."""
    there = shapely.transform(np.array([*shapes, None], object)[:-1], lambda xy: xy * [1, -1])
    data = [np.array(values, object if isinstance(values[0], str) else None) for values in columns.values()]
    how = {"geometry_type": "Unknown", "crs": None, "layer": layer, "append": append}
    pyogrio.raw.write(path, shapely.to_wkb(there), data, list(columns), **how)
    return path


@pytest.fixture
def labelled(tmp_path):
    """A test scene without a place and a round of one square of corn in it."""
    workspace = write_scene(tmp_path, blocky(), place=None)
    source = draw(tmp_path / "drawn.gpkg", [SQUARE], label=["corn"])
    add_round(workspace, workspace.cut_scenes()[0], source, JINGWEI)
    return workspace


def read(scene) -> np.ndarray:
    with scene.open_labels(JINGWEI) as labels:
        return labels.read_label_rows(0, labels.height)


def corn(background: np.ndarray | int) -> np.ndarray:
    expected = np.full((HEIGHT, WIDTH), background, np.uint8)
    expected[30:80, 20:60] = JINGWEI.id_of("corn")
    return expected


def test_a_test_scene_is_not_background_outside_its_rounds(labelled):
    areas = draw(labelled.root / "areas.gpkg", [shapely.box(0, 0, 100, 100)], use=[""])
    for rules in (rules_of(), rules_of(background_outside=True), rules_of(labelled=areas)):
        (scene,) = Workspace(labelled.root, rules.only(TRAINING)).train_scenes()
        assert (read(scene) == corn(NODATA)).all()


def test_areas_for_testing_still_keep_rounds_away(labelled):
    areas = draw(labelled.root / "areas.gpkg", [shapely.box(0, 0, 40, HEIGHT)], use=["test"])
    (scene,) = Workspace(labelled.root, rules_of(labelled=areas).only(TRAINING)).train_scenes()
    expected = corn(NODATA)
    expected[:, :44] = NODATA
    assert (read(scene) == expected).all()


def test_rounds_lie_above_a_raster_of_labels(tmp_path):
    labels = blocky(classes=2)
    image = tmp_path / "train" / "image_1.png"
    image.parent.mkdir()
    write_png(image, np.stack([40 * labels + k for k in range(3)], axis=2))
    write_png(image.with_name("image_1_label.png"), labels)
    workspace = Workspace(tmp_path)
    source = draw(tmp_path / "drawn.gpkg", [SQUARE], label=["corn"])
    before = workspace.train_scenes()[0].reading
    add_round(workspace, workspace.train_scenes()[0], source, JINGWEI)
    (scene,) = workspace.train_scenes()
    expected = np.where(corn(NODATA) == NODATA, labels, corn(NODATA))
    assert (read(scene) == expected).all()
    assert scene.reading != before
    assert [path.name for path in scene.sources] == ["image_1.png", "image_1_label.png", "round_1.gpkg"]
    crops = cut_train(workspace, [scene], CutSettings(crop_size=100, stride=100, keep_background=1), JINGWEI, workers=1)
    assert sum(crop.pixels[JINGWEI.id_of("corn")] for crop in crops) > 0  # the raster has none


def test_what_is_left_out_of_labels_beside_a_raster_is_said_too(tmp_path, capfd):
    """And areas that lie elsewhere, as those in another CRS: what they should keep for testing would be learned."""
    away = shapely.box(900, 10, 920, 30)
    image = tmp_path / "train_scenes" / "image_1.png"
    image.parent.mkdir()
    write_png(image, np.repeat(blocky()[..., None] * 40 + 10, 3, axis=2))
    write_png(image.with_name("image_1_label.png"), blocky())
    draw(tmp_path / "drawn.gpkg", [SQUARE, away], label=["corn", "corn"])
    draw(tmp_path / "areas.gpkg", [away], use=["test"])
    files = [image.with_name("image_1_label.png"), tmp_path / "drawn.gpkg"]
    scene = scene_of(image, files, rules_of(labelled=tmp_path / "areas.gpkg").only(TRAINING))
    cut_train(Workspace(tmp_path), [scene], CutSettings(50, 50, 0.2, 1.0), JINGWEI, 1)
    said = capfd.readouterr().err
    for name in ("areas", "drawn"):
        assert said.count(f"{name}.gpkg: 1 feature outside image_1.png: left out") == 1
    with scene_of(image, files[:1], scene.rules).open_labels(JINGWEI) as labels:
        assert [note.where.name for note in labels.notes] == ["areas.gpkg"]


def test_a_raster_above_others_is_refused(tmp_path):
    drawn, raster = draw(tmp_path / "a.gpkg", [SQUARE], label=[1]), tmp_path / "a.png"
    write_png(raster, blocky())
    with pytest.raises(InputError, match="name one raster a scene, before its vector files"):
        _ = LabelFiles((drawn, raster)).drawn


def test_added_lines_have_the_width_that_is_said(labelled):
    scene = labelled.cut_scenes()[0]
    source = draw(labelled.root / "lines.gpkg", [shapely.LineString([(100, 100), (150, 100)])], label=["building"])
    with pytest.raises(InputError, match="say by `buffer`"):
        add_round(labelled, scene, source, JINGWEI)
    (done,) = add_round(labelled, scene, source, JINGWEI, rules_of(buffer="3px"))
    assert done.name == "round_2.gpkg"


def test_a_layer_can_be_added_and_a_file_that_is_not_there_is_named(labelled):
    scene = labelled.cut_scenes()[0]
    source = draw(labelled.root / "two.gpkg", [SQUARE], layer="east", label=["corn"])
    draw(source, [shapely.box(100, 100, 150, 150)], layer="west", label=["corn"], append=True)
    for name in ("east", "west"):
        assert add_round(labelled, scene, source.with_name(f"two.gpkg:{name}"), JINGWEI)
    assert add_round(labelled, scene, source.with_name("two.gpkg:west"), JINGWEI) == {}
    others = [scene, write_scene(labelled.root, blocky(), name="image_4").cut_scenes()[-1]]
    with pytest.raises(InputError, match="no such file"):
        scene_meant(labelled.root / "typo.geojson", others)


@pytest.mark.parametrize("use", ["test", "train"])
def test_nothing_is_asked_for_in_areas_for_testing(labelled, use):
    areas = draw(labelled.root / "areas.gpkg", [shapely.box(0, 0, 150, HEIGHT)], use=[use])
    workspace = Workspace(labelled.root, rules_of(labelled=areas))
    (path,) = suggest(workspace, workspace.cut_scenes(), JINGWEI, count=100, window=50).files
    cols = layer(path, "places")[1]["col"]
    assert len(cols) > 3
    assert (cols >= 150).all() == (use == "test")


def test_maps_without_a_record_of_doubt_are_said_to_have_none(labelled):
    scene = labelled.cut_scenes()[0]
    path = labelled.masks(scene) / "a_b.tif"
    with scene.open_image() as image, TiledWriter(path, HEIGHT, WIDTH, nodata=NODATA, like=image) as writer:
        writer.write(Window(0, 0, HEIGHT, WIDTH), blocky())
    by = suggest(labelled, [scene], JINGWEI, count=2, window=50).by
    assert by == (
        "chosen by how rare the classes are and how much they stand for (no file says how sure the maps are of image_3)"
    )
