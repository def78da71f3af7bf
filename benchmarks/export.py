"""How often an exported network gives torch's labels, when it is fed and tiled as QGIS's plug-in Deepness does it.

    python benchmarks/export.py --checkpoint data/model/attention_unet/demo/best.pt --scene image_4.png [--int8]

Window by window: the share of equal labels in random windows of a tile's size (the worst window and all), and how far
probabilities differ from torch's calibrated ones. Over the scene: overlapping tiles of which the middle is kept, as the
plug-in puts them together, beside torch on the same tiles and beside predict.py's blended map (`--engine torch`).
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from jingwei.grid import Window
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.prediction.engines.choosing import calibration_windows
from jingwei.prediction.export import ExportSettings, export_onnx
from jingwei.prediction.job import Job, PredictSettings
from jingwei.prediction.scene import predict_scene
from jingwei.raster.reading import open_image, open_labels

Network = Callable[[np.ndarray], np.ndarray]  # raw 8-bit pixels_CHW -> probabilities_CHW


def plug_in(path: Path) -> Network:
    """An ONNX file, fed as the plug-in feeds it: 8 bits divided by 255, mean and std of the metadata 0 and 1."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda pixels: session.run(None, {given.name: (pixels / 255.0).astype(np.float32)[None]})[0][0]


def by_torch(checkpoint: Checkpoint) -> Network:
    """The network itself, in fp32."""
    network = checkpoint.build().eval()

    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = network(torch.from_numpy(pixels.astype(np.float32))[None])
            return (logits / checkpoint.temperature).softmax(1)[0].numpy()

    return run


def tiles(height: int, width: int, tile: int, overlap: int) -> Iterator[tuple[Window, tuple[slice, slice]]]:
    """The plug-in's tiles, which may reach over the lower and right edge, and the part of the map each gives."""
    stride = round(tile * (1 - overlap / 100))
    half = (tile - stride) // 2
    counts = [max(0, -(-(side - tile) // stride)) + 1 for side in (height, width)]
    for i in range(counts[0]):
        for j in range(counts[1]):
            kept = []
            for number, count in ((i, counts[0]), (j, counts[1])):
                first, end = number * stride, number * stride + tile
                kept.append(slice(first + (half if number else 0), end - (half if number < count - 1 else 0)))
            yield Window(i * stride, j * stride, tile, tile), (kept[0], kept[1])


def whole_map(pixels_CHW: np.ndarray, run: Network, tile: int, overlap: int) -> np.ndarray:
    """Labels of a scene, put together as the plug-in does; it sees black beyond the edges."""
    _, height, width = pixels_CHW.shape
    labels = np.zeros((height + tile, width + tile), np.uint8)
    padded = np.pad(pixels_CHW, ((0, 0), (0, tile), (0, tile)))
    for window, (rows, cols) in tiles(height, width, tile, overlap):
        found = run(padded[:, *window.slices]).argmax(0)
        labels[rows, cols] = found[
            rows.start - window.row : rows.stop - window.row, cols.start - window.col : cols.stop - window.col
        ]
    return labels[:height, :width]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--scene", type=Path, nargs="+", required=True, help="8-bit scenes")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=25, help="percent")
    parser.add_argument("--windows", type=int, default=12, help="random windows of each scene")
    parser.add_argument("--int8", action="store_true", help="the file with 8-bit convolutions too")
    args = parser.parse_args()
    checkpoint = load_checkpoint(args.checkpoint)
    torch_run = by_torch(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for int8 in (False, True)[: 1 + args.int8]:
            path = Path(folder) / ("int8.onnx" if int8 else "float.onnx")
            windows = calibration_windows((), args.scene[0], checkpoint) if int8 else ()
            export_onnx(checkpoint, path, ExportSettings(args.tile, args.overlap, int8=int8), windows)
            runs[path.stem] = plug_in(path)
        for scene in args.scene:
            with open_image(scene) as image:
                pixels, _ = image.read(Window(0, 0, image.height, image.width))
            rng, shares, apart = np.random.default_rng(0), {name: [] for name in runs}, dict.fromkeys(runs, 0.0)
            for _ in range(args.windows):
                row, col = (int(rng.integers(0, side - args.tile + 1)) for side in pixels.shape[1:])
                seen = pixels[:, row : row + args.tile, col : col + args.tile]
                wanted = torch_run(seen)
                for name, run in runs.items():
                    found = run(seen)
                    shares[name].append(float((found.argmax(0) == wanted.argmax(0)).mean()))
                    apart[name] = max(apart[name], float(np.abs(found - wanted).max()))
            tiled = whole_map(pixels, torch_run, args.tile, args.overlap)
            blended = Path(folder) / "blended.tif"
            how = PredictSettings(args.tile, args.tile * args.overlap // 100, precision="fp32", engine="torch")
            predict_scene(Job(args.checkpoint, scene, blended, how, device="cpu"), checkpoint)
            with open_labels(blended) as labels:
                ours = labels.read_label_rows(0, labels.height)
            for name, run in runs.items():
                found = whole_map(pixels, run, args.tile, args.overlap)
                print(
                    f"{scene.name} {name}: {args.windows} windows: worst {100 * min(shares[name]):.3f} %, "
                    f"all {100 * np.mean(shares[name]):.3f} % of torch's labels, probabilities at most "
                    f"{apart[name]:.4f} apart; the scene: {100 * (found == tiled).mean():.3f} % of torch's on the "
                    f"same tiles, {100 * (found == ours).mean():.3f} % of predict.py's blended map",
                    flush=True,
                )


if __name__ == "__main__":
    main()
