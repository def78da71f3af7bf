"""Drawn labels stand for the raster that GDAL would burn of them, whole; and give the crops that it would give."""

import shutil
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS

import jingwei
from jingwei.grid import Window, strips
from jingwei.inputs.label_files import LabelFiles
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rules import rules_of
from jingwei.legend import JINGWEI, NODATA
from jingwei.polygons.layers import read_layer
from jingwei.polygons.polygons import write_polygons
from jingwei.raster.georeference import Georeference, placed, vector_transform
from jingwei.raster.reading import open_labels

UTM = CRS.from_epsg(32649)
PLACES = {
    "pixels": (None, Affine.identity()),
    "north up": (UTM, Affine(2, 0, 500_000, 0, -2, 4_000_000)),
    "rotated": (UTM, Affine(1.6, 1.2, 500_000, 1.2, -1.6, 4_000_000)),
}


class Over:
    """Stands for a scene that is open."""

    path = Path("image_1.png")

    def __init__(self, height, width, place="pixels"):
        self.crs, self.transform = PLACES[place]
        self.shape, self.height, self.width = (height, width), height, width
        self.georeference = Georeference(self.crs, self.transform)


def draw(path, shapes, *, over=None, crs="", append=False, **columns):
    """Writes shapes (x the column, y the row of `over`) with their columns."""
    over = over or Over(1, 1)
    affine, layer = vector_transform(over.transform), columns.pop("layer", None)
    there = shapely.transform(
        np.array([*shapes, None], object)[:-1], lambda xy: np.stack(placed(affine, *xy.T), axis=1)
    )
    data = [
        np.array(values) if len({*map(type, values)}) == 1 else np.array(values, object) for values in columns.values()
    ]
    data = [values.astype(object) if values.dtype.kind == "U" else values for values in data]
    pyogrio.raw.write(
        path, shapely.to_wkb(there), data, list(columns), append=append, layer=layer,
        geometry_type="Polygon" if path.suffix == ".shp" else "Unknown",
        crs=(over.crs.to_wkt() if over.crs else None) if crs == "" else crs,
    )  # fmt: skip
    return path


def whole(labels):
    return labels.read_label_rows(0, labels.height)


def drawn(path, over, legend=JINGWEI, **rules):
    paths = path if isinstance(path, list) else [path]
    return DrawnLabels(paths, legend, rules_of(**rules), over)


pytestmark = pytest.mark.filterwarnings("ignore:.*crs.*")


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_strips_of_a_file_are_what_gdal_burns_of_the_whole(tmp_path, rows):
    """Later features lie above earlier ones, later files above earlier ones; some lie across the scene's edges."""
    rng = np.random.default_rng(rows)
    shapes = [shapely.Point(*rng.uniform(-3, 45, 2)).buffer(rng.uniform(1, 9), quad_segs=3) for _ in range(24)]
    ids = rng.integers(0, 5, 24).tolist()
    over = Over(33, 42, "north up")
    names = [JINGWEI.names[i].upper() for i in ids[15:]]
    paths = [draw(tmp_path / "a.gpkg", shapes[:15], over=over, class_id=ids[:15]),
             draw(tmp_path / "b.gpkg", shapes[15:], over=over, crop=names)]  # fmt: skip
    with drawn(paths, over) as labels:
        found = np.concatenate([labels.read_label_rows(*strip) for strip in strips(over.height, rows)])
        scaled = [labels.polygons.points[:, k] for k in (0, 1)]
        assert np.abs(scaled).max() < 60
    expected = rasterio.features.rasterize(list(zip(shapes, ids, strict=True)), over.shape, fill=NODATA, dtype="uint8")
    assert (found != expected).sum() <= 2  # of centres that lie within a nanometre of an edge
    window = Window(3, 5, 9, 11)
    np.testing.assert_array_equal(labels.read_labels(window), found[window.slices])
    np.testing.assert_array_equal(labels.count(), np.bincount(found[found < 5], minlength=5))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp", "fgb"])
def test_any_format_in_any_place(tmp_path, place, ending):
    over = Over(40, 50, place)
    features = [(shapely.box(2, 3, 20, 20).difference(shapely.box(5, 5, 9, 9)), 2),
                (shapely.MultiPolygon([shapely.box(30, 3, 33, 8), shapely.box(40, 20, 49, 39)]), 3)]  # fmt: skip
    if ending == "geojson" and over.crs:
        over.crs = CRS.from_epsg(4326)
        over.transform = Affine(1e-5, 0, 111, 0, -1e-5, 36)
        over.georeference = Georeference(over.crs, over.transform)
    path = draw(tmp_path / f"a.{ending}", [s for s, _ in features], over=over, class_id=[2, 3])
    expected = rasterio.features.rasterize(features, over.shape, fill=NODATA, dtype="uint8")
    np.testing.assert_array_equal(whole(drawn(path, over)), expected)


def test_a_file_in_another_crs_is_brought_to_the_scene(tmp_path):
    over = Over(40, 50, "north up")
    path = draw(tmp_path / "a.gpkg", [shapely.box(2.2, 3.2, 20.2, 20.2)], over=over, class_id=[2])
    meta, _, wkb, fields = pyogrio.raw.read(path)
    x, y = rasterio.warp.transform(UTM, CRS.from_epsg(4326), *shapely.get_coordinates(shapely.from_wkb(wkb)).T)
    there = shapely.Polygon(zip(x, y, strict=True))
    pyogrio.raw.write(tmp_path / "b.gpkg", shapely.to_wkb(np.array([there], object)), [np.array([2])], ["class_id"],
                      geometry_type="Polygon", crs="EPSG:4326")  # fmt: skip
    np.testing.assert_array_equal(whole(drawn(tmp_path / "b.gpkg", over)), whole(drawn(path, over)))


@pytest.fixture(scope="module")
def as_vectors(county, tmp_path_factory):
    """The county with its labels as polygons, background and all, in place of the rasters."""
    root = tmp_path_factory.mktemp("vectors") / "county"
    shutil.copytree(county, root)
    for label in root.rglob("*_label.png"):
        write_polygons(label, label.with_suffix(".gpkg"), legend=JINGWEI, classes=range(5))
        with open_labels(label) as raster:
            over = Over(*raster.shape)
            np.testing.assert_array_equal(whole(drawn(label.with_suffix(".gpkg"), over)), whole(raster))
        label.unlink()
    return root


def test_labels_as_polygons_give_the_same_crops(county, as_vectors, tmp_path):
    """Byte for byte: crops, labels, tables, the split and its pictures."""
    folders = []
    for source in (county, as_vectors):
        work = tmp_path / source.name / str(len(folders))
        shutil.copytree(source, work)
        jingwei.cut(None, work, crop_size=64, workers=2)
        folders.append(work / "train")
    one, other = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file() and ".parts" not in p.parts}
                  for f in folders)  # fmt: skip
    assert len(one) > 20
    assert one == other


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "parquet"])
def test_our_polygons_say_how_y_counts(county, tmp_path, ending):
    label = next(county.rglob("image_1_label.png"))
    path = tmp_path / f"a.{ending}"
    write_polygons(label, path, legend=JINGWEI, classes=range(5), pixels=ending == "geojson")
    assert read_layer(path).y_down is False
    with open_labels(label) as raster:
        np.testing.assert_array_equal(whole(drawn(path, Over(*raster.shape))), whole(raster))
    above = draw(tmp_path / "above.gpkg", [shapely.box(3, -20, 20, -5)], over=Over(40, 50), crs=None, class_id=[2])
    assert read_layer(above).y_down is None
    assert drawn(above, Over(40, 50)).count()[2] == 17 * 15  # as of version 0.3: y counts rows


def test_a_geopackage_of_pixels_is_a_raster(tmp_path):
    labels = np.full((64, 70), 2, np.uint8)
    path = tmp_path / "image_1_label.gpkg"
    with rasterio.open(path, "w", driver="GPKG", height=64, width=70, count=1, dtype="uint8", crs=UTM,
                       transform=Affine(2, 0, 500_000, 0, -2, 4_000_000), TILE_FORMAT="PNG") as file:  # fmt: skip
        file.write(labels, 1)
    assert not LabelFiles((path,)).drawn
    assert LabelFiles((draw(tmp_path / "b.gpkg", [shapely.box(0, 0, 9, 9)], class_id=[2]),)).drawn
