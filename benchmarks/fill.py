"""How fast holes are filled, and in how much memory.

    python benchmarks/fill.py [--size 20000x20000] [--noise 0.05] [--min_area 100] [--folder DIR]

Makes a map of fields with many small regions in a temporary folder (or DIR), then measures each step in a process of
its own: the regions alone (strips come from memory), and `fill_map` from a tiled GeoTIFF to a tiled GeoTIFF, the
contest PNG and the picture. `taskset -c 0` gives the figures of one core. A small map goes first, to compile the code.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from jingwei import grid, raster
from jingwei.filling import fill_map
from jingwei.legend import JINGWEI, NODATA
from jingwei.regions import Filled

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


def measure_regions(source: Path, min_area: int, repeat: int = 3):
    """The best of `repeat` runs over strips that are in memory: (seconds, pixels changed)."""
    with raster.open_labels(source) as labels:
        height, width = labels.shape
        strips = [labels.read_label_rows(first, end) for first, end in grid.strips(height, 512)]
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        filled = Filled(lambda: iter(strips), height, width, min_area=min_area)
        for _ in filled:
            pass
        times.append(time.perf_counter() - begin)
    return min(times), int(filled.changed.sum())


def measure_files(source: Path, min_area: int):
    """One run from file to files: (seconds, pixels changed)."""
    folder = source.parent
    begin = time.perf_counter()
    changed = fill_map(
        source, folder / "filled.tif", legend=JINGWEI, min_area=min_area,
        submit_png=folder / "image_3_predict.png", picture=folder / "fill_vis_3.png",
    )  # fmt: skip
    return time.perf_counter() - begin, int(changed.sum())


def _in_process(connection, measure, source, min_area):
    seconds, changed = measure(source, min_area)
    connection.send((seconds, changed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def run(measure, source: Path, min_area: int):
    """(seconds, pixels changed, peak RSS in MiB) of a fresh process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_in_process, args=(theirs, measure, source, min_area))
    process.start()
    theirs.close()
    result = ours.recv()
    process.join()
    return result


def make_map(path: Path, height: int, width: int, noise: float) -> None:
    with raster.TiledWriter(path, height, width, nodata=NODATA, colormap=JINGWEI.colormap()) as writer:
        top = 0
        for strip in map_strips(height, width, noise):
            writer.write(grid.Window(top, 0, len(strip), width), strip)
            top += len(strip)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="20000x20000", help="width x height of the map, in pixels")
    parser.add_argument("--noise", type=float, default=0.0, help="share of pixels of a random class")
    parser.add_argument("--min_area", type=int, default=100, help="of the runs that also remove small regions")
    parser.add_argument("--folder", type=Path, help="where the map and the outputs go (kept); default: a temporary one")
    arguments = parser.parse_args()
    width, height = (int(number) for number in arguments.size.lower().split("x"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        source, small = folder / "map" / "vote.tif", folder / "warm" / "vote.tif"
        make_map(source, height, width, arguments.noise)
        make_map(small, 600, 700, 0.01)
        for min_area in (0, arguments.min_area):
            measure_files(small, min_area)
        print(f"{width} x {height} px, noise {arguments.noise:.0%}, map {source.stat().st_size / 2**20:.0f} MiB\n")
        print(f"{'step':<42}{'wall s':>8}{'Mpx/s':>8}{'peak MiB':>10}{'px changed':>13}")
        for name, measure in (("regions, strips in memory", measure_regions), ("files to files", measure_files)):
            for min_area in (0, arguments.min_area):
                seconds, changed, peak = run(measure, source, min_area)
                step = f"{name}, " + (f"min_area {min_area}" if min_area else "holes")
                print(f"{step:<42}{seconds:8.2f}{width * height / seconds / 1e6:8.0f}{peak:10.0f}{changed:13,}")
        print("\nThe peak of the first two includes the whole map, which they hold to leave reading out of the time.")


if __name__ == "__main__":
    main()
