"""Engines: each gives the probabilities of torch at fp32, and only one that gives its labels is taken."""

import functools
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
from torch import Tensor, nn

from jingwei.errors import SettingError
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint
from jingwei.models.families import MODELS
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction import scene as prediction
from jingwei.prediction.engines import choosing, compiled
from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.choosing import calibration_windows, choose_engine, read_label, trial_windows
from jingwei.prediction.engines.eager import TorchEngine
from jingwei.prediction.engines.registry import ENGINES, make_engine
from jingwei.prediction.engines.views import Viewer
from jingwei.prediction.job import Job
from jingwei.prediction.scene import prepare
from jingwei.prediction.settings import PredictSettings
from jingwei.prediction.views import TTA
from jingwei.raster.reading import open_image

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
CLASSES = len(JINGWEI)
PACKAGES = {"torch": ["torch"], "openvino": ["openvino"], "onnx": ["onnx", "onnxruntime"],
            "openvino-int8": ["openvino", "nncf"], "torch-compiled": ["torch"]}  # fmt: skip

ENCODERS = {
    "fcn8": "vgg16", "segnet": "vgg16", "pspdensenet": "densenet121", "unet": "", "enet": "", "segformer": "",
    "vit": "vit_tiny_patch16_224",
}  # fmt: skip


def need(name: str) -> None:
    """Skips a test where an engine's packages are not installed."""
    for package in PACKAGES[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def make_checkpoint(family: str = "attention_unet") -> Checkpoint:
    """A small network with random weights."""
    torch.manual_seed(0)
    backbone = {"attention_unet": "mobilenetv3_small_050", "deeplabv3": "resnet18"}[family]
    spec = ModelSpec(family, backbone, 3, CLASSES, output_stride=16)
    mean, std = (120.0,) * 3, (60.0,) * 3
    return Checkpoint(spec, "uint8", mean, std, JINGWEI, {}, build_model(spec, mean, std).state_dict())


def bare_checkpoint(bands: int = 3) -> Checkpoint:
    """A checkpoint of a network that a test puts in the place of Checkpoint.build."""
    spec = ModelSpec("attention_unet", "resnet18", bands, CLASSES)
    return Checkpoint(spec, "uint8", (100.0,) * bands, (50.0,) * bands, JINGWEI, {}, {})


@functools.cache
def ready(name: str, family: str) -> tuple[Checkpoint, Engine]:
    """A small network, and an engine of it at fp32: made once for all tests that only run it."""
    need(name)
    checkpoint = make_checkpoint(family)
    torch.set_num_threads(1)
    return checkpoint, make_engine(name, checkpoint, CPU, torch.float32)


class Small(nn.Module):
    """Two convolutions behind the normalisation that every network here begins with: exported in no time."""

    def __init__(self, bands: int, mean: float, std: float):
        super().__init__()
        torch.manual_seed(0)
        self.mean, self.std = mean, std
        self.layers = nn.Sequential(nn.Conv2d(bands, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, CLASSES, 3, padding=1))

    def forward(self, pixels: Tensor) -> Tensor:
        return 3 * self.layers((pixels - self.mean) / self.std)


class Bright(nn.Module):
    """Classes by brightness: class k is nearest to 30 + 50 k. Sure of itself, so that labels can be compared."""

    def __init__(self):
        super().__init__()
        self.blur = nn.Conv2d(3, 8, 3, padding=1, padding_mode="replicate", bias=False)
        self.head = nn.Conv2d(8, CLASSES, 1)
        centres = (30 + 50 * torch.arange(CLASSES).float()) / 255
        with torch.no_grad():
            self.blur.weight.fill_(1 / 27)
            self.head.weight[:] = (100 * centres / 4).view(-1, 1, 1, 1)
            self.head.bias[:] = -100 * centres**2

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.blur(pixels / 255))


@pytest.fixture
def bright(monkeypatch) -> Checkpoint:
    """A checkpoint of Bright."""
    monkeypatch.setattr(Checkpoint, "build", lambda self: Bright().eval())
    return bare_checkpoint()


def noise(*shape: int, dtype: str = "uint8", low: int = 0, high: int = 255) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(low, high, shape).astype(dtype)


def fields(count: int = 4, side: int = 64, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Samples for Bright: fields in the brightness of a class, with a little noise, a corner of them invalid."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        labels = np.kron(rng.integers(0, CLASSES, (side // 16, side // 16)), np.ones((16, 16), int))
        pixels = (30 + 50 * labels + rng.integers(-8, 9, (3, side, side))).clip(0, 255).astype(np.uint8)
        valid = np.add.outer(np.arange(side), np.arange(side)) >= side // 4
        samples.append((pixels, valid))
    return samples


def expected(checkpoint: Checkpoint, pixels_BCHW: np.ndarray) -> np.ndarray:
    """The network itself, at fp32."""
    with torch.no_grad():
        return checkpoint.build()(torch.from_numpy(pixels_BCHW.astype(np.float32))).softmax(1).numpy()


# ---- the same probabilities as torch at fp32 ----


SIZES = {"attention_unet": [(64, 64), (33, 70), (1, 1), (70, 33)], "deeplabv3": [(33, 70)]}


@pytest.mark.parametrize("name", ["torch", "openvino", "onnx"])
@pytest.mark.parametrize("family", list(SIZES))
def test_any_size_gives_the_networks_probabilities(name, family):
    checkpoint, engine = ready(name, family)
    assert engine.label == f"{name} fp32"
    for shape in SIZES[family]:
        pixels = noise(1, 3, *shape)
        probabilities = engine(pixels)
        assert (probabilities.dtype, probabilities.device) == (torch.float32, CPU)
        np.testing.assert_allclose(probabilities.numpy(), expected(checkpoint, pixels), atol=1e-4)


@pytest.mark.parametrize("name", ["torch", "openvino", "onnx"])
@pytest.mark.parametrize("bands", [1, 7])
def test_all_types_and_band_counts_are_taken(monkeypatch, name, bands):
    need(name)
    monkeypatch.setattr(Checkpoint, "build", lambda self: Small(bands, 20000, 15000).eval())
    checkpoint = bare_checkpoint(bands)
    engine = make_engine(name, checkpoint, CPU, torch.float32)
    ranges = {"uint8": (0, 255), "uint16": (0, 60000), "int16": (-20000, 32000), "float32": (-9000, 40000)}
    for dtype, (low, high) in ranges.items():
        pixels = noise(2, bands, 64, 32, dtype=dtype, low=low, high=high)  # of sides that our networks don't pad
        np.testing.assert_allclose(engine(pixels).numpy(), expected(checkpoint, pixels), atol=1e-4, err_msg=dtype)


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_bf16_is_close_and_normalises_at_fp32(monkeypatch, name):
    need(name)
    # In bf16, 10000 and 10020 are the same.
    monkeypatch.setattr(Checkpoint, "build", lambda self: Small(3, 10000, 50).eval())
    pixels = noise(1, 3, 64, 64, dtype="uint16", low=9900, high=10100)
    probabilities = make_engine(name, bare_checkpoint(), CPU, torch.bfloat16)(pixels).numpy()
    assert np.abs(probabilities - expected(bare_checkpoint(), pixels)).max() < 0.03


@pytest.mark.parametrize("name", ["torch", "openvino", "onnx"])
def test_a_smaller_last_batch_and_a_second_run_change_nothing(name):
    _, engine = ready(name, "attention_unet")
    pixels = noise(5, 3, 64, 64)
    whole = engine(pixels).numpy()
    assert whole.shape == (5, CLASSES, 64, 64)
    in_twos = np.concatenate([engine(pixels[first : first + 2]).numpy() for first in (0, 2, 4)])
    np.testing.assert_allclose(in_twos, whole, atol=1e-5)
    np.testing.assert_array_equal(engine(pixels).numpy(), whole)


@pytest.mark.parametrize("name", ["torch", "openvino", "onnx"])
def test_an_engine_made_again_gives_the_same_bytes(bright, name):
    need(name)
    pixels = noise(3, 3, 64, 64)
    first, second = (make_engine(name, bright, CPU, torch.bfloat16)(pixels).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_answers_stay_as_they_were_when_the_engine_goes_on(name):
    _, engine = ready(name, "attention_unet")
    first = engine(noise(1, 3, 64, 64))
    before = first.clone()
    engine(noise(1, 3, 64, 64) // 2)
    assert torch.equal(first, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["openvino", "onnx"])
@pytest.mark.parametrize("family", list(MODELS))
def test_every_family_of_networks_can_be_taken(name, family):
    need(name)
    torch.manual_seed(0)
    spec = ModelSpec(family, ENCODERS.get(family, "resnet18"), 3, CLASSES)
    mean, std = (120.0,) * 3, (60.0,) * 3
    checkpoint = Checkpoint(spec, "uint8", mean, std, JINGWEI, {}, build_model(spec, mean, std).state_dict())
    engine = make_engine(name, checkpoint, CPU, torch.float32)
    for shape in [(64, 64), (90, 70), (1, 1)]:
        pixels = noise(1, 3, *shape)
        np.testing.assert_allclose(engine(pixels).numpy(), expected(checkpoint, pixels), atol=1e-4)


@pytest.mark.slow
def test_compiled_gives_the_networks_probabilities():
    checkpoint, engine = ready("torch-compiled", "attention_unet")
    for shape in [(3, 3, 48, 64), (2, 3, 64, 48), (1, 3, 33, 70), (1, 3, 1, 1)]:
        pixels = noise(*shape)
        np.testing.assert_allclose(engine(pixels).numpy(), expected(checkpoint, pixels), atol=1e-4)


def test_int8_is_made_from_windows_and_gives_the_labels(bright, capfd):
    need("openvino-int8")
    lines = []
    train = [pixels for pixels, _ in fields(8, seed=1)]
    choice = choose_engine(
        "openvino-int8", bright, CPU, torch.float32, fields, 1, calibration=iter(train), say=lines.append
    )
    assert str(choice) == "openvino-int8 fp32"
    assert choice.agreement[str(choice)] >= 0.99
    assert [line.split(":")[0] for line in lines] == ["engine openvino-int8 fp32"]
    pixels = fields(1)[0][0][None]
    assert 0 < np.abs(choice.engine(pixels).numpy() - expected(bright, pixels)).max() < 0.3, "no int8 in it"
    assert capfd.readouterr().out == ""


def test_int8_made_from_other_windows_is_refused(bright):
    need("openvino-int8")
    dark = [np.full((3, 64, 64), 3, np.uint8)]
    with pytest.raises(SettingError, match=r"`engine` openvino-int8: only [\d.]+% .* less than 99%: take `engine`"):
        choose_engine("openvino-int8", bright, CPU, torch.float32, fields, 1, calibration=dark, say=lambda line: None)


# ---- what can't run ----


@pytest.mark.parametrize("name", ["openvino", "onnx", "openvino-int8"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch, bright, name):
    need(name)
    for package in PACKAGES[name]:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(SettingError) as refused:
                make_engine(name, bright, CPU, torch.float32, [noise(3, 64, 64)])
        assert str(refused.value) == (
            f"`engine` {name}: needs the package {package}, which is not installed: "
            "run pip install -e '.[cpu]', or take `engine` torch"
        )


def test_torch_compile_without_a_compiler_is_refused_at_once(monkeypatch, bright):
    def nothing_there(*args, **kwargs):
        raise RuntimeError("no g++")

    monkeypatch.setattr(torch, "compile", lambda function, **how: nothing_there)
    with pytest.raises(SettingError, match=r"`engine` torch-compiled: .*RuntimeError.*: install a C\+\+ compiler"):
        make_engine("torch-compiled", bright, CPU, torch.float32)


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_a_network_that_an_engine_can_not_take_is_refused(monkeypatch, name):
    need(name)

    class Odd(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return torch.linalg.eigvals(pixels).real.unsqueeze(3) + pixels.mean()

    monkeypatch.setattr(Checkpoint, "build", lambda self: Odd())
    with pytest.raises(SettingError, match=f"`engine` {name}: can't run attention_unet over .* take `engine` torch"):
        make_engine(name, make_checkpoint(), CPU, torch.float32)(noise(1, 3, 64, 64))


def test_unknown_names_and_other_devices_are_refused():
    checkpoint = make_checkpoint()
    with pytest.raises(
        SettingError, match="`engine` tensorrt: no such engine: known are auto, torch, torch-compiled, "
    ):
        make_engine("tensorrt", checkpoint, CPU, torch.float32)
    for name in ("openvino", "onnx", "openvino-int8"):
        with pytest.raises(SettingError, match=f"`engine` {name}: runs on CPUs, not on cuda: take `engine` torch"):
            make_engine(name, checkpoint, torch.device("cuda"), torch.float32)


def test_openvino_reports_to_nobody(bright):
    need("openvino")
    make_engine("openvino", bright, CPU, torch.float32)
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__.endswith("telemetry_stub")
    assert "openvino_telemetry" not in sys.modules


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


def test_int8_is_made_with_one_window_of_each_of_crops_spread_over_all(tmp_path):
    crops = []
    for number in range(70):
        (tmp_path / str(number)).mkdir()
        with open_scene(
            tmp_path / str(number), np.full((3, 40, 50), number, np.uint8), np.ones((40, 50), bool)
        ) as crop:
            crops.append(Path(crop.path))
    windows = list(calibration_windows(crops, tmp_path / "no scene", (0.0,) * 3))
    assert {window.shape for window in windows} == {(3, 40, 50)}
    numbers = [window[0, 0, 0] for window in windows]
    assert 16 < len(numbers) <= 32
    assert set(np.diff(numbers)) == {3}
    assert len(list(calibration_windows(crops[:5], tmp_path / "no scene", (0.0,) * 3))) == 5
    assert len(list(calibration_windows([], crops[0], (0.0,) * 3))) == 1
    with open_scene(tmp_path, noise(3, 520, 900), np.ones((520, 900), bool)):
        pass
    assert len(list(calibration_windows([tmp_path / "scene.tif"], tmp_path / "no scene", (0.0,) * 3))) == 1
    calibration_windows([tmp_path / "no crop"], tmp_path / "no scene", (0.0,) * 3)  # not opened before it is needed


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


# ---- views ----


class Placed(Engine):
    """An engine whose answer depends on brightness and on the place in the window: no symmetry at all."""

    name = "placed"

    def _build(self, checkpoint, precision, calibration):
        self.shapes = []

    def run(self, pixels_BCHW: Tensor) -> Tensor:
        self.shapes.append(tuple(pixels_BCHW.shape[2:]))
        return torch.from_numpy(np.stack([placed(window) for window in pixels_BCHW.double().numpy()])).float()


def placed(pixels: np.ndarray) -> np.ndarray:
    """Raw pixels CHW -> probabilities CHW."""
    rows, cols = np.mgrid[: pixels.shape[1], : pixels.shape[2]]
    classes = np.arange(CLASSES)[:, None, None]
    logits = 2 * np.sin(rows / 9 + classes) + np.cos(cols / 13 - 2 * classes) + pixels.mean(0) / 255 * (classes - 1)
    powers = np.exp(logits)
    return powers / powers.sum(0)


def resized(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, by pixel centres, CHW."""
    for axis, side in ((1, height), (2, width)):
        length = values.shape[axis]
        at = ((np.arange(side) + 0.5) * length / side - 0.5).clip(0, length - 1)
        before = np.floor(at).astype(int)
        share = (at - before).reshape((-1, 1) if axis == 1 else (-1,))
        after = np.minimum(before + 1, length - 1)
        values = np.take(values, before, axis) * (1 - share) + np.take(values, after, axis) * share
    return values


ONE, FLIPS = [(0, 0)], [(0, 0), (0, 1), (2, 0), (2, 1)]
D4 = [(turns, mirrored) for turns in range(4) for mirrored in (0, 1)]
REFERENCE = {"none": ([1], ONE), "flips": ([1], FLIPS), "d4": ([1], D4), "scales": ([0.75, 1, 1.25], ONE),
             "flips+scales": ([0.75, 1, 1.25], FLIPS), "d4+scales": ([0.75, 1, 1.25], D4)}  # fmt: skip
SCALED = {64: {0.75: 64, 1.25: 96}, 96: {0.75: 64, 1.25: 128}, 70: {0.75: 64, 1.25: 96}, 128: {0.75: 96, 1.25: 160},
          5: {0.75: 32, 1.25: 32}}  # fmt: skip


def test_all_views_are_tested_here_or_with_the_shifted_ones():
    assert set(TTA) == {*REFERENCE, "shift"}


@pytest.mark.parametrize("tta", list(REFERENCE))
@pytest.mark.parametrize("shape", [(128, 96), (70, 128), (5, 96)], ids=str)
def test_views_are_averaged_the_right_way_round(tta, shape):
    pixels = noise(2, 3, *shape, dtype="uint16", high=255)
    engine = Placed(make_checkpoint(), CPU, torch.float32)
    found = Viewer(engine, tta)(pixels)
    scales, turns = REFERENCE[tta]
    assert len(engine.shapes) == len(scales) * len(turns)
    for window, answer in zip(pixels.astype(float), found.numpy(), strict=True):
        total = 0
        for scale in scales:
            sides = shape if scale == 1 else [SCALED[side][scale] for side in shape]
            view = resized(window, *sides)
            for quarters, mirrored in turns:
                shown = np.rot90(view[:, :, ::-1] if mirrored else view, quarters, (1, 2))
                seen = np.rot90(placed(shown), -quarters, (1, 2))
                total = total + resized(seen[:, :, ::-1] if mirrored else seen, *shape)
        np.testing.assert_allclose(answer, total / len(scales) / len(turns), atol=2e-5)


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_views_are_the_same_through_every_engine(name):
    pixels = noise(2, 3, 64, 33)
    ours, theirs = (Viewer(ready(each, "attention_unet")[1], "d4+scales")(pixels).numpy() for each in ("torch", name))
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_what_comes_out_can_be_added_to():
    _, engine = ready("torch", "attention_unet")
    for network in (engine, Viewer(engine, "none"), Viewer(engine, "flips")):
        answer = network(noise(1, 3, 32, 32))
        answer += 1  # an inference tensor would refuse
        assert not answer.requires_grad
