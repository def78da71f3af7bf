"""Label maps that tests turn into polygons: the places they lie in, and GDAL's polygons of them."""

import numpy as np
import rasterio
import rasterio.features
import shapely
import shapely.affinity
from affine import Affine
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from jingwei.legend import NODATA
from jingwei.polygons.polygonize import RegionPolygons
from jingwei.raster.georeference import vector_transform

PLACES = {
    "north up": ("EPSG:32649", Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)),
    "rotated": ("EPSG:32649", Affine(0.4, 0.3, 500_000, 0.3, -0.4, 4_000_000)),
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 110, 0, -1e-4, 25)),
    "nowhere": (None, Affine.identity()),
}
few_classes = st.sampled_from([0, 1, 2, NODATA])
maps = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=few_classes)
)


def reference(labels):
    """(class, polygon in its normal form) of each region, sorted: GDAL on the whole array."""
    found = rasterio.features.shapes(labels, mask=labels != NODATA, connectivity=4)
    return sorted((int(label), shapely.normalize(shapely.geometry.shape(shape)).wkb_hex) for shape, label in found)


def on_pixels(classes, shapes, transform):
    """(class, polygon in its normal form) of each polygon on earth, sorted, back in the map's pixels."""
    inverse = (~vector_transform(transform)).to_shapely()
    found = [shapely.affinity.affine_transform(shape, inverse) for shape in shapes]
    snapped = [shapely.transform(shape, lambda points: np.abs(points.round(3))) for shape in found]
    assert max(shapely.hausdorff_distance(a, b) for a, b in zip(found, snapped, strict=True)) < 1e-3
    whole = [shapely.normalize(shapely.transform(shape, np.rint)).wkb_hex for shape in snapped]
    return sorted(zip(map(int, classes), whole, strict=True))


def cut(labels, heights):
    row = turn = 0
    while row < len(labels):
        yield labels[row : row + heights[turn % len(heights)]]
        row, turn = row + heights[turn % len(heights)], turn + 1


def polygons_of(labels, heights=(5,), **rules):
    """(class, polygon, pixels) of each region, in the order in which they come."""
    batches = list(RegionPolygons(cut(labels, heights), *labels.shape, **rules))
    return [
        (int(label), shapely.from_wkb(wkb), int(area))
        for batch in batches
        for wkb, label, area in zip(batch.polygons, batch.labels, batch.areas, strict=True)
    ]


def normal(found):
    return sorted((label, shapely.normalize(polygon).wkb_hex) for label, polygon, _ in found)


def assert_as_gdal(labels, heights=(5,), **rules):
    found = polygons_of(labels, heights, **rules)
    assert normal(found) == reference(labels)
    for _, polygon, pixels in found:
        assert polygon.is_valid
        assert polygon.area == pixels
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
    sums = np.zeros(256, np.int64)
    for label, polygon, _ in found:
        sums[label] += int(polygon.area)
    expected = np.bincount(labels.ravel(), minlength=256)
    expected[NODATA] = 0
    np.testing.assert_array_equal(sums, expected)
    return found


def blobs(height, width, classes, smooth, seed=0):
    """A map like a network's: `classes` of equal area with rounded borders."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).random((height, width)), smooth)
    return (np.argsort(np.argsort(field.ravel())).reshape(height, width) * classes // field.size).astype(np.uint8)


def tiff(path, labels, place="north up"):
    crs, transform = PLACES[place]
    height, width = labels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8", crs=crs, transform=transform,
        nodata=NODATA,
    ) as file:  # fmt: skip
        file.write(labels, 1)
    return path
