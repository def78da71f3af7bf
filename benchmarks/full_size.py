"""Every step at the contest's full size, beside the least time that the step could take.

    python benchmarks/full_size.py --work DIR [--scale 0.1] [--stages cut_train predict] [--mosaic 4]

Makes in DIR, with data/make_sample.py, a scene of 47161 x 50141 px with its label, and a label raster of 77470 x 46050
(3.57 Gpx: more pixels than a signed 32-bit number counts), and disturbs that into three maps. Then runs the root
scripts on them, each as a process of its own, and prints a line per step. Made inputs are kept for the next run, and so
are the results, in DIR/results.json. `--scale 0.1` makes all sides a tenth. `--mosaic 4` makes a county of a quarter of
the sides and lays it out 4 x 4, every second one mirrored: the same sizes, made in a sixteenth of the time.

The least time: for cutting, rasterio reads the same PNG top to bottom in strips of 512 rows; for voting and scoring,
rasterio reads (and writes) as many rasters; for predicting, the network alone on as many windows. These run before and
after their step, and the faster one counts. The network is tiny and has learned nothing: what is measured is what
surrounds it. A small county goes through all steps first, so that no compiler is in the figures.
"""

import argparse
import json
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from cut import READ
from measure import Measured, run

from jingwei.grid import Window, even_starts, strips
from jingwei.legend import JINGWEI, NODATA
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.devices import find_precision
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.engines.registry import make_engine
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.png import PngWriter
from jingwei.raster.reading import Raster, open_image, open_labels
from jingwei.raster.writing import TiledWriter

SCENE, GIANT = (47161, 50141), (77470, 46050)  # width, height
TRAIN = "jingwei_round1_train_20190619"
NOISES = (0.0, 0.02, 0.05)  # shares of the pixels that a voter has wrong

READ_AND_WRITE = """
import sys, rasterio
from rasterio.windows import Window
threads, outputs = sys.argv[1], [] if sys.argv[2] == "-" else sys.argv[2].split(",")
inputs = [rasterio.open(path) for path in sys.argv[3:]]
height, width = inputs[0].shape
profile = dict(driver="GTiff", height=height, width=width, count=1, dtype="uint8", tiled=True, blockxsize=256,
               blockysize=256, compress="zstd", zstd_level=1, predictor=2, bigtiff="yes", num_threads=threads)
written = [rasterio.open(path, "w", **profile) for path in outputs]
with rasterio.Env(GDAL_CACHEMAX=256 << 20):
    for row in range(0, height, 256):
        window = Window(0, row, width, min(256, height - row))
        read = [scene.read(1, window=window) for scene in inputs]
        for scene, labels in zip(written, read):
            scene.write(labels, 1, window=window)
    for scene in written:
        scene.close()
"""


@dataclass(frozen=True)
class Place:
    """A folder with the inputs of one size, and the steps on them."""

    root: Path
    scene_size: tuple[int, int]
    giant_size: tuple[int, int]
    mosaic: int
    workers: str
    engine: str

    @property
    def scene(self) -> Path:
        return self._folder(self.scene_size) / TRAIN / "image_1.png"

    @property
    def data_dir(self) -> Path:
        return self.scene.parent.parent

    @property
    def tiled(self) -> Path:
        return self.data_dir / "test" / "image1" / "image_1.tif"

    @property
    def truth(self) -> Path:
        return self._folder(self.giant_size) / TRAIN / "image_2_label.png"

    @property
    def maps(self) -> list[Path]:
        """The label raster as tiled GeoTIFFs, the first as it is, the others disturbed."""
        return [self.truth.parent.parent / f"noise_{round(100 * noise)}.tif" for noise in NOISES]

    @property
    def made(self) -> Path:
        """The folder of what is only measured, not kept."""
        return self.root / "made"

    def _folder(self, size: tuple[int, int]) -> Path:
        mosaic = f"_mosaic_{self.mosaic}" if self.mosaic > 1 else ""
        return self.root / f"{size[0]}x{size[1]}{mosaic}"

    def make_scene(self) -> None:
        """image_1.png (RGBA) and its label, where they are not there yet."""
        self._make(self.scene, 1, self.scene_size, [])

    def make_maps(self) -> None:
        """image_2_label.png and the three maps, where they are not there yet."""
        self._make(self.truth, 2, self.giant_size, ["--labels_only"])
        for path, noise in zip(self.maps, NOISES, strict=True):
            if not path.exists():
                write_disturbed(self.truth, path, noise)

    def _make(self, path: Path, number: int, size: tuple[int, int], flags: list[str]) -> None:
        side = [-(-length // self.mosaic) for length in size]
        folder = path.parent.parent if self.mosaic == 1 else path.parent.parent / "county"
        where = ("--data_dir", str(folder), "--size", "{}x{}".format(*side), "--scenes", str(number))
        if self.mosaic == 1:
            run("data/make_sample.py", *where, *flags)  # keeps what it made before
        elif not path.exists():
            run("data/make_sample.py", *where, *flags)
            for name in [f"image_{number}_label.png"] + ([path.name] if not flags else []):
                write_mosaic(folder / TRAIN / name, path.with_name(name), size, self.mosaic)

    @cached_property
    def checkpoint(self) -> Path:
        """A tiny network that has learned nothing."""
        path = self.root / "random.pt"
        torch.manual_seed(0)
        spec = ModelSpec("deeplabv3", "mobilenetv3_small_050", bands=3, classes=len(JINGWEI), output_stride=16)
        mean, std = (120.0,) * 3, (40.0,) * 3
        save_checkpoint(
            path, Checkpoint(spec, "uint8", mean, std, JINGWEI, {}, build_model(spec, mean, std).state_dict())
        )
        return path

    # ---- the steps, and the least that each could take ----

    def cut_train(self) -> Measured:
        shutil.rmtree(self.data_dir / "train", ignore_errors=True)
        measured = self._script("generate_train_data.py", "--data_dir", self.data_dir)
        shutil.rmtree(self.data_dir / "train")
        return measured

    def cut_test(self) -> Measured:
        shutil.rmtree(self.data_dir / "test", ignore_errors=True)
        return self._script("generate_test_data.py", "--data_dir", self.data_dir, "--scene", self.scene)

    def read_scene(self) -> Measured:
        return run("-c", READ, str(self.scene))

    def predict(self) -> Measured:
        if not self.tiled.exists():
            self.cut_test()
        where = ("--data_dir", self.data_dir, "--output", self.made)
        return self._script("predict.py", *where, "--checkpoint", self.checkpoint, "--engine", self.engine)

    def run_network(self) -> Measured:
        """The same engine on as many windows of noise as have valid pixels, as far as 12 windows tell."""
        if not self.tiled.exists():
            self.cut_test()
        cpu, side = torch.device("cpu"), PredictSettings().window
        engine = make_engine(self.engine, load_checkpoint(self.checkpoint), cpu, find_precision("auto", cpu))
        pixels = np.random.default_rng(0).integers(0, 256, (1, 3, side, side), dtype=np.uint8)
        walls, processor = [], []
        for _ in range(12):
            begun = time.perf_counter(), time.process_time()
            engine(pixels)
            walls.append(time.perf_counter() - begun[0])
            processor.append(time.process_time() - begun[1])
        count = self._windows_with_pixels
        print(f"the network alone: {np.median(walls):.4f} s a window, {count} windows")
        return Measured(float(np.median(walls)) * count, 0.0, float(np.median(processor)) * count)

    @cached_property
    def _windows_with_pixels(self) -> int:
        settings = PredictSettings()
        with open_image(self.tiled) as image:
            size = settings.window
            rows, cols = (even_starts(length, size, settings.overlap) for length in image.shape)
            inside = [Window(row, col, min(size, image.height), min(size, image.width)) for row in rows for col in cols]
            return sum(bool(image.read_validity(window).any()) for window in inside)

    def vote(self) -> Measured:
        return self._script("vote.py", "--inputs", *self.maps, "--output", self.made / "vote.tif")

    def read_and_write_maps(self) -> Measured:
        """As many maps as a vote reads, and as it writes: labels, agreement, entropy."""
        self.made.mkdir(exist_ok=True)
        outputs = [self.made / f"limit_{number}.tif" for number in range(len(self.maps))]
        measured = run("-c", READ_AND_WRITE, self.workers, ",".join(map(str, outputs)), *map(str, self.maps))
        for path in outputs:
            path.unlink()
        return measured

    def fill(self) -> Measured:
        return self._script("fill_hole.py", "--input", self.maps[0], "--output", self.made / "filled.tif")

    def fill_noise(self) -> Measured:
        return self._script("fill_hole.py", "--input", self.maps[-1], "--output", self.made / "filled_noise.tif")

    def evaluate(self) -> Measured:
        return self._script("evaluate.py", "--prediction", self.maps[-1], "--label", self.maps[0])

    def read_two_maps(self) -> Measured:
        return run("-c", READ_AND_WRITE, self.workers, "-", str(self.maps[-1]), str(self.maps[0]))

    def _script(self, script: str, *flags) -> Measured:
        shutil.rmtree(self.made, ignore_errors=True)  # or a stage would keep what it made before
        threads = () if script in ("fill_hole.py", "evaluate.py") else ("--workers", self.workers)
        return run(script, *map(str, flags), *threads)


@dataclass(frozen=True)
class Step:
    """A step, what it is measured by, and what one run of it takes on two cores of an EPYC, for the forecast."""

    work: Callable[[Place], Measured]
    limit: Callable[[Place], Measured] | None
    goal: str
    on_scene: bool  # else on the giant label raster
    bytes_per_px: float
    seconds_per_gpx: float  # with its limit, twice


STEPS = {
    "cut_train": Step(Place.cut_train, Place.read_scene, "<= 1.0 x reading", True, 1.5, 60),
    "cut_test": Step(Place.cut_test, Place.read_scene, "<= 0.75 x reading", True, 1.7, 50),
    "predict": Step(Place.predict, Place.run_network, "x the network", True, 0.2, 130),
    "vote": Step(Place.vote, Place.read_and_write_maps, "<= 1.3 x copying", False, 0.3, 35),
    "fill": Step(Place.fill, None, ">= 200 Mpx/s", False, 0.05, 8),
    "fill_noise": Step(Place.fill_noise, None, ">= 50 Mpx/s", False, 0.2, 15),
    "evaluate": Step(Place.evaluate, Place.read_two_maps, "<= 1.3 x reading", False, 0.0, 15),
}
# Of the inputs, likewise; those of the label raster include the three maps.
SCENE_BYTES_PER_PX, SCENE_SECONDS_PER_GPX = 1.5, 130
MAPS_BYTES_PER_PX, MAPS_SECONDS_PER_GPX = 0.25, 130


def write_mosaic(county: Path, path: Path, size: tuple[int, int], times: int) -> None:
    """Lays a PNG out `times` x `times`, every second one mirrored left to right, cut off at `size` (width, height)."""
    width, height = size

    def rows() -> Iterator[np.ndarray]:
        for _ in range(times):  # opened again each time: a PNG can only be read from the top
            with Raster(county) as scene:
                for first, end in strips(scene.height, 256):
                    pixels, valid = scene.read_rows(first, end)
                    alpha = valid[None].view(np.uint8) * np.uint8(255)
                    strip = pixels if len(pixels) == 1 else np.concatenate([pixels, alpha])
                    across = [strip[:, :, ::-1] if number % 2 else strip for number in range(times)]
                    yield np.concatenate(across, axis=2)[:, :, :width]

    with Raster(county) as scene:
        bands = 1 if scene.bands == 1 else scene.bands + 1
    written = 0
    with PngWriter(path, height, width, bands) as png:
        for strip in rows():
            strip = strip[:, : height - written]
            written += strip.shape[1]
            if strip.shape[1]:
                png.write(strip[0] if bands == 1 else np.ascontiguousarray(strip.transpose(1, 2, 0)))
    print(f"{path}: {width} x {height} px, {times} x {times} copies of {county.name}")


def write_disturbed(truth: Path, path: Path, noise: float) -> None:
    """The label raster as a tiled GeoTIFF, the share `noise` of its pixels of a random class."""
    rng = np.random.default_rng(int(1000 * noise))
    with open_labels(truth) as labels:
        with TiledWriter(
            path, labels.height, labels.width, nodata=NODATA, colormap=JINGWEI.colormap(), workers=2
        ) as writer:
            for first, end in strips(labels.height, 256):
                strip = labels.read_label_rows(first, end)
                places = rng.integers(0, strip.size, int(noise * strip.size))
                strip.reshape(-1)[places] = rng.integers(0, len(JINGWEI), len(places), dtype=np.uint8)
                writer.write(Window(first, 0, *strip.shape), strip)
    print(f"{path}: {noise:.0%} of the pixels disturbed")


def forecast(place: Place, names: list[str]) -> tuple[float, float]:
    """What the chosen steps will take, inputs included: (bytes on the disk at most at once, seconds)."""
    scene, giant = (width * height for width, height in (place.scene_size, place.giant_size))
    size = seconds = 0.0
    chosen = [STEPS[name] for name in names]
    if any(step.on_scene for step in chosen) and not place.scene.exists():
        size += SCENE_BYTES_PER_PX * scene
        seconds += SCENE_SECONDS_PER_GPX / place.mosaic**2 * scene / 1e9
    if not all(step.on_scene for step in chosen) and not all(path.exists() for path in place.maps):
        size += MAPS_BYTES_PER_PX * giant
        seconds += MAPS_SECONDS_PER_GPX / place.mosaic**2 * giant / 1e9
    for step in chosen:
        area = scene if step.on_scene else giant
        size += step.bytes_per_px * area
        seconds += 10 + step.seconds_per_gpx * area / 1e9
    return size, seconds


def measure(place: Place, name: str) -> dict:
    """Runs a step between two runs of its limit. Gives what the table and the JSON hold."""
    step = STEPS[name]
    limits = [step.limit(place)] if step.limit else []
    done = step.work(place)
    if step.limit:
        limits.append(step.limit(place))
    width, height = place.scene_size if step.on_scene else place.giant_size
    result = {
        "width": width,
        "height": height,
        "seconds": done.seconds,
        "cpu_seconds": done.cpu_seconds,
        "mpx_per_second": width * height / 1e6 / done.seconds,
        "peak_mib": done.peak_mib,
        "goal": step.goal,
    }
    if limits:
        best = min(limits)
        result |= {"limit_seconds": best.seconds, "limit_cpu_seconds": best.cpu_seconds}
        result |= {"ratio": done.seconds / best.seconds, "cpu_ratio": done.cpu_seconds / best.cpu_seconds}
    return result


def table(results: dict[str, dict]) -> str:
    """A line per step."""
    lines = ["step          Gpx   wall s    CPU s    Mpx/s  peak MiB  least s  least CPU s  ratio  CPU ratio  goal"]
    for name, r in results.items():
        line = f"{name:10} {r['width'] * r['height'] / 1e9:6.3f} {r['seconds']:8.1f} {r['cpu_seconds']:8.1f}"
        line += f" {r['mpx_per_second']:8.1f} {r['peak_mib']:9.0f}"
        if "ratio" in r:
            line += (
                f" {r['limit_seconds']:8.1f} {r['limit_cpu_seconds']:12.1f} {r['ratio']:6.2f} {r['cpu_ratio']:10.2f}"
            )
        else:
            line += f" {'-':>8} {'-':>12} {'-':>6} {'-':>10}"
        lines.append(f"{line}  {r['goal']}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for inputs, outputs and results.json")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sides (default 1)")
    parser.add_argument("--stages", nargs="+", default=list(STEPS), choices=STEPS, help="steps to run (default all)")
    parser.add_argument("--mosaic", type=int, default=1, help="copies of a smaller county along each side (default 1)")
    parser.add_argument("--workers", default="2", help="threads of each step (default 2)")
    parser.add_argument("--engine", default="openvino", help="what runs the network of predict (default openvino)")
    args = parser.parse_args()
    if not 0 < args.scale <= 1 or args.mosaic < 1:
        parser.error("--scale is above 0 and up to 1, --mosaic 1 or more")
    root = args.work.resolve()
    root.mkdir(parents=True, exist_ok=True)
    sizes = [tuple(round(side * args.scale) for side in size) for size in (SCENE, GIANT)]
    place = Place(root, *sizes, args.mosaic, args.workers, args.engine)
    expected, seconds = forecast(place, args.stages)
    free = shutil.disk_usage(root).free
    print(f"expected: {expected / 1e9:.1f} GB in {root} ({free / 1e9:.1f} GB free), about {seconds / 60:.0f} min")
    if expected > free:
        sys.exit(f"error: {root}: {expected / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free: take another disk")
    print("-- a small county first: compiles what is compiled")
    small = Place(root / "warm", (700, 600), (600, 700), 1, args.workers, args.engine)
    small.make_scene()
    small.make_maps()
    for name in args.stages:
        STEPS[name].work(small)
    shutil.rmtree(root / "warm")
    print("-- the inputs")
    if any(STEPS[name].on_scene for name in args.stages):
        place.make_scene()
    if not all(STEPS[name].on_scene for name in args.stages):
        place.make_maps()
    report = root / "results.json"
    key = f"{args.scale:g}" + (f", mosaic of {args.mosaic} x {args.mosaic}" if args.mosaic > 1 else "")
    content = json.loads(report.read_text()) if report.exists() else {}
    content["machine"] = f"{platform.processor() or platform.machine()}, {args.workers} workers"
    results = content.setdefault(f"scale {key}", {})
    for name in args.stages:
        print(f"-- {name}")
        results[name] = measure(place, name)
        report.write_text(json.dumps(content, indent=1))
    shutil.rmtree(place.made, ignore_errors=True)
    print(f"\nscale {key}; memory is the resident set of the whole tree of processes, sampled every 50 ms")
    print("Steps are whole programs: at small scales, their start is most of their time")
    print(table({name: results[name] for name in args.stages}))


if __name__ == "__main__":
    main()
