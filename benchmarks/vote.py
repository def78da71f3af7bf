"""Voting and scoring giant maps: time, peak memory, and how much a vote adds to reading and writing.

    python benchmarks/vote.py --size 10000x10000 [--repeat 3]

Makes three maps of fields that differ in their noise, and class probabilities like theirs (kept in data/benchmark/).
Then runs vote.py on both and evaluate.py on the result, each as a process of its own. At last, in one process and in
turns: a vote, and just reading the same inputs and writing the same results through the same readers and writers.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from fill import map_strips
from measure import ROOT, run, side_by_side

from jingwei.grid import Window, strips
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.reading import Raster, open_labels
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter
from jingwei.system.machine import cores
from jingwei.system.prefetch import ahead
from jingwei.voting.vote import VoteFiles, read_maps, read_probabilities, vote

BLUR = 9  # px: how softly the probabilities go from class to class


def make_map(path: Path, height: int, width: int, noise: float) -> None:
    with TiledWriter(path, height, width, nodata=NODATA, colormap=JINGWEI.colormap()) as writer:
        top = 0
        for strip in map_strips(height, width, noise):
            writer.write(Window(top, 0, *strip.shape), strip)
            top += len(strip)


def make_probabilities(path: Path, labels_file: Path) -> None:
    """The classes of a map, blurred: uint8, a band per class."""
    classes = np.arange(len(JINGWEI))[:, None, None]
    with open_labels(labels_file) as source:
        with TiledWriter(path, *source.shape, bands=len(JINGWEI), nodata=0) as writer:
            for first, end in strips(source.height, TILE):
                labels = source.read_label_rows(first, end)
                planes = np.stack(
                    [cv2.blur(255 * plane, (BLUR, BLUR)) for plane in (labels == classes).astype("uint8")]
                )
                planes[:, labels == NODATA] = 0
                writer.write(Window(first, 0, *labels.shape), planes)


def copy(inputs: list[Path], soft: bool, results: list[list[np.ndarray]], folder: Path) -> None:
    """Reads what a vote reads, and writes the `results` that a vote writes: strips of labels, agreement, entropy."""
    names = ("labels", "agreement", "entropy")
    with ExitStack() as stack:
        maps = [stack.enter_context(Raster(path)) for path in inputs]
        pool = stack.enter_context(ThreadPoolExecutor(cores()))
        how = {"like": maps[0], "nodata": NODATA, "workers": cores()}
        targets = [folder / f"copy_{name}.tif" for name in names]
        writers = [stack.enter_context(TiledWriter(path, *maps[0].shape, **how)) for path in targets]
        ballots = (read_probabilities if soft else read_maps)(maps, TILE, pool)
        for window, _ in ahead(ballots):
            if window.col_end == maps[0].width:
                for writer, strip in zip(writers, results[window.row // TILE], strict=True):
                    writer.write(Window(window.row, 0, window.height, maps[0].width), strip)


def timed(work) -> np.ndarray:
    """[wall seconds, CPU seconds of all threads]"""
    begun = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.array([time.perf_counter(), time.process_time()]) - begun


def beside_a_copy(inputs: list[Path], soft: bool, folder: Path, repeat: int) -> str:
    """A line: seconds of both, and the medians of the ratios of runs that followed each other."""
    files = VoteFiles.beside(folder / "in_turns.tif")

    def fresh_vote() -> None:
        for path in files.maps:
            path.unlink(missing_ok=True)
        vote(inputs, files, JINGWEI, soft=soft, workers=cores())

    fresh_vote()  # compiles
    with ExitStack() as stack:
        made = [stack.enter_context(open_labels(path)) for path in files.maps]
        spans = strips(made[0].height, TILE)
        results = [[part.read_label_rows(*span) for part in made] for span in spans]
    pairs = [(timed(lambda: copy(inputs, soft, results, folder)), timed(fresh_vote)) for _ in range(repeat)]
    copies, votes = (np.median([pair[i] for pair in pairs], axis=0) for i in (0, 1))
    wall, cpu = (median(pair[1][i] / pair[0][i] for pair in pairs) for i in (0, 1))
    name = "soft vote" if soft else "hard vote"
    figures = f"{copies[0]:8.2f} {votes[0]:8.2f} {wall:8.2f} {copies[1]:10.2f} {votes[1]:8.2f} {cpu:8.2f}"
    return f"{name:10} {figures}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--size", default="10000x10000", help="width x height of the maps (default 10000x10000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side (default 3)")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    folder = ROOT / "data" / "benchmark" / f"vote_{args.size}"
    maps = [folder / f"noise_{percent}.tif" for percent in (0, 2, 5)]
    probabilities = [path.with_name(f"soft_{path.name}") for path in maps]
    for path, soft_path, noise in zip(maps, probabilities, (0.0, 0.02, 0.05), strict=True):
        if not path.exists():
            make_map(path, height, width, noise)
        if not soft_path.exists():
            make_probabilities(soft_path, path)
    rows = []
    for name, inputs, flags in (("vote of 3", maps, ()), ("soft vote of 3", probabilities, ("--soft",))):
        files = VoteFiles.beside(folder / "vote.tif")
        for path in files.maps:
            path.unlink(missing_ok=True)
        command = ("vote.py", *flags, "--inputs", *map(str, inputs), "--output", str(files.labels))
        rows.append((name, run(*command)))
    rows.append(("evaluate", run("evaluate.py", "--prediction", str(files.labels), "--label", str(maps[0]))))
    print(side_by_side(rows, width * height / 1e6, rows[0][1].seconds))
    print("\n            wall s: copy     vote    ratio   CPU s: copy     vote    ratio")
    print(beside_a_copy(maps, False, folder, args.repeat))
    print(beside_a_copy(probabilities, True, folder, args.repeat))


if __name__ == "__main__":
    main()
