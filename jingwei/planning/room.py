"""The look at the disk with which every long command begins."""

import os
from collections.abc import Iterable
from pathlib import Path

from jingwei.errors import OutputError
from jingwei.planning import estimates
from jingwei.planning.estimates import Size
from jingwei.raster.reading import Raster
from jingwei.system.machine import free_bytes


def require_room(place: Path, needed: int) -> None:
    """Raises OutputError where fewer than `needed` bytes are free on the disk of `place`, which need not exist yet.

    `needed` is a lower bound of `estimates.py`, far below what is likely, since nobody knows how well pixels compress
    before they are read: so no job that could fit should be refused. One that fills the disk later ends as it always
    did, with one line and nothing half-written.
    """
    free = free_bytes(place)
    if needed > free:
        problem = f"{spell_bytes(needed)} are needed at the very least, and {spell_bytes(free)} are free"
        raise OutputError(place, problem, "free some space there or write elsewhere; `dry_run` estimates the real need")


def require_room_for_crops(root: Path, images: Iterable[Path], keep_background: float) -> None:
    """`require_room` for the crops of scenes."""
    require_room(root, sum(int(_copy_at_least(image) * keep_background) for image in images))


def require_room_for_tiled(root: Path, copies: Iterable[tuple[Path, Path]]) -> None:
    """`require_room` for tiled copies: (image, copy). Those that are there may be up to date: left out."""
    require_room(root, sum(_copy_at_least(image) for image, copy in copies if not os.path.exists(copy)))


def require_room_for_maps(source: Path, outputs: Iterable[Path]) -> None:
    """`require_room` for maps of a raster's size, .tif or .png. Those that are there may be up to date: left out."""
    size = size_of(source)._replace(bands=1, itemsize=1)
    least = {".tif": estimates.tiles_at_least(size), ".png": estimates.png_at_least(size)}
    missing = [path for path in outputs if not os.path.exists(path)]  # Path.exists raises for a name that is too long
    if missing:
        require_room(missing[0].parent, sum(least.get(path.suffix.lower(), 0) for path in missing))


def _copy_at_least(image: Path) -> int:
    size = size_of(image)
    return estimates.copy_at_least(image.stat().st_size, size.px * size.px_bytes)


def size_of(path: Path) -> Size:
    """The size of a raster."""
    with Raster(path) as source:
        return Size(source.shape[0], source.shape[1], source.bands, source.dtype.itemsize)


def spell_bytes(count: float) -> str:
    """`3.4 kB`, `12 MB`, `1.25 GB`."""
    unit, name = next((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= u or n == "kB")
    return f"{count / unit:.3g} {name}"
