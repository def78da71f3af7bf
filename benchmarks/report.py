"""The report of a giant scene: time, peak memory, files; beside the time in which its rasters are only read.

    python benchmarks/report.py --size 20000x20000 [--workers 2]

Makes a scene with data/make_sample.py, cuts it, makes three maps from its labels (shifted, and wrong in patches) and
votes (all kept in data/benchmark/ for the next run). Then runs report.py as a process of its own: afresh, and again
when all layers are there.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from measure import ROOT, run, side_by_side

from jingwei.grid import Window, strips
from jingwei.inputs.scenes import Scene
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.reading import open_image, open_labels
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter
from jingwei.workspace import Workspace

READ = """
import sys
from jingwei.grid import strips
from jingwei.raster.reading import Raster
from jingwei.raster.tiles import TILE
for path in sys.argv[1:]:
    with Raster(path) as source:
        for span in strips(source.height, TILE):
            source.read_rows(*span)
"""
PATCH = 150  # px a side of a wrong patch
WRONG = 0.03  # share of the patches that are wrong


def make_map(target: Path, label: Path, scene: Path, number: int) -> None:
    """A map like the truth, shifted by some pixels and wrong in some patches."""
    rng = np.random.default_rng(number)
    with open_labels(label) as truth, open_image(scene) as image:
        patches = rng.random((truth.height // PATCH + 1, truth.width // PATCH + 1)) < WRONG
        how = {"like": image, "nodata": NODATA, "colormap": JINGWEI.colormap()}
        with TiledWriter(target, *truth.shape, **how) as writer:
            for first, end in strips(truth.height, TILE):
                labels = np.roll(truth.read_label_rows(first, end), 3 * number, axis=1)
                wrong = np.repeat(patches[np.arange(first, end) // PATCH], PATCH, axis=1)[:, : truth.width]
                labels = np.where(wrong, (labels + number) % len(JINGWEI), labels).astype(np.uint8)
                window = Window(first, 0, end - first, truth.width)
                labels[~image.read_validity(window)] = NODATA
                writer.write(window, labels)


def make_project(folder: Path, size: str) -> tuple[Workspace, Scene]:
    """A project with one giant scene, voted on."""
    workspace = Workspace(folder)
    run("data/make_sample.py", "--data_dir", str(folder), "--size", size)
    (image,) = folder.glob("*train*/image_1.png")
    place = ("--data_dir", str(folder))
    run("generate_test_data.py", *place, "--scene", str(image))
    truth = folder / "test" / "image1" / "image_1_label.png"
    if not truth.exists():
        os.link(image.with_name("image_1_label.png"), truth)
    (scene,) = workspace.cut_scenes()
    for number, recipe in enumerate(("cross_entropy", "focal_lovasz", "swa")):
        target = workspace.masks(scene) / f"{recipe}_made.tif"
        if not target.exists():
            make_map(target, truth, scene.image, number)
    run("vote.py", *place)
    return workspace, scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--size", default="20000x20000", help="width x height of the scene (default 20000x20000)")
    parser.add_argument("--workers", default="2", help="threads of report.py (default 2)")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    workspace, scene = make_project(ROOT / "data" / "benchmark" / f"report_{args.size}", args.size)
    report = workspace.root / "report"
    shutil.rmtree(report, ignore_errors=True)
    inputs = [scene.image, workspace.vote(scene), workspace.agreement(scene), scene.label]
    command = ("report.py", "--data_dir", str(workspace.root), "--workers", args.workers)
    rows = [
        ("only reading the layers", run("-c", READ, *map(str, inputs))),
        ("report.py", run(*command)),
        ("report.py again, all layers kept", run(*command)),
    ]
    print(side_by_side(rows, width * height / 1e6, rows[0][1].seconds))
    files = [path for path in report.rglob("*") if path.is_file()]
    print(f"{len(files):,d} files, {sum(path.stat().st_size for path in files) / 1e6:,.0f} MB")
    if not files:
        sys.exit("error: no report was made")


if __name__ == "__main__":
    main()
