"""A made-up town seen from a satellite, with the nine classes of the gf2 legend: small square scenes.

A town is blocks between streets, each built over, planted or left open in its own way; then comes a river, what crosses
it, and what stands along the streets. Every scene has a light, a season and a soil of its own, and classes share their
colours: slate roofs and asphalt, tiles and bare soil, dry grass and soil, dark water and shadow, cars of all colours.
What tells them apart is form, texture and what lies around.
"""

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from jingwei.synthetic.camera import MARGIN, photograph
from jingwei.synthetic.canvas import Block, Canvas, Color, smooth_noise
from jingwei.synthetic.ground import World
from jingwei.synthetic.noise import mix, scaled

OTHER, BUILDING, GRASS, TREE, WATER, ROAD, IMPERVIOUS, VEHICLE, SOIL = range(9)  # the ids of the gf2 legend
KINDS_FROM = 1  # what `photograph` gets is an id plus this: its 0 is "not flown"
# What blocks are, and their shares.
USES = {
    "houses": 0.25,
    "flats": 0.18,
    "works": 0.14,
    "park": 0.13,
    "wood": 0.06,
    "site": 0.1,
    "cars": 0.06,
    "plots": 0.08,
}
BLOCK_PX = (70.0, 135.0)  # a block's side with half a street all around
CAR_HALF = (2.9, 1.5)  # px: half a car's length and width

SLATE, CONCRETE, TILES, SHEET, WHITE = (
    (112.0, 112.0, 114.0), (162.0, 158.0, 150.0), (160.0, 102.0, 80.0), (98.0, 126.0, 166.0), (222.0, 220.0, 214.0)
)  # fmt: skip
PAINTS = (
    WHITE,
    (30.0, 32.0, 36.0),
    (150.0, 152.0, 156.0),
    (168.0, 40.0, 38.0),
    (48.0, 66.0, 128.0),
    (190.0, 176.0, 90.0),
)


@dataclass(frozen=True)
class Season:
    """What all of a scene shares: colours of its ground, and the light on it."""

    asphalt: Color
    soil: Color
    grass: Color
    leaves: Color
    water: Color
    gains: Color  # of red, green, blue

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Season":
        """A season by chance."""
        exposure = rng.uniform(0.72, 1.22)
        return cls(
            asphalt=mix((88.0, 88.0, 92.0), (156.0, 152.0, 146.0), rng.random()),
            soil=mix((116.0, 92.0, 72.0), (184.0, 156.0, 122.0), rng.random()),
            grass=mix((78.0, 104.0, 54.0), (158.0, 146.0, 96.0), rng.random()),
            leaves=mix((46.0, 72.0, 42.0), (104.0, 116.0, 64.0), rng.random()),
            water=mix(
                mix((40.0, 62.0, 72.0), (66.0, 96.0, 88.0), rng.random()), (132.0, 120.0, 92.0), rng.random() ** 2
            ),
            gains=(
                exposure * rng.uniform(0.92, 1.08),
                exposure * rng.uniform(0.92, 1.08),
                exposure * rng.uniform(0.92, 1.08),
            ),
        )


def town_scene(seed: int, number: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene of `side` px: (pixels_HWC uint8 RGB, labels_HW uint8), the same for the same seed, number and side."""
    rng = np.random.default_rng((seed, number, 2))
    season = Season.drawn(rng)
    canvas = _Town(side + 2 * MARGIN, season, rng).canvas
    key = int(rng.integers(2**40))
    _add_texture(canvas, season, key)
    sun = rng.uniform(-pi, pi)
    world = World(key, side, side, 0.0, 0.0, 0.0, cos(sun), sin(sun), *season.gains)
    pixels = np.empty((side, side, 4), np.uint8)
    colors = np.clip(canvas.colors, 0, 255).astype(np.uint8)
    photograph(world, 0, 0, canvas.kinds + np.uint8(KINDS_FROM), canvas.heights, colors, pixels)
    inner = slice(MARGIN, MARGIN + side)
    return pixels[..., :3].copy(), canvas.kinds[inner, inner].copy()


def _add_texture(canvas: Canvas, season: Season, key: int) -> None:
    """What the ground of each kind looks like from near: coarse patches, fine grain, waves."""
    shape = canvas.kinds.shape
    coarse, fine, grain = (smooth_noise(key + i, *shape, cell) - 0.5 for i, cell in enumerate((22.0, 4.5, 1.6)))
    strengths = np.zeros((9, 3), np.float32)  # of each kind's three noises
    strengths[GRASS] = 0.22, 0.08, 0.06
    strengths[TREE] = 0.1, 0.5, 0.35
    strengths[SOIL] = 0.35, 0.16, 0.08
    strengths[WATER] = 0.16, 0.03, 0.03
    strengths[ROAD] = 0.12, 0.03, 0.03
    strengths[IMPERVIOUS] = 0.18, 0.07, 0.04
    strengths[OTHER] = 0.12, 0.22, 0.2
    light = 1 + sum(strengths[canvas.kinds, i] * part for i, part in enumerate((coarse, fine, grain)))
    canvas.colors *= light[..., None]
    # Grass dries out in patches, and grows over open soil in others.
    part = np.clip(2.2 * coarse + 0.9 * fine, 0, 0.75)[..., None]
    for kind, toward in ((GRASS, season.soil), (SOIL, season.grass)):
        here = canvas.kinds == kind
        canvas.colors[here] += part[here] * (np.array(toward, np.float32) - canvas.colors[here])


class _Town:
    """Draws one town on its canvas."""

    def __init__(self, side: int, season: Season, rng: np.random.Generator):
        self.season, self.rng = season, rng
        self.canvas = Canvas(side, rng.uniform(-0.8, 0.8), ROAD, season.asphalt)
        self.reach = 0.75 * side  # from the middle, farther than any corner
        self.streets = self._streets(), self._streets()
        blocks = [block for block in self._blocks() if self.canvas.shows(block)]
        draw = {use: getattr(self, f"_{use}") for use in USES}
        # Uses are dealt out like cards, so that small scenes have about the same mixture as large ones.
        shares = np.array(list(USES.values()))
        deck = np.repeat(np.array(list(USES)), np.ceil(shares / shares.sum() * len(blocks)).astype(int))
        for block, use in zip(blocks, rng.permutation(deck), strict=False):
            self.canvas.rectangle(block, IMPERVIOUS, self._grey())  # the pavement
            draw[str(use)](block.shrunk(2.5))
        if rng.random() < 0.65:
            self._river()
        self._along_streets()

    # ------------------------------------------------------------------------------------------------- the ground plan

    def _streets(self) -> list[tuple[float, float]]:
        """Across one axis: (middle, half width) of its streets."""
        streets, at = [], -self.reach - self._between(0, 80)
        while at < self.reach + 100:
            streets.append((at, self._between(3.5, 5.5) if self.rng.random() < 0.75 else self._between(6.5, 8.5)))
            at += self._between(*BLOCK_PX)
        return streets

    def _blocks(self) -> list[Block]:
        spans = []
        for streets in self.streets:
            ends = [
                ((a + half_a), (b - half_b)) for (a, half_a), (b, half_b) in zip(streets, streets[1:], strict=False)
            ]
            spans.append([((low + high) / 2, (high - low) / 2) for low, high in ends])
        return [Block(x, y, half_x, half_y) for y, half_y in spans[1] for x, half_x in spans[0]]

    def _river(self) -> None:
        """A river across the town, its banks, and the streets that cross it as bridges."""
        width, turn = self._between(14, 38), self._between(-0.5, 0.5) + (pi / 2 if self.rng.random() < 0.5 else 0)
        aside, phase, bends = self._between(-0.25, 0.25) * self.reach, self._between(0, 6), self._between(10, 35)
        across, along = cos(turn), sin(turn)
        steps = np.arange(-2 * self.reach, 2 * self.reach, 12.0)
        middle = aside + bends * np.sin(steps / 75 + phase)
        for extra, kind, color in ((5.0, GRASS, self.season.grass), (0.0, WATER, self.season.water)):
            half = width + extra + 3 * np.sin(steps / 31)
            sides = [(steps, middle - half), (steps[::-1], (middle + half)[::-1])]
            x, y = (np.concatenate(part) for part in zip(*sides, strict=True))
            corners = [
                self.canvas.place(a * across - b * along, a * along + b * across) for a, b in zip(x, y, strict=True)
            ]
            self.canvas.polygon(corners, kind, color)
        for at, half_street in self.streets[0 if abs(turn) < 0.8 else 1][::2]:  # every other one of those that cross it
            upright = Block(at, 0.0, half_street, 2 * self.reach)
            self._bridge(upright if abs(turn) < 0.8 else upright.on_its_side())

    def _bridge(self, street: Block) -> None:
        """A street where it crosses water: drawn again, and high, so that it throws a shadow."""
        with self.canvas.only(self.canvas.kinds == WATER):
            self.canvas.rectangle(street, ROAD, scaled(self.season.asphalt, 1.06), height=4)

    def _along_streets(self) -> None:
        """Lane markings, cars and trees along the streets."""
        for axis, streets in enumerate(self.streets):
            planted = self.rng.random() < 0.5
            for at, half in streets:
                if half > 6:
                    self._dashes(axis, at)
                place = -self.reach
                while place < self.reach:
                    place += self._between(9, 60)
                    aside = at + half * (0.45 if self.rng.random() < 0.5 else -0.45)
                    self._car_on(axis, aside, place)
                    if planted:
                        edge = at + (half + 2) * (1 if self.rng.random() < 0.5 else -1)
                        self._tree(*((edge, place) if axis == 0 else (place, edge)), on=(ROAD, IMPERVIOUS, GRASS))

    def _dashes(self, axis: int, at: float) -> None:
        for place in np.arange(-self.reach, self.reach, 10.0):
            x, y = (at, place) if axis == 0 else (place, at)
            if self._kind_at(x, y) == ROAD:
                half = (0.5, 2.5) if axis == 0 else (2.5, 0.5)
                self.canvas.rectangle(Block(x, y, *half), ROAD, scaled(WHITE, 0.9), height=self._height_at(x, y))

    def _car_on(self, axis: int, at: float, place: float) -> None:
        x, y = (at, place) if axis == 0 else (place, at)
        if self._kind_at(x, y) == ROAD:
            self._car(x, y, lengthwise=axis == 1)

    # ------------------------------------------------------------------------------------------------- what blocks are

    def _houses(self, block: Block) -> None:
        """Houses in gardens, one to a lot."""
        size, style = self._between(24, 34), self.rng.integers(3)
        for lot in block.lots(size):
            ground = GRASS if self.rng.random() < 0.75 else SOIL
            self._ground(lot, ground)
            half_x, half_y = lot.half_x * self._between(0.42, 0.66), lot.half_y * self._between(0.42, 0.66)
            house = Block(lot.x + self._between(-2, 2), lot.y + self._between(-2, 2), half_x, half_y)
            drive = Block(lot.x, lot.y + lot.half_y / 2, 2.6, lot.half_y / 2)
            self.canvas.rectangle(drive, IMPERVIOUS, self._grey())
            self._roof(
                house,
                (TILES, SLATE, CONCRETE)[style] if self.rng.random() < 0.7 else self._paint(),
                self._between(5, 8),
            )
            if self.rng.random() < 0.4:
                self._car(drive.x, lot.y + lot.half_y - 4, lengthwise=False)
            for _ in range(self.rng.integers(0, 3)):
                self._tree(*self._within(lot.shrunk(3)), on=(GRASS, SOIL))

    def _flats(self, block: Block) -> None:
        """Long blocks of flats side by side, over lawns and yards."""
        self._ground(block, GRASS if self.rng.random() < 0.6 else IMPERVIOUS)
        deep, apart = self._between(6, 8), self._between(15, 19)
        lengthwise = self.rng.random() < 0.5
        turned = block.on_its_side() if lengthwise else block
        roof = (CONCRETE, SLATE, WHITE)[self.rng.integers(3)]
        y = turned.y - turned.half_y + apart
        while y < turned.y + turned.half_y - deep:
            slab = Block(turned.x, y, turned.half_x * self._between(0.7, 0.9), deep)
            yard = Block(slab.x, y + deep + 4, slab.half_x, 3.2)
            if lengthwise:
                slab, yard = slab.on_its_side(), yard.on_its_side()
            self.canvas.rectangle(yard, IMPERVIOUS, self._grey())
            self._park_cars(yard, 0.35)
            self._roof(slab, roof, self._between(9, 12), gable=False)
            y += 2 * apart
        for _ in range(12):
            self._tree(*self._within(block.shrunk(4)), on=(GRASS,))

    def _works(self, block: Block) -> None:
        """Large sheds on a yard, with stores in the open."""
        self._ground(block, IMPERVIOUS)
        for lot in block.lots(self._between(44, 64)):
            shed = lot.shrunk(self._between(4, 9))
            self._roof(shed, (SHEET, WHITE, CONCRETE, SLATE)[self.rng.integers(4)], self._between(6, 10), gable=False)
            for ridge in np.arange(-shed.half_x + 4, shed.half_x - 3, 8.0):  # skylights
                light = Block(shed.x + ridge, shed.y, 0.8, shed.half_y * 0.8)
                self.canvas.rectangle(light, BUILDING, scaled(CONCRETE, self._between(0.7, 1.2)), height=8)
        for _ in range(self.rng.integers(2, 6)):
            x, y = self._within(block.shrunk(4))
            if self._kind_at(x, y) == IMPERVIOUS:
                self.canvas.rectangle(Block(x, y, 5, 2.2), OTHER, self._paint(), height=3)  # containers
        self._park_cars(block.shrunk(2), 0.02)

    def _park(self, block: Block) -> None:
        """Lawns, trees, paths and, often, a pond."""
        self._ground(block, GRASS)
        with self.canvas.only(self.canvas.covered_by(block)):
            for _ in range(2):
                path = Block(block.x, block.y, 1.8, block.half_x + block.half_y)
                self.canvas.rectangle(path, IMPERVIOUS, self._grey(), turn=self._between(0, pi))
        if self.rng.random() < 0.65:
            radius, (x, y) = self._between(8, 17), self._within(block.shrunk(18))
            for _ in range(4):
                self.canvas.disc(x + self._between(-7, 7), y + self._between(-7, 7), radius, WATER, self.season.water)
        for _ in range(int(block.half_x * block.half_y / 70)):
            self._tree(*self._within(block.shrunk(4)), on=(GRASS,))

    def _wood(self, block: Block) -> None:
        """Trees, one at another."""
        self._ground(block, TREE)
        for _ in range(int(block.half_x * block.half_y / 14)):
            self._tree(*self._within(block.shrunk(3)), on=(TREE,))

    def _site(self, block: Block) -> None:
        """A building site: open soil, a shell or two, heaps."""
        self._ground(block, SOIL)
        if self.rng.random() < 0.6:
            x, y = self._within(block.shrunk(16))
            self._roof(Block(x, y, self._between(7, 14), self._between(7, 14)), CONCRETE, 6, gable=False)
        for _ in range(self.rng.integers(3, 8)):
            x, y = self._within(block.shrunk(7))
            self.canvas.disc(
                x, y, self._between(2.5, 6), OTHER, scaled(self.season.soil, self._between(0.7, 1.2)), height=3
            )
        for _ in range(self.rng.integers(0, 4)):
            self._car(*self._within(block.shrunk(5)), lengthwise=bool(self.rng.integers(2)))

    def _cars(self, block: Block) -> None:
        """A car park."""
        self._ground(block, IMPERVIOUS)
        self._park_cars(block.shrunk(3), 0.65)

    def _plots(self, block: Block) -> None:
        """What belongs to none of the other classes: allotments, courts, greenhouses."""
        self._ground(block, GRASS)
        for lot in block.lots(self._between(26, 40)):
            plot, kind = lot.shrunk(1.2), self.rng.random()
            color = self._paint() if kind < 0.4 else mix(self.season.soil, self.season.grass, self.rng.random())
            self.canvas.rectangle(plot, OTHER, color)
            stripes = np.arange(-plot.half_x + 1.5, plot.half_x - 1, 3.4 if kind > 0.4 else 9.0)
            for x in stripes:
                light = 1.22 if kind < 0.4 else 0.74
                self.canvas.rectangle(Block(plot.x + x, plot.y, 0.8, plot.half_y), OTHER, scaled(color, light))

    # ------------------------------------------------------------------------------------------------- single things

    def _ground(self, block: Block, kind: int) -> None:
        colors = {GRASS: self.season.grass, SOIL: self.season.soil, TREE: scaled(self.season.leaves, 0.7)}
        color = colors.get(kind) or self._grey()
        self.canvas.rectangle(block, kind, scaled(color, self._between(0.9, 1.1)))

    def _roof(self, block: Block, color: Color, height: float, gable: bool = True) -> None:
        """A building: a gable roof, one side of it in the light, or a flat one with a parapet."""
        color = scaled(color, self._between(0.75, 1.1))
        self.canvas.rectangle(block, BUILDING, scaled(color, 0.88 if gable else 1.15), height)
        if not gable:
            self.canvas.rectangle(block.shrunk(1.3), BUILDING, color, height)
        elif block.half_x > block.half_y:
            half = Block(block.x, block.y - block.half_y / 2, block.half_x, block.half_y / 2)
            self.canvas.rectangle(half, BUILDING, scaled(color, 1.14), height)
        else:
            half = Block(block.x - block.half_x / 2, block.y, block.half_x / 2, block.half_y)
            self.canvas.rectangle(half, BUILDING, scaled(color, 1.14), height)

    def _car(self, x: float, y: float, lengthwise: bool) -> None:
        half = CAR_HALF if lengthwise else CAR_HALF[::-1]
        self.canvas.rectangle(Block(x, y, *half), VEHICLE, scaled(self._paint(), self._between(0.85, 1.1)), height=2)

    def _park_cars(self, block: Block, share: float) -> None:
        """Cars in rows where the ground is paved."""
        for y in np.arange(block.y - block.half_y + 3.2, block.y + block.half_y - 2, 11.0):
            for x in np.arange(block.x - block.half_x + 2, block.x + block.half_x - 1, 4.6):
                if self.rng.random() < share and self._kind_at(x, y) == IMPERVIOUS:
                    self._car(x, y, lengthwise=False)

    def _tree(self, x: float, y: float, on: tuple[int, ...]) -> None:
        if self._kind_at(x, y) in on:
            leaves = scaled(self.season.leaves, self._between(0.75, 1.2))
            self.canvas.disc(x, y, self._between(3, 6.5), TREE, leaves, height=self._between(4, 9))

    # ------------------------------------------------------------------------------------------------- chance and looks

    def _between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _within(self, block: Block) -> tuple[float, float]:
        half_x, half_y = max(block.half_x, 0), max(block.half_y, 0)
        return block.x + self._between(-half_x, half_x), block.y + self._between(-half_y, half_y)

    def _grey(self) -> Color:
        return mix((98.0, 97.0, 95.0), (190.0, 184.0, 172.0), self.rng.random())

    def _paint(self) -> Color:
        return PAINTS[self.rng.integers(len(PAINTS))]

    def _kind_at(self, x: float, y: float) -> int:
        """What stands at a point; -1 beyond the canvas."""
        col, row = (int(at) for at in self.canvas.place(x, y))
        inside = 0 <= row < self.canvas.side and 0 <= col < self.canvas.side
        return int(self.canvas.kinds[row, col]) if inside else -1

    def _height_at(self, x: float, y: float) -> int:
        col, row = (int(at) for at in self.canvas.place(x, y))
        return int(self.canvas.heights[row, col])
