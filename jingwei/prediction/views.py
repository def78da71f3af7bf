"""The views of a window that test-time augmentation averages, as data: `engines/views.py` shows them."""

from dataclasses import dataclass

STEP = 32  # px: scaled sides are multiples of it, so that no network has to pad


@dataclass(frozen=True)
class View:
    """How a window is shown: scaled, then mirrored left to right, then turned by quarters counter-clockwise.

    Or `shifted` by rows and columns, 0 to STEP px: its border is repeated until it is STEP px larger, so many of them
    above and on its left. Networks look at maps of every 2nd to 32nd pixel: what they say depends on where these lie.
    """

    scale: float = 1.0
    turns: int = 0
    mirrored: bool = False
    shifted: tuple[int, int] | None = None


SHIFTS = ((0, 0), (9, 18), (18, 27), (27, 9))  # all four phases of every 2nd pixel, and four each of coarser maps
SCALES = (0.75, 1.0, 1.25)
TTA = {
    "none": (View(),),
    "flips": tuple(View(1.0, turns, mirrored) for turns in (0, 2) for mirrored in (False, True)),
    "d4": tuple(View(1.0, turns, mirrored) for turns in range(4) for mirrored in (False, True)),
    "shift": tuple(View(shifted=shift) for shift in SHIFTS),
    "scales": tuple(View(scale) for scale in SCALES),
    "flips+scales": tuple(
        View(scale, turns, mirrored) for scale in SCALES for turns in (0, 2) for mirrored in (False, True)
    ),
    "d4+scales": tuple(
        View(scale, turns, mirrored) for scale in SCALES for turns in range(4) for mirrored in (False, True)
    ),
}
