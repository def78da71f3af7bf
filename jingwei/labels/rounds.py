"""The labels of the label loop in a scene's folder: `round_1.gpkg`, `round_2.gpkg` ..., and `next.gpkg`."""

import re
from pathlib import Path

import numpy as np

from jingwei.errors import InputError
from jingwei.labels.classes import is_empty
from jingwei.polygons.layers import LABELS, VectorLayer, read_layer
from jingwei.polygons.opening import file_and_layer
from jingwei.polygons.reading import read_notes
from jingwei.raster.identity import files_of_vector
from jingwei.system.digests import digest_of

NEXT = "next.gpkg"  # the places to label next
FIELD, GUESS = "label", "guess"  # where people write a class; what the map says, which is no label
TAKEN = "JINGWEI_TAKEN"  # the note of a round that says of which file it was made


def round_files(folder: Path) -> dict[int, Path]:
    """Number -> file of the rounds that are there, the first one first. InputError where two have one number."""
    found = ((re.fullmatch(r"round_(\d+)\.gpkg", path.name), path) for path in folder.glob("round_*.gpkg"))
    rounds: dict[int, Path] = {}
    for number, path in sorted((int(match[1]), path) for match, path in found if match):
        if number in rounds:
            problem = f"is round {number}, and so is {rounds[number].name}"
            raise InputError(path, problem, "give one of them another number; later rounds lie above earlier ones")
        rounds[number] = path
    return rounds


def labelled_files(folder: Path) -> tuple[Path, ...]:
    """The files with labels, later rounds after earlier ones: `next.gpkg` too, where somebody has written one in it
    and no round was made of it.
    """
    rounds, places = tuple(round_files(folder).values()), folder / NEXT
    written = places.is_file() and is_labelled(read_layer(places, needed=LABELS)).any()
    return (*rounds, places) if written and not round_made_of(folder, mark_of(places)) else rounds


def mark_of(source: Path) -> str:
    """What the note TAKEN says of a vector file: the digests of all that it is read from, and the layer if named."""
    file, named = file_and_layer(source)
    digests = [number for each in files_of_vector(file) for number in digest_of(each)]
    return " ".join(map(str, (*digests, *([named] if named else []))))


def round_made_of(folder: Path, mark: str) -> Path | None:
    """The round that was made of the file of a mark."""
    return next((path for path in round_files(folder).values() if read_notes(path).get(TAKEN) == mark), None)


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
