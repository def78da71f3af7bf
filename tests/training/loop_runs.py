"""The run that the tests of whole runs are about, and its crops cut anew."""

import shutil
from dataclasses import replace
from pathlib import Path

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.legend import JINGWEI
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.workspace import Workspace

# A small network in fp32; dropout and an auxiliary head, so that every source of chance is in play.
SMALL = replace(
    CROSS_ENTROPY,
    model="pspnet",
    backbone="test_resnet",
    output_stride=16,
    pretrained=False,
    epochs=4,
    steps_per_epoch=3,
    batch_size=2,
    crop_sizes=(48, 64),
    precision="fp32",
    optimizer="adamw",
    base_lr=0.002,
    last_mult=2.0,
)


def recut(workspace: Workspace, county: Path, **settings) -> None:
    """Cuts the training crops once more, with other settings."""
    shutil.rmtree(workspace.train)
    cut_train(workspace, Workspace(county).train_scenes(), CutSettings(64, 64, **settings), JINGWEI, workers=1)
