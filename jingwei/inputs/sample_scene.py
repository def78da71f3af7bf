"""A sample of a folder as a scene: what the cutter, the checkup and the prediction open."""

from dataclasses import asdict, dataclass
from pathlib import Path

from jingwei.errors import InputError
from jingwei.inputs.label_files import LabelFiles
from jingwei.inputs.masks import Mask
from jingwei.inputs.samples import Sample
from jingwei.inputs.sar import SarReader, SarSettings
from jingwei.labels.drawn import DrawnLabels
from jingwei.legend import Legend
from jingwei.polygons.layers import is_vector
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

    @property
    def image(self) -> Path:
        return self.sample.images[0]

    @property
    def sources(self) -> tuple[Path, ...]:
        return (*self.sample.images, self.label)

    @property
    def reading(self) -> dict:
        return {"sar": asdict(self.sar)} if self.sar else {}

    def open_image(self) -> Raster | SarReader:
        return open_sample(self.sample, self.sar)

    def open_labels(self, legend: Legend) -> Raster | Mask | DrawnLabels:
        if self.as_ids:
            return open_labels(self.label)
        if not is_vector(self.label):
            return Mask(self.label, legend)
        with self.open_image() as image:
            return LabelFiles((self.label,)).open(legend, image)


def open_sample(sample: Sample, sar: SarSettings | None) -> Raster | SarReader:
    """A sample's pixels, to be read. Raises InputError where it is radar and `sar` is None, or the other way round."""
    if sample.is_sar and sar is None:
        problem = f"sample {sample.id} is radar, four files, but optical scenes are wanted here"
        raise InputError(sample.images[0], problem, 'give radar settings ("sar"), or keep the two kinds apart')
    if sar and not sample.is_sar:
        problem = f"sample {sample.id} is one file, but radar is wanted here: four, N_HH.tiff to N_VV.tiff"
        raise InputError(sample.images[0], problem, 'leave the radar settings ("sar") out, or keep the two kinds apart')
    return SarReader(sample.images, sar) if sar else open_image(sample.images[0])
