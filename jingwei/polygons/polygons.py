"""Polygons of a label map on disk: the file's side of `polygonize.py`."""

from collections.abc import Collection
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.errors import SettingError
from jingwei.legend import Legend
from jingwei.polygons.polygonize import RegionPolygons
from jingwei.polygons.reading import Y, up_to_date
from jingwei.polygons.styles import class_style
from jingwei.polygons.writing import format_of, vector_writer
from jingwei.raster.checked import checked_strips, open_map
from jingwei.raster.georeference import vector_transform
from jingwei.raster.pixel_area import HECTARE, ground_of
from jingwei.raster.reading import Raster
from jingwei.raster.stamps import STAMP, stamp
from jingwei.system.prefetch import ahead, behind
from jingwei.system.progress import Progress


class Polygons(NamedTuple):
    """What became of a map, by class id: polygons and pixels (int64), hectares (float64; None where none are known).

    `lost` names what places the map, where polygons can't keep it: control points, RPCs.
    """

    counts: np.ndarray
    areas: np.ndarray
    hectares: np.ndarray | None
    lost: str | None = None


def write_polygons(
    source: Path,
    target: Path,
    *,
    legend: Legend,
    classes: Collection[int] | None = None,
    min_area: int = 0,
    simplify: float = 0.0,
    gsd: float | None = None,
    pixels: bool = False,
    strip_rows: int = 256,
    progress=Progress,
) -> Polygons | None:
    """Writes the regions of a label map as polygons, exactly as `polygonize.RegionPolygons` says.

    Parameters
    ----------
    source
        A raster of class ids: GeoTIFF or PNG. Only read.
    target
        `.gpkg`, `.geojson` or `.parquet`. A polygon has `class_id`, `name`, `area_px` and, where the ground is known,
        `area_ha`: both are areas of the region's pixels, also where its border is simplified. Coordinates are those of
        the map's CRS; without one, those of its transform; without that, pixels: x = column, y = -row. GeoJSON has
        longitude and latitude, and is refused for a map without a CRS unless `pixels` says that these do.
    classes
        Which classes get polygons; None: all but the background.
    min_area, simplify
        As in `polygonize.RegionPolygons`, in pixels.
    gsd
        Side of a pixel on the ground in metres; None: as the georeference says.
    strip_rows
        Rows read at a time.
    progress
        Called as Progress is, for the progress bar.

    Returns what was written, or None where the target is there already, made of the same map in the same way. Outputs
    are written whole or not at all. Raises SettingError, InputError and OutputError.
    """
    source, target = Path(source), Path(target)
    classes = sorted(legend.foreground if classes is None else classes)
    _check(target, legend, classes, min_area, simplify)
    mark = stamp(source, legend=legend.to_dict(), classes=classes, min_area=min_area, simplify=simplify, gsd=gsd)
    if up_to_date(target, mark):
        return None
    with ExitStack() as stack:
        labels = stack.enter_context(open_map(source, legend))
        height, width = labels.shape
        if not pixels:
            _refuse_geojson_without_crs(target, labels)
        ground = ground_of(labels, gsd)
        bar = stack.enter_context(progress(total=height * width, desc="polygons", unit="px", unit_scale=True))
        regions = RegionPolygons(
            ahead(checked_strips(labels, legend, strip_rows)), height, width, classes=classes, min_area=min_area,
            simplify=simplify, affine=vector_transform(labels.transform)[:6], ground=ground, folder=target.parent,
            progress=bar.update,
        )  # fmt: skip
        target.parent.mkdir(parents=True, exist_ok=True)
        style = class_style("Polygon", legend, classes, "name")
        writer = stack.enter_context(_writer(target, labels, with_hectares=bool(ground), mark=mark, style=style))
        counts, hectares = np.zeros(256, np.int64), np.zeros(256)
        names = np.array([*legend.names, *[""] * (256 - len(legend))], object)

        def put_away(batch) -> None:
            values = {"class_id": batch.labels, "name": names[batch.labels], "area_px": batch.areas}
            writer.write(batch.polygons, values | ({"area_ha": batch.ground / HECTARE} if ground else {}))

        write = stack.enter_context(behind(put_away))
        for batch in stack.enter_context(closing(iter(regions))):
            counts += np.bincount(batch.labels, minlength=256)
            hectares += np.bincount(batch.labels, batch.ground, 256) / HECTARE
            write(batch)
    lost = labels.georeference.beyond_transforms
    return Polygons(counts, regions.class_areas, hectares if ground else None, lost)


def _refuse_geojson_without_crs(target: Path, labels: Raster) -> None:
    if target.suffix.lower() == ".geojson" and not labels.crs:
        problem = f"GeoJSON holds longitude and latitude, and {labels.path.name} has no CRS"
        raise SettingError(target, problem, "take .gpkg, or write its pixels with `pixels` (x = column, y = -row)")


def _writer(target: Path, labels: Raster, *, with_hectares: bool, mark: str, style: str):
    """A file of polygons with the columns of `write_polygons`, at the place of the map."""
    columns = {"class_id": int, "name": str, "area_px": int} | ({"area_ha": float} if with_hectares else {})
    notes = {STAMP: mark} | ({Y: "-row"} if labels.transform.is_identity else {})
    date = labels.path.stat().st_mtime if labels.path.exists() else None
    return vector_writer(target, "Polygon", columns, crs=labels.crs, date=date, notes=notes, style=style)


def _check(target: Path, legend: Legend, classes: list[int], min_area: int, simplify: float) -> None:
    format_of(target)
    if not classes:
        raise SettingError("`classes`", "names none", "name one at least")
    legend.check_ids("`classes`", classes)
    if min_area < 0:
        raise SettingError("`min_area`", f"is {min_area}", "give a number of pixels from 0 up")
    if not 0 <= simplify < float("inf"):
        raise SettingError("`simplify`", f"is {simplify:g}", "give the tolerance in pixels, from 0 up")
