"""A canvas that objects are drawn on, one over the other: what stands on each pixel, how high, in which colour."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, sin
from typing import NamedTuple

import cv2
import numpy as np

from jingwei.synthetic.noise import noise
from jingwei.system.compiled import compiled

SUBPIXEL = 4  # bits behind the point of the corners that OpenCV gets

Color = tuple[float, float, float]


class Block(NamedTuple):
    """A rectangle of land between streets: its middle and half its sides, px, on the axes of the streets."""

    x: float
    y: float
    half_x: float
    half_y: float

    def shrunk(self, margin: float) -> "Block":
        """The block without a strip of `margin` px along all its sides."""
        return self._replace(half_x=self.half_x - margin, half_y=self.half_y - margin)

    def on_its_side(self) -> "Block":
        """The block with the two axes changed for each other."""
        return Block(self.y, self.x, self.half_y, self.half_x)

    def lots(self, size: float) -> list["Block"]:
        """The block in rows and columns of lots of about `size` px."""
        across, down = (max(1, round(2 * half / size)) for half in (self.half_x, self.half_y))
        half_x, half_y = self.half_x / across, self.half_y / down
        left, top = self.x - self.half_x + half_x, self.y - self.half_y + half_y
        return [Block(left + 2 * half_x * i, top + 2 * half_y * j, half_x, half_y)
                for j in range(down) for i in range(across)]  # fmt: skip


class Canvas:
    """Square arrays of `side` px, and axes turned by `angle` (radians) about their middle.

    kinds_HW and heights_HW (px) are uint8, colors_HWC float32.
    """

    def __init__(self, side: int, angle: float, kind: int, color: Color):
        self.side, self.angle = side, angle
        self.kinds = np.full((side, side), kind, np.uint8)
        self.heights = np.zeros((side, side), np.uint8)
        self.colors = np.full((side, side, 3), color, np.float32)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """(column, row) of a point given on the turned axes, whose origin is the middle."""
        across, along = cos(self.angle), sin(self.angle)
        middle = self.side / 2
        return middle + x * across - y * along, middle + x * along + y * across

    def shows(self, block: Block) -> bool:
        """Whether some of a block may lie on the canvas."""
        reach = block.half_x + block.half_y
        return all(-reach < at < self.side + reach for at in self.place(block.x, block.y))

    @contextmanager
    def only(self, where_HW: np.ndarray) -> Iterator[None]:
        """What is drawn meanwhile stays where the mask is True; all else is as it was before."""
        layers: list[np.ndarray] = [self.kinds, self.heights, self.colors]
        before = [layer.copy() for layer in layers]
        yield
        for layer, old in zip(layers, before, strict=True):
            layer[~where_HW] = old[~where_HW]

    def covered_by(self, block: Block) -> np.ndarray:
        """The pixels of a block, bool HW."""
        other = Canvas(self.side, self.angle, 0, (0.0, 0.0, 0.0))
        other.rectangle(block, 1, (0.0, 0.0, 0.0))
        return other.kinds == 1

    def rectangle(self, block: Block, kind: int, color: Color, height: float = 0, turn: float = 0.0) -> None:
        """A rectangle, turned by `turn` about its middle."""
        across, along = cos(turn), sin(turn)
        corners = []
        for x, y in ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)):
            x, y = x * block.half_x, y * block.half_y
            corners.append(self.place(block.x + x * across - y * along, block.y + x * along + y * across))
        self.polygon(corners, kind, color, height)

    def polygon(self, corners: list[tuple[float, float]], kind: int, color: Color, height: float = 0) -> None:
        """A polygon; its corners are (column, row)."""
        points = np.round(np.array(corners) * (1 << SUBPIXEL)).astype(np.int32)
        for layer, value in ((self.kinds, kind), (self.heights, int(height)), (self.colors, color)):
            cv2.fillPoly(layer, [points], value, shift=SUBPIXEL)

    def disc(self, x: float, y: float, radius: float, kind: int, color: Color, height: float = 0) -> None:
        """A round thing on the turned axes, lower towards its rim, as crowns are."""
        place = tuple(round(at * (1 << SUBPIXEL)) for at in self.place(x, y))
        for share in (1.0, 0.65) if height else (1.0,):
            bound = round(radius * share * (1 << SUBPIXEL))
            top = int(height * (1.25 - 0.5 * share) + 0.5)
            light = 1.3 - 0.4 * share if height else 1.0
            shade = tuple(channel * light for channel in color)
            for layer, value in ((self.kinds, kind), (self.heights, top), (self.colors, shade)):
                cv2.circle(layer, place, bound, value, cv2.FILLED, shift=SUBPIXEL)


def smooth_noise(key: int, height: int, width: int, cell: float) -> np.ndarray:
    """Value noise in [0, 1), float32 HW, over cells of `cell` px."""
    values = np.empty((height, width), np.float32)
    _fill_with_noise(key, cell, values)
    return values


@compiled
def _fill_with_noise(key, cell, values):
    for row in range(values.shape[0]):
        for col in range(values.shape[1]):
            values[row, col] = noise(key, col / cell, row / cell)[0]
