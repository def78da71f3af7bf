"""The files that a prediction makes: finished bands, kept until all are there, and the rasters that they become.

The rasters grow band by band, in the bands' order and so with the same bytes, whether a band comes from the network or
from an earlier run. They are there when all bands are, and until then nothing is.
"""

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np

from jingwei.grid import Window
from jingwei.legend import NODATA
from jingwei.models.checkpoints import Checkpoint
from jingwei.prediction.job import Job, Plan
from jingwei.prediction.pipeline import Finished
from jingwei.raster.map_legend import legend_tags
from jingwei.raster.reading import Raster, open_image
from jingwei.raster.stamps import CONFIDENCE, PART, SCORE, STAMP
from jingwei.raster.writing import TiledWriter


def keep_band(job: Job, band: Finished) -> None:
    """Writes a finished band to the disk, for a run that goes on from there, or for who puts the map together."""
    for kind, path in job.files_of(band.number).items():
        values = _with_bands(band.values[kind])
        count, height, width = values.shape
        with TiledWriter(path, height, width, bands=count, workers=1, durable=False) as writer:
            writer.write(Window(0, 0, height, width), values)


def kept_band(job: Job, number: int) -> Finished:
    """A finished band from the disk."""
    values = {}
    for kind, path in job.files_of(number).items():
        with Raster(path) as part:
            values[kind], _ = part.read(Window(0, 0, part.height, part.width))
    return Finished(number, values)


class Outputs:
    """The rasters of a job while they are written: give all bands in their order. A context manager."""

    def __init__(self, job: Job, plan: Plan, checkpoint: Checkpoint):
        self.job, self.plan = job, plan
        tags = {STAMP: plan.mark, SCORE: str(checkpoint.score)} | legend_tags(checkpoint.legend)
        if (part := job.settings.part) is not None:
            tags[PART] = f"{part:g}"
        said = f"probability, temperature {checkpoint.temperature:g}" if checkpoint.calibration else "probability"
        forms = {
            "labels": {"nodata": NODATA, "colormap": checkpoint.legend.colormap()},
            "confidence": {"nodata": NODATA, "tags": tags | {CONFIDENCE: said}},
            "probabilities": {"nodata": 0, "bands": checkpoint.spec.classes, "band_names": checkpoint.legend.names},
        }
        self._writers = {}
        with open_image(job.source) as image:
            for kind, path in job.outputs.items():
                form: dict[str, Any] = {"like": image, "bands": 1, "workers": job.workers, "tags": tags} | forms[kind]
                self._writers[kind] = TiledWriter(path, image.height, image.width, overviews=True, **form)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for writer in reversed(self._writers.values()):  # the last that is begun is the first that is there: labels
                stack.enter_context(writer)
            self._open = stack.pop_all()
        return self

    def write(self, band: Finished) -> None:
        """Writes the next band."""
        window = self.plan.bands.window(band.number)
        for kind, writer in self._writers.items():
            writer.write(window, _with_bands(band.values[kind]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.job.remove_stale(self.plan.mark)  # first: a new map never stands beside the confidence of an old one
        self._open.__exit__(kind, error, trace)


def _with_bands(values: np.ndarray) -> np.ndarray:
    """HW or CHW as CHW."""
    return values if values.ndim == 3 else values[None]
