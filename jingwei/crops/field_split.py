"""Whole fields for training or for validation: connected regions of one class never straddle the split.

A field is a region of one class, joined over 4 neighbours. Labels of fields that were walked are sparse, and the pixels
of a field are alike: were they on both sides, validation would ask for what was learned by heart.

A label map is read strip by strip, three times: its fields are numbered, measured, and written. In memory are a strip
and a few bytes per field.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from jingwei.legend import NODATA
from jingwei.raster.png import PngWriter
from jingwei.raster.union_find import find
from jingwei.system.compiled import compiled

GAP = 4  # px that validation pixels keep from training fields, over edges and corners
OVERSHOOT = 1.25  # of a class's share that validation may get
PROVISIONAL = np.dtype([("parent", np.int32), ("class", np.uint8)], align=True)  # a provisional label
NEIGHBOURS = np.ones((2 * GAP + 1, 2 * GAP + 1), np.uint8)


class Fields:
    """The fields of a label map, numbered in the order of their first pixels.

    `strips` starts a pass over the map: uint8 arrays of its full width, from the top, of any heights. `classes`,
    `pixels` and `inner` have an entry per field; `inner` counts the pixels with no other field within GAP: what is
    left of the field in validation at least.
    """

    def __init__(self, strips: Callable[[], Iterable[np.ndarray]], height: int, width: int):
        self._strips, self._height, self._width = strips, height, width
        parents, classes = _provisional_labels(strips(), width)
        roots = parents == np.arange(len(parents))
        self.classes = classes[roots]
        self._fields = (np.cumsum(roots, dtype=np.int32) - 1)[parents]  # provisional label -> field
        self.pixels, self.inner = np.zeros((2, len(self.classes)), np.int64)
        for fields in self._blocks():
            alone = _alone(fields)[GAP:-GAP]
            middle = fields[GAP:-GAP]
            self.pixels += np.bincount(middle[middle >= 0], minlength=len(self.classes))
            self.inner += np.bincount(middle[alone], minlength=len(self.classes))

    def write(self, validation: np.ndarray, training_map: Path, validation_map: Path) -> None:
        """Writes a label map (PNG) for each side: `validation` says, bool per field, which are for validation.

        Pixels of the other side are NODATA, and so are validation pixels within GAP of a training field.
        """
        classes = np.append(self.classes, np.uint8(NODATA))  # the last one is that of -1: no field
        trains = np.append(~validation, False)
        size = self._height, self._width
        with PngWriter(training_map, *size) as training_png, PngWriter(validation_map, *size) as validation_png:
            for fields in self._blocks():
                training, labels = trains[fields], classes[fields]
                near = cv2.dilate(training.view(np.uint8), NEIGHBOURS).view(bool)
                middle = slice(GAP, -GAP)
                training_png.write(np.where(training, labels, np.uint8(NODATA))[middle])
                validation_png.write(np.where(near, np.uint8(NODATA), labels)[middle])

    def _blocks(self) -> Iterator[np.ndarray]:
        """The field of every pixel, -1 where there is none: int32 HW with GAP rows more above and below.

        Their middles are the map, from the top.
        """
        outside = np.full((GAP, self._width), -1, np.int32)
        block, above, used = outside, (np.full(self._width, NODATA, np.uint8), outside[0].copy()), 0
        for labels in self._strips():
            fields = np.empty(labels.shape, np.int32)
            used = _look_up(labels, fields, *above, self._fields, used)
            block = np.concatenate([block, fields])
            if len(block) > 2 * GAP:
                yield block
                block = block[-2 * GAP :].copy()
        yield np.concatenate([block, outside])


def choose_fields(classes: np.ndarray, pixels: np.ndarray, inner: np.ndarray, fraction: float) -> np.ndarray:
    """The fields for validation, bool: of each class about `fraction` of its pixels.

    A class with two fields or more has one on each side at least; but half of its pixels stay in training, and a field
    without `inner` pixels does, of which validation might see nothing.
    """
    chosen = np.zeros(len(classes), bool)
    for land_class in np.unique(classes):
        here = np.flatnonzero(classes == land_class)
        total = pixels[here].sum()
        target, most = fraction * total, max(0.5, fraction) * total
        here = here[(inner[here] > 0) & (pixels[here] <= most)]
        if fraction <= 0 or not len(here):
            continue
        here = here[np.argsort(-pixels[here], kind="stable")]
        nearest = here[np.abs(pixels[here] - target).argmin()]
        several, reached = [], 0
        for field in here:
            if reached + pixels[field] <= min(OVERSHOOT * target, most):
                several.append(field)
                reached += pixels[field]
        chosen[several if several and abs(reached - target) < abs(pixels[nearest] - target) else nearest] = True
    return chosen


def _provisional_labels(strips: Iterable[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """(The first of its field, its class) of every provisional label, in their order.

    A run of one class with none of it above gets the next one: a field can have several.
    """
    found = np.zeros(0, PROVISIONAL)
    above, used = (np.full(width, NODATA, np.uint8), np.full(width, -1, np.int32)), 0
    for labels in strips:
        room = used + labels.size
        if room > len(found):
            grown = np.zeros(max(room, 2 * used), PROVISIONAL)
            grown[:used] = found[:used]
            found = grown
        used = _join(labels, *above, found, used)
    found = found[:used]
    _flatten(found)
    return found["parent"].copy(), found["class"].copy()


def _alone(fields: np.ndarray) -> np.ndarray:
    """Whether a pixel's square of GAP px round it has no field but its own, bool HW."""
    is_field = fields >= 0
    highest = cv2.dilate(fields.astype(np.float64), NEIGHBOURS)
    lowest = cv2.erode(np.where(is_field, fields, np.inf), NEIGHBOURS)
    return is_field & (highest == fields) & (lowest == fields)


@compiled
def _join(labels, labels_above, numbers_above, provisional, used):
    """Numbers the runs of some rows (uint8 HW) and joins those that touch. `..._above`: the row before, then the last.

    Older provisional labels are the parents of younger ones. Returns how many there are.
    """
    rows, width = labels.shape
    for r in range(rows):
        x = 0
        while x < width:
            label, start, number = labels[r, x], x, np.int32(-1)
            while x < width and labels[r, x] == label:
                if label != NODATA and labels_above[x] == label:
                    other = np.int32(find(provisional, numbers_above[x]))
                    if number < 0:
                        number = other
                    elif other != number:
                        older = min(number, other)
                        provisional[max(number, other)]["parent"] = older
                        number = older
                x += 1
            if label != NODATA and number < 0:
                number = np.int32(used)
                provisional[used]["parent"] = number
                provisional[used]["class"] = label
                used += 1
            labels_above[start:x] = label
            numbers_above[start:x] = number
    return used


@compiled
def _flatten(provisional):
    """Each provisional label's oldest one as its parent, in place: parents are older, so one look goes all the way."""
    for number in range(len(provisional)):
        provisional[number]["parent"] = provisional[provisional[number]["parent"]]["parent"]


@compiled
def _look_up(labels, fields, labels_above, fields_above, of_numbers, used):
    """Fills `fields` (int32 HW) for some rows, meeting provisional labels as `_join` does. Returns how many it met."""
    rows, width = labels.shape
    for r in range(rows):
        x = 0
        while x < width:
            label, start, field = labels[r, x], x, np.int32(-1)
            while x < width and labels[r, x] == label:
                if label != NODATA and labels_above[x] == label:
                    field = fields_above[x]
                x += 1
            if label != NODATA and field < 0:
                field = of_numbers[used]
                used += 1
            fields[r, start:x] = field
            labels_above[start:x] = label
            fields_above[start:x] = field
    return used
