"""System B's training: a config file, a checkpoint to go on from, GPUs to run on."""

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jingwei.cli.parser import Parser, cores, not_negative, positive, say, tell_legend, tell_missing
from jingwei.errors import CheckpointError, SettingError
from jingwei.inputs.samples import IMAGE_FOLDERS
from jingwei.training.recipes import Recipe

# Flags that change a key of the file for this run: flag -> (key, type).
CHANGES = {
    "epochs": ("trainer.epochs", positive),
    "base_lr": ("optimizer.args.lr", float),
    "batch_size": ("train_loader.args.batch_size", positive),
    "steps_per_epoch": ("recipe.steps_per_epoch", not_negative),
    "seed": ("recipe.seed", not_negative),
    "workers": ("train_loader.args.num_workers", not_negative),
}


def asks_for_config(arguments: Sequence[str]) -> bool:
    """Whether a command line is one of system B."""
    return any(argument.split("=")[0] in ("-c", "--config", "-r") for argument in arguments)


def train_from_config() -> str | None:
    """Trains as a config file says, or goes on from a checkpoint of such a run. Returns what to do next."""
    parser = _Parser("Trains system B as a config file says. Writes <save_dir>/<name>/<time>/.")
    short = {"default": argparse.SUPPRESS}  # the help texts tell what counts then
    parser.add_argument("-c", "--config", metavar="FILE", help="config file, such as one of configs/", **short)
    text = "checkpoint of a run to go on from, in its folder; with its config.json where no -c is given"
    parser.add_argument("-r", "--resume", metavar="CHECKPOINT", help=text, **short)
    text = "GPUs to train on, as 0 or 0,1 (a process each); or auto, cpu, cuda:1 (default: as n_gpu says)"
    parser.add_argument("-d", "--device", metavar="DEVICES", help=text, **short)
    for name, (key, kind) in CHANGES.items():
        parser.flag(name, f"in place of {key}", type=kind)
    parser.flag("weights", "file of weights to start from, in place of ImageNet's", metavar="FILE")
    text = "steps whose loss is no number that are left out before the run gives up"
    parser.flag("skip_bad_steps", text, type=not_negative, default=0, metavar="N")
    parser.flag("compile", "compile the network with torch.compile: slow to start, faster to run", action="store_true")
    args = parser.parse_args()
    from jingwei.configs.config import read_config
    from jingwei.crops.prepare import picture_sides, prepare_training
    from jingwei.models.checkpoints import load_checkpoint
    from jingwei.models.devices import find_device, find_precision
    from jingwei.system.atomic import only_run
    from jingwei.training import distributed, experiments, loop

    changes = {key: getattr(args, name) for name, (key, _) in CHANGES.items() if name in args}
    resume = Path(args.resume).absolute() if "resume" in args else None
    weights = Path(args.weights) if "weights" in args else None
    for path, remedy in ((resume, "give a last.pth under saved/"), (weights, "check the path")):
        if path and path.is_dir():
            raise CheckpointError(path, "is a folder, and no file", "name a checkpoint in it, such as last.pth")
        if path and not path.is_file():
            raise CheckpointError(path, "no such file", remedy)
    config = read_config(Path(args.config) if "config" in args else _kept_config(resume), changes)
    device = _device(getattr(args, "device", None), config.n_gpu)
    # What is wrong with these is told before the data is looked through; the training finds them by itself.
    find_precision(config.recipe.precision, find_device(device))
    if resume:
        load_checkpoint(resume)
    if distributed.leads():
        tell_legend(config.data.legend, config.legend)
    if config.base_size:
        config = config.fitted(picture_sides(config.data))
        if distributed.leads():
            _tell_scales(config.recipe)
    workers = min(8, max(1, cores() - 1)) if config.workers is None else config.workers
    # Processes of a team, and runs on the same data, take turns: the first prepares it, the others find it done.
    with only_run(config.cache.with_name(f"{config.cache.name}.turn"), wait=True):
        workspace = prepare_training(config.data, config.cache, cores())
    data = experiments.read_training_data(workspace)
    config.check_bands(data.bands)
    if distributed.leads():
        tell_missing([*data.training, *data.validation], data.legend, config.trainer.val)
    folder = resume.parent if resume else _fresh(config.runs)
    keeping = loop.Keeping(
        folder,
        ".pth",
        config.events(folder),
        config.trainer.tensorboard,
        config.trainer.save_period,
        config.trainer.log_per_iter,
        json.dumps(config.content, indent=4, ensure_ascii=False),
    )
    options = loop.RunOptions(device, workers, args.compile, resume, weights, None, args.skip_bad_steps)
    loop.run(workspace, config.recipe, keeping, options)
    if distributed.leads():
        say(f"trained: {folder}")
        words = ("inference.py", _to_predict(config.data.root), folder / "maps", "--checkpoint", keeping.file("best"))
        return shlex.join(map(str, ("python", *words)))


def _to_predict(root: Path) -> Path:
    """The samples of a data set to look at after the training: those to test on, else those of the validation."""
    from jingwei.crops.prepare import VALID_FOLDERS

    validation = [root / side for side in VALID_FOLDERS]
    places = (root / "test", *(place / name for place in validation for name in IMAGE_FOLDERS), *validation)
    return next((place for place in places if place.is_dir()), root)


def _tell_scales(recipe: Recipe) -> None:
    """Says where windows are seen at other scales than pictures are scored and predicted at."""
    if not recipe.min_scale <= 1 <= recipe.max_scale:
        scales = f"{recipe.min_scale:.3g} to {recipe.max_scale:.3g}"
        print(f"windows are seen at scales of {scales}, but pictures are scored and predicted as they are")


class _Parser(Parser):
    """Explains the keys of config files too."""

    def format_help(self) -> str:
        from jingwei.configs.sections import explain_keys

        return f"{super().format_help()}\n{explain_keys()}"


def _kept_config(resume: Path) -> Path:
    """The config file that a run keeps beside its checkpoints."""
    kept = resume.with_name("config.json")
    if not kept.is_file():
        raise SettingError(f"-r {resume}", "no config.json lies beside it", "name the run's config file with -c")
    return kept


def _fresh(runs: Path) -> Path:
    """A folder for a new run, named by the time."""
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    number, folder = 1, runs / name
    while folder.exists():
        number += 1
        folder = runs / f"{name}-{number}"
    return folder


def _device(chosen: str | None, wanted: int) -> str:
    """The device of this process. For more than one GPU, starts a process on each in its own place.

    `chosen` is -d; without it, `wanted` GPUs are taken (n_gpu), as far as there are so many.
    """
    from jingwei.models.devices import gpu_count
    from jingwei.training.distributed import in_team

    there = gpu_count()
    if chosen is not None and not re.fullmatch(r"\d+(,\d+)*", chosen):
        return chosen
    if in_team():  # torchrun gives each process its GPU
        return "cpu" if chosen is None and wanted == 0 else "auto"
    if not there:
        if chosen or wanted > 1:
            print("no GPU here: training on the CPU")
        return "cpu"
    if chosen is None:
        if wanted > there:
            print(f"n_gpu is {wanted}, but there are {there} GPUs here: training on these")
        numbers = list(range(min(wanted, there)))
    else:
        numbers = sorted({int(number) for number in chosen.split(",")})
        if numbers[-1] >= there:
            raise SettingError(f"-d {chosen}", f"there are {there} GPUs here", "number them from 0")
    if len(numbers) > 1:
        _start_team(numbers)
    return f"cuda:{numbers[0]}" if numbers else "cpu"


def _start_team(gpus: list[int]) -> None:
    """Gives this process's place to torchrun, with a process for each of some GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else None
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[gpu] if names else str(gpu) for gpu in gpus)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={len(gpus)}"]
    os.execv(sys.executable, [*torchrun, *sys.argv])
