"""Every network of the registry on the GF sample: size, work, speed and what it learns in the same few steps.

    python benchmarks/models.py                                  all of them: about an hour on two cores
    python benchmarks/models.py --models enet unet --steps 60    some of them, for less
    python benchmarks/models.py --table                          the table again, from what is there

Each network is trained from scratch through the same loop, on the optical scenes of `data/make_gf_sample.py` (made
where they are missing), with a small encoder of its family; at the end, all are timed. The table goes to
docs/models.md. What is finished is kept in --work, and a training that was stopped goes on: run it again until the
table is whole.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from anywhere, installed or not

import torch
from torch.utils.flop_counter import FlopCounterMode

from jingwei.crops.prepare import FolderData, prepare_training
from jingwei.crops.table import VALIDATION, read_crops
from jingwei.errors import JingweiError
from jingwei.legend import GF2
from jingwei.models.checkpoints import load_checkpoint
from jingwei.models.families import MODELS, find_family
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.interrupts import Interrupted
from jingwei.training.loop import RunOptions, run
from jingwei.training.recipes import Recipe
from jingwei.training.run_files import Keeping
from jingwei.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- benchmarks/models.py writes from here -->", "<!-- to here -->"
# A small encoder of each family: what can be trained in minutes. The page tells the size of the usual one too.
SMALL = {
    "deeplabv3": "resnet18",
    "attention_unet": "resnet18",
    "fcn8": "vgg11_bn",
    "unet": "plain16",
    "unet_resnet": "resnet18",
    "segnet": "vgg11_bn",
    "segresnet": "resnet18",
    "enet": "enet",
    "gcn": "resnet18",
    "deeplab": "resnet18",
    "deeplab_duc_hdc": "resnet18",
    "upernet": "resnet18",
    "pspnet": "resnet18",
    "pspdensenet": "densenet121",
    "segformer": "mit_b0",
    "vit": "vit_tiny_patch16_224",
}
SIDE = 512  # px of the picture that work and speed are told for
EPOCHS = 4
TIMED_SECONDS, TIMED_RUNS = 8.0, 3  # a network's speed: the median of so many runs at least, for so long at least


@dataclass(frozen=True)
class Size:
    """Parameters in millions, and GFLOPs for a picture of SIDE px: a multiplication and an addition are two."""

    parameters: float
    gflops: float


def size_of(family: str, backbone: str) -> Size:
    """The size of a network of three bands and the classes of gf2, found by its shapes alone: nothing is computed."""
    model = build_model(ModelSpec(family, backbone, 3, len(GF2)), (0.0,) * 3, (1.0,) * 3).eval().to("meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model(torch.empty(1, 3, SIDE, SIDE, device="meta"))
    return Size(sum(p.numel() for p in model.parameters()) / 1e6, counter.get_total_flops() / 1e9)


def images_per_second(model: torch.nn.Module) -> float:
    """Pictures of SIDE px that a network predicts in a second: one by one, torch, fp32, channels last, all cores."""
    model = model.to(memory_format=torch.channels_last).eval()
    pixels = torch.rand(1, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    times, begun = [], time.perf_counter()
    with torch.inference_mode():
        model(pixels)
        while len(times) < TIMED_RUNS or time.perf_counter() - begun < TIMED_SECONDS:
            before = time.perf_counter()
            model(pixels)
            times.append(time.perf_counter() - before)
    return 1 / median(times)


def recipe_for(family: str, steps: int) -> Recipe:
    """The same recipe for all networks, but for their names."""
    return Recipe(
        name=family, model=family, backbone=SMALL[family], pretrained=False, aux_weight=0.0,
        epochs=EPOCHS, steps_per_epoch=max(1, steps // EPOCHS), batch_size=8, crop_sizes=(256,),
        min_scale=0.8, max_scale=1.25, optimizer="adamw", base_lr=1e-3, weight_decay=0.01,
    )  # fmt: skip


def trained(family: str, workspace: Workspace, work: Path, steps: int) -> dict:
    """Trains a network, or takes it from an earlier run, and gives its line of the table, still without its speed."""
    recipe = recipe_for(family, steps)
    path = work / f"{family}.json"
    if path.exists():
        content = json.loads(path.read_text())
        if content["recipe"] == recipe.to_dict():
            return content
    folder = work / family / str(steps)
    begun = time.perf_counter()
    run(workspace, recipe, Keeping(folder, tensorboard=False), RunOptions(workers=0, device="cpu"))
    seconds = time.perf_counter() - begun
    scores = load_checkpoint(folder / "best.pt").scores
    content = untrained(family, steps) | {
        "seconds": seconds,
        "fwiou": scores["fwiou"],
        "miou": scores["miou_with_background"],
    }
    write_line(path, content)
    return content


def write_line(path: Path, content: dict) -> None:
    with whole_or_nothing(path) as part:
        part.write_text(json.dumps(content, indent=1))


def time_all(families: list[str], work: Path, steps: int) -> None:
    """Adds the speed to every network's line: one after the other, when nothing else is left to do."""
    for family in families:
        path = work / f"{family}.json"
        model = load_checkpoint(work / family / str(steps) / "best.pt").build()
        write_line(path, json.loads(path.read_text()) | {"images_per_second": images_per_second(model)})


def untrained(family: str, steps: int) -> dict:
    """The part of a network's line that needs no training."""
    sizes = {"small": size_of(family, SMALL[family]), "usual": size_of(family, MODELS[family].backbone)}
    return {"recipe": recipe_for(family, steps).to_dict()} | {name: asdict(size) for name, size in sizes.items()}


def majority_fwiou(workspace: Workspace) -> float:
    """FWIoU of a map that is the commonest class everywhere: its share of the validation pixels, squared."""
    crops = [crop for crop in read_crops(workspace.crops) if crop.split == VALIDATION]
    pixels = [sum(counts) for counts in zip(*(crop.pixels for crop in crops), strict=True)]
    return (max(pixels) / sum(pixels)) ** 2


def table(lines: dict[str, dict], majority: float) -> str:
    """The page's table, and what is to know about it."""
    rows = [
        "| network | encoder | parameters, M | GFLOPs | images/s | FWIoU | mIoU "
        "| usual encoder | parameters, M | GFLOPs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for family, line in lines.items():
        small, usual = Size(**line["small"]), Size(**line["usual"])
        learned = "- | - | -"
        if "fwiou" in line:
            speed = f"{line['images_per_second']:.2f}" if "images_per_second" in line else "-"
            learned = f"{speed} | {line['fwiou']:.3f} | {line['miou']:.3f}"
        rows.append(
            f"| {family} | {line['recipe']['backbone']} | {small.parameters:.2f} | {small.gflops:.1f} | {learned} "
            f"| {MODELS[family].backbone} | {usual.parameters:.2f} | {usual.gflops:.1f} |"
        )
    rows.append(
        f"| the commonest class everywhere | | | | | {majority:.3f} | {1 / len(GF2) * majority**0.5:.3f} | | | |"
    )
    recipes = [line["recipe"] for line in lines.values() if "fwiou" in line]
    if not recipes:
        return "\n".join([*rows, "", "`-`: not trained yet."])
    steps = " or ".join(sorted({str(recipe["epochs"] * recipe["steps_per_epoch"]) for recipe in recipes}))
    rows += [
        "",
        f"{steps} steps of 8 windows of 256 px in {EPOCHS} epochs, from scratch, AdamW 0.001, cross entropy; scored on",
        "the validation scenes after the best epoch. Speed: one picture at a time, fp32, on "
        f"{len(os.sched_getaffinity(0))} CPU cores (torch {torch.__version__.split('+')[0]}).",
    ]
    if len(recipes) < len(lines):
        rows += ["", "`-`: not trained yet."]
    return "\n".join(rows)


def write_page(text: str) -> None:
    """Puts the table between the page's marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    with whole_or_nothing(PAGE) as part:
        part.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="networks to train (default all)")
    parser.add_argument("--steps", type=int, default=80, help="of training for each (default 80)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no network after so long")
    parser.add_argument("--table", action="store_true", help="train nothing, write what is there")
    parser.add_argument("--data_dir", type=Path, default=ROOT / "data" / "gf_sample", help="the GF sample")
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "models", help="folder to work in")
    args = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    begun = time.perf_counter()
    try:
        families = [find_family(name) for name in args.models]
        if not (args.data_dir / "optical" / "train").is_dir():
            subprocess.run(
                [sys.executable, ROOT / "data" / "make_gf_sample.py", "--data_dir", args.data_dir], check=True
            )
        data = FolderData(args.data_dir / "optical", GF2, crop_size=SIDE)
        workspace = prepare_training(data, args.work / "prepared", workers=2)
        done = []
        for family in () if args.table else families:
            if time.perf_counter() - begun > args.minutes * 60:
                break
            line = trained(family, workspace, args.work, args.steps)
            print(f"{family}: FWIoU {line['fwiou']:.3f}, {line['seconds']:.0f} s", flush=True)
            done.append(family)
            gc.collect()
        time_all(done, args.work, args.steps)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return 128 + stopped.signal_number
    except JingweiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    there = {family: args.work / f"{family}.json" for family in MODELS}
    lines = {
        family: json.loads(path.read_text()) if path.exists() else untrained(family, args.steps)
        for family, path in there.items()
    }
    text = table(lines, majority_fwiou(workspace))
    print(text)
    write_page(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
