"""The labels of the label loop in a scene's folder: `round_1.gpkg`, `round_2.gpkg` ..., and `next.gpkg`."""

import re
from pathlib import Path

import numpy as np

from jingwei.errors import InputError
from jingwei.labels.classes import is_empty
from jingwei.polygons.layers import LABELS, VectorLayer, read_layer

NEXT = "next.gpkg"  # the places to label next
FIELD, GUESS = "label", "guess"  # where people write a class; what the map says, which is no label


def round_files(folder: Path) -> dict[int, Path]:
    """Number -> file of the rounds that are there, the first one first."""
    found = ((re.fullmatch(r"round_(\d+)\.gpkg", path.name), path) for path in folder.glob("round_*.gpkg"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def labelled_files(folder: Path) -> tuple[Path, ...]:
    """The files with labels, later rounds after earlier ones: `next.gpkg` too, where somebody has written one in it."""
    places = folder / NEXT
    written = places.is_file() and bool(is_labelled(read_layer(places, needed=LABELS)).any())
    return (*round_files(folder).values(), *([places] if written else []))


def is_of_rounds(layer: VectorLayer) -> bool:
    """Whether a layer is of a round or of `next.gpkg`, by its name and its file's: others too may be named `labels`."""
    ours = layer.path.name == NEXT or re.fullmatch(r"round_\d+\.gpkg", layer.path.name)
    return bool(ours) and layer.layer == LABELS and (FIELD in layer.columns or GUESS in layer.columns)


def is_labelled(layer: VectorLayer) -> np.ndarray:
    """Which features of a layer have something in the field `label`, bool. InputError where there is no such field."""
    if FIELD not in layer.columns:
        problem = f"layer {layer.layer} has no field {FIELD!r} any more"
        raise InputError(layer.path, problem, "add it, a text, or delete the file and run label.py again")
    return np.array([not is_empty(value) for value in layer.columns[FIELD].tolist()], bool)
