"""Areas on the ellipsoid against geodesic polygons of pyproj, in CRSs that stretch, turn, count in other units."""

import math

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Geod, Transformer

from jingwei.errors import InputError, SettingError
from jingwei.legend import JINGWEI
from jingwei.raster.pixel_area import even_ground, ground_of, ground_under, pixel_sides

# crs, transform, (height, width), what the projection's own square metres are as a share of the true ones
PLACES = {
    "utm, middle": ("EPSG:32650", Affine(1, 0, 5e5, 0, -1, 5.54e6), (100, 100), 0.9992),
    "utm with height": ("EPSG:32650+5773", Affine(1, 0, 5e5, 0, -1, 5.54e6), (100, 100), 0.9992),
    "utm, south up": ("EPSG:32650", Affine(1, 0, 5e5, 0, 1, 5.54e6), (100, 100), 0.9992),
    "utm, kilometres": ("+proj=utm +zone=50 +units=km", Affine(0.001, 0, 500, 0, -0.001, 5540), (100, 100), 0.9992),
    "utm, turned": ("EPSG:32650", Affine(0.4, 0.3, 5e5, 0.3, -0.4, 4e6), (3000, 200), 0.9992),
    "utm, a whole tile": ("EPSG:32650", Affine(10, 0, 2e5, 0, -10, 5.54e6), (10_980, 10_980), 1.0007),
    "web mercator": ("EPSG:3857", Affine(1, 0, 1.3e7, 0, -1, 6446275.84), (100, 100), 2.4174),
    "web mercator, a country": ("EPSG:3857", Affine(50, 0, 1.3e7, 0, -50, 6e6), (9000, 9000), 2.0689),
    "plate carree": ("EPSG:32662", Affine(30, 0, 1e6, 0, -30, 6e6), (900, 900), 1.6889),
    "lambert": ("EPSG:2154", Affine(5, 0, 6e5, 0, -5, 6.8e6), (20_000, 20_000), 0.99866),
    "feet": ("EPSG:2229", Affine(10, 0, 6e6, 0, -10, 1.8e6), (3000, 3000), 1.00007),
    "equal area": ("EPSG:3035", Affine(10, 0, 4e6, 0, -10, 3e6), (20_000, 20_000), 1.0),
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 110, 0, -1e-4, 45), (20_000, 20_000), None),
    "degrees with height": ("EPSG:4979", Affine(1e-5, 0, 117, 0, -1e-5, 50), (100, 100), None),
    "grads": ("EPSG:4807", Affine(1e-5, 0, 0, 0, -1e-5, 55), (100, 100), None),
    "a sphere": ("+proj=sinu +R=6371007.181", Affine(463, 0, 1e6, 0, -463, 5e6), (2400, 2400), 1.0),
}


class Placed:
    """What `ground_of` asks of a raster."""

    path = "map.tif"

    def __init__(self, crs, transform, shape):
        self.crs, self.transform = rasterio.crs.CRS.from_user_input(crs), transform
        self.height, self.width = shape


def geodesic_area(crs, transform, left, top, right, bottom, points=400):
    """Square metres of a rectangle of pixels: a geodesic polygon along its outline."""
    crs = CRS.from_wkt(rasterio.crs.CRS.from_user_input(crs).to_wkt())
    crs = crs.sub_crs_list[0] if crs.is_compound else crs
    base = crs if crs.is_geographic else crs.geodetic_crs
    a, b = base.ellipsoid.semi_major_metre, base.ellipsoid.semi_minor_metre
    s = np.linspace(0, 1, points, endpoint=False)
    x = np.concatenate([left + s * (right - left), 0 * s + right, right - s * (right - left), 0 * s + left])
    y = np.concatenate([0 * s + top, top + s * (bottom - top), 0 * s + bottom, bottom - s * (bottom - top)])
    x, y = transform @ (x, y)
    if not crs.is_geographic:
        x, y = Transformer.from_crs(crs, base, always_xy=True).transform(x, y)
    degrees = math.degrees(base.axis_info[0].unit_conversion_factor)
    return abs(Geod(a=a, b=b).polygon_area_perimeter(np.asarray(x) * degrees, np.asarray(y) * degrees)[0])


def covered(ground, left, top, right, bottom):
    return sum(ground_under(ground, row, left, right) for row in range(top, bottom))


@pytest.mark.parametrize("place", PLACES)
def test_areas_are_those_of_geodesic_polygons(place):
    crs, transform, (height, width), stretched = PLACES[place]
    ground = ground_of(Placed(crs, transform, (height, width)))
    rng = np.random.default_rng(0)
    windows = [(0, 0, width, height)]
    for _ in range(6):
        left, top = int(rng.integers(0, width - 9)), int(rng.integers(0, height - 9))
        windows.append((left, top, int(rng.integers(left + 8, width)) + 1, int(rng.integers(top + 8, height)) + 1))
    for window in windows:
        assert covered(ground, *window) == pytest.approx(geodesic_area(crs, transform, *window), rel=2e-6)
    if stretched:
        unit = rasterio.crs.CRS.from_user_input(crs).units_factor[1]
        own = abs(transform.determinant) * unit**2 * height * width
        assert own / covered(ground, *windows[0]) == pytest.approx(stretched, rel=1e-4)


def test_parts_of_a_row_add_up():
    crs, transform, shape, _ = PLACES["web mercator, a country"]
    ground = ground_of(Placed(crs, transform @ Affine.rotation(17), shape))
    rng = np.random.default_rng(1)
    for row in rng.integers(0, shape[0], 20):
        cuts = [0, *sorted(rng.integers(0, shape[1], 12).tolist()), shape[1]]
        parts = sum(ground_under(ground, row, *pair) for pair in zip(cuts, cuts[1:], strict=False))
        assert parts == pytest.approx(ground_under(ground, row, 0, shape[1]), rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (2, 2), (3, 5)])
def test_maps_of_few_pixels(shape):
    crs, transform = "EPSG:3857", Affine(100, 0, 0, 0, -100, 8e6)
    ground = ground_of(Placed(crs, transform, shape))
    expected = geodesic_area(crs, transform, 0, 0, shape[1], shape[0])
    assert covered(ground, 0, 0, shape[1], shape[0]) == pytest.approx(expected, rel=1e-6)


def test_over_the_pole_and_the_date_line():
    """A map in polar stereographic has the pole in its middle and all longitudes round it."""
    transform = Affine(1000, 0, -1e6, 0, -1000, 1e6)
    ground = ground_of(Placed("EPSG:3413", transform, (2000, 2000)))
    laea = Transformer.from_crs("EPSG:3413", "+proj=laea +lat_0=90 +datum=WGS84", always_xy=True)
    for col, row in ((999, 999), (1000, 1000), (1500, 400), (3, 1990)):
        x, y = transform @ (np.array([col, col + 1, col + 1, col]), np.array([row, row, row + 1, row + 1]))
        x, y = laea.transform(x, y)
        expected = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        assert ground_under(ground, row, col, col + 1) == pytest.approx(expected, rel=1e-5)


def test_the_whole_earth():
    ground = ground_of(Placed("EPSG:4326", Affine(0.25, 0, -180, 0, -0.25, 90), (720, 1440)))
    assert covered(ground, 0, 0, 1440, 720) == pytest.approx(510_065_621.7e6, rel=2e-5)


@pytest.mark.parametrize("place", ["utm, middle", "utm with height", "utm, kilometres", "feet", "degrees", "grads"])
def test_the_sides_of_a_pixel_are_metres_whatever_a_crs_counts_in(place):
    crs, transform, _, _ = PLACES[place]
    raster = Placed(crs, transform, (2, 2))
    width, height = pixel_sides(raster)
    assert width * height == pytest.approx(ground_under(ground_of(raster), 0, 0, 1), rel=2e-3)


def test_where_nothing_is_known():
    class Nowhere(Placed):
        def __init__(self):
            self.crs, self.transform, self.height, self.width = None, Affine.identity(), 10, 10

    assert ground_of(Nowhere()) is None
    assert ground_under(ground_of(Nowhere(), 0.5), 3, 2, 10) == 2
    disk = Placed("+proj=geos +h=35785831 +lon_0=0 +sweep=y", Affine(1e5, 0, -5.5e6, 0, -1e5, 5.5e6), (110, 110))
    assert ground_of(disk) is None  # the corners of a picture of the whole disk look past the earth
    for gsd in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SettingError, match="`gsd`"):
            ground_of(Nowhere(), gsd)


def test_beyond_the_poles_is_nowhere():
    """As where latitude and longitude are in each other's place."""
    assert ground_of(Placed("EPSG:4326", Affine(1e-4, 0, 40, 0, -1e-4, 116), (100, 100))) is None
    assert ground_of(Placed("EPSG:4326", Affine(0, 0.1, 40, -0.1, 0, -85), (9, 99))) is None  # turned, at one corner
    assert ground_of(Placed("EPSG:4807", Affine(1e-4, 0, 40, 0, -1e-4, 99.9), (9, 9)))  # grads


def test_a_crs_that_cannot_be_measured_in_names_the_way_out(monkeypatch):
    from jingwei.raster import pixel_area

    def refuses(*_, **__):
        raise pixel_area.ProjError("no operation")

    monkeypatch.setattr(pixel_area.Transformer, "from_crs", refuses)
    with pytest.raises(InputError, match="map.tif: has a CRS that areas can't be measured in .*give `gsd`"):
        ground_of(Placed("EPSG:32650", Affine(1, 0, 5e5, 0, -1, 4e6), (9, 9)))


def test_even_ground_is_the_same_everywhere():
    assert ground_under(even_ground(0.25), 10**6, 5, 9) == 1.0


@pytest.mark.parametrize("place", ["utm, middle", "utm with height", "web mercator", "utm, south up", "grads",
                                   "degrees with height", "utm, kilometres"])  # fmt: skip
def test_areas_polygons_and_report_agree(tmp_path, place):
    from jingwei.evaluation.areas import measure_areas
    from jingwei.polygons.polygons import write_polygons

    crs, transform, (height, width), _ = PLACES[place]
    labels = (np.indices((height, width)).sum(0) // 30 % 3).astype(np.uint8)
    how = dict(driver="GTiff", height=height, width=width, count=1, dtype="uint8", crs=crs, transform=transform)
    with rasterio.open(tmp_path / "map.tif", "w", **how) as file:
        file.write(labels, 1)
    areas, _ = measure_areas(tmp_path / "map.tif", JINGWEI)
    assert areas.hectares.sum() * 1e4 == pytest.approx(geodesic_area(crs, transform, 0, 0, width, height), rel=1e-6)
    written = write_polygons(tmp_path / "map.tif", tmp_path / "map.gpkg", legend=JINGWEI, classes=range(5))
    np.testing.assert_allclose(written.hectares[:5], areas.hectares, rtol=1e-12)
