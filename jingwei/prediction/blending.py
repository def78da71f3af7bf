"""Overlapping windows of a scene, blended into labels: the arithmetic of `pipeline.py`, done where the network is.

The class probabilities of windows are weighted by a smooth bump that nearly vanishes at a window's border, so that no
seam can show. Only what overlaps is kept: along a band the columns that the next window shares, between bands the rows.

Bands can be computed apart from each other, by runs that know nothing of each other: what a band needs of the windows
above it is computed again where it is not at hand, and comes out the same to the last bit.
"""

import torch
from torch import Tensor

from jingwei.prediction.bands import Bands

LEAST_WEIGHT = 1e-3  # the least weight of a pixel: at a scene's border a window's edge is all there is
# Of what bands hand down to each other: half the memory, and its rounding (1 in 2,000) is below that of bf16.
CARRIED = torch.float16
CARRIED_SHARE = 4  # what is handed down stays on a GPU while it takes at most one part in so many of its free memory


class Blender:
    """Adds up the windows of bands, band by band, left to right, and gives the pixels that each of them finishes.

    All stays on the device, and nothing waits for it. `temperature` calibrates confidence and probabilities, see
    `_weighed`; labels don't depend on it. `kinds` are those of the outputs: labels, probabilities, confidence.
    """

    def __init__(
        self, bands: Bands, first: int, classes: int, device: torch.device, temperature: float, kinds: tuple[str, ...]
    ):
        self.bands, self.first, self.device, self.temperature, self.kinds = bands, first, device, temperature, kinds
        size = classes, max(map(bands.shared_below, range(len(bands)))), bands.width
        self._carry = torch.zeros(size, dtype=CARRIED, device=_with_room(device, size))
        self._shared: Tensor | None = None
        self._following = -1, 0  # the window that shares those columns: its band and column
        bump = bump_of(*bands.window_shape)
        self._bump = (bump.T if bands.turned else bump).to(device)

    def add(self, number: int, col: int, end: int, probabilities_CHW: Tensor | None) -> dict[str, Tensor] | None:
        """What the window at `col` of band `number` finishes: the columns up to `end`, where the next one starts.

        Values, uint8, of each of the `kinds`, valid or not. A window without a valid pixel has no probabilities, and
        finishes nothing: all pixels that it shares are invalid too. Windows may be left out, as they are of a part of a
        scene (see `parts.py`): then what is given for pixels that they reach too means nothing.
        """
        if probabilities_CHW is None:
            self._shared = None
            return None
        weighted = probabilities_CHW * self._bump
        if self._shared is not None and (number, col) == self._following:
            weighted[:, :, : self._shared.shape[2]] += self._shared
        self._shared, self._following = weighted[:, :, end - col :], (number, end)
        complete = weighted[:, :, : end - col]
        carried = self.bands.shared_below(number - 1) if number > self.first else 0
        complete[:, :carried] += self._carry[:, :carried, col:end].to(self.device)
        height = self.bands.ends[number] - self.bands.rows[number]
        below = complete[:, height:]
        self._carry[:, : below.shape[1], col:end] = below.to(self._carry.device)
        return self._decided(complete[:, :height])

    def _decided(self, sums_CHW: Tensor) -> dict[str, Tensor]:
        decided = {"labels": _likeliest(sums_CHW)}
        if len(self.kinds) > 1:
            chances = _weighed(sums_CHW, self.temperature)
            total = chances.sum(0)
        if "probabilities" in self.kinds:
            decided["probabilities"] = (chances * (255 / total)).round().to(torch.uint8)
        if "confidence" in self.kinds:
            decided["confidence"] = (chances.amax(0) * (100 / total)).round().to(torch.uint8)
        return decided


def _with_room(device: torch.device, size: tuple[int, ...]) -> torch.device:
    """Where what bands hand down is kept: the device, or the host where that would crowd a GPU."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    values = size[0] * size[1] * size[2]
    return device if CARRIED_SHARE * CARRIED.itemsize * values <= free else torch.device("cpu")


def _weighed(sums_CHW: Tensor, temperature: float) -> Tensor:
    """Blended probabilities, of any common factor, at a temperature: softmax(log p / temperature), of any factor.

    Of one window that is softmax(logits / temperature). It is taken of the blend, not of the windows that go into it,
    because so no label changes: the order of the classes stays.
    """
    return sums_CHW if temperature == 1 else (sums_CHW / sums_CHW.sum(0)).pow(1 / temperature)


def _likeliest(scores_CHW: Tensor) -> Tensor:
    """The class of the highest score of each pixel, uint8 HW; of equal ones the first.

    Class by class: on a CPU, torch's argmax over the first axis takes ten times as long.
    """
    best = scores_CHW[0].clone()
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for number in range(1, len(scores_CHW)):
        labels.masked_fill_(scores_CHW[number] > best, number)
        torch.maximum(best, scores_CHW[number], out=best)
    return labels


def bump_of(height: int, width: int) -> Tensor:
    """The weight of a window's pixels: a squared sine along both axes, HW, at least LEAST_WEIGHT."""
    sines = [torch.sin(torch.pi * (torch.arange(n) + 0.5) / n) ** 2 for n in (height, width)]
    return torch.outer(*sines).clamp(min=LEAST_WEIGHT)
