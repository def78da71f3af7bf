"""How fast maps are filled, and in how much memory, beside only reading and writing the same files.

    python benchmarks/fill.py [--size 20000x20000] [--noise 0 0.05] [--min_area 100] [--folder DIR]

Makes maps of fields with many small regions in a temporary folder (or DIR), with and without noise, and goes from tiled
GeoTIFF to tiled GeoTIFF, contest PNG and picture, each time in a process of its own. A small map goes first, to compile
the code. CPU seconds are what one core takes (`taskset -c 0` shows it); `--size 77470x46050` is the contest's largest.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jingwei import grid
from jingwei.filling.fill_map import Frames, fill_map
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.png import PngWriter
from jingwei.raster.reading import open_labels
from jingwei.raster.writing import TiledWriter, without_nodata
from jingwei.system.prefetch import ahead, behind

BLOCK = 2000  # rows and columns of the pattern that the map repeats, shifted and with other classes each time
CRUMB_SPACING = 39  # pixels between small regions: 260,000 of them in 20000 x 20000


def pattern(rng: np.random.Generator) -> np.ndarray:
    """A block of fields with ragged edges, most crumbs of it background: uint8, BLOCK x BLOCK."""
    rows, cols = np.mgrid[:BLOCK, :BLOCK]
    wobble = (6 * np.sin(rows / 17) + 6 * np.sin(cols / 23)).astype(np.int64)
    fields = (((rows + wobble) // 310) * 3 + ((cols + wobble) // 420) * 5) % 3 + 1
    labels = fields.astype(np.uint8)
    for row in range(20, BLOCK - 20, CRUMB_SPACING):
        for col in range(20, BLOCK - 20, CRUMB_SPACING):
            height, width = rng.integers(1, 12, 2)
            labels[row : row + height, col : col + width] = rng.choice([0, 0, 0, 1, 2, 3])
    labels[:700, :600] = 0
    return labels


def map_strips(height: int, width: int, noise: float, rows: int = 512):
    """The map, strip by strip: fields and crumbs, `noise` of the pixels another class, a corner without data."""
    rng = np.random.default_rng(0)
    block = pattern(rng)
    for first, end in grid.strips(height, rows):
        strip = np.empty((end - first, width), np.uint8)
        for row in range(first, end):
            shift = 613 * (row // BLOCK)
            line = np.roll(block[row % BLOCK], shift)
            strip[row - first] = np.resize(line, width)
        if noise:
            # Flat positions: a bool per pixel would cost more than the map.
            places = rng.integers(0, strip.size, int(noise * strip.size))
            strip.reshape(-1)[places] = rng.integers(0, 4, len(places), dtype=np.uint8)
        reach = max(0, width // 4 - first)
        strip[:, :reach] = NODATA
        yield strip


def make_map(path: Path, height: int, width: int, noise: float) -> None:
    with TiledWriter(path, height, width, nodata=NODATA, colormap=JINGWEI.colormap()) as writer:
        top = 0
        for strip in map_strips(height, width, noise):
            writer.write(grid.Window(top, 0, len(strip), width), strip)
            top += len(strip)


def copy(source: Path, target: Path, submit_png: Path) -> np.ndarray:
    """Only reads and writes what `fill_map` does, on as many threads. Returns that nothing has changed."""
    with ExitStack() as stack:
        labels = stack.enter_context(open_labels(source))
        height, width = labels.shape
        tiled = TiledWriter(target, height, width, like=labels, nodata=NODATA, colormap=JINGWEI.colormap())
        writer, png = stack.enter_context(tiled), stack.enter_context(PngWriter(submit_png, height, width))
        write_tiles = stack.enter_context(behind(lambda piece: writer.write(*piece)))
        write_rows = stack.enter_context(behind(lambda piece: png.write(without_nodata(piece[1]))))
        rows = list(grid.strips(height, 256))
        for (first, _), strip in zip(rows, ahead(labels.read_label_rows(*pair) for pair in rows), strict=True):
            write_tiles((grid.Window(first, 0, len(strip), width), strip))
            write_rows((grid.Window(first, 0, len(strip), width), strip))
    return np.zeros(1, np.int64)


def fill(source: Path, target: Path, submit_png: Path, **rules) -> np.ndarray:
    picture = target.with_name("fill_vis_3.png")
    return fill_map(source, target, legend=JINGWEI, submit_png=submit_png, picture=picture, progress=quiet, **rules)


def quiet(**settings):
    return tqdm(**(settings | {"disable": True}))


def measure(work, source: Path, **rules) -> tuple[float, float, float, int]:
    """(wall seconds, CPU seconds, peak RSS in MiB, pixels changed) of one run in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    changed = work(source, source.with_name("filled.tif"), source.with_name("image_3_predict.png"), **rules)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return wall, cpu, peak, int(changed.sum())


def in_process(work, *arguments, **rules):
    """What `work` returns, called in a process of its own: this one stays small, for its peak is passed on."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments, **rules).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="20000x20000", help="width x height of the maps, in pixels")
    parser.add_argument(
        "--noise", type=float, nargs="+", default=[0.0, 0.05], help="shares of pixels of a random class"
    )
    parser.add_argument("--min_area", type=int, default=100, help="of the run that also removes small regions")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each step, in turn; the best one is printed")
    parser.add_argument(
        "--folder", type=Path, help="where the maps and the outputs go (kept); default: a temporary one"
    )
    arguments = parser.parse_args()
    width, height = (int(number) for number in arguments.size.lower().split("x"))
    steps = {
        "read and write only": (copy, {}),
        "holes": (fill, {}),
        f"holes, min_area {arguments.min_area}": (fill, {"min_area": arguments.min_area}),
        "frames": (fill, {"frames": Frames()}),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        small = folder / "warm" / "vote.tif"
        in_process(make_map, small, 600, 700, 0.01)
        for work, rules in steps.values():  # compiles
            in_process(measure, work, small, **rules)
        for noise in arguments.noise:
            source = folder / f"noise_{noise:g}" / "vote.tif"
            in_process(make_map, source, height, width, noise)
            print(f"\n{width} x {height} px, noise {noise:.0%}, map {source.stat().st_size / 2**20:.0f} MiB")
            print(f"{'':24}{'wall s':>8}{'Mpx/s':>8}{'CPU s':>8}{'Mpx/s':>8}{'peak MiB':>10}{'px changed':>13}")
            runs = {name: [] for name in steps}
            for _ in range(arguments.repeat):
                for name, (work, rules) in steps.items():
                    runs[name].append(in_process(measure, work, source, **rules))
            for name, measured in runs.items():
                wall, cpu, peak, changed = (min(figures) for figures in zip(*measured, strict=True))
                rates = (f"{seconds:8.2f}{width * height / seconds / 1e6:8.0f}" for seconds in (wall, cpu))
                print(f"{name:24}{''.join(rates)}{peak:10.0f}{changed:13,}")


if __name__ == "__main__":
    main()
