"""Fills holes and removes small regions in a map on disk: the file's side of `regions.py`."""

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jingwei import grid, raster
from jingwei.errors import SettingError
from jingwei.legend import NODATA, Legend
from jingwei.pictures import painted
from jingwei.png import PngWriter, write_png
from jingwei.regions import Filled

PICTURE_SIDE = 1500  # pixels: about 3 % of a contest scene
HIGHLIGHTS = ((255, 0, 255), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 255, 255))


def fill_map(
    source: Path,
    target: Path,
    *,
    legend: Legend,
    max_size: int = 500,
    min_area: int = 0,
    connectivity: int = 4,
    classes: Collection[int] | None = None,
    submit_png: Path | None = None,
    picture: Path | None = None,
    strip_rows: int = 512,
    progress=tqdm,
) -> np.ndarray:
    """Fills the holes of a label map and removes its small regions, exactly as `regions.Filled` says.

    Parameters
    ----------
    source
        A raster of class ids: GeoTIFF or PNG. Only read.
    target
        The result: a tiled GeoTIFF with the legend's colours, nodata 255, at the source's place on earth.
    legend
        Names the background class. Without one there are no holes, only small regions.
    max_size, min_area, connectivity, classes
        As in `regions.Filled`, in pixels.
    submit_png
        The result as the contests want it, where given: a grey PNG of class ids, nodata as 0.
    picture
        A small picture of the result, where given: 1500 px along the longer side at most, changes in a loud colour. A
        pixel of it counts as changed when anything under it has.
    strip_rows
        Rows held in memory at a time.
    progress
        Called as tqdm is, for the progress bar.

    Returns the table of changed pixels: [from, to], int64, 256 x 256. Outputs are written whole or not at all. Raises
    SettingError for rules that make no sense, InputError and OutputError for files.
    """
    _check_rules(legend, max_size, min_area, connectivity, classes)
    outputs = [path for path in (target, submit_png, picture) if path is not None]
    if any(Path(path).resolve() == Path(source).resolve() for path in outputs):
        raise SettingError(source, "is the input and an output at once", "write the result elsewhere")
    with ExitStack() as stack:
        labels = stack.enter_context(raster.open_labels(source))
        height, width = labels.shape
        bar = stack.enter_context(progress(total=0, desc="fill", unit="px", unit_scale=True, disable=None))

        def strips():
            # Opened again for every pass: a PNG can only be read from the top.
            with raster.open_labels(source) as scene:
                for first, end in grid.strips(height, strip_rows):
                    yield scene.read_label_rows(first, end)
                    bar.update((end - first) * width)

        filled = Filled(
            strips, height, width, background=legend.background,
            max_size=max_size, min_area=min_area, connectivity=connectivity, classes=classes,
        )  # fmt: skip
        bar.total = filled.passes * height * width
        colormap = legend.colormap()
        tiled = raster.TiledWriter(target, height, width, like=labels, nodata=NODATA, colormap=colormap)
        writer = stack.enter_context(tiled)
        png = stack.enter_context(PngWriter(submit_png, height, width)) if submit_png else None
        small = _Picture(height, width, legend)
        top = 0
        for before, after in filled:
            writer.write(grid.Window(top, 0, len(after), width), after)
            if png:
                png.write(raster.without_nodata(after))
            if picture:
                small.add(top, before, after)
            top += len(after)
        if picture:
            write_png(picture, small.pixels_HWC())
    return filled.changed


def _check_rules(legend, max_size, min_area, connectivity, classes) -> None:
    if connectivity not in (4, 8):
        raise SettingError("--connectivity", f"is {connectivity}", "take 4 or 8")
    for flag, value in (("--max_size", max_size), ("--min_area", min_area)):
        if value < 0:
            raise SettingError(flag, f"is {value}", "take 0 (leaves the step out) or a number of pixels")
    unknown = sorted(set(classes or ()) - set(range(len(legend))))
    if unknown:
        known = ", ".join(f"{c.id} {c.name}" for c in legend.classes)
        raise SettingError("--classes", f"legend {legend.name} has no {unknown}", f"take some of: {known}")
    if min_area == 0 and legend.background is None:
        remedy = "take a legend that names one, or give --min_area to remove small regions"
        raise SettingError(f"legend {legend.name}", "has no background class, so there are no holes", remedy)
    if min_area == 0 and max_size == 0:
        raise SettingError("--max_size", "is 0 and --min_area is 0", "give one of them, or there is nothing to do")


class _Picture:
    """The top left pixel of every `step` x `step` block of a map, and whether anything in the block has changed."""

    def __init__(self, height: int, width: int, legend: Legend):
        self._legend = legend
        self._step = -(-max(height, width) // PICTURE_SIDE)
        shape = -(-height // self._step), -(-width // self._step)
        self._labels = np.full(shape, NODATA, np.uint8)
        self._changed = np.zeros(shape, bool)

    def add(self, top: int, before: np.ndarray, after: np.ndarray) -> None:
        """Takes a strip of the map (uint8 HW), whose first row is row `top`."""
        step = self._step
        rows = after[-top % step :: step, ::step]
        first = -(-top // step)
        self._labels[first : first + len(rows)] = rows
        # The first block of rows may have begun in the strip before.
        edges = np.unique(np.maximum(np.arange(top // step * step, top + len(after), step) - top, 0))
        changed_rows = np.logical_or.reduceat(before != after, edges, axis=0)
        changed = np.logical_or.reduceat(changed_rows, np.arange(0, after.shape[1], step), axis=1)
        self._changed[top // step : top // step + len(changed)] |= changed

    def pixels_HWC(self) -> np.ndarray:
        """The picture, uint8 RGB."""
        taken = {land_class.color for land_class in self._legend.classes}
        pixels = painted(self._labels, self._legend)
        pixels[self._changed] = next((color for color in HIGHLIGHTS if color not in taken), HIGHLIGHTS[0])
        return pixels
