"""The spatial split: which blocks of which scenes are for validation, and what that hides in each crop.

A scene is divided into blocks, and whole blocks go to validation. In every label crop the pixels that belong to the
other side become NODATA; validation pixels keep a gap of SPLIT_GAP px from every training block. So no validation pixel
lies next to a training one, however crops overlap.
"""

import hashlib
from typing import TypeVar

import numpy as np

from jingwei.crops.table import VALIDATION, Crop
from jingwei.grid import Blocks, Window

SPLIT_GAP = 16  # px between validation pixels and training blocks: more than the blur of a label's edge
K = TypeVar("K")  # what names a block


def scene_blocks(height: int, width: int, crop_size: int) -> Blocks:
    """The blocks of a scene: a crop's side, up to four in giant scenes, where larger blocks lose less to the gaps."""
    return Blocks(height, width, crop_size * max(1, min(4, min(height, width) // (8 * crop_size))))


def choose_validation(crops: list[Crop], blocks: dict[str, Blocks], fraction: float) -> set[tuple[str, int]]:
    """Blocks (scene, number) for validation, so that each class has about `fraction` of its pixels there."""
    counts: dict[tuple[str, int], np.ndarray] = {}
    for crop in crops:
        key = (crop.scene, blocks[crop.scene].of(crop.window))
        counts[key] = counts.get(key, 0) + np.array(crop.pixels, np.float64)
    return choose_blocks(counts, fraction)


def choose_blocks(counts: dict[K, np.ndarray], fraction: float) -> set[K]:
    """Of blocks of any kind, with their pixels per class, those for validation: `fraction` of each class, or nearly.

    First, the rarest first, every class that lives in two blocks or more gets one, the one with the fewest pixels in
    all; then blocks are added as long as one brings the shares of all classes nearer to `fraction`. No class loses its
    last training block, so a class that lives in one block stays in training.
    """
    if fraction <= 0 or len(counts) < 2:
        return set()
    keys = sorted(counts, key=lambda key: hashlib.sha256(f"{key}".encode()).digest())  # no side of a scene comes first
    pixels = np.stack([counts[key] for key in keys])  # (blocks, classes)
    pixels = pixels[:, pixels.any(axis=0)]
    # The share of all pixels counts as one more class, or blocks of the commonest alone could be added for nothing.
    shares = np.column_stack([pixels, pixels.sum(axis=1)]) / np.append(pixels.sum(axis=0), pixels.sum())
    lives = pixels > 0
    chosen = np.zeros(len(keys), bool)

    def candidates() -> np.ndarray:
        """Blocks that may still be added: none of their classes would lose its last training block."""
        last = lives[~chosen].sum(axis=0) == 1
        return ~chosen & ~(lives & last).any(axis=1)

    for land_class in pixels.sum(axis=0).argsort(kind="stable"):
        here = lives[:, land_class]
        if here.sum() >= 2 and not (chosen & here).any() and (candidates() & here).any():
            possible = np.flatnonzero(candidates() & here)
            chosen[possible[pixels[possible].sum(axis=1).argmin()]] = True
    while candidates().any():
        reached = shares[chosen].sum(axis=0)
        distances = np.where(candidates(), np.abs(reached + shares - fraction).sum(axis=1), np.inf)
        best = int(distances.argmin())
        if chosen.any() and distances[best] >= np.abs(reached - fraction).sum():
            break
        chosen[best] = True
    return {keys[i] for i in np.flatnonzero(chosen)}


def masked_parts(crop: Crop, blocks: Blocks, validation: set[tuple[str, int]]) -> list[Window]:
    """The parts of a crop that belong to the other side of the split, in the crop's own coordinates."""
    is_validation = crop.split == VALIDATION
    margin = SPLIT_GAP if is_validation else 0
    near = crop.window.grown(margin, blocks.height, blocks.width)
    parts = []
    for number in blocks.touching(near):
        if ((crop.scene, number) in validation) != is_validation:
            other = blocks.window(number).grown(margin, blocks.height, blocks.width)
            overlap = crop.window.overlap(other)
            if overlap:
                parts.append(overlap.relative_to(crop.window.row, crop.window.col))
    return parts
