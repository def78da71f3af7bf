"""Engines: every one gives torch's probabilities, or says why it can't run."""

import sys

import numpy as np
import pytest
import torch
from small_engines import (
    CLASSES,
    CPU,
    ENCODERS,
    PACKAGES,
    Small,
    bare_checkpoint,
    expected,
    fields,
    make_checkpoint,
    need,
    noise,
    ready,
)
from torch import Tensor, nn

from jingwei.errors import SettingError
from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint
from jingwei.models.families import MODELS
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.engines.choosing import choose_engine
from jingwei.prediction.engines.registry import make_engine

pytestmark = pytest.mark.usefixtures("one_thread")
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
