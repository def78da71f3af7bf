"""Areas that are labelled completely: what is not drawn there is background; and which use their labels are for."""

from pathlib import Path

import numpy as np

from jingwei.errors import InputError, SettingError
from jingwei.grid import Window
from jingwei.labels.classes import uses_of
from jingwei.labels.notes import Note
from jingwei.labels.rules import AS_DRAWN, ONLY_TEST, TRAINING
from jingwei.legend import NODATA
from jingwei.polygons.layers import read_layer
from jingwei.raster.rasterize import flat_polygons, paint, runs_of

USES = ("train", "validation", "test")  # of an area, by its field `use`
OUTSIDE, ANY, TRAIN, VALIDATION, TEST = range(5)  # what `LabelledAreas.read` gives
GAP = 4  # px that other labels keep from areas for testing, as validation from training fields


class LabelledAreas:
    """The areas of a file over a scene, None for none; later ones lie above earlier ones. `over` is the scene, open."""

    def __init__(self, path: Path | None, over):
        self.shape = over.shape
        self.notes: tuple[Note, ...] = ()
        self.polygons, self._uses = flat_polygons(np.zeros(0, object)), np.zeros(0, np.uint8)
        if path is None:
            return
        from jingwei.labels.shapes import shapes_of  # which loads shapely: for drawn areas alone

        layer = read_layer(path)
        words = uses_of(layer.path, layer.columns, layer.size, USES)
        if not layer.size:
            raise InputError(layer.path, "has no features", "draw the areas that are labelled completely")
        found = shapes_of(layer, np.ones(layer.size, bool), over, AS_DRAWN, may_be_outside=True)
        self.polygons, self.notes = found.polygons, found.notes
        self._uses = np.array([ANY, TRAIN, VALIDATION, TEST], np.uint8)[
            [1 + USES.index(word) if word else 0 for word in words[found.numbers]]
        ]

    def __len__(self) -> int:
        return len(self.polygons)

    def has(self, use: int) -> bool:
        """Whether an area of that use (TRAIN, VALIDATION, TEST) lies in the scene."""
        return bool((self._uses == use).any())

    def read(self, window: Window) -> np.ndarray:
        """OUTSIDE, ANY, TRAIN, VALIDATION or TEST for every pixel of a window: uint8 HW."""
        uses = np.zeros((window.height, window.width), np.uint8)
        if len(self):
            paint(uses, runs_of(self.polygons, window, self.polygons.touching(window)), self._uses)
        return uses

    def near_test(self, window: Window) -> np.ndarray:
        """Which pixels of a window lie in an area for testing or within GAP of one: bool HW."""
        import cv2  # loaded by every step otherwise

        larger = window.grown(GAP, *self.shape)
        test = (self.read(larger) == TEST).view(np.uint8)
        near = cv2.dilate(test, np.ones((2 * GAP + 1, 2 * GAP + 1), np.uint8)).view(bool)
        return near[window.relative_to(larger.row, larger.col).slices]

    def keep(self, labels: np.ndarray, window: Window, part: str) -> None:
        """Makes NODATA, in the labels of a window (uint8 HW), what a part of them has not: see `DrawingRules.part`."""
        if part == ONLY_TEST and self.has(TEST):
            labels[self.read(window) != TEST] = NODATA
        elif part == TRAINING and self.has(TEST):
            labels[self.near_test(window)] = NODATA


def refuse_without_background(argument: str, legend) -> None:
    """Raises SettingError where a legend has no background, which `argument` wants to label."""
    if legend.background is None:
        remedy = 'draw all classes; or give the legend a "background"'
        raise SettingError(f"`{argument}`", f"legend {legend.name} has no background class", remedy)
