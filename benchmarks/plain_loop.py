"""The training loop that a careful user writes with segmentation-models-pytorch: the yardstick of `accuracy.py`.

    python benchmarks/plain_loop.py OUTPUT.pt --classes 5 --cpu_seconds 160 --train IMAGE LABEL ...

Random windows of 256 px of whole scenes in memory, all labelled pixels of them, mirrored both ways; cross entropy;
AdamW under a rate that falls to 0 by the poly rule; bf16 where the processor has it, channels last; ImageNet's weights
where they are given. Nothing of the product's is in it, so that it stays what it is while the product changes.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from jingwei.models.libraries import smp  # after what lets torchvision be imported beside a CPU torch

NODATA = 255
BASE_LR, WEIGHT_DECAY, POWER = 1e-3, 0.01, 0.9

Scene = tuple[np.ndarray, np.ndarray]  # pixels_HWC, labels_HW uint8


def build(backbone: str, bands: int, classes: int) -> nn.Module:
    """A U-Net with scSE attention, from random weights, channels last."""
    model = smp.Unet(backbone, encoder_weights=None, in_channels=bands, decoder_attention_type="scse", classes=classes)
    return model.to(memory_format=torch.channels_last)


def batch(
    scenes: list[Scene], mean: np.ndarray, std: np.ndarray, size: int, count: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows with random flips, scenes drawn by their size: float32 BCHW, int64 BHW."""
    areas = np.array([labels.size for _, labels in scenes], float)
    pixels, truth = [], []
    while len(truth) < count:
        image, labels = scenes[rng.choice(len(scenes), p=areas / areas.sum())]
        row, col = (int(rng.integers(max(1, length - size + 1))) for length in labels.shape)
        part = (slice(row, row + size), slice(col, col + size))
        if not (labels[part] != NODATA).any():
            continue
        turn = tuple((slice(None), slice(None, None, -1))[rng.integers(2)] for _ in range(2))
        pixels.append((padded(image[part], size, 0)[turn].astype(np.float32) - mean) / std)
        truth.append(padded(labels[part], size, NODATA)[turn].astype(np.int64))
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    return stacked.contiguous(memory_format=torch.channels_last), torch.from_numpy(np.stack(truth))


def padded(array: np.ndarray, size: int, value: int) -> np.ndarray:
    """An array of HW or HWC that is at least `size` px high and wide."""
    missing = [(0, max(0, size - length)) for length in array.shape[:2]]
    return np.pad(array, missing + [(0, 0)] * (array.ndim - 2), constant_values=value)


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, pixels: torch.Tensor, labels: torch.Tensor, rate: float
) -> float:
    """One step of the optimizer; the loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16):
        logits = model(pixels)
    loss = functional.cross_entropy(logits.float(), labels, ignore_index=NODATA)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def train(
    model: nn.Module,
    scenes: list[Scene],
    mean: np.ndarray,
    std: np.ndarray,
    *,
    size: int = 256,
    count: int = 8,
    seed: int = 0,
    share: Callable[[], float],
) -> int:
    """Trains until `share`, the share of the budget that is spent, is 1. Returns the number of steps."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=BASE_LR, weight_decay=WEIGHT_DECAY)
    model.train()
    steps = 0
    while (done := share()) < 1:
        loss = step(model, optimizer, *batch(scenes, mean, std, size, count, rng), BASE_LR * (1 - done) ** POWER)
        steps += 1
        if steps % 20 == 0:
            print(f"step {steps}  loss {loss:.4f}  {100 * done:.0f} % of the budget", flush=True)
    return steps


def main() -> None:
    import cv2

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("output", type=Path, help="file for the weights")
    parser.add_argument("--train", nargs=2, action="append", required=True, metavar=("IMAGE", "LABEL"))
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--cpu_seconds", type=float, default=160)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    scenes = [(cv2.imread(image)[..., ::-1], cv2.imread(label, cv2.IMREAD_GRAYSCALE)) for image, label in args.train]
    mean, std = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])  # ImageNet's
    model, begun = build(args.backbone, 3, args.classes), time.process_time()
    steps = train(
        model, scenes, mean, std, seed=args.seed, share=lambda: (time.process_time() - begun) / args.cpu_seconds
    )
    print(f"{steps} steps")
    torch.save(model.state_dict(), args.output)


if __name__ == "__main__":
    main()
