"""The report's folder. It is recognised by what is in it; nothing but what we named is overwritten or deleted."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from jingwei.errors import OutputError
from jingwei.system.own_files import kept_json

PAGE, DATA, TILES, VIEWER = "index.html", "data.js", "tiles", "viewer"
# Of every page that we wrote, version 0.3.0's too: the data that it asks for, and its title before a script sets one.
OURS = (b'<script src="data.js"></script>', b"<title>Jingwei</title>")
DATA_BEGINS = b"const REPORT = "
ABOUT = "layer.json"
# What it holds.
ABOUT_SHAPE = {"kind": str, "height": int, "width": int, "counts": tuple[int, ...], "tiles": {str: str}}
LAYER = re.compile(r"[a-z]+-[0-9a-f]{16}")
UNFINISHED = re.compile(r"\.[a-z]+-[0-9a-f]{16}\.part")
TILE_FILE = re.compile(r"\d+_\d+\.(js|jpg)")


def files_named_by(folder: Path) -> set[str]:
    """The files that a report's page asks for, and the page itself: `viewer/look.js`. Empty where no page is ours."""
    try:
        page = (folder / PAGE).read_bytes()
    except OSError:
        return set()
    if not all(mark in page for mark in OURS):
        return set()
    return {PAGE} | {name.decode("ascii", "replace") for name in re.findall(rb'(?:src|href)="([\w./-]+)"', page)}


def refuse_foreign(folder: Path, files: dict[str, bytes | None]) -> None:
    """Raises OutputError for a folder that is not a report of ours, and for files of others where ours are to go.

    `files`: what is to be written, by its place in the folder; None where its content is not known yet.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (files_named_by(folder) or _any_layer(folder))):
        raise OutputError(folder, "is not a report, and not an empty folder", "name another folder with `output`")
    for name in (TILES, VIEWER):
        if (folder / name).is_symlink():
            problem = "is a link, and reports are not written through links"
            raise OutputError(folder / name, problem, "name the folder itself with `output`")
    ours = files_named_by(folder)
    for name, content in files.items():
        place = folder / name
        if os.path.lexists(place) and not (name in ours and _could_be(place, name)) and not _same(place, content):
            raise OutputError(place, "is not a file of a report", "move it away, or name another folder with `output`")


def sweep(folder: Path, layers: set[Path], stale: Iterable[str]) -> None:
    """Deletes the layers that the page no longer shows, those that a stopped run left, and `stale` files of ours."""
    for name in stale:
        with suppress(OSError):
            (folder / name).unlink()
    for scene in _folders(folder / TILES):
        for layer in _folders(scene):
            if layer not in layers and _is_layer(layer):
                remove_layer(layer)
        with suppress(OSError):
            scene.rmdir()
    with suppress(OSError):
        (folder / TILES).rmdir()


def remove_layer(folder: Path) -> None:
    """Deletes the files of a layer, and its folders where nothing else is in them."""
    for level in _folders(folder):
        if level.name.isdecimal():
            for tile in level.iterdir():
                if TILE_FILE.fullmatch(tile.name):
                    tile.unlink()
            with suppress(OSError):
                level.rmdir()
    (folder / ABOUT).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _any_layer(folder: Path) -> bool:
    """Whether a run that was stopped before its page left a layer."""
    return any(_is_layer(layer) for scene in _folders(folder / TILES) for layer in _folders(scene))


def _is_layer(folder: Path) -> bool:
    if UNFINISHED.fullmatch(folder.name):
        return True
    if not LAYER.fullmatch(folder.name):
        return False
    return kept_json(folder / ABOUT, ABOUT_SHAPE) is not None


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, links left out; none where it is not there."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _could_be(place: Path, name: str) -> bool:
    """Whether a file that our page names may be ours: the numbers have a beginning of their own."""
    if place.is_dir():
        return False
    if name != DATA:
        return True
    with open(place, "rb") as file:
        return file.read(len(DATA_BEGINS)) == DATA_BEGINS


def _same(place: Path, content: bytes | None) -> bool:
    try:
        return content is not None and place.read_bytes() == content
    except OSError:
        return False
