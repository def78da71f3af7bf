"""Which class a drawn feature has: by a field of ids or names, or by the name of its file or layer."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.errors import InputError, SettingError, known, listed, meant
from jingwei.legend import NODATA, Legend
from jingwei.raster.label_values import UNKNOWN, ids_of_values

NONE = -2  # nobody has written a class yet
IDS = "class_id"  # the field that has ids, whatever values the legend's classes have in rasters: ours have it
USUAL = ("label", IDS, "class", "class_name")  # the fields that have the classes, in that order, where they are there
NUMBERS = {"id", "fid", "ogc_fid", "gid", "objectid", "object_id", "uid", "rank"}  # of features: they say no class
COMPARED = 8  # values of a field: enough to say which class was meant


class Classes(NamedTuple):
    """The class of each feature (int16: an id, NODATA for no label, NONE), and what says it, in words."""

    ids: np.ndarray
    by: str


def classes_of(
    path: Path, layer: str | None, columns: dict[str, np.ndarray], count: int, legend: Legend, field: str | None
) -> Classes:
    """The classes of the features of a file.

    By the `field` that is named; else by the first of USUAL that has a value; else by the name of the layer or the
    file, where that is a class; else by the only field whose values are all classes. Raises SettingError where there is
    no such field, or several say different things, InputError for classes that the legend doesn't know.
    """
    by_name = {name.lower(): name for name in columns}
    if field is not None:
        if field.lower() not in by_name:
            raise SettingError("`label_field`", f"{path} has no field {field!r}", known(columns, field))
        return _strict(path, by_name[field.lower()], columns, legend)
    usual = [by_name[name] for name in USUAL if name in by_name]
    filled = next((name for name in usual if not all(is_empty(value) for value in columns[name])), None)
    if usual:
        return _strict(path, filled or usual[0], columns, legend)
    for name in (layer, path.stem, path.stem.rpartition("_label_")[2]):
        if name and (land_class := _names(legend).get(_plain(name))) is not None:
            return Classes(np.full(count, land_class, np.int16), f"its name, {name}")
    return _strict(path, _the_field_that_fits(path, columns, legend), columns, legend)


def _the_field_that_fits(path: Path, columns: dict[str, np.ndarray], legend: Legend) -> str:
    candidates = [name for name in columns if name.lower() not in NUMBERS]
    ids = {name: _ids(columns[name], legend, name)[0] for name in candidates}
    fitting = [name for name in candidates if UNKNOWN not in ids[name] and (ids[name] != NONE).any()]
    if fitting and all((ids[name] == ids[fitting[0]]).all() for name in fitting):
        return fitting[0]
    remedy = "name the one with the classes by `label_field`"
    if fitting:
        raise SettingError(path, f"several fields could have the classes ({', '.join(fitting)})", remedy)
    part = {name: np.mean(ids[name] >= 0) for name in candidates if len(ids[name])}
    nearest = max(part, key=lambda name: part[name], default=None)
    if nearest is not None and part[nearest] >= 0.5:
        return nearest
    have = f"its fields are {', '.join(columns)}" if columns else "it has no fields"
    words = [str(value) for name in candidates for value in columns[name][:COMPARED] if isinstance(value, str)]
    problem = f"no field has classes of legend {legend.name} ({have})"
    raise SettingError(path, problem, f"{remedy}: ids or names, {known(legend.names, *words)}")


def _strict(path: Path, name: str, columns: dict[str, np.ndarray], legend: Legend) -> Classes:
    """The classes that a field says. InputError for those that the legend doesn't know, with their features."""
    ids, unknown = _ids(columns[name], legend, name)
    if unknown:
        strange = [f"{value!r} ({_count(number)})" for value, number in unknown.most_common()]
        problem = f"field {name} has classes that legend {legend.name} does not know: {listed(strange)}"
        remedy = meant(legend.names, map(str, unknown)) + known(legend.ids_and_names)
        raise InputError(path, problem, remedy)
    return Classes(ids, f"field {name}")


def _count(features: int) -> str:
    return f"{features:,d} feature{'s' if features != 1 else ''}"


def _ids(values: np.ndarray, legend: Legend, field: str) -> tuple[np.ndarray, Counter]:
    """The class that each value says (int16; UNKNOWN, NONE), and the unknown values with their features."""
    of_values = ids_of_values(legend.without_values() if field.lower() == IDS else legend)
    names = _names(legend)
    found: dict[object, int] = {}
    unknown: Counter = Counter()
    ids = np.empty(len(values), np.int16)
    for k, value in enumerate(values.tolist()):
        key = value if isinstance(value, str | int | float) else str(value)
        if key not in found:
            found[key] = NONE if is_empty(value) else _id(value, names, of_values)
        ids[k] = found[key]
        if ids[k] == UNKNOWN:
            unknown[key] += 1
    return ids, unknown


def _id(value, names: dict[str, int], of_values: np.ndarray) -> int:
    text = str(value).strip()
    if (named := names.get(_plain(text))) is not None:
        return named
    number = re.fullmatch(r"(\d{1,3})(?:\.0*)?", text)
    return int(of_values[int(number[1])]) if number and int(number[1]) <= NODATA else UNKNOWN


def is_empty(value) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (np.ndim(value) == 0 and bool(value != value))  # lists too are in fields


def _names(legend: Legend) -> dict[str, int]:
    """The classes by name, as people may write it."""
    return {_plain(name): number for number, name in reversed(list(enumerate(legend.names)))}


def _plain(name: str) -> str:
    """A name without what people write in several ways: capitals, and what stands between words."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def uses_of(path: Path, columns: dict[str, np.ndarray], count: int, uses: Iterable[str]) -> np.ndarray:
    """The `use` of each area, object: one of `uses` or "". InputError for other words."""
    name = next((name for name in columns if name.lower() == "use"), None)
    if name is None:
        return np.full(count, "", object)
    alike = {"training": "train", "valid": "validation", "val": "validation"}
    words = ["" if is_empty(value) else str(value).strip().lower() for value in columns[name].tolist()]
    words = [alike.get(word, word) for word in words]
    strange = Counter(word for word in words if word and word not in uses)
    if strange:
        shown = listed([f"{word!r} ({_count(number)})" for word, number in strange.most_common()])
        raise InputError(path, f"field use has other words than uses: {shown}", known(uses, *strange))
    return np.array(words, object)
