"""A stratified sample of a map for people to label, and what it says when it comes back.

Blind: a point doesn't say which class the map has there, and points come in random order, so that nobody is led by the
map. When the labels are back, the map itself is asked; its class areas are kept in the file, and must still hold.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely

from jingwei import grid
from jingwei.errors import InputError, SettingError
from jingwei.evaluation.accuracy import Accuracy, allocate, assess
from jingwei.evaluation.areas import Areas, measure_areas
from jingwei.evaluation.certificate import Points
from jingwei.labels.classes import classes_of
from jingwei.legend import NODATA, Legend
from jingwei.polygons.reading import read_features, read_notes
from jingwei.polygons.styles import class_style
from jingwei.polygons.writing import vector_writer
from jingwei.raster.checked import checked_strips, open_map
from jingwei.raster.georeference import moved, on_raster, placed, vector_transform
from jingwei.raster.reading import Raster
from jingwei.system.compiled import compiled
from jingwei.system.own_files import parse_json
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress

STRATA = "JINGWEI_STRATA"  # the note with the map's pixels per class when the sample was drawn
FIELD = "label"  # where people write a class, by name or id


def draw_sample(
    source: Path, target: Path, legend: Legend, points: int, *, seed: int = 0, strip_rows: int = 256, progress=Progress
) -> np.ndarray:
    """Draws a stratified random sample of a label map and writes it as points in a GeoPackage.

    The strata are the map's classes; `accuracy.allocate` shares the points out, and every pixel of a class has the same
    chance. A point lies at its pixel's centre and has `id`, `row`, `col` and an empty `label`. Returns the points per
    class (int64). Raises SettingError where the file is there, as it may hold somebody's work, and for too few points.
    """
    target = Path(target)
    if target.exists():
        raise SettingError(target, "is there already, perhaps with labels", "score it, or move it away first")
    if target.suffix.lower() != ".gpkg":
        raise SettingError(target, "is not a GeoPackage", "name it .gpkg")
    areas, _ = measure_areas(source, legend, strip_rows=strip_rows, progress=progress)
    classes = int(np.count_nonzero(areas.pixels))
    if not classes:
        raise InputError(source, "has no pixel of any class", "give a map of classes")
    if points < 2 * classes:
        problem = f"is {points}, but {source} has {classes} classes, and each needs two points to be scored"
        raise SettingError("`sample`", problem, f"take {2 * classes} or more")
    shares = allocate(areas.pixels, points)
    generator = np.random.PCG64(np.random.SeedSequence(seed))
    wanted = [np.sort(_draw(generator, int(have), int(take))) for have, take in zip(areas.pixels, shares, strict=True)]
    begins = np.concatenate([[0], np.cumsum(shares)])
    places = np.full((begins[-1], 2), -1, np.int64)
    ordinals, met, found = np.concatenate(wanted), np.zeros(256, np.int64), begins[:-1].copy()
    with open_map(source, legend) as labels:
        rows = grid.strips(labels.height, strip_rows)
        for (top, _), strip in zip(rows, ahead(checked_strips(labels, legend, strip_rows)), strict=True):
            _find(strip, top, ordinals, begins, met, found, places)
        assert (found == begins[1:]).all()
        places = places[np.argsort(generator.random_raw(len(places)), kind="stable")]
        x, y = placed(vector_transform(labels.transform), places[:, 1] + 0.5, places[:, 0] + 0.5)
        columns = {"id": int, "row": int, "col": int, FIELD: str}
        what: dict[str, Any] = {"crs": labels.crs, "notes": {STRATA: json.dumps(areas.pixels.tolist())}}
        what |= {"date": _date(source), "style": class_style("Point", legend, range(len(legend)), FIELD, form=True)}
        with vector_writer(target, "Point", columns, **what) as writer:
            values: dict[str, Any] = {"id": np.arange(len(places)) + 1, "row": places[:, 0], "col": places[:, 1]}
            values[FIELD] = [None] * len(places)
            writer.write(shapely.to_wkb(shapely.points(x, y)), values)
    return shares


def _date(source: Path) -> float | None:
    return Path(source).stat().st_mtime if Path(source).exists() else None


def _draw(generator: np.random.PCG64, have: int, take: int) -> np.ndarray:
    """`take` different numbers below `have`, from raw bits: numpy promises that their stream stays the same."""
    if have < 4 * take:
        return np.argsort(generator.random_raw(have), kind="stable")[:take] if have else np.zeros(0, np.int64)
    drawn: dict[int, None] = {}
    while len(drawn) < take:
        drawn[int(generator.random_raw()) % have] = None
    return np.array(list(drawn), np.int64)


@compiled
def _find(strip, top, ordinals, begins, met, found, places):
    """Notes the places (row, column) of the pixels that are drawn: `ordinals` count those of each class, down the map.

    `met` are the pixels of each class so far, `found` the next ordinal of each.
    """
    for r in range(strip.shape[0]):
        c = 0
        while c < strip.shape[1]:
            label, start = strip[r, c], c
            while c < strip.shape[1] and strip[r, c] == label:
                c += 1
            if label == NODATA:
                continue
            while found[label] < begins[label + 1] and ordinals[found[label]] < met[label] + c - start:
                places[found[label], 0] = top + r
                places[found[label], 1] = start + ordinals[found[label]] - met[label]
                found[label] += 1
            met[label] += c - start


class Scored(NamedTuple):
    """What a labelled sample says of a map: `counts` int64 [class on the map, true class]; points without a label.

    `points` are those with one, at `places` (int64, row and column) of the map.
    """

    counts: np.ndarray
    areas: Areas
    accuracy: Accuracy
    unlabelled: int
    points: Points
    places: np.ndarray


def score_sample(
    sample: Path, source: Path, legend: Legend, *, gsd: float | None = None, strip_rows: int = 256, progress=Progress
) -> Scored:
    """Scores a map by a sample that people have labelled. Points without a label are left out, and counted.

    Takes any vector file of points with a field `label`. Raises InputError for labels that the legend doesn't know,
    points outside the map, a map that is not the one of the sample, and classes with fewer than two labelled points.
    """
    shapes, columns, crs = read_features(sample, "Point")
    if FIELD not in columns:
        raise InputError(sample, f"has no field {FIELD!r}", "score the file that `sample` drew")
    if (shapely.get_type_id(shapes) != 0).any() or shapely.is_empty(shapes).any():
        raise InputError(sample, "has geometries that are not points", "score the file that `sample` drew")
    ids, _ = classes_of(sample, None, columns, len(shapes), legend.without_values(), FIELD)
    truth = np.where(ids == NODATA, -1, ids).astype(np.int64)
    labelled = truth >= 0
    areas, _ = measure_areas(source, legend, gsd=gsd, strip_rows=strip_rows, progress=progress)
    strata = read_notes(sample).get(STRATA)
    remedy = "score the map that it was drawn from, or draw a new sample"
    if strata is not None and parse_json(strata, sample, remedy=remedy) != areas.pixels.tolist():
        problem = f"was drawn from another map than {source}, or it has changed since"
        raise InputError(sample, problem, remedy)
    counts = np.zeros((len(legend), len(legend)), np.int64)
    with open_map(source, legend) as labels:
        x, y = moved(shapely.get_coordinates(shapes[labelled]), crs, labels.crs, sample).T
        cols, rows = (np.floor(values).astype(np.int64) for values in on_raster(labels.transform, x, y))
        outside = (rows < 0) | (cols < 0) | (rows >= labels.height) | (cols >= labels.width)
        if outside.any():
            problem = f"{outside.sum()} points lie outside {source}"
            raise InputError(sample, problem, "name the map that it was drawn from")
        places = np.stack([rows, cols], axis=1)
        mapped = read_at(labels, places, strip_rows).astype(np.int64)
    if (mapped == NODATA).any():
        problem = f"{(mapped == NODATA).sum()} points lie where {source} has no class"
        raise InputError(sample, problem, "name the map that it was drawn from")
    np.add.at(counts, (mapped, truth[labelled]), 1)
    for land_class in legend.classes:
        have, pixels = counts[land_class.id].sum(), areas.pixels[land_class.id]
        if have < min(2, pixels):
            problem = f"has {have} labelled points where the map says {land_class.name}"
            raise InputError(sample, problem, "label two at least in each class of the map, or its only pixel")
    points = Points(mapped, truth[labelled])
    return Scored(counts, areas, assess(counts, areas.pixels), int((~labelled).sum()), points, places)


def read_at(labels: Raster, places: np.ndarray, strip_rows: int = 256) -> np.ndarray:
    """The values (uint8) of a raster of one band at places (int64, row and column)."""
    rows, cols = places.T
    values = np.empty(len(rows), np.uint8)
    for first, end in grid.strips(labels.height, strip_rows):
        here = (rows >= first) & (rows < end)
        if here.any():
            values[here] = labels.read_label_rows(first, end)[rows[here] - first, cols[here]]
    return values


def accuracy_table(scored: Scored, legend: Legend) -> str:
    """A line per class: mapped and estimated area, user's and producer's accuracy, each with its 95 % interval."""
    width = max(len(name) for name in (*legend.names, "accuracy"))
    areas, accuracy = scored.areas, scored.accuracy
    in_hectares = areas.hectares is not None
    mapped = areas.pixels if areas.hectares is None else areas.hectares
    total, unit, digits = mapped.sum(), "ha" if in_hectares else "px", 2 if in_hectares else 0
    head = f"{'class':{width}} {f'mapped {unit}':>15} {f'estimated {unit}':>15} {'+-':>13}"
    lines = [f"{head}  {'users':>13}  {'producers':>13} {'points':>7}"]
    for land_class in legend.classes:
        k = land_class.id
        area = total * accuracy.area.value[k], total * accuracy.area.margin[k]
        cells = [_spell(e.value[k], e.margin[k]) for e in (accuracy.users, accuracy.producers)]
        lines.append(
            f"{land_class.name:{width}} {mapped[k]:15,.{digits}f} {area[0]:15,.{digits}f} {area[1]:13,.{digits}f}"
            f"  {cells[0]}  {cells[1]} {scored.counts[k].sum():7d}"
        )
    overall = _spell(float(accuracy.overall.value), float(accuracy.overall.margin))
    lines.append(f"{'accuracy':{width}} {overall:>15}")
    if scored.unlabelled:
        lines.append(f"{scored.unlabelled} points have no label yet and are left out")
    return "\n".join(lines)


def _spell(value: float, margin: float) -> str:
    return f"{'-':>13}" if np.isnan(value) else f"{value:.3f} +- {margin:.3f}"


def accuracy_numbers(scored: Scored, legend: Legend) -> dict:
    """The same as plain numbers, for JSON."""
    accuracy, areas = scored.accuracy, scored.areas
    classes = {}
    for land_class in legend.classes:
        k = land_class.id
        row: dict[str, int | float | None] = {
            "mapped_pixels": int(areas.pixels[k]),
            "points": int(scored.counts[k].sum()),
        }
        for unit, total in (("pixels", areas.pixels.sum()), ("hectares", areas.hectares)):
            if total is not None:
                row[f"estimated_{unit}"] = float(np.sum(total) * accuracy.area.value[k])
                row[f"estimated_{unit}_margin"] = float(np.sum(total) * accuracy.area.margin[k])
        for name, estimate in (("users", accuracy.users), ("producers", accuracy.producers)):
            row[name] = None if np.isnan(estimate.value[k]) else float(estimate.value[k])
            row[f"{name}_margin"] = None if np.isnan(estimate.margin[k]) else float(estimate.margin[k])
        classes[land_class.name] = row
    overall = {"accuracy": float(accuracy.overall.value), "accuracy_margin": float(accuracy.overall.margin)}
    return overall | {"unlabelled": scored.unlabelled, "classes": classes, "counts": scored.counts.tolist()}
