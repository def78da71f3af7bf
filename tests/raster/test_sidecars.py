"""PNGs whose place lies beside them: as GDAL reads it."""

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.rpc import RPC
from rasterio.transform import Affine, from_origin

from jingwei.raster.georeference import Georeference
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster
from jingwei.raster.sidecars import write_sidecars

NORTH_UP = from_origin(500000.1, 4000000.7, 0.3, 0.3)
TURNED = Affine.translation(500000, 2800000) @ Affine.rotation(30) @ Affine.scale(0.05, -0.05)
POINTS = ((0.0, 0.0, 116.0, 40.0, 7.5), (0.0, 20.0, 116.1, 40.0, 0.0), (30.0, 0.0, 116.0, 39.9, 0.0))
CAMERA = RPC(
    height_off=100.0, height_scale=500.0, lat_off=40.123456789, lat_scale=0.1, line_den_coeff=[1.0] + [0.1] * 19,
    line_num_coeff=[0.1 * i for i in range(20)], line_off=150.0, line_scale=150.0, long_off=116.0, long_scale=0.1,
    samp_den_coeff=[1.0] + [0.0] * 19, samp_num_coeff=[1e-7 * i for i in range(20)], samp_off=200.0, samp_scale=200.0,
)  # fmt: skip


@pytest.mark.parametrize("place", [
    Georeference(CRS.from_epsg(32650), NORTH_UP), Georeference(CRS.from_epsg(32650), TURNED),
    Georeference(CRS.from_epsg(4326), from_origin(116, 40, 1e-5, 1e-5)), Georeference(None, NORTH_UP),
    Georeference(CRS.from_epsg(32650)), Georeference(gcps=POINTS, gcps_crs=CRS.from_epsg(4326)),
    Georeference(rpcs=CAMERA), Georeference(CRS.from_epsg(32650), NORTH_UP, rpcs=CAMERA),
], ids=["north up", "turned", "degrees", "no CRS", "only a CRS", "points", "RPCs", "both"])  # fmt: skip
def test_gdal_reads_the_place_that_was_written(place, tmp_path):
    write_png(tmp_path / "a.png", np.zeros((30, 20, 3), np.uint8))
    write_sidecars(tmp_path / "a.png", place)
    with Raster(tmp_path / "a.png") as picture:
        assert picture.georeference.crs == place.crs
        assert picture.transform.almost_equals(place.transform, 1e-9)
        assert (picture.georeference.gcps, picture.georeference.gcps_crs) == (place.gcps, place.gcps_crs)
        assert picture.georeference.rpcs == place.rpcs
    assert (tmp_path / "a.pgw").exists() == (not place.transform.is_identity)


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED])
def test_the_world_file_alone_says_the_same(transform, tmp_path):
    write_png(tmp_path / "a.png", np.zeros((30, 20, 3), np.uint8))
    write_sidecars(tmp_path / "a.png", Georeference(CRS.from_epsg(32650), transform))
    (tmp_path / "a.png.aux.xml").unlink()
    with rasterio.open(tmp_path / "a.png") as picture:
        assert picture.transform.almost_equals(transform, 1e-6)


def test_a_picture_without_a_place_has_none_beside_it(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((30, 20), np.uint8))
    write_sidecars(tmp_path / "a.png", Georeference(CRS.from_epsg(32650), NORTH_UP))
    write_sidecars(tmp_path / "a.png", Georeference())
    write_sidecars(tmp_path / "a.png", Georeference())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
