"""Files that are written whole or not at all, by one run at a time."""

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from jingwei.errors import OutputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_or_nothing(path):
    """A temporary path beside `path`, renamed to it when the block ends well and deleted when it doesn't.

    A full disk, a read-only folder or another run that writes the same path becomes an OutputError.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    with only_run(path):
        try:
            yield part
            os.replace(part, path)
        except OSError as error:
            raise _failure(path, error) from error
        finally:
            with suppress(OSError):
                part.unlink()


@contextmanager
def only_run(path, wait: bool = False):
    """Keeps `path` (a file or a folder of outputs) to this run while the block runs, and makes the folder it lies in.

    A second run that asks for it gets an OutputError at once, or may wait. Held by the system, so a killed run holds
    nothing.
    """
    path = Path(path)
    file = path.with_name(f".{path.name.lstrip('.')}.lock")
    lock = FileLock(file, blocking=wait)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(path, "another run is writing it", "wait for its end, or stop it") from None
    except OSError as error:
        raise _failure(path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # while it is held: whoever waits for it finds a file without a name, and asks again
        lock.release()


def _failure(path: Path, error: OSError) -> OutputError:
    remedy = room_at(path) if error.errno in FULL else "check the folder and its permissions, or write elsewhere"
    return OutputError(path, f"can't be written ({error.strerror or error})", remedy)


def room_at(path: Path) -> str:
    """The remedy for a full disk, with the room that is left where `path` should go."""
    folder = next((p for p in path.parents if p.exists()), Path())
    return f"free some space there ({shutil.disk_usage(folder).free / 1e9:.1f} GB left) or write elsewhere"
