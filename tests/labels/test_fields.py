"""Fields of all kinds, and layers and orders of users' own: each gives its labels, or one line that says why not."""

import json
from dataclasses import replace

import numpy as np
import pyogrio
import pytest
import shapely
from test_drawn import Over, draw, drawn, whole

from jingwei.errors import InputError, JingweiError
from jingwei.labels.rounds import is_labelled
from jingwei.legend import JINGWEI, NODATA
from jingwei.polygons.layers import read_layer

SQUARES = [shapely.box(0, 0, 10, 10), shapely.box(5, 0, 15, 10)]
NAMES = ("x y", "corn", "Corn", "built-up", "built up")


def geojson(path, *rows):
    """A GeoJSON in pixels of the squares with these properties."""
    features = [
        {"type": "Feature", "properties": row, "geometry": json.loads(shapely.to_geojson(square))}
        for row, square in zip(rows, SQUARES, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "jingwei_y": "row", "features": features}))
    return path


def test_lists_in_other_fields_do_no_harm(tmp_path):
    rows = [{"tags": [1, 2, 3], "kind": 1}, {"tags": [4, 5], "kind": 2}]
    labels = whole(drawn(geojson(tmp_path / "a.geojson", *rows), Over(12, 20)))
    assert (labels[5, :15] == [1] * 5 + [2] * 10).all()


def test_lists_are_not_classes(tmp_path):
    path = geojson(tmp_path / "a.geojson", {"label": [1, 2]}, {"label": [2]})
    with pytest.raises(InputError, match="field label has classes that legend jingwei does not know"):
        drawn(path, Over(12, 20))
    assert is_labelled(read_layer(path)).all()


def test_a_layer_named_labels_is_read_by_the_field_that_is_named(tmp_path):
    path = draw(tmp_path / "own.gpkg", SQUARES, layer="labels", label=["corn", "corn"], crop=[1, 3])
    assert set(whole(drawn(path, Over(12, 20)))[5, :15]) == {2}
    assert set(whole(drawn(path, Over(12, 20), label_field="crop"))[5, :15]) == {1, 3}


def test_names_that_differ_but_in_capitals_and_hyphens_are_other_classes(tmp_path):
    legend = replace(JINGWEI, classes=tuple(replace(c, name=n) for c, n in zip(JINGWEI.classes, NAMES, strict=True)))
    labels = whole(drawn(draw(tmp_path / "a.gpkg", SQUARES, crop=["Corn", "built up"]), Over(12, 20), legend))
    assert (labels[5, :15] == [2] * 5 + [4] * 10).all()
    with pytest.raises(InputError, match="does not know: 'CORN'"):
        drawn(draw(tmp_path / "b.gpkg", SQUARES, crop=["CORN", "x_y"]), Over(12, 20), legend)


def test_of_ids_and_names_that_differ_the_field_that_is_named_counts(tmp_path):
    path = draw(tmp_path / "own.gpkg", SQUARES, class_id=[1, 3], name=["corn", "corn"])
    assert set(whole(drawn(path, Over(12, 20), label_field="class_id"))[5, :15]) == {1, 3}
    assert set(whole(drawn(path, Over(12, 20), label_field="name"))[5, :15]) == {2}


@pytest.mark.parametrize("order", [[20, 10], ["b", "a"]])
def test_rounds_lie_above_what_is_ordered(tmp_path, order):
    own = draw(tmp_path / "own.gpkg", SQUARES, crop=[1, 3], rank_=order)
    first = draw(tmp_path / "round_1.gpkg", [shapely.box(4, 0, 8, 10)], layer="labels", label=["corn"])
    labels = whole(drawn([own, first], Over(12, 20), order="rank_"))
    assert (labels[5, :15] == [1] * 4 + [JINGWEI.id_of("corn")] * 4 + [1] * 2 + [3] * 5).all()
    assert np.isin(labels, [1, 2, 3, 255]).all()


@pytest.mark.filterwarnings("ignore:.*crs.*")
@pytest.mark.parametrize(("named", "columns", "how", "said"), [
    ("", {"label": ["玉米", "棉花"]}, {}, r"field label has classes .*: if its texts look wrong here"),
    ("", {"作物": ["玉米", "棉花"]}, {}, r"no field has classes .*: if its texts look wrong here"),
    ("", {"作物": ["corn", "corn"]}, {"label_field": "作物"}, r"has no field '作物': if its texts look wrong here"),
    ("UTF-8", {"label": ["玉米", "棉花"]}, {}, r"a.shp: has texts in another encoding than it says"),
])  # fmt: skip
def test_shapefiles_need_a_word_on_their_encoding(tmp_path, named, columns, how, said):
    """Most Chinese ones are in GBK, and many don't say so."""
    path = tmp_path / "a.shp"
    data = [np.array(values, object) for values in columns.values()]
    where = {"geometry_type": "Polygon", "crs": None, "encoding": "GBK"}
    pyogrio.raw.write(path, shapely.to_wkb(np.array(SQUARES, object)), data, list(columns), **where)
    names = ("其他", "玉米", "棉花", "corn", "树")
    legend = replace(JINGWEI, classes=tuple(replace(c, name=n) for c, n in zip(JINGWEI.classes, names, strict=True)))
    encoding = path.with_suffix(".cpg")
    encoding.write_text(named) if named else encoding.unlink()
    with pytest.raises(JingweiError, match=f"{said}.*write the encoding of its texts .GBK, say. into a.cpg, or exp"):
        drawn(path, Over(12, 20), legend, **how)
    encoding.write_text("GBK")
    assert (whole(drawn(path, Over(12, 20), legend, **how))[5, :15] != NODATA).all()
