"""`--dry_run`: what a command would take; and the look at the disk with which every long command begins.

A dry run copies a sample of the real scene into a temporary folder and runs the real stage on it there: twice, since
the first run also loads what is compiled. Time and the size of what is written are scaled up to the scene, memory is
the formula of `estimates.py` beside what this program has held itself.
"""

import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jingwei.cli.parser import Parser, spell_seconds
from jingwei.errors import JingweiError, OutputError
from jingwei.grid import Window
from jingwei.legend import Legend
from jingwei.planning import estimates
from jingwei.planning.estimates import Size
from jingwei.planning.excerpts import copy_parts, count_windows, take_sample
from jingwei.raster.reading import Raster
from jingwei.workspace import Scene, Workspace


class Cost(NamedTuple):
    """What a step takes: bytes of memory and of disk at its peak, seconds; None where that is not known."""

    memory: int
    disk: float | None = None
    seconds: float | None = None


def dry_run_flag(parser: Parser) -> None:
    """Adds --dry_run."""
    text = "tell sizes, windows, memory, disk and time, measured on a sample, and make nothing"
    parser.flag("dry_run", text, action="store_true")


# ---- before every long job ----


def require_room(place: Path, needed: int) -> None:
    """Raises OutputError where fewer than `needed` bytes are free on the disk of `place`, which need not exist yet.

    `needed` is a lower bound of `estimates.py`, far below what is likely, since nobody knows how well pixels compress
    before they are read: so no job that could fit should be refused. One that fills the disk later ends as it always
    did, with one line and nothing half-written.
    """
    free = free_bytes(place)
    if needed > free:
        problem = f"{spell_bytes(needed)} are needed at the very least, and {spell_bytes(free)} are free"
        raise OutputError(place, problem, "free some space there or write elsewhere; --dry_run estimates the real need")


def free_bytes(place: Path) -> int:
    """Bytes that are free on the disk of a path, or of the folder nearest above it that exists."""
    place = place.absolute()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free


def require_room_for_crops(root: Path, images: Iterable[Path], keep_background: float) -> None:
    """`require_room` for the crops of scenes."""
    require_room(root, sum(int(_copy_at_least(image) * keep_background) for image in images))


def require_room_for_tiled(root: Path, copies: Iterable[tuple[Path, Path]]) -> None:
    """`require_room` for tiled copies: (image, copy). Those that are there may be up to date: left out."""
    require_room(root, sum(_copy_at_least(image) for image, copy in copies if not copy.exists()))


def require_room_for_maps(source: Path, outputs: Iterable[Path]) -> None:
    """`require_room` for maps of a raster's size, .tif or .png. Those that are there may be up to date: left out."""
    size = size_of(source)._replace(bands=1, itemsize=1)
    least = {".tif": estimates.tiles_at_least(size), ".png": estimates.png_at_least(size)}
    missing = [path for path in outputs if not path.exists()]
    if missing:
        require_room(missing[0].parent, sum(least[path.suffix] for path in missing))


def _copy_at_least(image: Path) -> int:
    size = size_of(image)
    return estimates.copy_at_least(image.stat().st_size, size.px * size.px_bytes)


# ---- the dry run ----


class Step(NamedTuple):
    """A part of a command's work: the raster that it is about, what is done, and how to find out what that takes."""

    source: Path
    what: str
    measure: Callable[[], Cost]


def tell(steps: list[Step], place: Path | None) -> None:
    """Measures steps that follow each other and prints what they take. What they write goes to `place`, or nowhere."""
    costs = []
    for source, what, measure in steps:
        print(f"{source}: {_describe(source)}: {what}")
        costs.append(measure())
        _print_costs(costs[-1:], place)
    if len(steps) > 1:
        print(f"all {len(steps)}:")
        _print_costs(costs, place)
    print("dry run: nothing was made")


def crop_steps(scenes: list[Scene], settings, legend: Legend, workers: int) -> list[Step]:
    """The steps of `cutting.cut_train`."""
    from jingwei.crops.cut import cut_train

    settings.check()

    def step(scene: Scene) -> Step:
        size = size_of(scene.image)
        count = estimates.crop_count(size, settings.crop_size, settings.stride)
        what = f"at most {count} crops of {settings.crop_size} px, every {settings.stride} px"
        memory = estimates.cut_memory(size, settings.crop_size, workers)
        sources = [scene.image] + ([scene.label] if scene.label else [])

        def work(samples: list[Path], folder: Path) -> None:
            cut_train(Workspace(folder), [Scene(*samples)], settings, legend, workers)

        return Step(scene.image, what, lambda: rehearsed(sources, settings.crop_size, work, memory))

    return [step(scene) for scene in scenes]


def tiling_steps(scenes: list[Scene], workers: int) -> list[Step]:
    """The steps of `cutting.tile_scene`."""
    from jingwei.crops.cut import tile_scene

    def work(samples: list[Path], folder: Path) -> None:
        tile_scene(samples[0], folder / "tiled.tif", workers)

    def measure(image: Path) -> Cost:
        return rehearsed([image], estimates.TILE, work, estimates.tile_memory(size_of(image), workers))

    what = f"a copy in tiles of {estimates.TILE} px, with overviews"
    return [Step(scene.image, what, partial(measure, scene.image)) for scene in scenes]


def predict_step(job, checkpoint) -> Step:
    """The step of a `prediction.Job`: a few windows of the scene go through the network, and then five times as many.

    So few of them go through torch, where --engine auto may find a faster engine for the whole scene.
    """
    from jingwei.crops.cut import tile_scene
    from jingwei.models.devices import find_device
    from jingwei.prediction.engines.views import TTA
    from jingwei.prediction.scene import predict_scene

    settings = job.settings.check()
    size = size_of(job.source)
    window, overlap, turns = settings.window, settings.overlap, len(TTA[settings.tta])
    batch_size = job.batch_size or (8 if find_device(job.device).type == "cuda" else 1)
    keeps = job.probabilities is not None

    def measure() -> Cost:
        memory = estimates.predict_memory(
            size, window, overlap, checkpoint.spec.classes, batch_size=batch_size, probabilities=keeps
        )
        with tempfile.TemporaryDirectory() as folder:
            place, widest = Path(folder), window + (5 * batch_size - 1) * (window - overlap)
            (sample,), share = take_sample([job.source], window, place / "sample", blocks=1, width=widest)
            whole = count_windows(job.source, sample, share, window, overlap)
            try:
                tile_scene(sample, place / "tiled" / "sample.tif", job.workers)
                runs = []
                for turn, count in (("first", batch_size), ("second", batch_size), ("many", 5 * batch_size)):
                    width = min(size_of(sample).width, window + (count - 1) * (window - overlap))
                    part = Window(0, 0, size_of(sample).height, width)
                    source = copy_parts(place / "tiled" / "sample.tif", [part], place / f"part_{turn}")
                    target = place / turn / "map.tif"
                    kept = {"probabilities": place / turn / "probabilities.tif"} if keeps else {}
                    small = replace(job, source=source, target=target, settings=replace(settings, tta="none"), **kept)
                    begun = time.perf_counter()
                    predict_scene(small, checkpoint)
                    runs.append((estimates.window_count(size_of(source), window, overlap), time.perf_counter() - begun))
            except JingweiError as error:
                print(f"  not measured, for a sample of it can't be worked on: {error}")
                return Cost(own_memory() + memory)
            per_px = _bytes_in(place / "many") / size_of(source).px
        # While a map is put together, its bands lie beside it.
        disk = 2 * per_px * size.px * whole / estimates.window_count(size, window, overlap)
        few, many = min(runs[:2], key=lambda run: run[1]), runs[2]
        return Cost(own_memory() + memory, disk, estimates.time_of_windows(few, many, whole * turns))

    count = estimates.window_count(size, window, overlap)
    what = f"at most {count} windows of {window} px" + (f", each turned {turns} ways" if turns > 1 else "")
    return Step(job.source, f"{what}, by {job.weights}", measure)


def vote_step(maps: list[Path], legend: Legend, soft: bool, ties: str, workers: int) -> Step:
    """The step of `voting.vote`. All maps weigh the same here: that changes nothing in the work."""
    from jingwei.voting.vote import VoteFiles, vote

    def work(samples: list[Path], folder: Path) -> None:
        files = VoteFiles.beside(folder / "vote.tif")._replace(submission=folder / "vote.png")
        vote(samples, files, legend, soft=soft, ties=ties, workers=workers)

    memory = estimates.vote_memory(size_of(maps[0]), len(maps), soft)
    what = f"a vote of {len(maps)} {'probabilities' if soft else 'maps'}"
    return Step(maps[0], what, lambda: rehearsed(maps, estimates.TILE, work, memory))


def fill_step(source: Path, rules: dict, submits: bool) -> Step:
    """The step of `filling.fill_map` with the rules that it takes, and the contest's PNG where it `submits`."""
    from jingwei.filling.fill_map import fill_map

    def work(samples: list[Path], folder: Path) -> None:
        fill_map(samples[0], folder / "filled.tif", submit_png=folder / "filled.png" if submits else None, **rules)

    frames = rules.get("frames")
    if frames:
        memory = estimates.fill_memory(size_of(source), frame_sizes=frames.sizes)
    else:
        memory = estimates.fill_memory(size_of(source), max(rules["min_area"].values(), default=0))
    return Step(source, "holes to be filled", lambda: rehearsed([source], 2 * estimates.TILE, work, memory))


def score_step(prediction: Path, label: Path, legend: Legend) -> Step:
    """The step of `evaluation.score_file`."""
    from jingwei.evaluation.scenes import score_file

    def work(samples: list[Path], folder: Path) -> None:
        score_file(*samples, legend)

    memory = estimates.evaluate_memory(size_of(prediction))
    what = f"to be scored by {label}"
    return Step(prediction, what, lambda: rehearsed([prediction, label], estimates.TILE, work, memory))


def rehearsed(sources: list[Path], rows: int, work: Callable[[list[Path], Path], object], memory: int) -> Cost:
    """Runs `work` (samples, folder for what it writes) on samples of rasters of one size, and scales up what it took.

    `rows` is the height of the stage's crops or strips, `memory` what its formula says. Where the sample can't be
    worked on, says why, and leaves disk and time unknown.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        samples, share = take_sample(sources, rows, place / "sample")
        try:
            for turn in ("first", "second"):
                begun = time.perf_counter()
                work(samples, place / turn)
                seconds = time.perf_counter() - begun
        except JingweiError as error:
            print(f"  not measured, for a sample of it can't be worked on: {error}")
            return Cost(own_memory() + memory)
        return Cost(own_memory() + memory, _bytes_in(place / "second") / share, seconds / share)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def own_memory() -> int:
    """The bytes that this process has held at its peak."""
    try:
        # Not getrusage: there, a process begins with the peak of the one that started it.
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    except (OSError, TypeError):  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ---- what is printed ----


def size_of(path: Path) -> Size:
    """The size of a raster."""
    with Raster(path) as source:
        return Size(*source.shape, source.bands, source.dtype.itemsize)


def _describe(path: Path) -> str:
    with Raster(path) as source:
        bands = "1 band" if source.bands == 1 else f"{source.bands} bands"
        return f"{source.width} x {source.height} px, {bands} of {source.dtype}"


def _print_costs(costs: list[Cost], place: Path | None) -> None:
    print(f"  memory {spell_bytes(max(cost.memory for cost in costs)):>10} at most")
    if place and all(cost.disk is not None for cost in costs):
        disk, free = sum(cost.disk for cost in costs), free_bytes(place)
        print(f"  disk   {spell_bytes(disk):>10} about; {spell_bytes(free)} are free{': TOO LITTLE' * (disk > free)}")
    if all(cost.seconds is not None for cost in costs):
        print(f"  time   {spell_seconds(sum(cost.seconds for cost in costs)):>10} about")


def spell_bytes(count: float) -> str:
    """`3.4 kB`, `12 MB`, `1.25 GB`."""
    unit, name = next((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= u or n == "kB")
    return f"{count / unit:.3g} {name}"
