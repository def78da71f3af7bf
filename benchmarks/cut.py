"""Cutting a giant scene, beside the time in which rasterio only reads the same PNG top to bottom.

    python benchmarks/cut.py --size 20000x20000 --workers 2

Makes the scene with data/make_sample.py (kept in data/benchmark/ for the next run), then runs each step as a process of
its own and prints wall time, ratio to the bare read, and peak memory.
"""

import argparse
import shutil
import sys

from measure import ROOT, run, side_by_side

READ = """
import sys, rasterio
from rasterio.windows import Window
with rasterio.Env(GDAL_CACHEMAX=256 << 20), rasterio.open(sys.argv[1]) as scene:
    for row in range(0, scene.height, 512):
        scene.read(window=Window(0, row, scene.width, min(512, scene.height - row)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--size", default="20000x20000", help="width x height of the scene (default 20000x20000)")
    parser.add_argument("--workers", default="2", help="threads of each step (default 2)")
    args = parser.parse_args()
    folder = ROOT / "data" / "benchmark" / f"cut_{args.size}"
    width, height = map(int, args.size.split("x"))
    run("data/make_sample.py", "--data_dir", str(folder), "--size", args.size)
    scenes = sorted(folder.glob("*train*/image_1.png"))
    if not scenes:
        sys.exit(f"error: {folder}: no image_1.png was made")
    for made in ("train", "test"):
        shutil.rmtree(folder / made, ignore_errors=True)
    scene = str(scenes[0])
    place = ("--data_dir", str(folder), "--workers", args.workers)
    rows = [
        ("rasterio reads the PNG", run("-c", READ, scene)),
        ("generate_train_data.py", run("generate_train_data.py", *place)),
        ("generate_test_data.py", run("generate_test_data.py", *place, "--scene", scene)),
        ("rasterio reads the PNG again", run("-c", READ, scene)),
    ]
    base = min(rows[0][1].seconds, rows[3][1].seconds)
    print(f"{args.size}, {args.workers} workers; ratio to the faster of the two bare reads")
    print(side_by_side(rows, width * height / 1e6, base))


if __name__ == "__main__":
    main()
