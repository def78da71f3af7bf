"""What inference.py adds to its network: seconds per sample, beside a plain loop and beside one run for each sample.

    python benchmarks/inference.py --model enet --samples 24

The plain loop is what most people write: the network loaded once, a sample read whole, a picture written by Pillow; no
annotation, no stamp, nothing that could be gone on with. All three run in turn, on folders of samples of one size.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from PIL import Image

from jingwei.legend import GF2
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.folder import infer
from jingwei.prediction.folder_items import Inference
from jingwei.prediction.settings import InferenceSettings


def make_folders(root: Path, count: int, side: int) -> list[Path]:
    """`count` folders of one sample each, and a folder of all."""
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = np.kron(rng.integers(0, 255, (3, side // 16, side // 16)), np.ones((16, 16)))
        for folder in ("all", f"{number}"):
            (root / folder).mkdir(exist_ok=True)
            how = {"height": pixels.shape[1], "width": pixels.shape[2], "count": 3, "dtype": "uint8"}
            with rasterio.open(root / folder / f"{number}.tif", "w", driver="GTiff", **how) as file:
                file.write(pixels.astype(np.uint8))
    return [root / f"{number}" for number in range(count)]


@torch.inference_mode()
def plain_loop(source: Path, target: Path, weights: Path) -> None:
    target.mkdir()
    network = load_checkpoint(weights).build()
    colors = np.array([land_class.color for land_class in GF2.classes], np.uint8)
    for path in sorted(source.iterdir()):
        with rasterio.open(path) as file:
            pixels = torch.from_numpy(file.read()).float()
        labels = network(pixels[None]).softmax(1).argmax(1)[0].numpy()
        Image.fromarray(colors[labels]).save(target / f"{path.stem}_gt.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="enet")
    parser.add_argument("--backbone", default=None)
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    settings = InferenceSettings(precision="fp32", engine="torch")
    root = Path(tempfile.mkdtemp(prefix="inference_"))
    try:
        weights = root / "best.pth"
        model = build_model(ModelSpec(args.model, args.backbone, 3, len(GF2)), (90,) * 3, (50,) * 3)
        save_checkpoint(weights, Checkpoint(model.spec, "uint8", (90.0,) * 3, (50.0,) * 3, GF2, {}, model.state_dict()))
        alone = make_folders(root, args.samples, args.size)

        def one_by_one(source: Path, target: Path) -> None:
            for folder in alone:
                infer(Inference(folder, target / folder.name, weights, settings, device="cpu"))

        ways = {
            "plain loop": lambda source, target: plain_loop(source, target, weights),
            "inference.py": lambda source, target: infer(Inference(source, target, weights, settings, device="cpu")),
            "inference.py, a run each": one_by_one,
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(args.rounds + 1):  # the first compiles, and doesn't count
            for name, way in ways.items():
                begun = time.perf_counter(), time.process_time()
                way(root / "all", root / f"out {number} {name}")
                taken = time.perf_counter() - begun[0], time.process_time() - begun[1]
                if number:
                    seconds[name].append(taken)
        base = np.median(seconds["plain loop"], axis=0)
        print(
            f"{args.samples} samples of {args.size} px, {args.model}\n{'':26}ms a sample   CPU ms   ratio   CPU ratio"
        )
        for name, taken in seconds.items():
            wall, cpu = np.median(taken, axis=0)
            each = 1000 / args.samples
            print(f"{name:26}{wall * each:11.0f}{cpu * each:9.0f}{wall / base[0]:8.2f}{cpu / base[1]:12.2f}")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
