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

    def in_words(self) -> str:
        """The network for messages: `unet over resnet34, 3 bands, output stride 32`."""
        encoder = f" over {self.backbone}" if self.backbone else ""
        stride = f", output stride {self.output_stride}" if self.output_stride else ""
        head = ", auxiliary head" if self.auxiliary else ""
        return f"{self.family}{encoder}, {self.bands} bands{stride}{head}"
