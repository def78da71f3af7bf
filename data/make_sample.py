"""Make sample scenes: a made-up county in the contest's folders, names and formats, the same for the same seed.

    python data/make_sample.py                             four small scenes, two to train and two to test
    python data/make_sample.py --size 47161x50141          image_1 and its label at the contest's full size
    python data/make_sample.py --size 77470x46050 --scenes 2 --labels_only

Writes data/sample/jingwei_round1_train_20190619/image_1.png, image_1_label.png (and 2),
data/sample/jingwei_round1_test_a_20190619/image_3.png (and 4), and the labels of the test scenes, which a contest
keeps to itself, as data/sample/truth/image_3_label.png. Images are RGBA with alpha 0 outside the flight area, labels
hold class ids, 0 outside the flight area. Scenes that are there already are kept; sample.json remembers their settings.
"""

import argparse
import hashlib
import json
import re
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from anywhere, installed or not

from tqdm import tqdm

from jingwei.errors import JingweiError, OutputError, SettingError
from jingwei.inputs.scenes import SCENE_TYPES
from jingwei.raster.png import PngWriter
from jingwei.synthetic import county
from jingwei.system.atomic import whole_or_nothing

DEFAULT_DIR = Path("data/sample")
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


def landscape_digest() -> str:
    """A hash of the code that draws: scenes of other code are other scenes."""
    sources = sorted(Path(county.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


class Manifest:
    """`sample.json`: which files of the folder we made, and with which settings. Guards a user's own scenes."""

    def __init__(self, root: Path):
        self.root, self.path = root, root / "sample.json"
        try:
            self._files = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        except ValueError as error:
            raise OutputError(self.path, f"is no JSON ({error})", "delete it with the samples beside it") from error

    def refuse_foreign_scenes(self, *patterns: str) -> None:
        """Raises OutputError where the patterns find scenes of someone else: samples never mix with real data."""
        for pattern in patterns:
            for path in sorted(self.root.glob(pattern)):
                if path.suffix.lower() in SCENE_TYPES and not self._is_ours(path):
                    raise OutputError(path, "is no sample of ours", "make the samples elsewhere with --data_dir")

    def has(self, name: str, settings: dict) -> bool:
        """Whether a file is there, complete, and made with these settings."""
        entry, path = self._files.get(name), self.root / name
        return bool(entry) and entry["settings"] == settings and path.exists() and path.stat().st_size == entry["bytes"]

    def keep_only(self, names: set[str]) -> None:
        """Deletes our files of other names: a smaller sample must not mix with what is left of a larger one."""
        for name in self._files.keys() - names:
            (self.root / name).unlink(missing_ok=True)
        self._files = {name: entry for name, entry in self._files.items() if name in names}
        self._write()

    def begin(self, *names: str) -> None:
        """Claims files before they are written: one that a killed run leaves behind is still known as ours."""
        self._files |= {name: {"settings": None, "bytes": None} for name in names}
        self._write()

    def finish(self, settings: dict, *names: str) -> None:
        """Notes files as complete."""
        sizes = {name: (self.root / name).stat().st_size for name in names}
        self._files |= {name: {"settings": settings, "bytes": size} for name, size in sizes.items()}
        self._write()

    def _is_ours(self, path: Path) -> bool:
        entry = self._files.get(path.relative_to(self.root).as_posix())
        return entry is not None and entry["bytes"] in (None, path.stat().st_size)

    def _write(self) -> None:
        with whole_or_nothing(self.path) as part:
            part.write_text(json.dumps(self._files, indent=1), encoding="utf-8")


def make_samples(root: Path, scenes: list[SampleScene], labels_only: bool = False, workers: int = 2) -> None:
    """Makes the scenes that `root` does not have yet, one after the other. Raises OutputError among foreign scenes."""
    manifest = Manifest(root)
    manifest.refuse_foreign_scenes("*train*/image_*", "*test*/image_*", f"{TRUTH}/image_*")
    for scene in scenes:
        names = [scene.label] if labels_only else [scene.label, scene.image]
        if all(manifest.has(name, scene.settings()) for name in names):
            print(f"{root / names[-1]}: kept, made before with the same settings")
            continue
        if not manifest.has(scene.image, scene.settings()):
            (root / scene.image).unlink(missing_ok=True)  # ours, but it doesn't fit the label to come
        manifest.begin(*names)
        write_scene(root, scene, picture=not labels_only, workers=workers)
        manifest.finish(scene.settings(), *names)
        print(f"{root / names[-1]}: {scene.width} x {scene.height} px")


def write_scene(root: Path, scene: SampleScene, picture: bool = True, workers: int = 2) -> None:
    """Writes a scene's label, and its picture unless told not to, strip by strip."""
    land = county.Landscape(scene.seed, scene.number, scene.height, scene.width)
    shape = scene.height, scene.width
    with ExitStack() as stack:
        labels_png = stack.enter_context(PngWriter(root / scene.label, *shape))
        image_png = stack.enter_context(PngWriter(root / scene.image, *shape, bands=4)) if picture else None
        title = f"image_{scene.number}"
        progress = stack.enter_context(tqdm(total=scene.height, unit="row", desc=title, disable=None))
        for pixels, labels in land.strips(picture=picture, workers=workers):
            labels_png.write(labels)
            if image_png:
                image_png.write(pixels)
            progress.update(len(labels))


def parse_size(text: str) -> tuple[int, int]:
    """`WIDTHxHEIGHT` as two integers."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not all(64 <= int(side) <= PNG_MAX_SIDE for side in match.groups()):
        raise SettingError("--size", f"{text!r} is no size", "write WIDTHxHEIGHT in pixels, 64x64 at least")
    return int(match[1]), int(match[2])


def chosen_scenes(flags: argparse.Namespace) -> list[SampleScene]:
    """The scenes that the flags ask for."""
    size = parse_size(flags.size) if flags.size else None
    numbers: list[int] = []
    for word in flags.scenes or (["1"] if size else ["all"]):
        if word not in GROUPS and word not in map(str, DEFAULT_SIZES):
            raise SettingError("--scenes", f"no scene {word!r}", "take numbers from 1 to 4, or train, test, all")
        numbers += [n for n in GROUPS.get(word) or (int(word),) if n not in numbers]
    return [SampleScene(n, *(size or DEFAULT_SIZES[n]), flags.seed) for n in numbers]


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong with the flags in one line, as all our programs do."""

    def error(self, message: str):
        raise SettingError("flags", message, "see --help")


def parse_flags(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line's flags."""
    parser = OneLineParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--data_dir", "--data-dir", type=Path, default=DEFAULT_DIR, help="where to write (default data/sample)"
    )
    parser.add_argument("--size", metavar="WxH", help="size of every scene; only image_1 unless --scenes says more")
    parser.add_argument("--scenes", nargs="+", metavar="N", help="numbers 1 to 4, or train, test, all (default all)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another county (default 0)")
    parser.add_argument("--labels_only", "--labels-only", action="store_true", help="write labels, but no pictures")
    parser.add_argument("--workers", type=int, default=2, help="threads; they change nothing in the pixels (default 2)")
    flags = parser.parse_args(arguments)
    if flags.workers < 1:
        raise SettingError("--workers", f"{flags.workers} threads do nothing", "take 1 or more")
    if not 0 <= flags.seed < 2**31:
        raise SettingError("--seed", f"{flags.seed} is out of range", f"take 0 to {2**31 - 1}")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; gives the exit status."""
    try:
        flags = parse_flags(arguments)
        make_samples(flags.data_dir, chosen_scenes(flags), flags.labels_only, flags.workers)
    except JingweiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
