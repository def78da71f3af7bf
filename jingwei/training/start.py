"""What a fresh run begins with: the data that its network is built for, its normalisation and its weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from jingwei.errors import CheckpointError
from jingwei.legend import Legend
from jingwei.models.checkpoints import fits_type, load_checkpoint
from jingwei.models.families import find_backbone, find_family
from jingwei.models.first_layer import usual_names
from jingwei.models.pretrained import load_imagenet, put
from jingwei.models.segmenter import Segmenter
from jingwei.models.weights import Donor, fetch, find_weights, normalisation, read_file
from jingwei.spectrum import RGB, agree, named_set, what_is_wrong


@dataclass(frozen=True)
class DataKind:
    """What a network is built for: bands and their type, mean and std per band, classes and their training pixels.

    `source` says how radar files become those bands (SarSettings); empty: files as they are. `stamp` tells the crops
    from others. The legend names the bands, where they have names.
    """

    dtype: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    legend: Legend
    class_pixels: tuple[int, ...]
    source: dict = field(default_factory=dict)
    stamp: str = ""

    @property
    def bands(self) -> tuple[str, ...]:
        """The names of its bands; of three without names, red, green and blue; else "" for a band without."""
        return usual_names(self.legend.bands, len(self.mean))


@dataclass(frozen=True)
class Start:
    """The weights that a fresh run begins with: named ones, an experiment's, or (neither) ImageNet's or random ones.

    `weights`: a file or a name, see `models.weights`; `bands` are those that it was made for, where it doesn't say.
    """

    weights: Path | str | None = None
    experiment: Path | None = None  # a checkpoint of ours, whose normalisation is taken over too
    bands: str = ""

    @property
    def source(self) -> str:
        """The experiment or the weights, as they were named; "" for ImageNet's or random ones."""
        return str(self.experiment or self.weights or "")

    def check(self) -> "Start":
        """The start itself, or a SettingError or CheckpointError for weights that are not there."""
        if self.weights is not None:
            find_weights(self.weights)
        if self.bands and (wrong := what_is_wrong(named_set(self.bands))):
            raise CheckpointError(
                f"`weights_bands` {self.bands}", wrong, "name the bands in their order: blue,green,red"
            )
        return self

    def normalised(self, kind: DataKind, pretrained: bool, model: str, backbone: str) -> DataKind:
        """The data with the mean and std by which its network normalises.

        Those of a checkpoint of ours to start from, where the data is as its was; of other weights what they expect,
        where the data is as theirs was (8-bit red, green and blue, in any order); else the data's own.
        """
        if self.experiment:
            first = load_checkpoint(self.experiment)
            alike = fits_type(first, kind.dtype) and bool(first.source) == bool(kind.source)
            if alike and (reordered := _in_order((first.mean, first.std), first.legend.bands, kind)):
                return replace(kind, mean=reordered[0], std=reordered[1])
        found = find_weights(self.weights) if self.weights is not None else None
        if isinstance(found, Path):
            donor = read_file(found)
            fits = donor.statistics and donor.statistics[2] == kind.dtype
            if fits and (reordered := _in_order(donor.statistics[:2], donor.bands, kind)):
                return replace(kind, mean=reordered[0], std=reordered[1])
        by_name = isinstance(found, str)
        if (pretrained or by_name) and kind.dtype == "uint8":
            encoder = find_backbone(backbone, find_family(model))
            expected = normalisation(found if by_name else None, encoder)
            of_pixels = [tuple(255 * value for value in values) for values in expected]
            if reordered := _in_order(of_pixels, RGB, kind):
                return replace(kind, mean=reordered[0], std=reordered[1])
        return kind

    def load(self, model: Segmenter, pretrained: bool, kind: DataKind) -> list[str]:
        """Puts the weights into a network that a fresh run starts from; random ones stay where there are none.

        Returns lines that are good to know.
        """
        source = self.experiment or self.weights
        if source:
            return put(model, self._donor(source), kind.legend.bands)[1]
        return load_imagenet(model, kind.legend.bands) if pretrained else []

    def _donor(self, source: Path | str) -> Donor:
        donor = fetch(source)
        return replace(donor, bands=named_set(self.bands)) if self.bands and not self.experiment else donor


def _in_order(numbers: Sequence[Sequence[float]], names: Sequence[str], kind: DataKind) -> list[tuple] | None:
    """Numbers per band, in the data's order of bands; None where they are of other bands."""
    if any(len(values) != len(kind.mean) for values in numbers):
        return None
    theirs = usual_names(names, len(kind.mean))
    if agree(theirs, kind.bands):
        return [tuple(values) for values in numbers]
    if sorted(theirs) != sorted(kind.bands) or "" in theirs:
        return None
    return [tuple(values[theirs.index(name)] for name in kind.bands) for values in numbers]
