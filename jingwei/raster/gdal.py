"""What GDAL says while it works: some of its failures raise nothing."""

import logging
import os
import re
import sys
import threading
import warnings
from contextlib import contextmanager

from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

# Rows are read in slices whose blocks fit this cache, in megabytes; more brings nothing (GDAL's own default is 5 % of
# the machine). Set before GDAL starts, and only where the user has not.
os.environ.setdefault("GDAL_CACHEMAX", "96")
# What GDAL says comes back to us as errors; this is its copy for a terminal.
os.environ.setdefault("CPL_LOG", os.devnull)
# GDAL's shortcut for a PNG that is read at once gives wrong pixels, and no error, where the file's last chunk is lost.
os.environ["GDAL_PNG_WHOLE_IMAGE_OPTIM"] = "NO"

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # the contests' PNGs have no georeference
# What GDAL signals while a file is closed raises nothing; rasterio only notes it, and at this level.
_GDAL_LOG = logging.getLogger("rasterio")
_GDAL_LOG.setLevel(logging.INFO)


# What rasterio raises where GDAL fails. UnicodeDecodeError: of a message that is not UTF-8, by a file's name in it.
GDAL_FAILURES = (RasterioError, CRSError, CPLE_BaseError, UnicodeDecodeError)


def reason_of(failure: Exception) -> str:
    """What GDAL said, on one line."""
    failure = failure.__cause__ or failure
    said = failure.object.decode(errors="replace") if isinstance(failure, UnicodeDecodeError) else str(failure)
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

    handler.emit = emit
    _GDAL_LOG.addHandler(handler)
    try:
        with _undecodable:
            yield collected
    finally:
        _GDAL_LOG.removeHandler(handler)


class _Undecodable:
    """Hears the messages that rasterio can't decode: it drops them, and with them the failure that they tell of.

    A context manager for any number of threads at once. Cython gives what it drops to both hooks of `sys`.
    """

    def __init__(self):
        self._lock, self._users, self._before = threading.Lock(), 0, None

    def __enter__(self):
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = sys.unraisablehook, sys.excepthook
                sys.unraisablehook, sys.excepthook = self._hear, self._print

    def __exit__(self, *exception):
        with self._lock:
            self._users -= 1
            if self._users == 0:
                sys.unraisablehook, sys.excepthook = self._before

    def _hear(self, dropped) -> None:
        place = str(dropped.object)
        if not (isinstance(dropped.exc_value, UnicodeDecodeError) and place.startswith("rasterio._e")):
            self._before[0](dropped)
        elif place.endswith("error_handler"):  # that of errors; `log_error` hears warnings too, and errors again
            _GDAL_LOG.error(reason_of(dropped.exc_value))

    def _print(self, kind, error, trace) -> None:
        if not isinstance(error, UnicodeDecodeError):
            self._before[1](kind, error, trace)


_undecodable = _Undecodable()
