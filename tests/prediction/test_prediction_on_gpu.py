"""Prediction on a GPU: what is fetched late, blended there and carried there is what a CPU gives.

They need nothing but pytest: `benchmarks/gpu.py` runs them on machines that have little else.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from jingwei.legend import JINGWEI
from jingwei.models.checkpoints import Checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction import blending
from jingwei.prediction.bands import Bands
from jingwei.prediction.engines.eager import TorchEngine
from jingwei.prediction.engines.fitting_batches import FittingBatches
from jingwei.prediction.engines.views import Viewer
from jingwei.prediction.pipeline import predicted_bands

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
KINDS = ("labels", "probabilities", "confidence")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    spec, mean, std = ModelSpec("attention_unet", "resnet18", 3, len(JINGWEI)), (120.0,) * 3, (40.0,) * 3
    weights = build_model(spec, mean, std).state_dict()
    return Checkpoint(spec, "uint8", mean, std, JINGWEI, {}, weights)


def engine_on(device: str, checkpoint: Checkpoint) -> TorchEngine:
    return TorchEngine(checkpoint, torch.device(device), torch.float32)


def predicted(engine: TorchEngine, shape=(700, 500), dtype="uint8", **how) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (3, 50, 50)), 14, 1), 14, 2)[:, : shape[0], : shape[1]]
    pixels = (pixels + rng.integers(0, 9, pixels.shape)).clip(0, 255).astype(dtype)
    valid = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) > 200
    bands = Bands.of(shape, 256, 64)
    whole = {kind: np.zeros((len(JINGWEI), *shape) if kind == "probabilities" else shape, np.uint8) for kind in KINDS}
    network, fill = Viewer(engine, "none"), np.full(3, 120.0)

    def read(window):
        return pixels[:, *window.slices], valid[window.slices]

    for band in predicted_bands(read, bands, range(len(bands)), network, len(JINGWEI), fill, kinds=KINDS, **how):
        for kind, values in band.values.items():
            whole[kind][..., *bands.window(band.number).slices] = values
    return whole


class Waited(TorchEngine):
    """The engine without anything under way: each batch is waited for."""

    def _build(self, *how) -> None:
        super()._build(*how)
        self.in_flight, self._download = 0, None

    def fetch(self, values: torch.Tensor) -> Callable[[], np.ndarray]:
        torch.cuda.synchronize()
        return super().fetch(values)


@pytest.mark.parametrize("how", [{"batch_size": 1}, {"batch_size": 3, "readers": 2}], ids=str)
def test_batches_under_way_give_what_batches_that_are_waited_for_give(checkpoint, how):
    expected = predicted(Waited(checkpoint, torch.device("cuda"), torch.float32), **how)
    for _ in range(3):
        found = predicted(engine_on("cuda", checkpoint), **how)
        for kind in KINDS:
            np.testing.assert_array_equal(found[kind], expected[kind])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_map_is_that_of_a_cpu(checkpoint, dtype):
    here, there = (predicted(engine_on(device, checkpoint), dtype=dtype, batch_size=2) for device in ("cpu", "cuda"))
    assert (here["labels"] == there["labels"]).mean() > 0.995  # random weights: many pixels are near a tie
    assert np.abs(here["probabilities"].astype(int) - there["probabilities"]).max() <= 3


def test_what_bands_hand_down_may_lie_on_the_host(checkpoint, monkeypatch):
    expected = predicted(engine_on("cuda", checkpoint), batch_size=2)
    monkeypatch.setattr(blending, "_with_room", lambda device, size: torch.device("cpu"))
    found = predicted(engine_on("cuda", checkpoint), batch_size=2)
    for kind in KINDS:
        np.testing.assert_array_equal(found[kind], expected[kind])


def test_a_batch_that_memory_does_not_hold_is_halved():
    given = []

    def network(pixels: np.ndarray) -> torch.Tensor:
        given.append(len(pixels))
        size = len(pixels) * torch.cuda.get_device_properties(0).total_memory // 3
        torch.empty(size, dtype=torch.uint8, device="cuda")
        return torch.from_numpy(pixels)

    pixels = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
    np.testing.assert_array_equal(FittingBatches(network, 1)(pixels).numpy(), pixels)
    assert given[:2] == [8, 4]
    assert set(given[2:]) <= {1, 2}
