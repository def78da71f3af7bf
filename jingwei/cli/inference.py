"""System B: every sample of a folder predicted, as the contest wants it."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from jingwei.cli.command import command
from jingwei.cli.parser import Parser, positive
from jingwei.cli.wording import command_line, say
from jingwei.errors import JingweiError, SettingError
from jingwei.inputs.samples import IMAGE_FOLDERS, LABEL_FOLDERS, folders_named
from jingwei.legend import LEGENDS, Legend
from jingwei.prediction.annotation_xml import Annotation
from jingwei.prediction.settings import AUTO, ENGINES, MODES, TURNS, InferenceSettings
from jingwei.system.machine import cores
from jingwei.system.progress import Progress

SAVED = Path("saved")  # where train.py --config leaves its runs


@command
def inference_command() -> str | None:
    """System B: predicts folders of samples. Ends with status 1 where samples were broken and the others are done."""
    args = _parser().parse_args()
    from jingwei.prediction.folder import find_newest_checkpoint, infer
    from jingwei.prediction.folder_items import Inference

    if args.mode == "single" and ("window" in args or "overlap" in args):
        problem = "means nothing to --window and --overlap"
        raise SettingError("--mode single", problem, "leave them out, or take --mode sliding")
    settings = InferenceSettings(**_those_of(InferenceSettings, args))
    annotation = Annotation(**_those_of(Annotation, args))
    weights = Path(args.checkpoint) if "checkpoint" in args else find_newest_checkpoint(SAVED)
    how = {
        "ids": args.ids,
        "confidence": args.confidence,
        "device": args.device,
        "workers": args.workers,
        "batch_size": getattr(args, "batch_size", 0),
    }
    order = Inference(Path(args.input_path), Path(args.output_path), weights, settings, annotation, **how)
    say(f"checkpoint: {weights}")
    outcome = infer(order, _report)
    kept = f", {outcome.kept} kept, up to date" if outcome.kept else ""
    broken = f", {len(outcome.broken)} left out" if outcome.broken else ""
    say(f"{outcome.written} samples written{kept}{broken}: {order.target}")
    if outcome.broken:
        sys.exit(1)
    return _scoring(order.source, order.target, outcome.legend)


def _parser() -> Parser:
    defaults, maker = InferenceSettings(), Annotation()
    parser = Parser("Predicts every sample of a folder: <id>_gt.png in the legend's colours, and <id>.xml.")
    text = "folder of samples, N.tif or N_HH.tiff, N_HV.tiff, N_VH.tiff, N_VV.tiff; subfolders of one level too"
    parser.add_argument("input_path", help=text)
    parser.add_argument("output_path", help="folder for the results, with the same subfolders")
    parser.flag("checkpoint", "checkpoint file (default: the newest best.pth under saved/)", metavar="FILE")
    text = "sliding: overlapping windows; single: each sample whole; multi_scale: windows at several scales, averaged"
    parser.flag("mode", text, choices=MODES, default=defaults.mode)
    parser.flag("window", f"side of a window, px (default: {defaults.window})", type=int)
    parser.flag("overlap", f"px that neighbouring windows share at least (default: {defaults.overlap})", type=int)
    parser.flag("tta", "turned and mirrored views of each window to average", choices=TURNS, default=defaults.tta)
    text = "what runs the network; auto: the fastest that gives torch's labels, where there is enough to do to try"
    parser.flag("engine", text, choices=(AUTO, *ENGINES), default=defaults.engine)
    parser.flag("batch_size", "windows at a time (default: 1 on a CPU, 8 on a GPU)", type=positive)
    precisions = ("auto", "fp32", "bf16", "fp16")
    parser.flag("precision", "arithmetic of the network", choices=precisions, default=defaults.precision)
    parser.flag("device", "auto, cpu, cuda, cuda:1", default="auto")
    parser.flag("ids", "write <id>_label.png too: class ids, 255 where there is no data", action="store_true")
    text = "write confidence/<id>_gt.tif too: how likely each pixel's class is, in percent"
    parser.flag("confidence", text, action="store_true")
    parser.flag("workers", "threads that work beside the reader", type=positive, default=cores(), metavar="N")
    parser.flag(
        "origin",
        "the data's origin in <id>.xml (default: GF2 or GF3 with the contest's classes, else nothing)",
        metavar="TEXT",
    )
    parser.flag(
        "time", "the data's time in <id>.xml (default: the contest's with its classes, else nothing)", metavar="TEXT"
    )
    for name in ("provider", "author"):
        parser.flag(name, f"{name} in <id>.xml", default=getattr(maker, name), metavar="TEXT")
    return parser


def _scoring(source: Path, target: Path, used: Legend) -> str | None:
    """The command that scores what was predicted; None where samples have no labels, or classes of their own."""
    known = [name for name, legend in LEGENDS.items() if legend == used]
    beside = folders_named(source.parent, LABEL_FOLDERS) if source.name.lower() in IMAGE_FOLDERS else []
    labels = [*folders_named(source, LABEL_FOLDERS), *beside]
    if not known or not labels:
        return None
    return command_line("evaluate.py", "--prediction", target, "--label", labels[0], "--legend", known[0])


def _those_of(kind: type, args: argparse.Namespace) -> dict[str, Any]:
    """The flags that were given of those that have the names of a dataclass's fields."""
    return {f.name: getattr(args, f.name) for f in fields(kind) if f.name in args}


def _report(error: JingweiError) -> None:
    Progress.write(f"error: {error}", file=sys.stderr)
