"""Step 3: predicting and stitching."""

import argparse
from pathlib import Path

from jingwei.cli.cut import test_scenes
from jingwei.cli.parser import Parser, command, positive, workspace_flags
from jingwei.errors import InputError
from jingwei.legend import find_legend
from jingwei.workspace import Scene, Workspace


@command
def predict_command() -> None:
    """Step 3: predicts and stitches."""
    from jingwei.prediction import TTA, PredictSettings

    defaults = PredictSettings()
    parser = Parser("Predicts scenes with trained networks: overlapping windows, blended, stitched.")
    workspace_flags(parser)
    parser.flag("exp", "experiments RECIPE/EXP (default: all that are trained)", nargs="+", metavar="RECIPE/EXP")
    parser.flag("checkpoint", "checkpoint files, instead of experiments", nargs="+", metavar="FILE")
    parser.flag("scene", "scenes, instead of those of generate_test_data.py", nargs="+", metavar="FILE")
    parser.flag("window", "side of a window, px", type=int, default=defaults.window)
    parser.flag("overlap", "px that neighbouring windows share at least", type=int, default=defaults.overlap)
    parser.flag("tta", "turns of each window to average", choices=tuple(TTA), default=defaults.tta)
    parser.flag("batch_size", "windows at a time (default: 1 on a CPU, 8 on a GPU)", type=positive)
    precisions = ("auto", "fp32", "bf16", "fp16")
    parser.flag("precision", "arithmetic of the network", choices=precisions, default="auto")
    parser.flag("device", "auto, cpu, cuda, cuda:1", default="auto")
    parser.flag("output", "folder for the maps, instead of DIR/test/maskN/ and DIR/submit/", metavar="DIR")
    args = parser.parse_args()
    from jingwei import raster
    from jingwei.checkpoints import check_fits, load_checkpoint
    from jingwei.prediction import predict_scene

    workspace = Workspace(Path(args.data_dir))
    files = _checkpoint_files(args, workspace)
    # Best first: the first is the one whose map is submitted.
    loaded = [(name, path, load_checkpoint(path)) for name, path in files.items()]
    loaded.sort(key=lambda entry: -entry[2].score)
    kept = workspace.train / "legend.json"
    legend = find_legend(str(kept)) if kept.exists() else loaded[0][2].legend
    for _, path, checkpoint in loaded:
        check_fits(checkpoint, path, legend, checkpoint.spec.bands)
    settings = PredictSettings(args.window, args.overlap, args.tta, args.precision).check()
    running = {"device": args.device, "batch_size": getattr(args, "batch_size", 0), "workers": args.workers}
    for scene, source in _tiled_scenes(args, workspace):
        folder = Path(args.output) / scene.name if "output" in args else workspace.masks(scene)
        maps = [folder / f"{name}.tif" for name, _, _ in loaded]
        for (_, path, checkpoint), target in zip(loaded, maps, strict=True):
            fresh = predict_scene(checkpoint, path, source, target, settings, **running)
            print(f"{'written' if fresh else 'kept, it is up to date'}: {target}")
        png = workspace.submission(scene) if "output" not in args else folder / workspace.submission(scene).name
        raster.write_submission(maps[0], png)
        print(f"written: {png} ({loaded[0][0]})")
    print("next: python vote.py")


def _checkpoint_files(args: argparse.Namespace, workspace: Workspace) -> dict[str, Path]:
    """Name of the map -> checkpoint, for the experiments or files that were asked for."""
    from jingwei.training import find_experiment, known_experiments

    if "checkpoint" in args:
        return {_map_name(path): path for path in map(Path, args.checkpoint)}
    wanted = args.exp if "exp" in args else known_experiments(workspace)
    if not wanted:
        raise InputError(workspace.models, "no trained experiment there", "run train.py --train --exp NAME first")
    files = {}
    for name in wanted:
        recipe, separator, exp = name.partition("/")
        if not separator:
            matching = [known for known in known_experiments(workspace) if known.endswith(f"/{name}")]
            recipe, exp = matching[0].split("/") if len(matching) == 1 else ("RECIPE", name)
        files[f"{recipe}_{exp}"] = find_experiment(workspace, recipe, exp) / "best.pt"
    return files


def _map_name(path: Path) -> str:
    in_experiment = path.name in ("best.pt", "last.pt") and len(path.parts) > 2
    return f"{path.parts[-3]}_{path.parts[-2]}" if in_experiment else path.stem


def _tiled_scenes(args: argparse.Namespace, workspace: Workspace) -> list[tuple[Scene, Path]]:
    """The scenes to predict, each with its tiled raster, which is made here where it is missing."""
    if "scene" not in args:
        return [(scene, scene.image) for scene in workspace.cut_scenes()]
    from jingwei.cutting import tile_scene
    from jingwei.raster import open_image

    pairs = []
    for scene in test_scenes(args, workspace):
        with open_image(scene.image) as image:
            ready = image.tiled
        source = scene.image if ready else workspace.tiled(scene)
        if not ready:
            tile_scene(scene.image, source, args.workers)
        pairs.append((scene, source))
    return pairs
