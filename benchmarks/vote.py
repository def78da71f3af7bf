"""Voting and scoring giant maps: time and peak memory.

    python benchmarks/vote.py --size 20000x20000

Makes three maps of fields that differ in their noise (kept in data/benchmark/), then runs vote.py on them and
evaluate.py on the result, each as a process of its own.
"""

import argparse

from fill import map_strips
from measure import ROOT, run, side_by_side

from jingwei import raster
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--size", default="20000x20000", help="width x height of the maps (default 20000x20000)")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    folder = ROOT / "data" / "benchmark" / f"vote_{args.size}"
    maps = [folder / f"noise_{percent}.tif" for percent in (0, 2, 5)]
    for path, noise in zip(maps, (0.0, 0.02, 0.05), strict=True):
        if path.exists():
            continue
        with raster.TiledWriter(path, height, width, nodata=NODATA, colormap=JINGWEI.colormap()) as writer:
            top = 0
            for strip in map_strips(height, width, noise):
                writer.write(Window(top, 0, *strip.shape), strip)
                top += len(strip)
    result = str(folder / "vote.tif")
    rows = [
        ("vote of 3", run("vote.py", "--inputs", *map(str, maps), "--output", result)),
        ("evaluate", run("evaluate.py", "--prediction", result, "--label", str(maps[0]))),
    ]
    print(side_by_side(rows, width * height / 1e6, rows[0][1].seconds))


if __name__ == "__main__":
    main()
