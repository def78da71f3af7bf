"""Crops that contradict `crops.csv` are refused in one line when they are first read, wherever that is."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from jingwei.crops.table import TRAIN, VALIDATION, Crop, count_classes, read_crops, write_crops
from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.crop_files import read_crop, write_crop
from jingwei.raster.png import write_png
from jingwei.training import crop_reader
from jingwei.training.crop_reader import CropReader
from jingwei.training.datasets import training_loader, validation_loader
from jingwei.training.experiments import read_training_data
from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
NAMES = ("a.tif", "b.tif", "c.tif")
AGAIN = "cut the scenes again, or delete .*crops.csv where a config had them prepared"


def write(folder: Path, name: str, pixels_CHW: np.ndarray, labels: np.ndarray) -> Crop:
    """Crop files, and the row of the table that is true of them."""
    write_crop(folder / "data" / name, pixels_CHW)
    write_png(folder / "label" / f"{Path(name).stem}.png", labels)
    pixels, bands = count_classes(labels, len(JINGWEI)), len(pixels_CHW)
    window = Window(0, 0, *pixels_CHW.shape[1:])
    return Crop(name, "scene", window, sum(pixels), pixels, (1.0,) * bands, (1.0,) * bands, TRAIN)


def arrays(seed: int, bands: int = 4, height: int = 48, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 1, 2, 4, NODATA], np.uint8), (height, width))
    return rng.integers(1, 900, (bands, height, width)).astype(np.uint16), labels


@pytest.fixture
def folder(tmp_path) -> tuple[Path, list[Crop]]:
    train = tmp_path / "train"
    return train, [write(train, name, *arrays(number)) for number, name in enumerate(NAMES)]


def other_labels(folder: Path, change) -> None:
    path = folder / "label" / "b.png"
    write_png(path, change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


def with_id(labels: np.ndarray, value: int) -> np.ndarray:
    labels[0, :2] = value
    return labels


def swapped(labels: np.ndarray) -> np.ndarray:
    labels[np.unravel_index(np.flatnonzero(labels == 1)[0], labels.shape)] = 2
    return labels


def unlabelled(labels: np.ndarray) -> np.ndarray:
    labels[np.unravel_index(np.flatnonzero(labels == 4)[0], labels.shape)] = NODATA
    return labels


BROKEN = {
    "size": (
        lambda f: write_crop(f / "data" / "b.tif", arrays(1, 4, 48, 63)[0]),
        r"data/b.tif: is 48 x 63 px, but crops.csv says 48 x 64",
    ),
    "bands": (
        lambda f: write_crop(f / "data" / "b.tif", arrays(1, 3)[0]),
        "data/b.tif: has 3 bands, but crops.csv says 4",
    ),
    "type": (
        lambda f: write_crop(f / "data" / "b.tif", arrays(1)[0].astype(np.float32)),
        "data/b.tif: holds values of float32, but a.tif of uint16",
    ),
    "size of labels": (
        lambda f: other_labels(f, lambda labels: labels[:-1]),
        "label/b.png: is 47 x 64 px, but crops.csv says 48 x 64",
    ),
    "coloured labels": (
        lambda f: other_labels(f, lambda labels: np.stack([labels] * 3, axis=2)),
        "label/b.png: has 3 bands of uint8, but labels are one band of uint8",
    ),
    "16-bit labels": (
        lambda f: cv2.imwrite(str(f / "label" / "b.png"), np.zeros((48, 64), np.uint16)),
        "label/b.png: has 1 bands of uint16, but labels are one band of uint8",
    ),
    "ids": (
        lambda f: other_labels(f, lambda labels: with_id(labels, 9)),
        r"label/b.png: has ids that the legend of the crops lacks: 9 \(2 px\)",
    ),
    "another class": (
        lambda f: other_labels(f, swapped),
        r"label/b.png: has \d+ px of class 1, but crops.csv says \d+",
    ),
    "a pixel less": (
        lambda f: other_labels(f, unlabelled),
        r"label/b.png: has \d+ px of class 4, but crops.csv says \d+",
    ),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_crop_that_contradicts_the_table_gives_one_line(folder, kind, workers):
    train, crops = folder
    spoil, problem = BROKEN[kind]
    spoil(train)
    recipe = replace(CROSS_ENTROPY, crop_sizes=(32,), batch_size=3, min_scale=1.0, max_scale=1.0)
    loaders = [validation_loader(train, crops, (1.0,) * 4, workers)]
    if workers == 0:
        loaders.append(training_loader(train, crops, recipe, (1.0,) * 4, 2, workers))
    for loader in loaders:
        with pytest.raises(InputError, match=f"{problem}: {AGAIN}") as caught:
            list(loader)
        assert "\n" not in str(caught.value)


def test_valid_pixels_that_do_not_add_up_are_refused(folder):
    train, crops = folder
    wrong = replace(crops[1], valid=crops[1].valid + 1)
    with pytest.raises(InputError, match=r"b.png: has [\d,]+ labelled px, but crops.csv says [\d,]+: cut"):
        CropReader(train, crops).read(wrong)


def test_crops_as_the_table_has_them_are_read_and_compared_once(folder, monkeypatch):
    train, crops = folder
    reader, seen = CropReader(train, crops), []
    count = crop_reader.histogram
    monkeypatch.setattr(crop_reader, "histogram", lambda labels: seen.append(1) or count(labels))
    for _ in range(3):
        for number, crop in reversed(list(enumerate(crops))):
            pixels, labels = reader.read(crop)
            expected = arrays(number)
            np.testing.assert_array_equal(pixels, expected[0].transpose(1, 2, 0))
            np.testing.assert_array_equal(labels, expected[1])
    assert len(seen) == len(crops)


def test_the_type_of_the_first_crop_counts_in_whichever_order_they_are_read(folder):
    train, crops = folder
    write_crop(train / "data" / "c.tif", arrays(2)[0].astype(np.float32))
    reader = CropReader(train, crops)
    with pytest.raises(InputError, match="c.tif: holds values of float32, but a.tif of uint16"):
        reader.read(crops[2])
    reader.read(crops[1])


def test_validation_of_another_type_than_training_is_refused(folder):
    train, crops = folder
    write_crop(train / "data" / "c.tif", arrays(2)[0].astype(np.int16))
    write_crops(train / "crops.csv", [*crops[:2], replace(crops[2], split=VALIDATION)])
    (train / "legend.json").write_text(json.dumps(JINGWEI.to_dict()))
    assert len(read_crops(train / "crops.csv")) == 3
    with pytest.raises(InputError, match="c.tif: holds values of int16, but a.tif of uint16: cut the scenes again"):
        read_training_data(Workspace(train.parent))


def test_a_name_that_no_disk_takes_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"missing or broken: cut the scenes again"):
        read_crop(tmp_path / "train" / "data" / ("x" * 300 + ".png"))
