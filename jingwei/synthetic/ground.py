"""The ground of a whole scene: the farmland, and the villages, ponds, roads and trees on it."""

from math import cos, floor, sin, sqrt
from typing import NamedTuple

from jingwei.synthetic.fields import (
    BUILDING,
    MEADOW,
    OTHER,
    OUTSIDE,
    WASTE,
    WOOD,
    block_at,
    field_color,
    frame_of,
    parcel_at,
    slot_at,
    sow,
)
from jingwei.synthetic.noise import clamp, draw, hash_bits, mix, noise, scaled, share
from jingwei.system.compiled import compiled

# Pixels between villages, lots (a house and its yard), ponds, roads and trees.
VILLAGE, LOT, POND, ROAD, TREE = 780.0, 36.0, 520.0, 1150.0, 15.0
# Added to a world's key: a world of chance of its own for each of these.
LONE = 0.06  # the share of places for a tree that have one, in a field of crops
FLIGHT, BLOCKS, WANDERING, PATCHES, GROVES, VILLAGES, PONDS, ROADS_ALONG, ROADS_ACROSS, TREES = range(1, 11)


class World(NamedTuple):
    """What one scene has in common: its size, its flight area, its light."""

    key: int
    height: int
    width: int
    angle: float  # of the land, radians
    tilt: float  # of the flight area, radians
    reach: float  # half the side of the flight area, as a share of the scene's sides
    sun_row: float  # one pixel's step towards the sun
    sun_col: float
    red_gain: float
    green_gain: float
    blue_gain: float


@compiled
def _flown(world, row, col):
    """Whether a pixel lies in the flight area: a rotated rectangle with the steps of a mosaic along its edges."""
    p, q = (col + 0.5) / world.width - 0.5, (row + 0.5) / world.height - 0.5
    p, q = p * cos(world.tilt) + q * sin(world.tilt), q * cos(world.tilt) - p * sin(world.tilt)
    outermost = max(abs(p), abs(q))
    if outermost < world.reach - 0.01 or outermost > world.reach + 0.01:
        return outermost < world.reach
    along = q * world.height if abs(p) > abs(q) else p * world.width
    step = share(hash_bits(world.key + FLIGHT, int(floor(along / 70)), 31), 8) - 0.5
    return outermost < world.reach + 0.012 * step


@compiled
def _house(key, x, y):
    """The lot of a village at a point: (roof or not, colour, height). Houses always lie inside their lots."""
    i, j = int(floor(x / LOT)), int(floor(y / LOT))
    lot = hash_bits(key, i, j)
    half_x, half_y = 9.0 + 7.5 * share(lot, 0), 7.5 + 8.0 * share(lot, 8)
    center_x = half_x + 1 + (LOT - 2 * half_x - 2) * share(lot, 16)
    center_y = half_y + 1 + (LOT - 2 * half_y - 2) * share(lot, 24)
    dx, dy = x - i * LOT - center_x, y - j * LOT - center_y
    inside = abs(dx) < half_x and abs(dy) < half_y and share(lot, 32) < 0.84
    yard = mix((150.0, 140.0, 122.0), (112.0, 118.0, 84.0), share(lot, 40))
    if not inside:
        return False, yard, 0
    style, tone = draw(lot, 1, 0.0, 1.0), draw(lot, 2, 0.72, 1.08)
    roof = (164.0, 160.0, 152.0)  # concrete
    if style < 0.22:
        roof = (158.0, 96.0, 78.0)  # tiles
    elif style < 0.38:
        roof = (96.0, 128.0, 172.0)  # painted sheet
    elif style < 0.66:
        roof = (118.0, 116.0, 114.0)  # slate
    elif style < 0.76:
        roof = (222.0, 220.0, 214.0)
    slope = 1.0
    if style < 0.66:  # a gable: one side of the roof is in the light
        slope = 1.1 if (dy if half_x > half_y else dx) < 0 else 0.86
    elif max(abs(dx) - half_x, abs(dy) - half_y) > -1.6:  # a flat roof has a parapet
        slope = 1.16
    return True, scaled(roof, tone * slope), int(6 + 7 * share(lot, 44))


@compiled
def _village(world, x, y):
    """The village ground at a point: (inside or not, roof or not, colour, height)."""
    i, j = int(floor(x / VILLAGE)), int(floor(y / VILLAGE))
    key = hash_bits(world.key + VILLAGES, i, j)
    radius = 120.0 + 70.0 * share(key, 0)
    center_x = i * VILLAGE + 265 + (VILLAGE - 530) * share(key, 16)
    center_y = j * VILLAGE + 265 + (VILLAGE - 530) * share(key, 32)
    dx, dy = x - center_x, y - center_y
    if dx * dx + dy * dy > (1.25 * radius + 30) ** 2:
        return False, False, (0.0, 0.0, 0.0), 0
    turn = world.angle + share(key, 40) - 0.5
    along, across = dx * cos(turn) + dy * sin(turn), dy * cos(turn) - dx * sin(turn)
    lot_x, lot_y = (floor(along / LOT) + 0.5) * LOT, (floor(across / LOT) + 0.5) * LOT
    ragged = radius * (0.75 + 0.5 * share(hash_bits(key, int(lot_x), int(lot_y)), 8))
    if lot_x * lot_x + lot_y * lot_y * 1.7 > ragged * ragged:
        return False, False, (0.0, 0.0, 0.0), 0
    roof, color, height = _house(key, along, across)
    return True, roof, color, height


@compiled
def _pond(world, x, y, wobble):
    """How deep inside a pond a point lies, in pixels; negative on land."""
    i, j = int(floor(x / POND)), int(floor(y / POND))
    key = hash_bits(world.key + PONDS, i, j)
    if share(key, 0) > 0.4:
        return -100.0
    radius = 14.0 + 34.0 * share(key, 8)
    dx = x - i * POND - 80 - (POND - 160) * share(key, 24)
    dy = y - j * POND - 80 - (POND - 160) * share(key, 40)
    return radius * (0.7 + 0.6 * wobble) - sqrt(dx * dx + (1.0 + share(key, 4)) * dy * dy)


@compiled
def _road(world, x, y, bend):
    """The distance to the middle of the nearest road. Roads run in two families, with bends."""
    along, across = x * cos(world.angle) + y * sin(world.angle), y * cos(world.angle) - x * sin(world.angle)
    _, first = slot_at(world.key + ROADS_ALONG, along + 90 * bend, ROAD)
    _, second = slot_at(world.key + ROADS_ACROSS, across - 90 * bend, ROAD)
    return min(first, second)


@compiled
def _tree(world, x, y, density):
    """How far inside the nearest crown a point lies, as a share of its radius (0 outside), and the crown's key."""
    i0, j0 = int(floor(x / TREE)), int(floor(y / TREE))
    inside, key = 0.0, 0
    for i in range(i0 - 1, i0 + 2):
        for j in range(j0 - 1, j0 + 2):
            tree = hash_bits(world.key + TREES, i, j)
            vigour = density - share(tree, 0)
            if vigour <= 0:
                continue
            radius = min(4.0 + 9.0 * vigour, 4.5 + 6.0 * share(tree, 8))
            dx, dy = (i + share(tree, 16)) * TREE - x, (j + share(tree, 32)) * TREE - y
            depth = 1 - sqrt(dx * dx + dy * dy) / radius
            if depth > inside:
                inside, key = depth, tree
    return inside, key


@compiled
def _border(ours, theirs, edge, field, color):
    """What runs between two blocks: a track, a hedge or a ditch. Gives (kind, colour, density of trees)."""
    pair = hash_bits(min(ours, theirs), 5, max(ours, theirs))
    habit = share(pair, 0)
    if habit < 0.55:
        half = 2.0 + 2.2 * share(pair, 16)
        if edge < half:
            return OTHER, mix((172.0, 154.0, 126.0), (140.0, 134.0, 120.0), share(pair, 24)), 0.0
        return field.kind, color, 0.35 if edge < half + 5 and habit < 0.2 else 0.0
    if edge < 3.0:
        return OTHER, mix(field.canopy, field.soil, 0.4 * share(pair, 32)), 0.85 if habit < 0.8 else 0.2
    return field.kind, color, 0.7 if edge < 8 and habit < 0.8 else 0.0


@compiled
def _stand(world, field, ours, theirs, edge, ridge, x, y):
    """What stands at a point: (kind, colour, height in pixels)."""
    patch, wobble = noise(world.key + PATCHES, x / 24.0, y / 24.0)
    bend, grove = noise(world.key + GROVES, x / 480.0, y / 480.0)
    color, kind, height = field_color(field, x, y, patch), field.kind, 0
    if ridge < 1.3:  # the bund between two parcels; surveyors don't draw it
        color = mix(field.soil, field.canopy, wobble)
    density = 0.0
    if edge < 12:
        kind, color, density = _border(ours, theirs, edge, field, color)
    if field.kind == WOOD:
        density = 0.9
    elif field.kind == MEADOW or field.kind == WASTE:
        density = max(density, 2.2 * (grove - 0.62))
    elif 0 < field.kind < BUILDING and edge >= 12:
        density = LONE
    settled, roof, yard, roof_height = _village(world, x, y)
    if settled:
        kind, color, height = (BUILDING if roof else OTHER), yard, roof_height
        if not roof:
            color, density = scaled(color, 0.85 + 0.3 * patch), 0.22
    depth = _pond(world, x, y, wobble)
    if depth > -3 and not settled:
        kind, color, density = OTHER, (122.0, 112.0, 86.0), 0.0
        if depth > 0:
            color = mix((74.0, 92.0, 86.0), (52.0, 74.0, 78.0), clamp(depth / 14) * (0.7 + 0.3 * patch))
    road = _road(world, x, y, bend)
    if road < 12 and not roof:
        density = 0.3 if road > 7.5 else 0.0
        if road < 7.5:
            kind, color = OTHER, (146.0, 146.0, 144.0) if road < 5.2 else (134.0, 126.0, 100.0)
    if density > 0 and not roof:
        crown, tree = _tree(world, x, y, density)
        if crown > 0:
            height = int(3 + 7 * sqrt(min(crown * 1.2, 1.0)))
            if density > LONE:  # surveyors draw around a field, not around the odd tree in it
                kind = OTHER
            leaves, _ = noise(tree, x / 2.0, y / 2.0)
            color = mix((48.0, 74.0, 40.0), (96.0, 116.0, 62.0), share(tree, 4))
            color = scaled(color, 0.65 + 0.3 * crown + 0.4 * leaves)
    return kind, color, height


@compiled
def grow(world, first_row, first_col, kinds, heights, pixels):
    """Fills the arrays, whose first pixel is (first_row, first_col), with kind, height and colour of the ground."""
    parcel, block = -1, -1
    frame, field = frame_of(0, world.angle), sow(0, 0.0)
    for r in range(kinds.shape[0]):
        for c in range(kinds.shape[1]):
            row, col = first_row + r, first_col + c
            if not _flown(world, row, col):
                kinds[r, c], heights[r, c] = OUTSIDE, 0
                continue
            # Borders wander; the rows in a field are as straight as the tractor drove.
            shift_x, shift_y = noise(world.key + WANDERING, col / 210.0, row / 210.0)
            x, y = col + 46 * shift_x, row + 46 * shift_y
            ours, theirs, edge = block_at(world.key + BLOCKS, x, y)
            if ours != block:
                block, frame = ours, frame_of(ours, world.angle)
            here, ridge = parcel_at(ours, frame, x, y)
            if here != parcel:
                parcel, field = here, sow(here, frame[4])
            kind, color, height = _stand(world, field, ours, theirs, edge, ridge, x, y)
            kinds[r, c], heights[r, c] = kind, height
            for band in range(3):
                pixels[r, c, band] = int(min(max(color[band], 0.0), 255.0))
