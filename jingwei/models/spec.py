"""What rebuilds a network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """A network's family, its encoder, its input and its output.

    An empty backbone and an output stride of 0 stand for the family's usual ones; those of a built network are named.
    """

    family: str
    backbone: str | None
    bands: int
    classes: int
    output_stride: int = 0  # px of the picture to one of the encoder's last map
    auxiliary: bool = False
