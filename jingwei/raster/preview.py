"""Pictures for people: scenes of any type as RGB, labels in their legend's colours."""

import numpy as np

from jingwei.legend import NODATA, Legend

NODATA_COLOR = (225, 225, 225)


def natural(pixels_HWC: np.ndarray) -> np.ndarray:
    """The first three bands (or the only one) as uint8 RGB, the brightest and darkest percent cut off."""
    bands = pixels_HWC[..., :3] if pixels_HWC.shape[2] >= 3 else np.repeat(pixels_HWC[..., :1], 3, axis=2)
    return stretched(bands, *limits(bands[bands.any(axis=2)]))


def limits(values: np.ndarray) -> tuple[float, float]:
    """What is shown as black and as white: the first and the last percent of some values. (0, 1) without any."""
    low, high = np.percentile(values, (1, 99)) if values.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))


def stretched(values: np.ndarray, low: float, high: float, black: int = 0) -> np.ndarray:
    """Values of any shape and type as uint8: `low` and below is `black`, `high` and above 255."""
    with np.errstate(invalid="ignore"):  # what is not a number is not shown
        shades = (values.astype(np.float32) - low) * ((255 - black) / (high - low)) + black
        return np.clip(shades, black, 255).astype(np.uint8)


def painted(labels: np.ndarray, legend: Legend) -> np.ndarray:
    """Labels of any shape as uint8 RGB (one more axis), NODATA in light grey."""
    colors = np.zeros((256, 3), np.uint8)
    for land_class in legend.classes:
        colors[land_class.id] = land_class.color
    colors[NODATA] = NODATA_COLOR
    return colors[labels]
