"""GeoParquet, read by pyarrow: GDAL as it comes with Python's packages has no driver for it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jingwei.errors import InputError, SettingError
from jingwei.system.extras import install_hint
from jingwei.system.own_files import misfit

AGAIN = "export it as .gpkg"
GEO = b"geo"  # the entry of a file's metadata that says which columns are geometries
USUAL_CRS = "OGC:CRS84"  # of files that say none, by the specification (1.1); those without a place say null


class ParquetFields(NamedTuple):
    """What a file holds besides geometries: its fields by name, its CRS as text or None, how many features it has."""

    columns: dict[str, np.ndarray]
    crs: str | None
    size: int


def is_meant(path: Path, layer: str | None) -> bool:
    """Whether a path names such a file. InputError for a layer of one: these files have none."""
    if path.suffix.lower() != ".parquet":
        return False
    if layer is not None:
        raise InputError(path, f"has no layer {layer!r}: GeoParquet has none", "name the file alone")
    return True


def read_fields(path: Path) -> ParquetFields:
    """The fields of a file that are numbers, texts or the like. InputError for what is not GeoParquet."""
    with _opened(path) as file:
        column, about = _geometry_column(file)
        schema = file.schema_arrow
        wanted = [field.name for field in schema if field.name != column and _is_plain(field.type)]
        table = file.read(columns=wanted)
        columns = {name: table.column(name).to_numpy() for name in wanted}
        crs = about.get("crs", USUAL_CRS)
        return ParquetFields(columns, None if crs is None else _as_text(crs), file.metadata.num_rows)


def read_wkb(path: Path, batch: int) -> Iterator[np.ndarray]:
    """The geometries of a file as WKB, at most `batch` at a time: object, None where one is missing."""
    with _opened(path) as file:
        column, _ = _geometry_column(file)
        for part in file.iter_batches(batch, columns=[column]):
            yield part.column(0).to_numpy(zero_copy_only=False)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file, open. InputError where it, or what is done with it, can't be read; SettingError without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        remedy = f"{install_hint('parquet')}, or {AGAIN}"
        raise SettingError(path, "GeoParquet needs pyarrow", remedy) from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(path, f"is not a GeoParquet file that can be read ({reason})", AGAIN) from error


def _geometry_column(file: Any) -> tuple[str, dict]:
    """The column of the geometries, and what the file says of it. ValueError where it says nothing that can be used."""
    about = json.loads((file.schema_arrow.metadata or {}).get(GEO, b"{}"))
    if misfit({"primary_column": str, "columns": dict}, about):
        raise ValueError("it does not say which column has the geometries")
    name = about["primary_column"]
    if name not in file.schema_arrow.names or misfit({name: {"encoding": str}}, about["columns"]):
        raise ValueError("it does not say how its geometries are written")
    found = about["columns"][name]
    if found["encoding"] != "WKB":
        raise ValueError(f"its geometries are not WKB, but {found['encoding']}")
    return name, found


def _as_text(crs: Any) -> str:
    """A CRS by its authority's name, where PROJJSON has one, else as it is."""
    if isinstance(crs, str):
        return crs
    named = misfit({"id": {"authority": str, "code": int | str}}, crs) is None
    return f"{crs['id']['authority']}:{crs['id']['code']}" if named else json.dumps(crs)


def _is_plain(kind: Any) -> bool:
    """Whether values of a type are numbers, texts, truth values or dates: no lists, structures or bytes."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    tests = (types.is_integer, types.is_floating, types.is_string, types.is_large_string, types.is_boolean)
    return any(test(kind) for test in (*tests, types.is_temporal))
