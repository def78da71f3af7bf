"""Cutting as the originals of this pipeline do, written plainly: the whole picture in memory, one core, no overlap.

    python benchmarks/plain_cut.py train IMAGE LABEL FOLDER
    python benchmarks/plain_cut.py test IMAGE FOLDER

Tiles of 512 px. For training, those whose label is not all 0: JPEG, and the label as PNG; alpha is dropped. For
prediction, all of them, as PNG. `benchmarks/cut.py` runs this beside ours.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIDE = 512
Image.MAX_IMAGE_PIXELS = None


def tiles(pixels: np.ndarray):
    for row in range(0, pixels.shape[0], SIDE):
        for col in range(0, pixels.shape[1], SIDE):
            yield f"{row}_{col}", pixels[row : row + SIDE, col : col + SIDE]


def picture(tile: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(tile, cv2.COLOR_RGBA2BGR)


def cut_train(image: str, label: str, folder: Path) -> None:
    for part in ("data", "label"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    pixels, labels = np.asarray(Image.open(image)), np.asarray(Image.open(label))
    for (name, tile), (_, ids) in zip(tiles(pixels), tiles(labels), strict=True):
        if ids.any():
            cv2.imwrite(str(folder / "data" / f"img_{name}.jpg"), picture(tile))
            cv2.imwrite(str(folder / "label" / f"img_{name}.png"), ids)


def cut_test(image: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, tile in tiles(np.asarray(Image.open(image))):
        cv2.imwrite(str(folder / f"img_{name}.png"), picture(tile))


if __name__ == "__main__":
    what, *pictures, target = sys.argv[1:]
    {"train": cut_train, "test": cut_test}[what](*pictures, Path(target))
