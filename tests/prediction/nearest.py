"""A network that finds the nearest colour or echo, and folders of samples for it."""

from pathlib import Path

import numpy as np
import rasterio
import torch
from PIL import Image

from jingwei.inputs.sar import CHANNELS, SarSettings
from jingwei.legend import GF2, Legend
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.spec import ModelSpec
from jingwei.prediction.folder import infer
from jingwei.prediction.folder_items import Inference
from jingwei.prediction.settings import InferenceSettings

MEAN = 20
SMALL = InferenceSettings(window=128, overlap=32, precision="fp32", engine="torch")
RADAR = SarSettings(values="intensity", low=(-30.0,) * 4, high=(10.0,) * 4)
# What each class of GF3 echoes in HH, HV, VH, VV, dB.
ECHOES = np.array([[-7, -14, -14, -14], [-14, -7, -14, -14], [-14, -14, -7, -14],
                   [-14, -14, -14, -7], [-7, -7, -14, -14], [-14, -14, -7, -7]], np.float32)  # fmt: skip


class Nearest(torch.nn.Module):
    """Each pixel's class is the one whose colour, or echo, is nearest to it: right whatever window it lies in."""

    def __init__(self, prototypes: np.ndarray):
        super().__init__()
        self.prototypes = torch.from_numpy(prototypes).float()[:, :, None, None]
        self.shapes: list[tuple[int, int]] = []

    def forward(self, pixels):
        self.shapes += [tuple(pixels.shape[2:])] * len(pixels)
        return -((pixels[:, None] - self.prototypes) ** 2).sum(2) / 20


def brightness(legend: Legend = GF2) -> np.ndarray:
    """A colour per class: grey 30, 50, 70 ..."""
    return np.repeat(30 + 20 * np.arange(len(legend))[:, None], 3, axis=1)


def checkpoint_of(path, monkeypatch, prototypes, legend, source) -> tuple[Path, Nearest]:
    classes, bands = prototypes.shape
    spec = ModelSpec("attention_unet", "mobilenetv3_small_050", bands, classes)
    checkpoint = Checkpoint(spec, "uint8", (float(MEAN),) * bands, (60.0,) * bands, legend, {}, {}, source=source)
    save_checkpoint(path, checkpoint)
    network = Nearest(prototypes)
    monkeypatch.setattr(Checkpoint, "build", lambda self: network)
    return path, network


def fields(height: int, width: int, classes: int, seed: int = 0) -> np.ndarray:
    """Class ids in patches of 1 to 40 px, uint8 HW."""
    rng = np.random.default_rng([height, width, seed])
    rows = np.repeat(np.arange(height), rng.integers(1, 40, height))[:height]
    cols = np.repeat(np.arange(width), rng.integers(1, 40, width))[:width]
    return rng.integers(0, classes, (rows[-1] + 1, cols[-1] + 1)).astype(np.uint8)[rows][:, cols]


def write_raster(path: Path, pixels_CHW: np.ndarray, valid: np.ndarray | None = None, **profile) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels_CHW.shape
    how = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": pixels_CHW.dtype.name}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **how | profile) as file:
        file.write(pixels_CHW)
        if valid is not None:
            file.write_mask(valid)
    return path


def write_optical(path: Path, labels: np.ndarray, valid: np.ndarray | None = None, noise: int = 3, **profile) -> Path:
    """A picture of class ids in `brightness`, with some noise."""
    rng = np.random.default_rng(len(path.stem))
    pixels = brightness()[labels].transpose(2, 0, 1) + rng.integers(-noise, noise + 1, (3, *labels.shape))
    return write_raster(path, pixels.astype(np.uint8), valid, **profile)


def write_radar(
    folder: Path, name: str, labels: np.ndarray, valid: np.ndarray | None = None, dtype: str = "float32"
) -> None:
    """Four files of intensities that echo as ECHOES says; HH is 0 where there is no data."""
    intensities = 10 ** (ECHOES[labels].transpose(2, 0, 1) / 10)
    if valid is not None:
        intensities[0] *= valid
    for channel, plane in zip(CHANNELS, intensities, strict=True):
        write_raster(folder / f"{name}_{channel}.tiff", plane[None].astype(dtype))


def colored(labels: np.ndarray, legend: Legend = GF2) -> np.ndarray:
    """Class ids as RGB, NODATA black."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(legend)] = [land_class.color for land_class in legend.classes]
    return colors[labels]


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        assert opened.format == "PNG"
        assert opened.mode in ("RGB", "L")
        return np.asarray(opened)


def run(source, target, weights, settings=SMALL, **how):
    told = []
    outcome = infer(Inference(source, target, weights, settings, device="cpu", **how), told.append)
    assert told == outcome.broken
    assert not (target / ".inference").exists()
    assert not list(target.rglob("*.part")) + list(target.rglob("*.lock"))
    return outcome


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
