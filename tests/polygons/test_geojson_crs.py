"""A GeoJSON's own CRS: taken as it says, or refused; never taken for longitude and latitude without a word."""

import json

import pytest

from jingwei.errors import InputError
from jingwei.polygons.layers import read_layer
from jingwei.polygons.reading import read_features

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
FEATURES = [{"type": "Feature", "properties": {"crs": "of no meaning"}, "geometry": SQUARE}]


def written(path, crs, *, behind: bool):
    parts = {"type": "FeatureCollection", "crs": crs, "features": FEATURES}
    names = ("type", "features", "crs") if behind else ("type", "crs", "features")
    path.write_text(json.dumps({name: parts[name] for name in names}))
    return path


def named(name: str) -> dict:
    return {"type": "name", "properties": {"name": name}}


@pytest.mark.parametrize("read", [lambda path: read_features(path)[2], lambda path: read_layer(path).crs])
@pytest.mark.parametrize("behind", [False, True])
class TestCrs:
    """By both ways to read one, with `crs` before the features or behind them."""

    @pytest.mark.parametrize(
        "name", ["EPSG:99999", "garbage", "urn:ogc:def:crs:EPSG::0", "WGS84 UTM 50N", "EPSG:14326"]
    )
    def test_a_name_that_means_nothing_is_refused(self, tmp_path, read, behind, name):
        path = written(tmp_path / "a.geojson", named(name), behind=behind)
        with pytest.raises(InputError, match=f"says a CRS that GDAL can't read .*{name}"):
            read(path)

    @pytest.mark.parametrize("crs", ["EPSG:32650", {"type": "name"}, {"type": "link", "properties": {"href": "x"}}, 5])
    def test_what_is_no_name_is_refused(self, tmp_path, read, behind, crs):
        with pytest.raises(InputError, match="says a CRS"):
            read(written(tmp_path / "a.json", crs, behind=behind))

    @pytest.mark.parametrize("name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326", "WGS84"])
    def test_longitude_and_latitude(self, tmp_path, read, behind, name):
        assert read(written(tmp_path / "a.geojson", named(name), behind=behind)) == "EPSG:4326"

    def test_another_that_gdal_reads(self, tmp_path, read, behind):
        assert (
            read(written(tmp_path / "a.geojson", named("urn:ogc:def:crs:EPSG::32650"), behind=behind)) == "EPSG:32650"
        )

    def test_null_counts_as_none(self, tmp_path, read, behind):
        assert read(written(tmp_path / "a.geojson", None, behind=behind)) == "EPSG:4326"

    def test_beside_a_name_and_a_bbox(self, tmp_path, read, behind):
        """A layer may be named `features`, and arrays may stand behind the features too."""
        about = {"name": "features", "crs": named("EPSG:99999"), "bbox": [0, 0, 1, 1]}
        parts = {"features": FEATURES, **about} if behind else {**about, "features": FEATURES}
        path = tmp_path / "features.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", **parts}))
        with pytest.raises(InputError, match="says a CRS that GDAL can't read .*EPSG:99999"):
            read(path)
        path.write_text(json.dumps({"type": "FeatureCollection", **parts, "crs": named("EPSG:4326")}))
        assert read(path) == "EPSG:4326"
