"""One scene of a data folder and its label, read from top to bottom: what is in them, and what is wrong with them."""

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from jingwei.errors import InputError
from jingwei.grid import Window, strips
from jingwei.inputs.label_files import LabelFiles, in_areas
from jingwei.inputs.masks import Mask
from jingwei.inputs.sample_scene import open_sample
from jingwei.inputs.samples import Sample, place_for_mask
from jingwei.inputs.sar import SarReader, SarSettings
from jingwei.labels.drawn import DrawnLabels
from jingwei.legend import NODATA, Legend
from jingwei.planning.findings import Finding
from jingwei.raster.far_values import REMEDY, FarValue, far_value
from jingwei.raster.histogram import histogram
from jingwei.raster.label_values import refuse_unknown_ids
from jingwei.raster.reading import Raster
from jingwei.raster.same_place import check_same_place, check_same_size
from jingwei.raster.tiles import TILE

TRAIN, VALID, TEST = "train", "valid", "test"  # what a scene is for; "" where the folder doesn't say
ALPHA_ROWS, ALPHA_LOOKS = 64, 32  # a part of all rows tells whether alpha is a mask
MASK_VALUES = 16  # besides 0, that a mask may have


@dataclass(frozen=True)
class SceneState:
    """A scene as it was found. `counts` are its labelled pixels per class, int64, None where it has no label."""

    path: Path
    use: str
    height: int
    width: int
    bands: int
    dtype: str
    crs: str | None
    stored: int  # bytes of its files
    valid: int  # pixels
    counts: np.ndarray | None
    label: Path | None = None
    at_255: int = 0  # pixels of a mask without a class because they are 255
    in_db: bool = False  # radar with values below 0
    stored_less: bool = False  # than its pixels take without losses: its files have losses, or name others

    @property
    def px(self) -> int:
        return self.height * self.width


@dataclass(frozen=True)
class Entry:
    """A scene to be looked at."""

    sample: Sample
    use: str
    labels: LabelFiles | None = None


@dataclass
class _Counts:
    """What is counted on the way down a scene: valid pixels, and those of each id, `labelled` where they are valid."""

    valid: int = 0
    in_db: bool = False  # values that only decibels have
    far: FarValue | None = None

    def __post_init__(self):
        self.labelled, self.ids = np.zeros(256, np.int64), np.zeros(256, np.int64)


def look(entry: Entry, legend: Legend, of_contest: bool) -> tuple[SceneState, list[Finding]]:
    """Reads a scene and its label from top to bottom. Raises InputError where one of them can't be used."""
    sample, sar = entry.sample, _as_they_are(entry.sample)
    with (
        open_sample(sample, sar) as image,
        _open_label(entry.labels, legend, of_contest, image) if entry.labels else nullcontext() as label,
    ):
        if label:
            check_same_size(label, image)
            check_same_place(label, image)
        counts = _count(image, label, sar)
        mask = None if of_contest else cast(Mask | DrawnLabels | None, label)  # or one less areas, which reads like it
        if mask:
            mask.refuse_unknown()
        findings = list(_data_as_alpha(image)) if isinstance(image, Raster) else []
        findings += [Finding(note.where, note.problem, note.remedy, False) for note in label.notes] if label else []
        crs = image.crs
        state = SceneState(
            sample.images[0],
            entry.use,
            image.height,
            image.width,
            image.bands,
            np.dtype(image.dtype).name,
            crs.to_string() if crs else None,
            sum(path.stat().st_size for path in sample.images),
            counts.valid,
            counts.labelled[: len(legend)] if label else None,
            sample.label,
            mask.at_255 if mask else 0,
            counts.in_db,
            isinstance(image, Raster) and _is_stored_less(image),
        )
    if not counts.valid:
        raise InputError(sample.images[0], "has no valid pixel: all are transparent or nodata", "export it again")
    if counts.far:
        findings.append(Finding(sample.images[0], counts.far.in_words(), REMEDY, grave=False))
    if sample.label:
        refuse_unknown_ids(sample.label, legend, counts.ids)
        if state.counts is None or not state.counts.any():
            findings.append(Finding(sample.label, "labels no valid pixel", "check it, or take the pair away"))
    elif entry.use in (TRAIN, VALID):
        place = sample.images[0].with_name(f"{sample.id}_label.png") if of_contest else place_for_mask(sample)
        findings.append(Finding(sample.images[0], "has no label", f"put it at {place}"))
    return state, findings


def _is_stored_less(image: Raster) -> bool:
    return image.path.suffix.lower() in (".jpg", ".jpeg", ".jp2", ".vrt") or image.lossy_compression is not None


def _open_label(files: LabelFiles, legend: Legend, of_contest: bool, image) -> Raster | Mask | DrawnLabels:
    if of_contest or files.drawn:
        return files.open(legend, image)
    with ExitStack() as stack:
        labels = in_areas(stack.enter_context(Mask(files.path, legend)), files.rules, image)
        stack.pop_all()
    return labels


def _count(image: Raster | SarReader, label: Raster | Mask | DrawnLabels | None, sar: SarSettings | None) -> _Counts:
    counts = _Counts()
    for first, end in strips(image.height, TILE):
        pixels, valid = image.read_rows(first, end)
        counts.valid += int(np.count_nonzero(valid))
        if sar:
            counts.in_db |= sar.values == "db" and bool((pixels < 0).any())  # where there is no data, they are 0
        else:
            counts.far = counts.far or far_value(pixels, valid, first)
        if label:
            labels = label.read_label_rows(first, end)
            counts.ids += histogram(labels)
            counts.labelled += histogram(np.where(valid, labels, np.uint8(NODATA)))
    return counts


def _as_they_are(sample: Sample) -> SarSettings | None:
    """Settings that take radar values as the files have them: what these are, only a config says."""
    if not sample.is_sar:
        return None
    with Raster(sample.images[0]) as image:
        return SarSettings("amplitude" if image.dtype.kind == "c" else "db")


def _data_as_alpha(image: Raster) -> Iterator[Finding]:
    """Where a band that is marked as alpha has the values of a picture: near infrared, most likely, which is lost.

    Masks are mostly one value inside the flight, with few others at soft edges.
    """
    if not image.alpha or image.path.suffix.lower() == ".png" or image.dtype not in (np.uint8, np.uint16):
        return  # a PNG's fourth band is alpha by definition
    counts = np.zeros(np.iinfo(image.dtype).max + 1, np.int64)
    for first, end in [*strips(image.height, ALPHA_ROWS)][:: -(-image.height // (ALPHA_ROWS * ALPHA_LOOKS))]:
        alpha = image.read_alpha(Window(first, 0, end - first, image.width))
        counts += np.bincount(alpha.reshape(-1), minlength=len(counts))
    inside = counts[1:]
    if np.count_nonzero(inside) <= MASK_VALUES or inside.max() > inside.sum() / 2:
        return
    band = image.alpha
    problem = (
        f"band {band} is marked as alpha, but has {np.count_nonzero(inside):,d} values, as a picture has: it is lost"
    )
    remedy = f"where it is data, mark it so: gdal_translate -colorinterp_{band} undefined {image.path.name} NEW.tif"
    yield Finding(image.path, problem, remedy, grave=False)
