"""Rasters that tests write, and what they read back."""

from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.transform import Affine

from jingwei.grid import Window
from jingwei.raster.reading import open_image

DTYPES = ("uint8", "uint16", "int16", "float32")
ROTATED = Affine.translation(500000, 2800000) @ Affine.rotation(30) @ Affine.scale(0.05, -0.05)


def noise(bands: int, height: int, width: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Random pixels_CHW over most of the type's range."""
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(0, 1e4, (bands, height, width)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (bands, height, width), dtype=dtype, endpoint=True)


def write_tiff(path: Path, pixels: np.ndarray, mask: np.ndarray | None = None, internal=True, **profile) -> Path:
    """A GeoTIFF written by rasterio itself."""
    bands, height, width = pixels.shape
    profile = dict(driver="GTiff", count=bands, height=height, width=width, dtype=pixels.dtype.name) | profile
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels)
            if mask is not None:
                file.write_mask(mask)
    return path


def whole(path) -> tuple[np.ndarray, np.ndarray]:
    with open_image(path) as scene:
        return scene.read(Window(0, 0, *scene.shape))


def left_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
