"""What a command would take, measured: its real stages on a sample of the real scene.

A sample of the scene is copied into a temporary folder and the stage run on it there: twice, since the first run also
loads what is compiled. Time and the size of what is written are scaled up to the scene; memory is the formula of
`estimates.py` beside what this program has held itself.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.tile import tile_scene
from jingwei.errors import JingweiError
from jingwei.evaluation.scenes import score_file
from jingwei.filling.fill_map import fill_map
from jingwei.grid import Window
from jingwei.inputs.label_files import LabelFiles, label_files
from jingwei.inputs.scenes import Scene, scene_of
from jingwei.legend import Legend
from jingwei.planning import estimates
from jingwei.planning.excerpts import Drawn, copy_parts, count_windows, take_excerpt
from jingwei.planning.room import size_of
from jingwei.prediction.views import TTA
from jingwei.reporting.layers import layers_of, make_layer
from jingwei.system.machine import own_memory
from jingwei.system.spill import temporary_folder
from jingwei.voting.vote import VoteFiles, vote
from jingwei.workspace import Workspace


class Cost(NamedTuple):
    """What a step takes: bytes of memory and of disk at its peak, seconds; None where that is not known."""

    memory: int
    disk: float | None = None
    seconds: float | None = None
    unmeasured: JingweiError | None = None  # why disk and time are not known


class Step(NamedTuple):
    """A part of a command's work: the raster that it is about, what is done, and how to find out what that takes."""

    source: Path
    what: str
    measure: Callable[[], Cost]


def crop_steps(scenes: list[Scene], settings: CutSettings, legend: Legend, workers: int) -> list[Step]:
    """The steps of `crops.cut.cut_train`."""
    settings.check()

    def step(scene: Scene) -> Step:
        size = size_of(scene.image)
        count = estimates.crop_count(size, settings.crop_size, settings.stride)
        what = f"at most {count} crops of {settings.crop_size} px, every {settings.stride} px"
        memory = estimates.cut_memory(size, settings.crop_size, workers)
        drawn = _drawn(scene.label_files, legend) if scene.label else None
        sources = [scene.image] + ([scene.label] if scene.label and not drawn else [])

        def work(samples: list[Path], folder: Path) -> None:
            cut_train(Workspace(folder), [scene_of(samples[0], samples[1:])], settings, legend, workers)

        return Step(scene.image, what, lambda: rehearsed(sources, settings.crop_size, work, memory, drawn))

    return [step(scene) for scene in scenes]


def tiling_steps(scenes: list[Scene], workers: int) -> list[Step]:
    """The steps of `crops.cut.tile_scene`."""

    def work(samples: list[Path], folder: Path) -> None:
        tile_scene(samples[0], folder / "tiled.tif", workers)

    def measure(image: Path) -> Cost:
        return rehearsed([image], estimates.MAP_TILE, work, estimates.tile_memory(size_of(image), workers))

    what = f"a copy in tiles of {estimates.MAP_TILE} px, with overviews"
    return [Step(scene.image, what, partial(measure, scene.image)) for scene in scenes]


def predict_step(job, checkpoint) -> Step:
    """The step of a `prediction.scene.Job`: a few windows of the scene go through the network, then five times as many.

    So few of them go through torch, where the engine auto may find a faster one for the whole scene.
    """
    bands, turns = job.bands(size_of(job.source)[:2]), len(TTA[job.settings.tta])
    what = f"at most {bands.window_count} windows of {job.settings.window} px"
    what += f", each turned {turns} ways" if turns > 1 else ""
    what += f" (a part: of {bands.window_count_of_all})" if job.settings.part else ""
    return Step(job.source, f"{what}, by {job.weights}", partial(_measure_prediction, job, checkpoint, turns))


def _measure_prediction(job, checkpoint, turns: int) -> Cost:
    from jingwei.models.devices import find_device

    size, window, overlap = size_of(job.source), job.settings.window, job.settings.overlap
    batch_size = job.batch_size or (8 if find_device(job.device).type == "cuda" else 1)
    keeps = job.probabilities is not None
    memory = estimates.predict_memory(
        size, window, overlap, checkpoint.spec.classes, batch_size=batch_size, probabilities=keeps
    )
    with temporary_folder() as place:
        widest = window + (5 * batch_size - 1) * (window - overlap)
        (sample,), share = take_excerpt([job.source], window, place / "sample", blocks=1, width=widest)
        bands = job.bands(size[:2])
        all_windows = bands.window_count_of_all
        filled = count_windows(job.source, sample, share, window, overlap)
        count = max(1, round(filled * bands.window_count / all_windows))
        try:
            tile_scene(sample, place / "tiled" / "sample.tif", job.workers)
            runs = [
                _timed_windows(job, checkpoint, place, turn, count)
                for turn, count in (("first", batch_size), ("second", batch_size), ("many", 5 * batch_size))
            ]
        except JingweiError as error:
            return Cost(own_memory() + memory, unmeasured=error)
        per_px = _bytes_in(place / "many") / size_of(place / "part_many" / "sample.tif").px
    # While a map is put together, its bands lie beside it.
    disk = 2 * per_px * size.px * count / all_windows
    few, many = min(runs[:2], key=lambda run: run[1]), runs[2]
    return Cost(own_memory() + memory, disk, estimates.time_of_windows(few, many, count * turns))


def _timed_windows(job, checkpoint, place: Path, turn: str, count: int) -> tuple[int, float]:
    """Predicts `count` windows of the tiled sample, unturned: (windows, seconds)."""
    from jingwei.prediction.scene import predict_scene

    window, overlap = job.settings.window, job.settings.overlap
    sample = place / "tiled" / "sample.tif"
    size = size_of(sample)
    part = Window(0, 0, size.height, min(size.width, window + (count - 1) * (window - overlap)))
    source = copy_parts(sample, [part], place / f"part_{turn}")
    target = place / turn / "map.tif"
    kept = {kind: place / turn / f"{kind}.tif" for kind in job.outputs if kind != "labels"}
    settings = replace(job.settings, tta="none", part=None)
    small = replace(job, source=source, target=target, settings=settings, stale=(), **kept)
    begun = time.perf_counter()
    predict_scene(small, checkpoint)
    return estimates.window_count(size_of(source), window, overlap), time.perf_counter() - begun


def vote_step(maps: list[Path], legend: Legend, soft: bool, ties: str, workers: int) -> Step:
    """The step of `voting.vote.vote`. All maps weigh the same here: that changes nothing in the work."""

    def work(samples: list[Path], folder: Path) -> None:
        files = VoteFiles.beside(folder / "vote.tif")._replace(submission=folder / "vote.png")
        vote(samples, files, legend, soft=soft, ties=ties, workers=workers)

    memory = estimates.vote_memory(size_of(maps[0]), len(maps), soft)
    what = f"a vote of {len(maps)} {'probabilities' if soft else 'maps'}"
    return Step(maps[0], what, lambda: rehearsed(maps, estimates.MAP_TILE, work, memory))


def fill_step(source: Path, rules: dict, submits: bool) -> Step:
    """The step of `filling.fill_map.fill_map` with its rules, and the contest's PNG where it `submits`."""

    def work(samples: list[Path], folder: Path) -> None:
        fill_map(samples[0], folder / "filled.tif", submit_png=folder / "filled.png" if submits else None, **rules)

    frames = rules.get("frames")
    if frames:
        memory = estimates.fill_memory(size_of(source), frame_sizes=frames.sizes)
    else:
        memory = estimates.fill_memory(size_of(source), max(rules["min_area"].values(), default=0))
    return Step(source, "holes to be filled", lambda: rehearsed([source], 2 * estimates.MAP_TILE, work, memory))


def _drawn(files: LabelFiles, legend: Legend) -> Drawn | None:
    return Drawn(files, legend) if files.drawn else None


def score_step(prediction: Path, label: Path | LabelFiles, legend: Legend) -> Step:
    """The step of `evaluation.scenes.score_file`."""
    files = label_files(label)
    drawn = _drawn(files, legend)
    sources = [prediction] if drawn else [prediction, files.path]

    def work(samples: list[Path], folder: Path) -> None:
        score_file(samples[0], samples[1], legend)

    memory = estimates.evaluate_memory(size_of(prediction))
    what = f"to be scored by {files.path}"
    return Step(prediction, what, lambda: rehearsed(sources, estimates.MAP_TILE, work, memory, drawn))


def report_steps(workspace: Workspace, scenes: list[Scene], legend: Legend, folder: Path, workers: int) -> list[Step]:
    """The layers that a report is to get, each as a step: pictures and maps differ in what a pixel takes."""

    def step(source) -> Step:
        def work(samples: list[Path], place: Path) -> None:
            image, path = samples[0], samples[-1]
            scene = Scene(image, path if source.name == "truth" else None)
            make_layer(source._replace(path=path, scene=scene, folder=place / source.name), legend, workers)

        drawn = _drawn(source.scene.label_files, legend) if source.name == "truth" else None
        inputs = [source.scene.image] if drawn else list(dict.fromkeys([source.scene.image, source.path]))
        memory = estimates.report_memory(size_of(inputs[-1]), workers)
        rows = 2 * estimates.MAP_TILE
        return Step(source.path, "tiles to zoom in", lambda: rehearsed(inputs, rows, work, memory, drawn))

    return [step(source) for scene in scenes for source in layers_of(workspace, scene, legend, folder / "tiles")]


def rehearsed(
    sources: list[Path],
    rows: int,
    work: Callable[[list[Path], Path], object],
    memory: int,
    drawn: Drawn | None = None,
) -> Cost:
    """Runs `work` (samples, folder for what it writes) on samples of rasters of one size, and scales up what it took.

    `rows` is the height of the stage's crops or strips, `memory` what its formula says, `drawn` labels that are no
    raster: see `take_excerpt`. Where the sample can't be
    worked on, disk and time stay unknown.
    """
    with temporary_folder() as place:
        samples, share = take_excerpt(sources, rows, place / "sample", drawn=drawn)
        try:
            for turn in ("first", "second"):
                begun = time.perf_counter()
                work(samples, place / turn)
                seconds = time.perf_counter() - begun
        except JingweiError as error:
            return Cost(own_memory() + memory, unmeasured=error)
        return Cost(own_memory() + memory, _bytes_in(place / "second") / share, seconds / share)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
