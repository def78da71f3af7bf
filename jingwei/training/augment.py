"""What a training window goes through between its crop and the network: numpy and OpenCV, any bands, any type.

Whatever lies outside a crop becomes NODATA in the labels, so that no padding is ever learned as a class. Nothing here
writes into the arrays that it is given: they may be parts of a crop that is kept for later.
"""

from collections.abc import Callable
from math import ceil, cos, radians, sin

import cv2
import numpy as np

from jingwei.legend import NODATA
from jingwei.raster.histogram import histogram
from jingwei.raster.pixels import as_type
from jingwei.training.shrink import shrink

TRIES = 4  # positions tried for a window that is at least half labelled
QUARTER_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


def random_window(
    pixels: np.ndarray,
    labels: np.ndarray,
    size: int,
    scale: float,
    rng: np.random.Generator,
    target: int = -1,
    fill: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A window of `size` px after scaling by `scale`, at a random place: (pixels_HWC, labels_HW).

    The window covers round(size / scale) px of the crop; a crop smaller than that is padded, with NODATA labels.
    With a `target` class that the crop has, the window shows a random pixel of it, anywhere in the window. What was not
    seen takes `fill`, a value per band, before it could be blended into its neighbours.
    """
    side = max(1, round(size / scale))
    pixel = _random_pixel(labels, target, rng) if target >= 0 else None
    row, col = _labelled_place(labels, side, rng) if pixel is None else _place_around(pixel, labels.shape, side, rng)
    pixels = pixels[row : row + side, col : col + side]
    labels = labels[row : row + side, col : col + side]
    bottom, right = side - labels.shape[0], side - labels.shape[1]
    if bottom or right:
        pixels = np.pad(pixels, ((0, bottom), (0, right), (0, 0)))
        labels = np.pad(labels, ((0, bottom), (0, right)), constant_values=NODATA)
    if fill is not None:
        pixels = fill_unseen(pixels, labels, fill)
    return resize(pixels, labels, size)


def _labelled_place(labels: np.ndarray, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """(row, col) of a window: the best-labelled of several places, since crops at a flight's edge are largely empty."""
    height, width = labels.shape
    best = None
    for _ in range(TRIES):
        row = int(rng.integers(0, max(1, height - side + 1)))
        col = int(rng.integers(0, max(1, width - side + 1)))
        part = labels[row : row + side, col : col + side]
        share = np.count_nonzero(part != NODATA)
        if best is None or share > best[0]:
            best = (share, row, col)
        if 2 * share >= part.size:
            break
    if not best[0] and (pixel := _random_pixel_of(labels != NODATA, rng)):  # a few strokes in a large crop
        return _place_around(pixel, labels.shape, side, rng)
    return best[1:]


def _random_pixel(labels: np.ndarray, target: int, rng: np.random.Generator) -> tuple[int, int] | None:
    """(row, col) of a pixel of class `target`, all as likely; None where there is none."""
    return _random_pixel_of(labels == target, rng)


def _random_pixel_of(here: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | None:
    """(row, col) of a pixel that is `here` (bool HW), all as likely; None where there is none."""
    # Row by row: a list of all the pixels of a common class would cost three times as much.
    ends = cv2.reduce(here.view(np.uint8), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel().cumsum()
    if not ends[-1]:
        return None
    number = int(rng.integers(ends[-1]))
    row = int(ends.searchsorted(number, side="right"))
    return row, int(np.flatnonzero(here[row])[number - ends[row]])  # counted from the row's last


def _place_around(
    pixel: tuple[int, int], shape: tuple[int, int], side: int, rng: np.random.Generator
) -> tuple[int, int]:
    """(row, col) of a window that holds a pixel and lies inside the crop, as far as that is large enough."""
    row, col = (
        int(rng.integers(max(0, min(at - side + 1, last)), min(at, last) + 1))
        for at, last in zip(pixel, (max(0, length - side) for length in shape), strict=True)
    )
    return row, col


def resize(pixels: np.ndarray, labels: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Both at `size` x `size`: pixels by area or linear interpolation, labels by the nearest pixel."""
    if labels.shape == (size, size):
        return pixels, labels
    smaller = labels.shape[0] > size
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR

    def resized(part: np.ndarray) -> np.ndarray:
        if smaller and part.dtype == np.uint8:
            return shrink(part, size)
        return cv2.resize(part, (size, size), interpolation=how)

    pixels = _by_fours(resized, pixels)
    labels = cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    return pixels, labels


def _by_fours(change: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """`change` of pixels_HWC, four bands at a time: OpenCV takes no more, and drops the axis of a single one."""
    return _joined([change(pixels[..., four]) for four in _fours(pixels.shape[2])])


def _fours(bands: int) -> list[slice]:
    return [slice(first, min(first + 4, bands)) for first in range(0, bands, 4)]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    parts = [part.reshape(*part.shape[:2], -1) for part in parts]
    return np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]


def rotated_side(size: int, degrees: float) -> int:
    """The side of the window that a rotation cuts one of `size` px from, with nothing missing at its corners."""
    return ceil(size * (abs(cos(radians(degrees))) + abs(sin(radians(degrees)))))


def rotate(pixels: np.ndarray, labels: np.ndarray, size: int, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a square window, `size` x `size`, turned counter-clockwise: (pixels_HWC, labels_HW).

    Pixels by linear interpolation, labels by the nearest pixel; outside the window are 0 and NODATA.
    """
    across, along = cos(radians(degrees)), sin(radians(degrees))
    before, after = (labels.shape[0] - 1) / 2, (size - 1) / 2  # the middles
    from_turned = np.array([
        [across, -along, before - after * (across - along)],
        [along, across, before - after * (across + along)],
    ])  # fmt: skip

    def turned(part: np.ndarray, how: int, outside: int) -> np.ndarray:
        flags = how | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(part, from_turned, (size, size), flags=flags, borderValue=(outside,) * 4)

    return (
        _by_fours(lambda part: turned(part, cv2.INTER_LINEAR, 0), pixels),
        turned(labels, cv2.INTER_NEAREST, NODATA),
    )


def fill_unseen(pixels: np.ndarray, labels: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """Pixels outside the flight and padding (0 in all bands and unlabelled) become `fill`, a value per band: HWC.

    The black of nodata would be the strongest signal in a picture. The mean that the network subtracts is none.
    """
    unseen = unlabelled_of(pixels, labels, np.zeros_like(fill))
    return pixels if unseen is None else replaced(pixels, unseen, fill)


def unlabelled_of(pixels: np.ndarray, labels: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Where pixels_HWC are unlabelled and hold `values`, one per band, rounded to the pixels' type.

    HW uint8, 255 there, else 0; None where there are none.
    """
    unlabelled = cv2.inRange(labels, NODATA, NODATA)
    if not cv2.countNonZero(unlabelled):  # most windows
        return None
    values = as_type(values, pixels.dtype).astype(float)
    for four in _fours(len(values)):
        exactly = tuple(values[four])
        cv2.bitwise_and(unlabelled, cv2.inRange(pixels[..., four], exactly, exactly), unlabelled)
    return unlabelled if cv2.countNonZero(unlabelled) else None


def replaced(pixels: np.ndarray, here: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A copy of pixels_HWC with `values`, one per band, where `here` (HW) is not 0."""
    pixels, here = pixels.copy(), here > 0
    for band, value in enumerate(as_type(values, pixels.dtype)):
        np.copyto(pixels[..., band], value, where=here)
    return pixels


def random_light(
    pixels: np.ndarray, mean: np.ndarray, std: np.ndarray, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Another light: gain and offset at random, HWC, safe for any band count and unit.

    `mean` and `std` are the bands' (float, of C). All bands brighten together by up to `strength` standard deviations,
    each alone by half of that; contrast changes by the same shares. Of uint8 comes uint8, rounded, and cut off at 0 and
    255 as a camera's are; of all other types float32.
    """
    bands = len(mean)
    gain = 1 + rng.uniform(-1, 1) * strength + rng.uniform(-0.5, 0.5, bands) * strength
    offset = mean - mean * gain + (rng.uniform(-1, 1) + rng.uniform(-0.5, 0.5, bands)) * strength * std
    pixels = pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)
    changes = ((four, np.column_stack([np.diag(gain[four]), offset[four]])) for four in _fours(bands))
    return _joined([cv2.transform(pixels[..., four], change) for four, change in changes])


def random_turn(
    pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator, quarters: bool = True, mirrors: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """One of the eight turns and mirrorings of a square, all as likely; or of the four turns, or the two mirrorings."""
    turns = int(rng.integers(4)) if quarters else 0
    mirrored = bool(rng.integers(2)) if mirrors else False

    def turned(part: np.ndarray) -> np.ndarray:
        if turns:
            part = cv2.rotate(part, QUARTER_TURNS[turns])
        return cv2.flip(part, 1) if mirrored else part

    # By OpenCV: numpy only changes the strides, and all that comes after would be slowed down by them.
    return _by_fours(turned, pixels), turned(labels)


def random_hue(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """The hue turned by up to `strength` of the full circle, the saturation times 1 +- 2 * `strength`: uint8 RGB, HWC.

    The value, which is each pixel's largest band, stays; so does grey.
    """
    turn, gain = 360 * rng.uniform(-strength, strength), 1 + 2 * rng.uniform(-strength, strength)
    hsv = cv2.cvtColor(np.ascontiguousarray(pixels, np.float32), cv2.COLOR_RGB2HSV)  # degrees, 0 to 1, 0 to 255
    hsv[..., 0] += turn % 360  # OpenCV takes hues beyond the circle's end, but none before its beginning
    hsv[..., 1] *= gain
    np.minimum(hsv[..., 1], 1, out=hsv[..., 1])
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).astype(np.uint8)


def random_blur(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: a Gaussian of 0.3 to 1.2 px (standard deviation) over pixels_HWC."""
    sigma = rng.uniform(0.3, 1.2)
    return _by_fours(lambda part: cv2.GaussianBlur(part, (0, 0), sigma), pixels)


def coarse_dropout(pixels: np.ndarray, fill: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """1 to 6 rectangles of pixels_HWC hidden under `fill`, a value per band; sides are 1/16 to 1/4 of the window's.

    The labels stay: what lies under a rectangle has to be predicted from what is around it (DeVries and Taylor 2017).
    """
    pixels = pixels.copy()
    fill = as_type(fill, pixels.dtype)
    for _ in range(rng.integers(1, 7)):
        place = tuple(_random_span(length, rng) for length in pixels.shape[:2])
        pixels[place] = fill
    return pixels


def _random_span(length: int, rng: np.random.Generator) -> slice:
    """1/16 to 1/4 of a side."""
    shortest = ceil(length / 16)
    span = int(rng.integers(shortest, max(shortest, length // 4) + 1))
    first = int(rng.integers(0, length - span + 1))
    return slice(first, first + span)


def class_mix(
    pixels: np.ndarray,
    labels: np.ndarray,
    other_pixels: np.ndarray,
    other_labels: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """ClassMix (Olsson et al. 2021): half of another window's classes, rounded up, pasted in: (pixels_HWC, labels_HW).

    Both windows are of one size and type. NODATA is not a class, and is never pasted.
    """
    present = np.flatnonzero(histogram(other_labels)[:NODATA])
    pasted = np.zeros(256, bool)
    pasted[rng.choice(present, -(-len(present) // 2), replace=False)] = True
    pasted = pasted[other_labels]
    return np.where(pasted[..., None], other_pixels, pixels), np.where(pasted, other_labels, labels)
