"""Shifted views: what single pixels say stays as it is, and what hangs on where a window lies is averaged."""

import numpy as np
import pytest
import torch

from jingwei.prediction.engines.views import Viewer
from jingwei.prediction.views import SHIFTS, STEP, TTA


class Stub:
    """An engine: brightness as the first class's score, and how far a pixel lies from its window's start as others'."""

    def load(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels)

    def run(self, pixels: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(pixels.shape[2]).view(1, 1, -1, 1).expand(len(pixels), 1, *pixels.shape[2:])
        cols = torch.arange(pixels.shape[3]).view(1, 1, 1, -1).expand(len(pixels), 1, *pixels.shape[2:])
        return torch.cat([pixels[:, :1], rows.float(), cols.float()], 1)


@pytest.mark.parametrize("shape", [(1, 1), (33, 70), (64, 64)])
def test_each_pixel_comes_back_to_its_place_and_is_seen_at_every_phase(shape):
    pixels = np.random.default_rng(0).random((2, 3, *shape), np.float32)
    answer = Viewer(Stub(), "shift")(pixels).numpy()
    np.testing.assert_allclose(answer[:, 0], pixels[:, 0], rtol=1e-6)
    rows, cols = (sum(shift[axis] for shift in SHIFTS) / len(SHIFTS) for axis in (0, 1))
    np.testing.assert_allclose(answer[0, 1], np.arange(shape[0])[:, None] + np.full(shape, rows))
    np.testing.assert_allclose(answer[0, 2], np.arange(shape[1]) + np.full(shape, cols))


def test_shifts_lie_within_a_step_and_differ_in_rows_and_columns():
    assert all(0 <= side < STEP for shift in SHIFTS for side in shift)
    assert len(TTA["shift"]) == len({row for row, _ in SHIFTS}) == len({col for _, col in SHIFTS})
