"""Which map of a scene is judged: the whole one, or a part of it that a newer network has predicted."""

from pathlib import Path
from typing import NamedTuple

from jingwei.inputs.scenes import Scene
from jingwei.raster.stamps import read_score
from jingwei.workspace import Workspace


class SceneMap(NamedTuple):
    """A scene's map, whether it is but a part, and what is to be said of that."""

    path: Path
    part: bool = False
    note: str = ""


def newest_map(workspace: Workspace, scene: Scene) -> SceneMap | None:
    """The final map, unless a part of one is there by a network that stands before all of the whole maps' (see
    `Workspace.standing`), or that has learned on since the whole map was made, and predicted the part after that. None
    where there is no map.
    """
    whole = workspace.final_map(scene) if workspace.has_map(scene) else None
    for part in workspace.part_predictions(scene)[:1]:
        if whole is None:
            return SceneMap(part, True, f"{scene.name}: judged by a part of its map, {part}")
        if _is_newer(workspace, part, workspace.predictions(scene)[:1]):
            note = f"{scene.name}: judged by a part of its map, {part}, whose network is newer than that of {whole}"
            return SceneMap(part, True, note)
        return SceneMap(whole, note=f"{scene.name}: judged by the whole map, {whole}, not by the part {part}")
    return SceneMap(whole) if whole else None


def _is_newer(workspace: Workspace, part: Path, whole: list[Path]) -> bool:
    """Whether a part is of a newer network than the best of the whole maps."""
    for path in whole:
        if path.stem == part.stem:
            weights = workspace.weights_of(part)
            return weights is not None and min(map(_changed, (weights, part))) > _changed(path)
        standings = [workspace.standing(each.stem, read_score(each)) for each in (part, path)]
        return standings[0] < standings[1]
    return False


def _changed(path: Path) -> int:
    """When a file was changed last, in nanoseconds."""
    return path.stat().st_mtime_ns
