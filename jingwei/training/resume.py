"""Which checkpoint a run goes on from, and whether it may."""

import math
from pathlib import Path

from jingwei.errors import CheckpointError, SettingError
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.models.torch_files import AGAIN
from jingwei.system.own_files import misfit
from jingwei.training.experiments import OTHER_CROPS, TrainingData
from jingwei.training.recipes import Recipe
from jingwei.training.run_files import RunFiles

# What `Checkpoint.training` holds, by key, with the types of its values; and `best_score`, which may be infinite.
STATE = {
    "optimizer": dict, "scaler": dict, "average": dict | None, "epoch": int, "step": int, "bad_steps": int,
    "in_progress": {"totals": {str: float}, "lr": float, "steps": int, "windows": int, "seconds": float},
    "best_epoch": int,
}  # fmt: skip


def checkpoint_to_resume(
    files: RunFiles, chosen: Path | None, recipe: Recipe, data: TrainingData, source: str = ""
) -> Checkpoint | None:
    """The `chosen` checkpoint, or the run's last; None where there is neither, so that a fresh run begins.

    `source` names the weights that a fresh run would begin with, where they are given. Raises CheckpointError for a
    checkpoint that holds no state to go on from, SettingError where the folder's own is of other crops, settings or
    weights to begin with; the chosen one may be.
    """
    path = chosen or files.last
    if not chosen and not path.exists():
        return None
    checkpoint = load_checkpoint(path)
    if checkpoint.training is None:
        raise CheckpointError(path, "holds weights alone, no state to go on from", f"give a {files.last.name}")
    if "in_progress" not in checkpoint.training:
        problem = "was written by an earlier version, which kept less of a run"
        raise CheckpointError(path, problem, "start anew from it: another `exp`, with `weights` and this file")
    problem = _problem(checkpoint.training)
    if problem:
        raise CheckpointError(path, f"holds a state that no run can go on from ({problem})", AGAIN)
    if chosen:
        return checkpoint
    if not data.has_crops_of(checkpoint):
        raise SettingError(path, OTHER_CROPS, "name another `exp`, or go on with these crops by `resume`")
    ours, theirs = recipe.to_dict(), Recipe().to_dict() | checkpoint.recipe  # older ones have fewer fields
    changed = [f"{key} {theirs[key]} -> {value}" for key, value in ours.items() if theirs[key] != value]
    if changed:
        problem = f"holds an experiment with other settings ({', '.join(changed)})"
        raise SettingError(files.folder, problem, "name another `exp`, or go on with the new settings by `resume`")
    begun_from = checkpoint.training.get("begun_from")  # older ones don't say
    if source and isinstance(begun_from, str) and Path(source).absolute() != Path(begun_from).absolute():
        problem = f"holds an experiment that began with {begun_from or 'other weights'}, not with {source}"
        raise SettingError(files.folder, problem, "name another `exp`, or leave the weights out to go on with it")
    return checkpoint


def _problem(state: dict) -> str | None:
    """What is wrong with the state of a run, in words; None where nothing is."""
    try:
        problem = misfit(STATE, state)
        score = state.get("best_score")
        if problem is None and (not isinstance(score, int | float) or math.isnan(score)):
            problem = "best_score is not a number"
        if problem is None and set(state["in_progress"]) != set(STATE["in_progress"]):
            problem = "in_progress has other values"
    except TypeError:  # a value that JSON has no words for
        problem = "a value is of another type"
    counts = ("epoch", "step", "bad_steps")
    return problem or next((f"{name} is {state[name]}" for name in counts if state[name] < 0), None)
