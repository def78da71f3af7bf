"""Which vector files GDAL may open, and which of their layers is meant: see docs/security.md.

GDAL decides by what a file holds, whatever its name: a ".geojson" of XML makes it read any file of the machine, or
fetch from the network. pyogrio can't name the drivers that may open a file: the content must be that of the ending.
"""

import os
import re
from pathlib import Path

import numpy as np

from jingwei.errors import InputError, known
from jingwei.polygons.styles import LAYER_STYLES
from jingwei.raster.opening import is_vsi, remote_allowed, require_file, vsi_name

# How files of one format begin, by ending. The zero bytes keep GDAL from finding XML further on.
BEGINNINGS = {".gpkg": b"SQLite format 3\0", ".shp": b"\0\0\x27\x0a", ".fgb": b"fgb\x03fgb", ".parquet": b"PAR1"}
TEXTS = {".geojson": rb"\s*\{", ".json": rb"\s*\{"}
TEXTS |= {f".{root}": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<%b[\s>]" % root.encode() for root in ("kml", "gpx")}
# What makes GDAL go elsewhere: descriptions of virtual and network sources, links, entities of XML.
LEADS_AWAY = re.compile(
    rb"<(OGR\w*DataSource|VRTDataset|NetworkLink|!DOCTYPE|!ENTITY)|gdal_streamed_alg", re.IGNORECASE
)
CHUNK = 1 << 20
# What pyogrio raises where GDAL can't read a file. UnicodeDecodeError: of a text in it that is not UTF-8.
VECTOR_FAILURES = (RuntimeError, UnicodeDecodeError)


def file_and_layer(path: str | Path) -> tuple[Path, str | None]:
    """`FILE` or `FILE:LAYER` in its parts. A file of the whole name comes first."""
    path = Path(path)
    head, colon, layer = str(path).rpartition(":")
    split = colon and layer and not os.path.exists(path) and os.path.exists(head)
    return (Path(head), layer) if split else (path, None)


def gdal_name(path: Path) -> str:
    """A name that GDAL takes for a file, not for the address of a driver such as `CSV:...`."""
    return vsi_name(path) if is_vsi(path) else re.sub("^//", "/", os.path.abspath(path))


def problem_of_name(path: Path) -> str | None:
    """Why no vector file can be opened, or written, under a name; None where one can.

    pyogrio takes names for addresses: `a!b.gpkg` for what lies in an archive, without what is behind a `;`, and without
    tabs and line breaks. So it would open another file than the one that was looked at.
    """
    from pyogrio.util import vsi_path

    name = gdal_name(path)
    if re.search("[\ud800-\udfff]", name):
        return "has a name that is not UTF-8, or lies in such a folder"
    if not is_vsi(path) and vsi_path(name) not in (name, f"/vsizip/{name}"):
        return "has, or lies in a folder with, one of !, ;, ? or a line break in its name"
    return None


def check_vector(path: Path) -> None:
    """Raises InputError for a vector file that is not there, or could make GDAL open another one."""
    if not is_vsi(path):
        require_file(path)
    if problem := problem_of_name(path):
        raise InputError(path, problem, "rename it")
    if remote_allowed():
        return
    if is_vsi(path):
        raise InputError(path, "is not a file of this machine", "trust it with `allow_remote`")
    ending = path.suffix.lower()
    if ending not in (*BEGINNINGS, *TEXTS):
        remedy = f"export it as .gpkg ({known((*BEGINNINGS, *TEXTS))}), or trust it with `allow_remote`"
        raise InputError(path, "may name other files", remedy)
    try:
        with open(path, "rb") as file:
            head = file.read(CHUNK)
            text, kept = head.removeprefix(b"\xef\xbb\xbf"), b""
            if not (
                head.startswith(BEGINNINGS[ending]) if ending in BEGINNINGS else re.match(TEXTS[ending], text, re.S)
            ):
                problem = f"is not a vector file that GDAL can read (its content is not that of {ending})"
                raise InputError(path, problem, "export it as .gpkg")
            while head and ending in TEXTS:
                if found := LEADS_AWAY.search(kept + head):
                    remedy = "export it as .gpkg, or trust it with `allow_remote`"
                    raise InputError(path, f"may name other files ({found[0].decode()})", remedy)
                kept, head = head[-64:], file.read(CHUNK)
    except OSError as error:
        raise InputError(path, f"can't be read ({error.strerror})", "check its permissions") from error


def choose_layer(path: Path, layer: str | None, kind: str) -> str | None:
    """The layer to read: the one named, else the only one, or the only one of this kind (`Polygon`, `Point`).

    Raises InputError, which lists the layers, where none is named and several could be meant. None: the first.
    """
    import pyogrio  # not loaded by those who only ask for a file's kind

    there = np.atleast_2d(pyogrio.list_layers(gdal_name(path)))
    layers = [each for each in there if each[0] != LAYER_STYLES]  # QGIS's own
    names = [str(name) for name, _ in layers]
    like = (kind, "Surface") if kind == "Polygon" else (kind,)
    fitting = [str(name) for name, type_ in layers if any(word in str(type_) for word in like)]
    open_to_all = [str(name) for name, type_ in layers if type_ in ("Unknown", "GeometryCollection")]
    if layer is None and len(names) < 2:
        return names[0] if names else None
    if layer is None and len(fitting) == 1 and not open_to_all:
        return fitting[0]
    if layer is None or layer not in names:
        problem = f"holds {len(names)} layers" if layer is None else f"has no layer {layer!r}"
        raise InputError(path, f"{problem} ({', '.join(names)})", f"name one, as {path.name}:{names[0]}")
    return layer
