"""GeoPackages of several layers, each with the style and the form that QGIS shows it in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jingwei.polygons.writing import GeoPackage, Target
from jingwei.system.atomic import whole_or_nothing


class Layer(NamedTuple):
    """A layer: polygons (WKB; multi-polygons where its `kind` says so), a column of each name, and its style.

    Columns are arrays of whole numbers, floats, or objects: texts, of which None is no value.
    """

    name: str
    polygons: Sequence[bytes]
    columns: Mapping[str, np.ndarray]
    style: str
    kind: str = "Polygon"


def write_layers(path: Path, layers: Sequence[Layer], *, crs: Any, notes: Mapping[str, str], date: float) -> None:
    """Writes a GeoPackage, whole or not at all. The other arguments and the errors are as of `vector_writer`."""
    with whole_or_nothing(path) as part:
        for number, layer in enumerate(layers):
            types = {name: TYPES.get(values.dtype.kind, str) for name, values in layer.columns.items()}
            target = Target(part, path, layer.kind, types, crs, dict(notes), date)
            with GeoPackage(target, layer.name) as writer:
                writer.write(layer.polygons, layer.columns)
                writer.add_style(layer.style, to_others=number > 0)


TYPES: dict[str, type] = {"i": int, "f": float}  # of columns, by numpy's kinds of types
