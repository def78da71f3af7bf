"""What the public API does with label maps: `vote` (step 4), `fill` (step 5) and `polygonize` (step 8)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jingwei.api.arguments import Class, StrPath, id_of_class, legend_for, worker_count
from jingwei.errors import SettingError
from jingwei.legend import Legend


def vote(
    inputs: Sequence[StrPath],
    output: StrPath,
    *,
    soft: bool = False,
    weights: Sequence[float] | None = None,
    ties: str = "first",
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
    workers: int | None = None,
) -> Path:
    """Combines label maps by majority vote; returns the path of the result.

    `inputs` are label maps, the best first, or with `soft` class probabilities, as `predict` keeps them. `weights` are
    a number per map. `ties` says who wins a tie: first (the map named first), background, or classes in order
    ("corn,building"). X.tif gets X_agreement.tif, X_entropy.tif and confidence/X.tif beside it. A vote that is up to
    date is kept.
    """
    from jingwei.raster.map_legend import refuse_unlike_legends
    from jingwei.voting.vote import VoteFiles
    from jingwei.voting.vote import vote as count

    if isinstance(inputs, str | Path):
        raise SettingError("`inputs`", f"is one path, {inputs}", "give a list of maps")
    maps = [Path(path) for path in inputs]
    if not maps:
        raise SettingError("`inputs`", "names no maps", "give one at least")
    if legend is None:
        refuse_unlike_legends(maps)
    files = VoteFiles.beside(Path(output))
    how: dict[str, Any] = {"soft": soft, "weights": None if weights is None else list(weights), "ties": ties}
    count(maps, files, legend_for(legend, maps[0], label_nodata), workers=worker_count(workers), **how)
    return files.labels


def fill(
    source: StrPath,
    output: StrPath,
    *,
    max_size: int = 500,
    min_area: int | Mapping[Class, int] = 0,
    connectivity: int = 4,
    classes: Collection[Class] | None = None,
    protect: Collection[Class] = (),
    frame_sizes: Sequence[int] | None = None,
    step: int = 50,
    picture: StrPath | None = None,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
) -> Path:
    """Fills holes of background inside one class, and gives small regions to their neighbours; returns the map's path.

    A hole fits in a square of `max_size` px; regions smaller than `min_area` px (one number, or a number per class) go
    to a neighbour; `connectivity` (4 or 8) joins regions; `classes` are those whose holes are filled (None: all);
    pixels of `protect` never change. With `frame_sizes`, holes are what square frames of these sides surround, `step`
    px apart, as the contest script has it. `picture` is a small picture of what changed.
    """
    from jingwei.filling.fill_map import Frames, fill_map

    known = legend_for(legend, Path(source), label_nodata)
    areas = {id_of_class(c, known): n for c, n in min_area.items()} if isinstance(min_area, Mapping) else min_area
    fill_map(
        Path(source),
        Path(output),
        legend=known,
        max_size=max_size,
        min_area=areas,
        connectivity=connectivity,
        classes=None if classes is None else {id_of_class(c, known) for c in classes},
        protect={id_of_class(c, known) for c in protect},
        frames=None if frame_sizes is None else Frames(tuple(frame_sizes), step),
        picture=None if picture is None else Path(picture),
    )
    return Path(output)


def polygonize(
    source: StrPath,
    output: StrPath,
    *,
    simplify: float = 0.0,
    min_area: int = 0,
    classes: Collection[Class] | None = None,
    background: bool = False,
    gsd: float | None = None,
    pixels: bool = False,
    legend: Legend | StrPath | None = None,
    label_nodata: str | None = None,
) -> Path:
    """Turns a label map into polygons (.gpkg, .geojson or .parquet); returns the file's path.

    A region of one class is one polygon, its holes are holes. Borders may move by `simplify` px: neighbours keep their
    common border and nothing overlaps. Regions smaller than `min_area` px are left out. `classes` (None: all but the
    background) get polygons, and the background too where `background` says so. `gsd` is the side of a pixel on the
    ground in metres, where the georeference doesn't say. GeoJSON holds longitude and latitude; that of a map without a
    CRS is refused unless `pixels` asks for x = column, y = -row. A file that is up to date is kept.
    """
    from jingwei.polygons.polygons import write_polygons

    known = legend_for(legend, Path(source), label_nodata)
    if background and known.background is None:
        raise SettingError("`background`", f"legend {known.name} has no background class", "leave it out")
    ids = set(known.foreground) if classes is None else {id_of_class(c, known) for c in classes}
    ids |= {known.background} if background and known.background is not None else set()
    how: dict[str, Any] = {"legend": known, "classes": ids, "min_area": min_area, "simplify": simplify, "gsd": gsd}
    how["pixels"] = pixels
    write_polygons(Path(source), Path(output), **how)
    return Path(output)
