"""Compiles once what numba compiles, so that no first run of a step waits for it; `make setup` does this at its end.

    python -m jingwei.cli.compile_ahead

Runs the steps on a made-up county of a few hundred pixels, in a temporary folder: so every loop is compiled for the
arrays that it meets in real runs. numba keeps the code beside the package, else in the user's folder for caches. What
is kept already is not compiled again. Where nothing can be kept, this gains nothing, and harms nothing.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from jingwei import api
from jingwei.cli.command import command
from jingwei.evaluation.areas import measure_areas
from jingwei.evaluation.sampling_design import draw_sample
from jingwei.grid import Window, strips
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.crop_files import read_crop
from jingwei.raster.reading import open_labels
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter
from jingwei.synthetic.county_sample import chosen_scenes, make_samples
from jingwei.system.progress import Progress, spell_seconds
from jingwei.training.shrink import shrink
from jingwei.voting.vote import VoteFiles, vote
from jingwei.workspace import Workspace

SIZE = "700x600"  # px, width x height: enough for overviews, and for fields with borders


@command
def compile_ahead_command() -> None:
    """Runs every step without a network once, on next to nothing."""
    begun = time.perf_counter()
    Progress.hidden = True  # no bars of files that nobody gets to see
    with tempfile.TemporaryDirectory() as folder:
        run_steps(Path(folder))
    print(f"loops are compiled ({spell_seconds(time.perf_counter() - begun)}): no first run waits for it")


def run_steps(folder: Path) -> None:
    """All steps but those of networks, on a county made in `folder`."""
    make_samples(folder, chosen_scenes(["1", "3"], SIZE, 0), workers=1)
    workspace = Workspace(folder)
    api.cut(None, folder, crop_size=128, workers=1)
    shrink(read_crop(next((workspace.train / "data").glob("*.png"))), 100)  # as training does
    (scene,) = workspace.test_scenes()
    api.tile(scene.image, workspace.tiled(scene), workers=1)
    truth = folder / "truth" / "image_3_label.png"
    maps = [write_map(truth, workspace.masks(scene) / f"{number}_map.tif", number) for number in range(3)]
    probabilities = [write_probabilities(path, folder / f"soft_{path.name}") for path in maps]
    voted, *doubts = (workspace.masks(scene) / f"{name}.tif" for name in ("vote", "agreement", "entropy"))
    vote(maps, VoteFiles(voted, *doubts), JINGWEI, workers=1)
    api.vote(probabilities, folder / "soft.tif", soft=True, workers=1)
    filled = api.fill(voted, workspace.masks(scene) / "filled.tif", picture=folder / "changed.png")
    api.fill(voted, folder / "small.tif", min_area=50)
    api.fill(voted, folder / "frames.tif", frame_sizes=(50, 40), step=10)
    noise = write_map(truth, folder / "noise.tif", 3, noise=1.0)
    api.fill(noise, folder / "quiet.tif", min_area=50)  # with so many regions that those done are tidied away
    fields = api.polygonize(filled, folder / "fields.gpkg", background=True)
    drawn = api.polygonize(filled, folder / "drawn.gpkg", simplify=1.5, min_area=20)
    api.cut([(scene.image, drawn)], folder / "drawn", crop_size=128, workers=1)
    api.evaluate(filled, truth)
    measure_areas(filled, JINGWEI, zones=fields)
    draw_sample(filled, folder / "points.gpkg", JINGWEI, 50)
    api.report(folder, workers=1)
    api.label(folder, count=3, window=64)


def write_map(truth: Path, path: Path, seed: int, noise: float = 0.02) -> Path:
    """The truth as a tiled map, a share `noise` of its pixels of any class."""
    rng = np.random.default_rng(seed)
    with open_labels(truth) as source:
        labels = source.read_label_rows(0, source.height)
    places = np.flatnonzero((rng.random(labels.shape) < noise) & (labels != NODATA))
    labels.reshape(-1)[places] = rng.integers(0, len(JINGWEI), len(places))
    with TiledWriter(path, *labels.shape, nodata=NODATA, colormap=JINGWEI.colormap()) as writer:
        writer.write(Window(0, 0, *labels.shape), labels)
    return path


def write_probabilities(labels_file: Path, path: Path) -> Path:
    """Sure probabilities of a map's classes, as predict.py keeps them: uint8, a band per class."""
    with open_labels(labels_file) as source:
        with TiledWriter(path, *source.shape, bands=len(JINGWEI), nodata=0) as writer:
            for first, end in strips(source.height, TILE):
                labels = source.read_label_rows(first, end)
                planes = 250 * (labels == np.arange(len(JINGWEI))[:, None, None]).astype(np.uint8)
                writer.write(Window(first, 0, *labels.shape), planes)
    return path


if __name__ == "__main__":
    compile_ahead_command()
