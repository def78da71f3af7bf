"""System B's confidence: beside the contest's files, never among them, and never of another map than the picture's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from scipy.special import softmax

from jingwei.errors import OutputError
from jingwei.evaluation.folders import find_masks
from jingwei.legend import GF2, NODATA
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.spec import ModelSpec
from jingwei.prediction.folder import infer
from jingwei.prediction.folder_items import Inference
from jingwei.prediction.settings import InferenceSettings
from jingwei.raster.stamps import CONFIDENCE
from jingwei.raster.writing import TiledWriter

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
SETTINGS = InferenceSettings(window=64, overlap=16, precision="fp32", engine="torch")
TEMPERATURE = 2.5
MEAN = 120


class Toy(torch.nn.Module):
    """Logits of brightness, the same in every window; counts the windows."""

    windows = 0

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.windows += len(pixels)
        centres = torch.linspace(0, 1, len(GF2)).view(1, -1, 1, 1)
        return -30 * (pixels.mean(1, keepdim=True) / 255 - centres).abs()


@pytest.fixture
def toy(monkeypatch) -> Toy:
    network = Toy()
    monkeypatch.setattr(Checkpoint, "build", lambda self: network)
    return network


@pytest.fixture
def order(tmp_path, toy) -> Inference:
    """Two samples, one of them in a subfolder, with a corner that is not valid."""
    spec = ModelSpec("attention_unet", "mobilenetv3_small_050", 3, len(GF2))
    how = {"calibration": {"temperature": TEMPERATURE, "error": [0.1, 0.02]}}
    save_checkpoint(
        tmp_path / "net.pth", Checkpoint(spec, "uint8", (float(MEAN),) * 3, (60.0,) * 3, GF2, {}, {}, **how)
    )
    for name, shape in (("1", (70, 90)), ("test_A/2", (50, 150))):
        write_sample(tmp_path / "in" / f"{name}.tif", shape)
    return Inference(tmp_path / "in", tmp_path / "out", tmp_path / "net.pth", SETTINGS, device="cpu", confidence=True)


def write_sample(path: Path, shape: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(shape[0]).integers(1, 256, (3, *shape), dtype=np.uint8)
    pixels[:, :7, :9] = 0
    how = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 3, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", **how) as file:
        file.write(pixels)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


CONTEST = {"1_gt.png", "1.xml", "test_A/2_gt.png", "test_A/2.xml"}
OURS = {f"{folder}confidence/{n}_gt.{end}" for folder, n in (("", 1), ("test_A/", 2)) for end in ("tif", "qml")}


def test_it_is_the_calibrated_probability_of_the_pictures_class(order, toy):
    assert infer(order).written == 2
    assert names(order.target) == CONTEST | OURS
    for name in ("1", "test_A/2"):
        pixels = read(order.source / f"{name}.tif")
        shown = np.where((pixels == 0).all(0), MEAN, pixels)[None].astype(np.float32)
        logits = toy(torch.from_numpy(shown))[0].numpy().astype(np.float64)
        place = order.target / f"{name}_gt.png"
        sure = read(place.parent / "confidence" / f"{place.stem}.tif")[0]
        valid = (pixels != 0).any(0)
        assert (
            np.abs(sure - 100 * softmax(logits / TEMPERATURE, axis=0).max(0))[valid].max() < 1
        )  # windows are blended in half precision
        assert (sure[~valid] == NODATA).all()
        with rasterio.open(place.parent / "confidence" / f"{place.stem}.tif") as file:
            assert file.tags()[CONFIDENCE] == "probability, temperature 2.5"


def test_the_contests_files_are_the_same_with_and_without_it_at_no_second_pass(order, toy, tmp_path):
    infer(replace(order, confidence=False, target=tmp_path / "plain"))
    windows, toy.windows = toy.windows, 0
    infer(order)
    assert toy.windows == windows
    assert names(tmp_path / "plain") == CONTEST
    assert all((tmp_path / "plain" / n).read_bytes() == (order.target / n).read_bytes() for n in CONTEST)


def test_it_is_kept_while_it_tells_of_the_picture_and_goes_when_it_does_not(order, toy):
    infer(order)
    toy.windows = 0
    assert infer(order).kept == infer(replace(order, confidence=False)).kept == 2
    assert toy.windows == 0
    sure = order.target / "confidence" / "1_gt.tif"
    sure.unlink()
    assert infer(replace(order, confidence=False)).kept == 2
    assert infer(order).written == 1  # asked for again
    assert sure.exists()
    assert infer(replace(order, confidence=False, settings=replace(SETTINGS, tta="flips"))).written == 2
    assert not sure.exists()


def test_scores_of_a_folder_do_not_take_it_for_a_mask(order):
    infer(order)
    assert list(find_masks(order.target)) == [(".", "1"), ("test_A", "2")]


def test_a_sample_without_a_valid_pixel_gets_none(order):
    with rasterio.open(order.source / "1.tif", "r+") as file:
        file.write(np.zeros((3, 70, 90), np.uint8))
    outcome = infer(order)
    assert (outcome.written, len(outcome.broken)) == (1, 1)
    assert names(order.target) == {name for name in CONTEST | OURS if name.startswith("test_A")}


def test_somebody_elses_file_in_its_place_is_refused(order, call):
    sure = order.target / "confidence" / "1_gt.tif"
    with TiledWriter(sure, 70, 90):
        pass
    before = sure.read_bytes()
    with pytest.raises(OutputError, match=r"1_gt.tif.*not written by inference.py"):
        infer(order)
    status, _, err = call("inference.py", order.source, order.target, "--checkpoint", order.weights, "--confidence")
    assert (status, err.count("\n")) == (2, 1)
    assert sure.read_bytes() == before
    sure.unlink()
    status, *_ = call("inference.py", order.source, order.target, "--checkpoint", order.weights, "--confidence")
    assert (status, names(order.target)) == (0, CONTEST | OURS)
