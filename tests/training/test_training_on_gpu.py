"""Steps of training on a GPU, in bf16 where it has that; with nothing but pytest, as `benchmarks/gpu.py` runs them."""

from dataclasses import replace

import pytest
import torch

from jingwei.legend import JINGWEI
from jingwei.training.distributed import Team
from jingwei.training.learner import Learner
from jingwei.training.position import Position
from jingwei.training.recipes import RECIPES
from jingwei.training.start import DataKind, Start

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.mark.parametrize("name", ["cross_entropy", "focal_lovasz", "attention_unet"])
def test_steps_learn(name):
    small = {"backbone": "resnet18", "pretrained": False, "crop_sizes": (64,), "batch_size": 4, "optimizer": "adamw"}
    recipe = replace(RECIPES[name], **small, base_lr=1e-3, warmup=0.0, epochs=1, steps_per_epoch=30).check()
    kind = DataKind("uint8", (120.0,) * 3, (40.0,) * 3, JINGWEI, (100,) * len(JINGWEI))
    learner = Learner(recipe, kind, torch.device("cuda"), Team(), Start())
    learner.begin_epoch()
    labels = torch.randint(0, len(JINGWEI), (4, 4, 4), dtype=torch.uint8).repeat_interleave(16, 1)
    labels = labels.repeat_interleave(16, 2)
    pixels = (40 * labels[:, None] + torch.randint(0, 20, (4, 3, 64, 64))).to(torch.uint8)
    steps = [learner.step(Position(0, number), [(pixels, labels)]) for number in range(30)]
    assert all(step.good for step in steps)
    assert steps[-1].values["loss"] < 0.7 * steps[0].values["loss"]
