"""Scores from a confusion matrix that can be added up: over crops, strips, scenes, processes.

Definitions: IoU of class c = n_cc / (row_c + column_c - n_cc); FWIoU weighs IoU by the share of c among the labels;
F1 = 2 n_cc / (row_c + column_c); kappa is Cohen's. A class that is in neither labels nor predictions has no score (NaN)
and is left out of the means; a class that is predicted but never labelled scores 0 and counts.
"""

import numpy as np

from jingwei.legend import NODATA, Legend
from jingwei.system.compiled import compiled

FEW = 500  # labelled pixels of a class: from fewer, no score says much


class ConfusionMatrix:
    """Counts of pixels, int64: `counts[label, prediction]`. NODATA labels are left out.

    A prediction of NODATA where there is a label counts as missed: it is kept in the last column, so that a model
    can't gain by leaving pixels out.
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64)

    def update(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Adds pixels: two uint8 arrays of one shape. ValueError for ids that are neither a class nor NODATA."""
        labels, predictions = labels.reshape(-1), predictions.reshape(-1)
        counts = _count_pairs(labels, predictions)[:NODATA]
        known = counts[: self.num_classes][:, [*range(self.num_classes), NODATA]]
        if known.sum() != counts.sum():
            strange = sorted(
                {int(i) for pair in np.argwhere(counts) for i in pair} - {*range(self.num_classes), NODATA}
            )
            raise ValueError(f"ids {strange}, but {self.num_classes} classes")
        self.counts += known

    def merge(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        """Adds the counts of another matrix of the same classes."""
        self.counts += other.counts
        return self

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union per class, float64; NaN for classes in neither labels nor predictions."""
        return _ratio(self._hits, self._labelled + self._predicted - self._hits)

    @property
    def f1(self) -> np.ndarray:
        """F1 (Dice) per class, float64."""
        return _ratio(2 * self._hits, self._labelled + self._predicted)

    @property
    def precision(self) -> np.ndarray:
        """Share of the pixels predicted as a class that are of it (user's accuracy)."""
        return _ratio(self._hits, self._predicted)

    @property
    def recall(self) -> np.ndarray:
        """Share of the pixels of a class that are predicted as it (producer's accuracy)."""
        return _ratio(self._hits, self._labelled)

    @property
    def accuracy(self) -> float:
        """Share of labelled pixels predicted right."""
        return float(_ratio(self._hits.sum(), self.counts.sum()))

    @property
    def fwiou(self) -> float:
        """IoU weighted by the share of each class among the labels."""
        share = _ratio(self._labelled, self.counts.sum())
        return float(np.nansum(share * np.nan_to_num(self.iou))) if self.counts.any() else float("nan")

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance."""
        total = self.counts.sum()
        if not total:
            return float("nan")
        chance = float((self._labelled / total * (self._predicted / total)).sum())
        return (self.accuracy - chance) / (1 - chance) if chance < 1 else float("nan")

    def mean_iou(self, classes=None) -> float:
        """Mean IoU over `classes` (ids; all by default) that have a score."""
        iou = self.iou[list(classes)] if classes is not None else self.iou
        return float(np.mean(iou[~np.isnan(iou)])) if not np.isnan(iou).all() else float("nan")

    @property
    def _hits(self) -> np.ndarray:
        return np.diagonal(self.counts)

    @property
    def _labelled(self) -> np.ndarray:
        return self.counts.sum(axis=1)

    @property
    def _predicted(self) -> np.ndarray:
        return self.counts.sum(axis=0)[: self.num_classes]


def scores(matrix: ConfusionMatrix, legend: Legend) -> dict:
    """All scores as plain numbers, as `evaluate.py --json` prints them. A score that doesn't exist is None."""
    per_class = {
        c.name: {
            "iou": _number(matrix.iou[c.id]),
            "f1": _number(matrix.f1[c.id]),
            "precision": _number(matrix.precision[c.id]),
            "recall": _number(matrix.recall[c.id]),
            "pixels": int(matrix.counts[c.id].sum()),
        }
        for c in legend.classes
    }
    return {
        "miou": _number(matrix.mean_iou(legend.foreground)),
        "miou_with_background": _number(matrix.mean_iou()),
        "fwiou": _number(matrix.fwiou),
        "accuracy": _number(matrix.accuracy),
        "kappa": _number(matrix.kappa),
        "mean_f1": _number(np.nanmean(matrix.f1)) if not np.isnan(matrix.f1).all() else None,
        "pixels": int(matrix.counts.sum()),
        "missed": int(matrix.counts[:, -1].sum()),
        "classes": per_class,
        "confusion": matrix.counts.tolist(),
    }


def few_note(matrix: ConfusionMatrix, legend: Legend) -> str | None:
    """A line that names the classes whose scores rest on few labelled pixels; None where there are none."""
    labelled = matrix.counts.sum(axis=1).tolist()
    few = [f"{c.name} ({labelled[c.id]:,d} px)" for c in legend.classes if 0 < labelled[c.id] < FEW]
    return f"few labelled pixels, so their scores say little: {', '.join(few)}" if few else None


def table(matrix: ConfusionMatrix, legend: Legend) -> str:
    """The scores as a text table: a line per class, then the means. `-` stands where a score doesn't exist."""
    content = scores(matrix, legend)
    width = max(len(name) for name in (*legend.names, "mIoU with background"))
    lines = [f"{'class':{width}}     IoU      F1  precision  recall          pixels"]
    for name, row in content["classes"].items():
        cells = (_cell(row["iou"], 7), _cell(row["f1"], 7), _cell(row["precision"], 10), _cell(row["recall"], 7))
        lines.append(f"{name:{width}} {cells[0]} {cells[1]} {cells[2]} {cells[3]} {row['pixels']:15,d}")
    means = {"mIoU": "miou", "mIoU with background": "miou_with_background"}
    if legend.background is None:
        means = {"mIoU": "miou"}
    means |= {"FWIoU": "fwiou", "mean F1": "mean_f1", "kappa": "kappa", "accuracy": "accuracy"}
    for label, key in means.items():
        lines.append(f"{label:{width}} {_cell(content[key], 7)}")
    if content["missed"]:
        lines.append(f"{content['missed']:,d} labelled pixels have no prediction and count as wrong")
    if note := few_note(matrix, legend):
        lines.append(note)
    return "\n".join(lines)


@compiled
def _count_pairs(labels, predictions):
    """How often each pair of values stands in two uint8 arrays of N: int64, [label, prediction]."""
    counts = np.zeros(65536, np.int64)
    last, run = np.int64(0), np.int64(0)
    for i in range(len(labels)):  # pairs come in runs: one addition a run
        pair = (np.int64(labels[i]) << 8) | predictions[i]
        if pair != last:
            counts[last] += run
            last, run = pair, np.int64(0)
        run += 1
    counts[last] += run
    return counts.reshape(256, 256)


def _ratio(part, whole) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _cell(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.4f}"
