"""How vectors look in QGIS, and the forms that they are edited with: classes by name and colour, a list to choose from.

A GeoPackage keeps its styles itself, in a table `layer_styles`; QGIS takes the default from it when it opens a layer.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable

from jingwei.legend import LandClass, Legend
from jingwei.raster.styles import style_text, xml_text

LAYER_STYLES = "layer_styles"  # the table's name, by which QGIS knows it
NULL = "{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}"  # what stands for no value in QGIS's lists of values
OPACITY = 160  # of polygons, 0 to 255, so that the scene shows through
FRAME = (255, 220, 0)
UNLABELLED = (255, 255, 255)
_KINDS = {"Polygon": ("fill", "SimpleFill", "2"), "Point": ("marker", "SimpleMarker", "0")}


def class_style(
    kind: str, legend: Legend, classes: Iterable[int], field: str, form: bool = False, by: str | None = None
) -> str:
    """A style for a layer of `kind` Polygon or Point: features by the class whose name stands in a text field.

    With `form`, the field is edited by a list of all the legend's classes, and features without a class are shown too.
    `by` is QGIS's expression for the class that a feature is shown as, where that is more than the field.
    """
    renderer = ElementTree.Element("renderer-v2", {"type": "categorizedSymbol", "attr": by or field})
    categories, symbols = (ElementTree.SubElement(renderer, tag) for tag in ("categories", "symbols"))
    shown = [legend.classes[c] for c in classes]
    for number, c in enumerate(shown):
        _add_category(categories, number, xml_text(c.name), xml_text(c.name))
        symbols.append(_symbol(kind, number, c.color))
    if form:
        _add_category(categories, len(shown), "", "no label yet")
        symbols.append(_symbol(kind, len(shown), UNLABELLED))
    parts = [renderer] + ([_form(field, legend.classes)] if form else [])
    kind_of_geometry = ElementTree.Element("layerGeometryType")
    kind_of_geometry.text = _KINDS[kind][2]
    return style_text([*parts, kind_of_geometry])


def frame_style(field: str) -> str:
    """A style of polygons that are frames without a filling, with the values of a field written in them."""
    renderer = ElementTree.Element("renderer-v2", {"type": "singleSymbol"})
    symbol = _symbol("Polygon", 0, FRAME)
    look = {"style": "no", "outline_color": ",".join(map(str, (*FRAME, 255))), "outline_width": "0.6"}
    for option in symbol.iter("Option"):
        option.attrib |= {"value": look[option.attrib["name"]]} if option.attrib.get("name") in look else {}
    ElementTree.SubElement(renderer, "symbols").append(symbol)
    labels = ElementTree.Element("labeling", type="simple")
    text = {"fieldName": field, "isExpression": "0", "fontSize": "12", "textColor": look["outline_color"]}
    ElementTree.SubElement(ElementTree.SubElement(labels, "settings"), "text-style", text)
    kind_of_geometry = ElementTree.Element("layerGeometryType")
    kind_of_geometry.text = _KINDS["Polygon"][2]
    return style_text([renderer, labels, kind_of_geometry], labelsEnabled="1")


def _add_category(categories: ElementTree.Element, number: int, value: str, label: str) -> None:
    named = {"symbol": str(number), "value": value, "label": label, "render": "true"}
    ElementTree.SubElement(categories, "category", named)


def _symbol(kind: str, number: int, color: tuple[int, int, int]) -> ElementTree.Element:
    type_, layer_class, _ = _KINDS[kind]
    symbol = ElementTree.Element("symbol", {"name": str(number), "type": type_, "alpha": "1"})
    layer = ElementTree.SubElement(symbol, "layer", {"class": layer_class, "enabled": "1", "pass": "0"})
    opacity = OPACITY if kind == "Polygon" else 255
    look = {"color": ",".join(map(str, (*color, opacity))), "outline_color": "30,30,30,255", "outline_style": "solid"}
    look |= {"outline_width": "0.2", "outline_width_unit": "MM"}
    look |= {"style": "solid"} if kind == "Polygon" else {"name": "circle", "size": "3", "size_unit": "MM"}
    options = ElementTree.SubElement(layer, "Option", type="Map")
    for name, value in look.items():
        ElementTree.SubElement(options, "Option", {"name": name, "type": "QString", "value": value})
        ElementTree.SubElement(layer, "prop", {"k": name, "v": value})  # how QGIS up to 3.16 has it
    return symbol


def _form(field: str, classes: Iterable[LandClass]) -> ElementTree.Element:
    """The field as a list to choose from: a class, or nothing."""
    configuration = ElementTree.Element("fieldConfiguration")
    named = ElementTree.SubElement(configuration, "field", {"name": field, "configurationFlags": "None"})
    widget = ElementTree.SubElement(named, "editWidget", type="ValueMap")
    options = ElementTree.SubElement(ElementTree.SubElement(widget, "config"), "Option", type="Map")
    choices = ElementTree.SubElement(options, "Option", {"name": "map", "type": "List"})
    for label, value in (("", NULL), *((xml_text(c.name), xml_text(c.name)) for c in classes)):
        choice = ElementTree.SubElement(choices, "Option", type="Map")
        ElementTree.SubElement(choice, "Option", {"name": label, "type": "QString", "value": value})
    return configuration
