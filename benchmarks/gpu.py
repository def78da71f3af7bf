"""What one GPU does with all this, in one table: prediction, training, resuming and torchrun; at most 9 minutes.

    PYTHONPATH=. python benchmarks/gpu.py --output gpu.md
    PYTHONPATH=. python benchmarks/gpu.py --device cpu --rehearse       the same with small sizes, without a GPU

Needs no network, and neither shapely, pyogrio nor pyproj. Each step is a process of its own, which is stopped when its
time is over; what it has found by then stays in the table. The plan comes first, the table last. The exit status is 1
where a step failed or ran out of time.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from measure import ROOT
from torch.nn import functional

from jingwei.legend import JINGWEI, NODATA
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.devices import autocast, find_device, find_precision, to_device
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec

MINUTES = 9
MARK = "RESULT "  # before what a step has found, in its output
NETWORKS = {
    "deeplabv3": ("DeepLabV3-ResNet50", "resnet50"),
    "attention_unet": ("attention U-Net, ResNet-34", "resnet34"),
}
MEAN, STD = (120.0,) * 3, (40.0,) * 3


def found(what: str, figure: str, goal: str = "") -> None:
    """Adds a row to the table."""
    print(MARK + json.dumps([what, figure, goal]), flush=True)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def model_spec(family: str, args: argparse.Namespace) -> ModelSpec:
    backbone = "resnet18" if args.rehearse and family != "deeplabv3" else NETWORKS[family][1]
    return ModelSpec(family, backbone, bands=3, classes=len(JINGWEI), output_stride=16 if args.rehearse else 0)


# ---- the steps ----


def machine(args: argparse.Namespace) -> None:
    device = find_device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    cores = len(os.sched_getaffinity(0))
    found("machine", f"{name}, {cores} cores, Python {sys.version.split()[0]}, torch {torch.__version__}")


def tests(args: argparse.Namespace) -> None:
    """The tests that need a GPU; without one they are skipped, and say so."""
    how = ["-m", "cuda", "--noconftest", "-o", "addopts=", "-q", "-p", "no:cacheprovider"]
    files = sorted(map(str, (ROOT / "tests").rglob("test_*on_gpu.py")))
    done = subprocess.run([sys.executable, "-m", "pytest", *how, *files], cwd=ROOT, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    last = (done.stdout.strip().splitlines() or ["pytest is missing"])[-1].strip("= ")
    found("tests that need a GPU", last, "none fails")
    sys.exit(done.returncode)


def scene(args: argparse.Namespace) -> None:
    """The scene that is predicted, tiled, of fields."""
    from stand_in_device import FIELD, draw, make_scene

    begun = time.perf_counter()
    pixels, _ = draw(FIELD)
    make_scene(args.work / "scene.tif", args.side, pixels)
    found("the scene", f"{args.side} x {args.side} px, drawn and tiled in {time.perf_counter() - begun:.0f} s")


def predict(family: str, args: argparse.Namespace) -> None:
    """End to end, beside the network alone on as many windows."""
    from jingwei.prediction.bands import Bands
    from jingwei.prediction.engines.registry import make_engine
    from jingwei.prediction.job import Job, PredictSettings
    from jingwei.prediction.scene import predict_scene

    device, title = find_device(args.device), NETWORKS[family][0]
    torch.manual_seed(0)
    spec, weights = model_spec(family, args), args.work / f"{family}.pt"
    state = build_model(spec, MEAN, STD).state_dict()
    save_checkpoint(weights, Checkpoint(spec, "uint8", MEAN, STD, JINGWEI, {}, state))
    checkpoint = load_checkpoint(weights)
    engine = make_engine("torch", checkpoint, device, find_precision("auto", device))
    settings = PredictSettings(args.window, args.window // 4, engine="torch")
    bands = Bands.of((args.side, args.side), settings.window, settings.overlap)
    count, batch = len(bands.rows) * len(bands.cols), args.batch_size
    held = engine.load(torch.randint(0, 256, (batch, 3, args.window, args.window), dtype=torch.uint8).numpy())

    def alone(batches: int) -> float:
        synchronize(device)
        begun = time.perf_counter()
        for _ in range(batches):
            engine.run(held)
        synchronize(device)
        return time.perf_counter() - begun

    alone(3)  # the first batches choose their kernels
    network = alone(max(1, -(-count // batch) // 4)) * (count / batch) / max(1, -(-count // batch) // 4)
    target = args.work / "maps" / f"{family}.tif"
    job = Job(weights, args.work / "scene.tif", target, settings, None, args.device, batch, args.workers)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with gpu_watched(device) as busy:
        begun = time.perf_counter()
        predict_scene(job, checkpoint, engine)
        wall = time.perf_counter() - begun
    speed = f"{args.side**2 / wall / 1e6:.1f} Mpx/s ({wall:.1f} s, {engine.label}, {count} windows of {args.window} px)"
    found(f"{title}: end to end", speed, "50 Mpx/s" if family == "deeplabv3" else "")
    found(f"{title}: over the network alone", f"{wall / network:.3f} ({network:.1f} s)", "1.10")
    if device.type == "cuda":
        found(f"{title}: peak of GPU memory", f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB")
        found(f"{title}: GPU utilisation", f"{mean(busy):.0f} %" if busy else "nvidia-smi does not say")


@contextmanager
def gpu_watched(device: torch.device) -> Iterator[list[float]]:
    """Collects the percentages that nvidia-smi gives, five a second."""
    seen: list[float] = []
    if device.type != "cuda" or not shutil.which("nvidia-smi"):
        yield seen
        return
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    watching = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def listen() -> None:
        for line in watching.stdout:
            with suppress(ValueError):
                seen.append(float(line))

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield seen
    finally:
        watching.terminate()
        watching.wait()
        listener.join()


def rates(family: str, args: argparse.Namespace) -> None:
    """Steps of training with crops from the disk, with batches held on the device, and of a plain loop on those."""
    from training_step import made_up_crops

    from jingwei.legend import LandClass, Legend
    from jingwei.training.datasets import training_loader
    from jingwei.training.distributed import Team
    from jingwei.training.learner import Learner
    from jingwei.training.position import Position
    from jingwei.training.recipes import RECIPES
    from jingwei.training.start import DataKind, Start

    device, spec = find_device(args.device), model_spec(family, args)
    for name in ("data", "label"):
        (args.work / "rates" / name).mkdir(parents=True, exist_ok=True)
    crops = made_up_crops(args.work / "rates")
    steps = args.steps
    recipe = replace(
        RECIPES["cross_entropy"], model=family, backbone=spec.backbone, output_stride=spec.output_stride,
        pretrained=False, optimizer="adamw", base_lr=1e-3, aux_weight=0.0, crop_sizes=(args.crop_size,),
        batch_size=args.batch_size, epochs=3, steps_per_epoch=steps, precision="auto",
    ).check()  # fmt: skip
    classes = len(crops[0].pixels)
    legend = Legend("made_up", tuple(LandClass(i, str(i), (i, i, i)) for i in range(classes)), None)
    pixels = tuple(sum(crop.pixels[i] for crop in crops) for i in range(classes))
    learner = Learner(recipe, DataKind("uint8", crops[0].mean, crops[0].std, legend, pixels), device, Team(), Start())
    learner.begin_epoch()
    loader = training_loader(args.work / "rates", crops, recipe, learner.kind.mean, steps, args.loaders)
    read = [[part.to(device) for part in batch] for _, batch in zip(range(4), loader, strict=False)]

    def rate(step: Callable, batches) -> float:
        count = 0
        for batch in batches:
            if count == 0:  # whatever is made ready for the first one
                step(count, batch)
                synchronize(device)
                begun = time.perf_counter()
            else:
                step(count, batch)
            count += 1
        synchronize(device)
        return (count - 1) / (time.perf_counter() - begun)

    def ours(number: int, batch) -> None:
        learner.step(Position(0, number), [batch])

    network = build_model(replace(spec, classes=classes), MEAN, STD).to(device, memory_format=torch.channels_last)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)

    def plain(number: int, batch) -> None:
        with autocast(device, learner.precision):
            logits = network(to_device(batch[0], device))
        loss = functional.cross_entropy(logits.float(), batch[1].long(), ignore_index=NODATA)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    held = [read[i % len(read)] for i in range(steps)]
    rate(ours, held[:3])
    rate(plain, held[:3])
    in_memory, by_hand = rate(ours, held), rate(plain, held)
    loader.batch_sampler.epoch = 1
    from_disk = rate(ours, loader)
    title = f"{NETWORKS[family][0]}: training at {args.crop_size} px"
    precision = str(learner.precision).removeprefix("torch.")
    found(title, f"{from_disk * args.batch_size:.1f} windows/s ({precision}, {args.loaders} loaders)")
    found(f"{title}, over the same held on the device", f"{from_disk / in_memory:.3f}")
    windows = f"{by_hand * args.batch_size:.1f} windows/s"
    found(f"{title}, over a plain loop on data held there", f"{from_disk / by_hand:.3f} ({windows})", "0.9")


def sample(args: argparse.Namespace) -> None:
    """A small county, made and cut, for the two steps below."""
    make = ["data/make_sample.py", "--size", "1200x1200", "--scenes", "1"]
    for script in (make, ["generate_train_data.py", "--crop_size", "512"]):
        subprocess.run([sys.executable, *script, "--data_dir", str(args.work / "sample")], cwd=ROOT, check=True)


def resume(args: argparse.Namespace) -> None:
    """A training that is stopped in its second epoch goes on, and ends."""
    command, folder = training_command(args, "resumed", epochs=2), args.work / "sample"
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT)
    while process.poll() is None and not list(folder.rglob("resumed/last.pt")):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    stopped = process.wait()
    again = subprocess.run([sys.executable, *command, "--resume"], cwd=ROOT).returncode
    epochs = sum(path.read_text().count("\n") - 1 for path in folder.rglob("resumed/log.csv"))
    figure = f"status {stopped}, then {again}; epochs in the log: {epochs} ({time.perf_counter() - begun:.0f} s)"
    found("stopped in training, then resumed", figure, "status 130, then 0; 2")
    sys.exit((stopped, again, epochs) != (130, 0, 2))


def torchrun(args: argparse.Namespace) -> None:
    """A training of one process that torchrun starts. It trains alone: a team needs a second GPU."""
    begun = time.perf_counter()
    how = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    done = subprocess.run([sys.executable, *how, *training_command(args, "torchrun", epochs=1)], cwd=ROOT)
    figure = f"status {done.returncode} ({time.perf_counter() - begun:.0f} s)"
    found("one process, started by torchrun", figure, "status 0")
    sys.exit(done.returncode)


def training_command(args: argparse.Namespace, exp: str, epochs: int) -> list[str]:
    """train.py on the sample."""
    return [
        "train.py", "--data_dir", str(args.work / "sample"), "--train", "--exp", exp, "--epochs", str(epochs),
        "--model", "attention_unet", "--backbone", "resnet18", "--device", args.device, "--crop_size", "128",
        "--batch_size", "4", "--steps_per_epoch", "6", "--workers", "1", "--scratch",
    ]  # fmt: skip


# What is done, and in at most how many seconds.
STEPS: dict[str, tuple[Callable[[argparse.Namespace], None], int]] = {
    "machine": (machine, 30),
    "tests": (tests, 90),
    "scene": (scene, 60),
    "predict deeplabv3": (lambda args: predict("deeplabv3", args), 90),
    "predict attention_unet": (lambda args: predict("attention_unet", args), 90),
    "train deeplabv3": (lambda args: rates("deeplabv3", args), 60),
    "train attention_unet": (lambda args: rates("attention_unet", args), 60),
    "sample": (sample, 60),
    "resume": (resume, 50),
    "torchrun": (torchrun, 30),
}


def run_all(args: argparse.Namespace) -> int:
    """All steps, one process after another; prints and writes the table. The number of steps that failed."""
    print("plan:", *(f"  {name}, at most {limit} s" for name, (_, limit) in STEPS.items()), sep="\n", flush=True)
    ends, rows, failed = time.monotonic() + 60 * args.minutes, [], 0
    if args.rehearse:
        rows.append(["a rehearsal", "small sizes: the figures say nothing about speed", ""])
    for name, (_, limit) in STEPS.items():
        left = max(0.0, ends - time.monotonic())
        begun = time.perf_counter()
        print(f"== {name}", flush=True)
        command = [sys.executable, __file__, *sys.argv[1:], "--only", name, "--work", str(args.work)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        over = threading.Timer(min(left, limit if not args.rehearse else left), _stop, (process,))
        over.start()
        try:
            for line in process.stdout:
                if line.startswith(MARK):
                    rows.append(json.loads(line.removeprefix(MARK)))
                print(line, end="", flush=True)
            status = process.wait()
        finally:
            over.cancel()
            _stop(process)
        if status:
            failed += 1
            after = f"after {time.perf_counter() - begun:.0f} s"
            rows.append([name, f"failed or out of time (status {status}) {after}", ""])
    table = "\n".join(["| what | figure | goal |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])
    print(table)
    if args.output:
        args.output.write_text(table + "\n", encoding="utf-8")
    return failed


def _stop(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its own group, with all that it has started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rehearse", action="store_true", help="small sizes: to see that all runs")
    parser.add_argument("--output", type=Path, help="a Markdown file for the table")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all of it")
    parser.add_argument("--work", type=Path, help="folder for the scene and all else (default: one for this run)")
    parser.add_argument("--only", choices=list(STEPS), help="this step alone, in this process")
    args = parser.parse_args()
    small = args.rehearse
    args.side, args.window, args.batch_size = (700, 256, 2) if small else (32000, 1024, 8)
    args.crop_size, args.steps = (128, 3) if small else (512, 120)
    args.workers = len(os.sched_getaffinity(0))
    args.loaders = min(8, max(1, args.workers - 1))
    if args.only:
        STEPS[args.only][0](args)
        return
    with tempfile.TemporaryDirectory() as folder:
        args.work = args.work or Path(folder)
        sys.exit(1 if run_all(args) else 0)


if __name__ == "__main__":
    main()
