"""Prediction: its memory, what it adds to the network's own time, and its speed beside a plain loop.

    python benchmarks/predict.py --sizes 4000x4000 4000x40000 40000x4000
    python benchmarks/predict.py --sizes 8000x8000 --part 0.1
    python benchmarks/predict.py --checkpoint best.pt --scene image_5.tif --engine openvino

The first makes each scene with data/make_sample.py (kept in data/benchmark/), predicts it with a small network of
random weights in a process of its own, and prints wall time and peak memory: the same for a scene ten times as long.

The second predicts each scene whole, and a part of its windows with the choice of places to label that follows.

The third predicts a tiled scene in this process, in turns with two others: the same engine over the same windows and
nothing else, and the loop that most people write (whole scene and float32 probabilities in memory, torch eager at fp32,
a window at a time, same window and overlap). The checkpoint is read beforehand; each side builds its own network.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import rasterio
import torch
from measure import ROOT, run, side_by_side

from jingwei.grid import Window, even_starts
from jingwei.legend import JINGWEI, NODATA
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.devices import find_device, find_precision
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.engines.choosing import read_label
from jingwei.prediction.engines.registry import make_engine
from jingwei.prediction.job import Job
from jingwei.prediction.scene import predict_scene
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.pixels import as_type
from jingwei.raster.reading import open_image, open_labels
from jingwei.system.machine import cores

FOLDER = ROOT / "data" / "benchmark"


SMALL = ModelSpec("deeplabv3", "resnet18", bands=3, classes=len(JINGWEI), output_stride=16)
TINY = ModelSpec("attention_unet", "mobilenetv3_small_050", bands=3, classes=len(JINGWEI))


def random_checkpoint(path: Path, spec: ModelSpec = SMALL) -> None:
    """Writes a checkpoint of a small network that has learned nothing: enough to measure a pipeline with."""
    torch.manual_seed(0)
    mean, std = (120.0,) * 3, (40.0,) * 3
    weights = build_model(spec, mean, std).state_dict()
    save_checkpoint(path, Checkpoint(spec, "uint8", mean, std, JINGWEI, {}, weights))


def memory(sizes: list[str], window: int, overlap: int) -> None:
    """Prints time and peak memory for scenes of several sizes."""
    checkpoint = FOLDER / "random.pt"
    random_checkpoint(checkpoint)
    rows, megapixels = [], []
    for size in sizes:
        folder = cut_scene(size)
        command = ("predict.py", "--data_dir", str(folder), "--checkpoint", str(checkpoint))
        windows = ("--window", str(window), "--overlap", str(overlap), "--output", str(folder / "maps"))
        rows.append((size, run(*command, *windows)))
        width, height = map(int, size.split("x"))
        megapixels.append(width * height / 1e6)
    for row, area in zip(rows, megapixels, strict=True):
        print(side_by_side([row], area, rows[0][1].seconds))
    peaks = [measured.peak_mib for _, measured in rows]
    print(f"largest peak over smallest: {max(peaks) / min(peaks):.3f}")


def cut_scene(size: str) -> Path:
    """A folder with a cut scene of a size and no maps of it."""
    folder = FOLDER / f"predict_{size}"
    run("data/make_sample.py", "--data_dir", str(folder), "--size", size, "--scenes", "3", quiet=True)
    run("generate_test_data.py", "--data_dir", str(folder), quiet=True)
    for made in ("maps", "test/part3", "label"):
        shutil.rmtree(folder / made, ignore_errors=True)
    return folder


def parts(sizes: list[str], share: float, window: int, overlap: int) -> None:
    """Prints what a whole prediction takes, one of a part, and the choice of places to label after that.

    The network is so small that what else is to be done counts as much as it can.
    """
    for size in sizes:
        folder = cut_scene(size)
        random_checkpoint(folder / "model" / "cross_entropy" / "first" / "best.pt", TINY)
        where = ("--data_dir", str(folder))
        how = ("predict.py", *where, "--window", str(window), "--overlap", str(overlap), "--engine", "torch")
        rows = [("whole", run(*how, "--output", str(folder / "maps")))]
        rows.append((f"part {share:g}", run(*how, "--part", str(share))))
        rows.append(("label.py", run("label.py", *where)))
        width, height = map(int, size.split("x"))
        print(side_by_side(rows, width * height / 1e6, rows[0][1].seconds))


def network_alone(checkpoint: Checkpoint, scene: Path, label: str, window: int, overlap: int) -> tuple[float, int]:
    """Seconds to build the engine and to run it over the windows with valid pixels, and how many those are."""
    begun = time.perf_counter()
    engine = make_engine(read_label(label)[0], checkpoint, find_device("auto"), read_label(label)[1])
    seconds, count = time.perf_counter() - begun, 0
    with open_image(scene) as image:
        for row in even_starts(image.height, window, overlap):
            for col in even_starts(image.width, window, overlap):
                pixels, valid = image.read(Window(row, col, min(window, image.height), min(window, image.width)))
                if not valid.any():
                    continue
                fill = as_type(np.array(checkpoint.mean)[:, None, None], pixels.dtype)
                pixels = np.where(valid, pixels, fill)[None]
                begun = time.perf_counter()
                engine(pixels).cpu()
                seconds += time.perf_counter() - begun
                count += 1
    return seconds, count


@torch.no_grad()
def plain_loop(checkpoint: Checkpoint, scene: Path, target: Path, window: int, overlap: int) -> int:
    """The loop that most people write. Returns how many windows it ran."""
    device = find_device("auto")
    model = checkpoint.build().to(device)
    with rasterio.open(scene) as source:
        pixels, valid = source.read(), source.dataset_mask() > 0
    _, height, width = pixels.shape
    total = np.zeros((checkpoint.spec.classes, height, width), np.float32)
    times = np.zeros((height, width), np.float32)
    rows, cols = (
        [*range(0, max(1, side - window), window - overlap), max(0, side - window)] for side in (height, width)
    )
    places = sorted({(row, col) for row in rows for col in cols})
    for row, col in places:
        here = np.s_[row : row + window, col : col + window]
        one = torch.from_numpy(pixels[:, *here][None].astype(np.float32)).to(device)
        total[:, *here] += model(one).softmax(1)[0].cpu().numpy()
        times[here] += 1
    labels = (total / times).argmax(0).astype(np.uint8)
    labels[~valid] = NODATA
    profile = {"driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": "uint8", "nodata": NODATA}
    with rasterio.open(target, "w", **profile) as written:
        written.write(labels, 1)
    return len(places)


def speed(weights: Path, scene: Path, engine: str, window: int, overlap: int, repeat: int) -> None:
    """Prints the pipeline's time beside the network's alone, and beside that of a plain loop."""
    checkpoint = load_checkpoint(weights)
    settings = PredictSettings(window=window, overlap=overlap, engine=engine)
    precision = find_precision("auto", find_device("auto"))
    label = make_engine(engine, checkpoint, find_device("auto"), precision).label
    seconds: dict[str, list[float]] = {"network alone": [], "pipeline": [], "plain loop": []}
    with tempfile.TemporaryDirectory() as folder:

        def timed(name: str, work: Callable) -> None:
            begun = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begun)

        for number in range(repeat):
            alone, count = network_alone(checkpoint, scene, label, window, overlap)
            seconds["network alone"].append(alone)
            job = Job(weights, scene, Path(folder) / f"{number}.tif", settings, workers=cores())
            timed("pipeline", lambda job=job: predict_scene(job, checkpoint))
            timed("plain loop", lambda: plain_loop(checkpoint, scene, Path(folder) / "plain.tif", window, overlap))
            print(", ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items()), flush=True)
        with (
            open_labels(Path(folder) / "0.tif") as ours,
            open_labels(Path(folder) / "plain.tif") as plain,
        ):
            same = ours.read_label_rows(0, ours.height) == plain.read_label_rows(0, plain.height)
    middle = {name: median(times) for name, times in seconds.items()}
    print(f"{label}, {torch.get_num_threads()} threads, {count} windows of {window} px, {repeat} rounds, medians")
    print(f"pipeline over network alone: {middle['pipeline'] / middle['network alone']:.3f}")
    print(f"plain loop over pipeline: {middle['plain loop'] / middle['pipeline']:.2f}; same labels {same.mean():.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--sizes", nargs="+", default=["4000x4000", "4000x40000"], help="width x height of each scene")
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--overlap", type=int, default=256)
    parser.add_argument("--part", type=float, metavar="SHARE", help="measure a part of each scene beside the whole")
    parser.add_argument("--checkpoint", type=Path, help="measure speed with this network, on --scene")
    parser.add_argument("--scene", type=Path, help="a tiled scene")
    parser.add_argument("--engine", default="openvino", help="any that predict.py knows, but auto")
    parser.add_argument("--threads", type=int, default=cores(), help="of the network")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    args = parser.parse_args()
    if args.part:
        parts(args.sizes, args.part, args.window, args.overlap)
        return
    if args.checkpoint is None:
        memory(args.sizes, args.window, args.overlap)
        return
    torch.set_num_threads(args.threads)
    speed(args.checkpoint, args.scene, args.engine, args.window, args.overlap, args.repeat)


if __name__ == "__main__":
    main()
