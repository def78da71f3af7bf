"""What several test files of this folder make their inputs with."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from jingwei.training.recipes import CROSS_ENTROPY

FILL = (120.0, 110.0, 100.0)

RECIPE = replace(CROSS_ENTROPY, batch_size=4, crop_sizes=(32,), jitter=0.0)

ALL_ON = replace(
    RECIPE, balance=0.5, jitter=0.1, hue=0.1, rotate=15.0, blur=0.7, dropout=0.7, class_mix=0.7
)  # fmt: skip

TYPES = ["uint8", "uint16", "int16", "float32"]

types, bands_of = st.sampled_from(TYPES), st.sampled_from([1, 3, 4, 7])


def marked(height: int, width: int, bands: int = 3, dtype="uint8", seed: int = 0):
    """A crop whose pixels tell their labels: every band is 20 times the class, plus 10. Fields of 16 px."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(0, 5, (height // 16 + 1, width // 16 + 1), dtype=np.uint8)
    labels = np.kron(fields, np.ones((16, 16), np.uint8))[:height, :width]
    pixels = np.repeat((20 * labels + 10)[..., None], bands, axis=2).astype(dtype)
    return pixels, labels
