"""Fills holes and removes small regions in a map on disk: the file's side of `holes.py` and `contest_frames.py`."""

from collections.abc import Collection, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jingwei import grid
from jingwei.errors import SettingError
from jingwei.filling.contest_frames import Framed
from jingwei.filling.holes import Band, Filled
from jingwei.legend import NODATA, Legend
from jingwei.raster.checked import checked_strips, open_map
from jingwei.raster.map_legend import legend_tags
from jingwei.raster.png import PngWriter, write_png
from jingwei.raster.preview import painted
from jingwei.raster.stamps import FILLED, STAMP
from jingwei.raster.styles import write_class_style
from jingwei.raster.writing import TiledWriter, without_nodata
from jingwei.system.atomic import refuse_twins
from jingwei.system.compiled import compiled
from jingwei.system.prefetch import ahead, behind
from jingwei.system.progress import Progress

LARGEST = 1 << 62  # pixels that a rule may name: more do not fit int64
PICTURE_SIDE = 1500  # pixels: about 3 % of a contest scene
HIGHLIGHTS = ((255, 0, 255), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 255, 255))


class Frames(NamedTuple):
    """The contest script's rule: square frames of these sizes, `step` px apart; see `contest_frames.Framed`."""

    sizes: tuple[int, ...] = (500, 400)
    step: int = 50


def fill_map(
    source: Path,
    target: Path,
    *,
    legend: Legend,
    max_size: int = 500,
    min_area: int | Mapping[int, int] = 0,
    connectivity: int = 4,
    classes: Collection[int] | None = None,
    protect: Collection[int] = (),
    frames: Frames | None = None,
    submit_png: Path | None = None,
    picture: Path | None = None,
    strip_rows: int = 256,
    progress=Progress,
) -> np.ndarray:
    """Fills the holes of a label map and removes its small regions, exactly as `holes.Filled` says.

    Parameters
    ----------
    source
        A raster of class ids: GeoTIFF or PNG. Only read.
    target
        The result: a tiled GeoTIFF with the legend's colours, nodata 255, at the source's place on earth. Working data
        (about two bytes per run of equal pixels) lie in a file without a name beside it.
    legend
        Names the background class. Without one there are no holes, only small regions.
    max_size, min_area, connectivity, classes, protect
        As in `holes.Filled`, in pixels.
    frames
        Where given, holes are what these frames surround. Of the rules above, only `classes` counts then.
    submit_png
        The result as the contests want it, where given: a grey PNG of class ids, nodata as 0.
    picture
        A small picture of the result, where given: 1500 px along the longer side at most, changes in a loud colour. A
        pixel of it counts as changed when anything under it has.
    strip_rows
        Rows read at a time.
    progress
        Called as Progress is, for the progress bar.

    Returns the table of changed pixels: [from, to], int64, 256 x 256. Outputs are written whole or not at all. Raises
    SettingError for rules that make no sense, InputError for maps that can't be read or have ids that the legend lacks,
    and OutputError.
    """
    rules: dict[str, Any] = {"background": legend.background, "classes": classes}
    if frames is None:
        _check_rules(legend, max_size, min_area, connectivity, protect)
        rules |= {"max_size": max_size, "min_area": min_area, "connectivity": connectivity, "protect": protect}
        rules["folder"] = Path(target).parent  # of its working data
    else:
        _check_frames(legend, frames)
        rules |= {"sizes": frames.sizes, "step": frames.step}
    legend.check_ids("`classes`", classes or ())
    _check_paths(source, (target, submit_png, picture))
    with ExitStack() as stack:
        labels = stack.enter_context(open_map(source, legend))
        height, width = labels.shape
        bar = stack.enter_context(progress(total=0, desc="fill", unit="px", unit_scale=True))

        def strips():
            return ahead(checked_strips(labels, legend, strip_rows))

        fill = Filled if frames is None else Framed
        filled = fill(strips, height, width, **rules, progress=bar.update)
        bar.total = filled.passes * height * width
        tags = legend_tags(legend) | ({FILLED: labels.tags[STAMP]} if STAMP in labels.tags else {})
        kind: dict[str, Any] = {"nodata": NODATA, "colormap": legend.colormap(), "tags": tags}
        tiled = TiledWriter(target, height, width, like=labels, overviews=True, **kind)
        writer = stack.enter_context(tiled)
        png = stack.enter_context(PngWriter(submit_png, height, width)) if submit_png else None
        put_away = [lambda band: writer.write(grid.Window(band.top, 0, len(band.labels), width), band.labels)]
        if png:
            put_away.append(lambda band: png.write(without_nodata(band.labels)))
        writers = [stack.enter_context(behind(work)) for work in put_away]
        small = _Picture(height, width, legend)
        # Closed before the files are: then nobody reads from them any more.
        for band in stack.enter_context(closing(iter(filled))):
            for write in writers:
                write(band)
            if picture:
                small.add(band)
        if picture:
            write_png(picture, small.pixels_HWC())
    for path in (target, submit_png):
        if path:
            write_class_style(Path(path), legend)
    return filled.changed


def _check_rules(legend, max_size, min_area, connectivity, protect) -> None:
    if connectivity not in (4, 8):
        raise SettingError("`connectivity`", f"is {connectivity}", "take 4 or 8")
    areas = min_area.values() if isinstance(min_area, Mapping) else (min_area,)
    for flag, values in (("`max_size`", (max_size,)), ("`min_area`", areas)):
        for value in values:
            if not 0 <= value <= LARGEST:
                raise SettingError(flag, f"is {value}", "take 0 (leaves the step out) or a number of pixels")
    legend.check_ids("`protect`", protect)
    if isinstance(min_area, Mapping):
        legend.check_ids("`min_area`", min_area)
    if not any(areas) and legend.background is None:
        remedy = "take a legend that names one, or give `min_area` to remove small regions"
        raise SettingError(f"legend {legend.name}", "has no background class, so there are no holes", remedy)
    if not any(areas) and max_size == 0:
        raise SettingError("`max_size`", "is 0 and `min_area` is 0", "give one of them, or there is nothing to do")
    if not any(areas) and legend.background in protect:
        problem = "keeps the background, so no hole can be filled"
        raise SettingError("`protect`", problem, "leave it out, or give `min_area` to remove small regions")


def _check_paths(source: Path, outputs: tuple[Path | None, ...]) -> None:
    if any(Path(path).resolve() == Path(source).resolve() for path in outputs if path is not None):
        raise SettingError(source, "is the input and an output at once", "write the result elsewhere")
    refuse_twins(path for path in outputs if path is not None)


def _check_frames(legend: Legend, frames: Frames) -> None:
    if not frames.sizes or min(frames.sizes) < 3:
        problem = f"is {' '.join(map(str, frames.sizes)) or 'empty'}"
        raise SettingError("`frame_sizes`", problem, "take sizes of 3 px or more: a frame has an inside")
    if frames.step < 1:
        raise SettingError("`step`", f"is {frames.step}", "take a distance of 1 px or more")
    if legend.background is None:
        raise SettingError(f"legend {legend.name}", "has no background class to fill", "take a legend that names one")


class _Picture:
    """The top left pixel of every `step` x `step` block of a map, and whether anything in the block has changed."""

    def __init__(self, height: int, width: int, legend: Legend):
        self._legend = legend
        self._step = -(-max(height, width) // PICTURE_SIDE)
        shape = -(-height // self._step), -(-width // self._step)
        self._labels = np.full(shape, NODATA, np.uint8)
        self._changed = np.zeros(shape, bool)

    def add(self, band: Band) -> None:
        """Takes the next rows of the map."""
        step = self._step
        rows = band.labels[-band.top % step :: step, ::step]
        first = -(-band.top // step)
        self._labels[first : first + len(rows)] = rows
        _mark(self._changed, band.changes, step)

    def pixels_HWC(self) -> np.ndarray:
        """The picture, uint8 RGB."""
        taken = {land_class.color for land_class in self._legend.classes}
        pixels = painted(self._labels, self._legend)
        pixels[self._changed] = next((color for color in HIGHLIGHTS if color not in taken), HIGHLIGHTS[0])
        return pixels


@compiled
def _mark(changed, changes, step):
    """Sets the pixels of a picture (bool) that lie over changes (row, first column, one past the last)."""
    for i in range(len(changes)):
        for col in range(changes[i, 1] // step, (changes[i, 2] - 1) // step + 1):
            changed[changes[i, 0] // step, col] = True
