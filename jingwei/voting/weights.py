"""Learning what each model's vote weighs, from how the models do on the validation crops.

The weights are found by greedy ensemble selection with replacement (Caruana, Niculescu-Mizil, Crew and Ksikes 2004,
"Ensemble selection from libraries of models"): round by round, the model joins whose vote together with those chosen so
far gives the highest mIoU without background; a model may join many times, and how often it did is its weight.

Any networks can be weighed against each other that were trained on the same crops: whatever their families, windows or
normalisation, each is run as it was trained. What a network says about the crops is kept in its folder,
as `validation_sample.npz`.
"""

import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from jingwei.errors import SettingError, known
from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.legend import Legend
from jingwei.models.checkpoints import load_checkpoint
from jingwei.raster.stamps import stamp
from jingwei.system.atomic import whole_or_nothing
from jingwei.training.calibration import draw_pixels
from jingwei.training.experiments import TrainingData, known_experiments, read_training_data, validation_logits
from jingwei.voting.counting import count_soft_votes, count_votes
from jingwei.voting.vote import tie_ranks
from jingwei.workspace import Workspace

PIXELS = 2_000_000  # of all validation crops together, at most (but one of each crop at least)
ROUNDS = 20


class ModelSample(NamedTuple):
    """What a model says about some validation pixels.

    labels_N; choices_N, the model's labels; probabilities_CN, as `predict.py --probabilities` keeps them. All uint8.
    """

    labels: np.ndarray
    choices: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class LearnedWeights:
    """How often each model was chosen, and the validation mIoU without background that comes of it."""

    weights: list[int]
    best_single: float
    equal: float  # of the vote in which all weigh the same
    weighted: float
    pixels: int

    def report(self, names: list[str]) -> str:
        """A line per model, then the scores."""
        width = max(map(len, names))
        lines = [f"weights, learned on {self.pixels:,d} validation pixels:"]
        lines += [f"  {n:{width}}  {w / sum(self.weights):.2f}" for n, w in zip(names, self.weights, strict=True)]
        scores = {"best single map": self.best_single, "equal vote": self.equal, "weighted vote": self.weighted}
        return "\n".join([*lines, "validation mIoU: " + ", ".join(f"{n} {s:.4f}" for n, s in scores.items())])


def learn_weights(
    workspace: Workspace,
    maps: list[Path],
    legend: Legend,
    *,
    soft: bool = False,
    ties: str = "first",
    device: str = "auto",
    workers: int = 1,
) -> LearnedWeights:
    """The weights of `maps` (or of probabilities), each named like its experiment, in a hard or a soft vote.

    SettingError for maps of no experiment and for another legend than the crops'; CheckpointError for a model of
    another legend; InputError where there are no validation crops.
    """
    folders = experiment_folders(workspace, maps)
    data = read_training_data(workspace)
    if legend.names != data.legend.names:
        problem = f"the vote's legend is {legend.name}, that of the crops is {data.legend.name}"
        raise SettingError("`weights` auto", problem, "leave `legend` away, or give a number per map")
    data.check_validation()
    samples = [validation_sample(folder, workspace.crops, data, device, workers) for folder in folders]
    score = scorer(samples, legend, tie_ranks(ties, legend), soft)
    weights = select(score, len(maps))
    alone = np.eye(len(maps), dtype=np.int64)
    return LearnedWeights(
        weights=weights.tolist(),
        best_single=max(map(score, alone)),
        equal=score(alone.sum(0)),
        weighted=score(weights),
        pixels=samples[0].labels.size,
    )


def experiment_folders(workspace: Workspace, maps: list[Path]) -> list[Path]:
    """The folder of the experiment behind each map `<recipe>_<exp>.tif`. SettingError where there is none."""
    names = known_experiments(workspace)
    folders = {name.replace("/", "_", 1): workspace.models / name for name in names}
    for path in maps:
        if path.stem not in folders:
            problem = f"{path.name} is not the map of an experiment under {workspace.models}"
            raise SettingError("`weights` auto", problem, f"{known(names)}; give a number per map")
    return [folders[path.stem] for path in maps]


def select(score: Callable[[np.ndarray], float], voters: int, rounds: int = ROUNDS) -> np.ndarray:
    """How often each voter is chosen, int64 of `voters`, up to the round after which `score` of it is highest.

    The first round takes the best single voter, so no result is below that. Of equals, the first is taken.
    """
    chosen = best = np.zeros(voters, np.int64)
    best_score = -math.inf
    for _ in range(rounds):
        candidates = chosen + np.eye(voters, dtype=np.int64)
        scores = [score(counts) for counts in candidates]
        winner = int(np.argmax(scores))
        chosen = candidates[winner]
        if scores[winner] > best_score:
            best, best_score = chosen, scores[winner]
    return best


def scorer(samples: list[ModelSample], legend: Legend, ranks: np.ndarray, soft: bool) -> Callable[[np.ndarray], float]:
    """weights (int64 of the voters) -> mIoU without background of the very vote that maps would be counted by."""
    labels = samples[0].labels
    votes = np.stack([sample.probabilities if soft else sample.choices for sample in samples])[..., None, :]
    counted = np.empty((4, 1, labels.size), np.uint8)

    def score(weights: np.ndarray) -> float:
        if soft:
            count_soft_votes(votes, weights, ranks, *counted)
        else:
            count_votes(votes, weights, ranks, len(legend), *counted[:3])
        matrix = ConfusionMatrix(len(legend))
        matrix.update(labels, counted[0])
        miou = matrix.mean_iou(legend.foreground)
        return -1.0 if math.isnan(miou) else miou  # nothing but background

    return score


def validation_sample(folder: Path, crops: Path, data: TrainingData, device: str, workers: int) -> ModelSample:
    """What `best.pt` of an experiment says about a sample of the validation pixels, the same ones for every experiment.

    Kept in the experiment's folder, and made again only when `best.pt` or `crops.csv` has changed.
    """
    weights_file, path = folder / "best.pt", folder / "validation_sample.npz"
    mark = stamp(weights_file, crops, pixels=PIXELS)
    kept = _read_sample(path, mark)
    if kept is not None:
        return kept
    sample = _sample_of(weights_file, data, device, workers)
    with whole_or_nothing(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, stamp=np.array(mark), **sample._asdict())
    return sample


def _read_sample(path: Path, mark: str) -> ModelSample | None:
    try:
        with np.load(path, allow_pickle=False) as content:
            if str(content["stamp"]) == mark:
                return ModelSample(*(content[name] for name in ModelSample._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        pass  # not there, or somebody broke it: it is made again
    return None


def _sample_of(weights_file: Path, data: TrainingData, device: str, workers: int) -> ModelSample:
    total = max(1, sum(crop.valid for crop in data.validation))
    title = f"validate {weights_file.parent.name}"
    crops = validation_logits(weights_file, data, device=device, workers=workers, title=title)
    temperature = load_checkpoint(weights_file).temperature
    parts = []
    for crop, (labels, logits) in zip(data.validation, crops, strict=True):
        truth, probabilities = labels.flatten().numpy(), (logits.float() / temperature).softmax(1)[0].flatten(1)
        drawn = draw_pixels(crop.name, truth, math.ceil(crop.valid * min(1, PIXELS / total)))
        probabilities = probabilities[:, torch.from_numpy(drawn).to(probabilities.device)].cpu()
        choices, quantised = probabilities.argmax(0), (probabilities * 255).round()
        parts.append((truth[drawn], choices.numpy().astype(np.uint8), quantised.numpy().astype(np.uint8)))
    return ModelSample(*(np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)))
