"""One training of `accuracy.py`, as a process of its own: an arm on a fold, by a seed, within a budget of CPU seconds.

    python benchmarks/accuracy_run.py JOB.json RESULT.json

Both kinds of arm see the same labelled pixels, start from the same encoder, normalise alike and are scored on the same
windows of 512 px, without overlap or test-time augmentation. The budget covers all that training does: reading crops,
augmentation, steps, averages; neither kind validates. Both follow their schedule by the share of the budget that is
spent, so that the rate ends at 0 whatever a step costs on the machine at that moment.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import accuracy_arms
import cv2
import numpy as np
import plain_loop
import torch
from accuracy_folds import Pair, legend_of

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.legend import NODATA, Legend
from jingwei.models.devices import autocast
from jingwei.raster.reading import open_image, open_labels
from jingwei.training.datasets import training_loader
from jingwei.training.distributed import Team
from jingwei.training.experiments import TrainingData, read_training_data
from jingwei.training.learner import Learner
from jingwei.training.position import Position
from jingwei.training.recipes import Recipe
from jingwei.training.start import Start
from jingwei.workspace import Workspace

PLANNED = 20_000  # steps in which a schedule is written down; a run makes as many of them as it has time for
SCORED = 512  # px, the side of the windows that are scored
REFIT_BATCHES = 20  # windows that an average's batch norm is fitted to: minutes, not hours


def cut(folder: Path, pairs: list[Pair], legend: Legend) -> TrainingData:
    """Cuts a fold's training scenes, all of their labels, unless that was done."""
    workspace = Workspace(folder)
    cut_train(workspace, [Scene(*pair) for pair in pairs], CutSettings(val_fraction=0, keep_background=1), legend, 1)
    return read_training_data(workspace)


def read_pair(pair: Pair, legend: Legend) -> plain_loop.Scene:
    """A scene as arrays: pixels_HWC in the file's type, labels_HW with NODATA where nothing was seen."""
    with open_image(pair[0]) as image, open_labels(pair[1], legend) as truth:
        pixels, valid = image.read(Window(0, 0, *image.shape))
        labels = truth.read_label_rows(0, truth.height)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)), np.where(valid, labels, np.uint8(NODATA))


def train_ours(
    recipe: Recipe, data: TrainingData, learner: Learner, share: Callable[[], float]
) -> tuple[torch.nn.Module, int]:
    """Trains a recipe until its budget is spent: (the network that it keeps, steps)."""
    loader = training_loader(data.folder, data.training, recipe, learner.kind.mean, PLANNED, 0)
    learner.begin_epoch()
    place = steps = 0
    for batch in loader:
        before, place = place, int(share() * PLANNED)
        if place >= PLANNED:
            break
        for passed in range(before + 1, place + 1):
            learner.note_cycle_end(passed)
        learner.step(Position(0, place), [batch])
        steps += 1
    if not recipe.average_cycles:
        return learner.scored_model, steps
    learner.note_cycle_end(PLANNED)
    loader.batch_sampler.first_step = PLANNED - REFIT_BATCHES
    return learner.averaged_over_cycles(loader), steps


def score(
    predict: Callable[[torch.Tensor], torch.Tensor], scene: plain_loop.Scene, mean: np.ndarray, limit: int
) -> Callable:
    """Yields (labels_HW, prediction_HW) of at most `limit` windows of a scene, spread out evenly over it."""
    pixels, labels = scene
    places = [(r, c) for r in range(0, labels.shape[0], SCORED) for c in range(0, labels.shape[1], SCORED)]
    windows = [(slice(r, r + SCORED), slice(c, c + SCORED)) for r, c in places]
    windows = [window for window in windows if (labels[window] != NODATA).any()]
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(limit, len(windows))).round().astype(int))
    for number in chosen:
        part, truth = pixels[windows[number]], labels[windows[number]]
        height, width = truth.shape
        whole = np.tile(mean.astype(np.float32), (-(-height // 32) * 32, -(-width // 32) * 32, 1))
        whole[:height, :width] = part
        tensor = torch.from_numpy(whole).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
        yield truth, predict(tensor)[0, :, :height, :width].argmax(0).to(torch.uint8).numpy()


def run(job: dict) -> dict:
    """Trains and scores: steps, CPU seconds of the training, the confusion matrix."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    legend = legend_of(Path(job["folder"]))
    train, test = ([tuple(map(Path, pair)) for pair in job[side]] for side in ("train", "test"))
    data = cut(Path(job["work"]), train, legend)
    recipe = accuracy_arms.recipe_of(job, PLANNED).check()
    learner = Learner(recipe, data.kind, torch.device("cpu"), Team(), Start(weights=job["weights"]))
    learner.load_start()
    mean, std = (np.float32(values) for values in (learner.kind.mean, learner.kind.std))

    def share() -> float:
        return (time.process_time() - begun) / job["cpu_seconds"]

    if job["recipe"]:
        begun = time.process_time()
        model, steps = train_ours(recipe, data, learner, share)
        predict = model
    else:
        scenes = [read_pair(pair, legend) for pair in train]
        torch.manual_seed(job["seed"])
        model = plain_loop.build(learner.model.spec.backbone, len(mean), len(legend))
        if job["weights"]:
            model.encoder.load_state_dict(learner.model.network.encoder.state_dict())
        how = {"size": job["crop_size"], "count": job["batch_size"], "seed": job["seed"]}
        begun = time.process_time()
        steps = plain_loop.train(model, scenes, mean, std, **how, share=share)

        def predict(pixels: torch.Tensor) -> torch.Tensor:
            return model((pixels - learner.model.mean) / learner.model.std)

    spent = time.process_time() - begun
    model.eval()
    matrix = ConfusionMatrix(len(legend))
    for pair in test:
        limit = max(1, job["score_windows"] // len(test))
        with torch.inference_mode(), autocast(torch.device("cpu"), learner.precision):
            for truth, prediction in score(predict, read_pair(pair, legend), mean, limit):
                matrix.update(truth, prediction)
    iou = [None if np.isnan(value) else round(float(value), 5) for value in matrix.iou]
    scores = {"miou": matrix.mean_iou(legend.foreground), "accuracy": matrix.accuracy, "iou": iou}
    return {"steps": steps, "cpu_seconds": round(spent, 1), **scores, "counts": matrix.counts.tolist()}


if __name__ == "__main__":
    job_path, result_path = map(Path, sys.argv[1:])
    job = json.loads(job_path.read_text())
    result = run(job)
    partial = result_path.with_suffix(".partial")
    partial.write_text(json.dumps({"job": job, **result}, indent=1))
    partial.rename(result_path)
