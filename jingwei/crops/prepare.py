"""Data sets in folders, made into what training reads.

`prepare_training` leaves what `generate_train_data.py` does, through the same cutter: crops, `crops.csv`, the legend;
and `source.json`, which says how radar values became decibels (`{}` for optical files, which are taken as they are).
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from jingwei.crops.cut import cut_train
from jingwei.crops.field_split import Fields, choose_fields
from jingwei.crops.scene_cut import all_there
from jingwei.crops.settings import CutSettings
from jingwei.crops.split import choose_blocks
from jingwei.crops.table import TRAIN, VALIDATION, read_crops
from jingwei.errors import InputError, SettingError
from jingwei.grid import strips
from jingwei.inputs.label_files import AreaLabels
from jingwei.inputs.masks import Mask, refuse_0_255
from jingwei.inputs.sample_scene import SampleScene
from jingwei.inputs.samples import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    NO_SAMPLES,
    TRAIN_FOLDERS,
    VALID_FOLDERS,
    find_samples,
    folder_named,
)
from jingwei.inputs.sar import SarReader, SarSettings, Tails
from jingwei.inputs.scenes import check_table_names
from jingwei.labels import areas
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.legend import Legend
from jingwei.raster.same_place import check_same_place, check_same_size
from jingwei.raster.stamps import stamp
from jingwei.raster.tiles import TILE
from jingwei.system.atomic import only_run, whole_or_nothing
from jingwei.system.own_files import kept_lines, sealed
from jingwei.system.progress import Progress
from jingwei.system.scheduling import Task, Threads
from jingwei.workspace import Workspace

SPLITS = ("folders", "blocks", "fields")
TAIL_PERCENT = 1  # of the pixels, at either end, whose decibels are clipped
BAND_BYTES = 1 << 28  # pixels in memory of all scenes that are cut at a time, a crop's rows of each


@dataclass(frozen=True)
class FolderData:
    """A data set in folders, as a config names it.

    `root` holds {train,valid}/{img,lbl}; or img/ and lbl/ alone, or pictures with masks beside them.
    """

    root: Path
    legend: Legend
    sar: SarSettings | None = None  # None: optical, the files as they are
    split: str = "folders"  # folders: as they are, else whole samples; blocks: of every scene; fields: labelled regions
    val_fraction: float = 0.2
    crop_size: int = 1024
    rules: DrawingRules = AS_DRAWN  # of masks that are drawn

    @property
    def settings(self) -> dict:
        """What changes the crops, besides the samples, in JSON's types."""
        facts = asdict(replace(self, rules=AS_DRAWN)) | {"root": None, "legend": self.legend.to_dict()}
        del facts["rules"]
        return facts if self.rules == AS_DRAWN else facts | {"drawn": self.rules.facts}

    def check(self) -> "FolderData":
        """The data set itself, or a SettingError."""
        if self.split not in SPLITS:
            raise SettingError(f"split {self.split!r}", "no such split", f"take {', '.join(SPLITS)}")
        CutSettings(self.crop_size, self.crop_size, self.val_fraction).check()
        if self.sar:
            self.sar.check()
        return self


def picture_sides(data: FolderData) -> list[int]:
    """The longer side of every picture of a data set, px. InputError for samples that are broken or without a mask."""
    sides = []
    for scene in _find_scenes(data.check()):
        with scene.open_image() as image:
            sides.append(max(image.height, image.width))
    return sides


def prepare_training(data: FolderData, cache: Path, workers: int) -> Workspace:
    """Cuts a data set into `cache`, a Workspace's root, unless that was done before; returns the Workspace.

    Leaves train/{data,label}, crops.csv, legend.json and source.json. Stopped and started again, it goes on. Raises
    InputError for samples that are broken, unlike the others, without a mask or with an unknown class in it.
    """
    workspace = Workspace(Path(cache))
    scenes = _find_scenes(data.check())
    check_table_names(scenes)
    sources = [path for scene in scenes for path in scene.sources]
    mark = stamp(*sources, names=[scene.name for scene in scenes], **data.settings)
    done = workspace.train / "stamp"
    if kept_lines(done, 1) == [mark] and _is_whole(workspace):
        return workspace
    with only_run(workspace.root):
        done.unlink(missing_ok=True)
        counts = _look(scenes, data, workers)
        if data.split == "fields":
            scenes = _split_fields(scenes, data.val_fraction, workspace.root / "fields", mark)
        sides = _sides(scenes, counts, data)
        learned = [scene for scene in scenes if sides is None or sides[scene.name] == TRAIN]
        sar = _with_tails(data.sar, learned, workers)
        with whole_or_nothing(workspace.train / "source.json") as part:
            part.write_text(sealed(asdict(sar)) if sar else "{}", encoding="utf-8")
        scenes = [replace(scene, sar=sar) for scene in scenes]
        settings = CutSettings(data.crop_size, data.crop_size, data.val_fraction, keep_background=1)
        at_once = _at_once(scenes, data.crop_size, workers) if sides else 1
        threads = max(1, workers // at_once)
        cut_train(workspace, scenes, settings, data.legend, threads, Threads(at_once), sides)
        with whole_or_nothing(done) as part:
            part.write_text(mark, encoding="utf-8")
    return workspace


def _is_whole(workspace: Workspace) -> bool:
    """Whether what was prepared is still there."""
    try:
        return all_there(workspace, read_crops(workspace.crops))
    except InputError:
        return False


def _find_scenes(data: FolderData) -> list[SampleScene]:
    """The samples of a data set, each with its mask and, where folders say so, its side. Nothing is read yet."""
    scenes = []
    for side, folder in _side_folders(data):
        images = folder_named(folder, IMAGE_FOLDERS) or folder
        samples, broken = find_samples(images)
        if broken:
            more = f" (and {len(broken) - 1} more samples are broken)" if len(broken) > 1 else ""
            raise InputError(broken[0].args[0], broken[0].args[1] + more, broken[0].args[2])
        bare = [sample for sample in samples if sample.label is None]
        if bare:
            more = f", nor have {len(bare) - 1} more samples" if len(bare) > 1 else ""
            remedy = f"put {bare[0].id}_gt.png beside it or into {LABEL_FOLDERS[0]}/, or take the sample away"
            raise InputError(bare[0].images[0], f"has no mask{more}", remedy)
        if not samples:
            raise InputError(images, *NO_SAMPLES)
        for sample in samples:
            parts = (side, *sample.folder.relative_to(images).parts, sample.id)
            name = "_".join(part for part in parts if part)
            assert sample.label is not None, "bare samples were refused"
            scenes.append(SampleScene(name, sample, sample.label, data.legend, data.sar, side, rules=data.rules))
    names = [scene.name for scene in scenes]
    if len(set(names)) < len(names):
        twin = next(scene for scene in scenes if names.count(scene.name) > 1)
        raise InputError(twin.image, f"two samples would be named {twin.name}", "rename one")
    return scenes


def _side_folders(data: FolderData) -> list[tuple[str | None, Path]]:
    """(side, folder) of `train` and `valid`, where they say the split; else (None, root)."""
    root = Path(data.root)
    if not root.is_dir():
        raise InputError(root, "no such folder", "check the path of the data")
    if data.split != "folders":
        return [(None, root)]
    found = [folder_named(root, names) for names in (TRAIN_FOLDERS, VALID_FOLDERS)]
    if found == [None, None]:
        return [(None, root)]
    if None in found:
        missing = ("train", "valid")[found.index(None)]
        raise InputError(root, f"has no folder {missing}", "add it, or name the other one as root")
    return [(side, folder) for side, folder in zip((TRAIN, VALIDATION), found, strict=True) if folder is not None]


def _look(scenes: list[SampleScene], data: FolderData, workers: int) -> dict[str, np.ndarray]:
    """Reads all masks, before anything is written: pixels per class of every scene."""

    def look(scene: SampleScene) -> tuple[int, str, np.ndarray, int]:
        with scene.open_image() as image, scene.open_labels(scene.legend) as mask:
            check_same_size(mask, image)
            check_same_place(mask, image)
            assert isinstance(mask, Mask | DrawnLabels | AreaLabels), "people's own masks"
            if isinstance(mask, DrawnLabels) and any(map(mask.areas.has, (areas.TRAIN, areas.VALIDATION))):
                problem = "has areas for training or validation, but the split of the data set says what is for which"
                raise InputError(mask.rules.labelled, problem, "leave their use empty, or give them the use test")
            return image.bands, image.dtype.name, mask.count(), mask.at_255

    looks = list(_on_threads(look, scenes, workers, "look"))
    (bands, dtype), first = looks[0][:2], scenes[0]
    for scene, (its_bands, its_dtype, _, _) in zip(scenes, looks, strict=True):
        if (its_bands, its_dtype) != (bands, dtype):
            problem = f"{its_bands} bands of {its_dtype}, but {first.image.name} has {bands} of {dtype}"
            raise InputError(scene.image, problem, "keep each kind in a data set of its own")
    counts = {scene.name: look[2] for scene, look in zip(scenes, looks, strict=True)}
    refuse_0_255(scenes[0].label, data.legend, sum(counts.values()), sum(look[3] for look in looks))
    return counts


def _on_threads(work: Callable, scenes: list[SampleScene], workers: int, what: str) -> Iterator:
    """What `work` gives for each scene, in order, `workers` of them at a time."""
    tasks = [Task(work, (scene,)) for scene in scenes]
    for _, result in Progress(Threads(workers).run(tasks), what, len(tasks)):
        yield result


def _sides(scenes: list[SampleScene], counts: dict[str, np.ndarray], data: FolderData) -> dict[str, str] | None:
    """The side of each scene as a whole; None where scenes are to be split in blocks."""
    if scenes[0].side:
        return {scene.name: scene.side or "" for scene in scenes}
    if data.val_fraction == 0:
        return {scene.name: TRAIN for scene in scenes}
    if data.split == "blocks" or len(scenes) * data.val_fraction < 1:
        return None
    chosen = choose_blocks({name: pixels.astype(np.float64) for name, pixels in counts.items()}, data.val_fraction)
    return {scene.name: VALIDATION if scene.name in chosen else TRAIN for scene in scenes}


def _split_fields(scenes: list[SampleScene], fraction: float, folder: Path, mark: str) -> list[SampleScene]:
    """Each scene twice, once with the mask of its training fields and once with that of its validation fields."""
    sides = {
        side: [
            replace(
                scene, name=f"{scene.name}_{side}", label=folder / f"{scene.name}_{side}.png", side=side, as_ids=True
            )
            for scene in scenes
        ]
        for side in (TRAIN, VALIDATION)
    }
    done = folder / "stamp"
    if kept_lines(done, 1) != [mark]:
        all_fields = [_fields_of(scene) for scene in Progress(scenes, "fields")]
        classes, pixels, inner = (
            np.concatenate([getattr(f, name) for f in all_fields]) for name in ("classes", "pixels", "inner")
        )
        chosen = choose_fields(classes, pixels, inner, fraction)
        for fields, *targets in zip(all_fields, *sides.values(), strict=True):
            fields.write(chosen[: len(fields.classes)], *(scene.label for scene in targets))
            chosen = chosen[len(fields.classes) :]
        with whole_or_nothing(done) as part:
            part.write_text(mark, encoding="utf-8")
    return [scene for pair in zip(*sides.values(), strict=True) for scene in pair]


def _fields_of(scene: SampleScene) -> Fields:
    def labels_of_strips() -> Iterator[np.ndarray]:
        with scene.open_labels(scene.legend) as mask:
            for first, end in strips(mask.height, TILE):
                yield mask.read_label_rows(first, end)

    with scene.open_labels(scene.legend) as mask:
        return Fields(labels_of_strips, *mask.shape)


def _with_tails(sar: SarSettings | None, scenes: list[SampleScene], workers: int) -> SarSettings | None:
    """The settings, their tails at the first and last percent of the scenes' decibels where they are left open."""
    if sar is None or sar.low:
        return sar

    def count(scene: SampleScene) -> Tails:
        tails = Tails()
        with scene.open_image() as image:
            assert isinstance(image, SarReader), "only radar has tails"
            for _, decibels, valid in image.strips():
                tails.update(decibels, valid)
        return tails

    total = Tails()
    for tails in _on_threads(count, scenes, workers, "tails"):
        total.merge(tails)
    if not total.counts.any():
        raise InputError(scenes[0].image, "has no valid pixel, nor has any other sample: HH is 0", "check the files")
    low, high = total.cut_off(TAIL_PERCENT)
    return replace(sar, low=low, high=high)


def _at_once(scenes: list[SampleScene], crop_size: int, workers: int) -> int:
    """How many scenes may be cut at a time: so many that their bands fit the memory."""
    largest = 1
    for scene in scenes:
        with scene.open_image() as image:
            band = min(crop_size, image.height) * image.width
            largest = max(largest, band * image.bands * image.dtype.itemsize)
    return max(1, min(workers, len(scenes), BAND_BYTES // largest))
