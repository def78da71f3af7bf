"""What a labelled sample lets one state of a map, in words that can be signed: `certificate.py` on files."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jingwei.errors import InputError, SettingError
from jingwei.evaluation.certificate import (
    ASSURANCE,
    Bounds,
    Certified,
    Comparison,
    accuracy_bounds,
    certified_part,
    compare,
    error_at_most,
    points_to_halve,
    users_bounds,
)
from jingwei.evaluation.sampling_design import Scored, read_at
from jingwei.grid import strips
from jingwei.legend import NODATA, Legend
from jingwei.raster.checked import open_map
from jingwei.raster.reading import Raster, open_labels
from jingwei.raster.same_place import check_same_grid

MOST = 100  # of a confidence, in percent
_ASSURED = f"{ASSURANCE:.0%} assurance"


class Statement(NamedTuple):
    """What holds of a map: bounds of its accuracy, of each class's user's accuracy, and what is at most wrong.

    `part` is the surest part of the map of which at most `alpha` is wrong: None where none is, or where the map says
    nothing of its confidence (`knows_confidence`). `against` is how another map fares on the same points.
    """

    accuracy: Bounds
    users: list[Bounds]
    error: float
    alpha: float
    knows_confidence: bool
    part: Certified | None
    further_points: int
    against: Comparison | None


def state(
    scored: Scored,
    source: Path,
    legend: Legend,
    alpha: float = 0.05,
    *,
    confidence: Path | None = None,
    other: Path | None = None,
    strip_rows: int = 256,
) -> Statement:
    """What a scored sample says of the map that it was drawn from.

    `confidence` is a raster of 0 to 100 on the map's grid, `other` a map on it to compare with. Raises SettingError for
    an `alpha` that is not a share, InputError for rasters that lie elsewhere or hold something else.
    """
    if not 0 < alpha < 1:
        raise SettingError("`alpha`", f"is {alpha:g}", "give the share of wrong pixels that you accept, as 0.05")
    points, pixels = scored.points, scored.areas.pixels
    part = against = None
    with open_map(source, legend) as labels:
        if confidence:
            with open_labels(confidence) as sure:
                check_same_grid(sure, labels)
                counts = _by_confidence(labels, sure, len(legend), strip_rows)
                values = np.where((v := read_at(sure, scored.places, strip_rows)) == NODATA, 0, v).astype(np.int64)
            part = certified_part(points._replace(confidence=values), counts, alpha)
        if other:
            with open_map(other, legend) as second:
                check_same_grid(second, labels)
                right = read_at(second, scored.places, strip_rows) == points.truth
            against = compare(points, right, pixels)
    return Statement(
        accuracy_bounds(points, pixels),
        users_bounds(points, len(legend)),
        error_at_most(points, pixels),
        alpha,
        confidence is not None,
        part,
        points_to_halve(len(points.truth)),
        against,
    )


def _by_confidence(labels: Raster, sure: Raster, classes: int, strip_rows: int) -> np.ndarray:
    """The map's pixels, int64 [class, confidence 0 to 100]; those without a confidence count as 0."""
    counts = np.zeros((256, 256), np.int64)
    for first, end in strips(labels.height, strip_rows):
        both = labels.read_label_rows(first, end).astype(np.uint16) << 8 | sure.read_label_rows(first, end)
        counts += np.bincount(both.ravel(), minlength=1 << 16).reshape(256, 256)
    counts = counts[:classes]
    if counts[:, MOST + 1 : NODATA].any():
        highest = int(np.flatnonzero(counts[:, :NODATA].any(axis=0))[-1])
        raise InputError(
            sure.path, f"holds {highest}, but a confidence is a percentage, 0 to 100", "name the map's confidence"
        )
    counts[:, 0] += counts[:, NODATA]
    return counts[:, : MOST + 1]


def statement_table(statement: Statement, legend: Legend, other: Path | None = None) -> str:
    """The statement in sentences, and a line per class with the bounds of its user's accuracy."""
    width = max(len(name) for name in legend.names)
    lines = [f"user's accuracy between, each with {_ASSURED} (exact):"]
    for land_class, (low, high) in zip(legend.classes, statement.users, strict=True):
        lines.append(f"{land_class.name:{width}} {low:7.3f} {high:7.3f}")
    low, high = statement.accuracy
    lines.append(f"accuracy between {low:.3f} and {high:.3f}, at most {statement.error:.1%} wrong, with {_ASSURED}")
    if statement.part:
        share, least = statement.part.share, statement.part.confidence
        part = f"{share:.1%} of the map, where its confidence is {least} or more"
        lines.append(f"certified: {part}: at most {statement.alpha:.1%} wrong there, with {_ASSURED}")
    elif statement.knows_confidence:
        lines.append(f"certified: no part of the map for {statement.alpha:.1%} wrong at most: label more points")
    lines.append(f"about {statement.further_points:,d} further labels would halve the intervals")
    if statement.against:
        difference, margin, better, worse, p = statement.against
        verdict = "better" if difference > margin else "worse" if difference < -margin else "not shown to differ"
        text = f"{other}: accuracy {difference:+.3f} +- {margin:.3f} against this map: {verdict}"
        lines.append(f"{text} (right alone at {better} points, wrong alone at {worse}, p = {p:.2g})")
    return "\n".join(lines)


def statement_numbers(statement: Statement, legend: Legend) -> dict[str, Any]:
    """The same as plain numbers, for JSON."""
    part, against = statement.part, statement.against
    return {
        "accuracy_bounds": list(statement.accuracy),
        "users_bounds": {c.name: list(b) for c, b in zip(legend.classes, statement.users, strict=True)},
        "error_at_most": statement.error,
        "alpha": statement.alpha,
        "certified": {"share": part.share, "confidence": part.confidence} if part else None,
        "further_points_to_halve": statement.further_points,
        "other": against._asdict() if against else None,
    }
