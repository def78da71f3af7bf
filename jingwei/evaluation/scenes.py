"""Scores of label maps on disk against their truth: one map, or every stage of a project."""

import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from jingwei.errors import InputError
from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.grid import Window, strips
from jingwei.inputs.label_files import LabelFiles, label_files
from jingwei.inputs.scenes import Scene
from jingwei.labels.drawn import DrawnLabels
from jingwei.legend import NODATA, Legend
from jingwei.raster.checked import checked_strips, open_map, refuse_unknown
from jingwei.raster.reading import Raster, open_image
from jingwei.raster.same_place import check_same_grid
from jingwei.raster.tiles import TILE
from jingwei.system.prefetch import ahead
from jingwei.system.progress import Progress
from jingwei.system.scheduling import Cluster, Here, Task
from jingwei.workspace import Workspace


def score_file(
    prediction: Path, label: Path | LabelFiles, legend: Legend, scene: Path | None = None
) -> ConfusionMatrix:
    """The confusion matrix of a label map, strip by strip. Where `scene` is given, its invalid pixels don't count.

    The map holds ids, the label the legend's values; or it is drawn.

    Raises InputError for rasters of other sizes or, by what they say,
    at other places, and for ids that the legend doesn't have.
    """
    matrix = ConfusionMatrix(len(legend))
    with open_map(prediction, legend) as guessed, label_files(label).open(legend, guessed) as known:
        for note in known.notes:
            Progress.write(f"warning: {note}", file=sys.stderr)
        check_same_grid(guessed, known)
        for truth, guess in ahead(_both(known, guessed, legend, scene)):
            matrix.update(truth, guess)
    return matrix


def _both(known: Raster | DrawnLabels, guessed: Raster, legend: Legend, scene: Path | None):
    with open_image(scene) if scene else nullcontext() as image:
        if image:
            check_same_grid(known, image)
            check_same_grid(guessed, image)
        for (first, end), guess in zip(strips(known.height, TILE), checked_strips(guessed, legend, TILE), strict=True):
            truth = known.read_label_rows(first, end)
            refuse_unknown(truth, legend, known.path, first)
            if image:
                valid = image.read_validity(Window(first, 0, end - first, known.width))
                truth = np.where(valid, truth, np.uint8(NODATA))
            yield truth, guess


def stage_maps(workspace: Workspace, scenes: list[Scene]) -> list[tuple[Path, Scene]]:
    """The maps of every stage of the scenes that have a label, each with its scene.

    In the order of the work: each model's, all votes, all filled ones. The file's name without its ending is the stage.
    """
    labelled = [scene for scene in scenes if scene.label is not None]
    predicted = [(path, scene) for scene in labelled for path in workspace.predictions(scene)]
    later = [(place(scene), scene) for place in (workspace.vote, workspace.filled) for scene in labelled]
    return predicted + [(path, scene) for path, scene in later if path.exists()]


def labelled_scenes(workspace: Workspace) -> list[Scene]:
    """The cut test scenes that have a label. InputError where there is none, or where one of them has no map."""
    scenes = [scene for scene in workspace.cut_scenes() if scene.label is not None]
    if not scenes:
        problem = "no test scene has a label"
        raise InputError(workspace.root, problem, "put image_N_label.png (or .gpkg) beside the scene or under truth/")
    for scene in scenes:
        if not workspace.has_map(scene):
            raise workspace.no_map(scene)
    return scenes


def score_stages(
    workspace: Workspace,
    legend: Legend,
    scheduler: Here | Cluster | None = None,
    scenes: list[Scene] | None = None,
) -> dict[str, ConfusionMatrix]:
    """The confusion matrix of every stage, in the order of the work, over all scenes together; see `stage_maps`.

    `scenes`: those that may be without labels or maps; None takes `labelled_scenes`. Each map is a task for the
    scheduler.
    """
    maps = stage_maps(workspace, labelled_scenes(workspace) if scenes is None else scenes)
    stages = {path.stem: ConfusionMatrix(len(legend)) for path, _ in maps}
    tasks = [Task(score_file, (path, scene.label_files, legend, scene.image)) for path, scene in maps]
    for task, matrix in (scheduler or Here()).run(tasks):
        stages[task.arguments[0].stem].merge(matrix)
    return stages


def best_stage(stages: dict[str, ConfusionMatrix], legend: Legend) -> str | None:
    """The stage of the highest mIoU without background, of equals the last; None where none has a score.

    Only stages that were scored on as many pixels as the last one count: others saw other scenes.
    """
    last = next(reversed(stages.values()), None)
    found = {
        name: matrix.mean_iou(legend.foreground)
        for name, matrix in stages.items()
        if last is not None and matrix.counts.sum() == last.counts.sum()
    }
    scored = {name: miou for name, miou in found.items() if not np.isnan(miou)}
    return max(reversed(scored), key=scored.__getitem__) if scored else None


def stage_note(stages: dict[str, ConfusionMatrix], legend: Legend) -> str | None:
    """A line that names the best stage, where the last one is not it."""
    best, last = best_stage(stages, legend), next(reversed(stages), None)
    if best is None or last is None or best == last:
        return None
    higher, lower = (stages[name].mean_iou(legend.foreground) for name in (best, last))
    return f"best by mIoU is {best} with {higher:.4f}; the last stage, {last}, has {lower:.4f}"


def stage_table(stages: dict[str, ConfusionMatrix], legend: Legend) -> str:
    """A line per stage: the means, then IoU per class."""
    width = max(len(name) for name in (*stages, "stage"))
    means = {"mIoU": "miou", "with background": "miou_with_background", "FWIoU": "fwiou", "kappa": "kappa"}
    columns = [*means, *legend.names]
    lines = ["  ".join([f"{'stage':{width}}", *(f"{column:>7}" for column in columns)])]
    for name, matrix in stages.items():
        content = scores(matrix, legend)
        values = [content[key] for key in means.values()] + [content["classes"][n]["iou"] for n in legend.names]
        cells = [f"{'-' if v is None else f'{v:.4f}':>{max(7, len(c))}}" for v, c in zip(values, columns, strict=True)]
        lines.append("  ".join([f"{name:{width}}", *cells]))
    return "\n".join(lines)


def refuse_unlabelled(matrix: ConfusionMatrix, labels: Path) -> None:
    """Raises InputError where no pixel of the labels says anything: there is nothing to score."""
    if not matrix.counts.any():
        problem = "no pixel there has a label: all are no data"
        raise InputError(labels, problem, "check that these are the labels, and which values they have")
