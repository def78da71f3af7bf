"""What is kept of a scene once it is cut, in `train/.parts/`: a new split needs no new cut."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from jingwei.crops.table import Crop
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.raster.png import write_png
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.own_files import kept_json, sealed
from jingwei.workspace import Workspace

PREVIEW_SIDE = 1600  # px of the longer side of the split's picture

# As JSON keeps it.
CROP = {
    "name": str, "scene": str, "window": tuple[int, int, int, int], "valid": int, "pixels": tuple[int, ...],
    "mean": tuple[float, ...], "std": tuple[float, ...], "split": str,
}  # fmt: skip
CUT = {"stamp": str, "height": int, "width": int, "bands": int, "dtype": str, "crops": [CROP]}


@dataclass
class SceneCut:
    """What is kept of a scene once it is cut: its size and its crops, before the split."""

    height: int
    width: int
    bands: int
    dtype: str
    crops: list[Crop]


def record_of(workspace: Workspace, scene: Scene) -> Path:
    """The file that keeps a scene's SceneCut; its preview, where there is one, lies beside it as `.png`."""
    return workspace.train / ".parts" / f"{scene.name}.json"


def whole_label(workspace: Workspace, name: str) -> Path:
    """A crop's labels as they were cut, both sides of the split in them: every new split starts from these."""
    return workspace.train / ".parts" / "label" / f"{Path(name).stem}.png"


def keep(workspace: Workspace, scene: Scene, mark: str, cut: SceneCut, preview_HWC: np.ndarray | None) -> None:
    """Notes that a scene is cut, and from what (`mark`), so that it is not cut again."""
    record = record_of(workspace, scene)
    if preview_HWC is not None:
        write_png(record.with_suffix(".png"), preview_HWC)
    with whole_or_nothing(record) as part:
        part.write_text(sealed({"stamp": mark, **asdict(cut)}), encoding="utf-8")


def kept(workspace: Workspace, scene: Scene, mark: str, with_preview: bool) -> SceneCut | None:
    """What `keep` noted, where that was of the same `mark` and all label crops are still there."""
    record = record_of(workspace, scene)
    content = kept_json(record, CUT)
    if content is None:
        return None
    there = all(whole_label(workspace, crop["name"]).exists() for crop in content["crops"])
    if content["stamp"] != mark or not there or (with_preview and not record.with_suffix(".png").exists()):
        return None
    crops = [_crop_from_json(crop) for crop in content["crops"]]
    return SceneCut(*(content[key] for key in ("height", "width", "bands", "dtype")), crops)


def _crop_from_json(content: dict) -> Crop:
    tuples = {key: tuple(content[key]) for key in ("pixels", "mean", "std")}
    others = {key: content[key] for key in ("name", "scene", "valid", "split")}
    return Crop(**others, **tuples, window=Window(*content["window"]))
