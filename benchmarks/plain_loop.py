"""The training loop that most people write with segmentation-models-pytorch: the yardstick of `accuracy.py`.

    python benchmarks/plain_loop.py OUTPUT.png --train IMAGE LABEL ... --test IMAGE --minutes 20

Random 512 px crops of whole scenes in memory, flips, cross entropy, Adam at a constant rate, fp32; then 512 px tiles
side by side. It stops training at the minute; loading and prediction are not counted. The flags are there to find out
what a single choice is worth.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional

from jingwei.models.libraries import smp  # after what lets torchvision be imported beside a CPU torch

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])  # of ImageNet, as everybody takes


def batch(scenes: list, size: int, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random crops with random flips: float32 BCHW, int64 BHW."""
    pixels, labels = [], []
    for _ in range(count):
        image, label = scenes[rng.integers(len(scenes))]
        row = rng.integers(label.shape[0] - size + 1)
        col = rng.integers(label.shape[1] - size + 1)
        part = (slice(row, row + size), slice(col, col + size))
        turn = [(slice(None), slice(None, None, -1))[rng.integers(2)] for _ in range(2)]
        pixels.append((image[part][tuple(turn)].astype(np.float32) / 255 - MEAN) / STD)
        labels.append(label[part][tuple(turn)].astype(np.int64))
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), torch.from_numpy(np.stack(labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("output", type=Path)
    parser.add_argument("--train", nargs=2, action="append", required=True, metavar=("IMAGE", "LABEL"))
    parser.add_argument("--test", required=True, metavar="IMAGE")
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--crop_size", type=int, default=512)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--bf16", action="store_true", help="bf16 arithmetic instead of fp32")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    scenes = [(cv2.imread(image)[..., ::-1], cv2.imread(label, cv2.IMREAD_GRAYSCALE)) for image, label in args.train]
    model = smp.Unet(args.backbone, encoder_weights=None, decoder_attention_type="scse", classes=args.classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    steps, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < args.minutes * 60:
        pixels, labels = batch(scenes, args.crop_size, args.batch_size, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            logits = model(pixels)
        loss = functional.cross_entropy(logits.float(), labels, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if steps % 10 == 0:
            print(f"step {steps}  loss {loss.item():.4f}  {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"{steps} steps in {time.perf_counter() - begun:.0f} s")
    predict(model.eval(), args.test, args.output)


def predict(model: torch.nn.Module, image: str, output: Path) -> None:
    """Tiles of 512 px side by side, stitched."""
    pixels = (cv2.imread(image)[..., ::-1].astype(np.float32) / 255 - MEAN) / STD
    height, width = pixels.shape[:2]
    pixels = np.pad(pixels, ((0, -height % 512), (0, -width % 512), (0, 0)))
    labels = np.zeros(pixels.shape[:2], np.uint8)
    with torch.inference_mode():
        for row in range(0, height, 512):
            for col in range(0, width, 512):
                tile = torch.from_numpy(pixels[None, row : row + 512, col : col + 512]).permute(0, 3, 1, 2)
                labels[row : row + 512, col : col + 512] = model(tile)[0].argmax(0)
    cv2.imwrite(str(output), labels[:height, :width])


if __name__ == "__main__":
    main()
