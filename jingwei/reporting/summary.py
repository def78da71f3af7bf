"""What the report says first: how good the delivered map is, and what made it."""

from pathlib import Path
from typing import NamedTuple

from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.evaluation.scenes import score_file, stage_maps
from jingwei.inputs.scenes import Scene
from jingwei.legend import Legend
from jingwei.raster.stamps import read_score
from jingwei.reporting.names import shown
from jingwei.system.scheduling import Cluster, Here, Task
from jingwei.workspace import Workspace

SMALLEST_GAIN = 0.00005  # of mIoU: what four digits show


class ScoredMap(NamedTuple):
    """A map of a stage, the scene that it is of, and how it compares with the scene's labels."""

    path: Path
    scene: Scene
    matrix: ConfusionMatrix


def score_maps(workspace: Workspace, scenes: list[Scene], legend: Legend, scheduler: Here | Cluster) -> list[ScoredMap]:
    """The maps of every stage (each model, vote, filled) of the scenes with a label, in the order of the work."""
    maps = stage_maps(workspace, scenes)
    tasks = [Task(score_file, (path, scene.label_files, legend, scene.image)) for path, scene in maps]
    matrices = {task.arguments[0]: matrix for task, matrix in scheduler.run(tasks)}
    return [ScoredMap(path, scene, matrices[path]) for path, scene in maps]


def stage_scores(maps: list[ScoredMap], legend: Legend) -> list[dict]:
    """The scores of every stage over all its maps: `name`, `scenes` (how many) and what `scores` gives."""
    stages: dict[str, list[ScoredMap]] = {}
    for scored in maps:
        stages.setdefault(scored.path.stem, []).append(scored)
    return [{"name": shown(name), "scenes": len(of)} | _scores(of, legend) for name, of in stages.items()]


def delivered(workspace: Workspace, maps: list[ScoredMap], legend: Legend) -> dict | None:
    """The scores of the last stage's maps, over all scenes with a label and a map; None without such a scene.

    `stages` names the stages that they are of, `weakest` is the class of the lowest IoU (None: none has a score), the
    background aside; `better` is the earlier stage that scored highest over the same scenes, where one scored higher.
    """
    final = [scored for scored in maps if scored.path == workspace.final_map(scored.scene)]
    if not final:
        return None
    found = _scores(final, legend)
    ious = {c: found["classes"][c]["iou"] for c in legend.foreground if found["classes"][c]["iou"] is not None}
    scenes = {scored.scene for scored in final}
    better, highest = None, (found["miou"] or 0) + SMALLEST_GAIN
    for name in dict.fromkeys(scored.path.stem for scored in maps):
        others = [scored for scored in maps if scored.path.stem == name]
        miou = _scores(others, legend)["miou"] or 0
        if miou > highest and {scored.scene for scored in others} == scenes:
            better, highest = {"name": shown(name), "miou": miou}, miou
    return {
        "stages": list(dict.fromkeys(shown(scored.path.stem) for scored in final)), "scenes": len(final),
        "miou": found["miou"], "accuracy": found["accuracy"], "weakest": min(ious, key=ious.__getitem__, default=None),
        "weakest_iou": min(ious.values()) if ious else None, "better": better,
    }  # fmt: skip


def scene_score(workspace: Workspace, maps: list[ScoredMap], scene: Scene, legend: Legend) -> dict | None:
    """mIoU and accuracy of a scene's final map; None without a label."""
    for scored in maps:
        if scored.scene == scene and scored.path == workspace.final_map(scene):
            found = _scores([scored], legend)
            return {"miou": found["miou"], "accuracy": found["accuracy"]}
    return None


def models_of(workspace: Workspace, scenes: list[Scene]) -> list[dict]:
    """The models that mapped the scenes: `name`, and the validation mIoU `score` (None where a map doesn't say)."""
    found: dict[str, float] = {}
    for scene in scenes:
        for path in workspace.predictions(scene):
            found.setdefault(path.stem, read_score(path))
    return [{"name": shown(name), "score": score if score >= 0 else None} for name, score in found.items()]


def _scores(maps: list[ScoredMap], legend: Legend) -> dict:
    """Scores over some maps. The classes come as a list: names that people gave are not safe as keys in a browser."""
    matrix = ConfusionMatrix(len(legend))
    for scored in maps:
        matrix.merge(scored.matrix)
    content = scores(matrix, legend)
    return content | {"classes": list(content["classes"].values())}
