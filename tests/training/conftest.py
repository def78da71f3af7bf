"""Fixtures that several test files of this folder share."""

import pytest

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.legend import JINGWEI
from jingwei.workspace import Workspace


@pytest.fixture(scope="module")
def cut_county(county, tmp_path_factory):
    """(training folder, crops)"""
    root = tmp_path_factory.mktemp("cut")
    settings = CutSettings(64, 64, val_fraction=0, keep_background=1)
    return root / "train", cut_train(Workspace(root), Workspace(county).train_scenes(), settings, JINGWEI, 2)
