"""A look at a data folder before a long job: what is in it, what is wrong with it, before hours are spent.

Every pixel is read once, strip by strip: a file that is broken at its end is found now, not after a night of cutting.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jingwei.errors import InputError
from jingwei.inputs.label_files import LabelFiles
from jingwei.inputs.legends import choose_legend
from jingwei.inputs.masks import refuse_0_255
from jingwei.inputs.samples import (
    IMAGE_FOLDERS,
    LABEL_ENDS,
    LABEL_FOLDERS,
    NO_SAMPLES,
    TRAIN_FOLDERS,
    VALID_FOLDERS,
    Sample,
    find_samples,
    folder_named,
    folders_named,
)
from jingwei.inputs.scenes import SCENE_TYPES, check_table_names
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.legend import Legend
from jingwei.planning.findings import Finding
from jingwei.planning.look import TEST, TRAIN, VALID, Entry, SceneState, look
from jingwei.polygons.layers import VECTOR_TYPES
from jingwei.system.progress import Progress
from jingwei.workspace import Workspace

CONTEST, FOLDERS = "scenes image_N of *train* and *test*", "samples in folders"
RARE = 0.001  # of the labelled pixels: a class below this share is easily lost
PLACES = {TRAIN: TRAIN_FOLDERS, VALID: VALID_FOLDERS, TEST: ("test",)}


@dataclass
class Checkup:
    """All that was found. `seconds` is what reading every pixel took."""

    layout: str
    legend: Legend
    scenes: list[SceneState] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether nothing grave was found."""
        return not any(finding.grave for finding in self.findings)

    @property
    def class_pixels(self) -> np.ndarray:
        """Labelled pixels per class over all scenes, int64."""
        return sum((s.counts for s in self.scenes if s.counts is not None), np.zeros(len(self.legend), np.int64))


def examine(
    folder: Path,
    legend: Legend | str | None = None,
    label_nodata: str | None = None,
    rules: DrawingRules = AS_DRAWN,
) -> Checkup:
    """Looks at a data folder of either system. Raises InputError where there is no such folder, or nothing in it.

    Without a legend: the folder's `legend.json` (or, of a `train`, that beside it), else the contest's own.
    Labels that are drawn are read by `rules`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "check the path")
    begun = time.perf_counter()
    layout, entries, findings = _find(folder, rules)
    if not entries and not findings:
        problem = "no scenes there"
        remedy = "put *train*/image_N.png with image_N_label.png, or train/img/N.tif with train/lbl/N_gt.png there"
        raise InputError(folder, problem, remedy)
    usual = _usual_legend(layout, entries)
    legend = choose_legend(legend, folder=folder, usual=usual, label_nodata=label_nodata).legend
    checkup = Checkup(layout, legend, findings=findings)
    total = sum(path.stat().st_size for entry in entries for path in entry.sample.images)
    with Progress(total=total, unit="B", unit_scale=True, desc="look", leave=False) as bar:
        for entry in entries:
            try:
                state, found = look(entry, legend, layout == CONTEST)
            except InputError as error:
                checkup.findings.append(Finding(*error.args))
            else:
                checkup.scenes.append(state)
                checkup.findings += found
            bar.update(sum(path.stat().st_size for path in entry.sample.images))
    checkup.findings += [*_unlike(checkup), *_about_classes(checkup, folder), *_about_uses(checkup, folder)]
    checkup.seconds = time.perf_counter() - begun
    return checkup


def _find(folder: Path, rules: DrawingRules) -> tuple[str, list[Entry], list[Finding]]:
    """The layout of a folder, its scenes, and what is wrong with their names."""
    workspace, findings, entries = Workspace(folder, rules), [], []
    for use, find in ((TRAIN, workspace.train_scenes), (TEST, workspace.test_scenes)):
        try:
            scenes = find()
            if use == TRAIN:
                check_table_names(scenes)
        except InputError as error:
            if error.args[0] != folder:  # two of one name; that there are none is said later, if it matters
                findings.append(Finding(*error.args))
        else:
            entries += [
                Entry(Sample(s.name, (s.image,), s.label, s.image.parent), use, s.label_files if s.label else None)
                for s in scenes
            ]
    if entries or findings:
        return CONTEST, entries, [*findings, *_lonely_labels(entries)]
    places = [(use, place) for use, names in PLACES.items() if (place := _folder_read(folder, names, findings))]
    if not any(use in (TRAIN, VALID) for use, _ in places) and folders_named(folder, IMAGE_FOLDERS):
        places.append(("", folder))
    for use, place in places or [("", folder)]:
        images = _folder_read(place, IMAGE_FOLDERS, findings) or place
        samples, broken = find_samples(images)
        entries += [Entry(s, use, LabelFiles((s.label,), rules) if s.label else None) for s in samples]
        findings += [Finding(*error.args) for error in broken]
        if not samples and not broken and (use in (TRAIN, VALID) or any(_unused_masks(place, samples))):
            findings.append(Finding(images, *NO_SAMPLES))
        findings += _unused_masks(place, samples)
    return FOLDERS, entries, findings


def _folder_read(parent: Path, names: tuple[str, ...], findings: list[Finding]) -> Path | None:
    """The folder of one of these names that is read; where there are several, a finding says so."""
    try:
        return folder_named(parent, names)
    except InputError as error:
        findings.append(Finding(*error.args))
        return folders_named(parent, names)[0]


def _lonely_labels(entries: list[Entry]) -> Iterator[Finding]:
    """Labels beside which no scene lies, and drawn ones that a raster goes before."""
    known = {file for entry in entries if entry.labels for file in entry.labels.files}
    labels = {(entry.sample.folder, entry.sample.id): entry.sample.label for entry in entries}
    for place in sorted({entry.sample.folder for entry in entries}):
        for path in sorted(place.glob("image_*_label*.*")):
            drawn = path.suffix.lower() in VECTOR_TYPES
            named = path.suffix.lower() in SCENE_TYPES and path.stem.endswith("_label")
            if (drawn or named) and path not in known:
                missing = path.stem.partition("_label")[0]
                if used := labels.get((place, missing)):
                    problem = f"is not read: the label of {missing} is {used.name}"
                    yield Finding(path, problem, "take one of the two away", False)
                    continue
                yield Finding(path, f"has no scene {missing}", "put the scene beside it, or take the label away", False)


def _unused_masks(place: Path, samples: list[Sample]) -> Iterator[Finding]:
    """Masks that belong to no sample."""
    used = {sample.label for sample in samples}
    for path in sorted(place.rglob("*")):
        folders = {part.lower() for part in path.relative_to(place).parts[:-1]}
        named = path.stem.lower().endswith(LABEL_ENDS) or folders & set(LABEL_FOLDERS)
        if named and path.suffix.lower() in (*SCENE_TYPES, *VECTOR_TYPES) and path not in used:
            yield Finding(path, "is a mask without a picture", "name both alike, as 7.tif and 7_gt.png", False)


def _usual_legend(layout: str, entries: list[Entry]) -> str:
    if layout == CONTEST:
        return "jingwei"
    return "gf3" if entries and entries[0].sample.is_sar else "gf2"


def _unlike(checkup: Checkup) -> list[Finding]:
    """Scenes of other bands or another type than the first: one network can't take both."""
    kinds = [(scene.bands, scene.dtype) for scene in checkup.scenes]
    findings = []
    for scene, (bands, dtype) in zip(checkup.scenes, kinds, strict=True):
        if (bands, dtype) != kinds[0]:
            first = checkup.scenes[0]
            problem = f"{bands} bands of {dtype}, but {first.path.name} has {first.bands} of {first.dtype}"
            findings.append(Finding(scene.path, problem, "keep each kind in a folder of its own"))
    return findings


def _about_classes(checkup: Checkup, folder: Path) -> list[Finding]:
    pixels, names = checkup.class_pixels, checkup.legend.names
    labels = [scene.label for scene in checkup.scenes if scene.label]
    try:
        if labels:
            refuse_0_255(labels[0], checkup.legend, pixels, sum(scene.at_255 for scene in checkup.scenes))
    except InputError as error:
        return [Finding(*error.args)]
    if not pixels.any():
        return []
    findings = []
    missing = [name for name, count in zip(names, pixels, strict=True) if not count]
    if missing:
        problem = f"no pixel is labelled {', '.join(missing)}"
        findings.append(Finding(folder, problem, "is it the right legend (`legend`)?", grave=False))
    rare = [f"{n} ({c / pixels.sum():.3%})" for n, c in zip(names, pixels, strict=True) if 0 < c < RARE * pixels.sum()]
    if rare:
        remedy = "draw it more often with `balance`, weigh it with `class_weights` balanced"
        findings.append(Finding(folder, f"rare: {', '.join(rare)}", remedy, grave=False))
    if np.count_nonzero(pixels) == 1:
        findings.append(Finding(folder, "all labels are of one class", "there is nothing to tell apart: check them"))
    return findings


def _about_uses(checkup: Checkup, folder: Path) -> list[Finding]:
    """What training or prediction would miss."""
    uses = {scene.use for scene in checkup.scenes}
    findings = []
    in_db = [scene.path.name for scene in checkup.scenes if scene.in_db]
    if in_db:
        problem = f"{in_db[0]} and {len(in_db) - 1} more samples have" if len(in_db) > 1 else f"{in_db[0]} has"
        remedy = 'say so in the config: "sar": {"values": "db"}'
        findings.append(Finding(folder, f"{problem} values below 0, as decibels have", remedy, grave=False))
    if checkup.scenes and not any(scene.counts is not None for scene in checkup.scenes):
        findings.append(Finding(folder, "no scene has a label", "to train, add labels; to predict, go on", grave=False))
    if checkup.layout == CONTEST:
        for use, step in ((TRAIN, "generate_train_data.py"), (TEST, "generate_test_data.py")):
            if use not in uses:
                problem = f"no {use} scenes, *{use}*/image_N.png, that could be used"
                findings.append(Finding(folder, problem, f"{step} will want some", grave=False))
    elif TRAIN in uses and not folders_named(folder, VALID_FOLDERS):
        remedy = "add it; or set the config's data_dir to that train, whose pictures are then split"
        findings.append(Finding(folder, "has train but no valid", remedy, grave=False))
    return findings
