"""The file that people open next: places to label, and what the map guesses there, as polygons to correct."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely

from jingwei.grid import Window
from jingwei.labels.rounds import FIELD
from jingwei.legend import NODATA, Legend
from jingwei.polygons.layered import Layer, write_layers
from jingwei.polygons.layers import FRAMES, LABELS
from jingwei.polygons.polygonize import RegionPolygons
from jingwei.polygons.reading import Y
from jingwei.polygons.styles import class_style, frame_style
from jingwei.raster.checked import open_map
from jingwei.raster.georeference import placed, vector_transform
from jingwei.raster.reading import Raster

LEAST_REGION = 16  # px: of smaller ones nobody can say what they are


class Place(NamedTuple):
    """A place to label: its rank over all scenes from 1 up, its window, why it was chosen, the mean doubt (0 to 1, NaN
    where none is known).
    """

    rank: int
    window: Window
    reason: str
    doubt: float


def write_places(
    target: Path, places: Sequence[Place], image: Raster, map_path: Path | None, legend: Legend, simplify: float
) -> None:
    """Writes a scene's places: the layer `places` has their frames, `labels` the regions of the map inside.

    A region has the number of its `place`, the map's `guess` and an empty `label`. Without a map a place is one region
    without a guess. Borders of regions may move by `simplify` px.
    """
    affine = vector_transform(image.transform)
    regions, numbers, guesses, main = [], [], [], []
    for place, labels in zip(places, _maps(map_path, legend, places), strict=True):
        top, left = place.window.row, place.window.col
        if labels is None:
            polygons, ids = [_frame(place.window, affine)], [NODATA]
        else:
            x, y = placed(affine, left, top)
            polygons, ids = _regions(labels, (affine.a, affine.b, x, affine.d, affine.e, y), simplify)
        regions += polygons
        numbers += [place.rank] * len(polygons)
        guesses += [legend.names[k] if k < len(legend) else None for k in ids]
        counts = np.bincount(np.ravel(labels if labels is not None else NODATA), minlength=256)[: len(legend)]
        main.append(legend.names[int(counts.argmax())] if counts.any() else None)
    frames = {
        "place": np.array([place.rank for place in places]),
        "reason": np.array([place.reason for place in places], object),
        "guess": np.array(main, object),
        "doubt": np.array([100 * place.doubt for place in places]),
        "row": np.array([place.window.row for place in places]),
        "col": np.array([place.window.col for place in places]),
    }
    columns = {
        "place": np.array(numbers),
        "guess": np.array(guesses, object),
        FIELD: np.full(len(regions), None, object),
    }
    shown_as = f'coalesce("{FIELD}", "guess", \'\')'
    style = class_style("Polygon", legend, range(len(legend)), FIELD, form=True, by=shown_as)
    layers = [
        Layer(LABELS, regions, columns, style),
        Layer(FRAMES, [_frame(place.window, affine) for place in places], frames, frame_style("place")),
    ]
    notes = {Y: "-row"} if image.transform.is_identity else {}
    write_layers(target, layers, crs=image.crs, notes=notes, date=image.path.stat().st_mtime)


def _maps(map_path: Path | None, legend: Legend, places: Sequence[Place]):
    """The map's class ids (uint8 HW) in each place; None without a map."""
    if map_path is None:
        yield from [None] * len(places)
        return
    with open_map(map_path, legend, part=True) as labels:
        for place in places:
            planes, valid = labels.read(place.window)
            yield np.where(valid, planes[0], np.uint8(NODATA))


def _regions(labels: np.ndarray, affine: tuple[float, ...], simplify: float) -> tuple[list[bytes], list[int]]:
    """The regions of a window of a map (uint8 HW): polygons as WKB, and their class ids."""
    how: dict[str, Any] = {"min_area": LEAST_REGION, "simplify": simplify, "affine": affine, "band_rows": len(labels)}
    batches = list(RegionPolygons([labels], labels.shape[0], labels.shape[1], **how))
    polygons = [polygon for batch in batches for polygon in batch.polygons]
    return polygons, [int(label) for batch in batches for label in batch.labels]


def _frame(window: Window, affine) -> bytes:
    """The rectangle of a window as WKB."""
    cols = np.array([window.col, window.col, window.col_end, window.col_end])
    rows = np.array([window.row, window.row_end, window.row_end, window.row])
    return shapely.to_wkb(shapely.polygons(np.stack(placed(affine, cols, rows), axis=1)))
