"""Masks as people have them: class ids, 0 and 255, or colours; read as class ids, row by row.

The file tells what it holds: three 8-bit bands (with alpha or not) are colours; all else are values, each standing for
the class that has it as `value` or as id. Pixels with a palette are either: its colours count where they are the
legend's, see `_goes_by_colors`; else they are but how somebody shows values.
"""

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np

from jingwei.errors import InputError, known, listed
from jingwei.grid import strips
from jingwei.legend import NODATA, Legend, hex_of
from jingwei.raster.histogram import histogram
from jingwei.raster.label_values import UNKNOWN, ids_of_values
from jingwei.raster.map_legend import LEGEND
from jingwei.raster.reading import Raster
from jingwei.raster.tiles import TILE

BLACK = 0  # no data, where no class has this colour
READ_ROWS = 64  # rows translated at a time: colours as numbers take several times their room


class Mask:
    """A mask open for reading, rows from the top: class ids, NODATA where there is none.

    `unknown` counts the pixels, of all rows read, of each value or colour that the legend does not have; they become
    NODATA. `at_255` counts those that are NODATA because they are 255. Raises InputError for what can't be a mask.
    """

    notes: tuple = ()  # as of Raster

    def __init__(self, path: Path, legend: Legend):
        self.path, self.legend = Path(path), legend
        self._raster = Raster(path).refuse_lossy()
        self.height, self.width = self._raster.shape
        self.georeference = self._raster.georeference
        self.crs, self.transform = self.georeference.crs, self.georeference.transform
        self.unknown: Counter[int] = Counter()
        self.at_255 = 0
        self._colored = self._raster.bands == 3 and self._raster.dtype == np.uint8
        self._palette: dict[int, int] = {}  # index -> colour, where the file has a palette
        self._by_palette = False  # indices stand for their colours, not for values
        if not self._colored and (self._raster.bands != 1 or not np.issubdtype(self._raster.dtype, np.integer)):
            self._raster.__exit__()
            problem = f"is not a mask: {self._raster.bands} bands of {self._raster.dtype}"
            raise InputError(path, problem, "masks are one band of class ids, or 8-bit RGB in the legend's colours")
        self._ids = _ids_of_colors(legend) if self._colored else ids_of_values(legend)
        if not self._colored and self._raster.palette:
            self._take_palette(self._raster.palette)
        try:
            self._raster.settle_nodata(legend, lambda value: self._ids[value * 0x010101 if self._colored else value])
        except InputError:
            self._raster.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._raster.__exit__(*exception)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    def read_label_rows(self, first: int, end: int) -> np.ndarray:
        """The class ids of full rows, uint8 HW."""
        pixels, valid = self._raster.read_rows(first, end)
        labels = np.empty(valid.shape, np.uint8)
        for row, row_end in strips(end - first, READ_ROWS):
            labels[row:row_end] = self._ids_in(pixels[:, row:row_end], valid[row:row_end])
        return labels

    def _ids_in(self, pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """The class ids (HW) of pixels_CHW; what is unknown is counted."""
        keys = _rgb_numbers(pixels) if self._colored else pixels[0]
        if self._colored or keys.dtype == np.uint8:
            ids = self._ids[keys]
        else:
            inside = (keys >= 0) & (keys < len(self._ids))
            ids = np.where(inside, self._ids[np.where(inside, keys, 0)], UNKNOWN)
        strange = (ids == UNKNOWN) & valid
        if strange.any():
            found, counts = np.unique(keys[strange], return_counts=True)
            self.unknown.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        if not self._colored and not self._by_palette:
            self.at_255 += int(np.count_nonzero((keys == NODATA) & (ids == NODATA)))
        return np.where(valid & ~strange, ids, NODATA)

    def count(self) -> np.ndarray:
        """Pixels per class of the whole mask, int64. Raises InputError naming what the legend does not have."""
        counts = np.zeros(256, np.int64)
        for first, end in strips(self.height, TILE):
            counts += histogram(self.read_label_rows(first, end))
        self.refuse_unknown()
        return counts[: len(self.legend)]

    def _take_palette(self, palette: dict[int, tuple[int, int, int, int]]) -> None:
        """Goes by the palette's colours where they are the legend's. An index that the palette lacks is unknown."""
        self._palette = {index: red << 16 | green << 8 | blue for index, (red, green, blue, _) in palette.items()}
        opaque = {index: color for index, color in self._palette.items() if palette[index][3]}
        self._by_palette = _goes_by_colors(opaque, self.legend)
        ids = np.full(max(256, *(index + 1 for index in palette)), UNKNOWN, np.int16)
        if self._by_palette:
            ids[list(palette)] = NODATA
            ids[list(opaque)] = _ids_of_colors(self.legend)[list(opaque.values())]
            if (tagged := self._raster.nodata) in self._palette:  # GDAL makes it transparent, whatever its colour
                named = _ids_of_colors(self.legend)[self._palette[int(tagged)]]
                ids[int(tagged)] = named if named != UNKNOWN else NODATA
        else:
            # No data needs no colour.
            said = [index for index in (*palette, NODATA, *self.legend.ignore) if index < len(self._ids)]
            ids[said] = self._ids[said]
        self._ids = ids

    def refuse_unknown(self) -> None:
        """Raises InputError naming the values or colours of the rows read that the legend does not have."""
        if not self.unknown:
            return
        self._refuse_beyond_palette()
        colors = ", ".join(f"{hex_of(c.color)} {c.name}" for c in self.legend.classes)
        remedy = f"the legend has {colors}: correct the mask or the legend"
        unknown = self.unknown
        if self._by_palette:
            unknown = Counter()
            for index, count in self.unknown.items():
                unknown[self._palette[index]] += count
            remedy += "; where its pixels are class ids, save it without the palette"
        strange = unknown.most_common()
        if self._colored or self._by_palette:
            what, name = "colours", lambda key: f"#{key:06X}"
        else:
            what, name = "values", str
            values = [f"{c.mask_value} {c.name}" for c in self.legend.classes]
            example = next((key for key, _ in strange if 0 <= key < NODATA), None)
            other = "values run 0 to 255: give the mask such values"
            if example is not None:
                other = f'in the legend, a class can have "value": {example}; or "ignore": [{example}], for no label'
            remedy = f"{known(values)}; {other}"
        shown = listed([f"{name(key)} ({count:,d} px)" for key, count in strange])
        problem = f"has {what} that legend {self.legend.name} does not know: {shown}"
        raise InputError(self.path, problem, remedy)

    def _refuse_beyond_palette(self) -> None:
        """Raises InputError where a pixel has no place in the file's own palette: what it stands for, nobody knows."""
        beyond = sorted(key for key in self.unknown if self._palette and key not in self._palette)
        if beyond:
            shown = listed([f"{key} ({self.unknown[key]:,d} px)" for key in beyond])
            problem = f"has pixels that its palette of {len(self._palette)} colours does not know: {shown}"
            raise InputError(self.path, problem, "export it again, as class ids without a palette")


def refuse_0_255(first: Path, legend: Legend, pixels: np.ndarray, at_255: int, others: bool = True) -> None:
    """Raises InputError where masks of 0 and 255 meet a legend that knows no 255: a class of theirs would be no data.

    `pixels` has those of each class in all masks, `at_255` as of Mask; `first` is one of the masks, and `others` says
    whether there are more. A class that says its `value` was thought about.
    """
    classes = [legend.classes[number] for number in np.flatnonzero(pixels)]
    if not at_255 or len(classes) > 1 or len(legend) == 1 or (classes and classes[0].value is not None):
        return
    if NODATA in legend.ignore:
        return
    one = legend.classes[0 if classes == [legend.classes[1]] else 1]
    entry = json.dumps({"id": one.id, "name": one.name, "color": hex_of(one.color), "value": NODATA})
    who = "this mask and all others have" if others else "this mask has"
    what = "one class and 255" if classes else "nothing but 255"
    remedy = f"where 255 is a class, say so in the legend: {entry}"
    if classes:
        remedy += f'; where it is not, say "value": {classes[0].mask_value} for {classes[0].name}'
    raise InputError(first, f"{who} {what}, which is no data", remedy)


def refuse_palette_of_classes(labels: Raster, legend: Legend) -> None:
    """Raises InputError for labels of ids whose palette says that the ids stand for other classes of the legend.

    Programs that save pictures number colours as they come. Our own maps hold ids, whatever colours classes have today.
    """
    palette = {
        index: red << 16 | green << 8 | blue for index, (red, green, blue, alpha) in labels.palette.items() if alpha
    }
    if not palette or LEGEND in labels.tags or not _goes_by_colors(palette, legend):
        return
    by_value, by_color = ids_of_values(legend), _ids_of_colors(legend)
    for index, color in palette.items():
        meant = int(by_color[color])
        if color != BLACK and 0 <= meant < len(legend) and (index > NODATA or by_value[index] != meant):
            problem = f"its palette has the legend's colours at other values: {index} has that of "
            problem += f"{meant} {legend.classes[meant].name}"
            remedy = "save it as class ids without a palette, made of the colours where these are right"
            raise InputError(labels.path, problem, remedy)


def _goes_by_colors(palette: dict[int, int], legend: Legend) -> bool:
    """Whether the colours of a palette (index -> 0xRRGGBB), not its indices, say what the classes are.

    By palette and legend alone: going by the pixels in use would read two files of a data set in two ways. Black pads
    palettes, so it tells nothing.
    """
    ids = _ids_of_colors(legend)
    if all(c.mask_value in palette and ids[palette[c.mask_value]] == c.id for c in legend.classes):
        return False  # both ways say the same, and values know 255 as no data
    if len(palette) > 1 and all(color == index * 0x010101 for index, color in palette.items()):
        return False  # a ramp of greys is what values look like
    colors = set(palette.values()) - {BLACK}
    of_legend = {color for color in colors if ids[color] != UNKNOWN}
    if len(of_legend) == len(colors):
        return True
    painted = [c.color for c in legend.classes if c.color != (0, 0, 0)]
    # Few colours, some of them the legend's: a picture with strays in it, which would make sense as ids by accident.
    # Of many, those are a coincidence; and a picture of so many colours can't pass for ids.
    return bool(of_legend) and (2 * len(of_legend) >= len(painted) or len(colors) <= len(legend))


def _rgb_numbers(pixels_CHW: np.ndarray) -> np.ndarray:
    """Each colour as one number, 0xRRGGBB, int32 HW."""
    red, green, blue = (plane.astype(np.int32) for plane in pixels_CHW)
    return red << 16 | green << 8 | blue


@lru_cache(maxsize=2)
def _ids_of_colors(legend: Legend) -> np.ndarray:
    """0xRRGGBB -> class id, NODATA or UNKNOWN: int16 of 2^24. Greys stand for the classes that have them as `value`."""
    ids = np.full(1 << 24, UNKNOWN, np.int16)
    ids[[BLACK, *(value * 0x010101 for value in legend.ignore)]] = NODATA
    for land_class in legend.classes:
        if land_class.value is not None:
            ids[land_class.value * 0x010101] = land_class.id
    for land_class in legend.classes:
        red, green, blue = land_class.color
        ids[red << 16 | green << 8 | blue] = land_class.id
    return ids
