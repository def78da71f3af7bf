"""Whether a scene fits a network: as many bands, of the same type, in the order in which the network knows them."""

from pathlib import Path

from jingwei.errors import CheckpointError
from jingwei.models.checkpoints import Checkpoint, check_type
from jingwei.raster.reading import Raster, open_image
from jingwei.spectrum import RGB, agree, in_words


def open_fitting(path: Path, checkpoint: Checkpoint) -> Raster:
    """A scene whose bands come in the network's order, where both name them: see `Source.arrange`.

    Raises InputError where the file says that bands of the network are not in it.
    """
    image = open_image(path)
    with image.closed_on_error():
        return image.arrange(checkpoint.legend.bands)


def check_scene(checkpoint: Checkpoint, weights: Path, image: Raster) -> None:
    """Raises CheckpointError where a scene has other bands, or pixels of another type, than the network."""
    if image.bands != checkpoint.spec.bands:
        problem = f"was trained on {checkpoint.spec.bands} bands, but {image.path.name} has {image.bands}"
        raise CheckpointError(weights, problem, "take scenes of the same bands, or train again")
    if not checkpoint.source:  # radar comes as decibels, whatever its files hold
        check_type(checkpoint, weights, image.path, image.dtype.name)


def note_on_bands(path: Path, checkpoint: Checkpoint) -> str | None:
    """What is good to know of the order in which the network gets a scene's bands; None where all is as it seems."""
    wanted = checkpoint.legend.bands
    with open_image(path) as image:
        described, coloured = image.described_bands, image.coloured_bands
    if not wanted:
        if not described or agree(described, RGB):
            return None
        return f"its bands are described as {in_words(described)}, but those of the training had no names"
    if described:
        return None if agree(described, wanted) else f"its bands are taken in the network's order: {in_words(wanted)}"
    if agree(coloured, wanted):
        return None
    seen = f"its bands are coloured as {in_words(coloured)}, but the network was trained on {in_words(wanted)}"
    return f"{seen}: taken in the file's order, which must be the network's (describe the bands in the file to be sure)"
