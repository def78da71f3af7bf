"""How rasters look in QGIS and what GDAL calls their values: `a.qml` and `a.tif.aux.xml` beside `a.tif`.

QGIS takes a `.qml` of a file's name for its style when it opens the file. One that somebody has saved there from QGIS
stays as it is: ours have a comment that QGIS drops. GDAL, and programs that build on it, take the names of classes from
`.aux.xml`; what else it says there, such as statistics, stays.
"""

import re
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path

from jingwei.legend import Legend, hex_of
from jingwei.system.atomic import whole_or_nothing

OURS = "Jingwei"  # the comment by which a style is known to be ours
HEAD = f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<!--{OURS}-->\n"
VERSION = "3.22.0"  # of QGIS, whose way of writing styles this is; later ones read it

# Percent -> colour and opacity (0 to 255): what is sure is clear, so that the scene under it shows; doubt is dark.
DOUBT = ((0, "#FCFDBF", 0), (20, "#FB8861", 140), (50, "#B63679", 200), (100, "#3B0F70", 255))
SURENESS = tuple((100 - percent, color, opacity) for percent, color, opacity in reversed(DOUBT))
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_class_style(raster: Path, legend: Legend) -> None:
    """Names and colours for a map of class ids: a style for QGIS and, beside a TIFF, names for GDAL."""
    pipe, renderer = _pipe("paletted")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for c in legend.classes:
        entry = {"value": str(c.id), "label": xml_text(c.name), "color": hex_of(c.color).lower(), "alpha": "255"}
        ElementTree.SubElement(palette, "paletteEntry", entry)
    write_qml(raster.with_suffix(".qml"), style_text([pipe]))
    if raster.suffix.lower() in (".tif", ".tiff"):
        _write_categories(raster.with_name(f"{raster.name}.aux.xml"), [xml_text(name) for name in legend.names])


def write_percent_style(raster: Path, ramp=SURENESS) -> None:
    """A ramp of colours for a raster of 0 to 100: SURENESS of agreement and confidence, DOUBT of entropy."""
    pipe, renderer = _pipe("singlebandpseudocolor", classificationMin="0", classificationMax="100")
    shader = ElementTree.SubElement(ElementTree.SubElement(renderer, "rastershader"), "colorrampshader")
    shader.attrib |= {"colorRampType": "INTERPOLATED", "classificationMode": "1", "clip": "0"}
    shader.attrib |= {"minimumValue": "0", "maximumValue": "100"}
    for percent, color, opacity in ramp:
        item = {"value": str(percent), "label": f"{percent} %", "color": color.lower(), "alpha": str(opacity)}
        ElementTree.SubElement(shader, "item", item)
    write_qml(raster.with_suffix(".qml"), style_text([pipe]))


def style_text(parts: list[ElementTree.Element], **attributes: str) -> str:
    """A style of QGIS's, as `.qml` files and GeoPackages hold it."""
    root = ElementTree.Element("qgis", {"version": VERSION, "styleCategories": "AllStyleCategories"} | attributes)
    root.extend(parts)
    ElementTree.indent(root)
    return f"{HEAD}{ElementTree.tostring(root, encoding='unicode')}\n"


def write_qml(path: Path, text: str) -> None:
    """Writes a style, unless it is there already, or somebody has saved another one in its place."""
    content, before = text.encode(), None
    if path.is_file():
        try:
            before = path.read_bytes()
        except OSError:  # then it isn't ours
            return
    if before is None or (before != content and f"<!--{OURS}-->".encode() in before):
        with whole_or_nothing(path, durable=False) as part:
            part.write_bytes(content)


def xml_text(text: str) -> str:
    """A text as XML can hold it: without control characters."""
    return NOT_XML.sub("\ufffd", text)


def _pipe(kind: str, **attributes: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    """What QGIS draws a raster's first band by: the pipe, and the renderer in it, still without its colours."""
    pipe = ElementTree.Element("pipe")
    how = {"type": kind, "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""} | attributes
    return pipe, ElementTree.SubElement(pipe, "rasterrenderer", how)


def _write_categories(path: Path, names: list[str]) -> None:
    """Puts the names of the values 0, 1, 2 ... of band 1 into GDAL's `.aux.xml`."""
    root = ElementTree.Element("PAMDataset")
    if path.is_file():
        with suppress(ElementTree.ParseError, ValueError, OSError):
            before = path.read_bytes()
            if b"<!" not in before:  # no entities: GDAL writes none
                root = ElementTree.fromstring(before)
    band = next((each for each in root.iter("PAMRasterBand") if each.get("band") == "1"), None)
    if band is None:
        band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    found = band.find("CategoryNames")
    if found is not None:
        if [each.text or "" for each in found] == names:
            return
        band.remove(found)
    categories = ElementTree.SubElement(band, "CategoryNames")
    for name in names:
        ElementTree.SubElement(categories, "Category").text = name
    ElementTree.indent(root)
    with whole_or_nothing(path, durable=False) as part:
        part.write_bytes(ElementTree.tostring(root, encoding="utf-8") + b"\n")
