"""Cutting a giant scene, beside the time in which rasterio only reads the same PNG top to bottom.

    python benchmarks/cut.py --size 20000x20000 --workers 2

Makes the scene with data/make_sample.py (kept in data/benchmark/ for the next run), then runs each step as a process of
its own and prints wall time, ratio to the bare read, and peak memory. A scene that fits in memory is cut in the
originals' way too (plain_cut.py).
"""

import argparse
import os
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
PLAIN_BYTES = 12  # a pixel that Pillow and numpy hold, while one hands it to the other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--size", default="20000x20000", help="width x height of the scene (default 20000x20000)")
    parser.add_argument("--workers", default="2", help="threads of each step (default 2)")
    parser.add_argument("--repeat", type=int, default=1, help="rounds; the fastest of each step counts (default 1)")
    args = parser.parse_args()
    folder = ROOT / "data" / "benchmark" / f"cut_{args.size}"
    width, height = map(int, args.size.split("x"))
    run("data/make_sample.py", "--data_dir", str(folder), "--size", args.size)
    scenes = sorted(folder.glob("*train*/image_1.png"))
    if not scenes:
        sys.exit(f"error: {folder}: no image_1.png was made")
    scene, label = str(scenes[0]), str(scenes[0].with_name("image_1_label.png"))
    place = ("--data_dir", str(folder), "--workers", args.workers)
    steps = {
        "rasterio reads the PNG": ("-c", READ, scene),
        "generate_train_data.py": ("generate_train_data.py", *place),
        "generate_test_data.py": ("generate_test_data.py", *place, "--scene", scene),
    }
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    plain = PLAIN_BYTES * width * height < memory
    if plain:
        script, made = "benchmarks/plain_cut.py", str(folder / "plain")
        steps["training tiles, the originals' way"] = (script, "train", scene, label, made)
        steps["test tiles, the originals' way"] = (script, "test", scene, made)
    rounds = []
    for _ in range(args.repeat):
        for made in ("train", "test", "plain"):
            shutil.rmtree(folder / made, ignore_errors=True)
        rounds.append([run(*command) for command in steps.values()])
    rows = [(name, min(times)) for name, *times in zip(steps, *rounds, strict=True)]
    print(f"{args.size}, {args.workers} workers; fastest of {args.repeat}; ratio to the bare read")
    read, train, test, *theirs = (measured.seconds for _, measured in rows)
    print(side_by_side(rows, width * height / 1e6, read))
    for name, ours, other in zip(("train", "test"), (train, test), theirs, strict=False):
        print(f"generate_{name}_data.py is {other / ours:.1f} x as fast as the originals' way")
    if not plain:
        print("The originals' way holds the whole scene: not in the memory of this machine")


if __name__ == "__main__":
    main()
