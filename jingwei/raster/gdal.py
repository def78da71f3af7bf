"""What GDAL says while it works: some of its failures raise nothing."""

import logging
import os
import re
import sys
import threading
import warnings
from contextlib import contextmanager

from rasterio._env import get_gdal_config, set_gdal_config
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

from jingwei.system.while_used import WhileUsed

CACHE_BYTES = 96 << 20  # rows are read in slices whose blocks fit; GDAL's own default is 5 % of the machine
_GDAL_LOG = logging.getLogger("rasterio")
# GDAL's shortcut for a PNG that is read at once gives wrong pixels, and no error, where the file's last chunk is lost.
# Asked for while it is opened and while it is read: either alone reads on in silence.
PNG_OPTIONS = {"GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO"}


@contextmanager
def _small_cache():
    """GDAL's block cache is no larger than CACHE_BYTES, unless the user has set its size."""
    before = get_gdal_config("GDAL_CACHEMAX")
    ending = sys.is_finalizing  # where the interpreter ends before a reader does, this module has no names any more
    smaller = "GDAL_CACHEMAX" not in os.environ and before > CACHE_BYTES
    if smaller:
        set_gdal_config("GDAL_CACHEMAX", CACHE_BYTES)
    try:
        yield
    finally:
        if smaller and not ending():
            set_gdal_config("GDAL_CACHEMAX", before)


@contextmanager
def _without_warnings_of_place():
    """The contests' PNGs have no georeference, which needs no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def _rasterio_speaks():
    """rasterio notes what GDAL signals while a file is closed, which raises nothing, and at a level that few look at.

    Those who listen to it already hear no more than they did.
    """
    before = _GDAL_LOG.level, _GDAL_LOG.propagate
    above = _Above(_GDAL_LOG.getEffectiveLevel())
    _GDAL_LOG.setLevel(logging.INFO)
    _GDAL_LOG.propagate = False
    if before[1]:
        _GDAL_LOG.addHandler(above)
    try:
        yield
    finally:
        _GDAL_LOG.removeHandler(above)
        _GDAL_LOG.level, _GDAL_LOG.propagate = before
        _GDAL_LOG.setLevel(before[0])  # clears what loggers remember of levels


class _Above(logging.Handler):
    """Hands records on to the loggers above rasterio's, as they would have got them."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= self.level and _GDAL_LOG.parent is not None and _GDAL_LOG.parent.hasHandlers():
            _GDAL_LOG.parent.callHandlers(record)


small_cache = WhileUsed(_small_cache)
without_warnings_of_place = WhileUsed(_without_warnings_of_place)
speaking = WhileUsed(_rasterio_speaks)

# What rasterio raises where GDAL fails. UnicodeDecodeError: of a message that is not UTF-8, by a file's name in it.
GDAL_FAILURES = (RasterioError, CRSError, CPLE_BaseError, UnicodeDecodeError)


def reason_of(failure: Exception) -> str:
    """What GDAL said, on one line."""
    cause = failure.__cause__ or failure
    said = cause.object.decode(errors="replace") if isinstance(cause, UnicodeDecodeError) else str(cause)
    return " ".join(said.split())


@contextmanager
def gdal_errors(of_this_thread: bool = False):
    """Collects what GDAL reports as errors while the block runs: some failed reads and writes raise nothing.

    `of_this_thread` leaves out what other threads do: a reader must not take a writer's full disk for a broken file.
    """
    collected: list[str] = []
    thread = threading.get_ident()
    handler = logging.Handler(logging.INFO)

    def emit(record: logging.LogRecord) -> None:
        message = record.getMessage()
        signalled = re.fullmatch(r"GDAL signalled an error: err_no=\d+, msg=['\"](.*)['\"]", message, re.DOTALL)
        if (signalled or record.levelno >= logging.ERROR) and (not of_this_thread or record.thread == thread):
            collected.append(signalled[1] if signalled else message)

    handler.emit = emit  # type: ignore[method-assign]
    _GDAL_LOG.addHandler(handler)
    try:
        with speaking, _undecodable:
            yield collected
    finally:
        _GDAL_LOG.removeHandler(handler)


@contextmanager
def _undecodable_heard():
    """Hears the messages that rasterio can't decode: it drops them, and with them the failure that they tell of.

    Cython gives what it drops to both hooks of `sys`.
    """
    before = sys.unraisablehook, sys.excepthook

    def hear(dropped) -> None:
        place = str(dropped.object)
        if not (isinstance(dropped.exc_value, UnicodeDecodeError) and place.startswith("rasterio._e")):
            before[0](dropped)
        elif place.endswith("error_handler"):  # that of errors; `log_error` hears warnings too, and errors again
            _GDAL_LOG.error(reason_of(dropped.exc_value))

    def show(kind, error, trace) -> None:
        if not isinstance(error, UnicodeDecodeError):
            before[1](kind, error, trace)

    sys.unraisablehook, sys.excepthook = hear, show
    try:
        yield
    finally:
        sys.unraisablehook, sys.excepthook = before


_undecodable = WhileUsed(_undecodable_heard)
