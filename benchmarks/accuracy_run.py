"""One training of `accuracy.py`, as a process of its own: an arm on a fold, by a seed, within a budget of CPU seconds.

    python benchmarks/accuracy_run.py JOB.json RESULT.json

Both kinds of arm see the same labelled pixels, start from the same encoder, normalise alike and are scored on the same
windows of 512 px, without overlap: looked at once, which is what counts, and as the mean over their four mirrorings.
The budget covers all that training does: reading crops, augmentation, steps, averages; neither kind validates. Both
follow their schedule by the share of the budget that is spent, so that the rate ends at 0 whatever a step costs on the
machine at that moment. Probabilities of the scored pixels are kept beside the result, for votes: `accuracy_votes.py`.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import plain_loop
import torch
from accuracy_arms import CONFIDENCE, GOES_ON, recipe_of
from accuracy_folds import Pair, legend_of, write_tif
from accuracy_score import WAYS, Predict, Scene, network_input, read_pair, scores_of, seen_on, windows_of

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.inputs import scenes
from jingwei.legend import NODATA, Legend
from jingwei.models.devices import autocast
from jingwei.training.datasets import training_loader
from jingwei.training.distributed import Team
from jingwei.training.experiments import TrainingData, read_training_data
from jingwei.training.learner import Learner
from jingwei.training.position import Position
from jingwei.training.recipes import Recipe
from jingwei.training.start import Start
from jingwei.workspace import Workspace

PLANNED = 20_000  # steps in which a schedule is written down; a run makes as many of them as it has time for
SURE = "image_9000"  # begins the names of scenes that a network has labelled itself
REFIT_BATCHES = 20  # windows that an average's batch norm is fitted to: minutes, not hours


def cut(folder: Path, pairs: list[Pair], legend: Legend) -> TrainingData:
    """Cuts a fold's training scenes, all of their labels, unless that was done."""
    workspace = Workspace(folder)
    listed = [scenes.Scene(*pair) for pair in pairs]
    cut_train(workspace, listed, CutSettings(val_fraction=0, keep_background=1), legend, 1)
    return read_training_data(workspace)


class Budget:
    """The CPU seconds of this process that a training may take, from now on."""

    def __init__(self, seconds: float):
        self.seconds, self._begun = seconds, time.process_time()

    def spent(self) -> float:
        """CPU seconds so far, without those that were `paused`."""
        return time.process_time() - self._begun

    def share(self) -> float:
        """The share of all that is spent."""
        return self.spent() / self.seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside doesn't count: cutting crops, which no arm pays for."""
        before = self.spent()
        yield
        self._begun += self.spent() - before


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


def train_on_own_labels(
    recipe: Recipe, data: TrainingData, learner: Learner, budget: Budget, job: dict
) -> tuple[torch.nn.Module, int]:
    """Half of the budget on the true labels; then on these and on the network's own of the scenes to be mapped.

    Its own are those of the windows that are scored; a crop of either kind is drawn as often. The rate rises and falls
    twice.
    """
    train, test = ([tuple(map(Path, pair)) for pair in job[side]] for side in ("train", "test"))
    model, first = train_ours(recipe, data, learner, lambda: 2 * budget.share())
    folder = Path(job["work"]).with_name(f"{job['fold']}_sure_{job['seed']}")
    limit = max(1, job["score_windows"] // len(test))
    model.eval()
    with torch.inference_mode(), autocast(learner.device, learner.precision):
        tests = [read_pair(pair, data.legend) for pair in test]
        mean, confidence = np.float32(learner.kind.mean), job["changes"][CONFIDENCE]
        believed = sure_windows(model, tests, mean, limit, confidence, folder / "scenes")
    with budget.paused():
        both = with_equal_halves(cut(folder, [*train, *believed], data.legend))
    model, second = train_ours(recipe, both, learner, lambda: 2 * budget.share() - 1)
    return model, first + second


def train_two(
    recipe: Recipe, data: TrainingData, learner: Learner, budget: Budget, job: dict
) -> tuple[list[torch.nn.Module], int]:
    """Two networks that vote, in one budget: the recipe's; then one that goes on from it, for the last share of it.

    The second learns by focal loss and Lovász, from half of the rate on, other windows: the way of `make demo`.
    """
    last = job["changes"][GOES_ON]
    first, steps = train_ours(recipe, data, learner, lambda: budget.share() / (1 - last))
    other = {"recipe": "focal_lovasz", "seed": job["seed"] + 1000}
    changed = job["changes"] | {"base_lr": recipe.base_lr / 2}
    recipe = recipe_of(job | other | {"changes": changed}, PLANNED).check()
    second = Learner(recipe, data.kind, learner.device, learner.team, learner.start)
    for network in (second.model, *([second.average.module] if second.average else [])):
        network.load_state_dict(first.state_dict())
    trained, more = train_ours(recipe, data, second, lambda: (budget.share() - (1 - last)) / last)
    return [first, trained], steps + more


def voted(each: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What is scored of networks that vote: the mean of their probabilities, in 255ths as each has them."""
    means = {way: np.mean([seen[way] for seen in each], axis=0).round().astype(np.uint8) for way in WAYS}
    return {"labels": each[0]["labels"]} | means


def sure_windows(
    predict: Predict, tests: list[Scene], mean: np.ndarray, limit: int, confidence: float, folder: Path
) -> list[Pair]:
    """The windows that are scored, as scenes of their own in `folder`, labelled by what the network is sure of.

    That is by its best class where its probability is `confidence` or more, else NODATA; the true labels' values are
    not looked at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for pixels, labels in tests:
        for window in windows_of(labels, limit):
            part = pixels[window]
            found = predict(network_input(part, mean))[0, :, : part.shape[0], : part.shape[1]].float().softmax(0)
            sure, best = (values.numpy() for values in found.max(0))
            believed = np.where((sure >= confidence) & (part != 0).any(2), best, NODATA).astype(np.uint8)
            pair = folder / f"{SURE}{len(pairs)}.tif", folder / f"{SURE}{len(pairs)}_label.png"
            write_tif(pair[0], np.ascontiguousarray(part.transpose(2, 0, 1)))
            cv2.imwrite(str(pair[1]), believed)
            pairs.append(pair)
    return pairs


def with_equal_halves(data: TrainingData) -> TrainingData:
    """The crops with the network's own labels as often as make up half of all, since crops are drawn alike."""
    own = [crop for crop in data.training if crop.scene.startswith(SURE)]
    true = [crop for crop in data.training if not crop.scene.startswith(SURE)]
    if not own:
        return data
    return replace(data, training=true + own * max(1, round(len(true) / len(own))))


def run(job: dict) -> tuple[dict, dict[str, np.ndarray]]:
    """Trains and scores: (steps, CPU seconds of the training, scores; what was scored, for `accuracy_votes.py`)."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    legend = legend_of(Path(job["folder"]))
    train, test = ([tuple(map(Path, pair)) for pair in job[side]] for side in ("train", "test"))
    data = cut(Path(job["work"]), train, legend)
    recipe = recipe_of(job, PLANNED).check()
    learner = Learner(recipe, data.kind, torch.device("cpu"), Team(), Start(weights=job["weights"]))
    learner.load_start()
    mean, std = (np.float32(values) for values in (learner.kind.mean, learner.kind.std))

    if job["recipe"]:
        budget = Budget(job["cpu_seconds"])
        if job["changes"].get(GOES_ON):
            models, steps = train_two(recipe, data, learner, budget, job)
        elif job["changes"].get(CONFIDENCE):
            model, steps = train_on_own_labels(recipe, data, learner, budget, job)
            models = [model]
        else:
            model, steps = train_ours(recipe, data, learner, budget.share)
            models = [model]
        predicts: list[Predict] = [*models]
    else:
        pictures = [read_pair(pair, legend) for pair in train]
        torch.manual_seed(job["seed"])
        model = plain_loop.build(learner.model.spec.backbone, len(mean), len(legend))
        if job["weights"]:
            model.encoder.load_state_dict(learner.model.network.encoder.state_dict())
        how: dict[str, Any] = {"size": job["crop_size"], "count": job["batch_size"], "seed": job["seed"]}
        budget = Budget(job["cpu_seconds"])
        steps = plain_loop.train(model, pictures, mean, std, **how, share=budget.share)

        models = [model]
        predicts = [lambda pixels: model((pixels - learner.model.mean) / learner.model.std)]

    spent = budget.spent()
    for model in models:
        model.eval()
    each = [seen_on(test, predict, learner, legend, job["score_windows"]) for predict in predicts]
    seen = voted(each)
    once, flips = (scores_of(seen["labels"], seen[way], legend) for way in WAYS)
    result = {"steps": steps, "cpu_seconds": round(spent, 1), **once, "flips": flips}
    if len(each) > 1:
        result["each"] = [scores_of(seen["labels"], one["once"], legend)["miou"] for one in each]
    return result, seen


if __name__ == "__main__":
    job_path, result_path = map(Path, sys.argv[1:])
    job = json.loads(job_path.read_text())
    result, seen = run(job)
    np.savez_compressed(result_path.with_suffix(".npz"), **seen)
    partial = result_path.with_suffix(".partial")
    partial.write_text(json.dumps({"job": job, **result}, indent=1))
    partial.rename(result_path)
