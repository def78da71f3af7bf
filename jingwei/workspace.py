"""The folders that the stages share: each stage reads what the one before it wrote.

DIR/*train*/image_1.png, image_1_label.png     the contest's training scenes
DIR/*test*/image_3.png                         the contest's test scenes
DIR/truth/image_3_label.png                    labels of test scenes, where somebody has them
DIR/train/data/, train/label/, crops.csv       1 cut for training
DIR/test/image3/image_3.tif                    1 cut for prediction
DIR/model/<recipe>/<exp>/                      2 checkpoints, log, curves
DIR/test/mask3/<recipe>_<exp>.tif              3 predictions
DIR/test/mask3/probabilities/                  3 the same names: a band per class, 255 = certain, for soft votes
DIR/test/mask3/vote.tif                        4 with agreement.tif, entropy.tif; then filled.tif (5)
DIR/submit/image_3_predict.png                 what the contest wants, from the last stage that ran
DIR/polygons/image_3.gpkg                      the final map (filled, else vote, else the best prediction) as polygons
DIR/sample/image_3.gpkg                        points of the final map for people to label
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jingwei import __version__
from jingwei.errors import InputError
from jingwei.legend import Legend
from jingwei.raster.reading import Raster, open_image, open_labels, read_tags

SCENE_TYPES = (".png", ".tif", ".tiff", ".vrt", ".jp2", ".img", ".bmp", ".gif", ".jpg", ".jpeg")
STAMP = "JINGWEI_STAMP"  # the tag under which an output keeps the hash of its inputs and settings
SCORE = "JINGWEI_SCORE"  # the tag under which a prediction keeps its model's validation mIoU


@dataclass(frozen=True)
class Scene:
    """A scene's picture, its label where there is one, and the name that its outputs carry."""

    image: Path
    label: Path | None = None

    @property
    def name(self) -> str:
        """`image_3` for `.../image_3.png`."""
        return self.image.stem

    @property
    def number(self) -> str:
        """`3` for `image_3`; other names stay whole, after an underscore."""
        match = re.fullmatch(r"image_(\w+)", self.name)
        return match[1] if match else f"_{self.name}"

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that it is read from."""
        return (self.image, self.label) if self.label else (self.image,)

    @property
    def reading(self) -> dict:
        """The settings that change what is read from them."""
        return {}

    def open_image(self) -> Raster:
        """Its pixels, to be read."""
        return open_image(self.image)

    def open_labels(self, legend: Legend) -> Raster:
        """Its labels, to be read: class ids, of the values that the legend's classes have."""
        return open_labels(self.label, legend)


@dataclass(frozen=True)
class Workspace:
    """Every path of a project folder. Makes nothing: writers make the folders they write to."""

    root: Path

    def train_scenes(self) -> list[Scene]:
        """The scenes `image_N` of all folders named like `*train*` (at the start of a word), each with its label."""
        scenes = [Scene(p, label_of(p)) for p in self._images("train")]
        if not scenes:
            raise self._nothing("train")
        return scenes

    def test_scenes(self) -> list[Scene]:
        """The scenes `image_N` of all folders named like `*test*` (at a word's start), labelled where labels are."""
        scenes = [Scene(p, self.truth(p)) for p in self._images("test")]
        if not scenes:
            raise self._nothing("test")
        return scenes

    def truth(self, image: Path) -> Path | None:
        """The label of a test scene: beside it, or in `truth/`."""
        return label_of(image) or label_of(self.root / "truth" / image.name)

    def _images(self, word: str) -> list[Path]:
        found = [
            path
            for folder in sorted(self.root.glob(f"*{word}*"))
            if re.search(rf"(?<![A-Za-z]){word}", folder.name)  # at a word's start: `latest` holds no tests
            for path in folder.glob("image_*")
            if path.suffix.lower() in SCENE_TYPES and not path.stem.endswith(("_label", "_predict"))
        ]
        by_name: dict[str, Path] = {}
        for path in sorted(found, key=lambda p: (natural_order(p.stem), p)):
            if path.stem in by_name:
                problem = f"another {path.stem} is in {by_name[path.stem].parent.name}"
                raise InputError(
                    path, problem, "keep each round in a `data_dir` of its own, or name scenes with `scene`"
                )
            by_name[path.stem] = path
        return list(by_name.values())

    def _nothing(self, word: str) -> InputError:
        expected = f"*{word}*/image_N.png" + (" with image_N_label.png" if word == "train" else "")
        return InputError(
            self.root,
            f"no {word} scenes found as {self.root / expected}",
            "unpack the contest's folders there, move it with `data_dir`, or name files with `scene`",
        )

    @property
    def train(self) -> Path:
        return self.root / "train"

    @property
    def crops(self) -> Path:
        return self.train / "crops.csv"

    @property
    def models(self) -> Path:
        return self.root / "model"

    def experiment(self, recipe: str, exp: str) -> Path:
        return self.models / recipe / exp

    def tiled(self, scene: Scene) -> Path:
        return self.root / "test" / f"image{scene.number}" / f"{scene.name}.tif"

    def masks(self, scene: Scene) -> Path:
        return self.root / "test" / f"mask{scene.number}"

    def predictions(self, scene: Scene) -> list[Path]:
        """The label maps of all models for a scene, the best validation score first."""
        later = {self.vote(scene), self.agreement(scene), self.entropy(scene), self.filled(scene)}
        return _best_first(path for path in self.masks(scene).glob("*.tif") if path not in later)

    def probabilities(self, scene: Scene) -> Path:
        """The folder of the class probabilities that predictions keep for soft votes."""
        return self.masks(scene) / "probabilities"

    def soft_predictions(self, scene: Scene) -> list[Path]:
        """The class probabilities of all models for a scene, the best validation score first."""
        return _best_first(self.probabilities(scene).glob("*.tif"))

    def vote(self, scene: Scene) -> Path:
        return self.masks(scene) / "vote.tif"

    def agreement(self, scene: Scene) -> Path:
        return self.masks(scene) / "agreement.tif"

    def entropy(self, scene: Scene) -> Path:
        return self.masks(scene) / "entropy.tif"

    def filled(self, scene: Scene) -> Path:
        return self.masks(scene) / "filled.tif"

    def vote_or_best(self, scene: Scene) -> Path:
        """What is to be filled: the vote, or the best prediction where there is no vote."""
        candidates = [self.vote(scene)] if self.vote(scene).exists() else self.predictions(scene)
        if not candidates:
            raise InputError(self.masks(scene), "no maps there", "run predict.py first")
        return candidates[0]

    def has_map(self, scene: Scene) -> bool:
        """Whether any stage has made a map of a scene."""
        return any(path.exists() for path in (self.filled(scene), self.vote(scene))) or bool(self.predictions(scene))

    def final_map(self, scene: Scene) -> Path:
        """The last stage's map of a scene: filled, else the vote, else the best prediction."""
        return self.filled(scene) if self.filled(scene).exists() else self.vote_or_best(scene)

    def polygons(self, scene: Scene, suffix: str) -> Path:
        return self.root / "polygons" / f"{scene.name}{suffix}"

    def sample(self, name: str) -> Path:
        """The points of a map that people label, to learn how good it is."""
        return self.root / "sample" / f"{name}.gpkg"

    def submission(self, scene: Scene) -> Path:
        return self.root / "submit" / f"{scene.name}_predict.png"

    def fill_picture(self, scene: Scene) -> Path:
        return self.root / "submit" / f"fill_vis_{scene.number.removeprefix('_')}.png"

    def cut_scenes(self) -> list[Scene]:
        """The test scenes as `generate_test_data.py` left them: the tiled rasters of `test/image*/`."""
        tiled = sorted(self.root.glob("test/image*/*.tif"), key=lambda p: natural_order(p.stem))
        originals = {p.stem: p for p in self._images("test")}
        scenes = [Scene(p, self.truth(originals.get(p.stem, p))) for p in tiled]
        if not scenes:
            raise InputError(self.root / "test", "no cut scenes there", "run generate_test_data.py first")
        return scenes


def label_of(image: Path) -> Path | None:
    """`image_1_label.png` (or another raster type) beside `image_1.png`, or None."""
    candidates = [image.with_name(f"{image.stem}_label{suffix}") for suffix in SCENE_TYPES]
    return next((p for p in candidates if os.path.exists(p)), None)  # Path.exists raises for a name that is too long


def read_score(path: Path) -> float:
    """The validation mIoU that a prediction's model had; -1 where the file doesn't say."""
    return float(read_tags(path).get(SCORE, -1))


def up_to_date(path: Path, mark: str) -> bool:
    """Whether an output is there and was made from the same inputs with the same settings."""
    try:
        return path.exists() and read_tags(path).get(STAMP) == mark
    except InputError:  # somebody else broke it: it is made again
        return False


def stamp(*inputs: Path, **settings) -> str:
    """A hash of input files (name, size, time of change), settings and this library's version.

    Outputs that carry it need no second making.
    """
    identity = [_identity(Path(path)) for path in inputs]
    text = json.dumps([__version__, identity, settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _best_first(maps: Iterable[Path]) -> list[Path]:
    return sorted(sorted(maps), key=lambda path: -read_score(path))


def _identity(path: Path) -> tuple:
    """What tells a file from an earlier state of it; of a file behind GDAL's /vsi, its name alone: it has no date."""
    if str(path).startswith("/vsi"):
        return (str(path),)
    if not path.exists():
        raise InputError(path, "no such file", "check the path")
    return path.name, path.stat().st_size, path.stat().st_mtime_ns


def natural_order(name: str) -> list:
    """What to sort names by, so that 10 comes after 9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
