"""How sure a map is: the label's calibrated probability, written with the map and never left beside another one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from scipy.special import softmax

from jingwei.errors import CheckpointError
from jingwei.legend import JINGWEI, NODATA
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.job import Job
from jingwei.prediction.model import Model
from jingwei.prediction.scene import predict_bands, predict_scene, prepare
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.stamps import CONFIDENCE
from jingwei.workspace import Workspace, confidence_of

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = len(JINGWEI)
SETTINGS = PredictSettings(window=64, overlap=16, precision="fp32", engine="torch")


class Toy(torch.nn.Module):
    """Logits of brightness and of the place in the window, so that windows disagree where they overlap."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        centres = torch.linspace(0, 1, CLASSES).view(1, -1, 1, 1)
        cols = torch.arange(pixels.shape[3]).view(1, 1, 1, -1)
        brightness = pixels.mean(1, keepdim=True) / 255
        return -8 * (brightness - centres).abs() + torch.cos(cols / 5 - centres * 7)


@pytest.fixture
def toy(monkeypatch) -> Toy:
    network = Toy()
    monkeypatch.setattr(Checkpoint, "build", lambda self: network)
    return network


def checkpoint_at(path: Path, temperature: float | None = None) -> Checkpoint:
    torch.manual_seed(0)
    spec = ModelSpec("attention_unet", "mobilenetv3_small_050", 3, CLASSES)
    weights = build_model(spec, (120.0,) * 3, (60.0,) * 3).state_dict()
    calibration = {"temperature": temperature, "error": [0.1, 0.02]} if temperature else {}
    made = Checkpoint(
        spec, "uint8", (120.0,) * 3, (60.0,) * 3, JINGWEI, {}, weights, {"miou": 0.5}, calibration=calibration
    )
    save_checkpoint(path, made)
    return load_checkpoint(path)


def draw(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.repeat(rng.integers(1, 256, (3, height, -(-width // 4)), dtype=np.uint8), 4, axis=2)[..., :width]


def write_scene(path: Path, pixels: np.ndarray) -> Path:
    _, height, width = pixels.shape
    how = {"count": 3, "height": height, "width": width, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", tiled=True, blockxsize=64, blockysize=64, **how) as file:
        file.write(pixels)
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def job_for(tmp_path: Path, pixels: np.ndarray, temperature=None, name="map", **how) -> tuple[Job, Checkpoint]:
    weights = tmp_path / f"{name}.pt"
    checkpoint = checkpoint_at(weights, temperature)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    target = tmp_path / f"{name}.tif"
    how = {"confidence": confidence_of(target), "device": "cpu"} | how
    return Job(weights, scene, target, SETTINGS, **how), checkpoint


@pytest.mark.parametrize("temperature", [None, 0.6, 2.5])
def test_in_one_window_it_is_the_softmax_of_logits_over_the_temperature(tmp_path, toy, temperature):
    pixels = draw(50, 60)
    pixels[:, :7] = 0
    job, checkpoint = job_for(tmp_path, pixels, temperature, probabilities=tmp_path / "p.tif")
    assert predict_scene(job, checkpoint)
    logits = toy(torch.from_numpy(np.where((pixels == 0).all(0), 120, pixels)[None].astype(np.float32)))[0].numpy()
    expected = softmax(logits.astype(np.float64) / (temperature or 1), axis=0)
    sure, shares, labels = read(job.confidence)[0], read(job.probabilities), read(job.target)[0]
    assert (sure[:7] == NODATA).all()
    assert np.abs(sure[7:] - 100 * expected.max(0)[7:]).max() <= 0.51
    assert np.abs(shares[:, 7:] - 255 * expected[:, 7:]).max() <= 0.51
    np.testing.assert_array_equal(labels[7:], logits.argmax(0)[7:])


@pytest.mark.parametrize("shape", [(210, 90), (90, 210)], ids=["tall", "wide"])
def test_the_temperature_changes_no_label_where_windows_disagree(tmp_path, toy, shape):
    made = {}
    for name, temperature in (("plain", None), ("cold", 0.5), ("hot", 3.0)):
        job, checkpoint = job_for(tmp_path, draw(*shape), temperature, name)
        predict_scene(job, checkpoint)
        made[name] = read(job.target), read(job.confidence).astype(int)
    np.testing.assert_array_equal(made["plain"][0], made["cold"][0])
    np.testing.assert_array_equal(made["plain"][0], made["hot"][0])
    assert (made["cold"][1] >= made["plain"][1]).all()
    assert (made["plain"][1] >= made["hot"][1]).all()
    assert (made["cold"][1] - made["hot"][1]).mean() > 20


def test_it_says_what_it_is_and_where_it_lies(tmp_path, toy):
    for name, temperature, said in (("plain", None, "probability"), ("hot", 1.5, "probability, temperature 1.5")):
        job, checkpoint = job_for(tmp_path, draw(70, 70), temperature, name)
        predict_scene(job, checkpoint)
        assert job.confidence == tmp_path / "confidence" / f"{name}.tif"
        with rasterio.open(job.confidence) as file:
            assert (file.tags()[CONFIDENCE], file.nodata, file.dtypes) == (said, NODATA, ("uint8",))


def test_any_number_of_workers_and_bands_computed_apart_give_the_same_bytes(tmp_path, toy):
    job, checkpoint = job_for(tmp_path, draw(300, 90), 1.7)
    predict_scene(job, checkpoint)
    expected = job.confidence.read_bytes()
    for name, workers in (("four", 4), ("apart", 1)):
        target = tmp_path / f"{name}.tif"
        other = replace(job, target=target, confidence=confidence_of(target), workers=workers)
        if name == "apart":  # the last band first, then stopped, then the rest
            plan = prepare(other)
            list(predict_bands(other, plan, range(len(plan.bands) - 1, len(plan.bands))))
            assert list(other.parts.glob("*_confidence.tif"))
        assert predict_scene(other)
        assert other.confidence.read_bytes() == expected
        assert not other.parts.exists()


def test_a_map_is_made_again_where_its_confidence_is_missing_and_kept_where_none_is_wanted(tmp_path, toy):
    job, checkpoint = job_for(tmp_path, draw(80, 80))
    without = replace(job, confidence=None, stale=(job.confidence,))
    assert predict_scene(without, checkpoint)
    assert not job.confidence.exists()
    assert predict_scene(job, checkpoint)
    assert not predict_scene(job, checkpoint)
    assert not predict_scene(without, checkpoint)
    assert job.confidence.exists()  # of this very map: true, though nobody asked for it now


@pytest.mark.parametrize("wanted", [True, False])
def test_the_confidence_of_another_map_goes(tmp_path, toy, wanted):
    job, checkpoint = job_for(tmp_path, draw(80, 80))
    predict_scene(job, checkpoint)
    before = job.confidence.read_bytes()
    other = replace(job, settings=replace(SETTINGS, overlap=8))
    if not wanted:
        other = replace(other, confidence=None, stale=(job.confidence,))
    assert predict_scene(other, checkpoint)
    if wanted:
        assert job.confidence.read_bytes() != before
    else:
        assert not job.confidence.exists()


def test_a_file_of_somebody_else_stays(tmp_path, toy):
    job, checkpoint = job_for(tmp_path, draw(80, 80))
    place = job.confidence
    place.parent.mkdir()
    place.write_bytes(b"mine")
    assert predict_scene(replace(job, confidence=None, stale=(place,)), checkpoint)
    assert place.read_bytes() == b"mine"


def test_votes_dont_take_it_for_a_map(tmp_path, toy):
    workspace = Workspace(tmp_path)
    write_scene(tmp_path / "scene.tif", draw(80, 80))
    (tmp_path / "test/image3").mkdir(parents=True)
    (tmp_path / "a_test").mkdir()
    write_scene(tmp_path / "test/image3/image_3.tif", draw(80, 80))
    (scene,) = workspace.cut_scenes()
    target = workspace.masks(scene) / "swa_a.tif"
    job, checkpoint = job_for(tmp_path, draw(80, 80))
    predict_scene(replace(job, target=target, confidence=confidence_of(target)), checkpoint)
    assert workspace.predictions(scene) == [target]
    assert workspace.confidence(scene) == target.parent / "confidence" / "swa_a.tif"


def test_probabilities_in_memory_are_calibrated_too(tmp_path, toy):
    pixels = draw(50, 60)
    plain, hot = (Model(checkpoint_at(tmp_path / f"{t}.pt", t), tmp_path, "cpu") for t in (None, 2.0))
    how = {"window": 64, "overlap": 16, "engine": "torch", "precision": "fp32"}
    (labels, shares), (same, cooler) = (model.predict_probabilities(pixels, **how) for model in (plain, hot))
    np.testing.assert_array_equal(labels, same)
    expected = np.sqrt(shares.astype(np.float64))
    likely = shares.min(0) > 0.02  # rounded to 1/255: where all classes are likely, the root is known well enough
    assert likely.any()
    assert np.abs(cooler - expected / expected.sum(0))[:, likely].max() < 0.02
    assert hot.calibration["temperature"] == 2.0


@pytest.mark.parametrize("value", [0, -1.0, 1000.0, "warm", None, True])
def test_a_temperature_that_cant_be_is_refused(tmp_path, value):
    checkpoint = checkpoint_at(tmp_path / "best.pt", 2.0)
    checkpoint.calibration["temperature"] = value
    save_checkpoint(tmp_path / "best.pt", checkpoint)
    with pytest.raises(CheckpointError, match="holds a temperature that is not a number"):
        load_checkpoint(tmp_path / "best.pt")
