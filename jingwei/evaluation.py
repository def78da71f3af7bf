"""Scores of label maps on disk against their truth."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np

from jingwei import raster
from jingwei.errors import InputError
from jingwei.grid import Window, strips
from jingwei.legend import NODATA, Legend
from jingwei.metrics import ConfusionMatrix, scores
from jingwei.scheduling import Cluster, Here, Task
from jingwei.streaming import ahead
from jingwei.workspace import Workspace


def score_file(prediction: Path, label: Path, legend: Legend, scene: Path | None = None) -> ConfusionMatrix:
    """The confusion matrix of a label map, strip by strip. Where `scene` is given, its invalid pixels don't count.

    Raises InputError for maps of different sizes, and for ids that the legend doesn't know.
    """
    matrix = ConfusionMatrix(len(legend))
    with raster.open_labels(prediction) as guessed, raster.open_labels(label) as known:
        raster.check_same_size(guessed, known)
        for truth, guess in ahead(_both(known, guessed, scene)):
            try:
                matrix.update(truth, guess)
            except ValueError as error:
                pair = f"{prediction.name} or {label.name} has {error}"
                raise InputError(label, pair, f"name the right legend with --legend, not {legend.name}") from error
    return matrix


def _both(known: raster.Raster, guessed: raster.Raster, scene: Path | None):
    with raster.open_image(scene) if scene else nullcontext() as image:
        if image:
            raster.check_same_size(known, image)
        for first, end in strips(known.height, raster.TILE):
            truth = known.read_label_rows(first, end)
            if image:
                valid = image.read_validity(Window(first, 0, end - first, known.width))
                truth = np.where(valid, truth, np.uint8(NODATA))
            yield truth, guessed.read_label_rows(first, end)


def score_stages(
    workspace: Workspace, legend: Legend, scheduler: Here | Cluster | None = None
) -> dict[str, ConfusionMatrix]:
    """The confusion matrix of every stage (each model, vote, filled), over all test scenes that have a label.

    Each map is a task for the scheduler.
    """
    scenes = [scene for scene in workspace.cut_scenes() if scene.label is not None]
    if not scenes:
        problem = "no test scene has a label"
        raise InputError(workspace.root, problem, "put image_N_label.png beside the scene or under truth/")
    stages: dict[str, ConfusionMatrix] = {}
    tasks = []
    for scene in scenes:
        later = [path for path in (workspace.vote(scene), workspace.filled(scene)) if path.exists()]
        maps = [*workspace.predictions(scene), *later]
        if not maps:
            raise InputError(workspace.masks(scene), "no maps there", "run predict.py first")
        for path in maps:
            stages.setdefault(path.stem, ConfusionMatrix(len(legend)))
            tasks.append(Task(score_file, (path, scene.label, legend, scene.image)))
    for task, matrix in (scheduler or Here()).run(tasks):
        stages[task.arguments[0].stem].merge(matrix)
    return stages


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
