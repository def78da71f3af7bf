"""A trained network as an ONNX file for other programs: QGIS with its Deepness plug-in, or whatever runs ONNX.

The file takes pixels divided by PIXEL_SCALE, as the plug-in feeds them, and gives class probabilities: scaling back,
normalisation, softmax and the temperature that calibrates it are inside. Its metadata are those that the plug-in fills
its form with (https://qgis-plugin-deepness.readthedocs.io, "Add metadata to model"); a STAC item beside it says the
same and more to catalogues (`model_card.py`).
"""

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from jingwei.errors import OutputError, SettingError
from jingwei.models.checkpoints import Checkpoint
from jingwei.models.segmenter import Segmenter
from jingwei.prediction.engines.base import buildable
from jingwei.prediction.engines.choosing import calibration_windows
from jingwei.prediction.engines.int8 import quantised
from jingwei.prediction.engines.onnx import OPSET
from jingwei.prediction.model_card import OWN, model_card
from jingwei.prediction.settings import ExportSettings
from jingwei.system.atomic import whole_or_nothing
from jingwei.system.own_files import kept_json
from jingwei.system.spill import temporary_folder

PIXEL_SCALE = 255.0  # the plug-in divides 8-bit pixels by it, and knows no other input


class ForOthers(nn.Module):
    """A network as other programs want it: pixels / PIXEL_SCALE in, probabilities out, both BCHW float32."""

    def __init__(self, network: Segmenter, temperature: float):
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, scaled_BCHW: Tensor) -> Tensor:
        return (self.network(scaled_BCHW * PIXEL_SCALE) / self.temperature).softmax(1)


def export_onnx(
    checkpoint: Checkpoint, target: Path, settings: ExportSettings, calibration: Iterable[np.ndarray] = ()
) -> Path:
    """Writes a checkpoint's network as `target` (.onnx) and the STAC item beside it, whose path it returns.

    Only int8 needs `calibration`: raw windows, CHW in the file's units. Raises SettingError for settings that make no
    sense, for missing packages and for networks that can't be exported, OutputError where a file can't be written.
    """
    settings.check()
    target = Path(target)
    if target.suffix.lower() != ".onnx":
        raise OutputError(target, "does not end in .onnx", "name it so: programs tell ONNX files by their ending")
    card = target.with_suffix(".json")
    if card.exists() and OWN not in (kept_json(card, {"properties": dict}) or {"properties": {}})["properties"]:
        raise OutputError(card, "is there already, and is no model card", f"give {target.name} another name")
    windows = [_fitted(window, settings.tile, checkpoint.mean) for window in calibration] if settings.int8 else []
    if settings.int8 and not windows:
        raise SettingError("`int8`", "needs windows to find the ranges of numbers with", "give crops or a scene")
    with buildable("onnx", checkpoint):
        import onnx

        model = onnx.load_from_string(_traced(checkpoint, settings.tile))
        for side in (2, 3):  # the exporter loses sight of them; the plug-in refuses outputs that are not square
            model.graph.output[0].type.tensor_type.shape.dim[side].dim_value = settings.tile
        if settings.int8:
            model = quantised(model, [{"pixels": window[None]} for window in windows])
        onnx.helper.set_model_props(model, plugin_metadata(checkpoint, settings))
        onnx.checker.check_model(model)
    with whole_or_nothing(target) as part:
        part.write_bytes(model.SerializeToString())
    content = model_card(
        checkpoint, target.name, tile=settings.tile, scale=PIXEL_SCALE, int8=settings.int8,
        resolution=settings.resolution, licence=settings.licence,
    )  # fmt: skip
    with whole_or_nothing(card) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    return card


def windows_for_int8(checkpoint: Checkpoint, crops: Sequence[Path], scene: Path) -> Iterator[np.ndarray]:
    """Windows to find the ranges of numbers for int8 on: of the crops, or where there are none of a scene.

    Raises SettingError for a scene of radar: crops hold the decibels that the network takes, such files don't.
    """
    if checkpoint.source and not crops:
        remedy = "leave it out, and run export.py with the `data_dir` of the training's crops, in saved/data/"
        raise SettingError("`scene`", "is radar, of which the network takes decibels", remedy)
    return calibration_windows(crops, scene, checkpoint)


def plugin_metadata(checkpoint: Checkpoint, settings: ExportSettings) -> dict[str, str]:
    """What the plug-in reads from the file, each value as JSON.

    Releases differ in how they spell the side of a tile, so both spellings are there. Every pixel takes its likeliest
    class: the plug-in's own threshold would leave out those below a half.
    """
    values = {
        "model_type": "Segmentor",
        "class_names": {str(c.id): c.name for c in checkpoint.legend.classes},
        "tile_size": settings.tile,
        "tiles_size": settings.tile,
        "tiles_overlap": settings.overlap,
        "standardization_mean": [0.0] * checkpoint.spec.bands,
        "standardization_std": [1.0] * checkpoint.spec.bands,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    if settings.resolution is not None:
        values["resolution"] = settings.resolution
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}


def _traced(checkpoint: Checkpoint, tile: int) -> bytes:
    """The network as ONNX, for any number of tiles at once: the plug-in wants their sides fixed."""
    network = ForOthers(checkpoint.build(), checkpoint.temperature).eval()
    free = {"pixels": {0: "batch"}, "probabilities": {0: "batch"}}
    names = {"input_names": ["pixels"], "output_names": ["probabilities"], "dynamic_axes": free}
    example = torch.zeros(1, checkpoint.spec.bands, tile, tile)
    with temporary_folder() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of branches on sizes, which are fixed here
        path = folder / "network.onnx"
        torch.onnx.export(network, (example,), str(path), dynamo=False, opset_version=OPSET, **names)
        return path.read_bytes()


def _fitted(window_CHW: np.ndarray, tile: int, mean: Sequence[float]) -> np.ndarray:
    """A raw window as the exported network takes it: a tile, cut or filled up with the mean colour, and scaled."""
    bands, height, width = window_CHW.shape
    fitted = np.empty((bands, tile, tile), np.float32)
    fitted[:] = np.array(mean, np.float32)[:, None, None]
    height, width = min(height, tile), min(width, tile)
    fitted[:, :height, :width] = window_CHW[:, :height, :width]
    return fitted / np.float32(PIXEL_SCALE)
