"""Small folders of samples, optical and radar, in the layouts that people have."""

from pathlib import Path

import numpy as np
import rasterio

from jingwei.inputs.sar import CHANNELS
from jingwei.legend import GF2, GF3, NODATA
from jingwei.raster.png import write_png


def write_tiff(path: Path, pixels_CHW: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels_CHW.shape
    kind = {"height": height, "width": width, "count": bands, "dtype": pixels_CHW.dtype}
    with rasterio.open(path, "w", driver="GTiff", photometric="minisblack", **kind) as file:
        file.write(pixels_CHW)
        if bands == 4:
            file.colorinterp = [rasterio.enums.ColorInterp.undefined] * 4


def blocky(shape, classes: int, seed: int, side=12) -> np.ndarray:
    """Labels of square fields."""
    rows, cols = (-(-length // side) for length in shape)
    fields = np.random.default_rng(seed).integers(0, classes, (rows, cols), dtype=np.uint8)
    return fields.repeat(side, 0).repeat(side, 1)[: shape[0], : shape[1]]


def painted(labels: np.ndarray, legend) -> np.ndarray:
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(legend)] = [c.color for c in legend.classes]
    return colors[labels]


def write_optical(
    folder: Path, labels: dict[str, np.ndarray], bands=3, dtype="uint8", images="img", masks="lbl"
) -> None:
    """Samples by name, with masks in GF2's colours; the first band tells the class."""
    for number, (name, its) in enumerate(labels.items()):
        pixels = np.random.default_rng(number).integers(0, 9, (bands, *its.shape))
        pixels[0] += 20 * its
        write_tiff(folder / images / f"{name}.tif", pixels.astype(dtype))
        write_png(folder / masks / f"{name}_gt.png", painted(its, GF2))


def write_sar(folder: Path, labels: dict[str, np.ndarray]) -> None:
    """Radar samples by name, amplitudes by class under speckle; unlabelled pixels have no data."""
    for number, (name, its) in enumerate(labels.items()):
        speckle = np.random.default_rng(number).gamma(4, 0.25, (4, *its.shape))
        amplitude = np.sqrt(speckle) * (100 + 300 * its.astype(np.float64))
        amplitude[:, its == NODATA] = 0
        for channel, plane in zip(CHANNELS, amplitude, strict=True):
            write_tiff(folder / "img" / f"{name}_{channel}.tiff", plane[None].astype(np.uint16))
        write_png(folder / "lbl" / f"{name}_gt.png", painted(its, GF3))
