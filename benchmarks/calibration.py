"""How far probabilities can be trusted before and after calibration, on blocks that the temperature was not fitted on.

python benchmarks/calibration.py --data_dir DIR --checkpoint FILE FILE

Validation crops are halved: the temperature is fitted on every second one, the expected calibration error measured on
the others, and the other way round. Test scenes with a truth show what is left of it on other scenes, and soft votes of
all checkpoints are scored with and without temperatures.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jingwei.crops.table import Crop
from jingwei.evaluation.metrics import ConfusionMatrix
from jingwei.grid import Window, windows
from jingwei.legend import NODATA, Legend
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.raster.reading import open_labels
from jingwei.training.calibration import LogitSample
from jingwei.training.distributed import Team
from jingwei.training.experiments import read_training_data, validation_logits
from jingwei.workspace import Workspace

SIDE = 512
CPU = torch.device("cpu")


def windows_of(workspace: Workspace, checkpoint: Checkpoint) -> Iterator[tuple[Tensor, Tensor]]:
    """Labels and logits of the test scenes that have a truth, window by window."""
    network, mean = checkpoint.build(), np.array(checkpoint.mean)[:, None, None]
    for scene in workspace.cut_scenes():
        if scene.label is None:
            continue
        with scene.open_image() as image, open_labels(scene.label) as truth:
            for window in windows(*image.shape, SIDE, SIDE):
                pixels, valid = image.read(window)
                labels, known = truth.read(window)
                labels = np.where(valid & known, labels[0], NODATA)
                seen = torch.from_numpy(np.where(valid, pixels, mean).astype(np.float32))[None]
                with torch.inference_mode():
                    yield torch.from_numpy(labels)[None], network(seen)


def sampled(pairs: list[tuple[Tensor, Tensor]]) -> LogitSample:
    """The pixels of some crops that a temperature is fitted on."""
    crops = []
    for number, (labels, _) in enumerate(pairs):
        valid = int((labels != NODATA).sum())
        crops.append(Crop(f"{number}.png", "", Window(0, 0, *labels.shape[1:]), valid, (), (), ()))
    sample = LogitSample(crops, sum(crop.valid for crop in crops))
    for number, (labels, logits) in enumerate(pairs):
        sample.add(number, labels, logits)
    return sample


def error_at(sample: LogitSample, legend: Legend, temperature: float) -> float:
    """The expected calibration error of a sample at a temperature: that of its logits divided by it, before a fit."""
    cooled = LogitSample([], 1)
    cooled._labels, cooled._logits = sample._labels, [logits / temperature for logits in sample._logits]
    return cooled.calibration(legend, Team(), CPU)["error"][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data_dir", type=Path, default=Path("data/sample"))
    parser.add_argument("--checkpoint", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    workspace = Workspace(args.data_dir)
    data = read_training_data(workspace)
    votes: dict[bool, list[list[Tensor]]] = {False: [], True: []}
    for path in args.checkpoint:
        checkpoint = load_checkpoint(path)
        pairs = [(labels, logits.float()) for labels, logits in validation_logits(path, data, device="cpu")]
        halves = [sampled(pairs[::2]), sampled(pairs[1::2])]
        for fitted, other in ((0, 1), (1, 0)):
            found = halves[fitted].calibration(data.legend, Team(), CPU)
            before, after = (error_at(halves[other], data.legend, t) for t in (1.0, found["temperature"]))
            said = f"fitted on half {fitted}, temperature {found['temperature']:.3f}"
            print(f"{path}: {said}, other half {before:.4f} -> {after:.4f}")
        temperature = sampled(pairs).calibration(data.legend, Team(), CPU)["temperature"]
        test = list(windows_of(workspace, checkpoint))
        there = sampled(test)
        before, after = (error_at(there, data.legend, t) for t in (1.0, temperature))
        print(f"{path}: all of it, temperature {temperature:.3f}, test scenes {before:.4f} -> {after:.4f}")
        for calibrated, made in votes.items():
            made.append([(logits.float() / (temperature if calibrated else 1)).softmax(1).half() for _, logits in test])
    for calibrated, made in votes.items():
        matrix = ConfusionMatrix(len(data.legend))
        for number, (labels, _) in enumerate(test):
            mean = sum(each[number].float() for each in made)
            matrix.update(labels.numpy(), mean.argmax(1).to(torch.uint8).numpy())
        score = matrix.mean_iou(data.legend.foreground)
        print(f"soft vote of {len(made)}, {'calibrated' if calibrated else 'as they are'}: mIoU {score:.4f}")


if __name__ == "__main__":
    main()
