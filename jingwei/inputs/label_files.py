"""The files that a scene's labels are in: a raster, or one or several vector files and how these are to be read."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from jingwei.errors import InputError
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.legend import NODATA, Legend
from jingwei.polygons.layers import is_vector
from jingwei.polygons.opening import file_and_layer
from jingwei.raster.reading import Raster, open_labels


@dataclass(frozen=True)
class LabelFiles:
    """A raster of labels; or drawn ones, in files of which later ones lie above earlier ones, and their rules.

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
        """Whether they are drawn. InputError for a raster among several files."""
        vectors = [is_vector(file) for file in self.files]
        if len(self.files) > 1 and not all(vectors):
            raster = self.files[vectors.index(False)]
            raise InputError(raster, "is not a vector file, and only these can be several", "name one label a scene")
        return vectors[0]

    @property
    def sources(self) -> tuple[Path, ...]:
        """All files that are read."""
        areas = [self.rules.labelled] if self.drawn and self.rules.labelled else []
        return tuple(dict.fromkeys(file_and_layer(file)[0] for file in (*self.files, *areas, *self.without)))

    @property
    def reading(self) -> dict:
        """The settings that change what is read, in JSON's types."""
        left_out = {"without": len(self.without)} if self.without else {}
        if not self.drawn:
            return left_out
        named = [*self.files, *([self.rules.labelled] if self.rules.labelled else [])]
        return {"drawn": self.rules.facts, "layers": [file_and_layer(file)[1] for file in named]} | left_out

    def open(self, legend: Legend, over: Any) -> Raster | DrawnLabels:
        """The labels, to be read: class ids. `over` is the raster that they belong to, open: its grid is theirs."""
        labels = DrawnLabels(self.files, legend, self.rules, over) if self.drawn else open_labels(self.path, legend)
        if not self.without:
            return labels
        with ExitStack() as stack:
            stack.enter_context(labels)
            left = LabelsLeft(labels, DrawnLabels(self.without, legend, AS_DRAWN, over))
            stack.pop_all()
        return cast(DrawnLabels, left)  # for whoever reads rows


class LabelsLeft:
    """Labels without what others label, read as they are read themselves: rows of class ids. A context manager."""

    def __init__(self, labels: Raster | DrawnLabels, others: DrawnLabels):
        self._labels, self._others = labels, others

    def __enter__(self) -> "LabelsLeft":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._labels.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._labels, name)

    def read_label_rows(self, first: int, end: int) -> np.ndarray:
        """The class ids of full rows, uint8 HW; NODATA also where the others have a label."""
        taken = self._others.read_label_rows(first, end) != NODATA
        return np.where(taken, np.uint8(NODATA), self._labels.read_label_rows(first, end))


def label_files(label: Path | Sequence[Path] | LabelFiles, rules: DrawingRules = AS_DRAWN) -> LabelFiles:
    """One file or several as LabelFiles; those that are stay as they are."""
    if isinstance(label, LabelFiles):
        return label
    return LabelFiles((Path(label),) if isinstance(label, str | Path) else tuple(map(Path, label)), rules)
