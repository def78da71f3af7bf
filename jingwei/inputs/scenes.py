"""Scenes of the numbered steps: a picture, and its label beside it."""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jingwei.errors import InputError
from jingwei.inputs.label_files import LabelFiles
from jingwei.labels.drawn import DrawnLabels
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.legend import Legend
from jingwei.polygons.layers import VECTOR_TYPES
from jingwei.raster.reading import Raster, open_image

LONGEST_NAME = 200  # bytes: files' names, 255 at most, carry it with more
SCENE_TYPES = (".png", ".tif", ".tiff", ".vrt", ".jp2", ".img", ".bmp", ".gif", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Scene:
    """A scene's picture, its label where there is one, and the name that its outputs carry.

    Drawn labels may be in `more` files than one; `rules` say how they are read. What is labelled in the files of
    `learned` is for training: it is left out of the labels.
    """

    image: Path
    label: Path | None = None
    more: tuple[Path, ...] = ()
    rules: DrawingRules = AS_DRAWN
    learned: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """`image_3` for `.../image_3.png`."""
        return self.image.stem

    @property
    def number(self) -> str:
        """`3` for `image_3`; other names, `image__x` too, stay whole, after an underscore: no two scenes share one."""
        match = re.fullmatch(r"image_([^\W_]\w*)", self.name)
        return match[1] if match else f"_{self.name}"

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that it is read from."""
        return (self.image, *self.label_files.sources) if self.label else (self.image,)

    @property
    def reading(self) -> dict:
        """The settings that change what is read from them."""
        return self.label_files.reading if self.label else {}

    @property
    def label_files(self) -> LabelFiles:
        """The files of its labels. Only where there is one."""
        assert self.label is not None
        return LabelFiles((self.label, *self.more), self.rules, self.learned)

    def open_image(self) -> Raster:
        """Its pixels, to be read."""
        return open_image(self.image)

    def open_labels(self, legend: Legend) -> Raster | DrawnLabels:
        """Its labels, to be read: class ids, of the values that the legend's classes have."""
        with self.open_image() as image:
            return self.label_files.open(legend, image)


def check_names(scenes: Sequence[Scene]) -> None:
    """Raises InputError where two scenes have one name, or one a name that is too long: outputs carry it."""
    names = [scene.name for scene in scenes]
    for scene in scenes:
        if names.count(scene.name) > 1:
            raise InputError(scene.image, f"two scenes are named {scene.name}", "rename one: outputs carry that name")
        if len(os.fsencode(scene.name)) > LONGEST_NAME:
            problem = "has a name too long for those of its outputs"
            raise InputError(scene.image, problem, f"rename it: {LONGEST_NAME} bytes at most")


def check_table_names(scenes: Iterable[Any]) -> None:
    """Raises InputError where a scene's name (they have `name` and `image`) can't stand in a table such as crops.csv.

    As of files that were unpacked from an archive of another language: names of files are bytes, tables are UTF-8.
    """
    for scene in scenes:
        try:
            scene.name.encode()
        except UnicodeEncodeError:
            raise InputError(scene.image, "has a name that is not UTF-8", "rename it") from None


def scene_of(image: Path, labels: Sequence[str | Path], rules: DrawingRules = AS_DRAWN) -> Scene:
    """The scene of an image and its label files, of which there may be none."""
    files = [Path(label) for label in labels]
    return Scene(image, files[0] if files else None, tuple(files[1:]), rules)


def labels_of(image: Path) -> tuple[Path, ...]:
    """The label files beside `image_1.png`: `image_1_label.png` or another raster, its ending in any case; else
    `image_1_label.gpkg` or another vector file, and `image_1_label_*.gpkg`, of which each may have a class.
    """
    raster = label_of(image)
    if raster:
        return (raster,)
    found = {path.stem: path for path in reversed(_drawn_beside(image))}  # of one name the first type
    return tuple(reversed(found.values()))


def labels_passed_over(image: Path) -> list[Path]:
    """The drawn label files beside an image that `labels_of` leaves out, since others go before them."""
    read = labels_of(image)
    return [path for path in _drawn_beside(image) if path not in read]


def _drawn_beside(image: Path) -> list[Path]:
    alike = image.parent.glob(f"{glob.escape(image.stem)}_label*")
    drawn = [path for path in alike if re.fullmatch("(_.+)?", path.stem.removeprefix(f"{image.stem}_label"))]
    drawn = [path for path in drawn if path.suffix.lower() in VECTOR_TYPES and path.is_file()]
    drawn.sort(key=lambda path: (natural_order(path.stem), VECTOR_TYPES.index(path.suffix.lower()), path.name))
    return drawn


def label_of(image: Path) -> Path | None:
    """`image_1_label.png` (or another raster type, its ending in any case) beside `image_1.png`, or None."""
    candidates = [image.with_name(f"{image.stem}_label{suffix}") for suffix in SCENE_TYPES]
    exact = next((p for p in candidates if os.path.exists(p)), None)  # Path.exists raises for a name that is too long
    if exact:
        return exact
    alike = image.parent.glob(f"{glob.escape(image.stem)}_label.*")
    found = sorted(path for path in alike if path.suffix.lower() in SCENE_TYPES)
    return min(found, key=lambda path: SCENE_TYPES.index(path.suffix.lower()), default=None)


def natural_order(name: str) -> list:
    """What to sort names by, so that 10 comes after 9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
