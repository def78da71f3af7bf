"""A network that one can do by hand, scenes for it, and their maps as whole arrays."""

from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

from jingwei.grid import even_starts
from jingwei.legend import JINGWEI, NODATA
from jingwei.models.checkpoints import Checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.job import Job
from jingwei.prediction.scene import predict_scene
from jingwei.prediction.settings import PredictSettings

CLASSES = len(JINGWEI)
MEAN = 120  # what the networks here subtract, and so what they see where a scene is invalid
PLAIN = PredictSettings(window=128, overlap=32, precision="fp32")
TRANSFORM = from_origin(500000, 4000000, 0.5, 0.5)


class Toy(torch.nn.Module):
    """A network whose answer depends on brightness, on the place in the window, and on the window as a whole."""

    def __init__(self, contrast: float = 6.0):
        super().__init__()
        self.contrast = contrast
        self.windows = 0
        self.batches = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.windows += len(pixels)
        self.batches.append(len(pixels))
        height, width = pixels.shape[2:]
        brightness = pixels.mean(1, keepdim=True) / 255
        centres = torch.linspace(0, 1, CLASSES).view(1, -1, 1, 1)
        rows, cols = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)
        place = torch.sin(rows / 9 + centres * 5) + torch.cos(cols / 13 - centres * 7)  # no symmetry at all
        whole = brightness.mean((2, 3), keepdim=True)
        return -self.contrast * (brightness - centres).abs() + 0.5 * place + 3 * whole * centres


def make_checkpoint(path: Path, bands: int = 3, score: float = 0.5, dtype: str = "uint8") -> Checkpoint:
    """A checkpoint of a small network with random weights, also on disk."""
    torch.manual_seed(0)
    model = build_model(
        ModelSpec("attention_unet", "mobilenetv3_small_050", bands, CLASSES), (MEAN,) * bands, (60,) * bands
    )
    checkpoint = Checkpoint(
        model.spec, dtype, (float(MEAN),) * bands, (60.0,) * bands, JINGWEI, {}, model.state_dict(), {"miou": score}
    )
    save_checkpoint(path, checkpoint)
    return checkpoint


def draw(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth blobs with noise, uint8 CHW."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((3, height // 16 + 2, width // 16 + 2))
    blobs = np.repeat(np.repeat(coarse, 16, 1), 16, 2)[:, :height, :width]
    return (255 * (0.8 * blobs + 0.2 * rng.random((3, height, width)))).astype(np.uint8)


def ragged(height: int, width: int, margin: int) -> np.ndarray:
    """Validity with a wavy diagonal edge, a hole in it, and so whole windows without a valid pixel."""
    rows, cols = np.mgrid[:height, :width]
    valid = rows + cols + 9 * np.sin(rows / 7) > margin
    valid[height // 2 : height // 2 + 20, width // 2 : width // 2 + 30] = False
    return valid


def write_scene(path: Path, pixels: np.ndarray, valid: np.ndarray | None = None, **profile) -> Path:
    bands, height, width = pixels.shape
    how = {
        "driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": pixels.dtype.name,
        "tiled": True, "blockxsize": 64, "blockysize": 64, "crs": "EPSG:32650", "transform": TRANSFORM,
    }  # fmt: skip
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(path, "w", **how | profile) as scene:
            scene.write(pixels)
            if valid is not None:
                scene.write_mask(valid)
    return path


def in_memory(toy: Toy, pixels: np.ndarray, valid: np.ndarray, settings: PredictSettings):
    """The same map with everything in memory: (labels_HW, the winner's lead over the second, as a share)."""
    height, width = valid.shape
    pixels = np.where(valid, pixels, np.uint8(MEAN))
    size, overlap = settings.window, settings.overlap
    total = np.zeros((CLASSES, height, width))
    for row in even_starts(height, size, overlap):
        for col in even_starts(width, size, overlap):
            here = np.s_[row : row + size, col : col + size]
            if valid[here].any():
                total[:, *here] += turned_mean(toy, pixels[:, *here], settings.tta) * bump(*valid[here].shape)
    ranked = np.sort(total, axis=0)
    labels = np.where(valid, total.argmax(0), NODATA).astype(np.uint8)
    return labels, (ranked[-1] - ranked[-2]) / np.maximum(ranked.sum(0), 1e-12)


def turned_mean(toy: Toy, pixels: np.ndarray, tta: str) -> np.ndarray:
    """Mean probabilities over the turns of one window, CHW float64, each undone in the reverse order."""
    turns = {
        "none": [(0, 0)],
        "flips": [(0, 0), (0, 1), (2, 0), (2, 1)],
        "d4": [(k, m) for k in range(4) for m in (0, 1)],
    }
    answers = []
    for quarters, mirrored in turns[tta]:
        view = np.rot90(pixels[:, :, ::-1] if mirrored else pixels, quarters, (1, 2))
        logits = toy(torch.from_numpy(view.copy()[None]).float())
        answer = np.rot90(logits.softmax(1)[0].double().numpy(), -quarters, (1, 2))
        answers.append(answer[:, :, ::-1] if mirrored else answer)
    return np.mean(answers, axis=0)


def bump(height: int, width: int) -> np.ndarray:
    """A squared sine along both axes, 0.001 at least."""
    rows, cols = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (height, width))
    return np.maximum(rows[:, None] * cols, 1e-3)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as labels:
        return labels.read(1)


def assert_same_map(labels: np.ndarray, expected: np.ndarray, lead: np.ndarray) -> None:
    """Equal, but for pixels whose two best classes what bands hand down to each other (float16) can't tell apart."""
    close = (lead < 1e-3) & (expected != NODATA)
    assert close.mean() < 0.02
    np.testing.assert_array_equal(np.where(close, 0, labels), np.where(close, 0, expected))


def predict(tmp_path, weights, pixels, valid=None, settings=PLAIN, **how) -> np.ndarray:
    scene = write_scene(tmp_path / "scene.tif", pixels, valid)
    assert predict_here(*weights, scene, tmp_path / "map.tif", settings, **how)
    return read(tmp_path / "map.tif")


def predict_here(checkpoint, path, scene, target, settings=PLAIN, **how) -> bool:
    return predict_scene(Job(path, scene, target, settings, device="cpu", **how), checkpoint)
