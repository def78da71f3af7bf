"""What several test files of this folder make their inputs with."""

import math
import os
import signal
from dataclasses import replace

import numpy as np
import torch

from jingwei.legend import JINGWEI, NODATA
from jingwei.training.distributed import Team
from jingwei.training.learner import Learner
from jingwei.training.loop import RunOptions
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.training.start import DataKind, Start

HERE = RunOptions(device="cpu", workers=0)

CPU = torch.device("cpu")

TINY = {
    "model": "attention_unet",
    "backbone": "test_resnet",
    "output_stride": 16,
    "pretrained": False,
    "epochs": 2,
    "steps_per_epoch": 3,
    "batch_size": 4,
    "crop_sizes": (64,),
    "precision": "fp32",
    "optimizer": "adamw",
    "base_lr": 0.002,
    "last_mult": 2.0,
}

SMALL = replace(CROSS_ENTROPY, **TINY)

EMA = replace(SMALL, ema=0.6)  # low, so that few steps reach it

KIND = DataKind("uint8", (100.0,) * 3, (50.0,) * 3, JINGWEI, (1000,) * len(JINGWEI))


def learner_of(recipe=SMALL, kind: DataKind = KIND, start: Start | None = None) -> Learner:
    """A learner about to make its first step."""
    learner = Learner(recipe, kind, CPU, Team(), start or Start())
    learner.load_start()
    learner.begin_epoch()
    return learner


def batch(seed: int, count: int = 4, size: int = 64, unlabelled: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows: (pixels_BCHW uint8, labels_BHW uint8), a share of them NODATA."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(JINGWEI), (count, size, size), dtype=np.uint8)
    labels[rng.random(labels.shape) < unlabelled] = NODATA
    pixels = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def spoilt(batches: list) -> list:
    """Batches of pixels that are no numbers."""
    return [(pixels.float() * math.nan, labels) for pixels, labels in batches]


def record(patch) -> list[dict]:
    """The weights and buffers after each step that is made from now on."""
    step, kept = Learner.step, []

    def recorded(learner, place, batches):
        made = step(learner, place, batches)
        kept.append({name: tensor.clone() for name, tensor in learner.model.state_dict().items()})
        return made

    patch.setattr(Learner, "step", recorded)
    return kept


def stop_in_step(patch, nth: int) -> None:
    """Sends this process a SIGTERM in the nth step from now on."""
    step, calls = Learner.step, []

    def stopped(learner, place, batches):
        calls.append(1)
        if len(calls) == nth:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(learner, place, batches)

    patch.setattr(Learner, "step", stopped)


def assert_close(ours: dict, theirs: dict, names=None) -> None:
    """Both hold about the same tensors."""
    assert ours.keys() == theirs.keys()
    for name in names or ours:
        torch.testing.assert_close(ours[name].double(), theirs[name].double(), rtol=1e-4, atol=1e-5, msg=name)


LOOK = replace(CROSS_ENTROPY, **TINY | {"optimizer": "sgd", "loss": "focal+0.5*lovasz"}, momentum=0.7)
