"""A trained network, handed over to other programs."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jingwei.cli.command import command
from jingwei.cli.parser import Parser, positive, workspace_flags
from jingwei.cli.wording import say
from jingwei.prediction.settings import ExportSettings
from jingwei.workspace import Workspace


@command
def export_command() -> str | None:
    """Writes a network as ONNX, with a model card beside it."""
    args = _parser().parse_args()
    from jingwei.errors import SettingError
    from jingwei.models.checkpoints import load_checkpoint
    from jingwei.prediction.export import export_onnx, windows_for_int8
    from jingwei.prediction.orders import map_name, trained_networks, training_crops

    workspace = Workspace(Path(args.data_dir))
    if "checkpoint" in args:  # of any classes: it need not fit the crops in DIR
        path = Path(args.checkpoint)
        name, checkpoint = map_name(path), load_checkpoint(path)
    else:
        best = trained_networks(workspace, [args.exp] if "exp" in args else [], [])[0]
        name, checkpoint = best.name, best.checkpoint
    target = Path(args.output) if "output" in args else workspace.root / "export" / f"{name}.onnx"
    settings = ExportSettings(
        args.tile, args.overlap, getattr(args, "resolution", None), args.int8, getattr(args, "licence", None)
    )
    windows: Iterable[np.ndarray] = ()
    if args.int8:
        crops = () if "scene" in args else training_crops(workspace)
        if not crops and "scene" not in args:
            raise SettingError("--int8", f"needs windows, but there are no crops in {workspace.train}", "give --scene")
        windows = windows_for_int8(checkpoint, crops, Path(getattr(args, "scene", "")))
    card = export_onnx(checkpoint, target, settings, windows)
    say(f"written: {target}, {card}")
    if checkpoint.source:
        say(f"note: it takes radar as decibels / 255, made as {checkpoint.source} says: QGIS can't make these")
    return None


def _parser() -> Parser:
    defaults = ExportSettings()
    parser = Parser("Writes a trained network as ONNX, for QGIS (plug-in Deepness) and whatever else runs ONNX.")
    workspace_flags(parser, workers=False)
    parser.flag("checkpoint", "checkpoint file, instead of an experiment", metavar="FILE")
    parser.flag("exp", "experiment RECIPE/EXP (default: the best that is trained)", metavar="RECIPE/EXP")
    parser.flag("output", "the file, .onnx (default: DIR/export/<recipe>_<exp>.onnx)", metavar="FILE")
    parser.flag("tile", "side of the tiles that the network takes, px", type=positive, default=defaults.tile)
    parser.flag("overlap", "percent of a tile that the next one repeats", type=int, default=defaults.overlap)
    parser.flag("resolution", "side of a pixel on the ground in cm: programs scale pictures to it", type=float)
    text = "convolutions in 8-bit whole numbers: faster on CPUs, some labels change; needs training crops or --scene"
    parser.flag("int8", text, action="store_true")
    parser.flag("scene", "a scene to find the ranges of numbers for --int8 on", metavar="FILE")
    parser.flag("licence", "licence of the weights for the model card, such as CC-BY-4.0", metavar="NAME")
    return parser
