"""Our recipes beside the loop that most people write: one network, one data set, one wall-clock budget, one table.

    python benchmarks/accuracy.py FOLDER --minutes 15

FOLDER holds image_N.EXT with image_N_label.png, and legend.json. Trains `plain_loop.py` and every recipe from scratch
on the same U-Net, `--jobs` of them side by side, each on its own share of the cores. A run's budget covers all that its
training does: its own validations too, while the plain loop has none. Then every map, their vote, and the scores on the
test scene. Run again, it goes on from what is done.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Queue

from real_scenes import ROOT, lay_out, run

EPOCHS = 3
NETWORK = {"model": "attention_unet", "backbone": "resnet18", "pretrained": False}
# What every recipe is told, beside its network: small windows and AdamW, because the budget is minutes on a CPU.
SETTINGS = {"optimizer": "adamw", "base_lr": 0.001, "weight_decay": 0.01, "batch_size": 8, "crop_sizes": (256,)}
SETTINGS |= {"aux_weight": 0.0, "ema": 0.99, "class_weights": "balanced"}
# A constant rate and an average over all of the run's end, as in SWAD (Cha et al. 2021): for scenes of another kind.
DENSE = {"schedule": "constant", "ema": 0.995, "base_lr": 0.0007}
OWN = {
    "swa": {"ema": 0.0},  # it has its own average
    "focal_lovasz": DENSE,
    "multiscale": {"crop_sizes": (256, 192), **DENSE},  # 512 and 448 in turn are for GPUs
    "attention_unet": {"seed": 1},  # on one network it is focal_lovasz otherwise
}


def recipe_flags(name: str) -> dict:
    """The fields of a recipe that this benchmark changes."""
    return {**NETWORK, **SETTINGS, **OWN.get(name, {})}


def command_line(name: str, steps: int, work: Path) -> list[str]:
    """The root script's command for a recipe."""
    script = {"cross_entropy": "train.py", "focal_lovasz": "train_focalloss.py", "swa": "train_swa.py",
              "multiscale": "train_multiscale.py", "attention_unet": "Unet_resnet34/train.py"}[name]  # fmt: skip
    flags = ["--train", "--exp", "benchmark", "--data_dir", str(work), "--workers", "0"]
    for field, value in {**recipe_flags(name), "epochs": EPOCHS, "steps_per_epoch": steps}.items():
        if field == "pretrained":
            flags += ["--scratch"]
        elif field == "crop_sizes":
            flags += ["--crop_size", *map(str, value)]
        else:
            flags += [f"--{field}", str(value)]
    return [script, *flags]


def seconds_of(name: str, work: Path) -> tuple[float, float]:
    """Seconds of a training step of a recipe, data included, and of all that comes on top, measured on a few.

    On top come the validations, and for swa one more and the fitting of its batch norm (a third of a step per batch).
    """
    from jingwei.models.devices import find_device
    from jingwei.training import datasets, experiments, loop
    from jingwei.training.distributed import Team
    from jingwei.training.learner import Learner
    from jingwei.training.position import Position
    from jingwei.training.recipes import RECIPES
    from jingwei.training.start import Start
    from jingwei.training.validate import logits_of_crops
    from jingwei.workspace import Workspace

    recipe = replace(RECIPES[name], **recipe_flags(name), epochs=1, steps_per_epoch=8).check()
    data = experiments.read_training_data(Workspace(work))
    learner = Learner(recipe, data.kind, find_device("cpu"), Team(), Start())
    learner.begin_epoch()
    mean, times = learner.kind.mean, []
    begun = time.perf_counter()
    for step, batch in enumerate(datasets.training_loader(data.folder, data.training, recipe, mean, 8, 0)):
        learner.step(Position(0, step), [batch])
        times.append(time.perf_counter() - begun)
        begun = time.perf_counter()
    loader = datasets.validation_loader(data.folder, data.validation[:2], mean, 0)
    for _ in logits_of_crops(learner.model, loader, learner.device, learner.precision):
        pass
    validation = (time.perf_counter() - begun) / 2 * len(data.validation)
    step = statistics.mean(times[2:])
    averaged = recipe.average_cycles
    return step, (EPOCHS + averaged) * validation + averaged * loop.REFIT_BATCHES * step / 3


def train_one(name: str, args: argparse.Namespace, work: Path, cores: list[int]) -> None:
    """Trains the plain loop or a recipe on some cores, unless its time is known already: it is done then."""
    timing, plan = work / f"{name}.json", work / f"{name}.steps.json"
    settings = {"minutes": args.minutes, "recipe": None if name == "plain" else recipe_flags(name)}
    if timing.exists():
        done = json.loads(timing.read_text())["settings"]
        if done != json.loads(json.dumps(settings)):
            sys.exit(f"error: {timing}: is of other settings: delete it and the experiment, or give another --work")
        return
    environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores)), "PYTHONPATH": str(ROOT)}
    usual = {"cwd": ROOT, "env": environment, "check": True, "preexec_fn": lambda: os.sched_setaffinity(0, cores)}
    if name == "plain":
        target = work / "plain.png"
        command = ["benchmarks/plain_loop.py", str(target), "--minutes", str(args.minutes)]
        for number in args.train:
            command += ["--train", str(image(work / "scenes_train", number)), str(label(work / "scenes_train", number))]
        command += ["--test", str(image(work / "scenes_test", args.test))]
        steps = None
    else:
        if not plan.exists():  # a run that was stopped goes on with the steps that it began with
            measure = [sys.executable, __file__, str(args.folder), "--measure", name, "--work", str(work)]
            measured = subprocess.run(measure, stdout=subprocess.PIPE, text=True, **usual).stdout
            step_seconds, on_top = json.loads(measured)
            plan.write_text(json.dumps(max(10, int((args.minutes * 60 - on_top) / EPOCHS / step_seconds))))
        steps = json.loads(plan.read_text())
        command = command_line(name, steps, work)
    begun = time.perf_counter()
    with open(work / f"{name}.log", "w") as log:
        subprocess.run([sys.executable, *command], stdout=log, stderr=subprocess.STDOUT, **usual)
    content = {"seconds": time.perf_counter() - begun, "steps": steps and steps * EPOCHS, "settings": settings}
    timing.write_text(json.dumps(content))
    print(f"{name}: {content['seconds']:.0f} s", flush=True)


def image(folder: Path, number: int) -> Path:
    return next(p for p in sorted(folder.glob(f"image_{number}.*")))


def label(folder: Path, number: int) -> Path:
    return folder / f"image_{number}_label.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, nargs="+", default=[2, 4, 7, 8])
    parser.add_argument("--test", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=15, help="of training for each")
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side")
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "accuracy", help="folder to work in")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    work = args.work.resolve()
    if args.measure:
        print(json.dumps(seconds_of(args.measure, work)))
        return
    lay_out(args.folder, work, args.train, "scenes_train", "scenes_train")
    lay_out(args.folder, work, [args.test], "scenes_test", "truth")
    place, legend = ("--data_dir", str(work)), ("--legend", str(args.folder.resolve() / "legend.json"))
    run("generate_train_data.py", *place, *legend)
    run("generate_test_data.py", *place)
    from jingwei.training.recipes import RECIPES

    cores = sorted(os.sched_getaffinity(0))
    shares: Queue = Queue()
    for job in range(args.jobs):
        shares.put(cores[job :: args.jobs])

    def work_on(name: str) -> None:
        share = shares.get()
        try:
            train_one(name, args, work, share)
        finally:
            shares.put(share)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(work_on, ["plain", *RECIPES]))
    run("predict.py", *place, "--window", "512", "--overlap", "128")
    run("vote.py", *place)
    print("\nplain loop")
    truth = label(work / "truth", args.test)
    run("evaluate.py", *legend, "--prediction", str(work / "plain.png"), "--label", str(truth))
    print("\nrecipes and their vote")
    run("evaluate.py", *place)
    for name in ("plain", *RECIPES):
        print(name, (work / f"{name}.json").read_text())


if __name__ == "__main__":
    main()
