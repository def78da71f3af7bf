"""Robustness: networks that don't depend on a change show none, those that do show how much."""

import json

import numpy as np
import pytest
import rasterio
import torch

from jingwei.errors import InputError
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.robustness import _trials, robustness, table, write_robustness
from jingwei.prediction.settings import PredictSettings

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = len(JINGWEI)
SETTINGS = PredictSettings(window=64, overlap=16, precision="fp32", engine="torch")


class Toy(torch.nn.Module):
    """Classes by brightness, and by the column of the window where it is told so."""

    def __init__(self, by_column: float = 0.0):
        super().__init__()
        self.by_column = by_column

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        centres = torch.linspace(0, 1, CLASSES).view(1, -1, 1, 1)
        cols = torch.arange(pixels.shape[3]).view(1, 1, 1, -1)
        return -20 * (pixels.mean(1, keepdim=True) / 255 - centres).abs() + self.by_column * torch.cos(
            cols - 9 * centres
        )


def measured(tmp_path, monkeypatch, network, pixels) -> dict:
    monkeypatch.setattr(Checkpoint, "build", lambda self: network)
    spec = ModelSpec("attention_unet", "mobilenetv3_small_050", 3, CLASSES)
    weights = build_model(spec, (120.0,) * 3, (60.0,) * 3).state_dict()
    checkpoint = Checkpoint(spec, "uint8", (120.0,) * 3, (60.0,) * 3, JINGWEI, {}, weights)
    save_checkpoint(tmp_path / "best.pt", checkpoint)
    how = {"count": 3, "height": pixels.shape[1], "width": pixels.shape[2], "dtype": "uint8", "nodata": 0}
    with rasterio.open(tmp_path / "scene.tif", "w", driver="GTiff", **how) as file:
        file.write(pixels)
    return robustness(tmp_path / "best.pt", checkpoint, tmp_path / "scene.tif", SETTINGS, "cpu")


def fields(height: int, width: int, values=(20, 85, 170, 240)) -> np.ndarray:
    rng = np.random.default_rng(0)
    blocks = rng.choice(values, (3, -(-height // 20), -(-width // 20))).astype(np.uint8)
    blocks[:] = blocks[0]
    return blocks.repeat(20, 1).repeat(20, 2)[:, :height, :width]


def test_a_network_that_looks_at_single_pixels_changes_with_light_and_scale_alone(tmp_path, monkeypatch):
    found = measured(tmp_path, monkeypatch, Toy(), fields(150, 170))
    assert found["shifts"] == found["flips"] == 0
    assert 0 < found["scale"] < 0.2  # along the borders of fields
    assert found["light"] == 0  # 5 % of these values reach no other class
    assert found["pixels"] == 150 * 170


def test_light_that_reaches_another_class_is_counted(tmp_path, monkeypatch):
    edge = int(255 * 0.375)  # 5 % above, it is nearer to the next class
    found = measured(tmp_path, monkeypatch, Toy(), np.full((3, 100, 100), edge, np.uint8))
    assert found["trials"]["+5% light"] == 1
    assert found["trials"]["-5% light"] == 0
    assert found["light"] == 0.5


def test_a_network_that_depends_on_where_its_windows_lie_changes_with_shifts_and_mirrors(tmp_path, monkeypatch):
    found = measured(tmp_path, monkeypatch, Toy(3.0), fields(150, 170))
    assert found["shifts"] > 0.1
    assert found["trials"]["mirrored left to right"] > 0.1
    assert found["trials"]["mirrored top to bottom"] == 0


def test_what_is_not_valid_does_not_count(tmp_path, monkeypatch):
    pixels = fields(150, 170)
    pixels[:, :, :60] = 0
    found = measured(tmp_path, monkeypatch, Toy(), pixels)
    assert found["pixels"] == 150 * 110
    with pytest.raises(InputError, match="has no valid pixel"):
        measured(tmp_path, monkeypatch, Toy(), np.zeros((3, 70, 70), np.uint8))


@pytest.mark.parametrize("shape", [(40, 50), (97, 33)])
def test_every_change_is_undone(shape):
    labels = np.arange(shape[0] * shape[1]).reshape(shape) % 251
    for kind, trials in _trials(shape):
        for trial in trials if kind in ("shifts", "flips") else ():
            again = trial.back(trial.change(labels[None].astype(np.uint8))[0])
            known = again != 255
            assert known.any()
            np.testing.assert_array_equal(again[known], labels[known])


def test_it_is_kept_and_told(tmp_path, monkeypatch):
    found = measured(tmp_path, monkeypatch, Toy(), fields(80, 80))
    write_robustness(tmp_path / "r" / "map.json", found)
    assert json.loads((tmp_path / "r" / "map.json").read_text()) == found
    assert "windows shifted by 1 to 31 px   0.00%" in table(found)
