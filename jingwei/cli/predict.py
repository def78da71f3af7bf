"""Step 3: predicting and stitching."""

import argparse
from pathlib import Path

from jingwei.cli import dry_run
from jingwei.cli.cut import test_scenes
from jingwei.cli.parser import (
    Parser,
    chosen_cluster,
    cluster_flag,
    cog_flag,
    command,
    going_on,
    positive,
    say,
    workspace_flags,
    write_cogs,
)
from jingwei.errors import InputError
from jingwei.legend import find_legend
from jingwei.workspace import Scene, Workspace


@command
def predict_command() -> str | None:
    """Step 3: predicts and stitches."""
    from jingwei.prediction.engines.choosing import AUTO
    from jingwei.prediction.engines.registry import ENGINES
    from jingwei.prediction.engines.views import TTA
    from jingwei.prediction.scene import PredictSettings

    defaults = PredictSettings()
    parser = Parser("Predicts scenes with trained networks: overlapping windows, blended, stitched.")
    workspace_flags(parser)
    parser.flag("exp", "experiments RECIPE/EXP (default: all that are trained)", nargs="+", metavar="RECIPE/EXP")
    parser.flag("checkpoint", "checkpoint files, instead of experiments", nargs="+", metavar="FILE")
    parser.flag("scene", "scenes, instead of those of generate_test_data.py", nargs="+", metavar="FILE")
    parser.flag("window", "side of a window, px", type=int, default=defaults.window)
    parser.flag("overlap", "px that neighbouring windows share at least", type=int, default=defaults.overlap)
    parser.flag("tta", "views of each window to average", choices=tuple(TTA), default=defaults.tta)
    text = "what runs the network; auto: the fastest that gives torch's labels, where the scene is large enough to try"
    parser.flag("engine", text, choices=(AUTO, *ENGINES), default=defaults.engine)
    parser.flag("batch_size", "windows at a time (default: 1 on a CPU, 8 on a GPU)", type=positive)
    precisions = ("auto", "fp32", "bf16", "fp16")
    parser.flag("precision", "arithmetic of the network", choices=precisions, default="auto")
    parser.flag("device", "auto, cpu, cuda, cuda:1", default="auto")
    text = "keep each class's probability too, in 8 bits, for vote.py --soft"
    parser.flag("probabilities", text, action="store_true")
    cluster_flag(parser)
    parser.flag("output", "folder for the maps, instead of DIR/test/maskN/ and DIR/submit/", metavar="DIR")
    cog_flag(parser)
    dry_run.dry_run_flag(parser)
    args = parser.parse_args()
    from jingwei.models.checkpoints import check_fits, load_checkpoint
    from jingwei.models.devices import gpu_count
    from jingwei.prediction.scene import Job, predict
    from jingwei.raster.writing import write_submission

    workspace = Workspace(Path(args.data_dir))
    files = _checkpoint_files(args, workspace)
    # Best first: the first is the one whose map is submitted.
    loaded = [(name, path, load_checkpoint(path)) for name, path in files.items()]
    loaded.sort(key=lambda entry: -entry[2].score)
    kept = workspace.train / "legend.json"
    legend = find_legend(str(kept)) if kept.exists() else loaded[0][2].legend
    for _, path, checkpoint in loaded:
        check_fits(checkpoint, path, legend, checkpoint.spec.bands)
    settings = PredictSettings(args.window, args.overlap, args.tta, args.precision, args.engine).check()
    running = {"device": args.device, "batch_size": getattr(args, "batch_size", 0), "workers": args.workers}
    running["crops"] = _crops_to_calibrate(args, workspace)
    jobs, submissions = [], {}
    for scene, source in _tiled_scenes(args, workspace):
        folder = Path(args.output) / scene.name if "output" in args else workspace.masks(scene)
        chances = folder / workspace.probabilities(scene).name
        for name, path, _ in loaded:
            kept = {"probabilities": chances / f"{name}.tif"} if args.probabilities else {}
            jobs.append(Job(path, source, folder / f"{name}.tif", settings, **kept, **running))
        png = workspace.submission(scene) if "output" not in args else folder / workspace.submission(scene).name
        submissions[folder / f"{loaded[0][0]}.tif"] = png
    if args.dry_run:
        checkpoints = {path: checkpoint for _, path, checkpoint in loaded}
        steps = [dry_run.predict_step(job, checkpoints[job.weights]) for job in jobs]
        return dry_run.tell(steps, jobs[0].target.parent)
    for job in jobs:
        dry_run.require_room_for_maps(job.source, [job.target])
    with chosen_cluster(args, gpus=gpu_count() if args.device in ("auto", "cuda") else 0) as cluster:
        for job, fresh in predict(jobs, cluster):
            say(f"{'written' if fresh else 'kept, it is up to date'}: {job.target}")
    for labels, png in submissions.items():
        write_submission(labels, png)
        say(f"written: {png} ({loaded[0][0]})")
    write_cogs(args, submissions.items())
    return None if "output" in args else going_on(args, "vote.py")


def _checkpoint_files(args: argparse.Namespace, workspace: Workspace) -> dict[str, Path]:
    """Name of the map -> checkpoint, for the experiments or files that were asked for."""
    from jingwei.training.experiments import find_experiment, known_experiments

    if "checkpoint" in args:
        named: dict[str, Path] = {}
        for path in map(Path, args.checkpoint):
            twin = named.setdefault(_map_name(path), path)
            if twin != path:
                problem = f"would give its map the name of that of {twin}: {_map_name(path)}"
                raise InputError(path, problem, "copy one under another name")
        return named
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


def _crops_to_calibrate(args: argparse.Namespace, workspace: Workspace) -> tuple[Path, ...]:
    """The training crops, for an engine that is made with them."""
    if args.engine != "openvino-int8":
        return ()
    crops = tuple(sorted((workspace.train / "data").glob("*")))
    if not crops:
        print(f"no crops in {workspace.train}: {args.engine} is made with windows of each scene")
    return crops


def _map_name(path: Path) -> str:
    in_experiment = path.stem in ("best", "last") and len(path.parts) > 2  # system B's: best.pth in saved/NAME/TIME
    return f"{path.parts[-3]}_{path.parts[-2]}" if in_experiment else path.stem


def _tiled_scenes(args: argparse.Namespace, workspace: Workspace) -> list[tuple[Scene, Path]]:
    """The scenes to predict, each with its tiled raster, which is made here where it is missing."""
    if "scene" not in args:
        return [(scene, scene.image) for scene in workspace.cut_scenes()]
    from jingwei.crops.cut import tile_scene
    from jingwei.raster.reading import open_image

    pairs = []
    for scene in test_scenes(args, workspace):
        with open_image(scene.image) as image:
            ready = image.tiled
        source = scene.image if ready else workspace.tiled(scene)
        if args.dry_run:
            source = scene.image
        elif not ready:
            tile_scene(scene.image, source, args.workers)
        pairs.append((scene, source))
    return pairs
