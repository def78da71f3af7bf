"""Sample scenes for system B: made-up towns from above, and land as a radar sees it, the same for the same seed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from jingwei.errors import SettingError
from jingwei.inputs.sar import CHANNELS
from jingwei.legend import GF2, GF3, NODATA
from jingwei.raster.crop_files import write_crop
from jingwei.raster.png import write_png
from jingwei.raster.preview import painted
from jingwei.synthetic.manifest import Manifest, landscape_digest
from jingwei.synthetic.radar import radar_scene
from jingwei.synthetic.town import town_scene
from jingwei.system.progress import Progress

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


def plan(scenes: int, size: int, seed: int, looks: int) -> list[GfScene]:
    """The scenes of a sample: `scenes` of each kind to train, a third of that to validate, a quarter to test.

    Raises SettingError for numbers out of range.
    """
    bounds = {
        "scenes": (scenes, 1, 10_000),
        "size": (size, 64, 4096),
        "looks": (looks, 1, 100),
        "seed": (seed, 0, 2**31 - 1),
    }
    for name, (value, lowest, highest) in bounds.items():
        if not lowest <= value <= highest:
            raise SettingError(f"`{name}`", f"{value} is out of range", f"take {lowest} to {highest}")
    return list(_plan(scenes, size, seed, looks))


def _plan(scenes: int, size: int, seed: int, looks: int) -> Iterator[GfScene]:
    for kind in ("optical", "sar"):
        number = 0
        for part, count in (("train", scenes), ("valid", max(2, scenes // 3)), ("test", max(2, scenes // 4))):
            for i in range(count):
                number += 1
                shape = (size, size)
                if part == "test" and kind == "sar":
                    down, across = TEST_SHAPES[i % len(TEST_SHAPES)]
                    shape = (round(size * down), round(size * across))
                folder = f"test_{'A' if i < (count + 1) // 2 else 'B'}" if part == "test" else part
                yield GfScene(kind, folder, number, *shape, seed, looks)


def make_samples(root: Path, scenes: list[GfScene]) -> None:
    """Makes the scenes that `root` does not have yet; deletes others that it made. OutputError among foreign scenes."""
    manifest, code = Manifest(root), landscape_digest()
    manifest.refuse_foreign_scenes("*/*/img/*", "*/*/lbl/*", "*/test/test_*/*")
    # A number is to train in a large sample and to test in a small one: the same scene would be on both sides.
    manifest.keep_only({name for scene in scenes for name in (*scene.images, scene.label)})
    for scene in Progress(scenes, unit="scene", desc="draw"):
        names, settings = [*scene.images, scene.label], asdict(scene) | {"landscape": code}
        if not all(manifest.has(name, settings) for name in names):
            manifest.begin(*names)
            scene.write(root)
            manifest.finish(settings, *names)
    Progress.write(f"{root}: {len(scenes)} scenes")
