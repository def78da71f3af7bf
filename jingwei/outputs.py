"""Files that are written whole or not at all."""

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from jingwei.errors import OutputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_or_nothing(path):
    """A temporary path beside `path`, renamed to it when the block ends well and deleted when it doesn't.

    A full disk or a read-only folder becomes an OutputError.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        remedy = room_at(path) if error.errno in FULL else "check the folder and its permissions, or write elsewhere"
        raise OutputError(path, f"can't be written ({error.strerror or error})", remedy) from error
    finally:
        with suppress(OSError):  # where the folder itself can't be, there is nothing to delete
            part.unlink()


def room_at(path: Path) -> str:
    """The remedy for a full disk, with the room that is left where `path` should go."""
    folder = next((p for p in path.parents if p.exists()), Path())
    return f"free some space there ({shutil.disk_usage(folder).free / 1e9:.1f} GB left) or write elsewhere"
