"""Fixtures that several test files of this folder share."""

from pathlib import Path

import pytest
import torch
from learner_runs import HERE, LOOK
from loop_runs import SMALL

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.legend import JINGWEI
from jingwei.training import loop
from jingwei.training.curves import draw_curves
from jingwei.workspace import Workspace


@pytest.fixture(scope="session")
def cut_county(county, tmp_path_factory):
    """(training folder, crops)"""
    root = tmp_path_factory.mktemp("cut")
    settings = CutSettings(64, 64, val_fraction=0, keep_background=1)
    return root / "train", cut_train(Workspace(root), Workspace(county).train_scenes(), settings, JINGWEI, 2)


@pytest.fixture(scope="session")
def looked_at(cut) -> Path:
    """The folder of a run of LOOK, only to be read."""
    torch.set_num_threads(1)
    return loop.train(Workspace(cut), LOOK, "look", HERE)


@pytest.fixture(scope="session")
def whole_run(cut) -> Path:
    """The folder of an uninterrupted run of loop_runs.SMALL, with its curves drawn. Only to be read."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jingwei.training.log.draw_curves", draw_curves)
        return loop.train(Workspace(cut), SMALL, "whole", HERE)
