"""Fixtures that several test files of this folder share."""

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_projects import ROOT

from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.training.recipes import CROSS_ENTROPY


@pytest.fixture(scope="session")
def finished(county, tmp_path_factory) -> Path:
    """The county after cutting, with two checkpoints of random weights and their maps. Only to be read."""
    root = tmp_path_factory.mktemp("finished") / "data"
    shutil.copytree(county, root)
    torch.manual_seed(0)
    for exp, score in (("first", 0.4), ("second", 0.3)):
        model = build_model(ModelSpec("attention_unet", "mobilenetv3_small_050", 3, 5), (90,) * 3, (50,) * 3)
        recipe = replace(CROSS_ENTROPY, model="attention_unet", backbone="mobilenetv3_small_050").to_dict()
        checkpoint = Checkpoint(
            model.spec, "uint8", (90.0,) * 3, (50.0,) * 3, JINGWEI, recipe, model.state_dict(), {"miou": score}
        )
        save_checkpoint(root / "model" / "cross_entropy" / exp / "best.pt", checkpoint)
        (root / "model" / "cross_entropy" / exp / "recipe.json").write_text(json.dumps(recipe))
    for command in (["generate_train_data.py", "--crop_size", "64"], ["generate_test_data.py"],
                    ["predict.py", "--window", "64", "--overlap", "16", "--device", "cpu"]):  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [*command, "--data_dir", str(root)])
            runpy.run_path(str(ROOT / command[0]), run_name="__main__")
    return root


@pytest.fixture
def data(finished, tmp_path) -> Path:
    """A finished project of one's own."""
    return Path(shutil.copytree(finished, tmp_path / "data"))


@pytest.fixture
def bare(county, tmp_path) -> Path:
    """The county's scenes, nothing done yet."""
    return Path(shutil.copytree(county, tmp_path / "data"))
