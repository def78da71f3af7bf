"""Calibration: the temperature that was put in is found, and errors are those of plain loops over pixels."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import Crop
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA, LandClass, Legend
from jingwei.models.checkpoints import load_checkpoint
from jingwei.training import calibration, loop
from jingwei.training.calibration import BINS, LogitSample
from jingwei.training.distributed import Team
from jingwei.training.loop import RunOptions
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

LEGEND = Legend("own", tuple(LandClass(i, f"c{i}", (i, i, i)) for i in range(3)))
CPU = torch.device("cpu")


def crop(name: str, valid: int) -> Crop:
    return Crop(name, "image_1", Window(0, 0, 1, valid), valid, (valid, 0, 0), (0.0,), (1.0,))


def drawn(temperature: float, pixels: int = 40_000, seed: int = 0):
    """Labels drawn by the very probabilities that logits have at a temperature: (labels_N, logits_NC)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (pixels, len(LEGEND)))
    shares = np.exp(logits / temperature)
    shares /= shares.sum(1, keepdims=True)
    labels = (shares.cumsum(1) < rng.random((pixels, 1))).sum(1)
    return torch.from_numpy(labels), torch.from_numpy(logits).float()


def sample_of(labels_N: torch.Tensor, logits_NC: torch.Tensor) -> LogitSample:
    sample = LogitSample([crop("a.png", len(labels_N))], len(labels_N))
    sample.add(0, labels_N.view(1, 1, -1), logits_NC.T[None, :, None])
    return sample


def plain_error(labels, logits, temperature, given=None) -> float:
    """The expected calibration error by its definition, over the pixels that were `given` a class."""
    shares = np.exp(logits / temperature - (logits / temperature).max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    chosen, sure = shares.argmax(1), shares.max(1)
    here = np.full(len(labels), True) if given is None else chosen == given
    error = 0.0
    for low in range(BINS):
        part = here & (np.minimum(np.floor(sure * BINS), BINS - 1) == low)
        if part.any():
            error += part.sum() / here.sum() * abs(sure[part].mean() - (chosen == labels)[part].mean())
    return error


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.8, 4.0])
def test_the_temperature_is_found(temperature):
    found = sample_of(*drawn(temperature)).calibration(LEGEND, Team(), CPU)
    assert found["temperature"] == pytest.approx(temperature, rel=0.04)
    assert found["error"][1] <= min(0.02, found["error"][0])
    assert found["pixels"] == 40_000


def test_errors_are_those_of_the_definition():
    labels, logits = drawn(2.5)
    found = sample_of(labels, logits).calibration(LEGEND, Team(), CPU)
    labels, logits = labels.numpy(), logits.double().numpy()
    for turn, temperature in enumerate((1.0, found["temperature"])):
        assert found["error"][turn] == pytest.approx(plain_error(labels, logits, temperature), abs=1e-5)
        for number, name in enumerate(LEGEND.names):
            expected = plain_error(labels, logits, temperature, number)
            assert found["classes"][name][turn] == pytest.approx(expected, abs=1e-5)


def test_unlabelled_pixels_and_classes_that_were_never_given_have_no_say():
    labels, logits = drawn(2.0, 5000)
    logits[:, 2] = -50
    labels = labels.clamp(max=1)
    expected = sample_of(labels, logits).calibration(LEGEND, Team(), CPU)
    with_nodata = torch.cat([labels, torch.full((300,), NODATA)]), torch.cat([logits, torch.full((300, 3), 9.0)])
    sample = LogitSample([crop("a.png", 5000)], 5000)
    sample.add(0, with_nodata[0].view(1, 1, -1), with_nodata[1].T[None, :, None])
    assert sample.calibration(LEGEND, Team(), CPU) == expected
    assert expected["classes"]["c2"] is None


def test_nothing_to_fit_gives_nothing():
    assert LogitSample([], 0).calibration(LEGEND, Team(), CPU) == {}
    labels, logits = drawn(1.0, 50)
    logits[3, 1] = float("nan")
    assert sample_of(labels, logits).calibration(LEGEND, Team(), CPU) == {}


def test_memory_is_bounded_and_crops_weigh_as_many_pixels_as_they_have(monkeypatch):
    monkeypatch.setattr(calibration, "PIXELS", 1000)
    crops = [crop(f"{n}.png", valid) for n, valid in enumerate((8000, 2000))]
    sample = LogitSample(crops, 10_000)
    for number, each in enumerate(crops):
        labels, logits = drawn(1.0, each.valid, seed=number)
        sample.add(number, labels.view(1, 1, -1), logits.T[None, :, None])
    assert [len(labels) for labels in sample._labels] == [800, 200]


@pytest.fixture(scope="module")
def cut(county, tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("cut")
    cut_train(Workspace(root), Workspace(county).train_scenes(), CutSettings(64, 64), JINGWEI, workers=1)
    return Workspace(root)


TINY = replace(
    CROSS_ENTROPY, model="attention_unet", backbone="mobilenetv3_small_050", output_stride=16, aux_weight=0.0,
    pretrained=False, epochs=2, steps_per_epoch=3, batch_size=4, crop_sizes=(48,), precision="fp32",
)  # fmt: skip


def test_best_pt_is_calibrated_by_training(cut, capsys):
    folder = loop.train(cut, TINY, "calibrated", RunOptions(device="cpu", workers=0))
    found = load_checkpoint(folder / "best.pt").calibration
    assert set(found["classes"]) == set(JINGWEI.names)
    assert found["error"][1] <= found["error"][0]
    assert f"temperature {found['temperature']:.2f}, expected calibration error" in capsys.readouterr().out


class Half(Team):
    """One of two processes of a team, as threads."""

    meeting, said = threading.Barrier(2), {}

    def total(self, values: torch.Tensor) -> torch.Tensor:
        self.said[self.rank] = values
        self.meeting.wait(60)
        result = self.said[0] + self.said[1]
        self.meeting.wait(60)
        return result


def test_a_team_finds_the_temperature_of_one_process():
    """Each of two processes has half of the crops."""
    crops = [crop(f"{n}.png", 3000) for n in range(2)]
    whole, halves = LogitSample(crops, 6000), [LogitSample([each], 6000) for each in crops]
    for number, half in enumerate(halves):
        labels, logits = drawn(1.0 + number, 3000, seed=number)
        for sample, place in ((whole, number), (half, 0)):
            sample.add(place, labels.view(1, 1, -1), logits.T[None, :, None])
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda n: halves[n].calibration(LEGEND, Half(n, 2), CPU), range(2)))
    expected = whole.calibration(LEGEND, Team(), CPU)
    assert 1.1 < expected["temperature"] < 1.9
    assert found == [expected, expected]
