"""What a file makes GDAL open besides itself: the sources of a VRT, and masks and overviews beside a picture.

GDAL opens these by any driver, so they are looked at before it is: they are to be plain rasters on this machine. A VRT
is to be without raw bands, which show the bytes of any file, and without Python.
"""

import math
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from jingwei.errors import InputError

DEEPEST = 8  # VRTs in VRTs
LARGEST = 1 << 28  # bytes of a VRT
# How files begin that hold their pixels themselves: TIFF, PNG, JPEG, BMP, GIF, WebP, Erdas, JPEG 2000 ...
_MASKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"EHFA_HEADER")
_PICTURES: tuple[bytes, ...] = (
    *_MASKS,
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"BM",
    b"GIF8",
    b"RIFF",
    b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
)
_PICTURES += (b"NITF", b"NSIF", b"GRIB", b"ncols", b"NCOLS")
# ... and what tells of formats whose labels may name other files; a label of the ENVI kind, .hdr, names none.
_LABELS = re.compile(rb"^\s*[<{\[]|_VERSION_ID|IsisCube|CCSD3ZF|\^QUBE|\^IMAGE|DatasetHeader", re.IGNORECASE)
_NETWORK = re.compile(r"/vsi|://", re.IGNORECASE)
_OTHER_DRIVER = re.compile(r"\s*[<{]|[A-Za-z][A-Za-z0-9_]+:|:::")  # `HDF5:...` and the like; C: is a disk
_NAMING = {"sourcefilename", "sourcedataset", "dempath", "x_dataset", "y_dataset"}
_PROSE = {"srs", "metadata", "mdi", "gcplist", "description", "category", "unittype"}
_RECTANGLES = {"srcrect", "dstrect"}
_REMEDY = "where you trust it, open it with `allow_remote`"


def check_file(path: str | Path) -> None:
    """Raises InputError where GDAL would go to other places for a file than to plain rasters on this machine."""
    _check(Path(path), Path(path), 0)


def all_sources(path: Path) -> list[Path]:
    """A file of this machine and those that it names where it is a VRT, those of VRTs in it too."""
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found[file] = None
        if file.suffix.lower() == ".vrt":
            waiting += [source for name in _named(_parsed(file, path)) for source in _places(name, file)]
    return sorted(found)


def companions(path: Path) -> list[Path]:
    """Where files that hold a picture's pixels and masks lie beside it, if there are any."""
    beside = [Path(f"{path}{ending}") for ending in (".msk", ".MSK", ".hdr")]
    return beside + [path.with_suffix(ending) for ending in (".hdr", ".HDR", ".ige")]


def has_header(path: Path) -> bool:
    """Whether a label of the ENVI kind lies beside a file."""
    return any(place.exists() for place in (path.with_suffix(".hdr"), Path(f"{path}.hdr")))


def _check(path: Path, named: Path, depth: int) -> None:
    """The same for one file of those that `named`, the file that the user gave, leads to."""
    for beside in (f"{path}.msk", f"{path}.ovr", f"{path}.MSK", f"{path}.OVR"):
        if os.path.isfile(beside) and not _head(beside).startswith(_MASKS):
            raise InputError(beside, "is not a TIFF, as masks and overviews are", "delete it, or make it again")
    _check_aux(f"{path}.aux.xml")
    if path.suffix.lower() == ".vrt":
        _check_vrt(path, named, depth)


def _head(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError as error:
        raise InputError(path, f"can't be read ({error.strerror})", "check its permissions") from error


def _check_aux(path: str) -> None:
    """Raises InputError where what GDAL keeps beside a file names overviews elsewhere."""
    if not os.path.isfile(path) or os.path.getsize(path) > LARGEST:
        return
    for name in re.findall(rb"OVERVIEW_FILE[^>]*>([^<]*)<", Path(path).read_bytes(), re.IGNORECASE):
        text = name.decode(errors="replace").removeprefix(":::BASE:::")
        if _NETWORK.search(text) or _OTHER_DRIVER.match(text):
            raise InputError(path, f"names {text} for overviews, which is not a file of this machine", "delete it")


def _check_vrt(path: Path, named: Path, depth: int) -> None:
    """Raises InputError for raw bands, Python, the network and other virtual sources; looks into the others."""
    root = _parsed(path, named)
    for element in root.iter():
        for name, text in _strings(element):
            if name == "subclass" and text.lower() == "vrtrawrasterband":
                raise InputError(named, "has raw bands, which may show any file of the machine", _REMEDY)
            if name == "subclass" and text.lower() == "vrtprocesseddataset":
                raise InputError(named, "computes with files that it names", _REMEDY)
            if name == "pixelfunctioncode" or (name == "pixelfunctionlanguage" and text.strip().lower() == "python"):
                raise InputError(named, "runs Python", _REMEDY)
            if name in _RECTANGLES and not _is_rectangle(element):
                raise InputError(named, f"has a {element.tag} without its four numbers", "make it again")
            if _NETWORK.search(text) and name not in _PROSE and element.tag.lower() not in _PROSE - {"mdi"}:
                raise InputError(named, f"names {text.strip()}, which is not a file of this machine", _REMEDY)
    for name in _named(root):
        places = _places(name, path)
        if not places and _OTHER_DRIVER.match(name):
            raise InputError(named, f"names {name.strip()}, which is not a plain file", _REMEDY)
        for source in places:
            _check_source(source, named, depth)


def _is_rectangle(element: ElementTree.Element) -> bool:
    """Whether a source's window has all its numbers: GDAL takes those that lack for 0, and scales at will."""
    given = {name.lower(): text for name, text in element.attrib.items()}
    try:
        return all(math.isfinite(float(given[side])) for side in ("xoff", "yoff", "xsize", "ysize"))
    except (KeyError, ValueError):
        return False


def _check_source(source: Path, named: Path, depth: int) -> None:
    if source.suffix.lower() == ".vrt":
        if depth == DEEPEST:
            raise InputError(named, f"goes through more than {DEEPEST} VRTs", "make one VRT of the pictures themselves")
    elif not source.is_file():
        raise InputError(named, f"names {source.name}, which is not a plain file", _REMEDY)
    else:
        head = _head(source)
        if not head.startswith(_PICTURES) and (not has_header(source) or _LABELS.search(head)):
            raise InputError(named, f"names {source.name}, of a format that may name other files", _REMEDY)
    _check(source, named, depth + 1)


def _parsed(path: Path, named: Path) -> ElementTree.Element:
    """A VRT's XML, its bytes as Latin-1: file names in it may be of any encoding, and GDAL takes them as they are."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(named, "is too large for a VRT", "make it again")
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("latin-1")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise InputError(named, "defines entities, as no VRT does", "make it again")
        return ElementTree.fromstring(text)
    except OSError as error:
        raise InputError(path, f"can't be read ({error.strerror})", "check its permissions") from error
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise InputError(named, f"is not a VRT that can be read ({error})", "make it again") from error


def _strings(element: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """The names, in small letters (GDAL looks at no case), and texts of an element and its attributes."""
    yield element.tag.lower(), element.text or ""
    for name, text in element.attrib.items():
        yield name.lower(), text
        if name.lower() == "key":  # <MDI key="X_DATASET">name</MDI>
            yield text.lower(), element.text or ""


def _named(root: ElementTree.Element) -> Iterator[str]:
    """The files that a VRT names."""
    for element in root.iter():
        yield from (text for name, text in _strings(element) if name in _NAMING and text.strip())


def _places(name: str, vrt: Path) -> list[Path]:
    """Where a file that a VRT names lies: counted from the VRT or not. Nowhere: it isn't there, and GDAL says so."""
    path = Path(os.fsdecode(name.strip().encode("latin-1")))
    return [place for place in {vrt.parent / path, path} if os.path.exists(place)]
