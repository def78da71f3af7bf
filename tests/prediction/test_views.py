"""Test-time augmentation: views are averaged the right way round, through every engine."""

import numpy as np
import pytest
import torch
from small_engines import CLASSES, CPU, make_checkpoint, noise, ready
from torch import Tensor

from jingwei.prediction.engines.base import Engine
from jingwei.prediction.engines.views import Viewer
from jingwei.prediction.views import TTA

pytestmark = pytest.mark.usefixtures("one_thread")


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
