"""Drawn labels that can't be used, in one line; and those that can, with a word about what was done to them."""

import os
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyogrio
import pytest
import shapely
from test_drawn import Over, draw, drawn, whole

from jingwei.errors import InputError, JingweiError, SettingError
from jingwei.labels.rules import rules_of
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.identity import identity

pytestmark = pytest.mark.filterwarnings("ignore:.*crs.*")
BOX, OTHER = shapely.box(2, 2, 12, 12), shapely.box(20, 20, 30, 30)


@pytest.fixture
def over():
    return Over(40, 50, "north up")


@pytest.mark.parametrize(("columns", "rules", "message"), [
    ({"height": [7.5, 8]}, {}, r"no field has classes of legend jingwei \(its fields are height\): name the one"),
    ({"crop": ["corn", "cron"]}, {}, r"field crop has classes .* not know: 'cron' \(1 feature\): did you mean corn\?"),
    ({"label": ["cron", "cron"], "guess": ["corn", "corn"]}, {}, r"field label .* 'cron' \(2 features\): did you mean"),
    ({"class_id": [2, 7]}, {}, r"not know: 7 \(1 feature\): known are 0 background, 1 cured tobacco"),
    ({"class_id": [2, 3], "name": ["Corn", "corn"]}, {},
     r"other classes in class_id than in name: of 1 feature, such as 3 and 'corn': say by `label_field` which"),
    ({"label": [None, " "]}, {}, r"no feature has a class yet \(field label is empty\)"),
    ({"one": [1, 2], "two": [2, 1]}, {}, r"several fields could have the classes \(one, two\): name .* `label_field`"),
    ({"crop": [1, 2]}, {"label_field": "corp"}, r"has no field 'corp': did you mean crop\? known are crop"),
    ({"crop": [1, 2]}, {"order": "time"}, r"`order`: .* has no field 'time': known are crop"),
])  # fmt: skip
def test_classes_that_can_not_be_told(tmp_path, over, columns, rules, message):
    path = draw(tmp_path / "a.gpkg", [BOX, OTHER], over=over, **columns)
    with pytest.raises(JingweiError, match=message) as refused:
        drawn(path, over, **rules)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("columns", "by"), [
    ({"class_id": [2, 3], "name": ["corn", "barley-rice"], "area_px": [1, 4]}, "field class_id"),
    ({"id": [1, 2], "Crop": ["Corn", "Barley Rice"]}, "field Crop"),
    ({"what": ["2", "3"]}, "field what"),
    ({"what": [2.0, 3.0]}, "field what"),
    ({"a": [2, 3], "b": ["CORN", "barley_rice"]}, "field a"),  # both say the same
    ({"x": [4, 4], "label": [2, 3]}, "field label"),
])  # fmt: skip
def test_the_field_is_found(tmp_path, over, columns, by):
    labels = drawn(draw(tmp_path / "a.gpkg", [BOX, OTHER], over=over, **columns), over)
    assert labels.by == by
    assert labels.count().tolist() == [0, 0, 100, 100, 0]


def test_values_of_the_legend_are_known_but_ids_stay_ids(tmp_path, over):
    legend = replace(JINGWEI, ignore=(9,), classes=tuple(replace(c, value=10 * c.id) for c in JINGWEI.classes))
    path = draw(tmp_path / "a.gpkg", [BOX, OTHER], over=over, crop=[20, 9])
    found = whole(drawn(path, over, legend))
    assert np.bincount(found.ravel(), minlength=256)[[2, NODATA]].tolist() == [100, 1900]
    path = draw(tmp_path / "b.gpkg", [BOX, OTHER], over=over, class_id=[2, 3])
    assert drawn(path, over, legend).count().tolist() == [0, 0, 100, 100, 0]


def test_a_file_a_class(tmp_path, over):
    paths = [draw(tmp_path / "image_1_label_corn.gpkg", [BOX], over=over, height=[1]),
             draw(tmp_path / "Cured Tobacco.gpkg", [OTHER], over=over, rows=[1])]  # fmt: skip
    assert drawn(paths, over).count().tolist() == [0, 100, 100, 0, 0]
    both = draw(tmp_path / "both.gpkg", [BOX], over=over, layer="corn", rows=[1])
    draw(both, [OTHER], over=over, layer="building", rows=[1], append=True)
    assert drawn([f"{both}:building", f"{both}:corn"], over).count().tolist() == [0, 0, 100, 0, 100]


@pytest.mark.parametrize(("shapes", "message"), [
    ([shapely.box(200, 9, 210, 19)], r"no feature lies in image_1.png \(50 x 40 px, EPSG:32649\), but at columns 200"),
    ([], "has no features: draw"),
    ([None], "no feature has a geometry: draw"),
    ([shapely.Polygon([(1, 1), (5, 5), (9, 9)])], "no feature has an area: draw"),
    ([shapely.Point(3, 3), shapely.LineString([(1, 1), (9, 9)])], r"has 1 lines and 1 points, .* `buffer` how far"),
])  # fmt: skip
def test_shapes_that_label_nothing(tmp_path, over, shapes, message):
    path = draw(tmp_path / "a.gpkg", shapes, over=over, class_id=np.full(len(shapes), 2))
    with pytest.raises(InputError, match=message):
        drawn(path, over)


@pytest.mark.parametrize(("shapes", "note"), [
    ([BOX, shapely.Polygon([(20, 20), (30, 30), (30, 20), (20, 30)])], "1 feature with rings that cross .* repaired"),
    ([BOX, shapely.box(-20, 2, -10, 12), shapely.box(90, 9, 95, 10)], "2 features outside image_1.png: left out"),
    ([BOX, None], "1 feature without a geometry: left out"),
])  # fmt: skip
def test_what_is_put_right_is_said(tmp_path, over, shapes, note):
    path = draw(tmp_path / "a.gpkg", shapes, over=over, class_id=np.full(len(shapes), 2))
    labels = drawn(path, over)
    (said,) = labels.notes
    assert str(said).startswith(f"{path}: ")
    assert __import__("re").search(note, str(said))
    assert labels.count()[2] == (150 if "repaired" in note else 100)


def test_of_a_collection_nothing_may_be_left(tmp_path, over):
    flat = shapely.GeometryCollection([shapely.Polygon([(1, 1), (5, 5), (9, 9)])])
    labels = drawn(draw(tmp_path / "a.gpkg", [BOX, flat], over=over, class_id=[2, 2]), over)
    assert labels.count()[2] == 100
    assert "1 feature without any area: left out" in " ".join(map(str, labels.notes))


def test_features_without_a_class_are_left_out_and_said(tmp_path, over):
    path = draw(tmp_path / "a.gpkg", [BOX, OTHER], over=over, label=["corn", None], guess=["corn", "building"])
    labels = drawn(path, over)
    assert labels.count().tolist() == [0, 0, 100, 0, 0]
    assert "1 feature without a class (field label): left out" in str(labels.notes[0])


@pytest.mark.parametrize("crs", ["EPSG:32651", "EPSG:9707", 'LOCAL_CS["mine",UNIT["metre",1]]'])
def test_another_crs(tmp_path, over, crs):
    path = draw(tmp_path / "a.gpkg", [BOX], over=over, crs=crs, class_id=[2])
    with pytest.raises(InputError, match="no feature lies in|CRS"):
        drawn(path, over)


@pytest.mark.parametrize(("buffer", "radius"), [("3px", 3), ("6", 3), (6.0, 3), ("0.1m", 0.71)])
def test_lines_and_points_with_a_width(tmp_path, over, buffer, radius):
    """Pixels are 2 m wide in UTM; a point always labels its own pixel."""
    shapes = [shapely.Point(10.5, 10.5), shapely.LineString([(20.5, 5.5), (20.5, 30.5)])]
    path = draw(tmp_path / "a.gpkg", shapes, over=over, class_id=[2, 3])
    counts = drawn(path, over, buffer=buffer).count()
    assert counts[2] == pytest.approx(np.pi * radius**2, rel=0.4)
    assert counts[3] == pytest.approx(25 * 2 * radius + np.pi * radius**2, rel=0.35)
    assert whole(drawn(path, over, buffer=buffer))[10, 10] == 2


def test_a_width_in_metres_needs_a_georeference(tmp_path):
    over = Over(40, 50)
    path = draw(tmp_path / "a.gpkg", [shapely.Point(9, 9)], over=over, class_id=[2])
    with pytest.raises(SettingError, match="in metres, but image_1.png does not say how large"):
        drawn(path, over, buffer=2)
    for wrong in ("0", "-1", "2 feet", "nan"):
        with pytest.raises(SettingError, match="`buffer`: is .*give metres"):
            rules_of(buffer=wrong)


def test_the_higher_order_lies_above(tmp_path, over):
    shapes = [shapely.box(0, 0, 10, 10), shapely.box(5, 0, 15, 10), shapely.box(8, 0, 20, 10)]
    path = draw(tmp_path / "a.gpkg", shapes, over=over, class_id=[1, 2, 3], year=["2024", "2025", "2023"], n=[3, 1, 2])
    count = {order: drawn(path, over, order=order).count().tolist() for order in (None, "year", "n")}
    assert count == {None: [0, 50, 30, 120, 0], "year": [0, 50, 100, 50, 0], "n": [0, 100, 0, 100, 0]}


def test_pixels_of_older_files_count_downwards(tmp_path):
    """Files of ours say which way; of others the coordinates tell."""
    over = Over(40, 50)
    up = draw(tmp_path / "up.gpkg", [shapely.box(2, 30, 12, 38)], over=over, class_id=[2])
    down = Over(40, 50)
    path = tmp_path / "down.gpkg"
    pyogrio.raw.write(path, shapely.to_wkb(np.array([shapely.box(2, 30, 12, 38)], object)), [np.array([2])],
                      ["class_id"], geometry_type="Polygon", crs=None)  # fmt: skip
    np.testing.assert_array_equal(whole(drawn(up, over)), whole(drawn(path, down)))
    assert whole(drawn(path, down))[35, 5] == 2


def test_solid_and_curved_geometries(tmp_path, over):
    """Heights are left out; arcs are drawn as GDAL draws them."""
    path = tmp_path / "a.gpkg"
    x, y = 500_000, 4_000_000
    ring = [(x + 4, y - 20), (x + 24, y - 40), (x + 44, y - 20), (x + 24, y), (x + 4, y - 20)]
    arc = struct.pack("<BII", 1, 8, 5) + b"".join(struct.pack("<dd", *point) for point in ring)
    curved = struct.pack("<BII", 1, 10, 1) + arc
    solid = shapely.to_wkb(shapely.Polygon([(x, y - 60, 5), (x + 20, y - 60, 6), (x + 20, y - 80, 7), (x, y - 80, 5)]))
    pyogrio.raw.write(path, np.array([curved, solid], object), [np.array([2, 3])], ["class_id"],
                      geometry_type="Unknown", crs="EPSG:32649")  # fmt: skip
    counts = drawn(path, over).count()
    assert counts[3] == 100
    assert counts[2] == pytest.approx(np.pi * 100, rel=0.05)


WRITER = """
import os, sqlite3, sys
con = sqlite3.connect(sys.argv[1])
con.execute("pragma journal_mode=wal")
for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
    con.create_function(name, 1, lambda g: 0)
con.execute("update a set class_id = 3")
con.commit()
print("changed", flush=True)
sys.stdin.readline()
os._exit(0)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs files that may be open twice")
def test_what_another_program_holds_open_is_read_with_its_changes(tmp_path, over):
    """As QGIS keeps a GeoPackage: its last changes lie beside the file. They count for what is up to date, too."""
    path = draw(tmp_path / "a.gpkg", [BOX], over=over, class_id=[2])
    before = identity(path)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdin=-1, stdout=-1, text=True)
    try:
        assert writer.stdout.readline() == "changed\n"
        assert drawn(path, over).count().tolist() == [0, 0, 0, 100, 0]
        assert identity(path) != before
        assert [entry[0] for entry in identity(path)] == ["a.gpkg", "a.gpkg-wal"]
    finally:
        writer.communicate("\n", timeout=20)


def test_a_shapefile_is_all_its_files(tmp_path, over):
    path = draw(tmp_path / "a.shp", [BOX], over=over, class_id=[2])
    before = identity(path)
    assert {entry[0] for entry in before} == {"a.shp", "a.shx", "a.dbf", "a.prj", "a.cpg"}
    os.utime(path.with_suffix(".dbf"), ns=(1, 1))
    assert identity(path) != before


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32650"])
def test_ground_is_not_taken_for_pixels_where_a_scene_has_control_points_alone(tmp_path, crs):
    over = Over(40, 150)
    over.georeference = replace(over.georeference, gcps=((0, 0, 116.0, 40.0, 0.0),) * 4)
    path = draw(tmp_path / "a.gpkg", [shapely.box(116, -39, 118, -37)], over=over, crs=crs, class_id=[2])
    with pytest.raises(InputError, match=f"a.gpkg: is in {crs}, but image_1.png has control points alone: bring the"):
        drawn(path, over)
    in_pixels = draw(tmp_path / "b.gpkg", [shapely.box(116, 37, 118, 39)], over=over, class_id=[2])
    assert drawn(in_pixels, over).count().tolist() == [0, 0, 4, 0, 0]
