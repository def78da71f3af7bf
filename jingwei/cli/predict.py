"""Step 3: predicting and stitching."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jingwei.cli import dry_run
from jingwei.cli.command import command
from jingwei.cli.cut import test_scenes
from jingwei.cli.parser import (
    Parser,
    chosen_cluster,
    cluster_flag,
    cog_flag,
    going_on,
    positive,
    workspace_flags,
    write_cogs,
)
from jingwei.cli.wording import say
from jingwei.errors import SettingError
from jingwei.inputs.scenes import Scene
from jingwei.planning.room import require_room_for_maps, size_of
from jingwei.prediction.settings import AUTO, ENGINES, PredictSettings
from jingwei.prediction.views import TTA
from jingwei.workspace import Workspace, robustness_of

if TYPE_CHECKING:  # torch is loaded after the arguments were read
    from jingwei.prediction.job import Job

# What -h shows, and all flags by what they are about.
USUAL = "data_dir exp checkpoint scene window overlap tta engine batch_size device probabilities output"
GROUPS = {
    "what": "data_dir exp checkpoint scene",
    "how": "window overlap part tta engine batch_size precision device workers cluster",
    "what is kept": "output probabilities no_confidence cog",
    "instead of maps": "robustness dry_run",
}


@command
def predict_command() -> str | None:
    """Step 3: predicts and stitches."""
    args = _parser().parse_args()
    from jingwei.models.devices import gpu_count
    from jingwei.prediction.orders import crops_to_calibrate, jobs_on, trained_networks
    from jingwei.prediction.shared_out import predict
    from jingwei.raster.styles import write_class_style
    from jingwei.raster.writing import write_submission

    workspace = Workspace(Path(args.data_dir))
    files = [Path(file) for file in getattr(args, "checkpoint", ())]
    networks = trained_networks(workspace, getattr(args, "exp", ()), files)
    part = getattr(args, "part", None)
    settings = PredictSettings(args.window, args.overlap, args.tta, args.precision, args.engine, part).check()
    for unfit in ("robustness", "cog") if part else ():
        if getattr(args, unfit):
            raise SettingError("--part", f"does not go with --{unfit}", "leave one of them out")
    crops = crops_to_calibrate(workspace, args.engine)
    if args.engine == "openvino-int8" and not crops:
        print(f"no crops in {workspace.train}: {args.engine} is made with windows of each scene")
    scenes = _scenes(args, workspace)
    how = {"output": Path(args.output) if "output" in args else None, "probabilities": args.probabilities}
    how["confidence"] = not args.no_confidence
    how |= {"device": args.device, "batch_size": getattr(args, "batch_size", 0), "workers": args.workers}
    jobs, submissions = jobs_on(workspace, scenes, networks, settings, crops=crops, **how)
    if args.dry_run or args.robustness:
        return (_rehearse if args.dry_run else _tell_robustness)(jobs, networks)
    for job in jobs:
        require_room_for_maps(job.source, _maps(job))
    with chosen_cluster(args, gpus=gpu_count() if args.device in ("auto", "cuda") else 0) as cluster:
        for job, fresh in predict(jobs, cluster):
            bands = job.bands(size_of(job.source)[:2])
            of_all = f" (a part: {bands.window_count} of {bands.window_count_of_all} windows)" if part else ""
            say(f"{'written' if fresh else 'kept, it is up to date'}: {', '.join(map(str, _maps(job)))}{of_all}")
    for labels, png in submissions.items():
        write_submission(labels, png)
        write_class_style(png, networks[0].checkpoint.legend)
        say(f"written: {png} ({networks[0].name})")
    write_cogs(args, submissions.items())
    if "output" in args:
        return None
    if part:
        return going_on(args, "label.py")
    one = all(len(workspace.predictions(scene)) == 1 and not workspace.vote(scene).exists() for scene, _ in scenes)
    return going_on(args, "fill_hole.py" if one else "vote.py")


def _parser() -> Parser:
    defaults = PredictSettings()
    parser = Parser("Predicts scenes with trained networks: overlapping windows, blended, stitched.")
    workspace_flags(parser)
    parser.flag("exp", "experiments RECIPE/EXP (default: all that are trained)", nargs="+", metavar="RECIPE/EXP")
    parser.flag("checkpoint", "checkpoint files, instead of experiments", nargs="+", metavar="FILE")
    parser.flag("scene", "scenes, instead of those of generate_test_data.py", nargs="+", metavar="FILE")
    parser.flag("window", "side of a window, px", type=int, default=defaults.window)
    parser.flag("overlap", "px that neighbouring windows share at least", type=int, default=defaults.overlap)
    text = "predict only this share of the windows, spread over each scene, for the next choice of label.py: 0.1"
    parser.flag("part", text, type=float, metavar="SHARE")
    parser.flag("tta", "views of each window to average", choices=tuple(TTA), default=defaults.tta)
    text = "what runs the network; auto: the fastest that gives torch's labels, where the scene is large enough to try"
    parser.flag("engine", text, choices=(AUTO, *ENGINES), default=defaults.engine)
    parser.flag("batch_size", "windows at a time (default: 1 on a CPU, 8 on a GPU)", type=positive)
    precisions = ("auto", "fp32", "bf16", "fp16")
    parser.flag("precision", "arithmetic of the network", choices=precisions, default="auto")
    parser.flag("device", "auto, cpu, cuda, cuda:1", default="auto")
    text = "keep each class's probability too, in 8 bits, for vote.py --soft"
    parser.flag("probabilities", text, action="store_true")
    text = "do not keep each label's probability in percent, as confidence/ beside the maps"
    parser.flag("no_confidence", text, action="store_true")
    text = "make no maps, but say how many labels of a part of each scene change with shifted windows, mirrored, and "
    text += "under a little other light and scale"
    parser.flag("robustness", text, action="store_true")
    cluster_flag(parser)
    text = "folder for the maps (and tiled copies of scenes of --scene), instead of those in DIR/test/ and DIR/submit/"
    parser.flag("output", text, metavar="DIR")
    cog_flag(parser)
    dry_run.dry_run_flag(parser)
    parser.arrange(USUAL, GROUPS)
    return parser


def _scenes(args: argparse.Namespace, workspace: Workspace) -> list:
    """The scenes asked for, each with the file to predict: its tiled copy, made where --scene names it."""
    from jingwei.prediction.orders import tiled_copy

    if "scene" not in args:
        scenes = workspace.cut_scenes()
        _tell_stale(workspace, scenes)
        return [(scene, scene.image) for scene in scenes]
    found = test_scenes(args, workspace)
    if args.dry_run:
        return [(scene, scene.image) for scene in found]
    return [(scene, tiled_copy(scene, _place_of_copy(args, workspace, scene), args.workers)) for scene in found]


def _place_of_copy(args: argparse.Namespace, workspace: Workspace, scene: Scene) -> Path:
    """Where the tiled copy of a scene goes: with --output beside its maps, else it becomes a scene of the project."""
    from jingwei.crops.tile import is_copy

    of_project = workspace.tiled(scene)
    if "output" not in args or is_copy(of_project, scene.image):
        return of_project
    return Path(args.output) / scene.name / "tiled" / of_project.name


def _tell_stale(workspace: Workspace, scenes: list[Scene]) -> None:
    """Warns of scenes that were replaced since they were cut: the map would be that of the earlier one."""
    from jingwei.crops.tile import is_stale

    originals = workspace.originals()
    for scene in scenes:
        original = originals.get(scene.name)
        if original and is_stale(scene.image, original):
            problem = (
                f"is not {original} as it is now (or that lost its date in a copy), or was made by another version"
            )
            print(f"warning: {scene.image}: {problem}: to be sure, run generate_test_data.py again", file=sys.stderr)


def _maps(job: "Job") -> list[Path]:
    return [job.target, *([job.confidence] if job.confidence else [])]


def _tell_robustness(jobs: list, networks: list) -> None:
    from jingwei.prediction.robustness import robustness, table, write_robustness

    checkpoints = {network.path: network.checkpoint for network in networks}
    for job in jobs:
        found = robustness(job.weights, checkpoints[job.weights], job.source, job.settings, job.device)
        print(f"{job.source.stem} by {job.target.stem}: {table(found)}")
        place = robustness_of(job.target)
        write_robustness(place, found)
        say(f"written: {place}")


def _rehearse(jobs: list, networks: list) -> None:
    from jingwei.planning.rehearsal import predict_step

    checkpoints = {network.path: network.checkpoint for network in networks}
    dry_run.tell([predict_step(job, checkpoints[job.weights]) for job in jobs], jobs[0].target.parent)
