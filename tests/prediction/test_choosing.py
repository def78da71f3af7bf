"""Choosing an engine: the fastest that agrees with torch, on windows of the scene itself, kept for a map."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
from small_engines import CPU, fields, need, noise
from torch import Tensor

from jingwei.errors import CheckpointError, SettingError
from jingwei.models.checkpoints import Checkpoint
from jingwei.prediction import scene as prediction
from jingwei.prediction.engines import choosing, compiled
from jingwei.prediction.engines.choosing import calibration_windows, choose_engine, read_label, trial_windows
from jingwei.prediction.engines.eager import TorchEngine
from jingwei.prediction.engines.registry import ENGINES
from jingwei.prediction.job import Job
from jingwei.prediction.scene import prepare
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.reading import open_image

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- auto ----


class Clock:
    """A time that only engines move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def racers(monkeypatch, bright) -> Callable[..., None]:
    """Replaces the engines: (name, seconds a window, changed probabilities, refused) for each that is to be there."""
    clock = Clock()
    monkeypatch.setattr(choosing, "perf_counter", clock)

    def enter(name: str, seconds: float, change: Callable[[Tensor], Tensor] = lambda p: p, only: str = "") -> None:
        class Racer(TorchEngine):
            def run(self, pixels_BCHW):
                clock.now += seconds
                probabilities = super().run(pixels_BCHW)
                return change(probabilities) if only in self.precision else probabilities

        Racer.name = name
        Racer.pays_from_mpx = ENGINES[name].pays_from_mpx
        monkeypatch.setitem(ENGINES, name, Racer)

    def away(*args):
        raise SettingError("`engine` it", "is away", "take another")

    for name in ("openvino", "torch-compiled", "onnx"):
        monkeypatch.setitem(
            ENGINES, name, type(name, (TorchEngine,), {"name": name, "pays_from_mpx": 0, "_build": away})
        )
    enter("torch", 1.0)
    return enter


def swap(probabilities: Tensor) -> Tensor:
    return probabilities.roll(1, 1)


def auto(checkpoint: Checkpoint, precision: torch.dtype = torch.bfloat16, megapixels: float = 5000, samples=None):
    """(the choice's label, the lines that were said)."""
    lines = []
    samples = fields() if samples is None else samples
    choice = choose_engine("auto", checkpoint, CPU, precision, lambda: samples, megapixels, say=lines.append)
    return str(choice), lines


def test_auto_takes_the_fastest_and_tells_what_it_measured(racers, bright):
    racers("openvino", 0.5)
    racers("onnx", 0.25)
    label, lines = auto(bright)
    assert label == "onnx bf16"
    assert [line.partition(":")[0] for line in lines] == [
        "engine openvino bf16", "engine torch-compiled is left out", "engine onnx bf16", "engine torch bf16",
    ]  # fmt: skip
    assert lines[0].endswith("% of the labels of torch fp32, 2.00 windows/s of 64 x 64 px")
    assert lines[1] == "engine torch-compiled is left out: `engine` it: is away: take another"


def test_auto_refuses_an_engine_that_swaps_classes_and_takes_the_next(racers, bright):
    racers("openvino", 0.1, swap)
    racers("onnx", 0.5)
    label, lines = auto(bright)
    assert label == "onnx bf16"
    assert lines[0].endswith("not used, below 99.5%")
    racers("onnx", 0.5, swap)
    assert auto(bright)[0] == "torch bf16"


@pytest.mark.parametrize("outside", ["right", "wrong"])
@pytest.mark.parametrize(("wrong", "taken"), [(0.004, True), (0.006, False)])
def test_auto_counts_only_valid_pixels(racers, bright, wrong, taken, outside):
    samples = fields(5)
    everywhere = np.concatenate([valid.ravel() for _, valid in samples])
    per_window = [valid.ravel() for _, valid in samples]
    count = round(wrong * everywhere.sum() / len(samples))
    calls = []

    def spoil(probabilities: Tensor) -> Tensor:
        """Wrong on a share of the valid pixels, and on all or none of the others."""
        valid = per_window[len(calls) % 5]
        bad = ~valid if outside == "wrong" else np.zeros_like(valid)
        bad[np.flatnonzero(valid)[:count]] = True
        calls.append(1)
        bad = torch.from_numpy(bad.reshape(probabilities.shape[2:]))
        return torch.where(bad, swap(probabilities), probabilities)

    racers("openvino", 0.1, spoil)
    label, _ = auto(bright, torch.float32, samples=samples)
    assert label == ("openvino fp32" if taken else "torch fp32")


def test_auto_leaves_out_an_engine_that_breaks_while_it_runs(racers, bright):
    def broken(probabilities):
        raise RuntimeError("unknown instruction")

    racers("openvino", 0.1, broken)
    label, lines = auto(bright)
    assert label == "torch bf16"
    assert "unknown instruction" in lines[0]


def test_auto_goes_to_fp32_where_nothing_agrees_at_bf16(racers, bright):
    racers("openvino", 0.5, swap, only="bf16")
    racers("torch", 1.0, swap, only="bf16")
    assert auto(bright)[0] == "openvino fp32"
    racers("openvino", 0.5, swap)
    assert auto(bright)[0] == "torch fp32"


def test_auto_takes_the_same_engine_again_where_two_are_about_as_fast(racers, bright):
    racers("openvino", 0.5)
    racers("onnx", 0.45)
    assert auto(bright)[0] == "openvino bf16"
    racers("onnx", 0.4)
    assert auto(bright)[0] == "onnx bf16"


@pytest.mark.parametrize(
    ("megapixels", "label"), [(63, "torch"), (64, "openvino"), (999, "openvino"), (1000, "torch-compiled")]
)
def test_auto_measures_only_what_can_pay(racers, bright, megapixels, label):
    racers("openvino", 0.5)
    racers("torch-compiled", 0.1)
    ENGINES["openvino"].pays_from_mpx, ENGINES["onnx"].pays_from_mpx = 64, 64
    ENGINES["torch-compiled"].pays_from_mpx = compiled.CompiledEngine.pays_from_mpx
    chosen, lines = auto(bright, megapixels=megapixels)
    assert chosen == f"{label} bf16"
    assert bool(lines) == (megapixels >= 64)


def test_auto_is_torch_where_nothing_is_valid(racers, bright):
    racers("openvino", 0.5)
    assert auto(bright, samples=[]) == ("torch bf16", [])


@pytest.mark.parametrize("name", ["torch", "openvino", "onnx"])
def test_an_engine_that_was_asked_for_is_not_measured(bright, name):
    need(name)
    said = []
    choice = choose_engine(name, bright, CPU, torch.float32, fields, 5000, say=said.append)
    assert (str(choice), said) == (f"{name} fp32", [])


def test_a_label_makes_the_same_engine_again():
    assert read_label("openvino bf16") == ("openvino", torch.bfloat16)
    assert read_label("openvino-int8 fp32") == ("openvino-int8", torch.float32)


# ---- windows to measure on ----


def open_scene(folder, pixels: np.ndarray, valid: np.ndarray):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        how = {"driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype.name, "tiled": True,
               "blockxsize": 64, "blockysize": 64}  # fmt: skip
        with rasterio.open(folder / "scene.tif", "w", height=valid.shape[0], width=valid.shape[1], **how) as scene:
            scene.write(pixels)
            scene.write_mask(valid)
    return open_image(folder / "scene.tif")


def test_samples_are_valid_spread_and_the_same_each_time(tmp_path):
    rows, cols = np.mgrid[:900, :700]
    pixels = np.stack([rows // 4, cols // 4, np.full_like(rows, 9)]).astype(np.uint8)
    valid = rows + cols > 500
    with open_scene(tmp_path, pixels, valid) as image:
        samples = trial_windows(image, 128, (1.0, 2.0, 77.0))
        again = trial_windows(image, 128, (1.0, 2.0, 77.0))
    assert len(samples) == 6
    for (found, there), (found_again, _) in zip(samples, again, strict=True):
        np.testing.assert_array_equal(found, found_again)
        assert (found.shape, found.dtype, there.shape) == ((3, 128, 128), np.uint8, (128, 128))
        assert there.mean() >= 0.5
        assert (found[2, there] == 9).all()
        assert (found[2, ~there] == 77).all()
    middles = np.array([found[:2, 64, 64] for found, _ in samples], int) * 4
    apart = np.abs(middles[:, None] - middles).max(2)[~np.eye(6, dtype=bool)]
    assert apart.min() > 64
    assert apart.max() > 400


@pytest.mark.parametrize("shape", [(1, 1), (40, 700), (128, 128)], ids=str)
def test_samples_of_a_small_scene_are_the_scene(tmp_path, shape):
    with open_scene(tmp_path, noise(3, *shape), np.ones(shape, bool)) as image:
        samples = trial_windows(image, 128, (0.0,) * 3)
    assert samples
    assert all(there.shape == tuple(min(128, side) for side in shape) for _, there in samples)


def test_a_scene_with_little_or_nothing_valid(tmp_path):
    valid = np.zeros((400, 400), bool)
    with open_scene(tmp_path, noise(3, 400, 400), valid) as image:
        assert trial_windows(image, 128, (0.0,) * 3) == []
    valid[100:130, 100:300] = True
    with open_scene(tmp_path, noise(3, 400, 400), valid) as image:
        samples = trial_windows(image, 128, (0.0,) * 3)
    shares = [there.mean() for _, there in samples]
    assert 0 < len(samples) <= 6
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > 0


def test_int8_is_made_with_one_window_of_each_of_crops_spread_over_all(tmp_path, bright):
    crops = []
    for number in range(70):
        (tmp_path / str(number)).mkdir()
        with open_scene(
            tmp_path / str(number), np.full((3, 40, 50), number, np.uint8), np.ones((40, 50), bool)
        ) as crop:
            crops.append(Path(crop.path))
    windows = list(calibration_windows(crops, tmp_path / "no scene", bright))
    assert {window.shape for window in windows} == {(3, 40, 50)}
    numbers = [window[0, 0, 0] for window in windows]
    assert 16 < len(numbers) <= 32
    assert set(np.diff(numbers)) == {3}
    assert len(list(calibration_windows(crops[:5], tmp_path / "no scene", bright))) == 5
    assert len(list(calibration_windows([], crops[0], bright))) == 1
    with open_scene(tmp_path, noise(3, 520, 900), np.ones((520, 900), bool)):
        pass
    assert len(list(calibration_windows([tmp_path / "scene.tif"], tmp_path / "no scene", bright))) == 1
    calibration_windows([tmp_path / "no crop"], tmp_path / "no scene", bright)  # not opened before it is needed


def test_int8_is_not_made_with_windows_of_other_bands_or_types(tmp_path, bright):
    with open_scene(tmp_path, noise(1, 40, 50), np.ones((40, 50), bool)) as grey:
        pass
    with pytest.raises(CheckpointError, match="trained on 3 bands, but scene.tif has 1"):
        list(calibration_windows([], Path(grey.path), bright))
    with pytest.raises(CheckpointError, match="trained on pixels of uint16, but .*scene.tif has uint8"):
        list(
            calibration_windows(
                [Path(grey.path)], tmp_path, replace(bright, spec=replace(bright.spec, bands=1), dtype="uint16")
            )
        )


# ---- in a prediction ----


def test_an_engine_that_has_begun_a_map_goes_on_with_it(tmp_path, monkeypatch, bright):
    with open_scene(tmp_path, noise(3, 300, 200), np.ones((300, 200), bool)):
        pass
    (tmp_path / "best.pt").touch()
    labels = iter(["torch bf16", "onnx fp32"])
    monkeypatch.setattr(prediction, "choose_engine", lambda *args, **how: chosen(next(labels)))
    settings = PredictSettings(window=64, overlap=16)
    job = Job(tmp_path / "best.pt", tmp_path / "scene.tif", tmp_path / "map.tif", settings, device="cpu")
    assert [prepare(job, bright).engine for _ in range(2)] == ["torch bf16"] * 2
    assert prepare(replace(job, settings=replace(settings, overlap=8)), bright).engine == "onnx fp32"


def chosen(label: str) -> SimpleNamespace:
    """A choice that nobody made."""
    return SimpleNamespace(engine=SimpleNamespace(label=label))


def test_auto_is_given_the_pixels_of_all_views(tmp_path, monkeypatch, bright):
    with open_scene(tmp_path, noise(3, 300, 200), np.ones((300, 200), bool)):
        pass
    (tmp_path / "best.pt").touch()
    given = []

    def note(name, checkpoint, device, precision, look, megapixels, **how):
        given.append((name, megapixels, len(look()), look()[0][0].shape))
        return chosen("torch fp32")

    monkeypatch.setattr(prediction, "choose_engine", note)
    settings = PredictSettings(window=100, overlap=0, tta="flips", engine="onnx")
    job = Job(tmp_path / "best.pt", tmp_path / "scene.tif", tmp_path / "map.tif", settings, device="cpu")
    prepare(job, bright)
    assert given == [("onnx", pytest.approx(3 * 2 * 4 * 0.01), 6, (3, 100, 100))]
