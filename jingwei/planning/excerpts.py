"""A part of a giant raster as a file of its own: enough to try a stage on, before it runs on the whole."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jingwei.grid import Window, even_starts, strips
from jingwei.inputs.label_files import LabelFiles
from jingwei.labels.drawn import DrawnLabels
from jingwei.legend import NODATA, Legend
from jingwei.raster.png import PngWriter
from jingwei.raster.reading import Raster
from jingwei.raster.same_place import check_same_grid
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter


class Drawn(NamedTuple):
    """Labels that are drawn, and the legend that they are read by."""

    files: LabelFiles
    legend: Legend


EXCERPT_PX = 24_000_000
LOOKS = 200
SEEK_SECONDS = 10.0  # for the first half-valid rows of a PNG, which are only reached through all rows above


def take_excerpt(
    sources: list[Path], rows: int, folder: Path, *, blocks: int = 3, width: int = 0, drawn: Drawn | None = None
) -> tuple[list[Path], float]:
    """Copies the same part of rasters of one size into a folder: (the copies, the share of the whole that they are).

    The part is `blocks` blocks of `rows` rows from different places, `width` px wide (0: as wide as EXCERPT_PX allows).
    Where the first source, the scene, is a PNG, it is as many rows in one piece, from where half of the pixels are
    valid, and the share is one of bytes, not of pixels. Of labels that are `drawn` over the scene, the last copy is a
    raster. Raises InputError where the rasters differ in size or place.
    """
    with Raster(sources[0]) as scene:
        for other in sources[1:]:
            with Raster(other) as beside:
                check_same_grid(beside, scene)
        width = min(scene.width, width or max(rows, EXCERPT_PX // (blocks * rows)))
        goes_down = _is_png(sources[0])
        parts = _below_the_margin(scene, blocks * rows, width) if goes_down else _spread(scene, rows, width, blocks)
        # Each in a folder of its own: a picture and its label may have one name.
        copies = [copy_parts(source, parts, folder / str(number)) for number, source in enumerate(sources)]
        if drawn:
            copies.append(_burn_parts(drawn, scene, parts, folder / f"{sources[0].stem}_label.png"))
        if goes_down:
            return copies, min(1.0, copies[0].stat().st_size / sources[0].stat().st_size)
        return copies, sum(part.height * part.width for part in parts) / (scene.height * scene.width)


def _burn_parts(drawn: Drawn, scene: Raster, parts: list[Window], copy: Path) -> Path:
    """Parts of drawn labels, one below the other, as a raster of the legend's values."""
    values = np.full(256, NODATA, np.uint8)
    values[: len(drawn.legend)] = [land_class.mask_value for land_class in drawn.legend.classes]
    height, files = sum(part.height for part in parts), drawn.files
    with (
        DrawnLabels(files.files, drawn.legend, files.rules, scene) as labels,
        PngWriter(copy, height, parts[0].width) as png,
    ):
        for part in parts:
            for first, end in strips(part.height, TILE):
                png.write(values[labels.read_labels(Window(part.row + first, part.col, end - first, part.width))])
    return copy


def count_windows(source: Path, sample: Path, share: float, window: int, overlap: int) -> int:
    """How many windows of a scene have a valid pixel, as far as LOOKS of them tell.

    In a PNG no window can be looked at: the size of its empty margins follows from the `share` of bytes in the excerpt.
    """
    with Raster(source) as scene, Raster(sample) as part:
        rows, cols = (even_starts(length, window, overlap) for length in scene.shape)
        places = [(row, col) for row in rows for col in cols]
        if _is_png(source):
            filled = part.height * part.width / share / (scene.height * scene.width)
            return max(1, round(len(places) * min(1.0, filled)))
        looks = places[:: -(-len(places) // LOOKS)]
        sides = min(window, scene.height), min(window, scene.width)
        seen = sum(bool(scene.read_validity(Window(*place, *sides)).any()) for place in looks)
        return max(1, round(len(places) * seen / len(looks)))


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def _spread(scene: Raster, rows: int, width: int, blocks: int) -> list[Window]:
    down, right = scene.height - rows, scene.width - width
    if down < blocks * rows:
        return [Window(0, right // 2, min(blocks * rows, scene.height), width)]
    shares = [(2 * block + 1) / (2 * blocks) for block in range(blocks)]
    return [Window(int(down * share), int(right * share), rows, width) for share in shares]


def _below_the_margin(scene: Raster, rows: int, width: int) -> list[Window]:
    height, left = min(rows, scene.height), (scene.width - width) // 2
    row, begun = 0, time.perf_counter()
    while row + TILE + height <= scene.height and time.perf_counter() - begun < SEEK_SECONDS:
        _, valid = scene.read_rows(row, row + TILE)
        if valid[:, left : left + width].mean() >= 0.5:
            break
        row += TILE
    return [Window(row, left, height, width)]


def copy_parts(source: Path, parts: list[Window], folder: Path) -> Path:
    """Parts of a raster, one below the other, as a file of the same name and kind."""
    height, width = sum(part.height for part in parts), parts[0].width
    with Raster(source) as scene:
        if _is_png(source) and scene.bands in (1, 3) and scene.dtype == np.uint8:
            copy = folder / source.name
            with PngWriter(copy, height, width, bands=scene.bands + (scene.bands == 3)) as png:
                for _, pixels, valid in _strips(scene, parts):
                    alpha = [valid * np.uint8(255)]
                    png.write(np.stack([*pixels, *alpha], axis=2) if scene.bands == 3 else pixels[0])
            return copy
        copy = folder / f"{source.stem}.tif"
        kind: dict[str, Any] = {"bands": scene.bands, "dtype": scene.dtype.name}
        kind |= {"nodata": scene.nodata, "mask": scene.nodata is None}
        with TiledWriter(copy, height, width, **kind) as tiff:
            for top, pixels, valid in _strips(scene, parts):
                tiff.write(Window(top, 0, *valid.shape), pixels, valid)
        return copy


def _strips(scene: Raster, parts: list[Window]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(row of the copy, pixels_CHW, valid_HW), a tile's height at a time."""
    top = 0
    for part in parts:
        for first, end in strips(part.height, TILE):
            yield top, *scene.read(Window(part.row + first, part.col, end - first, part.width))
            top += end - first
