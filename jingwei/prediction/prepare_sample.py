"""A sample made into a raster of which any window can be read at once: what prediction reads."""

from dataclasses import asdict
from pathlib import Path

from jingwei.crops.tile import tile_scene
from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.inputs.sample_scene import open_sample
from jingwei.inputs.samples import Sample
from jingwei.inputs.sar import SarReader, SarSettings
from jingwei.raster.stamps import STAMP, stamp, up_to_date
from jingwei.raster.writing import TiledWriter

SMALL_PX = 4_000_000  # a scene of so many pixels can be read whole, whatever its file's layout


def prepare_scene(sample: Sample, sar: SarSettings | None, target: Path, workers: int) -> Path:
    """A raster of the sample that any window can be read from: its own file, or `target`, a tiled GeoTIFF.

    Optical files are taken as they are where they are tiled or small. Radar becomes 4 float32 bands of decibels, as
    `sar` says, with a mask of validity. A target that is up to date is kept. Raises InputError for a sample of the
    other kind, one that is broken and, where it is not taken as it is, one without a valid pixel.
    """
    with open_sample(sample, sar) as image:
        if not sample.is_sar:
            if image.tiled or image.height * image.width <= SMALL_PX:
                return sample.images[0]
        else:
            mark = stamp(*sample.images, **asdict(sar), stage="sar")
            if not up_to_date(target, mark):
                _write_sar(image, target, workers, mark)
            return target
    tile_scene(sample.images[0], target, workers)
    return target


def _write_sar(image: SarReader, target: Path, workers: int, mark: str) -> None:
    kind = {"bands": image.bands, "dtype": image.dtype.name, "mask": True}
    any_valid = False
    with TiledWriter(target, *image.shape, like=image, workers=workers, tags={STAMP: mark}, **kind) as writer:
        for first, decibels, valid in image.strips():
            any_valid |= bool(valid.any())
            writer.write(Window(first, 0, *valid.shape), decibels, valid)
        if not any_valid:
            raise InputError(image.path, "has no valid pixel: HH is 0 everywhere", "check the file")
