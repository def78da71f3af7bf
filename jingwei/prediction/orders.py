"""Which maps are to be made: trained networks, by their experiments or their files, on scenes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jingwei.crops.tile import tile_scene
from jingwei.errors import InputError
from jingwei.inputs.legends import choose_legend
from jingwei.inputs.scenes import Scene
from jingwei.models.checkpoints import Checkpoint, check_fits, load_checkpoint
from jingwei.prediction.job import Job
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.reading import open_image
from jingwei.training.experiments import find_experiment, known_experiments
from jingwei.workspace import Workspace, confidence_of, probabilities_of


@dataclass(frozen=True)
class Network:
    """A trained network: the name that its maps carry, its file and what that holds."""

    name: str
    path: Path
    checkpoint: Checkpoint


def trained_networks(workspace: Workspace, experiments: Sequence[str], files: Sequence[Path]) -> list[Network]:
    """The networks of some files, else of some experiments RECIPE/EXP, else of all that are trained; the best first.

    Raises InputError where there is none, CheckpointError where one has other classes than the crops were cut with (or,
    where nothing is cut, than the best one).
    """
    chosen = _named_files(files) if files else _of_experiments(workspace, experiments)
    networks = [Network(name, path, load_checkpoint(path)) for name, path in chosen.items()]
    networks.sort(key=lambda network: workspace.standing(network.name, network.checkpoint.score))
    legend = choose_legend(cut=workspace.train, of_network=networks[0].checkpoint.legend).legend
    legend = replace(legend, bands=())  # scenes have to fit a network's bands, and crops need not
    for network in networks:
        check_fits(network.checkpoint, network.path, legend, network.checkpoint.spec.bands)
    return networks


def _named_files(files: Sequence[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in files:
        twin = named.setdefault(map_name(path), path)
        if twin != path:
            problem = f"would give its map the name of that of {twin}: {map_name(path)}"
            raise InputError(path, problem, "copy one under another name")
    return named


def map_name(path: Path) -> str:
    """The name that maps of a checkpoint carry: that of its experiment, where it lies in one, else its own."""
    if path.stem in ("best", "last") and len(path.parts) > 2:  # system B's: best.pth in saved/NAME/TIME
        folder = Path(os.path.abspath(path)).parent  # `..` is no name, and neither is the root of all folders
        if folder.parent.name:
            return f"{folder.parent.name}_{folder.name}"
    return path.stem


def _of_experiments(workspace: Workspace, experiments: Sequence[str]) -> dict[str, Path]:
    known = known_experiments(workspace)
    wanted = experiments or known
    if not wanted:
        raise InputError(workspace.models, "no trained experiment there", "run train.py with `train` first")
    files = {}
    for name in wanted:
        recipe, separator, exp = name.partition("/")
        if not separator:
            matching = [other for other in known if other.endswith(f"/{name}")]
            recipe, exp = matching[0].split("/") if len(matching) == 1 else ("RECIPE", name)
        files[f"{recipe}_{exp}"] = find_experiment(workspace, recipe, exp) / "best.pt"
    return files


def crops_to_calibrate(workspace: Workspace, engine: str) -> tuple[Path, ...]:
    """The training crops, for an engine that is made with them."""
    return training_crops(workspace) if engine == "openvino-int8" else ()


def training_crops(workspace: Workspace) -> tuple[Path, ...]:
    """The pictures of the training crops, in the order of their names."""
    return tuple(sorted((workspace.train / "data").glob("*")))


def tiled_copy(scene: Scene, copy: Path, workers: int) -> Path:
    """A raster of a scene that any window can be read from: its own file where that is one, else `copy`, made here."""
    with open_image(scene.image) as image:
        if image.tiled:
            return scene.image
    tile_scene(scene.image, copy, workers)
    return copy


def jobs_on(
    workspace: Workspace,
    scenes: Sequence[tuple[Scene, Path]],
    networks: Sequence[Network],
    settings: PredictSettings,
    *,
    output: Path | None = None,
    probabilities: bool = False,
    confidence: bool = True,
    **running,
) -> tuple[list[Job], dict[Path, Path]]:
    """The jobs of networks on scenes (each with its tiled raster), and the contest's PNGs: label map -> PNG.

    Maps go to the workspace, or to a folder for each scene in `output`; the best network's map is the one submitted.
    Where the settings ask for a part of each scene, maps go to folders apart from whole ones, and none is submitted.
    `running` goes to each Job: device, batch_size, workers, crops.
    """
    settings.check()
    jobs, submissions = [], {}
    for scene, source in scenes:
        if settings.part is None:
            folder = workspace.masks(scene) if output is None else output / scene.name
        else:
            folder = workspace.parts(scene) if output is None else output / scene.name / "part"
        for network in networks:
            target = folder / f"{network.name}.tif"
            kept: dict[str, Any] = {"probabilities": probabilities_of(target)} if probabilities else {}
            kept |= {"confidence": confidence_of(target)} if confidence else {"stale": (confidence_of(target),)}
            jobs.append(Job(network.path, source, target, settings, **kept, **running))
        png = workspace.submission(scene)
        if settings.part is None:
            submissions[folder / f"{networks[0].name}.tif"] = png if output is None else folder / png.name
    return jobs, submissions
