"""How unsure a scene's map is, pixel by pixel, from what the stages before have left on the disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.legend import NODATA
from jingwei.raster.reading import Raster, read_tags
from jingwei.raster.same_place import check_same_grid
from jingwei.raster.stamps import AGREEMENT, CONFIDENCE, STAMP, up_to_date
from jingwei.workspace import Workspace, confidence_of, probabilities_of


class DoubtSource(NamedTuple):
    """A raster that tells doubt: what it is, in words, its file, and what makes percents (uint8) of its planes_CHW."""

    name: str
    path: Path
    percents: Callable[[np.ndarray], np.ndarray]


def doubt_of(workspace: Workspace, scene: Scene) -> DoubtSource | None:
    """The best that there is: the map's confidence, where it is more than the votes' agreement; the votes' entropy; the
    probabilities of the best model; the agreement.
    """
    entropy, agreement = workspace.entropy(scene), workspace.agreement(scene)
    confidence = workspace.confidence(scene)
    if confidence and read_tags(confidence).get(CONFIDENCE) != AGREEMENT:
        return DoubtSource("confidence", confidence, _of_sureness)
    if entropy.exists():
        return DoubtSource("entropy of the votes", entropy, lambda planes: planes[0])
    for path in workspace.soft_predictions(scene)[:1]:
        return DoubtSource("probabilities", path, _of_probabilities)
    if agreement.exists():
        return DoubtSource("agreement of the votes", agreement, _of_sureness)
    return None


def doubt_of_part(labels: Path) -> DoubtSource | None:
    """What predict.py has left beside a map of a part of a scene: its confidence, else its probabilities. None where
    there is neither, or only what an earlier map of this name has left.
    """
    mark = read_tags(labels).get(STAMP, "")
    if up_to_date(confidence := confidence_of(labels), mark):
        return DoubtSource("confidence", confidence, _of_sureness)
    if up_to_date(probabilities := probabilities_of(labels), mark):
        return DoubtSource("probabilities", probabilities, _of_probabilities)
    return None


def _of_sureness(planes: np.ndarray) -> np.ndarray:
    """100 less the percents of a raster that tells how sure a map is."""
    return (100 - np.minimum(planes[0], 100)).astype(np.uint8)


def _of_probabilities(planes: np.ndarray) -> np.ndarray:
    """What is missing from the highest probability to certainty; NODATA where all are 0."""
    highest = planes.max(axis=0).astype(np.uint16)
    return np.where(highest == 0, NODATA, (100 * (255 - highest) + 127) // 255).astype(np.uint8)


@contextmanager
def open_doubt(source: DoubtSource | None, image: Raster) -> Iterator[Callable[[int, int], np.ndarray] | None]:
    """Gives a function that reads the doubt of rows of a scene, percents, uint8 HW, NODATA where there is none.

    Raises InputError where the raster doesn't lie on the scene or has other values.
    """
    if source is None:
        yield None
        return
    with Raster(source.path) as raster:
        check_same_grid(raster, image)
        if raster.dtype != np.uint8:
            raise InputError(source.path, f"holds {raster.dtype} values, not percents", "make it again")

        def read(first: int, end: int) -> np.ndarray:
            planes, valid = raster.read(Window(first, 0, end - first, raster.width))
            return np.where(valid, source.percents(planes), np.uint8(NODATA))

        yield read
