"""Pictures for people: scenes of any type as RGB, labels in their legend's colours."""

import numpy as np

from jingwei.legend import NODATA, Legend

NODATA_COLOR = (225, 225, 225)


def natural(pixels_HWC: np.ndarray) -> np.ndarray:
    """The first three bands (or the only one) as uint8 RGB, the brightest and darkest percent cut off."""
    bands = pixels_HWC[..., :3] if pixels_HWC.shape[2] >= 3 else np.repeat(pixels_HWC[..., :1], 3, axis=2)
    seen = bands[bands.any(axis=2)]
    low, high = np.percentile(seen, (1, 99)) if seen.size else (0, 1)
    return np.clip((bands - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)


def painted(labels: np.ndarray, legend: Legend) -> np.ndarray:
    """Labels of any shape as uint8 RGB (one more axis), NODATA in light grey."""
    colors = np.zeros((256, 3), np.uint8)
    for land_class in legend.classes:
        colors[land_class.id] = land_class.color
    colors[NODATA] = NODATA_COLOR
    return colors[labels]
