"""What lies beside a picture that can't say where it lies itself: a world file, and GDAL's `.aux.xml`."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from jingwei.raster.georeference import Georeference
from jingwei.system.atomic import whole_or_nothing


def write_sidecars(png: Path, place: Georeference) -> None:
    """Writes `a.pgw` and `a.png.aux.xml` for a PNG, whole or not at all, and deletes those that it is not to have.

    The world file holds the transform, `.aux.xml` the CRS, control points and RPCs too. Without a georeference there
    are none: an identity would be taken for a place.
    """
    contents = {
        png.with_suffix(".pgw"): None if place.transform.is_identity else _world_file(place),
        png.with_name(f"{png.name}.aux.xml"): _aux_xml(place) if place else None,
    }
    for path, content in contents.items():
        if content is None:
            path.unlink(missing_ok=True)
        elif not path.is_file() or path.read_bytes() != content:
            with whole_or_nothing(path) as part:
                part.write_bytes(content)


def _world_file(place: Georeference) -> bytes:
    """Six lines: how far a step to the right goes in x and y, a step down, and where the first pixel's middle lies."""
    t = place.transform
    x, y = t @ (0.5, 0.5)
    return "".join(f"{float(value)!r}\n" for value in (t.a, t.d, t.b, t.e, x, y)).encode()


def _aux_xml(place: Georeference) -> bytes:
    """The place as GDAL keeps it. Coordinates are x, y (longitude, latitude), whatever order the CRS has by itself."""
    root = ElementTree.Element("PAMDataset")
    if place.crs:
        ElementTree.SubElement(root, "SRS").text = place.crs.to_wkt()
    if not place.transform.is_identity:
        text = ", ".join(repr(float(value)) for value in place.transform.to_gdal())
        ElementTree.SubElement(root, "GeoTransform").text = text
    elif place.gcps:
        points = ElementTree.SubElement(root, "GCPList", Projection=place.gcps_crs.to_wkt() if place.gcps_crs else "")
        for number, point in enumerate(place.gcps, 1):
            values = zip(("Line", "Pixel", "X", "Y", "Z"), point, strict=True)
            ElementTree.SubElement(points, "GCP", {"Id": str(number)} | {name: repr(float(v)) for name, v in values})
    if place.rpcs:
        items = ElementTree.SubElement(root, "Metadata", domain="RPC")
        for key, value in place.rpcs.to_gdal().items():
            ElementTree.SubElement(items, "MDI", key=key).text = str(value)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8") + b"\n"
