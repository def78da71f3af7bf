"""Which checkpoint a run goes on from, and whether it may."""

from pathlib import Path

from jingwei.errors import CheckpointError, SettingError
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.training.experiments import OTHER_CROPS, TrainingData
from jingwei.training.recipes import Recipe
from jingwei.training.run_files import RunFiles


def checkpoint_to_resume(files: RunFiles, chosen: Path | None, recipe: Recipe, data: TrainingData) -> Checkpoint | None:
    """The `chosen` checkpoint, or the run's last; None where there is neither, so that a fresh run begins.

    Raises CheckpointError for one that holds no state to go on from, SettingError where the folder's own is of other
    crops or settings; the chosen one may be.
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
    if chosen:
        return checkpoint
    if not data.has_crops_of(checkpoint):
        raise SettingError(path, OTHER_CROPS, "name another `exp`, or go on with these crops by `resume`")
    ours, theirs = recipe.to_dict(), Recipe().to_dict() | checkpoint.recipe  # older ones have fewer fields
    changed = [f"{key} {theirs[key]} -> {value}" for key, value in ours.items() if theirs[key] != value]
    if changed:
        problem = f"holds an experiment with other settings ({', '.join(changed)})"
        raise SettingError(files.folder, problem, "name another `exp`, or go on with the new settings by `resume`")
    return checkpoint
