"""Where files lie: transforms, control points and RPCs that go from scene to map, and rasters that must coincide."""

import re
from contextlib import contextmanager

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from rasterio.transform import Affine, from_gcps, from_origin

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.raster.cog import write_cog
from jingwei.raster.georeference import Georeference
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster
from jingwei.raster.same_place import check_same_place
from jingwei.raster.tiff import IMAGE, read_directories
from jingwei.raster.writing import TiledWriter

HEIGHT, WIDTH = 300, 400
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS = 33550, 33922, 34264, 34735


def ground(row: float, col: float, bend: float = 0.0) -> tuple[float, float]:
    x, y = 116 + col * 1e-5 + row * 2e-6, 40 - row * 1e-5 + col * 1e-6
    return x + bend * (row / HEIGHT) ** 2, y


def points(shift: float = 0.0, bend: float = 0.0) -> list[GroundControlPoint]:
    """Nine control points; `shift` moves the picture by so many columns."""
    places = [(row, col) for row in (0, 150, 300) for col in (0, 200, 400)]
    return [GroundControlPoint(r, c, *ground(r, c + shift, bend), 7.5) for r, c in places]


def rpcs(line: float = 150.0) -> RPC:
    """A camera that looks straight down; `line` is the row of the scene's middle."""
    none, first = [0.0] * 20, [1.0] + [0.0] * 19
    row, col = none.copy(), none.copy()
    row[2], col[1] = -1.0, 1.0  # by latitude, by longitude
    return RPC(
        height_off=100.0, height_scale=500.0, lat_off=40.0, lat_scale=0.002, line_den_coeff=first, line_num_coeff=row,
        line_off=line, line_scale=150.0, long_off=116.0, long_scale=0.002, samp_den_coeff=first, samp_num_coeff=col,
        samp_off=200.0, samp_scale=200.0,
    )  # fmt: skip


def scene(path, crs=None, transform=None, gcps=None, rpc=None):
    how = dict(driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="uint8", crs=crs, transform=transform)
    with rasterio.open(path, "w", **how) as file:
        file.write(np.random.default_rng(0).integers(0, 255, (1, HEIGHT, WIDTH), dtype=np.uint8))
        if gcps:
            file.gcps = gcps, CRS.from_epsg(4326)
        if rpc:
            file.rpcs = rpc
    return path


def copy(source, target):
    with Raster(source) as like, TiledWriter(target, *like.shape, like=like, nodata=255) as writer:
        writer.write(Window(0, 0, *like.shape), like.read(Window(0, 0, *like.shape))[0])
    return target


def tags(path) -> set[int]:
    return set(read_directories(path.read_bytes())[IMAGE])


# --- what a map takes over from its scene ----------------------------------------------------------------------------


@pytest.mark.parametrize("cog", [False, True], ids=["map", "cog"])
def test_control_points_pass_on_to_maps(cog, tmp_path):
    copy(scene(tmp_path / "a.tif", gcps=points()), tmp_path / "map.tif")
    if cog:
        write_cog(tmp_path / "map.tif", tmp_path / "cog.tif")
    with rasterio.open(tmp_path / ("cog.tif" if cog else "map.tif")) as written:
        found, crs = written.gcps
        assert crs == CRS.from_epsg(4326)
        assert written.crs is None
    assert [(p.row, p.col, p.x, p.y, p.z) for p in found] == [(p.row, p.col, p.x, p.y, p.z) for p in points()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", *(["cog.tif"] if cog else []), "map.tif"]


@pytest.mark.parametrize(
    "place", [{}, {"gcps": points()}, {"crs": "EPSG:4326", "transform": Affine(1e-5, 0, 116, 0, -1e-5, 40)}]
)
def test_rpcs_pass_on_to_maps(place, tmp_path):
    copy(scene(tmp_path / "a.tif", rpc=rpcs(), **place), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as written, rasterio.open(tmp_path / "a.tif") as original:
        assert written.rpcs == original.rpcs
        assert written.rpcs.line_off == 150
        assert len(written.gcps[0]) == len(place.get("gcps", ()))
        assert (written.crs, written.transform) == (original.crs, original.transform)


@pytest.mark.parametrize("kind", ["png", "tif", "tif with a CRS", "vrt"])
def test_a_scene_without_a_transform_gives_maps_without_one(kind, tmp_path):
    """The identity would be a pixel of (1, +1): QGIS would show the map upside down, beside its scene."""
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
    source = tmp_path / f"a.{kind[:3]}"
    if kind == "png":
        write_png(source, pixels)
    else:
        scene(tmp_path / "a.tif", crs="EPSG:32650" if "CRS" in kind else None)
    if kind == "vrt":
        rasterio.shutil.copy(tmp_path / "a.tif", source, driver="VRT")
    copy(source, tmp_path / "map.tif")
    assert not tags(tmp_path / "map.tif") & {PIXEL_SCALE, TIE_POINTS, TRANSFORMATION}
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning, match="no geotransform"):
        with rasterio.open(tmp_path / "map.tif") as written:
            assert written.crs == (CRS.from_epsg(32650) if "CRS" in kind else None)
    write_cog(tmp_path / "map.tif", tmp_path / "cog.tif")
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning, match="no geotransform"):
        rasterio.open(tmp_path / "cog.tif").close()


def test_a_scene_with_a_transform_gives_maps_with_it(tmp_path):
    place = {"crs": "EPSG:32650", "transform": from_origin(500000, 4000000, 0.5, 0.5)}
    copy(scene(tmp_path / "a.tif", **place), tmp_path / "map.tif")
    assert {PIXEL_SCALE, TIE_POINTS, GEO_KEYS} <= tags(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as written:
        assert written.transform == place["transform"]
    assert not Georeference()
    with Raster(tmp_path / "map.tif") as written:
        assert written.georeference


# --- rasters that meet -----------------------------------------------------------------------------------------------


@contextmanager
def pair(tmp_path, first: dict, second: dict):
    scene(tmp_path / "map.tif", **first)
    scene(tmp_path / "scene.tif", **second)
    with Raster(tmp_path / "map.tif") as ours, Raster(tmp_path / "scene.tif") as theirs:
        yield ours, theirs


BENT = points(bend=4e-5)
FITTED = {"crs": "EPSG:4326", "transform": from_gcps(points())}


@pytest.mark.parametrize(("first", "second"), [
    ({"gcps": points()}, {"gcps": points()}), ({"gcps": points(0.5)}, {"gcps": points()}),
    ({"gcps": points()}, FITTED), (FITTED, {"gcps": points()}), ({"gcps": BENT}, {"gcps": BENT}),
    ({"gcps": BENT}, {"crs": "EPSG:4326", "transform": from_gcps(BENT)}),
    ({}, {"gcps": points()}), ({"rpc": rpcs()}, {"rpc": rpcs()}), ({"rpc": rpcs(150.5)}, {"rpc": rpcs()}),
    ({"rpc": rpcs()}, {}), ({"gcps": points()[:1]}, {"gcps": points(9)[:1]}),
    ({"transform": FITTED["transform"]}, FITTED), (FITTED, {"transform": FITTED["transform"]}),
    ({"transform": FITTED["transform"]}, {}),
])  # fmt: skip
def test_rasters_placed_by_points_or_rpcs_may_lie_in_one_place(first, second, tmp_path):
    with pair(tmp_path, first, second) as rasters:
        check_same_place(*rasters)


@pytest.mark.parametrize(("first", "second", "apart"), [
    ({"gcps": points(30)}, {"gcps": points()}, 30), ({"gcps": points(30)}, FITTED, 30),
    (FITTED, {"gcps": points(9)}, 9),
    ({"rpc": rpcs(190)}, {"rpc": rpcs()}, 40),
    ({"gcps": points()}, {"crs": "EPSG:4326", "transform": from_origin(116, 40, 1e-5, 1e-5)}, 60),
    ({"transform": from_origin(10, 20, 2, 2)}, {"transform": from_origin(0, 20, 2, 2)}, 5),  # as world files say
    ({"transform": from_origin(10, 20, 2, 2)}, {"transform": from_origin(0, 20, 2, 2), "crs": "EPSG:32650"}, 5),
])  # fmt: skip
def test_rasters_placed_by_points_or_rpcs_elsewhere_are_refused(first, second, apart, tmp_path):
    with pair(tmp_path, first, second) as rasters:
        with pytest.raises(InputError, match="map.tif: lies at another place than scene.tif") as refused:
            check_same_place(*rasters)
    assert float(re.search(r"\(([\d.]+) px", str(refused.value))[1]) == pytest.approx(apart, abs=1.1)


def test_control_points_in_another_crs_are_moved_to_it(tmp_path):
    scene(tmp_path / "a.tif", gcps=points())
    with rasterio.open(tmp_path / "a.tif") as file:
        xs, ys = rasterio.warp.transform(
            "EPSG:4326", "EPSG:32650", *zip(*[(p.x, p.y) for p in file.gcps[0]], strict=True)
        )
    moved = [GroundControlPoint(p.row, p.col, x, y) for p, x, y in zip(points(), xs, ys, strict=True)]
    with rasterio.open(
        tmp_path / "b.tif", "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="uint8"
    ) as b:
        b.gcps = moved, CRS.from_epsg(32650)
    with Raster(tmp_path / "a.tif") as first, Raster(tmp_path / "b.tif") as second:
        check_same_place(first, second)


def test_control_points_without_a_crs_pass_on_too(tmp_path):
    place = Georeference(gcps=((0.0, 0.0, 1.0, 2.0, 0.0), (0.0, 9.0, 3.0, 2.0, 0.0), (9.0, 0.0, 1.0, 5.0, 0.0)))
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8") as made:
        place.put_into(made)
    with rasterio.open(tmp_path / "a.tif") as found:
        assert Georeference.of(found) == place
