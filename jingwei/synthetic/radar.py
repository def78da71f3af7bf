"""A made-up stretch of land seen by a polarimetric radar, with the six classes of the gf3 legend.

Freeman and Durden: A Three-Component Scattering Model for Polarimetric SAR Data. IEEE TGRS 36 (3), 1998.

Each pixel has a power of surface, of double-bounce and of volume scattering, which set the covariance of its echoes in
HH, HV and VV. Each look is a circular complex Gaussian draw with that covariance, so covariances are Wishart: speckle
is multiplicative, and the mean of `looks` draws has that many equivalent looks. HV and VH are one echo (reciprocity)
with a noise of the receiver of its own each.

Not modelled: the radar's point response (neighbouring pixels are independent), layover, and all geometry of range.
"""

from math import exp, pi

import cv2
import numpy as np

from jingwei.synthetic.canvas import Block, Canvas, Color, smooth_noise

WATER, BUILT_UP, INDUSTRIAL, GRASSLAND, BARE, OTHER = range(6)  # the ids of the gf3 legend
NODATA = 255
# What stretches of land are, and their shares.
USES = {BUILT_UP: 0.27, INDUSTRIAL: 0.16, GRASSLAND: 0.2, BARE: 0.15, OTHER: 0.14, WATER: 0.08}
# Surface and volume scattering of open ground: dB and how far it spreads.
GROUND_DB = {
    BUILT_UP: ((-11, 3), (-18, 3)),
    INDUSTRIAL: ((-18, 4), (-24, 3)),
    GRASSLAND: ((-14, 3), (-15, 3)),
    BARE: ((-12, 4), (-23, 3)),
}
STRETCH_PX = (90.0, 190.0)  # sides of a stretch
SURFACE_RATIO, DOUBLE_RATIO = 0.8, -1.4  # HH to VV in amplitude: rough ground; wall and ground, in opposite phase
NOISE = 10**-3.2  # power of the receiver's noise
FULL_SCALE = 1000  # the amplitude that is written for a power of 1
WANDER_PX = 14.0  # how far borders stray from straight lines


def radar_scene(seed: int, number: int, height: int, width: int, looks: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene: (amplitudes_CHW uint16 of HH, HV, VH, VV, labels_HW uint8), the same for the same arguments.

    Outside the swath, in corners that some scenes have, all channels are 0 and labels NODATA; nowhere else is any 0.
    """
    rng = np.random.default_rng((seed, number, 3))
    side = max(height, width) + 2 * int(WANDER_PX)
    canvas = _Land(side, rng).canvas
    key = int(rng.integers(2**40))
    labels, powers = _wandering(canvas, key)
    labels, powers = labels[:height, :width], powers[:height, :width]
    powers = powers * _unevenness(labels, key + 2)[..., None]
    first, last = rng.permutation([0.8, 1.25])
    powers *= np.linspace(first, last, width, dtype=np.float32)[:, None]  # near to far range
    intensities = echoes(powers, looks, rng)
    amplitudes = np.clip(np.round(FULL_SCALE * np.sqrt(intensities)), 1, 65535).astype(np.uint16)
    seen = _swath(height, width, rng)
    return np.where(seen, amplitudes, np.uint16(0)), np.where(seen, labels, np.uint8(NODATA))


def echoes(powers_HWC: np.ndarray, looks: int, rng: np.random.Generator) -> np.ndarray:
    """Intensities, float32 CHW of HH, HV, VH, VV: the mean of `looks` draws.

    `powers_HWC` are those of surface, double-bounce and volume scattering in VV. Volume is of thin rods of all
    directions: HH as strong as VV and correlated by 1/3, HV a third of it, uncorrelated with both (eq. 5).
    """
    shape = powers_HWC.shape[:2]
    surface, double, volume = np.sqrt(powers_HWC.transpose(2, 0, 1), dtype=np.float32)
    intensities = np.zeros((4, *shape), np.float32)

    def wave() -> np.ndarray:
        """Circular complex Gaussian, of power 1."""
        parts = rng.standard_normal((*shape, 2), np.float32)
        return parts.view(np.complex64)[..., 0] * np.float32(0.5**0.5)

    for _ in range(looks):
        surface_wave, double_wave, volume_wave = surface * wave(), double * wave(), wave()
        hh = SURFACE_RATIO * surface_wave + DOUBLE_RATIO * double_wave + volume * volume_wave
        vv = surface_wave + double_wave + volume * (volume_wave / 3 + np.float32(8**0.5 / 3) * wave())
        hv = volume * np.float32(3**-0.5) * wave()
        for intensity, echo in zip(intensities, (hh, hv, hv, vv), strict=True):
            noisy = echo + np.float32(NOISE**0.5) * wave()
            intensity += noisy.real**2 + noisy.imag**2
    return intensities / looks


def _wandering(canvas: Canvas, key: int) -> tuple[np.ndarray, np.ndarray]:
    """A canvas's kinds and powers with borders that stray, without its margin of WANDER_PX."""
    side, margin = canvas.side, int(WANDER_PX)
    rows, cols = np.mgrid[margin : side - margin, margin : side - margin].astype(np.float32)
    for places, noise_key in ((rows, key), (cols, key + 1)):
        shift = smooth_noise(noise_key, side, side, 60.0)[margin : side - margin, margin : side - margin]
        places += 2 * np.float32(WANDER_PX) * (shift - np.float32(0.5))
    kinds, colors = (cv2.remap(layer, cols, rows, cv2.INTER_NEAREST) for layer in (canvas.kinds, canvas.colors))
    return kinds, colors


def _unevenness(labels: np.ndarray, key: int) -> np.ndarray:
    """The gain, float32 HW, by which backscatter differs within a stretch: much in what stands, little on water."""
    spread = np.zeros(6, np.float32)
    spread[[WATER, BUILT_UP, INDUSTRIAL, GRASSLAND, BARE, OTHER]] = 0.0, 0.5, 0.5, 0.7, 0.6, 0.9
    coarse, fine = (
        smooth_noise(key + i, labels.shape[0], labels.shape[1], cell) - np.float32(0.5)
        for i, cell in enumerate((35.0, 5.0))
    )
    return np.exp(spread[labels] * (coarse + fine))


def _swath(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """What the swath covers, bool HW: all of most scenes, all but a corner or two of the others."""
    seen = np.ones((height, width), bool)
    rows, cols = np.mgrid[:height, :width]
    slope, reach = rng.uniform(0.15, 0.6), rng.uniform(0.05, 0.3) * height
    corners = rng.random(2) < 0.35
    if corners[0]:
        seen &= rows + slope * cols > reach
    if corners[1]:
        seen &= (height - rows) + slope * (width - cols) > reach
    return seen


class _Land:
    """Draws stretches of land on its canvas, whose colours are powers: of surface, double-bounce and volume."""

    def __init__(self, side: int, rng: np.random.Generator):
        self.rng = rng
        self.turn = rng.uniform(-0.8, 0.8)
        self.sea = (self._db(-25, 4), 0.0, self._db(-40, 2))  # calm in one scene, ruffled in another
        self.canvas = Canvas(side, self.turn, OTHER, self._wood())
        draw = {BUILT_UP: self._built_up, INDUSTRIAL: self._industrial}
        stretches = [stretch for stretch in self._stretches(0.75 * side) if self.canvas.shows(stretch)]
        shares = np.array(list(USES.values()))
        deck = np.repeat(np.array(list(USES)), np.ceil(shares / shares.sum() * len(stretches)).astype(int))
        for stretch, use in zip(stretches, rng.permutation(deck).tolist(), strict=False):
            self.canvas.rectangle(stretch, use, self._ground(use))
            if use in draw:
                draw[use](stretch)
        if rng.random() < 0.5:
            self._river(side)

    def _stretches(self, reach: float) -> list[Block]:
        edges = [[-reach - self._between(0, 100)], [-reach - self._between(0, 100)]]
        for ends in edges:
            while ends[-1] < reach:
                ends.append(ends[-1] + self._between(*STRETCH_PX))
        columns, rows = (list(zip(ends, ends[1:], strict=False)) for ends in edges)
        return [
            Block((left + right) / 2, (low + high) / 2, (right - left) / 2, (high - low) / 2)
            for low, high in rows
            for left, right in columns
        ]

    def _ground(self, use: int) -> Color:
        if use == WATER:
            return self.sea
        if use == OTHER:
            return self._wood()
        surface, volume = GROUND_DB[use]
        return self._db(*surface), 0.0, self._db(*volume)

    def _wood(self) -> Color:
        return self._db(-15, 3), self._db(-15, 3), self._db(-8.5, 3)

    def _built_up(self, stretch: Block) -> None:
        """Houses by the lot: a roof, a wall that looks at the radar, a shadow behind; streets between."""
        for lot in stretch.lots(self._between(15, 24)):
            if self.rng.random() < 0.85:
                house = lot._replace(
                    half_x=lot.half_x * self._between(0.4, 0.7), half_y=lot.half_y * self._between(0.4, 0.7)
                )
                self._building(BUILT_UP, house, roof=self._db(-10, 4), wall=self._db(1, 6), reach=2.0)

    def _industrial(self, stretch: Block) -> None:
        """Large sheds with long walls over dark yards; tanks, masts and fences that flash."""
        for lot in stretch.lots(self._between(42, 75)):
            self._building(INDUSTRIAL, lot.shrunk(self._between(5, 10)), self._db(-13, 6), self._db(7, 5), reach=4.0)
            for _ in range(self.rng.integers(1, 5)):
                x, y = (at + self._between(-half, half) for at, half in ((lot.x, lot.half_x), (lot.y, lot.half_y)))
                flash = (self._db(0, 4), self._db(15, 8), self._db(3, 5))
                self.canvas.disc(x, y, self._between(0.6, 1.6), INDUSTRIAL, flash)

    def _building(self, kind: int, house: Block, roof: float, wall: float, reach: float) -> None:
        """A building whose wall faces the radar, which looks along the rows from the left.

        A wall that is turned away from the radar's path sends little of its double bounce back, and more of it in HV.
        """
        facing = exp(-((((self.turn + pi / 4) % (pi / 2) - pi / 4) / 0.35) ** 2))
        shadow = Block(house.x + reach, house.y, house.half_x, house.half_y)
        self.canvas.rectangle(shadow, kind, (self._db(-30, 2), 0.0, self._db(-32, 2)))
        self.canvas.rectangle(house, kind, (roof, 0.0, self._db(-16, 3)))
        edge = Block(house.x - house.half_x, house.y, 0.9, house.half_y)
        self.canvas.rectangle(edge, kind, (roof, wall * (0.1 + 0.9 * facing), wall * (0.12 + 0.25 * (1 - facing))))

    def _river(self, side: int) -> None:
        """Water that winds across the land."""
        steps = np.arange(-side, side, 4.0)
        bends, phase, half = self._between(15, 50), self._between(0, 6), self._between(8, 28)
        middle = self._between(-0.25, 0.25) * side + bends * np.sin(steps / 110 + phase)
        for x, y in zip(steps, middle, strict=True):
            self.canvas.disc(x, y, half, WATER, self.sea)

    def _between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _db(self, middle: float, spread: float) -> float:
        """A power around `middle` dB, up to half of `spread` dB off, as a factor."""
        return 10 ** (self._between(middle - spread / 2, middle + spread / 2) / 10)
