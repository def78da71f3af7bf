"""Scenes with a few drawn labels: whole groups of polygons for training or for validation, or as areas are to be used.

Blocks would tear what was drawn: pixels of one polygon are alike, so validation would ask for what was learned by
heart. Each such scene becomes two, one with the labels of each side, which lie in small working rasters; validation
keeps the gap of the field split from all labels of training.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from jingwei.crops.field_split import GAP, NEIGHBOURS
from jingwei.crops.settings import CutSettings
from jingwei.crops.split import choose_blocks
from jingwei.crops.table import TRAIN, VALIDATION
from jingwei.errors import InputError
from jingwei.grid import Window, strips
from jingwei.inputs.sample_scene import SampleScene
from jingwei.inputs.scenes import Scene
from jingwei.labels import areas
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.groups import find_groups, read_features
from jingwei.legend import NODATA, Legend
from jingwei.raster.png import PngWriter
from jingwei.raster.reading import Raster, open_labels
from jingwei.raster.stamps import stamp
from jingwei.raster.tiles import TILE
from jingwei.system.atomic import make_own_folder, whole_or_nothing
from jingwei.system.own_files import kept_lines
from jingwei.system.progress import Progress
from jingwei.workspace import Workspace

SPARSE = 0.5  # of a scene's pixels: where more are labelled, blocks are split
UNITS = 1000  # of groups at most, that are chosen from: of more, those that follow each other stay together


@dataclass(frozen=True)
class SideScene(Scene):
    """A scene with the labels of one side of the split, in a raster of class ids of ours; `side_name` names it.

    What is drawn was looked at, background too: all its crops are kept.
    """

    side_name: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        return self.side_name

    def open_labels(self, legend: Legend) -> Raster:
        assert self.label is not None
        return open_labels(self.label)


def split_drawn(
    workspace: Workspace, scenes: Sequence[Scene | SampleScene], settings: CutSettings, legend: Legend
) -> tuple[list[Scene | SampleScene], dict[str, str]]:
    """The scenes, those with few drawn labels as two; and the side of each of these by name.

    Groups of features that touch stay whole; where an area says that it is for validation, all labels outside of such
    areas are for training. A scene stays as it is, to be split in blocks, where most of it is labelled, or where one
    group holds most of its labels.
    """
    drawn = [scene for scene in scenes if isinstance(scene, Scene) and scene.label and scene.label_files.drawn]
    if not drawn:
        return list(scenes), {}
    folder = workspace.train / ".parts" / "sides"
    make_own_folder(folder)
    how = {scene.name: scene.reading for scene in drawn}
    sources = [path for scene in drawn for path in scene.sources]
    mark = stamp(*sources, how=how, legend=legend.to_dict(), fraction=settings.val_fraction)
    done = folder / "stamp"
    lines = kept_lines(done, 1)
    names = lines[1:] if lines and lines[0] == mark else None
    if names is None or not all(_map(folder, name, side).exists() for name in names for side in (TRAIN, VALIDATION)):
        done.unlink(missing_ok=True)
        names = _write_sides(drawn, folder, settings.val_fraction, legend)
        with whole_or_nothing(done, durable=False) as part:
            part.write_text("\n".join([mark, *names]), encoding="utf-8")
    result: list[Scene | SampleScene] = []
    sides = {}
    for scene in scenes:
        if scene.name not in names:
            result.append(scene)
            continue
        for side in (TRAIN, VALIDATION):
            name = f"{scene.name}_{side}"
            sides[name] = side
            result.append(SideScene(scene.image, _map(folder, scene.name, side), side_name=name))
    for scene in result:
        if scene.name in sides and not isinstance(scene, SideScene):
            problem = f"is named {scene.name}, as the crops of one side of another scene are"
            raise InputError(scene.image, problem, "rename it")
    return result, sides


def _map(folder: Path, name: str, side: str) -> Path:
    return folder / f"{name}_{side}.png"


def _write_sides(scenes: list[Scene], folder: Path, fraction: float, legend: Legend) -> list[str]:
    """Writes the label maps of both sides of the scenes that are split by groups; returns their names."""
    chosen: list[Scene] = []
    units: dict[tuple[str, int], np.ndarray] = {}
    of_group: dict[str, np.ndarray] = {}
    by_area = False
    for scene in Progress(scenes, "labels"):
        with scene.open_labels(legend) as labels:
            assert isinstance(labels, DrawnLabels)
            Progress.write(f"{scene.label}: {len(labels.polygons):,d} features in {scene.image.name}, by {labels.by}")
            for note in labels.notes:
                Progress.write(f"warning: {note}", file=sys.stderr)
            has_validation = labels.areas.has(areas.VALIDATION)
            groups = find_groups(labels)
            if not has_validation and not _is_sparse(labels, groups.pixels):
                continue
            chosen.append(scene)
            by_area |= has_validation
            of_group[scene.name] = groups.of_feature
            step = -(-len(groups.pixels) // UNITS)
            for first in range(0, len(groups.pixels), max(1, step)):
                units[scene.name, first] = groups.pixels[first : first + step].sum(axis=0).astype(np.float64)
    validation = set() if by_area else choose_blocks(units, fraction)
    for scene in chosen:
        numbers = of_group[scene.name]
        firsts = sorted(first for name, first in units if name == scene.name)
        for_validation = np.array([(scene.name, first) in validation for first in firsts], bool)
        units_of = np.searchsorted(firsts, np.arange(numbers.max(initial=-1) + 1), side="right") - 1
        of_features = np.append(for_validation[units_of][numbers], False) if len(numbers) else np.zeros(1, bool)
        with scene.open_labels(legend) as labels:
            assert isinstance(labels, DrawnLabels)
            _write_maps(labels, of_features, _map(folder, scene.name, TRAIN), _map(folder, scene.name, VALIDATION))
    return [scene.name for scene in chosen]


def _is_sparse(labels: DrawnLabels, pixels: np.ndarray) -> bool:
    """Whether so little is labelled, in so many groups, that groups can be split."""
    total = pixels.sum()
    if labels.rules.background_outside or total == 0 or total > SPARSE * labels.height * labels.width:
        return False
    return 2 * pixels.sum(axis=1).max() <= total


def _write_maps(labels: DrawnLabels, for_validation: np.ndarray, training_map: Path, validation_map: Path) -> None:
    """Writes the labels of each side (PNG): `for_validation` says of each feature (and of NOTHING) whether it is.

    Areas whose use is said overrule it. Pixels of the other side are NODATA, and so are validation pixels within GAP of
    a training label.
    """
    height, width = labels.shape
    with (
        PngWriter(training_map, height, width, durable=False) as train,
        PngWriter(validation_map, height, width, durable=False) as valid,
    ):
        for first, end in strips(labels.height, TILE):
            window = Window(first, 0, end - first, labels.width)
            larger = window.grown(GAP, height, width)
            ids, uses = labels.read_labels(larger), labels.areas.read(larger)
            features = read_features(labels, larger)
            side = for_validation[features]
            side = np.where(uses > areas.ANY, uses == areas.VALIDATION, side)
            training = np.where(side, np.uint8(NODATA), ids)
            near = cv2.dilate((training != NODATA).view(np.uint8), NEIGHBOURS).view(bool)
            validation = np.where(side & ~near, ids, np.uint8(NODATA))
            middle = window.relative_to(larger.row, larger.col).slices
            train.write(training[middle])
            valid.write(validation[middle])
