"""What is kept of a scene once it is cut, in `train/.parts/`: a new split needs no new cut."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jingwei.crops.table import Crop, label_path
from jingwei.grid import Window
from jingwei.inputs.sample_scene import SampleScene
from jingwei.inputs.scenes import Scene
from jingwei.raster.far_values import FarValue
from jingwei.raster.png import write_png
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.digests import Digest, digest_of, has_size, is_same
from jingwei.system.own_files import kept_json, sealed
from jingwei.workspace import Workspace

PREVIEW_SIDE = 1600  # px of the longer side of the split's picture

# As JSON keeps it.
CROP = {
    "name": str, "scene": str, "window": tuple[int, int, int, int], "valid": int, "pixels": tuple[int, ...],
    "mean": tuple[float, ...], "std": tuple[float, ...], "split": str,
}  # fmt: skip
DIGEST = tuple[int, int]
CUT = {
    "stamp": str, "height": int, "width": int, "bands": int, "dtype": str, "crops": [CROP],
    "preview": DIGEST | None, "files": {str: DIGEST}, "far": tuple[int, int, int, float, bool] | None,
    "band_names": tuple[str, ...],
}  # fmt: skip


@dataclass
class SceneCut:
    """What is kept of a scene once it is cut: its size, its crops before the split, and their files under train/."""

    height: int
    width: int
    bands: int
    dtype: str
    crops: list[Crop]
    files: dict[str, Digest]
    far: FarValue | None = None  # the first value of its pixels that is far from all others
    band_names: tuple[str, ...] = ()  # as its file gives them


def record_of(workspace: Workspace, scene: Scene | SampleScene) -> Path:
    """The file that keeps a scene's SceneCut; its preview, where there is one, lies beside it as `.png`."""
    return workspace.train / ".parts" / f"{scene.name}.json"


def whole_label(workspace: Workspace, name: str) -> Path:
    """A crop's labels as they were cut, both sides of the split in them: every new split starts from these."""
    return workspace.train / ".parts" / "label" / f"{Path(name).stem}.png"


def keep(workspace: Workspace, scene: Scene, mark: str, cut: SceneCut, preview_HWC: np.ndarray | None) -> None:
    """Notes that a scene is cut, and from what (`mark`), so that it is not cut again."""
    record, preview = record_of(workspace, scene), None
    if preview_HWC is not None:
        write_png(record.with_suffix(".png"), preview_HWC, durable=False)
        preview = digest_of(record.with_suffix(".png"))
    with whole_or_nothing(record, durable=False) as part:
        part.write_text(sealed({"stamp": mark, **asdict(cut), "preview": preview}), encoding="utf-8")


def kept(workspace: Workspace, scene: Scene, mark: str, with_preview: bool, workers: int) -> SceneCut | None:
    """What `keep` noted, where that was of the same `mark` and all files are still there, byte for byte."""
    record = record_of(workspace, scene)
    content = kept_json(record, CUT)
    if content is None or content["stamp"] != mark:
        return None
    files = {workspace.train / name: Digest(*digest) for name, digest in content["files"].items()}
    if with_preview:
        if content["preview"] is None:
            return None
        files[record.with_suffix(".png")] = Digest(*content["preview"])
    crops = [_crop_from_json(crop) for crop in content["crops"]]
    if not all(map(has_size, files, files.values())):
        return None
    with ThreadPoolExecutor(workers) as pool:
        if not all(pool.map(is_same, files, files.values())):
            return None
    kind = {key: content[key] for key in ("height", "width", "bands", "dtype", "files")}
    far = None if content["far"] is None else FarValue(*content["far"])
    return SceneCut(**kind, crops=crops, far=far, band_names=tuple(content["band_names"]))


def all_there(workspace: Workspace, crops: Iterable[Crop]) -> bool:
    """Whether the files of crops are there, the pictures as large as they were written: a look that takes no time."""
    records = [kept_json(path, CUT) for path in (workspace.train / ".parts").glob("*.json")]
    digests = {name: Digest(*digest) for content in records if content for name, digest in content["files"].items()}
    for crop in crops:
        name = f"data/{crop.name}"
        if name not in digests or not has_size(workspace.train / name, digests[name]):
            return False
        if not label_path(workspace.train, crop).exists():
            return False
    return True


def _crop_from_json(content: dict) -> Crop:
    tuples: dict[str, Any] = {key: tuple(content[key]) for key in ("pixels", "mean", "std")}
    others = {key: content[key] for key in ("name", "scene", "valid", "split")}
    return Crop(**others, **tuples, window=Window(*content["window"]))
