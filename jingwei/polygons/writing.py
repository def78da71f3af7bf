"""Vector files, written batch by batch, whole or not at all: GeoPackage, GeoJSON and GeoParquet.

Geometries come as WKB.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyogrio
import shapely

from jingwei.errors import OutputError, SettingError
from jingwei.polygons.opening import problem_of_name
from jingwei.polygons.styles import LAYER_STYLES
from jingwei.raster.georeference import on_earth
from jingwei.raster.styles import write_qml
from jingwei.system.atomic import room_at, whole_or_nothing
from jingwei.system.extras import install_hint
from jingwei.system.while_used import WhileUsed

STRAIGHT = 200  # metres: so long an edge bends by some millimetre between a projection and longitude and latitude
DECIMALS = 9  # of degrees: a tenth of a millimetre


@contextmanager
def _usual() -> Iterator[None]:
    """Files are written beside their place, under another ending; the contests' scenes have no place on earth."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(conform to the GPKG|non conformant file extension).*")
        warnings.filterwarnings("ignore", message="'crs' was not provided.*")
        yield


without_usual_warnings = WhileUsed(_usual)


@dataclass(frozen=True)
class Target:
    """A layer to be written, in the words of `vector_writer`. `part` is where the file grows, `path` its place."""

    part: Path
    path: Path
    kind: str
    columns: dict[str, type]
    crs: Any
    notes: dict[str, str]
    date: float | None


@contextmanager
def vector_writer(
    path: Path,
    kind: str,
    columns: Mapping[str, type],
    *,
    crs=None,
    notes: Mapping[str, str] | None = None,
    date=None,
    style: str | None = None,
) -> Iterator["GeoPackage | _GeoJson | _GeoParquet"]:
    """A file that takes features batch by batch: `write(geometries, columns)`, WKB and an array per column.

    Parameters
    ----------
    path
        Its ending says which format: one of FORMATS.
    kind
        `Polygon` or `Point`.
    columns
        Name -> type (int, float or str) of each.
    crs
        As rasters have it; None for plain pixel coordinates.
    notes
        Texts that go with the file, such as its stamp.
    date
        Seconds since 1970 for formats that keep a date, so that the same content is the same bytes; None: now.
    style
        How QGIS shows the layer (see `styles`): in the GeoPackage itself, else as a `.qml` beside the file.

    Raises SettingError for an ending or a CRS that can't be written, OutputError for a full disk.
    """
    path = Path(path)
    form = format_of(path)
    with whole_or_nothing(path) as part:
        with form(Target(part, path, kind, dict(columns), crs, dict(notes or {}), date)) as writer:
            yield writer
        if style and form is GeoPackage:
            writer.add_style(style)
    if style and form is not GeoPackage:
        write_qml(path.with_suffix(".qml"), style)


class GeoPackage:
    """Written by GDAL. The file keeps its date of change, which is set."""

    def __init__(self, target: Target, layer: str | None = None):
        self._target = target
        self._crs = target.crs.to_wkt() if target.crs else None
        if problem := problem_of_name(target.path):
            raise SettingError(target.path, problem, "take .geojson or .parquet, or another name")
        layer = layer or target.path.stem
        taken = layer.lower().startswith(TAKEN) or layer.lower() == LAYER_STYLES
        self._layer = f"_{layer}" if taken or layer.startswith(NO_BEGINNING) else layer
        changed = None if target.date is None else datetime.fromtimestamp(target.date, UTC)
        self._date = changed and changed.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, *exception):
        if not self._begun and kind is None:
            self.write([], {name: [] for name in self._target.columns})

    def write(self, geometries: Sequence[bytes], columns: Mapping[str, Sequence | np.ndarray]) -> None:
        """Adds features."""
        wkb = np.empty(len(geometries), object)
        wkb[:] = geometries
        types = {int: np.int64, float: np.float64, str: object}
        data = [np.asarray(columns[name], types[kind]) for name, kind in self._target.columns.items()]
        kept = (
            {}
            if self._begun
            else {
                "dataset_options": OLDER,
                "layer_metadata": self._target.notes,
                "layer_options": {} if self._crs else UNPLACED,
            }
        )
        where = {"layer": self._layer, "geometry_type": self._target.kind, "crs": self._crs, "append": self._begun}
        self._write(wkb, data, list(self._target.columns), **where, **kept)
        self._begun = True

    def _write(self, wkb: np.ndarray | None, data: list[np.ndarray], names: list[str], **how: Any) -> None:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": self._date})
        try:
            with without_usual_warnings:
                pyogrio.raw.write(self._target.part, wkb, data, names, driver="GPKG", **how)
        except RuntimeError as error:  # GDAL says neither the cause's number nor its kind
            raise OutputError(self._target.path, f"can't be written ({error})", room_at(self._target.path)) from error
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})

    def add_style(self, text: str, to_others: bool = False) -> None:
        """Adds a style of QGIS's as the layer's default, once all features are written. Other layers may have theirs
        there already (`to_others`).
        """
        texts = dict.fromkeys(("f_table_catalog", "f_table_schema"), "")
        texts |= {"f_table_name": self._layer, "f_geometry_column": "geom"}
        texts |= {"styleName": "classes", "styleQML": text, "styleSLD": ""}
        columns = {name: np.array([value], object) for name, value in texts.items()}
        columns |= {"useAsDefault": np.array([True]), "description": np.array([""], object)}
        columns |= {"owner": np.array([""], object), "ui": np.array([None], object)}
        columns["update_time"] = np.array([(self._date or "1970-01-01T00:00:00.000Z")[:-1]], "datetime64[ms]")
        columns["update_time"] += np.timedelta64(1, "ms")  # else GDAL leaves .000 out, and older GDAL warns of that
        new: dict[str, Any] = {"gdal_tz_offsets": {"update_time": np.array([UTC_OFFSET])}}
        new |= {} if to_others else {"layer_options": {"FID": "id"}}
        self._write(None, list(columns.values()), list(columns), layer=LAYER_STYLES, append=to_others, **new)


class _GeoJson:
    """RFC 7946, a feature per line: longitude and latitude on WGS84, outlines counter-clockwise.

    Without a CRS the coordinates stay as they are, which the format has no way to say.
    """

    def __init__(self, target: Target):
        self._path, self._columns, self._crs = target.path, target.columns, target.crs
        name = target.path.stem.encode(errors="replace").decode()
        head: dict[str, Any] = {"type": "FeatureCollection", "name": name}
        head |= {name.lower(): text for name, text in target.notes.items()}
        self._file = open(target.part, "w", encoding="utf-8", newline="\n")  # noqa: SIM115
        self._file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [')
        self._comma = "\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, *exception):
        try:
            if kind is None:
                self._file.write("\n]}\n")
        finally:
            self._file.close()

    def write(self, geometries: Sequence[bytes], columns: Mapping[str, Sequence | np.ndarray]) -> None:
        """Adds features."""
        shapes = shapely.from_wkb(np.array(geometries, object))
        if self._crs:
            shapes = self._on_earth(shapes)
        texts = shapely.to_geojson(shapely.orient_polygons(shapes))
        values = [[kind(value) for value in columns[name]] for name, kind in self._columns.items()]
        for text, *row in zip(texts, *values, strict=True):
            properties = json.dumps(dict(zip(self._columns, row, strict=True)), ensure_ascii=False)
            self._file.write(f'{self._comma}{{"type": "Feature", "properties": {properties}, "geometry": {text}}}')
            self._comma = ",\n"

    def _on_earth(self, shapes: np.ndarray) -> np.ndarray:
        """Geometries in longitude and latitude. SettingError for those that can't be, in this CRS or at this place."""
        if self._crs.is_projected:
            shapes = shapely.segmentize(shapes, STRAIGHT / self._crs.linear_units_factor[1])
        shapes = shapely.transform(shapes, lambda points: on_earth(points, self._crs, self._path).round(DECIMALS))
        west, _, east, _ = shapely.bounds(shapes).T if len(shapes) else np.zeros((4, 1))
        if (east - west > 180).any():
            problem = "GeoJSON has no way to write a polygon across the 180th meridian in one piece"
            raise SettingError(self._path, problem, "take .gpkg or .parquet")
        return shapes


class _GeoParquet:
    """GeoParquet 1.1: WKB in an Arrow column, its CRS as PROJJSON."""

    def __init__(self, target: Target):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            remedy = f"{install_hint('parquet')}, or take .gpkg"
            raise SettingError(target.path, "GeoParquet needs pyarrow", remedy) from None
        types = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
        fields = [pyarrow.field(name, types[kind]) for name, kind in target.columns.items()]
        crs = target.crs.to_dict(projjson=True) if target.crs else None
        geometry = {"encoding": "WKB", "geometry_types": [target.kind], "crs": crs}
        geo: dict[str, Any] = {"version": "1.1.0", "primary_column": "geometry"}
        geo["columns"] = {
            "geometry": geometry | ({"orientation": "counterclockwise"} if target.kind == "Polygon" else {})
        }
        fields.append(pyarrow.field("geometry", pyarrow.binary()))
        schema = pyarrow.schema(fields, {"geo": json.dumps(geo), **target.notes})
        self._table = lambda arrays: pyarrow.Table.from_arrays(
            [pyarrow.array(array, field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema
        )
        self._columns = target.columns
        self._file = open(target.part, "wb")  # noqa: SIM115
        self._writer = pyarrow.parquet.ParquetWriter(self._file, schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._writer.close()
        finally:
            self._file.close()

    def write(self, geometries: Sequence[bytes], columns: Mapping[str, Sequence | np.ndarray]) -> None:
        """Adds features."""
        self._writer.write_table(self._table([*(columns[name] for name in self._columns), geometries]))


FORMATS: dict[str, Any] = {".gpkg": GeoPackage, ".geojson": _GeoJson, ".parquet": _GeoParquet}
NO_BEGINNING = tuple("`~!@#$%^&*()+-={}|[]\\:\";'<>?,./ ")  # of a GeoPackage's layer, by GDAL
TAKEN = ("gpkg", "sqlite_")  # beginnings of tables of GeoPackage's own and of SQLite's
UNPLACED = {"SRID": "-1"}  # GeoPackage's plane without a place on earth
OLDER = {"VERSION": "1.2"}  # of GeoPackage: QGIS on GDAL before 3.8 warns of later ones, and nothing here needs them
UTC_OFFSET = 100  # by GDAL's count


def format_of(path: Path) -> Any:
    """What writes a file of this ending. SettingError where nothing does."""
    if path.suffix.lower() not in FORMATS:
        raise SettingError(path, "is not a vector file that can be written", f"name it {' or '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]
