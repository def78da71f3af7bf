"""Sample scenes: a made-up county in the contest's folders, names and formats, the same for the same seed."""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from jingwei.errors import SettingError
from jingwei.raster.png import PngWriter
from jingwei.synthetic import county
from jingwei.synthetic.manifest import Manifest, landscape_digest
from jingwei.system.progress import Progress

TRAIN, TEST, TRUTH = "jingwei_round1_train_20190619", "jingwei_round1_test_a_20190619", "truth"
# (width, height) as the contest writes them: all different, none a multiple of any window.
DEFAULT_SIZES = {1: (2611, 2417), 2: (2389, 2803), 3: (1907, 2113), 4: (2141, 1811)}
GROUPS = {"all": (1, 2, 3, 4), "train": (1, 2), "test": (3, 4)}
PNG_MAX_SIDE = 2**31 - 1


@dataclass(frozen=True)
class SampleScene:
    """One scene to make: where its two files go, relative to the data folder, and what decides its pixels."""

    number: int
    width: int
    height: int
    seed: int

    @property
    def image(self) -> str:
        return f"{TRAIN if self.number in GROUPS['train'] else TEST}/image_{self.number}.png"

    @property
    def label(self) -> str:
        return f"{TRAIN if self.number in GROUPS['train'] else TRUTH}/image_{self.number}_label.png"

    def settings(self) -> dict:
        """What a file must have been made with to be kept: another landscape makes another scene."""
        return asdict(self) | {"landscape": landscape_digest()}


def make_samples(root: Path, scenes: list[SampleScene], labels_only: bool = False, workers: int = 2) -> None:
    """Makes the scenes that `root` does not have yet, one after the other. Raises OutputError among foreign scenes."""
    manifest = Manifest(root)
    manifest.refuse_foreign_scenes("*train*/image_*", "*test*/image_*", f"{TRUTH}/image_*")
    for scene in scenes:
        names = [scene.label] if labels_only else [scene.label, scene.image]
        if all(manifest.has(name, scene.settings()) for name in names):
            Progress.write(f"{root / names[-1]}: kept, made before with the same settings")
            continue
        if not manifest.has(scene.image, scene.settings()):
            (root / scene.image).unlink(missing_ok=True)  # ours, but it doesn't fit the label to come
        manifest.begin(*names)
        write_scene(root, scene, picture=not labels_only, workers=workers)
        manifest.finish(scene.settings(), *names)
        Progress.write(f"{root / names[-1]}: {scene.width} x {scene.height} px")


def write_scene(root: Path, scene: SampleScene, picture: bool = True, workers: int = 2) -> None:
    """Writes a scene's label, and its picture where `picture` says so, strip by strip."""
    land = county.Landscape(scene.seed, scene.number, scene.height, scene.width)
    shape = scene.height, scene.width
    with ExitStack() as stack:
        labels_png = stack.enter_context(PngWriter(root / scene.label, *shape))
        image_png = stack.enter_context(PngWriter(root / scene.image, *shape, bands=4)) if picture else None
        title = f"image_{scene.number}"
        progress = stack.enter_context(Progress(total=scene.height, unit="row", desc=title))
        for pixels, labels in land.strips(picture=picture, workers=workers):
            labels_png.write(labels)
            if image_png and pixels is not None:
                image_png.write(pixels)
            progress.update(len(labels))


def parse_size(text: str) -> tuple[int, int]:
    """`WIDTHxHEIGHT` as two integers."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not all(64 <= int(side) <= PNG_MAX_SIDE for side in match.groups()):
        raise SettingError("`size`", f"{text!r} is not a size", "write WIDTHxHEIGHT in pixels, 64x64 at least")
    return int(match[1]), int(match[2])


def chosen_scenes(words: Sequence[str], size: str | None, seed: int) -> list[SampleScene]:
    """The scenes asked for: numbers 1 to 4, train, test or all; of one size WxH, image_1 where none is named.

    Raises SettingError for words and sizes that make no sense.
    """
    if not 0 <= seed < 2**31:
        raise SettingError("`seed`", f"{seed} is out of range", f"take 0 to {2**31 - 1}")
    sides = parse_size(size) if size else None
    numbers: list[int] = []
    for word in words or (["1"] if sides else ["all"]):
        if word not in GROUPS and word not in map(str, DEFAULT_SIZES):
            raise SettingError("`scenes`", f"no scene {word!r}", "take numbers from 1 to 4, or train, test, all")
        numbers += [n for n in GROUPS.get(word) or (int(word),) if n not in numbers]
    return [SampleScene(n, *(sides or DEFAULT_SIZES[n]), seed) for n in numbers]
