"""GeoJSON as RFC 7946 has it: longitude and latitude, outlines counter-clockwise; pixels only for who asks for them."""

import json

import numpy as np
import pytest
import rasterio
import shapely
from drawn_maps import blobs
from rasterio import Affine
from rasterio.warp import transform

from jingwei.errors import SettingError
from jingwei.legend import JINGWEI, NODATA
from jingwei.polygons.polygons import write_polygons
from jingwei.polygons.reading import read_features

CRSS = {
    "utm": ("EPSG:32650", Affine(10, 0, 400_000, 0, -10, 4_400_000)),
    "rotated": ("EPSG:32650", Affine(8, 5, 400_000, 5, -8, 4_400_000)),
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 116, 0, -1e-4, 40)),
    "feet": ("EPSG:2263", Affine(3, 0, 980_000, 0, -3, 200_000)),
    "no EPSG number": (
        "+proj=tmerc +lat_0=12.3 +lon_0=101.7 +k=0.9987 +x_0=123 +y_0=456 +ellps=WGS84 +units=m",
        Affine(1, 0, 0, 0, -1, 0),
    ),
}


@pytest.fixture
def labels():
    labels = blobs(300, 90, 5, 3)
    labels[:60, :30] = NODATA
    return labels


def tiff(path, labels, crs, affine):
    kind = dict(driver="GTiff", count=1, dtype="uint8", nodata=NODATA, crs=crs, transform=affine)
    with rasterio.open(path, "w", height=labels.shape[0], width=labels.shape[1], **kind) as file:
        file.write(labels, 1)
    return path


def areas_on_earth(path):
    """The polygons of a GeoPackage, brought to longitude and latitude by GDAL, point by point."""
    shapes, columns, crs = read_features(path)
    points = shapely.get_coordinates(shapes)
    return shapely.set_coordinates(shapes.copy(), np.stack(transform(crs, "EPSG:4326", *points.T), axis=1)), columns


@pytest.mark.parametrize("simplify", [0, 1.5])
@pytest.mark.parametrize("name", CRSS)
def test_polygons_are_those_of_the_geopackage_on_earth(name, simplify, labels, tmp_path):
    source = tiff(tmp_path / "map.tif", labels, *CRSS[name])
    for suffix in ("gpkg", "geojson"):
        write_polygons(source, tmp_path / f"map.{suffix}", legend=JINGWEI, simplify=simplify)
    content = json.loads((tmp_path / "map.geojson").read_text())
    assert "crs" not in content
    expected, columns = areas_on_earth(tmp_path / "map.gpkg")
    found = shapely.from_geojson([json.dumps(each["geometry"]) for each in content["features"]])
    assert [each["properties"]["class_id"] for each in content["features"]] == columns["class_id"].tolist()
    assert shapely.is_valid(found).all()
    assert all(shape.exterior.is_ccw and not any(ring.is_ccw for ring in shape.interiors) for shape in found)
    pixel = np.sqrt(abs(CRSS[name][1].determinant)) / (1 if name == "degrees" else 111_000)
    assert shapely.hausdorff_distance(found, expected).max() < 0.02 * pixel


def test_long_edges_bend_with_the_earth(tmp_path):
    """A field 1 px from the edge of one that is 40 km long: as straight lines in degrees, they would cross."""
    labels = np.ones((40, 4000), np.uint8)
    labels[1:3, 1:2000] = 2
    labels[1:3, 2000:3999] = 3
    source = tiff(tmp_path / "map.tif", labels, "EPSG:32650", Affine(10, 0, 200_000, 0, -10, 7_000_000))
    write_polygons(source, tmp_path / "map.geojson", legend=JINGWEI)
    shapes, columns, _ = read_features(tmp_path / "map.geojson")
    assert shapely.is_valid(shapes).all()
    overlap = sum(shapely.area(shapely.intersection(a, b)) for a in shapes for b in shapes if a is not b)
    assert overlap < 1e-5 * shapely.area(shapes).sum()


@pytest.mark.parametrize("affine", [Affine.identity(), Affine(2, 0, 50, 0, -2, 70)])
def test_pixels_are_written_only_for_who_asks(affine, labels, tmp_path):
    source = tiff(tmp_path / "map.tif", labels, None, affine)
    with pytest.raises(SettingError, match=r"map.tif has no CRS: take .gpkg, or write its pixels with `pixels`"):
        write_polygons(source, tmp_path / "map.geojson", legend=JINGWEI)
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]
    for suffix in ("geojson", "gpkg"):
        write_polygons(source, tmp_path / f"map.{suffix}", legend=JINGWEI, pixels=True)
    one, other = (read_features(tmp_path / f"map.{suffix}")[0] for suffix in ("geojson", "gpkg"))
    assert shapely.equals(one, other).all()


def test_what_lies_nowhere_on_earth_is_refused(labels, tmp_path):
    local = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    across = "EPSG:32660", Affine(1000, 0, 790_000, 0, -1000, 600_000)
    for name, place, words in (("a", (local, Affine(1, 0, 0, 0, -1, 0)), "CRS can't be brought"),
                               ("b", across, "180th meridian")):  # fmt: skip
        source = tiff(tmp_path / f"{name}.tif", labels, *place)
        with pytest.raises(SettingError, match=words):
            write_polygons(source, tmp_path / f"{name}.geojson", legend=JINGWEI, classes=range(5))
        assert not (tmp_path / f"{name}.geojson").exists()
        write_polygons(source, tmp_path / f"{name}.gpkg", legend=JINGWEI)
