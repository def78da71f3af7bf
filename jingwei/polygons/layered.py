"""GeoPackages of several layers, each with the style and the form that QGIS shows it in."""

import sqlite3
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyogrio

from jingwei.errors import OutputError
from jingwei.legend import Legend
from jingwei.polygons.files import UNPLACED, without_usual_warnings
from jingwei.polygons.styles import NULL
from jingwei.system.atomic import room_at, whole_or_nothing

YELLOW = "255,220,0,255"
PLAIN = {"symbollevels": "0", "enableorderby": "0", "forceraster": "0"}
STYLES = """
    CREATE TABLE layer_styles (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
        f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
        useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME)
"""


class Layer(NamedTuple):
    """A layer: polygons (WKB; multi-polygons where its `kind` says so), a column of each name, and its style.

    Columns are numpy's; None in one of objects means no value.
    """

    name: str
    polygons: Sequence[bytes]
    columns: Mapping[str, np.ndarray]
    style: str = ""
    kind: str = "Polygon"


def write_layers(path: Path, layers: Sequence[Layer], *, crs=None, notes: Mapping[str, str], date: str) -> None:
    """Writes a GeoPackage. `crs` and `notes` are as of `vector_writer`, and so is the error; `date` is what the file
    says of its last change (2026-01-31T12:00:00.000Z).
    """
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": date})
    try:
        with whole_or_nothing(path) as part:
            for layer in layers:
                wkb = np.empty(len(layer.polygons), object)
                wkb[:] = layer.polygons
                with without_usual_warnings:
                    pyogrio.raw.write(
                        part, wkb, list(layer.columns.values()), list(layer.columns), driver="GPKG", layer=layer.name,
                        geometry_type=layer.kind, crs=crs.to_wkt() if crs else None, layer_metadata=dict(notes),
                        layer_options={} if crs else UNPLACED, append=layer is not layers[0],
                    )  # fmt: skip
            _add_styles(part, layers, date)
    except (RuntimeError, sqlite3.Error) as error:
        raise OutputError(path, f"can't be written ({error})", room_at(path)) from error
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def _add_styles(path: Path, layers: Sequence[Layer], date: str) -> None:
    """Puts the layers' styles where QGIS looks for them when it opens the file."""
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(STYLES)
        contents = "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change) VALUES (?, ?, ?, ?)"
        file.execute(contents, ("layer_styles", "attributes", "layer_styles", date))
        for layer in layers:
            row = ("", "", layer.name, "geom", layer.name, layer.style, "", 1, "", "", None, date)
            file.execute(f"INSERT INTO layer_styles VALUES (NULL, {', '.join('?' * len(row))})", row)


def class_style(legend: Legend, by: str, choice: str) -> str:
    """A style by class: `by` is QGIS's expression that gives a class's name, `choice` a field that gets the list of
    the legend's names to choose from.
    """
    root = ElementTree.Element("qgis", {"version": "3.22.0", "styleCategories": "AllStyleCategories"})
    renderer = ElementTree.SubElement(root, "renderer-v2", {"type": "categorizedSymbol", "attr": by} | PLAIN)
    categories, symbols = (ElementTree.SubElement(renderer, name) for name in ("categories", "symbols"))
    for k, (name, color) in enumerate([*((c.name, c.color) for c in legend.classes), ("", (128, 128, 128))]):
        entry = {"value": name, "label": name or "?", "symbol": str(k), "render": "true", "type": "string"}
        ElementTree.SubElement(categories, "category", entry)
        _add_symbol(symbols, str(k), ",".join(map(str, (*color, 110))), ",".join(map(str, (*color, 255))))
    fields = ElementTree.SubElement(root, "fieldConfiguration")
    widget = ElementTree.SubElement(ElementTree.SubElement(fields, "field", name=choice), "editWidget", type="ValueMap")
    config = ElementTree.SubElement(ElementTree.SubElement(widget, "config"), "Option", type="Map")
    values = ElementTree.SubElement(config, "Option", name="map", type="List")
    for shown, value in [("", NULL), *((name, name) for name in legend.names)]:
        pair = ElementTree.SubElement(values, "Option", type="Map")
        ElementTree.SubElement(pair, "Option", name=shown, value=value, type="QString")
    return ElementTree.tostring(root, encoding="unicode")


def frame_style(field: str) -> str:
    """A style of frames without a filling, with the values of a field written in them."""
    kinds = {"version": "3.22.0", "styleCategories": "AllStyleCategories", "labelsEnabled": "1"}
    root = ElementTree.Element("qgis", kinds)
    renderer = ElementTree.SubElement(root, "renderer-v2", {"type": "singleSymbol"} | PLAIN)
    _add_symbol(ElementTree.SubElement(renderer, "symbols"), "0", None, YELLOW)
    settings = ElementTree.SubElement(ElementTree.SubElement(root, "labeling", type="simple"), "settings")
    text = {"fieldName": field, "isExpression": "0", "fontSize": "12", "textColor": YELLOW}
    ElementTree.SubElement(settings, "text-style", text)
    return ElementTree.tostring(root, encoding="unicode")


def _add_symbol(symbols: ElementTree.Element, name: str, fill: str | None, outline: str) -> None:
    symbol = ElementTree.SubElement(symbols, "symbol", {"name": name, "type": "fill", "alpha": "1"})
    layer = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"})
    options = ElementTree.SubElement(layer, "Option", type="Map")
    settings = {"color": fill or "0,0,0,0", "style": "solid" if fill else "no"}
    settings |= {"outline_color": outline, "outline_style": "solid", "outline_width": "0.4", "outline_width_unit": "MM"}
    for key, value in settings.items():
        ElementTree.SubElement(options, "Option", name=key, type="QString", value=value)
