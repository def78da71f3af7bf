"""Which class a drawn feature has: by a field of ids or names, or by the name of its file or layer."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.errors import InputError, SettingError, known, listed, meant
from jingwei.legend import NODATA, Legend
from jingwei.polygons.layers import name_encoding
from jingwei.raster.label_values import UNKNOWN, ids_of_values

NONE = -2  # nobody has written a class yet
IDS = "class_id"  # the field that has ids, whatever values the legend's classes have in rasters: ours have it
NAMES = ("class_name", "name")  # fields that say in words what the ids are, where both are there
USUAL = ("label", IDS, "class", "class_name")  # the fields that have the classes, in that order, where they are there
NUMBERS = {"id", "fid", "ogc_fid", "gid", "objectid", "object_id", "uid", "rank"}  # of features: they say no class
Names = tuple[dict[str, int], dict[str, int]]  # the classes by their very names, and by what people make of these
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
            remedy = _if_misread(path, columns) + known(columns, field)
            raise SettingError("`label_field`", f"{path} has no field {field!r}", remedy)
        return _strict(path, by_name[field.lower()], columns, legend)
    usual = [by_name[name] for name in USUAL if name in by_name]
    filled = next((name for name in usual if not all(is_empty(value) for value in columns[name])), None)
    if usual:
        found = _strict(path, filled or usual[0], columns, legend)
        if filled and filled.lower() == IDS:
            _refuse_other_names(path, found.ids, columns, legend)
        return found
    for name in (layer, path.stem, path.stem.rpartition("_label_")[2]):
        if name and (land_class := _class_named(name, _names(legend))) is not None:
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
    remedy = f"{_if_misread(path, [*columns, *words])}{remedy}: ids or names, {known(legend.names, *words)}"
    raise SettingError(path, problem, remedy)


def _strict(path: Path, name: str, columns: dict[str, np.ndarray], legend: Legend) -> Classes:
    """The classes that a field says. InputError for those that the legend doesn't know, with their features."""
    ids, unknown = _ids(columns[name], legend, name)
    if unknown:
        strange = [f"{value!r} ({_count(number)})" for value, number in unknown.most_common()]
        problem = f"field {name} has classes that legend {legend.name} does not know: {listed(strange)}"
        words = [str(value) for value in unknown]
        remedy = _if_misread(path, words) + meant(legend.names, words) + known(legend.ids_and_names)
        raise InputError(path, problem, remedy)
    return Classes(ids, f"field {name}")


def _if_misread(path: Path, texts: Iterable[str]) -> str:
    """What comes first in a remedy where the texts of a shapefile may be of an encoding that it does not say."""
    said = path.suffix.lower() != ".shp" or path.with_suffix(".cpg").exists()
    return "" if said or all(map(str.isascii, texts)) else f"if its texts look wrong here, {name_encoding(path)}; "


def _refuse_other_names(path: Path, ids: np.ndarray, columns: dict[str, np.ndarray], legend: Legend) -> None:
    """Raises InputError where features have other classes by their ids than by a name: in QGIS people see the names."""
    names = _names(legend)
    for field in (column for column in columns if column.lower() in NAMES):
        values = columns[field].tolist()
        said = {value: _class_named(value, names) for value in {each for each in values if isinstance(each, str)}}
        by_name = [said.get(value) if isinstance(value, str) else None for value in values]
        other = [k for k, found in enumerate(by_name) if found is not None and ids[k] not in (found, NONE)]
        if other:
            example = f"{ids[other[0]]} and {values[other[0]]!r}"
            problem = f"has other classes in {IDS} than in {field}: of {_count(len(other))}, such as {example}"
            raise InputError(path, problem, "say by `label_field` which of the two is right, or correct one")


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


def _id(value, names: Names, of_values: np.ndarray) -> int:
    text = str(value).strip()
    if (named := _class_named(text, names)) is not None:
        return named
    number = re.fullmatch(r"(\d{1,3})(?:\.0*)?", text)
    return int(of_values[int(number[1])]) if number and int(number[1]) <= NODATA else UNKNOWN


def is_empty(value) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (np.ndim(value) == 0 and bool(value != value))  # lists too are in fields


def _class_named(name: str, names: Names) -> int | None:
    """The class of a name as people may write it; one that several classes could have is only that of the very name."""
    exact, plain = names
    return exact.get(name.strip(), plain.get(_plain(name)))


def _names(legend: Legend) -> Names:
    """The classes by name, and by what `_plain` makes of that where it is of one class alone."""
    plain = [_plain(name) for name in legend.names]
    exact = {name.strip(): number for number, name in enumerate(legend.names)}
    return exact, {name: number for number, name in enumerate(plain) if plain.count(name) == 1}


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
