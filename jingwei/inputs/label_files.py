"""The files that a scene's labels are in: a raster, or one or several vector files and how these are to be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jingwei.errors import InputError
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.legend import Legend
from jingwei.polygons.layers import is_vector
from jingwei.polygons.opening import file_and_layer
from jingwei.raster.reading import Raster, open_labels


@dataclass(frozen=True)
class LabelFiles:
    """A raster of labels; or drawn ones, in files of which later ones lie above earlier ones, and their rules."""

    files: tuple[Path, ...]
    rules: DrawingRules = AS_DRAWN

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
        return tuple(dict.fromkeys(file_and_layer(file)[0] for file in (*self.files, *areas)))

    @property
    def reading(self) -> dict:
        """The settings that change what is read, in JSON's types."""
        if not self.drawn:
            return {}
        named = [*self.files, *([self.rules.labelled] if self.rules.labelled else [])]
        return {"drawn": self.rules.facts, "layers": [file_and_layer(file)[1] for file in named]}

    def open(self, legend: Legend, over: Any) -> Raster | DrawnLabels:
        """The labels, to be read: class ids. `over` is the raster that they belong to, open: its grid is theirs."""
        return DrawnLabels(self.files, legend, self.rules, over) if self.drawn else open_labels(self.path, legend)


def label_files(label: Path | Sequence[Path] | LabelFiles, rules: DrawingRules = AS_DRAWN) -> LabelFiles:
    """One file or several as LabelFiles; those that are stay as they are."""
    if isinstance(label, LabelFiles):
        return label
    return LabelFiles((Path(label),) if isinstance(label, str | Path) else tuple(map(Path, label)), rules)
