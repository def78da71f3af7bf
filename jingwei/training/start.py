"""What a fresh run begins with: the data that its network is built for, its normalisation and its weights."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from jingwei.legend import Legend
from jingwei.models.checkpoints import load_checkpoint
from jingwei.models.pretrained import IMAGENET_MEAN, IMAGENET_STD, load_imagenet, load_weights
from jingwei.models.segmenter import Segmenter


@dataclass(frozen=True)
class DataKind:
    """What a network is built for: bands and their type, mean and std per band, classes and their training pixels.

    `source` says how radar files become those bands (SarSettings); empty: files as they are. `stamp` tells the crops
    from others.
    """

    dtype: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    legend: Legend
    class_pixels: tuple[int, ...]
    source: dict = field(default_factory=dict)
    stamp: str = ""


@dataclass(frozen=True)
class Start:
    """The weights that a fresh run begins with: a file's, an experiment's, or (neither) ImageNet's or random ones."""

    weights: Path | None = None
    experiment: Path | None = None  # a checkpoint of ours, whose normalisation is taken over too

    def normalised(self, kind: DataKind, pretrained: bool) -> DataKind:
        """The data with the mean and std by which its network normalises.

        Those of an experiment to start from; ImageNet's, where its weights expect it (8-bit RGB); else the data's own.
        """
        if self.experiment:
            first = load_checkpoint(self.experiment)
            if len(first.mean) == len(kind.mean):
                return replace(kind, mean=first.mean, std=first.std)
        if pretrained and len(kind.mean) == 3 and kind.dtype == "uint8":
            return replace(kind, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        return kind

    def load(self, model: Segmenter, pretrained: bool) -> None:
        """Puts the weights into a network that a fresh run starts from; random ones stay where there are none."""
        source = self.experiment or self.weights
        if source:
            load_weights(model, source)
        elif pretrained:
            load_imagenet(model)
