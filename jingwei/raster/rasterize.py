"""Polygons burnt into pixels, by GDAL's rule: a pixel is inside where its centre is."""

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize

from jingwei.grid import Window


def burnt(polygons, window: Window) -> np.ndarray:
    """Which pixels of a window lie inside polygons (shapely, x the column, y the row): uint8 HW, 1 inside.

    Of a large polygon only what is near the window is looked at.
    """
    # A pixel of margin: the cut edges lie beyond all centres.
    near = shapely.clip_by_rect(polygons, window.col - 1, window.row - 1, window.col_end + 1, window.row_end + 1)
    inside = np.zeros((window.height, window.width), np.uint8)
    parts = [part for part in shapely.get_parts(near) if shapely.get_type_id(part) == POLYGON and not part.is_empty]
    if parts:
        rasterize(parts, out=inside, transform=Affine.translation(window.col, window.row))
    return inside


POLYGON = shapely.GeometryType.POLYGON
