"""Before all steps: what is in a data folder, and what it will take."""

import os
import re
import sys
import time
from pathlib import Path

import numpy as np

from jingwei.cli.dry_run import free_bytes, own_memory, spell_bytes
from jingwei.cli.parser import Parser, as_flags, command, cores, spell_seconds
from jingwei.legend import find_legend
from jingwei.planning import estimates
from jingwei.planning.estimates import Size

WINDOW, OVERLAP, CROP = 1024, 256, 1024  # as predict.py and generate_train_data.py take them by default
TIMED_SIDE = 256  # px of the window that a network is timed on
LOOKS_PER_STEP = 3  # a training step goes forward once, and backward, which takes twice as long
MAP_PX_PER_BYTE = 20  # of a label map, deflated
MAX_LINES = 30  # scenes that are listed one by one


@command
def doctor_command() -> None:
    """Looks at a data folder before a long job. Exit code 1 where the job would fail."""
    parser = Parser("Looks at a data folder before a long job: what is in it, what is wrong, and what it will take.")
    parser.add_argument("folder", nargs="?", default="data", help="folder of scenes or samples")
    text = "jingwei, gf2, gf3 or a legend's JSON file (default: the folder's legend.json, else the contest's)"
    parser.flag("legend", text)
    parser.flag("model", "network family that hours are estimated for", default="deeplabv3")
    parser.flag("backbone", "its encoder (default: its usual one)")
    parser.flag("epochs", "epochs that hours are estimated for", type=int, default=20)
    parser.flag("quick", "leave out the network's timing", action="store_true")
    args = parser.parse_args()
    from jingwei.planning.checkup import examine

    checkup = examine(Path(args.folder), find_legend(args.legend) if "legend" in args else None)
    _tell_scenes(checkup)
    _tell_classes(checkup)
    if checkup.scenes:
        _tell_costs(checkup, args)
    grave = [finding for finding in checkup.findings if finding.grave]
    slight = [finding for finding in checkup.findings if not finding.grave]
    for title, findings in (("problems", grave), ("warnings", slight)):
        if findings:
            print(f"\n{title}")
            print("\n".join(f"  {as_flags(str(finding))}" for finding in findings))
    if grave:
        print(f"\nverdict: NOT READY: {_count(len(grave), 'problem')} to mend first")
        sys.exit(1)
    print("\nverdict: ready" + (f", with {_count(len(slight), 'warning')}" if slight else ""))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _tell_scenes(checkup) -> None:
    scenes = checkup.scenes
    megapixels = sum(scene.px for scene in scenes) / 1e6
    print(f"{checkup.layout}: {_count(len(scenes), 'scene')} that can be read, {megapixels:,.1f} Mpx")
    for scene in scenes[:MAX_LINES]:
        what = [scene.use or "scene", f"{scene.width} x {scene.height} px", f"{scene.bands} x {scene.dtype}"]
        what += [f"{scene.valid / scene.px:.1%} valid", "labelled" if scene.counts is not None else "no label"]
        print(f"  {scene.path.name}: {', '.join([*what, scene.crs or 'no georeference'])}")
    if len(scenes) > MAX_LINES:
        print(f"  and {len(scenes) - MAX_LINES} more")


def _tell_classes(checkup) -> None:
    pixels = checkup.class_pixels
    if not pixels.any():
        return
    print(f"classes of legend {checkup.legend.name}, share of {pixels.sum():,d} labelled px")
    for land_class, count in zip(checkup.legend.classes, pixels, strict=True):
        print(f"  {land_class.id} {land_class.name:20} {count / pixels.sum():8.3%}")


def _tell_costs(checkup, args) -> None:
    """Memory, disk and hours, from the sizes and from what this machine has just been measured at."""
    sizes = [Size(s.height, s.width, s.bands, np.dtype(s.dtype).itemsize) for s in checkup.scenes]
    classes, own = len(checkup.legend), own_memory()
    cut = own + max(estimates.cut_memory(size, CROP, cores()) for size in sizes)
    predict = own + max(estimates.predict_memory(size, WINDOW, OVERLAP, classes) for size in sizes)
    crops = sum(_lossless(scene, size) for scene, size in zip(checkup.scenes, sizes, strict=True))
    maps = sum(size.px for size in sizes) // MAP_PX_PER_BYTE
    print("what it will take, on this machine")
    needs = f"cutting {spell_bytes(cut)}, predicting {spell_bytes(predict)} and the network's own"
    print(f"  memory  {needs}; {_beside(max(cut, predict), _available_memory(), 'available')}")
    needs = f"crops and tiled scenes some {spell_bytes(crops)}, maps some {spell_bytes(maps)} each"
    print(f"  disk    {needs}; {_beside(crops + maps, free_bytes(Path(args.folder)), 'free')}")
    print(f"  time    cutting about {spell_seconds(checkup.seconds)}, which reading all just took")
    if args.quick:
        return
    rate = _px_per_second(args, checkup.scenes[0].bands, classes)
    labelled = sum(int(s.counts.sum()) for s in checkup.scenes if s.counts is not None and s.use in ("train", ""))
    windows = (WINDOW / (WINDOW - OVERLAP)) ** 2 * sum(s.valid for s in checkup.scenes if s.use in ("test", ""))
    training = spell_seconds(LOOKS_PER_STEP * args.epochs * labelled / rate)
    print(f"          training {args.epochs} epochs about {training}, predicting {spell_seconds(windows / rate)}, by "
          f"{args.model} ({rate / 1e6:.2f} Mpx/s forward) and plain torch; other engines predict faster")  # fmt: skip


def _lossless(scene, size: Size) -> int:
    """Bytes that a scene's pixels take when they are stored as they are; a lossy file's are more than it has."""
    lossy = scene.path.suffix.lower() in (".jpg", ".jpeg", ".jp2")
    return size.px * size.px_bytes // 2 if lossy else scene.stored


def _beside(needed: float, there: float, what: str) -> str:
    return f"{spell_bytes(there)} are {what}{': TOO LITTLE' * (needed > there)}"


def _available_memory() -> int:
    try:
        return 1024 * int(re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())[1])
    except (OSError, TypeError):  # no Linux: all that the machine has
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _px_per_second(args, bands: int, classes: int) -> float:
    """Pixels that a network of random weights sees per second, forward, on the device that is there."""
    import torch

    from jingwei.models.devices import autocast, find_device, find_precision
    from jingwei.models.segmenter import build_model
    from jingwei.models.spec import ModelSpec

    device = find_device("auto")
    spec = ModelSpec(args.model, getattr(args, "backbone", ""), bands, classes)
    model = build_model(spec, (0.0,) * bands, (1.0,) * bands).eval().to(device, memory_format=torch.channels_last)
    pixels = torch.rand(1, bands, TIMED_SIDE, TIMED_SIDE, device=device).to(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode(), autocast(device, find_precision("auto", device)):
        for _ in range(4):
            begun = time.perf_counter()
            float(model(pixels).float().mean())  # waits for a GPU too
            seconds.append(time.perf_counter() - begun)
    return TIMED_SIDE**2 / min(seconds[1:])
