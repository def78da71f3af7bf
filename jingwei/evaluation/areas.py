"""How much of each class a map has: pixels and hectares, of the whole and of zones."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei import grid
from jingwei.evaluation.zones import add_zone, read_zones
from jingwei.legend import NODATA, Legend
from jingwei.raster.checked import checked_strips, open_map
from jingwei.raster.pixel_area import HECTARE, PIXELS, add_strip, ground_of
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress


class Areas(NamedTuple):
    """What a map or a zone has of each class, by id: pixels (int64) and hectares (float64; None: not known).

    `nodata` are the pixels without a class.
    """

    pixels: np.ndarray
    hectares: np.ndarray | None
    nodata: int


def measure_areas(
    source: Path,
    legend: Legend,
    *,
    gsd: float | None = None,
    zones: Path | None = None,
    zone_field: str | None = None,
    strip_rows: int = 256,
    progress=Progress,
) -> tuple[Areas, dict[str, Areas]]:
    """The areas of a label map, and those of each zone by name: see `zones.read_zones`.

    `gsd` is the side of a pixel on the ground in metres, where the georeference doesn't tell it or isn't to be asked.
    Raises SettingError, and InputError for files and for ids that the legend doesn't know.
    """
    with open_map(source, legend) as labels:
        ground = ground_of(labels, gsd)
        found = read_zones(zones, labels, zone_field) if zones else []
        pixels, metres = np.zeros((len(found) + 1, 256), np.int64), np.zeros((len(found) + 1, 256))
        rows = grid.strips(labels.height, strip_rows)
        total = labels.height * labels.width
        with progress(total=total, desc="areas", unit="px", unit_scale=True) as bar:
            for (top, _), strip in zip(rows, ahead(checked_strips(labels, legend, strip_rows)), strict=True):
                add_strip(strip, top, ground or PIXELS, pixels[-1], metres[-1])
                for k, zone in enumerate(found):
                    add_zone(zone, strip, top, ground or PIXELS, pixels[k], metres[k])
                bar.update(strip.size)
    count = len(legend)
    areas = [
        Areas(px[:count], m2[:count] / HECTARE if ground else None, int(px[NODATA]))
        for px, m2 in zip(pixels, metres, strict=True)
    ]
    return areas[-1], dict(zip([zone.name for zone in found], areas, strict=False))


def area_table(columns: Sequence[tuple[str, Areas]], legend: Legend) -> str:
    """A line per class: pixels, share and hectares of each column: the map, and zones, which may be named like it."""
    width = max(len(name) for name in (*legend.names, *(title for title, _ in columns), "no data"))
    lines = []
    for title, areas in columns:
        total = max(1, areas.pixels.sum())
        lines.append(f"{title:{width}} {'px':>15} {'share':>7}" + ("" if areas.hectares is None else f" {'ha':>15}"))
        for land_class in legend.classes:
            pixels = areas.pixels[land_class.id]
            ha = "" if areas.hectares is None else f" {areas.hectares[land_class.id]:15,.2f}"
            lines.append(f"{land_class.name:{width}} {pixels:15,d} {pixels / total:7.2%}{ha}")
        lines.append(f"{'no data':{width}} {areas.nodata:15,d}")
    return "\n".join(lines)


def area_numbers(areas: Areas, legend: Legend) -> dict:
    """The areas as plain numbers, for JSON."""
    classes = {}
    for land_class in legend.classes:
        numbers: dict[str, int | float] = {"pixels": int(areas.pixels[land_class.id])}
        if areas.hectares is not None:
            numbers["hectares"] = float(areas.hectares[land_class.id])
        classes[land_class.name] = numbers
    return {"classes": classes, "nodata": areas.nodata}
