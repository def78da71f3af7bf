"""Drawn labels, read as the label raster that they stand for: any window of it is burnt when it is asked for.

In memory are the polygons' corners, and of the raster only what is asked for.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.errors import InputError, SettingError, known
from jingwei.grid import Window, strips
from jingwei.labels.areas import ANY, LabelledAreas, refuse_without_background
from jingwei.labels.classes import NONE, classes_of, is_empty
from jingwei.labels.notes import Note
from jingwei.labels.rounds import FIELD, is_labelled, is_of_rounds
from jingwei.labels.rules import DrawingRules
from jingwei.legend import NODATA, Legend
from jingwei.polygons.layers import VectorLayer, read_layer
from jingwei.raster.histogram import histogram
from jingwei.raster.rasterize import FlatPolygons, flat_polygons, joined, paint, runs_of
from jingwei.raster.tiles import TILE


class DrawnLabels:
    """Labels of vector files over a scene, read as a label raster. A context manager.

    `over` is the scene, open: its size and place are the labels'. Features of later files lie above those of earlier
    ones, and so do later features of a file, or those with a higher `order`. `notes` are what people should know of
    the files, `by` says what their classes were found by. Raises InputError and SettingError for files, fields and
    classes that can't be used, before a pixel is read.
    """

    unknown: Counter[int] = Counter()  # as of Mask: here unknown classes are refused at once
    at_255 = 0

    def __init__(self, files: Sequence[Path], legend: Legend, rules: DrawingRules, over):
        self.path, self.legend, self.rules = Path(files[0]), legend, rules
        self.height, self.width = self.shape = over.shape
        self.georeference, self.crs, self.transform = over.georeference, over.crs, over.transform
        if rules.background_outside:
            refuse_without_background("background_outside", legend)
        self.areas = LabelledAreas(rules.labelled, over)
        if rules.areas_complete and self.areas.has(ANY):
            refuse_without_background("labelled", legend)
        # Whether all that is not drawn here is background.
        complete = rules.background_outside or (rules.areas_complete and len(self.areas) > 0)
        parts = [_part(read_layer(file), legend, over, rules, complete) for file in files]
        self.polygons: FlatPolygons = joined([part.polygons for part in parts])
        self.values = np.concatenate([part.values for part in parts])
        self._rank = _ranks(parts, bool(rules.order))
        self.notes: tuple[Note, ...] = (*self.areas.notes, *(note for part in parts for note in part.notes))
        self.by = "; ".join(dict.fromkeys(part.by for part in parts))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def features_in(self, window: Window) -> np.ndarray:
        """The numbers of the features that may have pixels in a window, the lowest first."""
        near = self.polygons.touching(window)
        return near[np.argsort(self._rank[near], kind="stable")]

    def read_labels(self, window: Window) -> np.ndarray:
        """The class ids of a window, uint8 HW, NODATA where there is no label."""
        background = self.legend.background
        fill = background if self.rules.background_outside else NODATA
        labels = np.full((window.height, window.width), fill, np.uint8)
        uses = self.areas.read(window)
        if background is not None and self.rules.areas_complete:
            labels[uses > 0] = background
        paint(labels, runs_of(self.polygons, window, self.features_in(window)), self.values)
        self.areas.keep(labels, window, self.rules.part)
        return labels

    def read_label_rows(self, first: int, end: int) -> np.ndarray:
        """The class ids of full rows, uint8 HW."""
        return self.read_labels(Window(first, 0, end - first, self.width))

    def count(self) -> np.ndarray:
        """Pixels per class of all labels, int64."""
        counts = np.zeros(256, np.int64)
        for first, end in strips(self.height, TILE):
            counts += histogram(self.read_label_rows(first, end))
        return counts[: len(self.legend)]

    def refuse_unknown(self) -> None:
        """As of Mask: unknown classes were refused when the files were opened."""


class _Part(NamedTuple):
    """What a file adds: polygons in pixels, the value that each burns, what it is ordered by (None: above all)."""

    polygons: FlatPolygons
    values: np.ndarray
    order: np.ndarray | None
    notes: tuple[Note, ...]
    by: str


def _part(layer: VectorLayer, legend: Legend, over, rules: DrawingRules, complete: bool) -> _Part:
    """The features of a layer; `complete`: labels make sense where nothing is drawn."""
    from jingwei.labels.shapes import shapes_of  # which loads shapely: for drawn labels alone

    if not layer.size and not complete:
        raise InputError(layer.path, "has no features", "draw what you see, or take the file away")
    if not layer.size:
        return _Part(flat_polygons(np.zeros(0, object)), np.zeros(0, np.uint8), None, (), "nothing is drawn")
    ours = is_of_rounds(layer)  # where others may be empty and have no field
    if ours:
        is_labelled(layer)  # refuses one without its field: guesses are no labels
    field = FIELD if ours else rules.field
    ids, by = classes_of(layer.path, layer.layer, layer.columns, layer.size, legend, field)
    notes: list[Note] = []
    wanted = ids != NONE
    if not wanted.all():
        if not wanted.any() and not complete:
            raise InputError(layer.path, f"no feature has a class yet ({by} is empty)", "write one into each")
        if not ours:
            notes.append(without_class(layer, int((~wanted).sum()), by))
    found = shapes_of(layer, wanted, over, rules, may_be_outside=complete)
    order = order_of(layer, rules.order)[found.numbers] if rules.order and not ours else None
    return _Part(found.polygons, ids[found.numbers].astype(np.uint8), order, (*notes, *found.notes), by)


def without_class(layer: VectorLayer, number: int, by: str) -> Note:
    """What is to be said of so many features that have no class."""
    features = "1 feature" if number == 1 else f"{number:,d} features"
    return Note(layer.path, f"{features} without a class ({by}): left out", "write one into each")


def order_of(layer: VectorLayer, field: str) -> np.ndarray:
    """What the features of a layer are ordered by: numbers, or texts (such as dates), of which none comes first."""
    if field not in layer.columns:
        raise SettingError("`order`", f"{layer.path} has no field {field!r}", known(layer.columns, field))
    values = layer.columns[field]
    if values.dtype.kind in "iufb":
        numbers = values.astype(np.float64)
        return np.where(np.isnan(numbers), -np.inf, numbers)
    return np.array(["" if is_empty(value) else str(value) for value in values.tolist()], object)


def _ranks(parts: Sequence[_Part], ordered: bool) -> np.ndarray:
    """The place from below of each feature: by what features are ordered by, of equals the earlier first."""
    if not ordered:
        return np.arange(sum(len(part.values) for part in parts))
    orders = [part.order for part in parts if part.order is not None and len(part.order)]
    if len({isinstance(value, str) for order in orders for value in order.tolist()}) > 1:
        raise SettingError("`order`", "has numbers in one file and texts in another", "give all files one kind")
    free = np.concatenate([np.full(len(part.values), part.order is None) for part in parts])
    under = np.flatnonzero(~free)
    ranks = np.empty(len(free), np.int64)
    if orders:
        ranks[under[np.argsort(np.concatenate(orders), kind="stable")]] = np.arange(len(under))
    ranks[free] = np.arange(len(under), len(free))
    return ranks
