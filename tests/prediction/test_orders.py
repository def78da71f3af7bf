"""Which networks make maps, and in which order: the first one's map is the one to hand in."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.orders import map_name, trained_networks
from jingwei.workspace import LABELS, Workspace


def test_the_best_goes_first_and_where_labels_come_in_rounds_the_newest(tmp_path):
    spec = ModelSpec("attention_unet", "mobilenetv3_small_050", 3, len(JINGWEI))
    torch.manual_seed(0)
    model = build_model(spec, (120,) * 3, (60,) * 3)
    made = Checkpoint(spec, "uint8", (120.0,) * 3, (60.0,) * 3, JINGWEI, {}, model.state_dict())
    workspace = Workspace(tmp_path)
    for exp, score in (("first", 0.9), ("round_1", 0.3), ("round_2", 0.2)):
        folder = workspace.experiment("cross_entropy", exp)
        folder.mkdir(parents=True)
        save_checkpoint(folder / "best.pt", replace(made, scores={"miou": score}))

    def names():
        return [network.name.removeprefix("cross_entropy_") for network in trained_networks(workspace, (), ())]

    assert names() == ["first", "round_1", "round_2"]
    (tmp_path / LABELS).mkdir()
    assert names() == ["round_2", "round_1", "first"]


@pytest.mark.parametrize(("path", "name"), [
    ("data/model/swa/first/best.pt", "swa_first"),
    ("/data/model/swa/first/last.pt", "swa_first"),
    ("../../best.pt", "swa_first"),
    ("/models/best.pt", "best"),
    ("best.pt", "best"),
    ("/models/own.v2.pt", "own.v2"),
])  # fmt: skip
def test_maps_are_named_by_folders_that_have_names(tmp_path, monkeypatch, path, name):
    """A map named `/models_...` would go to the root of all folders, and `.._..` would be hidden."""
    here = tmp_path / "model" / "swa" / "first" / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert map_name(Path(path)) == name
