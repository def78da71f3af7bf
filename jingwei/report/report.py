"""The report: a folder that opens from disk, with a deep zoom into every scene and all numbers below."""

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jingwei.errors import InputError, OutputError
from jingwei.legend import Legend
from jingwei.report.facts import experiments, scene_facts, stage_scores
from jingwei.report.layers import layers_of, make_layer
from jingwei.report.pyramid import TILE
from jingwei.report.worst import SIDE
from jingwei.system.atomic import only_run, whole_or_nothing
from jingwei.system.scheduling import Cluster, Here, Task
from jingwei.workspace import Scene, Workspace

LANGUAGES = ("auto", "en", "zh")
PAGE = "index.html"
DATA = "data.js"


class Report(NamedTuple):
    """What was written: the page, and the layers that were made and kept."""

    page: Path
    made: list[str]
    kept: list[str]


def write_report(
    workspace: Workspace,
    scenes: list[Scene],
    legend: Legend,
    folder: Path,
    *,
    language: str = "auto",
    gsd: float | None = None,
    workers: int = 1,
    scheduler: Here | Cluster | None = None,
) -> Report:
    """Writes the report of a project into `folder`: of these scenes, and of all experiments.

    What the project doesn't have yet is left out; layers that are up to date are kept. The page changes over to new
    layers at once, at the very end: a run that was stopped leaves the report that was there before. `language` is `en`,
    `zh`, or `auto` for the reader's own; `gsd` is the side of a pixel in metres, where scenes don't tell.

    Raises InputError where there is nothing to show, OutputError for a folder that is none of ours.
    """
    assert language in LANGUAGES
    runs = experiments(workspace)
    if not scenes and not runs:
        problem = "neither a cut scene nor a trained experiment is there"
        raise InputError(workspace.root, problem, "run generate_test_data.py or train.py first")
    if folder.exists() and not _is_ours(folder):
        raise OutputError(folder, "is no report, and no empty folder", "name another folder with --output")
    scheduler = scheduler or Here()
    with only_run(folder):
        sources = [source for scene in scenes for source in layers_of(workspace, scene, legend, folder / "tiles")]
        tasks = [Task(make_layer, (source, legend, workers)) for source in sources]
        results = {task.arguments[0]: result for task, result in scheduler.run(tasks)}
        layers: dict[str, dict] = {scene.name: {} for scene in scenes}
        made, kept = [], []
        for source in sources:  # in this order, whichever is ready first
            layer, fresh = results[source]
            layers[source.scene.name][source.name] = layer
            (made if fresh else kept).append(f"{source.scene.name} {source.name}")
        content = {
            "language": language,
            "tile": TILE,
            "placesSide": SIDE,
            "legend": legend.to_dict(),
            "scenes": [scene_facts(workspace, scene, layers[scene.name], legend, gsd) for scene in scenes],
            "stages": stage_scores(workspace, scenes, legend, scheduler),
            "experiments": runs,
        }
        _write_page(folder, content)
        _sweep(folder / "tiles", {source.folder for source in sources})
    return Report(folder / PAGE, made, kept)


def _is_ours(folder: Path) -> bool:
    """Whether a report may be written there: over another one, finished or not, or where nothing is."""
    return folder.is_dir() and (not any(folder.iterdir()) or (folder / DATA).exists() or (folder / "tiles").exists())


def _write_page(folder: Path, content: dict) -> None:
    """Writes the page and all that it needs, its numbers last."""
    for file in sorted(files(__package__).joinpath("viewer").iterdir(), key=lambda file: file.name):
        place = folder / file.name if file.name == PAGE else folder / "viewer" / file.name
        with whole_or_nothing(place) as part:
            part.write_bytes(file.read_bytes())
    with whole_or_nothing(folder / DATA) as part:
        part.write_text(f"const REPORT = {json.dumps(content, separators=(',', ':'))};\n", encoding="ascii")


def _sweep(tiles: Path, wanted: set[Path]) -> None:
    """Deletes the layers that the page no longer shows, and those that a stopped run left."""
    for folder in tiles.glob("*/*"):
        if folder not in wanted:
            shutil.rmtree(folder)
    for folder in tiles.glob("*"):
        if not any(folder.iterdir()):
            folder.rmdir()
