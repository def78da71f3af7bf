"""Make sample scenes for system B: made-up towns from above, and land as a radar sees it, the same for the same seed.

    python data/make_gf_sample.py                      24 scenes of each kind to train, 8 to validate, 6 to test
    python data/make_gf_sample.py --scenes 8 --size 256 --looks 1

Writes data/gf_sample/optical/ and data/gf_sample/sar/, each with train/img, train/lbl, valid/img, valid/lbl, and test
scenes in test/test_A and test/test_B with their labels in test/lbl. Optical scenes are N.tif (RGB, 8 bits); radar ones
are N_HH.tiff, N_HV.tiff, N_VH.tiff, N_VV.tiff (amplitudes, 16 bits, zero: no data), those to test of mixed sizes.
Labels are N_gt.png in the colours of the legends gf2 and gf3. Scenes that are there already are kept, and those
of an earlier run with other numbers of scenes deleted.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from anywhere, installed or not

from make_sample import Manifest, OneLineParser, landscape_digest
from tqdm import tqdm

from jingwei.errors import JingweiError, SettingError
from jingwei.inputs.sar import CHANNELS
from jingwei.legend import GF2, GF3, NODATA
from jingwei.raster.crop_files import write_crop
from jingwei.raster.png import write_png
from jingwei.raster.preview import painted
from jingwei.synthetic.radar import radar_scene
from jingwei.synthetic.town import town_scene

DEFAULT_DIR = Path("data/gf_sample")
# Heights and widths of radar scenes to test, as multiples of --size: 512 to 1500 px at the usual one.
TEST_SHAPES = ((1.0, 1.0), (1.25, 1.77), (2.93, 1.0), (1.52, 2.6), (1.95, 1.95), (1.0, 1.38))


@dataclass(frozen=True)
class GfScene:
    """One scene to make: its kind and place, and what decides its pixels."""

    kind: str  # optical or sar
    part: str  # train, valid, test_A or test_B
    number: int
    height: int
    width: int
    seed: int
    looks: int  # of radar scenes

    @property
    def images(self) -> list[str]:
        """Its files, relative to the data folder."""
        folder = f"{self.kind}/test/{self.part}" if self.part.startswith("test") else f"{self.kind}/{self.part}/img"
        if self.kind == "optical":
            return [f"{folder}/{self.number}.tif"]
        return [f"{folder}/{self.number}_{channel}.tiff" for channel in CHANNELS]

    @property
    def label(self) -> str:
        """Its label's file."""
        return f"{self.kind}/{'test' if self.part.startswith('test') else self.part}/lbl/{self.number}_gt.png"

    def write(self, root: Path) -> None:
        """Makes the scene and writes its files."""
        if self.kind == "optical":
            pixels, labels = town_scene(self.seed, self.number, self.height)
            planes, legend = [pixels.transpose(2, 0, 1)], GF2
        else:
            pixels, labels = radar_scene(self.seed, self.number, self.height, self.width, self.looks)
            planes, legend = [plane[None] for plane in pixels], GF3
        colors = painted(labels, legend)
        colors[labels == NODATA] = 0  # as the contest has it
        write_png(root / self.label, colors)
        for name, plane in zip(self.images, planes, strict=True):
            write_crop(root / name, plane)


def plan(scenes: int, size: int, seed: int, looks: int) -> Iterator[GfScene]:
    """The scenes of a sample: `scenes` of each kind to train, a third of that to validate, a quarter to test."""
    for kind in ("optical", "sar"):
        number = 0
        for part, count in (("train", scenes), ("valid", max(2, scenes // 3)), ("test", max(2, scenes // 4))):
            for i in range(count):
                number += 1
                shape = (size, size)
                if part == "test" and kind == "sar":
                    shape = tuple(round(size * times) for times in TEST_SHAPES[i % len(TEST_SHAPES)])
                folder = f"test_{'A' if i < (count + 1) // 2 else 'B'}" if part == "test" else part
                yield GfScene(kind, folder, number, *shape, seed, looks)


def make_samples(root: Path, scenes: list[GfScene]) -> None:
    """Makes the scenes that `root` does not have yet; deletes others that it made. OutputError among foreign scenes."""
    manifest, code = Manifest(root), landscape_digest()
    manifest.refuse_foreign_scenes("*/*/img/*", "*/*/lbl/*", "*/test/test_*/*")
    # A number is to train in a large sample and to test in a small one: the same scene would be on both sides.
    manifest.keep_only({name for scene in scenes for name in (*scene.images, scene.label)})
    for scene in tqdm(scenes, unit="scene", desc="draw", disable=None):
        names, settings = [*scene.images, scene.label], asdict(scene) | {"landscape": code}
        if not all(manifest.has(name, settings) for name in names):
            manifest.begin(*names)
            scene.write(root)
            manifest.finish(settings, *names)
    print(f"{root}: {len(scenes)} scenes")


def parse_flags(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line's flags."""
    parser = OneLineParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--data_dir", "--data-dir", type=Path, default=DEFAULT_DIR, help="where to write (default data/gf_sample)"
    )
    parser.add_argument("--scenes", type=int, default=24, help="training scenes of each kind (default 24)")
    parser.add_argument("--size", type=int, default=512, help="side of a scene, px (default 512)")
    parser.add_argument("--looks", type=int, default=3, help="of the radar: the more, the less speckle (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other land (default 0)")
    flags = parser.parse_args(arguments)
    for name, lowest, highest in (("scenes", 1, 10_000), ("size", 64, 4096), ("looks", 1, 100), ("seed", 0, 2**31 - 1)):
        if not lowest <= getattr(flags, name) <= highest:
            raise SettingError(f"--{name}", f"{getattr(flags, name)} is out of range", f"take {lowest} to {highest}")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; gives the exit status."""
    try:
        flags = parse_flags(arguments)
        make_samples(flags.data_dir, list(plan(flags.scenes, flags.size, flags.seed, flags.looks)))
    except JingweiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
