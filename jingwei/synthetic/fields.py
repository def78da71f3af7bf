"""The farmland: blocks of parcels, what is sown in each, and how that looks from above."""

from math import cos, floor, pi, sin, sqrt
from typing import NamedTuple

import numpy as np

from jingwei.synthetic.noise import clamp, draw, hash_bits, mix, noise, scaled, share
from jingwei.system.compiled import compiled

# What stands on a pixel. The first five are the label ids of the contest; all others are background.
OUTSIDE, TOBACCO, CORN, BARLEY_RICE, BUILDING = range(5)
MEADOW, WASTE, PLOUGHED, ORCHARD, BEDS, FOIL, WOOD, OTHER = range(5, 13)
# (kind, share of the parcels). Roads, villages, hedges and ponds take their area from all of them.
PARCEL_SHARES = np.array(
    [[TOBACCO, 0.20], [CORN, 0.19], [BARLEY_RICE, 0.18], [MEADOW, 0.11], [WASTE, 0.09], [PLOUGHED, 0.09]]
    + [[ORCHARD, 0.05], [BEDS, 0.04], [FOIL, 0.015], [WOOD, 0.035]]
)

BLOCK = 430.0  # pixels between the centres of blocks


class Field(NamedTuple):
    """One parcel: what grows there, in which rows, and how well."""

    key: int
    kind: int
    cos: float  # direction of the rows
    sin: float
    row_spacing: float
    plant_spacing: float
    cover: float  # share of the ground under leaves
    contrast: float
    soil: tuple[float, float, float]
    canopy: tuple[float, float, float]


@compiled
def block_at(key, x, y):
    """The block of parcels at a point (a Voronoi cell), its neighbour there, and the distance to their border."""
    i0, j0 = int(floor(x / BLOCK)), int(floor(y / BLOCK))
    nearest = second = 1e18
    ours, theirs = 0, 0
    our_x = our_y = their_x = their_y = 0.0
    for i in range(i0 - 1, i0 + 2):
        for j in range(j0 - 1, j0 + 2):
            site = hash_bits(key, i, j)
            site_x = (i + 0.1 + 0.8 * share(site, 0)) * BLOCK
            site_y = (j + 0.1 + 0.8 * share(site, 24)) * BLOCK
            distance = (site_x - x) ** 2 + (site_y - y) ** 2
            if distance < nearest:
                second, theirs, their_x, their_y = nearest, ours, our_x, our_y
                nearest, ours, our_x, our_y = distance, site, site_x, site_y
            elif distance < second:
                second, theirs, their_x, their_y = distance, site, site_x, site_y
    apart = sqrt((our_x - their_x) ** 2 + (our_y - their_y) ** 2)
    return ours, theirs, (second - nearest) / (2 * apart + 1e-6)


@compiled
def slot_at(key, place, size):
    """Which of the uneven slots along an axis holds a place, and how far its nearer end is."""
    i = int(floor(place / size))
    low = (i + 0.7 * (share(hash_bits(key, i, 1), 0) - 0.5)) * size
    high = (i + 1 + 0.7 * (share(hash_bits(key, i + 1, 1), 0) - 0.5)) * size
    if place < low:
        return i - 1, low - place
    if place >= high:
        return i + 1, place - high
    return i, min(place - low, high - place)


@compiled
def parcel_at(block, frame, x, y):
    """The parcel at a point of a block: (key, distance to its border)."""
    across, along = y * frame[0] - x * frame[1], x * frame[0] + y * frame[1]
    lane, side = slot_at(block, across, frame[2])
    lane_key = hash_bits(block, lane, 2)
    place, end = slot_at(lane_key, along, frame[3])
    return hash_bits(lane_key, place, 3), min(side, end)


@compiled
def frame_of(block, world_angle):
    """A block's directions and sizes: cosine, sine, width and length of its parcels, angle."""
    angle = world_angle + draw(block, 1, -0.7, 0.7)
    return cos(angle), sin(angle), draw(block, 2, 50.0, 95.0), draw(block, 3, 110.0, 230.0), angle


@compiled
def sow(parcel, block_angle):
    """Decides what grows in a parcel. Colours and vigour are drawn alike for all kinds, so that they tell little."""
    chance, kind = draw(parcel, 1, 0.0, 1.0), WASTE
    for row in range(PARCEL_SHARES.shape[0]):
        kind = int(PARCEL_SHARES[row, 0])
        chance -= PARCEL_SHARES[row, 1]
        if chance < 0:
            break
    angle = block_angle + draw(parcel, 2, -0.12, 0.12) + (pi / 2 if draw(parcel, 3, 0.0, 1.0) < 0.3 else 0.0)
    row_spacing, plant_spacing = draw(parcel, 4, 8.0, 11.0), draw(parcel, 5, 6.5, 8.5)
    if kind == CORN:
        row_spacing = draw(parcel, 4, 4.6, 6.2)
    elif kind == BARLEY_RICE:
        row_spacing = draw(parcel, 4, 2.6, 3.4)
    elif kind == PLOUGHED:
        row_spacing = draw(parcel, 4, 3.5, 8.0)
    elif kind == ORCHARD:
        row_spacing, plant_spacing = draw(parcel, 4, 15.0, 20.0), draw(parcel, 5, 14.0, 19.0)
    elif kind == BEDS:
        row_spacing = draw(parcel, 4, 11.0, 15.0)
    cover = draw(parcel, 6, 0.35, 0.9)
    soil = mix((116.0, 92.0, 70.0), (178.0, 152.0, 118.0), draw(parcel, 7, 0.0, 1.0))
    canopy = mix((58.0, 84.0, 46.0), (140.0, 152.0, 84.0), draw(parcel, 8, 0.0, 1.0))
    canopy = mix(canopy, (150.0, 136.0, 74.0), draw(parcel, 9, 0.0, 0.45))
    if kind == WOOD:
        cover, canopy = 0.95, scaled(canopy, 0.75)
    return Field(
        parcel,
        kind,
        cos(angle),
        sin(angle),
        row_spacing,
        plant_spacing,
        cover,
        draw(parcel, 10, 0.6, 1.0),
        soil,
        canopy,
    )


@compiled
def _plants(field, across, along, spread):
    """Single plants in rows: (leaf cover, light) of round plants, a few of them missing."""
    row = int(floor(across / field.row_spacing))
    along = along / field.plant_spacing + share(hash_bits(field.key, row, 4), 0)
    plant = int(floor(along))
    growth = hash_bits(field.key, row, plant)
    if share(growth, 0) < 0.05:
        return 0.08, 1.0
    radius = sqrt(field.cover * field.row_spacing * field.plant_spacing / pi) * (0.85 + 0.3 * share(growth, 16))
    off_row = across - (row + 0.4 + 0.2 * share(growth, 32)) * field.row_spacing
    off_plant = (along - plant - 0.4 - 0.2 * share(growth, 40)) * field.plant_spacing
    distance = sqrt(off_row * off_row + off_plant * off_plant)
    return clamp((radius - distance) / spread + 0.5), 1.2 - 0.38 * distance / (radius + 0.5)


@compiled
def _pattern(field, x, y, patch):
    """The texture of a field's kind at a point: how much of the soil leaves cover, and how light they are there."""
    across = y * field.cos - x * field.sin + 3.0 * patch  # rows are drawn by hand, not by ruler
    along = x * field.cos + y * field.sin
    cover = field.cover + 0.3 * (patch - 0.5)
    wave = cos(2 * pi * across / field.row_spacing) * field.contrast
    if field.kind == TOBACCO:
        return _plants(field, across, along, 1.6)
    if field.kind == ORCHARD:
        return _plants(field, across, along, 3.0)
    if field.kind == CORN:
        clump, _ = noise(field.key, across / 2.5, along / 4.0)
        return clamp(cover + 0.42 * wave + 0.35 * (clump - 0.5)), 1.0 + 0.16 * wave + 0.2 * (clump - 0.5)
    if field.kind == BARLEY_RICE:
        grain, tuft = noise(field.key, x / 1.7, y / 1.7)
        return clamp(cover + 0.55 * (grain - 0.5) + 0.14 * wave), 0.9 + 0.2 * tuft + 0.04 * wave
    if field.kind == MEADOW:
        grain, _ = noise(field.key, x / 9.0, y / 9.0)
        return clamp(cover + 0.25 * (grain - 0.5)), 1.0
    if field.kind == WASTE:
        clump, tuft = noise(field.key, across / 6.0, along / 6.0)
        twig, _ = noise(field.key, x / 3.0, y / 3.0)
        return clamp(cover + 1.0 * (clump - 0.5) + 0.3 * (twig - 0.5)), 0.85 + 0.3 * tuft
    if field.kind == BEDS:
        return clamp(cover + 1.6 * (wave + 0.2)), 1.0
    if field.kind == PLOUGHED:
        return 0.25 * field.cover * patch, 1.0
    clump, tuft = noise(field.key, x / 3.0, y / 3.0)  # the undergrowth of a wood
    return clamp(0.6 + 0.5 * clump), 0.5 + 0.3 * tuft


@compiled
def field_color(field, x, y, patch):
    """The colour of a field at a point."""
    across = y * field.cos - x * field.sin
    if field.kind == FOIL:  # long low tunnels: as bright as roofs, but not buildings
        tunnel = abs(across / 13.0 - floor(across / 13.0) - 0.5)
        return (
            mix((206.0, 208.0, 206.0), field.soil, clamp((tunnel - 0.36) * 9))
            if tunnel > 0.2
            else (228.0, 230.0, 229.0)
        )
    cover, light = _pattern(field, x, y, patch)
    soil = field.soil
    if field.kind == PLOUGHED:
        soil = scaled(
            soil, 1.0 + 0.13 * field.contrast * cos(2 * pi * across / field.row_spacing) + 0.2 * (patch - 0.5)
        )
    return mix(soil, scaled(field.canopy, light * (0.92 + 0.16 * patch)), cover)
