"""Which files GDAL may open, and by which of its drivers: see docs/security.md.

GDAL looks at what a file holds, whatever its name: a "PNG" of XML makes it fetch from the network, or read any file of
the machine. So known endings are opened by their drivers, unknown ones by those that read one self-contained file.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np
import rasterio
from rasterio.env import ensure_env_with_credentials
from rasterio.io import DatasetReader

from jingwei.errors import InputError, listed
from jingwei.raster.gdal import GDAL_FAILURES, PNG_OPTIONS, gdal_errors, reason_of, without_warnings_of_place
from jingwei.raster.linked_files import all_sources, check_file, has_header
from jingwei.raster.png import SIGNATURE

ALLOW_REMOTE = "JINGWEI_ALLOW_REMOTE"  # the environment's name for what `allow_remote` sets: it reaches all processes

# Pictures under a wrong one of these endings are common, and do no harm.
PICTURES = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "BMP", "GIF", "BIGGIF", "WEBP")
PICTURE_ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".jp2", ".j2k", ".bmp", ".gif", ".webp", ".ovr", ".msk")
# Their files may name others. They hold several pictures mostly, which are listed; to read one takes `allow_remote`.
LINKED = {".nc": ("netCDF",), ".hdf": ("HDF4", "HDF5"), ".h4": ("HDF4",)}
LINKED |= dict.fromkeys((".h5", ".hdf5", ".he5"), ("HDF5", "HDF5Image", "BAG"))
# One file, or files of fixed names beside it, and nothing in them that names another file or a place on the network.
SELF_CONTAINED = (
    *PICTURES, "AAIGrid", "ACE2", "AIG", "AVIF", "AirSAR", "BLX", "BSB", "BT", "BYN", "CALS", "CEOS", "COSAR", "CTG",
    "CTable2", "DDS", "DOQ1", "DOQ2", "DTED", "ECW", "EHdr", "ELAS", "ENVI", "ESAT", "EXR", "FIT", "FITS", "GFF",
    "GPKG", "GRASSASCIIGrid", "GRIB", "GS7BG", "GSAG", "GSBG", "GSC", "GTX", "GXF", "GenBin", "HEIF", "HF2", "HFA",
    "IDA", "IRIS", "ISCE", "ISG", "JAXAPALSAR", "JDEM", "JPEGLS", "JPEGXL", "KRO", "KTX2", "L1B", "LAN", "LCP",
    "Leveller", "MBTiles", "MSGN", "MrSID", "NGSGEOID", "NITF", "NTv2", "NWT_GRC", "NWT_GRD", "PAux", "PCRaster", "PNM",
    "R", "RIK", "RMF", "ROI_PAC", "RRASTER", "RST", "Rasterlite", "SAGA", "SAR_CEOS", "SGI", "SIGDEM", "SNAP_TIFF",
    "SRP", "SRTMHGT", "TGA", "Terragen", "USGSDEM", "VICAR", "XPM", "XYZ", "ZMap",
)  # fmt: skip


@contextmanager
def allow_remote(allowed: bool = True) -> Iterator[None]:
    """While the block runs, files may be of any driver and may name other files and places on the network."""
    before = os.environ.get(ALLOW_REMOTE)
    os.environ[ALLOW_REMOTE] = "1" if allowed else ""
    try:
        yield
    finally:
        os.environ.pop(ALLOW_REMOTE)
        if before is not None:
            os.environ[ALLOW_REMOTE] = before


def remote_allowed() -> bool:
    """Whether `allow_remote` is in force, here or in the process that started this one."""
    return os.environ.get(ALLOW_REMOTE, "") not in ("", "0")


def is_vsi(path: str | Path) -> bool:
    """Whether a path names one of GDAL's own file systems: an archive, an object store, a server."""
    return str(path).startswith("/vsi")


def open_dataset(path: str | Path) -> DatasetReader:
    """A raster file, open by rasterio. Raises InputError where it can't or must not be read, or holds no one picture.

    Of a TIFF with several pages the first one is read where it is the largest, as the others are previews then.
    """
    if not is_vsi(path):
        require_file(path)
    ending = Path(path).suffix.lower()
    free = remote_allowed()
    if not (free or is_vsi(path)):
        check_file(path)
    try:
        with gdal_errors(of_this_thread=True):  # so that nothing goes to the terminal
            dataset = open_by(path, [] if free else drivers_of(path))
    except GDAL_FAILURES as failure:
        remedy = "export it again"
        if not free and ending not in (*PICTURE_ENDINGS, ".vrt"):
            remedy += " as GeoTIFF; what names other files, such as XML, is opened with `allow_remote`"
        raise InputError(path, f"is not a raster that GDAL can read ({reason_of(failure)})", remedy) from failure
    try:
        _check_one_picture(dataset, path, ending, free)
        _check_whole(dataset, path)
    except InputError:
        dataset.close()
        raise
    return dataset


def require_file(path: str | Path) -> None:
    """Raises InputError where nothing lies at a path, or a pipe or a device: one would wait for it for ever.

    Folders pass: some formats are folders.
    """
    if not os.path.exists(path):
        raise InputError(path, "no such file", "check the path")
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise InputError(path, "is a pipe or a device, not a file", "save it to a file first")


def drivers_of(path: str | Path) -> list[str]:
    """The drivers that may open a file, by its ending."""
    ending = Path(path).suffix.lower()
    if ending == ".vrt":
        return ["VRT"]
    if ending in PICTURE_ENDINGS:
        return list(PICTURES)
    return list(LINKED.get(ending, SELF_CONTAINED))


def open_by(path: str | Path, drivers: list[str], **options) -> DatasetReader:
    """`path` opened by one of these drivers, [] for any. Raises one of GDAL_FAILURES."""
    name = vsi_name(path) if is_vsi(path) else os.path.abspath(path)
    with without_warnings_of_place, rasterio.Env(**PNG_OPTIONS) if _may_be_png(path) else nullcontext():
        return _open(_FileName(name), drivers, options)


def _may_be_png(path: str | Path) -> bool:
    """Whether a file begins like a PNG, whatever its name; behind /vsi it may, and under a VRT there may be one."""
    if is_vsi(path) or Path(path).suffix.lower() == ".vrt":
        return True
    try:
        with open(path, "rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False


@ensure_env_with_credentials
def _open(name: str, drivers: list[str], options: dict) -> DatasetReader:
    return DatasetReader(name, driver=drivers, **options)  # rasterio.open takes one driver at most


class _FileName(str):
    """A file's name, in whose bytes rasterio finds those of the disk, UTF-8 or not."""

    def encode(self, *how) -> bytes:
        return os.fsencode(str(self))


def vsi_name(path) -> str:
    """A name behind /vsi as GDAL wants it, whole again where it was a Path, which makes one slash of two.

    `/vsicurl/https:/host/a.tif` gets its second slash, and `/vsizip/data/a.zip/a.tif` its first one where it is there.
    """
    name = str(path)
    head, scheme, rest = name.partition(":/")
    if scheme and head.endswith(("http", "https", "ftp")):
        return f"{head}://{rest.lstrip('/')}"
    found = re.match(r"((?:/vsi[a-z0-9]+)+/)(.*)", name, re.DOTALL)
    system, inner = found.groups() if found else ("", name)
    top = inner.partition("/")[0]
    on_disk = system.startswith(("/vsizip", "/vsitar", "/vsigzip", "/vsi7z", "/vsirar"))
    absolute = on_disk and top and not os.path.exists(top) and os.path.exists(f"/{top}")
    return f"{system}/{inner}" if absolute else name


def _check_one_picture(dataset: DatasetReader, path: str | Path, ending: str, free: bool) -> None:
    """Raises InputError for a container of several pictures, for a stack of pages, and for what may name files."""
    try:
        inside = dataset.tags(ns="SUBDATASETS")
    except UnicodeDecodeError:
        inside = {}
    names = [text for key, text in inside.items() if key.endswith("_NAME")]
    if dataset.count == 0:
        raise _several(path, names, "pictures") if names else InputError(path, "has no bands", "export it again")
    sizes = [re.search(r"\((\d+)P x (\d+)L", text) for key, text in inside.items() if key.endswith("_DESC")]
    areas = [int(size[1]) * int(size[2]) for size in sizes[1:] if size]
    if dataset.driver == "GTiff" and max(areas, default=0) >= dataset.height * dataset.width:
        raise _several(path, names, "pages")
    if ending in LINKED and not free:
        raise InputError(path, f"is {dataset.driver}, which may name other files", "trust it with `allow_remote`")


def _check_whole(dataset: DatasetReader, path: str | Path) -> None:
    """Raises InputError for an ENVI file that is cut off: GDAL gives 0 for what is missing, where others fail.

    For such a file under a VRT too: those with a header beside them are looked at.
    """
    if dataset.driver == "VRT" and not is_vsi(path):
        for source in all_sources(Path(path)):
            if source.suffix.lower() != ".vrt" and has_header(source):
                with suppress(*GDAL_FAILURES), open_by(source, ["ENVI"]) as part:
                    _check_whole(part, source)
    if dataset.driver != "ENVI" or is_vsi(path):
        return
    try:
        said = dataset.tags(ns="ENVI")
    except UnicodeDecodeError:
        said = {}
    if said.get("file_compression", "0") != "0":
        return
    offset, there = said.get("header_offset", "0"), os.path.getsize(path)
    pixel = sum(np.dtype(name).itemsize for name in dataset.dtypes)
    size = dataset.height * dataset.width * pixel + (int(offset) if offset.isdecimal() else 0)
    if there < size:
        raise InputError(path, f"is cut off: {there:,} of its {size:,} bytes are there", "copy or export it again")


def _several(path: str | Path, names: list[str], what: str) -> InputError:
    remedy = f"take one out, as by: rio convert '{names[0]}' one.tif"
    return InputError(path, f"holds {len(names)} {what} ({listed(names)})", remedy)
