"""Stamps: whether an output was made from the same inputs, with the same settings and version, and is kept."""

import hashlib
import json
from pathlib import Path

from jingwei.errors import InputError
from jingwei.raster.identity import identity
from jingwei.raster.reading import Raster, read_tags
from jingwei.version import VERSION

STAMP = "JINGWEI_STAMP"  # the tag under which an output keeps the hash of its inputs and settings
SCORE = "JINGWEI_SCORE"  # the tag under which a prediction keeps its model's validation mIoU

PART = "JINGWEI_PART"  # the tag of a map of only a part of its scene: the share of the windows that were predicted

CONFIDENCE = "JINGWEI_CONFIDENCE"  # the tag under which a confidence says what it is: see docs/formats.md
AGREEMENT = "agreement"  # what it says of a plain vote's

FILLED = "JINGWEI_FILLED"  # the tag under which a filled map keeps the stamp of the map that was filled


def refuse_part(raster: Raster) -> None:
    """Raises InputError for a map of only a part of its scene: what it leaves out would count as no data."""
    if PART in raster.tags:
        problem = f"is only a part of a map ({100 * float(raster.tags[PART]):g} % of the windows), for label.py alone"
        raise InputError(raster.path, problem, "run predict.py without `part` for the whole")


def read_score(path: Path) -> float:
    """The validation mIoU that a prediction's model had; -1 where the file doesn't say."""
    return float(read_tags(path).get(SCORE, -1))


def up_to_date(path: Path, mark: str) -> bool:
    """Whether an output is there and was made from the same inputs with the same settings."""
    try:
        return path.exists() and read_tags(path).get(STAMP) == mark
    except InputError:  # somebody else broke it: it is made again
        return False


def is_stamped(path: Path) -> bool:
    """Whether a file is there that this library wrote."""
    try:
        return path.exists() and STAMP in read_tags(path)
    except InputError:
        return False


def remove_stale(path: Path, mark: str) -> None:
    """Deletes a file that this library wrote from other inputs or with other settings; all others stay."""
    if is_stamped(path) and not up_to_date(path, mark):
        path.unlink()


def stamp(*inputs: Path, **settings) -> str:
    """A hash of inputs (see `identity`), settings and this library's version: outputs that carry it are kept.

    Raises InputError where an input is missing.
    """
    text = json.dumps([VERSION, [identity(path) for path in inputs], settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
