"""Where a label would teach most: cells of the scenes that are worth it, chosen and written for people to label."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.crops.table import label_path, read_crops
from jingwei.errors import InputError, SettingError
from jingwei.grid import Blocks
from jingwei.inputs.scenes import Scene
from jingwei.labelling.cells import Cells, features_of, read_cells
from jingwei.labelling.choice import alike_scales, spread
from jingwei.labelling.doubt import DoubtSource, doubt_of, doubt_of_part, open_doubt
from jingwei.labelling.maps import SceneMap, newest_map
from jingwei.labelling.places import Place, write_places
from jingwei.labelling.rounds import put_away
from jingwei.labels.areas import TEST, LabelledAreas
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rounds import labelled_files
from jingwei.labels.rules import AS_DRAWN
from jingwei.legend import NODATA, Legend
from jingwei.raster.checked import open_map, refuse_unknown
from jingwei.raster.crop_files import read_crop, read_label_crop
from jingwei.raster.same_place import check_same_grid
from jingwei.system.progress import Progress
from jingwei.workspace import Workspace

MOST_CROPS = 128  # training crops that say what is labelled already
SMALLEST = 16  # px, side of a place


class Suggestion(NamedTuple):
    """What was written: the places of each scene's file, by its path; what they were chosen by; scenes left out; and
    what else is to be known, such as which map was judged where a part was predicted.
    """

    files: dict[Path, int]
    by: str
    without_map: tuple[str, ...]
    notes: tuple[str, ...]


class _Seen(NamedTuple):
    """A scene with its cells, and the map and the doubt that they were read from. Of `tested` cells (bool) a quarter or
    more is in areas for testing, of which nothing is trained on; `areas` is how many areas there are.
    """

    scene: Scene
    cells: Cells
    map: SceneMap | None
    doubt: DoubtSource | None
    tested: np.ndarray
    areas: int

    @property
    def predicted(self) -> np.ndarray:
        """Of which cells the map has every valid pixel: bool."""
        return self.cells.classes[:, :NODATA].sum(axis=1) == self.cells.valid


def suggest(
    workspace: Workspace,
    scenes: Sequence[Scene],
    legend: Legend,
    *,
    count: int = 50,
    window: int = 256,
    simplify: float = 1.0,
    seed: int = 0,
    progress=Progress,
) -> Suggestion:
    """Writes `label/SCENE/next.gpkg` for the scenes in which the `count` best places lie, `window` px wide or so.

    Where scenes have maps, these are judged, by what the stages have left there, and scenes without one are left out;
    where none has, the places stand for all that the scenes show. They are drawn by `seed`. Where a network has
    predicted but a part of a scene since, places are chosen there alone. Files of an earlier choice are put away.
    Raises SettingError for a count, window or tolerance that makes no sense, InputError for scenes with nothing to
    choose from or, among each other, of unlike bands.
    """
    check_wishes(count, window, simplify)
    maps = {scene: newest_map(workspace, scene) for scene in scenes}
    mapped = [scene for scene in scenes if maps[scene]]
    looked_at = mapped or list(scenes)
    left_out = tuple(scene.name for scene in scenes if scene not in looked_at)
    seen = [_look(workspace, scene, maps[scene], legend, window, progress) for scene in looked_at]
    bands = {each.scene.name: each.cells.features.shape[1] // 3 for each in seen}
    if len(set(bands.values())) > 1:
        listed = ", ".join(f"{name} has {number}" for name, number in bands.items())
        raise InputError(workspace.root, f"scenes of unlike bands can't be compared ({listed})", "name some by `scene`")
    owner, number = _candidates(seen)
    notes = [each.map.note for each in seen if each.map and each.map.note]
    if workspace.rules.labelled and not any(each.areas for each in seen):
        note = f"no area of {workspace.rules.labelled} lies in these scenes: check its CRS"
        Progress.write(f"warning: {note}", file=sys.stderr)
    in_part = any(each.map and each.map.part for each in seen)
    if not len(owner):
        if in_part:
            problem = f"no place of {window} px without labels lies wholly in what was predicted of its scene"
            remedy = "take a smaller `window`, or give predict.py a larger `part`, or none"
            raise InputError(workspace.root, problem, remedy)
        raise InputError(workspace.root, "no place is left that has no label yet", "take a smaller `window`")
    if len(owner) < count:
        there = "lie wholly in what was predicted" if in_part else "have no label yet"
        notes.append(f"of the {count} places asked for, {len(owner)} are there: so many of {window} px {there}")
    places = _choose(workspace, seen, owner, number, legend, count, window, seed)
    for scene in scenes:
        put_away(workspace.next_labels(scene))
    files = {}
    for k, each in enumerate(seen):
        target = workspace.next_labels(each.scene)
        own = [place for at, place in places if at == k]
        if own:
            with each.scene.open_image() as image:
                write_places(target, own, image, each.map.path if each.map else None, legend, simplify)
            files[target] = len(own)
    return Suggestion(files, _told(seen, bool(mapped)), left_out, tuple(notes))


def check_wishes(count: int, window: int, simplify: float) -> None:
    """Raises SettingError for a count, window or tolerance that makes no sense."""
    if count < 1:
        raise SettingError("`count`", f"is {count}", "give a number of places from 1 up")
    if window < SMALLEST:
        raise SettingError("`window`", f"is {window}", f"give the side of a place in px, from {SMALLEST} up")
    if not 0 <= simplify < float("inf"):
        raise SettingError("`simplify`", f"is {simplify:g}", "give the tolerance in pixels, from 0 up")


def _look(
    workspace: Workspace, scene: Scene, judged: SceneMap | None, legend: Legend, window: int, progress
) -> _Seen:  # fmt: skip
    """Reads a scene, its map and what tells doubt, once, top to bottom."""
    source = None
    if judged:
        source = doubt_of_part(judged.path) if judged.part else doubt_of(workspace, scene)
    with ExitStack() as stack:
        image = stack.enter_context(scene.open_image())
        labels = given = None
        if judged:
            opened = stack.enter_context(open_map(judged.path, legend, part=judged.part))
            check_same_grid(opened, image)

            def labels(first: int, end: int) -> np.ndarray:
                rows = opened.read_label_rows(first, end)
                refuse_unknown(rows, legend, opened.path, first)
                return rows

        if files := labelled_files(workspace.rounds(scene)):
            given = DrawnLabels(files, legend, AS_DRAWN, image).read_label_rows
        doubt = stack.enter_context(open_doubt(source, image))
        total = image.height * image.width
        bar = stack.enter_context(progress(total=total, unit="px", unit_scale=True, desc=f"look at {scene.name}"))
        cells = read_cells(image, window, labels, doubt, given, class_count=len(legend), progress=bar.update)
        areas = LabelledAreas(workspace.rules.labelled, image)
        return _Seen(scene, cells, judged, source, _tested(areas, cells), len(areas))


def _tested(areas: LabelledAreas, cells: Cells) -> np.ndarray:
    """Of which cells a quarter or more is in areas for testing: bool."""
    if not areas.has(TEST):
        return np.zeros(len(cells), bool)
    return np.array([4 * np.mean(areas.read(cells.blocks.window(k)) == TEST) >= 1 for k in range(len(cells))])


def _candidates(seen: Sequence[_Seen]) -> tuple[np.ndarray, np.ndarray]:
    """The cells to choose from: which scene each is of, and its number there. Half of it at least is inside the flight,
    and less than a quarter is labelled or for testing; of what is, a map of a part of the scene has all.
    """
    free = [2 * e.cells.valid >= e.cells.areas for e in seen]
    free = [mask & (4 * e.cells.labelled < e.cells.areas) for mask, e in zip(free, seen, strict=True)]
    free = [mask & ~e.tested for mask, e in zip(free, seen, strict=True)]
    free = [mask & e.predicted if e.map and e.map.part else mask for mask, e in zip(free, seen, strict=True)]
    owner = np.concatenate([np.full(int(mask.sum()), k) for k, mask in enumerate(free)])
    return owner, np.concatenate([np.flatnonzero(mask) for mask in free])


def _choose(workspace, seen, owner, number, legend, count, window, seed) -> list[tuple[int, Place]]:
    """The places, the best first, each with the number of its scene."""

    def of_all(name: str) -> np.ndarray:
        return np.stack([getattr(seen[k].cells, name)[i] for k, i in zip(owner, number, strict=True)])

    known = _known_features(workspace, seen, window)
    features, known = alike_scales(of_all("features"), known)
    doubt, rarity, worth = np.full(len(owner), np.nan), np.zeros(len(owner)), None
    if seen[0].map:
        classes = of_all("classes")[:, : len(legend)]
        shares = classes / np.maximum(classes.sum(axis=1, keepdims=True), 1)
        doubt = of_all("doubt")
        rarity = shares @ rarity_of(_labelled_pixels(workspace, legend), classes.sum(axis=0))
        worth = np.nan_to_num(doubt, nan=0.0 if np.isfinite(doubt).any() else 1.0) * (1 + rarity)
    chosen = spread(features, known, count, seed, worth)
    usual = float(np.nanmedian(doubt)) if np.isfinite(doubt).any() else np.nan
    places = []
    for rank, (cell, share) in enumerate(zip(chosen.cells.tolist(), chosen.share.tolist(), strict=True)):
        reason = _reason(share, doubt[cell], usual, rarity[cell])
        place = Place(rank + 1, seen[owner[cell]].cells.blocks.window(int(number[cell])), reason, float(doubt[cell]))
        places.append((int(owner[cell]), place))
    return places


def rarity_of(labelled: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """How rare each class is among the labels, 0 (the most common) to 1 (no pixel); without labels, on the maps."""
    pixels = labelled if labelled.any() else mapped
    return 1 - np.sqrt(pixels / max(1, pixels.max()))


def _labelled_pixels(workspace: Workspace, legend: Legend) -> np.ndarray:
    """Pixels per class of the training crops; zeros where there are none, or of another legend."""
    crops = read_crops(workspace.crops) if workspace.crops.exists() else []
    if not crops or len(crops[0].pixels) != len(legend):
        return np.zeros(len(legend), np.int64)
    return np.sum([crop.pixels for crop in crops], axis=0)


def _known_features(workspace: Workspace, seen: Sequence[_Seen], window: int) -> np.ndarray:
    """The features of what is labelled: cells of these scenes with labels, and windows of some training crops."""
    size = seen[0].cells.features.shape[1]
    found = [each.cells.features[4 * each.cells.labelled >= each.cells.areas] for each in seen]
    crops = [crop for crop in (read_crops(workspace.crops) if workspace.crops.exists() else []) if crop.valid]
    if crops and 3 * len(crops[0].mean) == size:
        for k in sorted({len(crops) * i // MOST_CROPS for i in range(MOST_CROPS)}):
            pixels = read_crop(workspace.train / "data" / crops[k].name).transpose(2, 0, 1)
            labelled = read_label_crop(label_path(workspace.train, crops[k])) != NODATA
            blocks = Blocks(labelled.shape[0], labelled.shape[1], window)
            for number in range(len(blocks)):
                rows, cols = blocks.window(number).slices
                if 4 * labelled[rows, cols].sum() >= labelled[rows, cols].size:
                    found.append(features_of(pixels[:, rows, cols], labelled[rows, cols])[None])
    return np.concatenate([*found, np.empty((0, size))])


def _reason(share: float, doubt: float, usual: float, rarity: float) -> str:
    """Why a place was chosen, in words. `share` of all cells are like it."""
    words = []
    if np.isfinite(doubt):
        words.append(f"{'unsure' if doubt >= usual else 'rather sure'} ({100 * doubt:.0f} % doubt)")
    if rarity >= 0.5:
        words.append("classes with few labels")
    percent = f"{round(100 * share)} %" if share >= 0.01 else "less than 1 %"
    return ", ".join([*words, f"stands for {percent} of what is not labelled"])


def _told(seen: Sequence[_Seen], mapped: bool) -> str:
    """What places were chosen by, in a line."""
    if not mapped:
        return "no map yet: places that stand for all that the scenes show"
    names = dict.fromkeys(each.doubt.name for each in seen if each.doubt)
    without = [each.scene.name for each in seen if not each.doubt]
    by = [*([" or ".join(names)] if names else []), "how rare the classes are", "how much they stand for"]
    told = f"chosen by {', '.join(by[:-1])} and {by[-1]}"
    return f"{told} (no file says how sure the maps are of {', '.join(without)})" if without else told
