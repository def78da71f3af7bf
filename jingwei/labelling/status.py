"""How far the label loop has come: rounds, pixels of each class, and the maps' score over rounds."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.evaluation.scenes import score_file
from jingwei.inputs.label_files import LabelFiles
from jingwei.inputs.scenes import Scene
from jingwei.labelling.maps import newest_map
from jingwei.labels.areas import TEST, LabelledAreas
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rounds import labelled_files
from jingwei.labels.rules import AS_DRAWN, ONLY_TEST
from jingwei.legend import Legend
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.own_files import finite, read_table, whole
from jingwei.workspace import Workspace

NOT_COMPARABLE = "not comparable"


class RoundLabels(NamedTuple):
    """What a file of a scene's rounds holds: regions, and pixels per class (int64)."""

    scene: str
    path: Path
    regions: int
    pixels: np.ndarray


class RoundScore(NamedTuple):
    """The mIoU (without background) of the maps that were there after some rounds, and the pixels that it is of."""

    rounds: int
    miou: float
    pixels: int


COLUMNS = {"rounds": whole, "miou": finite, "pixels": whole}


def rounds_of(workspace: Workspace, scenes: Sequence[Scene], legend: Legend) -> list[RoundLabels]:
    """What each round of the scenes holds, and `next.gpkg` where somebody has labelled in it."""
    found = []
    for scene in scenes:
        for path in labelled_files(workspace.rounds(scene)):
            with scene.open_image() as image, DrawnLabels([path], legend, AS_DRAWN, image) as labels:
                found.append(RoundLabels(scene.name, path, len(labels.values), labels.count()))
    return found


def score_now(workspace: Workspace, scenes: Sequence[Scene], legend: Legend) -> RoundScore | None:
    """The score of the scenes' final maps on the labels in areas whose `use` is test; None without such areas.

    Scenes of which a newer network has predicted but a part are left out (see `predicted_in_part`).
    """
    matrix, rules = ConfusionMatrix(len(legend)), workspace.rules.only(ONLY_TEST)
    in_part = predicted_in_part(workspace, scenes)
    for scene in scenes:
        if scene.label is None or scene in in_part or not workspace.has_map(scene):
            continue
        with scene.open_image() as image:
            if not LabelledAreas(rules.labelled, image).has(TEST):
                continue
        files = LabelFiles((scene.label, *scene.more), rules)
        matrix.merge(score_file(workspace.final_map(scene), files, legend, scene.image))
    miou = matrix.mean_iou(legend.foreground)
    if not matrix.counts.any() or np.isnan(miou):
        return None
    # What is labelled in next.gpkg has been trained on by then: the next call makes a round of it.
    rounds = max((len(labelled_files(workspace.rounds(scene))) for scene in scenes), default=0)
    return RoundScore(rounds, round(float(miou), 6), int(matrix.counts.sum()))


def predicted_in_part(workspace: Workspace, scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes of which the newest network has predicted but a part: there is nothing to be scored."""
    maps = {scene: newest_map(workspace, scene) for scene in scenes}
    return [scene for scene, judged in maps.items() if judged and judged.part]


def read_scores(path: Path) -> list[RoundScore]:
    """The scores that were noted, by rounds. InputError where the file is something else."""
    if not path.exists():
        return []
    what, remedy = "is not a table of scores", "delete it: label.py writes it anew"
    rows = read_table(path, COLUMNS, what=what, remedy=remedy, missing=remedy)
    return [RoundScore(row["rounds"], row["miou"], row["pixels"]) for row in rows]


def note_score(path: Path, score: RoundScore) -> None:
    """Notes a score in the file, in place of one after as many rounds."""
    rows = sorted([*(row for row in read_scores(path) if row.rounds != score.rounds), score])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([RoundScore._fields, *rows])
    with whole_or_nothing(path) as part:
        part.write_text(text.getvalue(), encoding="utf-8")


def status_table(rounds: Sequence[RoundLabels], legend: Legend) -> str:
    """A line per round: its regions, and pixels of each class; then the sums."""
    names = [f"{each.scene} {each.path.stem}" for each in rounds]
    width = max(map(len, [*names, "all"]))
    columns = [("regions", [each.regions for each in rounds])]
    columns += [(c.name, [int(each.pixels[c.id]) for each in rounds]) for c in legend.classes]
    sizes = [max(len(name), 12) for name, _ in columns]
    lines = ["  ".join([f"{'':{width}}", *(f"{name:>{size}}" for (name, _), size in zip(columns, sizes, strict=True))])]
    for k, name in enumerate([*names, "all"]):
        values = [sum(column) if k == len(names) else column[k] for _, column in columns]
        cells = [f"{value:>{size},d}" for value, size in zip(values, sizes, strict=True)]
        lines.append("  ".join([f"{name:{width}}", *cells]))
    return "\n".join(lines)


def score_lines(scores: Sequence[RoundScore]) -> list[str]:
    """A line per score; those of other test areas than the last one's are said to be not comparable."""
    lines = []
    for score in scores:
        note = "" if score.pixels == scores[-1].pixels else f": {NOT_COMPARABLE}, the test areas were others"
        rounds = f"{score.rounds} round{'' if score.rounds == 1 else 's'}"
        lines.append(f"after {rounds}: mIoU {score.miou:.4f} on {score.pixels:,d} px{note}")
    return lines
