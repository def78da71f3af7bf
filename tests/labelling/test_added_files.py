"""Files that are added as rounds (`--add`): what is taken in, left out, said and refused."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pyogrio
import pytest
import shapely
from projects_to_label import HEIGHT, WIDTH, blocky, fill_labels, guesses, labels_of, write_scene

from jingwei.errors import InputError
from jingwei.labelling.rounds import add_round, scene_meant, take_in
from jingwei.labels.rules import rules_of
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.georeference import placed, vector_transform
from jingwei.workspace import Workspace


def geojson(path, rings, name="corn", **head):
    features = [
        {"type": "Feature", "properties": {"label": name}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for ring in rings
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", **head, "features": features}))
    return path


def test_corrections_in_pixels_come_in_wherever_the_scene_lies(asked):
    workspace, scene, _ = asked
    square = [[60, -40], [60, -160], [200, -160], [200, -40], [60, -40]]
    source = geojson(workspace.root / "image_3_corrections.geojson", [square], jingwei_y="-row")
    (done,) = add_round(workspace, scene, source, JINGWEI).items()
    assert done == (workspace.rounds(scene) / "round_1.gpkg", 1)
    expected = np.full((HEIGHT, WIDTH), NODATA, np.uint8)
    expected[40:160, 60:200] = JINGWEI.id_of("corn")
    assert (labels_of(workspace, scene) == expected).all()


def test_corrections_on_the_ground_come_in_too(asked):
    workspace, scene, _ = asked
    with scene.open_image() as image:
        if image.crs is None:
            pytest.skip("this scene has no place")
    square = [
        [500_030, 3_999_980],
        [500_030, 3_999_920],
        [500_100, 3_999_920],
        [500_100, 3_999_980],
        [500_030, 3_999_980],
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32649"}}
    source = geojson(workspace.root / "anything.geojson", [square], crs=crs)
    add_round(workspace, scene, source, JINGWEI)
    expected = np.full((HEIGHT, WIDTH), NODATA, np.uint8)
    expected[40:160, 60:200] = JINGWEI.id_of("corn")
    assert (labels_of(workspace, scene) == expected).all()


SQUARE = [[60, -40], [60, -160], [200, -160], [200, -40], [60, -40]]
BOW = [[60, -40], [200, -160], [200, -40], [60, -160], [60, -40]]
AWAY = [[900, -40], [900, -60], [920, -60], [900, -40]]
TINY = [[60.6, -40.6], [60.6, -40.9], [60.9, -40.9], [60.9, -40.6], [60.6, -40.6]]
FLAT = [[60, -40], [60, -40], [60, -40], [60, -40]]
NAN = [[60, -40], [float("nan"), -60], [80, -60], [60, -40]]


@pytest.mark.parametrize(("rings", "said"), [
    ([SQUARE, AWAY], "1 feature outside image_3.tif: left out"),
    ([BOW], "1 feature with rings that cross or touch themselves: repaired"),
    ([SQUARE, FLAT], "1 feature without any area: left out"),
    ([SQUARE, NAN], "1 feature without a geometry: left out"),
    ([SQUARE, TINY], "1 feature too small to hold a pixel's centre: no label"),
    ([SQUARE], ""),
])  # fmt: skip
def test_what_is_left_out_or_mended_of_labels_is_said(asked, rings, said, capfd):
    workspace, scene, _ = asked
    source = geojson(workspace.root / "image_3_corrections.geojson", rings, jingwei_y="-row")
    assert list(add_round(workspace, scene, source, JINGWEI).values()) == [1 + (TINY in rings)]
    out, err = capfd.readouterr()
    assert said in err if said else not err
    assert not out


def box_of(scene, col: int, row: int, side: int):
    with scene.open_image() as image:
        affine = vector_transform(image.transform)
    return shapely.transform(shapely.box(col, row, col + side, row + side), lambda p: np.stack(placed(affine, *p.T), 1))


def draw(path, shapes, **columns):
    """A file of other people's, without a CRS: polygons in the scene's coordinates."""
    data = [np.array(values, object if isinstance(values[0], str) else None) for values in columns.values()]
    how = {"geometry_type": "Polygon", "crs": None, "layer": "own"}
    pyogrio.raw.write(path, shapely.to_wkb(np.array(shapes, object)), data, list(columns), **how)
    return path


@pytest.mark.filterwarnings("ignore:.*crs.*")
def test_the_order_of_what_is_added_counts(asked):
    workspace, scene, _ = asked
    twice = [box_of(scene, 10, 20, 30)] * 2
    source = draw(workspace.root / "a.gpkg", twice, label=["corn", "building"], year=[2026, 2020])
    add_round(workspace, scene, source, JINGWEI, rules_of(order="year"))
    assert labels_of(workspace, scene)[30, 30] == JINGWEI.id_of("corn")


@pytest.mark.filterwarnings("ignore:.*crs.*")
def test_what_is_added_without_a_class_is_said(asked, capfd):
    workspace, scene, _ = asked
    source = draw(workspace.root / "a.gpkg", [box_of(scene, 10, 20, 30)] * 2, crop=["corn", None])
    add_round(workspace, scene, source, JINGWEI)
    err = capfd.readouterr().err
    assert "warning: " in err
    assert "a.gpkg: 1 feature without a class (field crop): left out" in err
    assert "a.gpkg: the classes are those of field crop: if they are elsewhere, delete the round" in err
    path = workspace.next_labels(scene)
    fill_labels(path, ["corn", *[None] * (len(guesses(workspace, scene)) - 1)])
    take_in(workspace, [scene], JINGWEI)
    assert "without a class" not in capfd.readouterr().err  # nobody has added a region there
    with closing(sqlite3.connect(path)) as file:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            file.create_function(name, 1, lambda _: 0)
        file.execute("UPDATE labels SET place = NULL WHERE label IS NULL AND fid <= 3")
        file.commit()
    take_in(workspace, [scene], JINGWEI)
    assert "next.gpkg: 2 features without a class (field label): left out" in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore:.*crs.*")
def test_a_change_beside_a_file_is_taken_in_again(asked, capfd):
    """The classes of a shapefile are in its .dbf: the .shp stays the same where only these are changed."""
    workspace, scene, _ = asked
    source = draw(workspace.root / "a.shp", [box_of(scene, 10, 20, 30)], label=["corn"])
    assert len(add_round(workspace, scene, source, JINGWEI)) == 1
    assert add_round(workspace, scene, source, JINGWEI) == {}
    said = f"kept, {source} was taken in before: delete {workspace.rounds(scene) / 'round_1.gpkg'} to take it in anew"
    assert said in capfd.readouterr().out
    classes = source.with_suffix(".dbf")
    classes.write_bytes(classes.read_bytes().replace(b"corn    ", b"building"))
    assert len(add_round(workspace, scene, source, JINGWEI)) == 1
    assert labels_of(workspace, scene)[30, 30] == JINGWEI.id_of("building")


@pytest.mark.parametrize(("rings", "said"), [
    ([FLAT], "no feature has an area: draw them again"),
    ([NAN], "no feature has a geometry: draw them again"),
    ([AWAY, FLAT], "no feature lies in image_3.tif .*columns 900 to 920"),
])  # fmt: skip
def test_labels_of_which_nothing_is_left_are_refused(asked, rings, said):
    workspace, scene, _ = asked
    source = geojson(workspace.root / "image_3_corrections.geojson", rings, jingwei_y="-row")
    with pytest.raises(InputError, match=said):
        add_round(workspace, scene, source, JINGWEI)
    assert not workspace.rounds(scene).joinpath("round_1.gpkg").exists()


def test_a_files_name_says_which_scene_it_is_for(tmp_path):
    write_scene(tmp_path, blocky())
    write_scene(tmp_path, blocky(), name="image_33")
    scenes = Workspace(tmp_path).cut_scenes()
    for name in ("image_33_corrections", "image_3", "x"):
        (tmp_path / f"{name}.geojson").touch()
    assert scene_meant(tmp_path / "image_33_corrections.geojson", scenes).name == "image_33"
    assert scene_meant(tmp_path / "image_3.geojson", scenes).name == "image_3"
    assert scene_meant(tmp_path / "x.geojson", scenes[:1]).name == "image_3"
    (tmp_path / "image_4_corrections (1).geojson").touch()
    with pytest.raises(InputError, match="named for scene image_4, which is not among .*image_3.*: say by `scene`"):
        scene_meant(tmp_path / "image_4_corrections (1).geojson", scenes[:1])
    assert scene_meant(tmp_path / "my_corrections.geojson", scenes[:1], named=True).name == "image_3"
    with pytest.raises(InputError, match="one of several scenes"):
        scene_meant(tmp_path / "x.geojson", scenes)
