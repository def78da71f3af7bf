"""How our vectors open in QGIS: the style and the form that a GeoPackage carries, or a file beside."""

import sqlite3
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyogrio
import pytest
import shapely
from drawn_maps import blobs, tiff

from jingwei.evaluation.sampling_design import draw_sample
from jingwei.legend import JINGWEI, NODATA
from jingwei.polygons.polygons import write_polygons
from jingwei.polygons.reading import read_features, read_notes
from jingwei.polygons.styles import NULL
from jingwei.raster.stamps import STAMP


@pytest.fixture
def source(tmp_path):
    labels = blobs(90, 90, 5, 3)
    labels[:20, :10] = NODATA
    return tiff(tmp_path / "map.tif", labels)


def style_of(gpkg) -> tuple[dict, ElementTree.Element]:
    """The row of the layer's default style, and the style itself."""
    _, _, _, (*columns,) = pyogrio.raw.read(gpkg, layer="layer_styles")
    meta = pyogrio.read_info(gpkg, layer="layer_styles")
    assert len(columns[0]) == 1
    row = dict(zip(meta["fields"].tolist(), (column[0] for column in columns), strict=True))
    return row, ElementTree.fromstring(row["styleQML"])


def categories(style) -> dict[str, str]:
    """Name -> colour, as "red,green,blue"."""
    colors = {}
    for symbol in style.iter("symbol"):
        (color,) = {option.get("value") for option in symbol.iter("Option") if option.get("name") == "color"}
        colors[symbol.get("name")] = color.rpartition(",")[0]
    return {each.get("value"): colors[each.get("symbol")] for each in style.iter("category")}


def spelt(legend) -> dict[str, str]:
    return {c.name: ",".join(map(str, c.color)) for c in legend.classes}


def test_polygons_have_the_legends_names_and_colours(source, tmp_path):
    for suffix in ("gpkg", "geojson"):
        write_polygons(source, tmp_path / f"p.{suffix}", legend=JINGWEI, classes=range(5))
    row, style = style_of(tmp_path / "p.gpkg")
    assert (row["f_table_name"], row["f_geometry_column"], row["f_table_schema"]) == ("p", "geom", "")
    assert row["useAsDefault"]
    beside = ElementTree.fromstring((tmp_path / "p.qml").read_text("utf-8"))
    for each in (style, beside):
        assert categories(each) == spelt(JINGWEI)
        assert each.find("renderer-v2").get("attr") == "name"
    assert not style.findall(".//editWidget")


@pytest.mark.filterwarnings("error:More than one layer")
def test_a_style_is_a_table_of_the_standard_and_no_layer_of_ours(source, tmp_path):
    write_polygons(source, tmp_path / "p.gpkg", legend=JINGWEI)
    with sqlite3.connect(tmp_path / "p.gpkg") as file:
        rows = dict(file.execute("select table_name, data_type from gpkg_contents"))
        assert file.execute("pragma integrity_check").fetchone() == ("ok",)
    file.close()
    assert rows == {"p": "features", "layer_styles": "attributes"}
    shapes, columns, crs = read_features(tmp_path / "p.gpkg")
    assert shapely.is_valid(shapes).all()
    assert "name" in columns
    assert crs == "EPSG:32649"
    assert STAMP in read_notes(tmp_path / "p.gpkg")


def test_labels_of_a_sample_are_chosen_from_a_list(source, tmp_path):
    draw_sample(source, tmp_path / "s.gpkg", JINGWEI, 30)
    row, style = style_of(tmp_path / "s.gpkg")
    assert row["f_table_name"] == "s"
    assert categories(style) == spelt(JINGWEI) | {"": "255,255,255"}
    (field,) = style.iter("field")
    assert (field.get("name"), field.find("editWidget").get("type")) == ("label", "ValueMap")
    choices = [choice.find("Option").attrib for choice in style.findall(".//Option[@name='map']/Option")]
    assert [(c["name"], c["value"]) for c in choices] == [("", NULL)] + [(name, name) for name in JINGWEI.names]
    shapes, columns, _ = read_features(tmp_path / "s.gpkg", "Point")
    assert len(shapes) == 30
    assert set(columns) == {"id", "row", "col", "label"}
    assert not np.array([value for value in columns["label"] if value]).size
