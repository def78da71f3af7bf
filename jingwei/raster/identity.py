"""What tells an input from an earlier state of it: all files that hold its pixels and masks, and what GDAL says of it.

A scene is more than the file that is named. A tile under a VRT, a world file or a `.msk` may be replaced while the file
itself stays as it is; and what lies beside it may change without a change to the scene: viewers such as QGIS write
statistics into `.aux.xml` when they open one. So files count by name, size and date where pixels and masks are in them;
what others say (place, no data, colours) counts by its values.
"""

import re
from pathlib import Path

from jingwei.errors import InputError
from jingwei.raster.opening import is_vsi
from jingwei.raster.reading import Raster

OTHERS = (".pt", ".pth", ".onnx", ".json", ".csv", ".txt")  # inputs that are not rasters
SHAPEFILE = (".dbf", ".shx", ".prj", ".cpg")  # files that belong to a .shp
VECTORS = (".shp", ".geojson", ".fgb", ".parquet", ".kml", ".gpx")  # nothing in them is a raster


def identity(path: Path) -> list:
    """The identity of an input, raster or not, in JSON's types. Raises InputError where there is no such file."""
    path = Path(path)
    if not is_vsi(path) and not path.exists():
        raise InputError(path, "no such file", "check the path")
    if path.suffix.lower() in OTHERS:
        return [_state(path)]
    try:
        if path.suffix.lower() not in VECTORS:
            with Raster(path) as raster:
                return [*map(_state, raster.files), raster.facts]
    except InputError:  # a vector; or a broken raster, which is refused when it is read
        pass
    return [_state(file) for file in files_of_vector(path)]


def files_of_vector(path: Path) -> list[Path]:
    """A vector file and those beside it that hold a part of what it says."""
    endings = [case(ending) for ending in SHAPEFILE for case in (str.lower, str.upper)]
    beside = [path.with_suffix(ending) for ending in endings] if path.suffix.lower() == ".shp" else []
    changes = Path(f"{path}-wal")  # of a GeoPackage that another program holds open
    beside += [changes] if changes.is_file() and changes.stat().st_size else []
    return [path, *(file for file in beside if file.exists())]


def _state(path: Path) -> list:
    """Name, size and date of a file; of one behind GDAL's /vsi those of the archive, or its name alone."""
    file = _archive(path) if is_vsi(path) else path
    if file is None:
        return [str(path)]
    state = file.stat()
    return [str(path) if is_vsi(path) else path.name, state.st_size, state.st_mtime_ns]


def _archive(path: Path) -> Path | None:
    """The file of this machine that holds what lies at a /vsi path: /vsizip//data/scenes.zip/a.tif -> that .zip."""
    inner = re.sub(r"^(/vsi[a-z0-9_]+/)+", "", str(path)).replace("{", "").replace("}", "")
    places = [Path(inner), Path("/", inner)]  # pathlib makes one slash of /vsizip//data
    return next((each for place in places for each in (place, *place.parents) if each.is_file()), None)
