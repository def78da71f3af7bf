"""How `accuracy.py` scores: windows of the scenes left out, looked at once and mirrored, as probabilities."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from accuracy_folds import Pair

from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.grid import Window
from jingwei.legend import NODATA, Legend
from jingwei.models.devices import autocast
from jingwei.raster.reading import open_image, open_labels
from jingwei.training.learner import Learner

SCORED = 512  # px, the side of the windows that are scored
WAYS = ("once", "flips")  # of looking at a window
MIRRORINGS = ((), (3,), (2,), (2, 3))  # axes of BCHW

Scene = tuple[np.ndarray, np.ndarray]  # pixels_HWC in the file's type, labels_HW
Predict = Callable[[torch.Tensor], torch.Tensor]  # pixels_BCHW in the file's units -> logits_BCHW


def read_pair(pair: Pair, legend: Legend) -> Scene:
    """A scene as arrays: pixels_HWC in the file's type, labels_HW with NODATA where nothing was seen."""
    with open_image(pair[0]) as image, open_labels(pair[1], legend) as truth:
        pixels, valid = image.read(Window(0, 0, *image.shape))
        labels = truth.read_label_rows(0, truth.height)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)), np.where(valid, labels, np.uint8(NODATA))


def mirrored_mean(predict: Predict, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Probabilities_BCHW of pixels_BCHW, `once` and as the mean over the four mirrorings, `flips`."""
    views = [predict(pixels.flip(axes)).float().softmax(1).flip(axes) for axes in MIRRORINGS]
    return {"once": views[0], "flips": torch.stack(views).mean(0)}


def windows_of(labels: np.ndarray, limit: int) -> list[tuple[slice, slice]]:
    """At most `limit` of a scene's windows that have labels, spread out evenly over it, without overlap."""
    places = [(r, c) for r in range(0, labels.shape[0], SCORED) for c in range(0, labels.shape[1], SCORED)]
    windows = [(slice(r, r + SCORED), slice(c, c + SCORED)) for r, c in places]
    windows = [window for window in windows if (labels[window] != NODATA).any()]
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(limit, len(windows))).round().astype(int))
    return [windows[number] for number in chosen]


def network_input(pixels: np.ndarray, mean: np.ndarray) -> torch.Tensor:
    """pixels_HWC as float32 1CHW, channels last, filled up with the mean to sides that are multiples of 32."""
    height, width = pixels.shape[:2]
    whole = np.tile(mean.astype(np.float32), (-(-height // 32) * 32, -(-width // 32) * 32, 1))
    whole[:height, :width] = pixels
    return torch.from_numpy(whole).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)


def score(
    predict: Predict, scene: Scene, mean: np.ndarray, limit: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yields (labels_N, probabilities_NC in 255ths by way of looking) of the labelled pixels of each window."""
    pixels, labels = scene
    for window in windows_of(labels, limit):
        truth = labels[window]
        labelled, (height, width) = truth != NODATA, truth.shape
        found = {
            way: (255 * probabilities[0, :, :height, :width]).round().to(torch.uint8).permute(1, 2, 0).numpy()[labelled]
            for way, probabilities in mirrored_mean(predict, network_input(pixels[window], mean)).items()
        }
        yield truth[labelled], found


def seen_on(
    pairs: list[Pair], predict: Predict, learner: Learner, legend: Legend, windows: int
) -> dict[str, np.ndarray]:
    """What is scored of so many windows of some scenes: labels_N, and probabilities_NC in 255ths by way of looking.

    `predict` is in evaluation mode; `learner` tells the arithmetic, and the mean that fills windows up.
    """
    mean, limit, parts = np.float32(learner.kind.mean), max(1, windows // len(pairs)), []
    with torch.inference_mode(), autocast(torch.device("cpu"), learner.precision):
        for pair in pairs:
            parts += score(predict, read_pair(pair, legend), mean, limit)
    seen = {way: np.concatenate([found[way] for _, found in parts]) for way in WAYS}
    return {"labels": np.concatenate([labels for labels, _ in parts])} | seen


def scores_of(labels: np.ndarray, probabilities: np.ndarray, legend: Legend) -> dict:
    """mIoU, accuracy, IoU by class and the confusion matrix of labels_N and probabilities_NC."""
    matrix = ConfusionMatrix(len(legend))
    matrix.update(labels, probabilities.argmax(1).astype(np.uint8))
    iou = [None if np.isnan(value) else round(float(value), 5) for value in matrix.iou]
    scores = {"miou": matrix.mean_iou(legend.foreground), "accuracy": matrix.accuracy, "iou": iou}
    return scores | {"counts": matrix.counts.tolist()}
