"""Step 2 of the public API: `train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jingwei.api.arguments import StrPath
from jingwei.errors import SettingError, known

if TYPE_CHECKING:
    from jingwei.training.recipes import Recipe


def train(
    recipe: str | Recipe | Path,
    data_dir: StrPath = "data",
    exp: str = "default",
    *,
    device: str = "auto",
    workers: int | None = None,
    compile: bool = False,
    resume: StrPath | None = None,
    weights: StrPath | None = None,
    init_from: StrPath | None = None,
    scratch: bool = False,
    quick: bool = False,
    skip_bad_steps: int = 0,
    weights_bands: str = "",
    refit: str | None = None,
    **changes: Any,
) -> Path:
    """Trains a recipe on the crops of DIR/train/, or goes on with a run that was stopped; returns best.pt.

    `recipe` is the name of one (cross_entropy, focal_lovasz, swa, multiscale, attention_unet), a `Recipe`, or a config
    file of system B (.json), whose data counts then and whose run has a folder of its own. `changes` are fields of the
    recipe: epochs=30, base_lr=0.007, backbone="resnet18", crop_sizes=(512, 448). The other arguments are those of the
    flags of train.py: `resume` a checkpoint to go on from though settings have changed, `weights` a file of weights or
    a name that `train.py --list_weights` shows, `weights_bands` the bands that a file was made for ("sentinel2"),
    `init_from` a checkpoint of ours to start from, `scratch` random weights, `quick` settings for minutes without a GPU
    (`changes` count beside them), `refit` an experiment of this recipe to train once more, on all labels, as `exp`.

    Raises SettingError for settings that make no sense or where `exp` holds a run with other settings, InputError where
    nothing was cut, TrainingError where the loss is not a number any more.
    """
    from jingwei.system.machine import cores

    if str(recipe).endswith(".json"):
        given = changes or str(data_dir) != "data"
        if exp != "default" or given or scratch or quick or refit or init_from is not None or workers is not None:
            problem = "says itself what is trained, and on which data"
            raise SettingError(str(recipe), problem, "give no other settings: change the file")
        how = {"device": device, "compile": compile, "skip_bad_steps": skip_bad_steps, "weights_bands": weights_bands}
        return _train_config(Path(str(recipe)), resume, weights, how)
    from jingwei.training.loop import RunOptions
    from jingwei.training.loop import train as run
    from jingwei.training.refit import refit_recipe
    from jingwei.workspace import Workspace

    changes |= {"pretrained": False} if scratch else {}
    chosen, workspace = _recipe(recipe, quick, changes), Workspace(Path(data_dir))
    if workers is not None and workers < 0:
        raise SettingError("`workers`", f"is {workers}", "take 0 or more, or None for the usual number")
    if refit:
        chosen = refit_recipe(workspace, chosen.name, refit, ["quick"] * quick + [*changes])
    first, last = (None if path is None else Path(path) for path in (init_from, resume))
    loaders = min(8, max(1, cores() - 1)) if workers is None else workers
    start: dict[str, Any] = {"weights": weights, "init_from": first, "weights_bands": weights_bands}
    start["refit"] = workspace.experiment(chosen.name, refit) if refit else None
    options = RunOptions(device, loaders, compile, resume=last, skip_bad_steps=skip_bad_steps, **start)
    return run(workspace, chosen, exp, options) / "best.pt"


def _recipe(recipe: str | Recipe | Path, quick: bool, changes: Mapping[str, Any]) -> Recipe:
    from jingwei.training import recipes

    if not isinstance(recipe, recipes.Recipe):
        if recipe not in recipes.RECIPES:
            raise SettingError(f"`recipe` {recipe}", "no such recipe", known(recipes.RECIPES, str(recipe)))
        recipe = recipes.RECIPES[str(recipe)]
    unknown = sorted(set(changes) - set(recipe.__dataclass_fields__))
    if unknown:
        remedy = known(recipe.__dataclass_fields__, unknown[0])
        raise SettingError(f"`{unknown[0]}`", "is not a field of a recipe", remedy)
    values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in changes.items()}
    return replace(recipes.quick(recipe) if quick else recipe, **values)


def _train_config(file: Path, resume: StrPath | None, weights: StrPath | None, how: dict[str, Any]) -> Path:
    from jingwei.configs.config import read_config
    from jingwei.configs.run import ConfigOptions, check_resume, train_config
    from jingwei.system.progress import Progress

    last = Path(resume).absolute() if resume else None
    check_resume(last)
    keeping = train_config(read_config(file), ConfigOptions(resume=last, weights=weights, **how), Progress.write)
    return keeping.file("best")
