"""The CRS that a GeoJSON names: GDAL takes one that it can't read for longitude and latitude, without a word."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from jingwei.errors import InputError

EDGE = 1 << 16  # bytes at each end of a file in which its own members are looked for, before and behind its features
USUAL = "EPSG:4326"  # what GDAL takes a GeoJSON for that names no CRS, and one whose CRS it can't read
NAMES_OF_USUAL = re.compile(r'(?<!\d)4326(?!\d)|CRS:?84(?!\d)|"WGS[ _]?84"', re.IGNORECASE)  # "WGS84 UTM 50N" is none
FEATURES = re.compile(rb'"features"\s*:')  # a layer may be named so too
MOST_ARRAYS = 100  # from the end of a file on: of a `bbox` and a `crs` behind the features


def check_geojson_crs(path: Path, taken: str | None) -> None:
    """Raises InputError where a GeoJSON says a CRS and GDAL could not read it. `taken`: the CRS that GDAL gives.

    A `crs` of null counts as none. RFC 7946 knows no such member; QGIS and older programs write it:
    https://geojson.org/geojson-spec.html
    """
    if taken != USUAL or path.suffix.lower() not in (".geojson", ".json"):
        return
    said = _crs_member(path)
    if said is not None and not NAMES_OF_USUAL.search(said):
        raise InputError(path, f"says a CRS that GDAL can't read ({said[:80]})", "export it as .gpkg, with its CRS")


def _crs_member(path: Path) -> str | None:
    """The member `crs` of the whole file, as JSON; None where there is none."""
    with open(path, "rb") as file:
        head = file.read(EDGE)
        file.seek(max(0, path.stat().st_size - EDGE))
        tail = file.read()
    before = FEATURES.split(head.removeprefix(b"\xef\xbb\xbf"), maxsplit=1)[0].rstrip().rstrip(b",") + b"}"
    for members in (before, *_behind_arrays(tail)):
        try:
            found = json.loads(members).get("crs")
        except (ValueError, AttributeError):  # not what stands around features
            continue
        if found is not None:
            return json.dumps(found)
    return None


def _behind_arrays(tail: bytes) -> Iterator[bytes]:
    """What stands behind each of the last arrays of a file, as an object: one if no other is open there.

    The features are such an array, and `bbox` behind them may be another.
    """
    end = len(tail)
    for _ in range(MOST_ARRAYS):
        end = tail.rfind(b"]", 0, end)
        if end < 0:
            return
        yield b"{" + tail[end + 1 :].strip().lstrip(b",")
