"""What lies beside a map for QGIS and GDAL: names and colours of the legend; what others have saved there stays."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.grid import Window
from jingwei.legend import GF2, JINGWEI, NODATA, Legend, hex_of
from jingwei.raster.cog import write_cog
from jingwei.raster.map_legend import legend_tags
from jingwei.raster.reading import Raster
from jingwei.raster.styles import DOUBT, OURS, write_class_style, write_percent_style
from jingwei.raster.writing import TiledWriter


def entries(qml) -> list[tuple[int, str, str]]:
    """(value, name, colour) of a style for classes."""
    return [(int(e.get("value")), e.get("label"), e.get("color").upper())
            for e in ElementTree.fromstring(qml.read_text("utf-8")).iter("paletteEntry")]  # fmt: skip


def categories(aux) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(aux.read_bytes()).iter("Category")]


@pytest.fixture
def labelled(tmp_path):
    """A label map of the contest's classes, 600 x 700 px."""
    labels = np.random.default_rng(0).integers(0, 5, (600, 700), dtype=np.uint8)
    path = tmp_path / "map.tif"
    kind = {"nodata": NODATA, "colormap": JINGWEI.colormap(), "tags": legend_tags(JINGWEI), "overviews": True}
    with TiledWriter(path, *labels.shape, **kind) as writer:
        writer.write(Window(0, 0, *labels.shape), labels)
    return path


@pytest.mark.parametrize("legend", [JINGWEI, GF2])
def test_classes_have_names_and_colours(legend, labelled):
    write_class_style(labelled, legend)
    assert entries(labelled.with_suffix(".qml")) == [(c.id, c.name, hex_of(c.color)) for c in legend.classes]
    assert categories(labelled.with_name("map.tif.aux.xml")) == list(legend.names)


def test_names_change_no_pixel_and_no_identity(labelled):
    before = labelled.read_bytes()
    with Raster(labelled) as raster:
        facts, files = raster.facts, raster.files
    write_class_style(labelled, JINGWEI)
    assert labelled.read_bytes() == before
    with Raster(labelled) as raster:
        assert (raster.facts, raster.files) == (facts, files)


@settings(max_examples=30)
@given(st.lists(st.text(), min_size=1, max_size=5, unique=True))
def test_any_name_can_be_written(tmp_path_factory, names):
    classes = tuple(replace(JINGWEI.classes[0], id=i, name=name) for i, name in enumerate(names))
    path = tmp_path_factory.mktemp("any") / "a.tif"
    write_class_style(path, Legend("own", classes))
    plain = ["".join(c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else "\ufffd" for c in name)
             for name in (n.encode("utf-8", "replace").decode() for n in names)]  # fmt: skip
    assert [name for _, name, _ in entries(path.with_suffix(".qml"))] == plain
    assert len(categories(path.with_name("a.tif.aux.xml"))) == len(names)


def test_a_style_saved_in_qgis_stays(labelled):
    qml = labelled.with_suffix(".qml")
    write_class_style(labelled, GF2)
    assert OURS in qml.read_text("utf-8")
    write_class_style(labelled, JINGWEI)  # ours: made anew
    assert len(entries(qml)) == len(JINGWEI)
    qml.write_text("<qgis version='3.34'><pipe/></qgis>")
    write_class_style(labelled, JINGWEI)
    assert qml.read_text() == "<qgis version='3.34'><pipe/></qgis>"


def test_statistics_that_a_viewer_has_written_stay(labelled):
    aux = labelled.with_name("map.tif.aux.xml")
    statistics = '<Metadata><MDI key="STATISTICS_MAXIMUM">4</MDI></Metadata>'
    aux.write_text(f'<PAMDataset><PAMRasterBand band="1">{statistics}</PAMRasterBand></PAMDataset>')
    write_class_style(labelled, JINGWEI)
    assert categories(aux) == list(JINGWEI.names)
    assert "STATISTICS_MAXIMUM" in aux.read_text()
    kept = aux.stat().st_mtime_ns
    write_class_style(labelled, JINGWEI)
    assert aux.stat().st_mtime_ns == kept
    aux.write_text("<PAMDataset>")  # cut off
    write_class_style(labelled, JINGWEI)
    assert categories(aux) == list(JINGWEI.names)


def test_pictures_get_a_style_alone(tmp_path):
    write_class_style(tmp_path / "a.png", JINGWEI)
    assert [path.name for path in tmp_path.iterdir()] == ["a.qml"]


def test_ramps_run_from_0_to_100(tmp_path):
    for name, ramp in (("agreement.tif", None), ("entropy.tif", DOUBT)):
        write_percent_style(tmp_path / name, *([ramp] if ramp else []))
    ends = {}
    for name in ("agreement", "entropy"):
        root = ElementTree.fromstring((tmp_path / f"{name}.qml").read_text("utf-8"))
        items = [(float(i.get("value")), int(i.get("alpha"))) for i in root.iter("item")]
        assert [value for value, _ in items] == sorted(value for value, _ in items)
        ends[name] = items[0], items[-1]
    assert ends == {"agreement": ((0, 255), (100, 0)), "entropy": ((0, 0), (100, 255))}


def test_a_cog_has_names_too(labelled, tmp_path):
    write_cog(labelled, tmp_path / "c.tif")
    assert entries(tmp_path / "c.qml") == [(c.id, c.name, hex_of(c.color)) for c in JINGWEI.classes]
    assert categories(tmp_path / "c.tif.aux.xml") == list(JINGWEI.names)


def test_bands_have_names(tmp_path):
    path = tmp_path / "p.tif"
    with TiledWriter(path, 300, 300, bands=3, band_names=("none", "corn & rice", "玉米")) as writer:
        writer.write(Window(0, 0, 300, 300), np.ones((3, 300, 300), np.uint8))
    with rasterio.open(path) as file:
        assert file.descriptions == ("none", "corn & rice", "玉米")
    with Raster(path) as raster:
        assert json.dumps(raster.facts)  # nothing that a stamp can't hold
