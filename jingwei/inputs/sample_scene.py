"""A sample of a folder as a scene: what the cutter, the checkup and the prediction open."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from jingwei.errors import InputError
from jingwei.inputs.label_files import LabelFiles, in_areas
from jingwei.inputs.masks import Mask
from jingwei.inputs.samples import Sample
from jingwei.inputs.sar import SarReader, SarSettings
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.legend import Legend
from jingwei.raster.reading import Raster, open_image, open_labels


@dataclass(frozen=True)
class SampleScene:
    """A sample with its mask, as the cutter reads scenes."""

    name: str
    sample: Sample
    label: Path
    legend: Legend
    sar: SarSettings | None
    side: str | None = None  # of the split, where the folders or its fields say so
    as_ids: bool = False  # the mask is one of ours: ids as they are
    rules: DrawingRules = AS_DRAWN  # of the mask, where it is drawn

    @property
    def image(self) -> Path:
        return self.sample.images[0]

    @property
    def sources(self) -> tuple[Path, ...]:
        return (*self.sample.images, *self._label_files.sources)

    @property
    def reading(self) -> dict:
        radar = {"sar": asdict(self.sar)} if self.sar else {}
        return radar if self._label_files.rules == AS_DRAWN else radar | self._label_files.reading

    @property
    def _label_files(self) -> LabelFiles:
        return LabelFiles((self.label,), AS_DRAWN if self.as_ids else self.rules)

    def open_image(self) -> Raster | SarReader:
        return open_sample(self.sample, self.sar)

    def open_labels(self, legend: Legend) -> Raster | Mask | DrawnLabels:
        if self.as_ids:
            return open_labels(self.label)
        drawn = self._label_files.drawn
        if not drawn and self.rules.labelled is None:
            return Mask(self.label, legend)
        with self.open_image() as image, ExitStack() as stack:
            if drawn:
                return self._label_files.open(legend, image)
            labels = in_areas(stack.enter_context(Mask(self.label, legend)), self.rules, image)
            stack.pop_all()
        return labels


def open_sample(sample: Sample, sar: SarSettings | None) -> Raster | SarReader:
    """A sample's pixels, to be read. Raises InputError where it is radar and `sar` is None, or the other way round."""
    if sample.is_sar and sar is None:
        problem = f"sample {sample.id} is radar, four files, but optical scenes are wanted here"
        raise InputError(sample.images[0], problem, 'give radar settings ("sar"), or keep the two kinds apart')
    if sar and not sample.is_sar:
        problem = f"sample {sample.id} is one file, but radar is wanted here: four, N_HH.tiff to N_VV.tiff"
        raise InputError(sample.images[0], problem, 'leave the radar settings ("sar") out, or keep the two kinds apart')
    return SarReader(sample.images, sar) if sar else open_image(sample.images[0])
