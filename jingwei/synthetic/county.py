"""A made-up county seen from a drone: fields in rotated blocks, villages, roads, trees, ponds, and their label map.

Every pixel is a pure function of (seed, scene number, scene size, row, column), built on hashes instead of a random
stream. So a scene of any size can be made strip by strip, by any number of threads, and always has the same pixels.

Three passes over a strip: `ground.grow` lays out what stands there, its colour and its height, `camera.photograph` adds
what the camera adds (shadows, blur, drifting light, noise), `camera.survey` draws the labels with small errors.
The three crops share their colours with each other and with meadows and waste land: they differ by the pattern of
their rows, which a network can see and a single pixel can't tell.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil, cos, sin

import numpy as np

from jingwei.grid import strips
from jingwei.synthetic.camera import MARGIN, photograph, survey
from jingwei.synthetic.ground import World, grow
from jingwei.synthetic.noise import draw, hash_bits

STRIP_PX = 5_000_000  # pixels a strip, for a bounded memory at any width


class Landscape:
    """One scene of the county: `number` tells the scenes of one `seed` apart. Makes any strip of it at any time."""

    def __init__(self, seed: int, number: int, height: int, width: int):
        self.height, self.width = height, width
        key = int(hash_bits(0x6A696E67, seed, number))
        sun = float(draw(key, 1, -0.6, 0.6))
        self._world = World(
            key, height, width,
            angle=float(draw(key, 2, -0.5, 0.5)),
            tilt=float(draw(key, 3, 0.1, 0.2)) * (1 if number % 2 else -1),
            reach=float(draw(key, 4, 0.378, 0.4)),
            sun_row=cos(sun), sun_col=sin(sun),
            red_gain=float(draw(key, 5, 0.95, 1.05)),
            green_gain=float(draw(key, 6, 0.95, 1.05)),
            blue_gain=float(draw(key, 7, 0.93, 1.07)),
        )  # fmt: skip

    def ground(self, first: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What stands on rows `first` to `end`, with MARGIN pixels more on all four sides.

        Gives kinds_HW, heights_HW (pixels) and colors_HWC before light and lens; all uint8.
        """
        shape = (end - first + 2 * MARGIN, self.width + 2 * MARGIN)
        kinds, heights, colors = np.empty(shape, np.uint8), np.empty(shape, np.uint8), np.empty((*shape, 3), np.uint8)
        grow(self._world, first - MARGIN, -MARGIN, kinds, heights, colors)
        return kinds, heights, colors

    def strip(self, first: int, end: int, picture: bool = True) -> tuple[np.ndarray | None, np.ndarray]:
        """Rows `first` to `end`: (pixels_HWC uint8 RGBA, labels_HW uint8). Without `picture`, None and the labels."""
        kinds, heights, colors = self.ground(first, end)
        labels = np.empty((end - first, self.width), np.uint8)
        survey(self._world, first, 0, kinds, labels)
        if not picture:
            return None, labels
        pixels = np.empty((end - first, self.width, 4), np.uint8)
        photograph(self._world, first, 0, kinds, heights, colors, pixels)
        return pixels, labels

    def strips(
        self, picture: bool = True, rows: int | None = None, workers: int = 2
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        """All strips, top to bottom. `rows` a strip and the number of threads change nothing in the pixels."""
        rows = rows or min(512, max(32, ceil(STRIP_PX / self.width)))
        pending: deque = deque()
        with ThreadPoolExecutor(workers) as pool:
            for first, end in strips(self.height, rows):
                pending.append(pool.submit(self.strip, first, end, picture))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
