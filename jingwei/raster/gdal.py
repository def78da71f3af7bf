"""What GDAL says while it works: some of its failures raise nothing."""

import logging
import os
import re
import threading
import warnings
from contextlib import contextmanager

from rasterio.errors import NotGeoreferencedWarning

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
        yield collected
    finally:
        _GDAL_LOG.removeHandler(handler)
