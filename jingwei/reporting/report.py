"""The report: a folder that opens from disk, with a deep zoom into every scene and all numbers below."""

import json
import shlex
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jingwei.errors import InputError
from jingwei.inputs.scenes import Scene
from jingwei.legend import Legend
from jingwei.reporting.curves import experiments
from jingwei.reporting.facts import files_of, scene_facts
from jingwei.reporting.folder import DATA, PAGE, TILES, VIEWER, files_named_by, refuse_foreign, sweep
from jingwei.reporting.layers import layers_of, make_layer
from jingwei.reporting.names import LANGUAGES, shown
from jingwei.reporting.pyramid import TILE
from jingwei.reporting.screen import screen_legend
from jingwei.reporting.summary import delivered, models_of, scene_score, score_maps, stage_scores
from jingwei.reporting.worst import SIDE
from jingwei.system.atomic import only_run, whole_or_nothing
from jingwei.system.scheduling import Cluster, Here, Task
from jingwei.version import VERSION
from jingwei.workspace import Workspace


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
    command: str | None = None,
    workers: int = 1,
    scheduler: Here | Cluster | None = None,
) -> Report:
    """Writes the report of a project into `folder`: of these scenes, and of all experiments.

    What the project doesn't have yet is left out; layers that are up to date are kept. The page changes over to new
    layers at once, at the very end: a run that was stopped leaves the report that was there before. `language` is `en`,
    `zh`, or `auto` for the reader's own; `gsd` is the side of a pixel in metres, where scenes don't tell; `command` is
    what the page says it was made by.

    Raises InputError where there is nothing to show, OutputError for a folder that is not a report.
    """
    assert language in LANGUAGES
    runs = experiments(workspace)
    if not scenes and not runs:
        problem = "neither a cut scene nor a trained experiment is there"
        raise InputError(workspace.root, problem, "run generate_test_data.py or train.py first")
    scheduler = scheduler or Here()
    page = _page_files()
    with only_run(folder):
        refuse_foreign(folder, page)
        stale = files_named_by(folder) - set(page)
        sources = [source for scene in scenes for source in layers_of(workspace, scene, legend, folder / TILES, gsd)]
        tasks = [Task(make_layer, (source, legend, workers)) for source in sources]
        results = {task.arguments[0]: result for task, result in scheduler.run(tasks)}
        layers: dict[Scene, dict] = {scene: {} for scene in scenes}
        made: list[str] = []
        kept: list[str] = []
        for source in sources:  # in this order, whichever is ready first
            layer, fresh = results[source]
            layers[source.scene][source.name] = layer
            (made if fresh else kept).append(f"{shown(source.scene.name)} {source.name}")
        # Before all maps are read to be scored, which leaves buffers behind.
        facts = [scene_facts(workspace, scene, layers[scene], legend, gsd) for scene in scenes]
        maps = score_maps(workspace, scenes, legend, scheduler)
        content = {
            "language": language,
            "version": VERSION,
            "command": command,
            "data": None if workspace.root == Path("data") else shlex.quote(shown(str(workspace.root))),
            "tile": TILE,
            "placesSide": SIDE,
            "legend": screen_legend(legend),
            "scenes": [
                of | {"score": scene_score(workspace, maps, scene, legend), "files": files_of(workspace, scene, folder)}
                for scene, of in zip(scenes, facts, strict=True)
            ],
            "delivered": delivered(workspace, maps, legend),
            "stages": stage_scores(maps, legend),
            "models": models_of(workspace, scenes),
            "experiments": runs,
        }
        _write_page(folder, page, content)
        sweep(folder, {source.folder for source in sources}, stale)
    return Report(folder / PAGE, made, kept)


def _page_files() -> dict[str, bytes | None]:
    """All files of the page but its tiles, the page first: it names all others as ours, should the run be stopped."""
    there = {file.name: file.read_bytes() for file in files(__package__).joinpath(VIEWER).iterdir()}
    page = there.pop(PAGE)
    return {PAGE: page} | {f"{VIEWER}/{name}": there[name] for name in sorted(there)} | {DATA: None}


def _write_page(folder: Path, page: dict[str, bytes | None], content: dict) -> None:
    """Writes the page and all that it needs, its numbers last."""
    numbers = f"const REPORT = {json.dumps(content, separators=(',', ':'))};\n".encode("ascii")
    for name, file in page.items():
        with whole_or_nothing(folder / name) as part:
            part.write_bytes(numbers if file is None else file)
