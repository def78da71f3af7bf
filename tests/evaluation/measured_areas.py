"""Areas of a map, and zones to count them by."""

import numpy as np
import pyogrio
import shapely
import shapely.affinity

from jingwei.evaluation.areas import measure_areas
from jingwei.legend import JINGWEI


def areas_of(path, **how):
    return measure_areas(path, JINGWEI, **how)


def write_zones(path, shapes, names=None, crs="EPSG:32649", field="name"):
    names = [f"zone {k}" for k in range(len(shapes))] if names is None else names
    pyogrio.raw.write(
        path, np.array(shapely.to_wkb(shapes).tolist(), object), [np.array(names, object)], [field], crs=crs,
        geometry_type="Unknown", driver="GPKG",
    )  # fmt: skip
    return path
