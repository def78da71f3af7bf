"""Copies scenes into tiled GeoTIFFs, of which any window can be read at once: what prediction reads."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jingwei.errors import InputError, SettingError
from jingwei.grid import Window, strips
from jingwei.raster.reading import Raster, open_image
from jingwei.raster.stamps import STAMP, is_stamped, stamp, up_to_date
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress


def tile_scene(source: Path, target: Path, workers: int) -> bool:
    """Copies a scene into a tiled GeoTIFF with a validity mask and overviews. False where that was done before."""
    if target.resolve() == source.resolve():
        raise SettingError(target, "is the input and the output at once", "write the copy elsewhere")
    mark = _mark(source)
    if up_to_date(target, mark):
        return False
    with open_image(source) as image:
        writer = TiledWriter(
            target, image.height, image.width, like=image, bands=image.bands, dtype=image.dtype.name,
            mask=True, overviews=True, workers=workers, tags={STAMP: mark}, band_names=image.described_bands,
        )  # fmt: skip
        total = image.height * image.width
        bar = Progress(total=total, unit="px", unit_scale=True, desc=f"tile {image.path.stem}")
        any_valid = False
        with bar, writer:
            for first, pixels, valid in ahead(_rows(image)):
                any_valid |= bool(valid.any())
                writer.write(Window(first, 0, len(valid), image.width), pixels, valid)
                bar.update(valid.size)
            if not any_valid:
                raise InputError(source, "has no valid pixel: all are transparent or nodata", "check its alpha")
    return True


def is_copy(copy: Path, source: Path) -> bool:
    """Whether a file is a copy that `tile_scene` made of a scene as it is now."""
    return up_to_date(copy, _mark(source))


def is_stale(copy: Path, source: Path) -> bool:
    """Whether a copy that `tile_scene` made is of another state of its scene, or of another version's making."""
    return is_stamped(copy) and not is_copy(copy, source)


def _mark(source: Path) -> str:
    return stamp(source, stage="tile")


def _rows(image: Raster) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    for first, end in strips(image.height, TILE):
        yield first, *image.read_rows(first, end)
