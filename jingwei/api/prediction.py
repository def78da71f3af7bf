"""Step 3 of the public API: `load` and `predict`; and `export`, for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jingwei.api.arguments import StrPath, worker_count
from jingwei.errors import SettingError

if TYPE_CHECKING:
    from jingwei.prediction.model import Model


def load(path: StrPath, device: str = "auto") -> Model:
    """A trained network from its checkpoint alone: best.pt or best.pth, of optical scenes or of radar.

    The `Model` has `legend`, `bands`, `dtype` and `scores`, and `predict` for pixels in memory. `device` is auto (the
    GPU where there is one), cpu, cuda or cuda:1. Raises CheckpointError where the file is missing, broken or not ours.
    """
    from jingwei.prediction.model import load_model

    return load_model(path, device)


def predict(
    scene: StrPath | Sequence[StrPath],
    model: Model | StrPath,
    output: StrPath,
    *,
    window: int = 1024,
    overlap: int = 256,
    tta: str = "none",
    engine: str = "auto",
    precision: str = "auto",
    device: str | None = None,
    batch_size: int = 0,
    probabilities: StrPath | None = None,
    confidence: StrPath | None = None,
    part: float | None = None,
    workers: int | None = None,
) -> Path:
    """Predicts a scene of any size into a label map, a tiled GeoTIFF with the scene's georeference; returns its path.

    `scene` is any raster that GDAL reads; of radar, the file of one channel beside which the others lie, or all four.
    `model` is a `Model` or a checkpoint's path. `probabilities` is where the class probabilities go (uint8, a band per
    class), for soft votes; `confidence` is where each label's probability goes (uint8, 0 to 100, 255 for no data).
    `part`, between 0 and 1, predicts that share of the windows alone, spread over the scene, and the rest is no data:
    for a quick look, and to choose where to label. The other arguments are as of `Model.predict`; `device` is the
    model's, or auto. Memory does not grow with the scene. A map that is up to date is kept; a run that was stopped goes
    on from its finished bands.
    """
    from jingwei.prediction.job import Job
    from jingwei.prediction.model import Model, load_model
    from jingwei.prediction.settings import PredictSettings, check_batch_size
    from jingwei.prediction.single import predict_file

    settings = PredictSettings(window, overlap, tta, precision, engine, part).check()
    check_batch_size(batch_size)
    if isinstance(model, Model):
        model.check_file()
    else:
        model = load_model(model, device or "auto")
    target = Path(output)
    files = Path(scene) if isinstance(scene, str | Path) else [Path(file) for file in scene]
    chances, sure = (None if path is None else Path(path) for path in (probabilities, confidence))
    where = device or str(model.device)
    job = Job(model.path, Path(), target, settings, chances, where, batch_size, worker_count(workers), confidence=sure)
    predict_file(files, job, model.checkpoint)
    return target


def export(
    model: Model | StrPath,
    output: StrPath,
    *,
    tile: int = 512,
    overlap: int = 25,
    resolution: float | None = None,
    int8: bool = False,
    licence: str | None = None,
    scene: StrPath | None = None,
) -> Path:
    """Writes a network as ONNX for QGIS's plug-in Deepness and others, a model card beside it; returns the .onnx file.

    `tile` is the side of the windows that it takes, in px, `overlap` the percent of a tile that the next one repeats,
    `resolution` the side of a pixel on the ground in cm. With `int8`, convolutions are in 8-bit whole numbers, whose
    ranges are found on windows of `scene`. `licence` is that of the weights.
    """
    from jingwei.prediction.export import export_onnx, windows_for_int8
    from jingwei.prediction.model import Model, load_model
    from jingwei.prediction.settings import ExportSettings

    if not isinstance(model, Model):
        model = load_model(model, "cpu")
    if int8 and scene is None:
        raise SettingError("`int8`", "needs windows", "give a `scene`")
    windows = windows_for_int8(model.checkpoint, (), Path(scene)) if int8 and scene is not None else ()
    settings = ExportSettings(tile, overlap, resolution, int8, licence)
    export_onnx(model.checkpoint, Path(output), settings, windows)
    return Path(output)
