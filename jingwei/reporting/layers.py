"""The layers of a scene: picture, map, how far the voters agree, truth. Each is read once, strip by strip."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.errors import InputError
from jingwei.grid import Window, strips
from jingwei.inputs.scenes import Scene
from jingwei.labels.drawn import DrawnLabels
from jingwei.legend import NODATA, Legend
from jingwei.raster.checked import open_map, refuse_unknown
from jingwei.raster.pixel_area import ground_of
from jingwei.raster.preview import limits, stretched
from jingwei.raster.reading import Raster, open_labels, read_tags
from jingwei.raster.same_place import check_same_grid
from jingwei.raster.stamps import AGREEMENT, CONFIDENCE, stamp
from jingwei.raster.tiles import TILE as STRIP
from jingwei.reporting.folder import remove_layer
from jingwei.reporting.names import folder_name, shown
from jingwei.reporting.pyramid import LABELS, PERCENT, PICTURE, TILE, Layer, kept_layer, write_layer
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress
from jingwei.workspace import Workspace

# The layers that say how sure a map is, of which a scene has one; certainty is 100 minus the entropy of the votes.
SURE = ("confidence", "agreement", "certainty")
PERCENTS = 100
SAMPLES = 8  # windows along each side that a scene's brightness is judged by


class Source(NamedTuple):
    """A layer to be made: its name on the page, what it is made of, and the folder that it ends in.

    Where the scene's picture is invalid, a truth counts as unknown. `gsd` is the side of a pixel in metres, where it is
    not to be asked of the scene; only a map's areas are measured. The folder's name has a hash of all
    that goes into it, so a folder that is there needs no second making.
    """

    name: str
    kind: str
    path: Path
    scene: Scene
    folder: Path
    gsd: float | None = None


def layers_of(
    workspace: Workspace, scene: Scene, legend: Legend, folder: Path, gsd: float | None = None
) -> list[Source]:
    """The layers that a scene has so far: scene, map (the last stage's), how sure that is, truth."""
    final_map = workspace.final_map(scene) if workspace.has_map(scene) else None
    found = [("scene", PICTURE, scene.image), ("map", LABELS, final_map)]
    if final_map:
        found += [(name, PERCENT, path) for name, path in [_how_sure(workspace, scene)] if path]
    found.append(("truth", LABELS, scene.label))
    sources = []
    for name, kind, path in found:
        if path is not None:
            inputs = [*scene.label_files.sources, scene.image] if name == "truth" else [path]
            values = {"values": [c.mask_value for c in legend.classes]} if name == "truth" and legend.has_values else {}
            ground = {"gsd": gsd} if name == "map" else {}
            classes = len(legend) if kind == LABELS else None
            drawn = scene.reading | {"names": legend.names} if name == "truth" and scene.label_files.drawn else {}
            mark = stamp(*inputs, kind=kind, tile=TILE, classes=classes, **values, **ground, **drawn)
            sources.append(Source(name, kind, path, scene, folder / folder_name(scene.name) / f"{name}-{mark}", gsd))
    return sources


def _how_sure(workspace: Workspace, scene: Scene) -> tuple[str, Path | None]:
    """What tells best how sure the final map is: its confidence, else the agreement of the voters, else their entropy.

    A filled map has the confidence of what was filled; that of a plain vote is but the agreement, and called so. None
    where nothing tells.
    """
    confidence = workspace.confidence(scene)
    if confidence and read_tags(confidence).get(CONFIDENCE) != AGREEMENT:
        return "confidence", confidence
    found = [("agreement", workspace.agreement(scene)), ("certainty", workspace.entropy(scene))]
    return next(((name, path) for name, path in found if path.exists()), ("confidence", None))


def make_layer(source: Source, legend: Legend, workers: int = 1) -> tuple[Layer, bool]:
    """Makes a layer, or takes the one that is there: (layer, whether it was made).

    Raises InputError for a map whose size or place is not the scene's, and for ids that the legend doesn't have.
    """
    kept = kept_layer(source.folder)
    if kept:
        return kept, False
    remove_layer(source.folder)
    with _opened(source, legend) as pixels, source.scene.open_image() as scene:
        check_same_grid(pixels, scene)
        if source.kind == PICTURE:
            parts = _picture(pixels)
        elif source.kind == LABELS:
            parts = _labels(pixels, scene if source.name == "truth" else None, legend)
        else:
            parts = _percent(pixels, turned=source.name == "certainty")
        title = f"{shown(source.scene.name)} {source.name}"
        with Progress(total=scene.height * scene.width, unit="px", unit_scale=True, desc=title) as bar:
            ground = ground_of(pixels, source.gsd) if source.name == "map" else None
            parts = _counted(ahead(parts), bar)
            layer = write_layer(source.folder, parts, scene.shape[0], scene.shape[1], source.kind, workers, ground)
    if source.kind == PERCENT:
        _refuse_more_than_percents(layer, source.path)
    return layer, True


def _opened(source: Source, legend: Legend) -> Raster | DrawnLabels:
    if source.kind == PICTURE:
        return source.scene.open_image()
    if source.kind == LABELS:
        return source.scene.open_labels(legend) if source.name == "truth" else open_map(source.path, legend)
    return open_labels(source.path)


def _counted(parts: Iterator[np.ndarray], bar: Progress) -> Iterator[np.ndarray]:
    for part in parts:
        yield part
        bar.update(part.shape[0] * part.shape[1])


def _picture(scene: Raster) -> Iterator[np.ndarray]:
    """The scene as RGBA: its first three bands, or its only one, with alpha 0 outside the flight.

    8-bit pixels stay as they are; of others the darkest and brightest percent, judged by a sample, are cut off.
    """
    low, high = (0, 255) if scene.dtype == np.uint8 else _brightness(scene)
    bands = [0, 1, 2] if scene.bands >= 3 else [0, 0, 0]
    for first, end in strips(scene.height, STRIP):
        pixels, valid = scene.read_rows(first, end)
        part = np.empty((*valid.shape, 4), np.uint8)
        for channel, band in enumerate(bands):
            if scene.dtype == np.uint8:
                part[..., channel] = pixels[band]
            else:
                part[..., channel] = np.where(valid, stretched(pixels[band], low, high), 0)
        part[..., 3] = np.where(valid, 255, 0)
        yield part


def _brightness(scene: Raster) -> tuple[float, float]:
    """The values that are shown as black and as white, judged by windows spread over the scene."""
    side = STRIP
    seen = [np.empty(0, np.float32)]
    for i in range(SAMPLES):
        for j in range(SAMPLES):
            row = max(0, (scene.height - side) * i // (SAMPLES - 1))
            col = max(0, (scene.width - side) * j // (SAMPLES - 1))
            window = Window(row, col, min(side, scene.height), min(side, scene.width))
            pixels, valid = scene.read(window)
            seen.append(pixels[:3, valid].astype(np.float32).reshape(-1)[:: SAMPLES // 2])
    return limits(np.concatenate(seen))


def _labels(labels: Raster | DrawnLabels, scene: Raster | None, legend: Legend) -> Iterator[np.ndarray]:
    """Class ids. Where a scene is given, NODATA where it is invalid."""
    for first, end in strips(labels.height, STRIP):
        part = labels.read_label_rows(first, end)
        if scene:
            valid = scene.read_validity(Window(first, 0, end - first, scene.width))
            part = np.where(valid, part, np.uint8(NODATA))
        refuse_unknown(part, legend, labels.path, first)
        yield part


def _percent(percent: Raster, turned: bool) -> Iterator[np.ndarray]:
    """Percents as they are, or `turned`: 100 minus each."""
    values = np.arange(256, dtype=np.uint8)
    values[: PERCENTS + 1] = values[PERCENTS::-1]
    for first, end in strips(percent.height, STRIP):
        part = percent.read_label_rows(first, end)
        yield values[part] if turned else part


def _refuse_more_than_percents(layer: Layer, path: Path) -> None:
    """Raises InputError for values that are neither percents nor NODATA, and deletes the layer made of them."""
    strange = [value for value in range(PERCENTS + 1, NODATA) if layer.counts[value]]
    if strange:
        remove_layer(layer.folder)
        problem = f"has the value {strange[0]}, but percents end at {PERCENTS}"
        raise InputError(path, problem, "make it again with predict.py or vote.py")
