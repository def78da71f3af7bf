"""The folders that the stages share: each stage reads what the one before it wrote.

DIR/*train*/image_1.png, image_1_label.png     the contest's training scenes
DIR/*test*/image_3.png                         the contest's test scenes
DIR/truth/image_3_label.png                    labels of test scenes, where somebody has them
DIR/train/data/, train/label/, crops.csv       1 cut for training
DIR/test/image3/image_3.tif                    1 cut for prediction
DIR/model/<recipe>/<exp>/                      2 checkpoints, log, curves
DIR/test/mask3/<recipe>_<exp>.tif              3 predictions
DIR/test/mask3/probabilities/                  3 the same names: a band per class, 255 = certain, for soft votes
DIR/test/mask3/confidence/                     3, 4 the same names: how sure each map is, 0 to 100
DIR/test/part3/                                3 the same, of a part of the scene (--part): for label.py alone
DIR/test/mask3/vote.tif                        4 with agreement.tif, entropy.tif; then filled.tif (5)
DIR/submit/image_3_predict.png                 what the contest wants, from the last stage that ran
DIR/polygons/image_3.gpkg                      the final map (filled, else vote, else the best prediction) as polygons
DIR/sample/image_3.gpkg                        points of the final map for people to label
DIR/label/image_3/next.gpkg                    places where labels would teach most; round_1.gpkg ...: what was labelled
DIR/label/image_3/earlier/next_1.gpkg          the places of before, as people left them
"""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jingwei.errors import InputError, SettingError
from jingwei.inputs.scenes import LONGEST_NAME, SCENE_TYPES, Scene, check_names, labels_of, natural_order, scene_of
from jingwei.labels.rounds import NEXT, labelled_files
from jingwei.labels.rules import AS_DRAWN, DrawingRules
from jingwei.raster.reading import read_tags
from jingwei.raster.stamps import FILLED, STAMP, read_score

LABELS = "label"  # the folder of the rounds of label.py, a folder for each scene
CONFIDENCE_FOLDER, PROBABILITIES_FOLDER = "confidence", "probabilities"  # beside label maps


@dataclass(frozen=True)
class Workspace:
    """Every path of a project folder. Makes nothing: writers make the folders they write to.

    `rules` say how drawn labels of its scenes are read.
    """

    root: Path
    rules: DrawingRules = AS_DRAWN

    def train_scenes(self) -> list[Scene]:
        """The scenes `image_N` of all folders named like `*train*` (at the start of a word), each with its label.

        Labels that were drawn in the rounds of `label.py` belong to them; test scenes with such labels are among them.
        """
        images = self._images("train")
        scenes = [scene_of(p, (*labels_of(p), *self._drawn_in_rounds(p.stem)), self.rules) for p in images]
        scenes += self._scenes_of_rounds({scene.name for scene in scenes})
        if not scenes:
            raise self._nothing_labelled() or self._nothing("train")
        check_names(scenes)
        return scenes

    def test_scenes(self) -> list[Scene]:
        """The scenes `image_N` of all folders named like `*test*` (at a word's start), labelled where labels are."""
        scenes = [self._scored(p, p) for p in self._images("test")]
        if not scenes:
            raise self._nothing("test")
        check_names(scenes)
        return scenes

    def truth(self, image: Path) -> tuple[Path, ...]:
        """The label files of a test scene: beside it, or in `truth/`; none where there are none."""
        return labels_of(image) or labels_of(self.root / "truth" / image.name)

    def _scored(self, image: Path, original: Path) -> Scene:
        """A test scene, with its truth less what was drawn for training."""
        truth = self.truth(original)
        return replace(scene_of(image, truth, self.rules), learned=self._drawn_in_rounds(image.stem) if truth else ())

    def _drawn_in_rounds(self, name: str) -> tuple[Path, ...]:
        return labelled_files(self.root / LABELS / name)

    def _scenes_of_rounds(self, known: Collection[str]) -> list[Scene]:
        """The test scenes, besides those known, that people have labelled in rounds, by these labels alone."""
        folders = sorted((path for path in self.root.glob(f"{LABELS}/*/")), key=lambda path: natural_order(path.name))
        drawn = {path: labelled_files(path) for path in folders if path.name not in known}
        if not any(drawn.values()):
            return []
        images = {p.stem: p for p in (*self._images("test"), *sorted(self.root.glob("test/image*/*.tif")))}
        scenes = []
        for folder, files in drawn.items():
            if files and folder.name not in images:
                problem = f"has labels, but no scene named {folder.name} is in a train or test folder"
                raise InputError(folder, problem, "cut it with generate_test_data.py, or move the labels away")
            if files:
                # Of what is drawn for training alone, or beside a truth, nobody says that it is all that there is.
                scenes.append(scene_of(images[folder.name], files, self.rules.without_background()))
        return scenes

    def _images(self, word: str) -> list[Path]:
        found = [
            path
            for folder in sorted(self.root.glob(f"*{word}*"))
            if re.search(rf"(?<![A-Za-z]){word}", folder.name)  # at a word's start: `latest` holds no tests
            for path in folder.glob("image_*")
            if path.suffix.lower() in SCENE_TYPES
            and not path.stem.endswith(("_label", "_predict"))
            and not path.is_dir()
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

    def _nothing_labelled(self) -> InputError | None:
        """What to say where people have only the places of the label loop, and no label in them yet."""
        for path in sorted(self.root.glob(f"{LABELS}/*/{NEXT}")):
            return InputError(path, "nothing is labelled in it yet", "choose a label for the regions you are sure of")
        return None

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
        return self.models / recipe / checked_name(exp)

    def tiled(self, scene: Scene) -> Path:
        return self.root / "test" / f"image{scene.number}" / f"{scene.name}.tif"

    def masks(self, scene: Scene) -> Path:
        return self.root / "test" / f"mask{scene.number}"

    def predictions(self, scene: Scene) -> list[Path]:
        """The label maps of all models for a scene, the best validation score first."""
        later = {self.vote(scene), self.agreement(scene), self.entropy(scene), self.filled(scene)}
        maps = set(self.masks(scene).glob("*.tif"))
        # What `vote` leaves beside a result of any name: X_agreement.tif and X_entropy.tif beside X.tif.
        later |= {path.with_name(f"{path.stem}_{what}.tif") for path in maps for what in ("agreement", "entropy")}
        return self._best_first(maps - later)

    def all_maps(self) -> list[Path]:
        """The maps of all scenes, of every stage and of parts; agreement and entropy are among them."""
        return sorted(path for of in ("mask", "part") for path in self.root.glob(f"test/{of}*/*.tif"))

    def parts(self, scene: Scene) -> Path:
        """The folder of predictions of only a part of a scene: apart, so that nobody takes one for the whole map."""
        return self.root / "test" / f"part{scene.number}"

    def part_predictions(self, scene: Scene) -> list[Path]:
        """The label maps of all models for a part of a scene, the best first."""
        return self._best_first(self.parts(scene).glob("*.tif"))

    def weights_of(self, labels: Path) -> Path | None:
        """The weights of an experiment, by the name that its maps carry; None where no experiment here has it."""
        found = self.models.glob("*/*/best.pt")
        return next((path for path in found if f"{path.parts[-3]}_{path.parts[-2]}" == labels.stem), None)

    def probabilities(self, scene: Scene) -> Path:
        """The folder of the class probabilities that predictions keep for soft votes."""
        return self.masks(scene) / PROBABILITIES_FOLDER

    def soft_predictions(self, scene: Scene) -> list[Path]:
        """The class probabilities of all models for a scene, the best validation score first."""
        return self._best_first(self.probabilities(scene).glob("*.tif"))

    def standing(self, name: str, score: float) -> tuple[int, float]:
        """What networks and their maps are sorted by, the best first: the validation score, the highest first.

        Where `label.py` is used, those named for a later round of labels, `..._round_2`, go before: they have seen all
        that earlier ones saw, and were validated on other crops.
        """
        match = re.search(r"_round_(\d{1,9})$", name) if (self.root / LABELS).is_dir() else None
        return -int(match[1]) if match else 0, -score

    def _best_first(self, maps: Iterable[Path]) -> list[Path]:
        return sorted(sorted(maps), key=lambda path: self.standing(path.stem, read_score(path)))

    def confidence(self, scene: Scene) -> Path | None:
        """How sure the final map of a scene is: its own confidence, or that of what was filled. None where none is."""
        maps = dict.fromkeys([self.final_map(scene), self.vote_or_best(scene)])
        return next((path for path in map(confidence_of, maps) if path.exists()), None)

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
            raise self.no_map(scene)
        return candidates[0]

    def is_fill_of_now(self, scene: Scene) -> bool:
        """Whether the filled map is of the map that would be filled now, as far as they say: not of an earlier vote."""
        of = read_tags(self.filled(scene)).get(FILLED)
        now = [self.vote(scene)] if self.vote(scene).exists() else self.predictions(scene)[:1]
        return of is None or not now or of == read_tags(now[0]).get(STAMP)

    def no_map(self, scene: Scene, what: str = "maps") -> InputError:
        """What to say where a scene has no map, or nothing of another kind that predict.py makes."""
        if self.part_predictions(scene):
            problem = f"no {what} there, only a part of a map in {self.parts(scene)}"
            return InputError(self.masks(scene), problem, "run predict.py without `part` for the whole")
        return InputError(self.masks(scene), f"no {what} there", "run predict.py first")

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

    def rounds(self, scene: Scene) -> Path:
        """The folder of the labels that people have drawn where `label.py` asked for them."""
        return self.root / LABELS / scene.name

    @property
    def round_scores(self) -> Path:
        """The maps' scores over the rounds of labels."""
        return self.root / LABELS / "scores.csv"

    def next_labels(self, scene: Scene) -> Path:
        """The places of a scene that people are to label next."""
        return self.rounds(scene) / NEXT

    def submission(self, scene: Scene) -> Path:
        return self.root / "submit" / f"{scene.name}_predict.png"

    def fill_picture(self, scene: Scene) -> Path:
        return self.root / "submit" / f"fill_vis_{scene.number}.png"

    def named_scenes(self, names: Sequence[str] | None) -> list[Scene]:
        """The cut test scenes of these names, or all: also where there are none. SettingError for unknown names."""
        if names is None:
            return self.cut_scenes() if any(self.root.glob("test/image*/*.tif")) else []
        known = {scene.name: scene for scene in self.cut_scenes()}
        for name in names:
            if name not in known:
                raise SettingError("`scene`", f"no cut scene is named {name}", f"take some of: {', '.join(known)}")
        return [known[name] for name in dict.fromkeys(names)]

    def originals(self) -> dict[str, Path]:
        """The pictures of the test folders by their scenes' names: what cut scenes were made of."""
        return {path.stem: path for path in self._images("test")}

    def cut_scenes(self) -> list[Scene]:
        """The test scenes as `generate_test_data.py` left them: the tiled rasters of `test/image*/`."""
        tiled = sorted(self.root.glob("test/image*/*.tif"), key=lambda p: natural_order(p.stem))
        originals = self.originals()
        scenes = [self._scored(p, originals.get(p.stem, p)) for p in tiled]
        if not scenes:
            raise InputError(self.root / "test", "no cut scenes there", "run generate_test_data.py first")
        return scenes


def confidence_of(labels: Path) -> Path:
    """Where the confidence of a label map lies: in a folder beside it, so that nobody takes it for another map."""
    return labels.parent / CONFIDENCE_FOLDER / f"{labels.stem}.tif"


def probabilities_of(labels: Path) -> Path:
    """Where the class probabilities of a label map lie, which predictions keep for soft votes."""
    return labels.parent / PROBABILITIES_FOLDER / labels.name


def robustness_of(labels: Path) -> Path:
    """Where is kept how many labels of a map change when nothing that matters has changed."""
    return labels.parent / "robustness" / f"{labels.stem}.json"


def checked_name(exp: str) -> str:
    """An experiment's name, which folders and maps carry. SettingError for one that they can't."""
    if not re.fullmatch(r"[^/\\\s]+", exp) or exp.strip(".") == "":
        raise SettingError("`exp`", f"{exp!r} can't be the name of a folder", "take letters, digits, - and _")
    if re.search("[\ud800-\udfff]", exp):
        raise SettingError("`exp`", f"{exp!r} is not UTF-8", "take letters, digits, - and _, or a UTF-8 locale")
    if len(os.fsencode(exp)) > LONGEST_NAME:
        raise SettingError(
            "`exp`", f"{exp!r} is too long for the names of files", f"take {LONGEST_NAME} letters at most"
        )
    return exp
