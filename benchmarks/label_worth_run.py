"""Runs of `label_worth.py`, in a process of their own: the first round of a project, and second ones from its map.

    python benchmarks/label_worth_run.py JOB.json RESULT.json [JOB.json RESULT.json]...

Both go the user's way through the library: labels are rounds of polygons in `label/SCENE/`, cut, trained, mapped, and
`label.py` chooses. Only the person is played by the truth: of each place, all that is labelled there.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import accuracy_arms
import cv2
import numpy as np
import pyogrio
import rasterio.features
import shapely
import torch
from accuracy_folds import legend_of, write_tif
from accuracy_run import PLANNED, train_ours
from accuracy_score import scores_of, seen_on

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.grid import Blocks, Window
from jingwei.inputs.scenes import Scene
from jingwei.labelling.places import FRAMES
from jingwei.labelling.suggest import suggest
from jingwei.labels.rounds import FIELD
from jingwei.legend import NODATA, Legend
from jingwei.models.checkpoints import save_checkpoint
from jingwei.polygons.layered import Layer, write_layers
from jingwei.polygons.layers import LABELS
from jingwei.polygons.reading import Y
from jingwei.polygons.styles import class_style
from jingwei.prediction.job import Job
from jingwei.prediction.scene import predict_scene
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.reading import open_image, open_labels
from jingwei.training.distributed import Team
from jingwei.training.experiments import read_training_data
from jingwei.training.learner import Learner
from jingwei.training.start import Start
from jingwei.workspace import Workspace, confidence_of

CROP = 512  # px, side of the crops that rounds are cut into
SETTINGS = PredictSettings(window=512, overlap=64, engine="torch")
SPARE = 1.2  # times the places that a budget is for are asked for, since not all pixels of a place are labelled


class Place(NamedTuple):
    """A place of a scene, and how many of its pixels the truth has labels for."""

    scene: str
    row: int
    col: int
    height: int
    width: int
    pixels: int

    @property
    def window(self) -> Window:
        return Window(self.row, self.col, self.height, self.width)


class World(NamedTuple):
    """The middles of a fold's training scenes, as tiled files that any window can be read from; truths_HW by name."""

    scenes: list[Scene]
    truths: dict[str, np.ndarray]
    legend: Legend

    @property
    def labelled(self) -> int:
        return sum(int((truth != NODATA).sum()) for truth in self.truths.values())

    def place(self, scene: str, window: Window) -> Place:
        pixels = int((self.truths[scene][window.slices] != NODATA).sum())
        return Place(scene, window.row, window.col, window.height, window.width, pixels)


def world_of(job: dict) -> World:
    """The world of a job; its pictures are written once, for all runs."""
    folder = Path(job["scenes"])
    folder.mkdir(parents=True, exist_ok=True)
    legend, scenes, truths = legend_of(Path(job["folder"])), [], {}
    for image, label in (map(Path, pair) for pair in job["train"]):
        tiled = folder / f"{image.stem}.tif"
        with open_image(image) as source, open_labels(label, legend) as truth:
            sides = [min(job["part"], length) for length in source.shape]
            corner = [(length - side) // 2 for length, side in zip(source.shape, sides, strict=True)]
            middle = Window(*corner, *sides)
            if not tiled.exists():
                part = tiled.with_suffix(".partial")
                write_tif(part, source.read(middle)[0])
                part.rename(tiled)
            truths[image.stem] = truth.read_label_rows(middle.row, middle.row_end)[:, middle.col : middle.col_end]
        scenes.append(Scene(tiled))
    return World(scenes, truths, legend)


def random_places(world: World, side: int, seed: int, without: list[Place]) -> Iterator[Place]:
    """Cells of all scenes in random order, but for some; those that label.py may ask for: half of them is labelled."""
    taken = {place[:3] for place in without}
    found = []
    for scene, truth in world.truths.items():
        blocks = Blocks(*truth.shape, side)
        places = (world.place(scene, blocks.window(number)) for number in range(len(blocks)))
        found += [place for place in places if 2 * place.pixels >= place.height * place.width]
    for number in np.random.default_rng(seed).permutation(len(found)):
        if found[number][:3] not in taken:
            yield found[number]


def within(places, budget: int) -> list[Place]:
    """The first places that have so many labelled pixels together: at most one place more."""
    chosen, spent = [], 0
    for place in places:
        if spent >= budget:
            break
        chosen.append(place)
        spent += place.pixels
    return chosen


def write_round(workspace: Workspace, world: World, number: int, places: list[Place]) -> None:
    """Labels places by the truth: a round of the workspace, its regions as polygons."""
    for scene in world.scenes:
        polygons, names = [], []
        for place in (place for place in places if place.scene == scene.name):
            labels = world.truths[scene.name][place.window.slices]
            for shape, value in rasterio.features.shapes(labels, mask=labels != NODATA):
                corners = shapely.geometry.shape(shape)
                polygons.append(
                    shapely.transform(corners, lambda xy, at=place: [at.col, -at.row] + xy * [1, -1]).normalize()
                )
                names.append(world.legend.names[int(value)])
        if not polygons:
            continue
        style = class_style("Polygon", world.legend, range(len(world.legend)), FIELD)
        layer = Layer(LABELS, shapely.to_wkb(np.array(polygons)).tolist(), {FIELD: np.array(names, object)}, style)
        target = workspace.rounds(scene) / f"round_{number}.gpkg"
        write_layers(target, [layer], crs=None, notes={Y: "-row"}, date=0)


def train_and_score(job: dict, workspace: Workspace, world: World) -> tuple[dict, Learner, torch.nn.Module]:
    """Cuts the workspace's rounds, trains for the budget of CPU seconds, scores the scenes left out."""
    scenes = [
        Scene(scene.image, files[0], tuple(files[1:]))
        for scene in world.scenes
        if (files := sorted(workspace.rounds(scene).glob("round_*.gpkg")))
    ]
    how = CutSettings(crop_size=CROP, stride=CROP, val_fraction=0, keep_background=1)
    cut_train(workspace, scenes, how, world.legend, 1)
    data = read_training_data(workspace)
    recipe = accuracy_arms.recipe_of(job, PLANNED).check()
    learner = Learner(recipe, data.kind, torch.device("cpu"), Team(), Start(weights=job["weights"]))
    learner.load_start()
    begun = time.process_time()
    model, steps = train_ours(recipe, data, learner, lambda: (time.process_time() - begun) / job["cpu_seconds"])
    spent = time.process_time() - begun
    model.eval()
    test = [tuple(map(Path, pair)) for pair in job["test"]]
    seen = seen_on(test, model, learner, world.legend, job["score_windows"])
    result = {"steps": steps, "cpu_seconds": round(spent, 1), **scores_of(seen["labels"], seen["once"], world.legend)}
    return result, learner, model


def labelled(world: World, places: list[Place]) -> dict:
    """How many pixels are labelled in some places, and of each class."""
    found = [np.bincount(world.truths[p.scene][p.window.slices].ravel(), minlength=256) for p in places]
    pixels = np.sum(found, axis=0)[: len(world.legend)].tolist()
    return {"labelled": sum(pixels), "by_class": pixels}


def first_round(job: dict, workspace: Workspace) -> dict:
    """A random start, its map, and the places that come next as label.py chooses them."""
    world = world_of(job)
    start = within(random_places(world, job["window"], job["seed"], []), int(job["start"] * world.labelled))
    write_round(workspace, world, 1, start)
    result, learner, model = train_and_score(job, workspace, world)
    weights = workspace.root / "first.pt"
    save_checkpoint(weights, learner.checkpoint(model, {"miou": 0.0}))
    begun = time.process_time()
    for scene in world.scenes:
        target = workspace.masks(scene) / "cross_entropy_first.tif"
        predict_scene(Job(weights, scene.image, target, SETTINGS, confidence=confidence_of(target)))
    mapped = time.process_time()
    wanted = (max(job["budgets"]) - job["start"]) * world.labelled
    count = math.ceil(SPARE * wanted / job["window"] ** 2)
    done = suggest(workspace, world.scenes, world.legend, count=count, window=job["window"])
    ranked: dict[int, Place] = {}
    for path in done.files:
        meta, _, frames, fields = pyogrio.raw.read(path, layer=FRAMES)
        ranks = fields[meta["fields"].tolist().index("place")]
        for rank, (left, low, right, top) in zip(ranks, shapely.bounds(shapely.from_wkb(frames)), strict=True):
            window = Window(*(round(value) for value in (-top, left, top - low, right - left)))
            ranked[int(rank)] = world.place(path.parent.name, window)
    chosen = [ranked[rank] for rank in sorted(ranked)]
    most = int(max(job["budgets"]) * world.labelled)
    result["seconds"] = {"map": round(mapped - begun, 1), "choose": round(time.process_time() - mapped, 1)}
    places = {"start": start, "chosen": within(chosen, most)}
    return result | labelled(world, start) | {"total": world.labelled, "by": done.by, "places": places}


def second_round(job: dict, workspace: Workspace) -> dict:
    """The start and what is labelled after it, chosen or at random, up to the budget: trained and scored."""
    world, first = world_of(job), json.loads(Path(job["first"]).read_text())
    start, chosen = ([Place(*place) for place in first["places"][name]] for name in ("start", "chosen"))
    budget = int(job["budget"] * world.labelled) - sum(place.pixels for place in start)
    others = random_places(world, job["window"], job["seed"] + 1000, start)
    added = within(chosen if job["places"] == "chosen" else others, budget)
    if sum(place.pixels for place in added) < budget:
        sys.exit(f"error: {job['places']} places end before the budget of {job['budget']:g} is spent")
    write_round(workspace, world, 1, start)
    write_round(workspace, world, 2, added)
    return train_and_score(job, workspace, world)[0] | labelled(world, start + added)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for job_path, result_path in zip(map(Path, sys.argv[1::2]), map(Path, sys.argv[2::2]), strict=True):
        what = json.loads(job_path.read_text())
        work = Workspace(Path(what["work"]))
        shutil.rmtree(work.root, ignore_errors=True)
        found = (second_round if "first" in what else first_round)(what, work)
        shutil.rmtree(work.root)
        partial = result_path.with_suffix(".partial")
        partial.write_text(json.dumps({"job": what, **found}, indent=1))
        partial.rename(result_path)
