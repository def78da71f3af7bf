"""Which vector files are opened, which of their layers is read, and what a closed folder says."""

import json
import os
import warnings

import numpy as np
import pyogrio
import pytest
import shapely

from jingwei.errors import InputError
from jingwei.polygons.layers import read_layer
from jingwei.polygons.reading import read_features

BOX = shapely.box(0, 0, 4, 2)
VRT = '<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'


def layers(path, **shapes):
    for k, (name, shape) in enumerate(shapes.items()):
        pyogrio.raw.write(
            path, shapely.to_wkb(np.array([shape], object)), [np.array(["n"], object)], ["name"],
            geometry_type=shape.geom_type, crs="EPSG:32650", layer=name, append=k > 0,
        )  # fmt: skip
    return path


def test_the_only_layer_of_polygons_is_taken(tmp_path):
    path = layers(tmp_path / "a.gpkg", notes=shapely.Point(1, 1), districts=BOX)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_features(path)[0][0].equals(BOX)
        assert read_features(path, "Point")[0][0].equals(shapely.Point(1, 1))


def test_several_layers_are_named(tmp_path):
    path = layers(tmp_path / "a.gpkg", north=BOX, south=shapely.box(9, 9, 10, 10))
    with pytest.raises(InputError, match=r"holds 2 layers \(north, south\): name one, as a.gpkg:north"):
        read_features(path)
    assert read_features(f"{path}:south")[0][0].bounds == (9, 9, 10, 10)
    with pytest.raises(InputError, match=r"no layer 'east' \(north, south\)"):
        read_features(f"{path}:east")


@pytest.mark.skipif(os.name == "nt", reason="no colons in names there")
def test_a_file_of_the_whole_name_comes_first(tmp_path):
    layers(tmp_path / "a.gpkg", north=BOX, south=BOX)
    layers(tmp_path / "b.gpkg", only=shapely.box(5, 5, 6, 6)).rename(tmp_path / "a.gpkg:x.gpkg")
    assert read_features(tmp_path / "a.gpkg:x.gpkg")[0][0].bounds == (5, 5, 6, 6)


@pytest.mark.parametrize("ending", ["geojson", "json", "gpkg", "shp", "fgb", "kml", "gpx", "vrt", "zones"])
def test_a_virtual_file_is_refused_under_any_name(tmp_path, ending):
    secret = layers(tmp_path / "secret.gpkg", secret=BOX)
    path = tmp_path / f"zones.{ending}"
    path.write_text(VRT.format(secret))
    with pytest.raises(InputError) as refused:
        read_features(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ['{{"a": "{}"}}', "<kml>{}</kml>"])
def test_so_is_one_that_is_hidden_in_another_text(tmp_path, text):
    path = tmp_path / ("zones.geojson" if text[0] == "{" else "zones.kml")
    path.write_text(text.format(VRT.format("x").replace('"', "'")))
    with pytest.raises(InputError, match="may name other files"):
        read_features(path)


def test_a_trusted_one_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("JINGWEI_ALLOW_REMOTE", "1")
    secret = layers(tmp_path / "secret.gpkg", secret=BOX)
    path = tmp_path / "zones.vrt"
    path.write_text(VRT.format(secret))
    assert read_features(path)[0][0].equals(BOX)


def test_the_network_is_not_asked():
    with pytest.raises(InputError, match="not a file of this machine"):
        read_features("/vsicurl/http://127.0.0.1:9/a.gpkg")
    with pytest.raises(InputError, match="no such file"):
        read_features("http://127.0.0.1:9/a.gpkg")


def test_common_formats_are_read(tmp_path):
    for ending, driver in {"geojson": None, "shp": None, "fgb": None, "kml": "LIBKML"}.items():
        path = tmp_path / f"a.{ending}"
        pyogrio.raw.write(path, shapely.to_wkb(np.array([BOX], object)), [np.array(["n"], object)], ["name"],
                          geometry_type="Polygon", crs="EPSG:4326", driver=driver)  # fmt: skip
        assert read_features(path)[0][0].equals(BOX)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions stop")
def test_an_unreadable_file_is_one_line(tmp_path):
    path = layers(tmp_path / "a.gpkg", north=BOX)
    path.chmod(0)
    with pytest.raises(InputError, match="check its permissions"):
        read_features(path)


def test_a_ring_that_is_not_closed_is_one_line(tmp_path):
    path = tmp_path / "zones.geojson"
    ring = [[0, 0], [0, 9], [9, 9], [9, 1]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {}, "geometry": shape}]}))  # fmt: skip
    with pytest.raises(InputError, match=r"zones\.geojson: has a geometry that can't be used .*closed.*: repair it"):
        read_features(path)


def test_texts_that_are_not_utf_8_get_one_line(tmp_path):
    path = tmp_path / "zones.geojson"
    text = '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "a\xff"}, '
    text += '"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}}]}'
    path.write_bytes(text.encode("latin-1"))
    for read in (read_features, read_layer):
        with pytest.raises(InputError, match="zones.geojson: is not a vector file that GDAL can read .*: export it"):
            read(path)
