"""System B's training: a config file, a checkpoint to go on from, GPUs to run on."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jingwei.cli.parser import Parser, not_negative, positive, tell_legend
from jingwei.cli.weights import weights_flags, weights_from
from jingwei.cli.wording import command_line, say, this_process
from jingwei.inputs.legends import ChosenLegend

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
    args = _parser().parse_args()
    from jingwei.configs.config import read_config
    from jingwei.configs.run import ConfigOptions, check_resume, kept_config, samples_to_predict, train_config
    from jingwei.training.distributed import leads
    from jingwei.training.launch import choose_device

    changes = {key: getattr(args, name) for name, (key, _) in CHANGES.items() if name in args}
    changes |= {"arch.args.pretrained": False, "arch.args.weights": None} if args.scratch else {}
    resume = Path(args.resume).absolute() if "resume" in args else None
    check_resume(resume)
    file = kept_config(resume) if resume and "config" not in args else Path(args.config)
    config = read_config(file, changes)
    device = choose_device(getattr(args, "device", None), config.n_gpu, this_process())
    if leads():
        tell_legend(ChosenLegend(config.data.legend, config.legend))
    how = {"compile": args.compile, "resume": resume, "skip_bad_steps": args.skip_bad_steps, **weights_from(args)}
    options = ConfigOptions(device, **how)
    keeping = train_config(config, options)
    if leads():
        say(f"trained: {keeping.folder}")
        samples = samples_to_predict(config.data.root)
        maps, weights = keeping.folder / "maps", keeping.file("best")
        return command_line("inference.py", samples, maps, "--checkpoint", weights)
    return None


def _parser() -> Parser:
    parser = _Parser("Trains system B as a config file says. Writes <save_dir>/<name>/<time>/.")
    short: dict[str, Any] = {"default": argparse.SUPPRESS}  # the help texts tell what counts then
    parser.add_argument("-c", "--config", metavar="FILE", help="config file, such as one of configs/", **short)
    text = "checkpoint of a run to go on from, in its folder; with its config.json where no -c is given"
    parser.add_argument("-r", "--resume", metavar="CHECKPOINT", help=text, **short)
    text = "GPUs to train on, as 0 or 0,1 (a process each); or auto, cpu, cuda:1 (default: as n_gpu says)"
    parser.add_argument("-d", "--device", metavar="DEVICES", help=text, **short)
    for name, (key, kind) in CHANGES.items():
        parser.flag(name, f"in place of {key}", type=kind)
    weights_flags(parser)
    parser.flag("scratch", "start from random weights, not from ImageNet's", action="store_true")
    text = "steps whose loss is not a number that are left out before the run gives up"
    parser.flag("skip_bad_steps", text, type=not_negative, default=0, metavar="N")
    parser.flag("compile", "compile the network with torch.compile: slow to start, faster to run", action="store_true")
    return parser


class _Parser(Parser):
    """Explains the keys of config files too."""

    def format_help(self, everything: bool = False) -> str:
        from jingwei.configs.sections import explain_keys

        return f"{super().format_help(everything)}\n{explain_keys()}"
