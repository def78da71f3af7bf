"""Cuts scenes: into crop files to train on, and into tiled rasters to predict from.

Each scene is read once, top to bottom, on a thread of its own, while worker threads deflate and write what has been
read: the codecs leave Python's lock, so threads are enough and no pixel is copied between processes.
"""

import json
import re
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from jingwei.crops.table import (
    VALIDATION,
    Crop,
    choose_validation,
    count_classes,
    keeps_background,
    label_path,
    masked_parts,
    scene_blocks,
    with_labels,
    write_crops,
)
from jingwei.errors import InputError, SettingError
from jingwei.grid import Blocks, Window, starts, strips
from jingwei.legend import NODATA, Legend
from jingwei.raster.crop_files import crop_suffix, read_crop, read_label_crop, write_crop
from jingwei.raster.histogram import histogram
from jingwei.raster.png import write_png
from jingwei.raster.preview import natural
from jingwei.raster.reading import Raster, check_same_place, check_same_size, open_image
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter
from jingwei.system.atomic import only_run, whole_or_nothing
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress
from jingwei.system.scheduling import Cluster, Here, Task, Threads
from jingwei.workspace import STAMP, Scene, Workspace, stamp, up_to_date

PREVIEW_SIDE = 1600  # px of the longer side of the split's picture


@dataclass(frozen=True)
class CutSettings:
    """How training scenes are cut: sides in px, shares 0 to 1."""

    crop_size: int = 1024
    stride: int = 1024
    val_fraction: float = 0.2
    keep_background: float = 0.1

    def check(self) -> "CutSettings":
        """The settings themselves, or a SettingError."""
        if self.crop_size < 32 or not 0 < self.stride <= self.crop_size:
            problem = f"{self.crop_size} with `stride` {self.stride}"
            raise SettingError("`crop_size`", problem, "take 32 px or more, and a stride up to that")
        for name in ("val_fraction", "keep_background"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"`{name}`", f"is {getattr(self, name)}", "take a share between 0 and 1")
        return self


@dataclass
class SceneCut:
    """What is kept of a scene once it is cut: its size and its crops, before the split."""

    height: int
    width: int
    bands: int
    dtype: str
    crops: list[Crop]


def cut_train(
    workspace: Workspace,
    scenes: list[Scene],
    settings: CutSettings,
    legend: Legend,
    workers: int,
    scheduler: Here | Threads | Cluster | None = None,
    sides: dict[str, str] | None = None,
) -> list[Crop]:
    """Cuts training scenes into `train/data`, `train/label` and `train/crops.csv`; returns the crops, split.

    A scene that was cut before from the same files with the same settings is not cut again. Each scene is a task for
    the scheduler. `sides` gives each scene by name, as a whole, to TRAIN or VALIDATION: for many small scenes, which
    then share one progress bar and get no pictures of the split. Raises OutputError where another run is cutting into
    the same folder.
    """
    settings.check()
    with only_run(workspace.train):
        tasks = [Task(_cut_or_reuse, (workspace, scene, settings, legend, workers, not sides)) for scene in scenes]
        done = {}
        for task, cut in Progress((scheduler or Here()).run(tasks), "cut", len(tasks), disable=not sides):
            done[task.arguments[1].name] = cut
        cuts = {scene.name: done[scene.name] for scene in scenes}
        return _share_out(workspace, scenes, cuts, settings, legend, sides)


def _share_out(
    workspace: Workspace,
    scenes: list[Scene],
    cuts: dict[str, SceneCut],
    settings: CutSettings,
    legend: Legend,
    sides: dict[str, str] | None,
) -> list[Crop]:
    """Splits the crops of all scenes into training and validation, and leaves what training reads."""
    if len({(cut.bands, cut.dtype) for cut in cuts.values()}) > 1:
        kinds = "; ".join(f"{name}: {cut.bands} bands of {cut.dtype}" for name, cut in cuts.items())
        raise InputError(workspace.train, f"the scenes differ in kind ({kinds})", "cut them into folders of their own")
    blocks = {name: scene_blocks(cut.height, cut.width, settings.crop_size) for name, cut in cuts.items()}
    crops = [crop for cut in cuts.values() for crop in cut.crops]
    if not crops:
        names = ", ".join(scene.name for scene in scenes[:8]) + (f" and {len(scenes) - 8} more" if scenes[8:] else "")
        raise InputError(workspace.root, f"no labelled pixel in {names}", "check the labels and the pictures' alpha")
    if sides:
        validation = {(name, n) for name in cuts if sides[name] == VALIDATION for n in range(len(blocks[name]))}
    else:
        validation = choose_validation(crops, blocks, settings.val_fraction)
    for folder in (workspace.train / "data", workspace.train / ".parts" / "label"):
        _delete_strays(folder, crops)
    crops = _split(workspace, crops, blocks, validation)
    _delete_strays(workspace.train / "label", crops)
    with whole_or_nothing(workspace.train / "legend.json") as part:
        part.write_text(json.dumps(legend.to_dict(), indent=1, ensure_ascii=False), encoding="utf-8")
    for scene in [] if sides else scenes:
        _draw_split(workspace, scene, blocks[scene.name], validation)
    write_crops(workspace.crops, crops)
    return crops


def _parts(workspace: Workspace, scene: Scene) -> Path:
    return workspace.train / ".parts" / f"{scene.name}.json"


def _whole_label(workspace: Workspace, name: str) -> Path:
    """A crop's labels as they were cut, both sides of the split in them: every new split starts from these."""
    return workspace.train / ".parts" / "label" / f"{Path(name).stem}.png"


def _cut_or_reuse(
    workspace: Workspace, scene: Scene, settings: CutSettings, legend: Legend, workers: int, alone: bool
) -> SceneCut:
    """Cuts a scene unless that was done. `alone`: it shows its own progress, and leaves a picture for the split's."""
    if scene.label is None:
        expected = scene.image.with_name(f"{scene.name}_label{scene.image.suffix}")
        raise InputError(scene.image, f"has no label {expected.name}", "put it beside the scene")
    parts = _parts(workspace, scene)
    how = asdict(replace(settings, val_fraction=0))  # a new split needs no new cut
    mark = stamp(*scene.sources, **how, **scene.reading, legend=legend.to_dict())
    if parts.exists():
        content = json.loads(parts.read_text(encoding="utf-8"))
        there = all(_whole_label(workspace, crop["name"]).exists() for crop in content["crops"])
        if content.pop("stamp") == mark and there and (parts.with_suffix(".png").exists() or not alone):
            return SceneCut(crops=[_crop_from_json(crop) for crop in content.pop("crops")], **content)
    cut, preview = _cut_scene(workspace, scene, settings, legend, workers, alone)
    if alone:
        write_png(parts.with_suffix(".png"), preview)
    with whole_or_nothing(parts) as part:
        part.write_text(json.dumps({"stamp": mark, **asdict(cut)}), encoding="utf-8")
    return cut


def _crop_from_json(content: dict) -> Crop:
    tuples = {key: tuple(content[key]) for key in ("pixels", "mean", "std")}
    return Crop(**content | tuples | {"window": Window(*content["window"])})


def _cut_scene(workspace: Workspace, scene: Scene, settings: CutSettings, legend: Legend, workers: int, alone: bool):
    """Streams one scene into crop files. Returns its SceneCut and, where it is cut alone, its preview (HWC RGB)."""
    with scene.open_image() as image, scene.open_labels(legend) as label:
        check_same_size(label, image)
        check_same_place(label, image)
        # From here on, what an earlier cut said of these files is no longer true.
        workspace.crops.unlink(missing_ok=True)
        _parts(workspace, scene).unlink(missing_ok=True)
        cutter = _Cutter(workspace, scene, image, legend, settings)
        size = settings.crop_size
        cols = starts(image.width, size, settings.stride)
        pending: deque[Future[Crop | None]] = deque()
        crops: list[Crop | None] = []
        bar = _progress(image, f"cut {scene.name}", alone)
        with bar, ThreadPoolExecutor(workers) as pool:
            try:
                bands = _bands(image, label, starts(image.height, size, settings.stride), size)
                for first, pixels, valid, labels in ahead(bands):
                    cutter.count_unknown(first, labels)
                    for col in cols:
                        window = Window(first, col, len(labels), min(size, image.width))
                        here = (slice(None), slice(col, window.col_end))
                        part = (pixels[:, :, here[1]], valid[here], labels[here])
                        pending.append(pool.submit(cutter.cut, window, *part))
                    # One band may still be in work while the next is read: memory stays at three bands.
                    while len(pending) > len(cols):
                        crops.append(pending.popleft().result())
                    bar.update((first + len(labels)) * image.width - bar.n)
                crops.extend(future.result() for future in pending)
                cutter.refuse_unknown()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                cutter.delete_written()
                raise
        if alone and not cutter.any_valid:
            raise InputError(scene.image, "has no valid pixel: all are transparent or nodata", "check its alpha")
        kept = [crop for crop in crops if crop is not None]
        return SceneCut(
            image.height, image.width, image.bands, image.dtype.name, kept
        ), cutter.preview() if alone else None


def _bands(image: Raster, label: Raster, rows: list[int], size: int) -> Iterator[tuple]:
    for first in rows:
        end = min(first + size, image.height)
        pixels, valid = image.read_rows(first, end)
        yield first, pixels, valid, label.read_label_rows(first, end)


class _Cutter:
    """Turns windows of one scene into crop files, on any thread; gathers the preview."""

    def __init__(self, workspace: Workspace, scene: Scene, image: Raster, legend: Legend, settings: CutSettings):
        self.workspace, self.scene, self.legend, self.settings = workspace, scene, legend, settings
        self.suffix = crop_suffix(image.bands, image.dtype)
        self.any_valid = False
        self._unknown = np.zeros(256, np.int64)
        self._counted_to = 0
        self._written: list[Path] = []
        self._step = -(-max(image.shape) // PREVIEW_SIDE)
        self._preview = np.zeros((-(-image.height // self._step), -(-image.width // self._step), 3), np.float32)

    def cut(self, window: Window, pixels: np.ndarray, valid: np.ndarray, labels: np.ndarray) -> Crop | None:
        """Writes one crop (pixels_CHW, valid_HW, labels_HW). None where there is nothing to learn."""
        if not valid.any():
            return None
        self.any_valid = True
        self._add_to_preview(window, pixels, valid)
        labels = np.where(valid, labels, np.uint8(NODATA))
        counts = count_classes(labels, len(self.legend))
        if not sum(counts):
            return None
        name = f"{self.scene.name}_{window.row:06d}_{window.col:06d}"
        background = self.legend.background
        only_background = background is not None and sum(counts) == counts[background]
        if only_background and not keeps_background(name, self.settings.keep_background):
            return None
        clean = np.where(valid, pixels, pixels.dtype.type(0))
        mask = valid.view(np.uint8)
        moments = np.array([cv2.meanStdDev(plane, mask=mask) for plane in clean])[:, :, 0, 0]
        picture = self.workspace.train / "data" / f"{name}{self.suffix}"
        label = _whole_label(self.workspace, picture.name)
        self._written += [picture, label]
        write_crop(picture, clean)
        write_png(label, labels)
        mean, std = (tuple(column.tolist()) for column in moments.T)
        return Crop(picture.name, self.scene.name, window, sum(counts), counts, mean, std)

    def count_unknown(self, first: int, labels: np.ndarray) -> None:
        """Adds up ids that the legend does not know, over the rows of a band that no earlier band had."""
        fresh = labels[self._counted_to - first :]
        self._counted_to = first + len(labels)
        counts = histogram(fresh) if len(fresh) else np.zeros(256, np.int64)
        counts[: len(self.legend)] = 0
        counts[NODATA] = 0
        self._unknown += counts

    def refuse_unknown(self) -> None:
        """Raises InputError naming the unknown ids and their pixel counts."""
        if self._unknown.any():
            listed = ", ".join(f"{i} ({self._unknown[i]:,d} px)" for i in np.flatnonzero(self._unknown))
            known = ", ".join(f"{c.id} {c.name}" for c in self.legend.classes)
            problem = f"has ids that legend {self.legend.name} does not know: {listed}"
            raise InputError(self.scene.label, problem, f"known are {known}; name another legend with `legend`")

    def delete_written(self) -> None:
        """Removes the crops of a scene that turned out to be unusable."""
        for path in self._written:
            path.unlink(missing_ok=True)

    def _add_to_preview(self, window: Window, pixels: np.ndarray, valid: np.ndarray) -> None:
        step = self._step
        rows, cols = (slice(-start % step, None, step) for start in (window.row, window.col))
        small = np.where(valid[rows, cols], pixels[:3, rows, cols], 0)
        small = small if len(small) == 3 else np.repeat(small[:1], 3, axis=0)
        row, col = -(-window.row // step), -(-window.col // step)
        self._preview[row : row + small.shape[1], col : col + small.shape[2]] = small.transpose(1, 2, 0)

    def preview(self) -> np.ndarray:
        """The scene at a small size, HWC RGB uint8, its brightest and darkest percent cut off."""
        return natural(self._preview)


def _split(
    workspace: Workspace, crops: list[Crop], blocks: dict[str, Blocks], validation: set[tuple[str, int]]
) -> list[Crop]:
    """Gives every crop its side, and writes its labels, NODATA where a pixel belongs to the other side."""
    result = []
    for crop in crops:
        if (crop.scene, blocks[crop.scene].of(crop.window)) in validation:
            crop = replace(crop, split=VALIDATION)
        whole, target = _whole_label(workspace, crop.name), label_path(workspace.train, crop)
        parts = masked_parts(crop, blocks[crop.scene], validation)
        if parts:
            labels = read_label_crop(whole)
            for part in parts:
                labels[part.slices] = NODATA
            crop = with_labels(crop, labels)
        if not crop.valid:
            continue
        if parts:
            write_png(target, labels)
        else:
            with whole_or_nothing(target) as part:
                shutil.copyfile(whole, part)
        result.append(crop)
    return result


def _delete_strays(folder: Path, crops: list[Crop]) -> None:
    """Deletes the crop files in a folder, left by earlier cuts, that are of none of these crops."""
    stems = {Path(crop.name).stem for crop in crops}
    for path in folder.iterdir():
        if re.fullmatch(r".+_\d{6}_\d{6}", path.stem) and path.stem not in stems:
            path.unlink()


def _draw_split(workspace: Workspace, scene: Scene, blocks: Blocks, validation: set[tuple[str, int]]) -> None:
    """Writes `train/split_<scene>.png`: the scene with its validation blocks in orange."""
    preview = read_crop(_parts(workspace, scene).with_suffix(".png"))
    step = -(-max(blocks.height, blocks.width) // PREVIEW_SIDE)
    for number in range(len(blocks)):
        if (scene.name, number) in validation:
            window = blocks.window(number)
            corners = [(window.col // step, window.row // step), (window.col_end // step, window.row_end // step)]
            rows, cols = (slice(corners[0][k], corners[1][k]) for k in (1, 0))
            preview[rows, cols] = preview[rows, cols] // 2 + np.array((127, 70, 0), np.uint8)
            cv2.rectangle(preview, corners[0], corners[1], (255, 140, 0), 2)
    write_png(workspace.train / f"split_{scene.name}.png", preview)


def tile_scene(source: Path, target: Path, workers: int) -> bool:
    """Copies a scene into a tiled GeoTIFF with a validity mask and overviews. False where that was done before."""
    mark = stamp(source, stage="tile")
    if up_to_date(target, mark):
        return False
    with open_image(source) as image:
        writer = TiledWriter(
            target, image.height, image.width, like=image, bands=image.bands, dtype=image.dtype.name,
            mask=True, overviews=True, workers=workers, tags={STAMP: mark},
        )  # fmt: skip
        bar = _progress(image, f"tile {image.path.stem}")
        any_valid = False
        with bar, writer:
            for first, pixels, valid in ahead(_rows(image)):
                any_valid |= bool(valid.any())
                writer.write(Window(first, 0, len(valid), image.width), pixels, valid)
                bar.update(valid.size)
            if not any_valid:
                raise InputError(source, "has no valid pixel: all are transparent or nodata", "check its alpha")
    return True


def _progress(image: Raster, what: str, shown: bool = True) -> Progress:
    total = image.height * image.width
    return Progress(total=total, unit="px", unit_scale=True, desc=what, disable=not shown)


def _rows(image: Raster) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    for first, end in strips(image.height, TILE):
        yield first, *image.read_rows(first, end)
