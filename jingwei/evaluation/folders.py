"""Scores of masks as people have them: a prediction and its label, or folders of both, found by their names."""

import sys
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jingwei.errors import InputError
from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.evaluation.scenes import refuse_unlabelled, score_file
from jingwei.grid import strips
from jingwei.inputs.label_files import LabelFiles, in_areas, label_files
from jingwei.inputs.masks import Mask, refuse_0_255
from jingwei.inputs.samples import LABEL_ENDS
from jingwei.inputs.scenes import SCENE_TYPES, natural_order
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.legend import NODATA, Legend
from jingwei.polygons.layers import VECTOR_TYPES
from jingwei.raster.reading import Raster
from jingwei.raster.same_place import check_same_grid
from jingwei.raster.stamps import STAMP
from jingwei.raster.tiles import TILE
from jingwei.system.progress import Progress
from jingwei.system.scheduling import Cluster, Here, Task
from jingwei.workspace import CONFIDENCE_FOLDER

LARGE_PX = 1 << 24  # label maps from this size on are read as maps, not as pictures


@dataclass(frozen=True)
class FolderScore:
    """The confusion matrix of a folder of masks, how many there were, and the labels that have no prediction.

    `extra` counts the predictions that have no label: they are left out.
    """

    matrix: ConfusionMatrix
    labels: int
    missing: tuple[str, ...]
    extra: int = 0


def score_folders(
    predictions: Path,
    labels: Path,
    legend: Legend,
    scheduler: Here | Cluster | None = None,
    rules: DrawingRules = AS_DRAWN,
) -> FolderScore:
    """The confusion matrix of a folder of predictions, as inference.py writes them, over a folder of labels.

    Both hold masks, in the legend's colours or as class ids, found by their names: see `find_masks`. Predictions that
    are not ours may have the values that labels have. Labels may be drawn: then they are read by `rules`.

    A label without a prediction counts as missed with all its
    pixels: leaving a sample out gains nothing. Raises InputError where no label has a prediction, for pairs of other
    sizes or at other places, for colours or ids that the legend does not have, and for labels of 0 and 255 where it has
    no class of 255.
    """
    guessed, known = find_masks(predictions), find_masks(labels, drawn=True)
    by_id: dict[str, list[Path]] = {}
    for (_, name), path in guessed.items():
        by_id.setdefault(name, []).append(path)
    pairs = {}
    for (folder, name), label in known.items():
        alone = by_id.get(name, ())
        # A sample's folder sets it apart from others of its id; where there are none, its id does.
        unique = alone[0] if len(alone) == 1 and sum(other == name for _, other in known) == 1 else None
        pairs[label] = guessed.get((folder, name), unique)
    if not any(pairs.values()):
        problem = f"holds no prediction of the {len(known)} labels in {labels}"
        raise InputError(predictions, problem, "masks of a sample have one name, as N_gt.png")
    matrix = ConfusionMatrix(len(legend))
    read_by = _legends_of_predictions([path for path in pairs.values() if path], legend)
    tasks = [
        Task(score_masks, (path, label_files(label, rules), legend, read_by[path] if path else None))
        for label, path in pairs.items()
    ]
    at_255 = 0
    for _, counted in (scheduler or Here()).run(tasks):
        matrix.merge(counted.matrix)
        at_255 += counted.at_255
    refuse_0_255(next(iter(pairs)), legend, matrix.counts.sum(axis=1), at_255, others=len(pairs) > 1)
    refuse_unlabelled(matrix, labels)
    missing = tuple(str(label.relative_to(labels)) for label, prediction in pairs.items() if prediction is None)
    return FolderScore(matrix, len(pairs), missing, len(set(guessed.values()) - set(pairs.values())))


class MaskScore(NamedTuple):
    """The confusion matrix of a mask, and how many pixels of the label are no data because they are 255."""

    matrix: ConfusionMatrix
    at_255: int


def score_pair(prediction: Path, label: Path | LabelFiles, legend: Legend) -> ConfusionMatrix:
    """The confusion matrix of a prediction and its label: of masks as people have them, of label maps, or drawn.

    Large files and our own maps are read as `score_file` does, others as in `score_folders`. Raises what these raise.
    """
    files = label_files(label)
    with Raster(prediction) as guessed, nullcontext() if files.drawn else Raster(files.path) as known:
        rasters = [guessed, known] if known else [guessed]
        ours = _is_ours(guessed)
        large = min(r.height * r.width for r in rasters) >= LARGE_PX
        colors = any(r.bands == 3 or (r.palette and not large and not _is_ours(r)) for r in rasters)
    if not colors and (ours or (large and not legend.has_values)):
        return score_file(prediction, files, legend)
    read_by = _legends_of_predictions([prediction], legend)
    score = score_masks(prediction, files, legend, read_by[prediction])
    refuse_0_255(files.path, legend, score.matrix.counts.sum(axis=1), score.at_255, others=False)
    return score.matrix


def _is_ours(picture: Raster) -> bool:
    """Whether a file is one of our maps or masks: ids, whatever values labels have. Filled maps have no stamp."""
    return STAMP in picture.tags or (picture.tiled and picture.nodata == NODATA)


def _legends_of_predictions(predictions: Iterable[Path], legend: Legend) -> dict[Path, Legend]:
    """The legend to read each prediction by: class ids in ours; in all others the legend's values, or ids.

    Other software writes what it was trained on. One value that the legend doesn't have, and all of them are ids:
    a file by itself may well have nothing but 0.
    """
    ids = legend.without_values()
    read_by = dict.fromkeys(predictions, ids)
    if legend.has_values:
        others = []
        for path in read_by:
            with Raster(path) as picture:
                if not _is_ours(picture):
                    others.append(path)
        if all(_has_known_values(path, legend) for path in others):
            read_by |= dict.fromkeys(others, legend)
    return read_by


def _has_known_values(path: Path, legend: Legend) -> bool:
    with Mask(path, legend) as mask:
        for first, end in strips(mask.height, TILE):
            mask.read_label_rows(first, end)
            if mask.unknown:
                return False
    return True


def score_masks(prediction: Path | None, label: Path | LabelFiles, legend: Legend, read_by: Legend | None) -> MaskScore:
    """The score of two masks, strip by strip; without a prediction all labelled pixels are missed.

    The label is read by `legend`, the prediction by `read_by`.
    """
    matrix, files = ConfusionMatrix(len(legend)), label_files(label)
    if files.drawn and not prediction:
        problem = "has no prediction, and without one nobody knows how many pixels it has"
        raise InputError(files.path, problem, "predict its picture too, or take it away")
    with ExitStack() as stack:
        guessed = stack.enter_context(Mask(prediction, read_by or legend)) if prediction else None
        if files.drawn:
            known: Any = DrawnLabels(files.files, legend, files.rules, guessed)
        else:
            raster = stack.enter_context(Mask(files.path, legend))
            known = in_areas(raster, files.rules, guessed or raster)
        for note in known.notes:
            Progress.write(f"warning: {note}", file=sys.stderr)
        if guessed:
            check_same_grid(guessed, known)
        for first, end in strips(known.height, TILE):
            truth = known.read_label_rows(first, end)
            matrix.update(truth, guessed.read_label_rows(first, end) if guessed else np.full_like(truth, NODATA))
        for mask in (known, guessed):
            if mask:
                mask.refuse_unknown()
        return MaskScore(matrix, known.at_255)


def find_masks(folder: Path, drawn: bool = False) -> dict[tuple[str, str], Path]:
    """The masks of a folder and its subfolders, in natural order: (subfolder, sample) -> file.

    Sample 7 has `7_gt.png`, else `7_label.png`, else `7.png`, or another type of raster; else, `drawn`, a vector file
    of such a name. The last name is taken for
    a mask only where none of the others is in use: beside those it is a picture. InputError where there is nothing.
    """
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "check the path")
    found: dict[tuple[str, str], Path] = {}
    subfolders = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for place in [folder, *(path for path in subfolders if path.name != CONFIDENCE_FOLDER)]:
        visible = sorted(path for path in place.iterdir() if not path.name.startswith("."))
        masks = [path for path in visible if path.suffix.lower() in SCENE_TYPES]
        masks += [path for path in visible if drawn and path.suffix.lower() in VECTOR_TYPES]
        in_use = [end for end in LABEL_ENDS if any(path.stem.lower().endswith(end) for path in masks)]
        for end in in_use or [""]:
            for path in masks:
                if path.stem.lower().endswith(end):
                    sample = path.stem[: len(path.stem) - len(end)]
                    found.setdefault((str(place.relative_to(folder)), sample), path)
    if not found:
        raise InputError(folder, "no masks there", "give the folder of N_gt.png, N_label.png or N.png")
    return dict(sorted(found.items(), key=lambda entry: (entry[0][0], natural_order(entry[0][1]))))
