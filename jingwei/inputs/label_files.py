"""The files that a scene's labels are in: a raster, or one or several vector files and how these are to be read."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from jingwei.errors import InputError
from jingwei.grid import Window, strips
from jingwei.inputs.masks import refuse_palette_of_classes
from jingwei.labels.areas import ANY, TEST, TRAIN, VALIDATION, LabelledAreas
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.legend import NODATA, Legend
from jingwei.polygons.layers import is_vector
from jingwei.polygons.opening import file_and_layer
from jingwei.raster.histogram import histogram
from jingwei.raster.reading import Raster, open_labels
from jingwei.raster.tiles import TILE


@dataclass(frozen=True)
class LabelFiles:
    """A raster of labels; or drawn ones, in files of which later ones lie above earlier ones, and their rules. Drawn
    labels may lie above a raster too.

    What is labelled in the drawn files of `without` is left out: it is for training, where others are scored.
    """

    files: tuple[Path, ...]
    rules: DrawingRules = AS_DRAWN
    without: tuple[Path, ...] = ()

    @property
    def path(self) -> Path:
        """The first file, which messages name."""
        return self.files[0]

    @property
    def drawn(self) -> bool:
        """Whether all are drawn. InputError for a raster that is not the first file."""
        vectors = [is_vector(file) for file in self.files]
        if not all(vectors[1:]):
            raster = self.files[vectors.index(False, 1)]
            problem = "is not a vector file, and only these can lie above other labels"
            raise InputError(raster, problem, "name one raster a scene, before its vector files")
        return vectors[0]

    @property
    def above(self) -> tuple[Path, ...]:
        """The drawn files that lie above a raster."""
        return () if self.drawn else self.files[1:]

    @property
    def sources(self) -> tuple[Path, ...]:
        """All files that are read."""
        areas = [self.rules.labelled] if self.rules.labelled else []
        return tuple(dict.fromkeys(file_and_layer(file)[0] for file in (*self.files, *areas, *self.without)))

    @property
    def reading(self) -> dict:
        """The settings that change what is read, in JSON's types."""
        left_out = {"without": len(self.without)} if self.without else {}
        if not self.drawn and not self.above and not self.rules.labelled:
            return left_out
        named = [*self.files, *([self.rules.labelled] if self.rules.labelled else [])]
        return {"drawn": self.rules.facts, "layers": [file_and_layer(file)[1] for file in named]} | left_out

    def open(self, legend: Legend, over: Any) -> Raster | DrawnLabels:
        """The labels, to be read: class ids. `over` is the raster that they belong to, open: its grid is theirs."""
        if self.drawn:
            labels: Any = DrawnLabels(self.files, legend, self.rules, over)
        else:
            labels = open_labels(self.path, legend)
        with ExitStack() as stack:
            stack.enter_context(labels)
            if not self.drawn:
                refuse_palette_of_classes(labels, legend)
                labels = in_areas(labels, self.rules, over)
            if self.above or self.without:
                drawn = self.above and DrawnLabels(self.above, legend, self.rules.without_background(), over)
                left_out = self.without and DrawnLabels(self.without, legend, AS_DRAWN, over)
                labels = ChangedLabels(labels, drawn or None, left_out or None)
            stack.pop_all()
        return cast(DrawnLabels, labels)  # for whoever reads rows


def in_areas(labels: Any, rules: DrawingRules, over: Any) -> Any:
    """The labels of an open raster or mask, less what the areas of `labelled` keep from the part that is wanted.

    Only areas for testing can be kept with a raster: it says itself where it is complete, and is split in blocks.
    InputError where others lie in it.
    """
    if rules.labelled is None:
        return labels
    areas = LabelledAreas(rules.labelled, over)
    if any(map(areas.has, (ANY, TRAIN, VALIDATION))):
        problem = f"has areas in {Path(over.path).name} that are not for testing, but its labels are a raster "
        problem += f"({Path(labels.path).name}), which says itself what is labelled"
        raise InputError(rules.labelled, problem, "give them the use test, take them out, or draw the labels")
    return AreaLabels(labels, areas, rules.part) if areas.has(TEST) or areas.notes else labels


class OtherRows:
    """Labels that are read as others are, but for their rows of class ids. A context manager, which closes those."""

    def __init__(self, labels: Any, notes: Sequence = ()):
        self._labels, self.notes = labels, tuple(dict.fromkeys((*labels.notes, *notes)))  # areas are read for both

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._labels.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._labels, name)


class AreaLabels(OtherRows):
    """Labels of a raster less what areas for testing leave out of a `part` (see `DrawingRules`)."""

    def __init__(self, labels: Any, areas: LabelledAreas, part: str):
        super().__init__(labels, areas.notes)
        self._areas, self._part = areas, part

    def read_label_rows(self, first: int, end: int) -> np.ndarray:
        """The class ids of full rows, uint8 HW."""
        labels = self._labels.read_label_rows(first, end)
        self._areas.keep(labels, Window(first, 0, *labels.shape), self._part)
        return labels

    def count(self) -> np.ndarray:
        """Pixels per class of all these labels, int64. Of masks alone: InputError naming what the legend has not."""
        counts = np.zeros(256, np.int64)
        for first, end in strips(self.height, TILE):
            counts += histogram(self.read_label_rows(first, end))
        self._labels.refuse_unknown()
        return counts[: len(self._labels.legend)]


class ChangedLabels(OtherRows):
    """Labels with drawn ones above them, and without what others label."""

    def __init__(self, labels: Raster | DrawnLabels, above: DrawnLabels | None, without: DrawnLabels | None):
        super().__init__(labels, above.notes if above else ())
        self._above, self._without = above, without

    def read_label_rows(self, first: int, end: int) -> np.ndarray:
        """The class ids of full rows, uint8 HW; NODATA also where the others have a label."""
        labels = self._labels.read_label_rows(first, end)
        if self._above:
            drawn = self._above.read_label_rows(first, end)
            labels = np.where(drawn != NODATA, drawn, labels)
        if self._without:
            labels = np.where(self._without.read_label_rows(first, end) != NODATA, np.uint8(NODATA), labels)
        return labels


def label_files(label: Path | Sequence[Path] | LabelFiles, rules: DrawingRules = AS_DRAWN) -> LabelFiles:
    """One file or several as LabelFiles; those that are stay as they are."""
    if isinstance(label, LabelFiles):
        return label
    return LabelFiles((Path(label),) if isinstance(label, str | Path) else tuple(map(Path, label)), rules)
