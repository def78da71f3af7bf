"""Files that are written whole or not at all, by one run at a time."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path

from filelock import FileLock, Timeout

from jingwei.errors import OutputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_or_nothing(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """A temporary path for `path`, moved to it when the block ends well and deleted when it doesn't.

    It lies in a new folder beside `path` that only this user may enter: what others planted there under its name, such
    as links, is not followed, and what a killed run left is thrown away. `durable`: when the block has ended, the file
    outlasts a power cut; without it, what is read later has to be checked then.

    A full disk, a read-only folder, a device, a folder or another run that writes the same path becomes an OutputError.
    """
    path = Path(path)
    refuse_non_file(path)
    folder = path.with_name(f".{path.name}.part")
    with only_run(path):
        try:
            _make_private(folder)
            part = folder / path.name
            yield part
            if durable:
                _sync(part, os.O_RDWR)
            os.replace(part, path)
            if durable and os.name == "posix":  # Windows opens no folders
                with suppress(OSError):  # some file systems can't
                    _sync(path.parent, os.O_RDONLY)
        except OSError as error:
            raise write_failure(path, error) from error
        finally:
            remove(folder)


def refuse_non_file(path: Path) -> None:
    """Raises OutputError for pipes and devices: a file would take their place, for all programs of the machine.

    Links to them in /dev too, such as /dev/stdout, whatever they lead to now. And for folders, before any work is done.
    """
    place = Path(os.path.abspath(path))
    of_system = place.is_relative_to("/dev") and not place.is_relative_to("/dev/shm")
    if place.is_dir():
        raise OutputError(path, "is a folder, not a file", "name a file in it")
    if of_system or (place.exists() and not place.is_file()):
        raise OutputError(path, "is a pipe or a device, or lies among them", "name a file")


def refuse_twins(outputs: Iterable[Path]) -> None:
    """Raises OutputError where two outputs have one place."""
    for one, other in combinations(outputs, 2):
        if Path(one).resolve() == Path(other).resolve():
            raise OutputError(other, "is named for two outputs", "give each a file of its own")


def remove(path: Path) -> None:
    """Deletes a file, a folder with all that is in it, or a link, but not what links lead to; as far as it can."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def make_own_folder(path: Path) -> None:
    """Makes a folder for our own use, or clears one that is there of links: nothing is written through them.

    Raises OutputError where it can't be made.
    """
    try:
        if path.is_symlink():
            path.unlink()
        path.mkdir(parents=True, exist_ok=True)
        for place, folders, files in os.walk(path):
            for name in (*folders, *files):
                if os.path.islink(os.path.join(place, name)):
                    os.unlink(os.path.join(place, name))
    except OSError as error:
        raise write_failure(path, error) from error


def _make_private(folder: Path) -> None:
    """Makes a new folder that nobody else may write to, in place of what lies there."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        for stale in (folder, folder.with_name(f"{folder.name}-journal")):  # SQLite's, as version 0.3 left it
            remove(stale)
        folder.mkdir(mode=0o700)


def _sync(path: Path, flags: int) -> None:
    """Has the system put a file or folder on the disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def only_run(path: str | Path, wait: bool = False) -> Iterator[None]:
    """Keeps `path` (a file or a folder of outputs) to this run while the block runs, and makes the folder it lies in.

    A second run that asks for it gets an OutputError at once, or may wait. Held by the system, so a killed run holds
    nothing.
    """
    path = Path(path)
    place = Path(os.path.abspath(path))  # `.` has no name by itself
    file = place.parent / f".{place.name.lstrip('.')}.lock"
    lock = FileLock(file, blocking=wait)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        if not file.exists():  # as in /proc, where no file can be made
            raise OutputError(path, "can't be written (no files can be made there)", "write elsewhere") from None
        raise OutputError(path, "another run is writing it", "wait for its end, or stop it") from None
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # while it is held: whoever waits for it finds a file without a name, and asks again
        lock.release()


def write_failure(path: Path, error: OSError) -> OutputError:
    """What to raise where the system says that something can't be written."""
    remedy = room_at(path) if error.errno in FULL else "check the folder and its permissions, or write elsewhere"
    return OutputError(path, f"can't be written ({error.strerror or error})", remedy)


def room_at(path: Path) -> str:
    """The remedy for a full disk, with the room that is left where `path` should go."""
    folder = next((p for p in path.parents if p.exists()), Path())
    return f"free some space there ({shutil.disk_usage(folder).free / 1e9:.1f} GB left) or write elsewhere"
