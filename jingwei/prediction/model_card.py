"""The model card of an exported network: a STAC item with the Machine Learning Model extension (MLM).

Fields: https://github.com/stac-extensions/mlm, version 1.6.
"""

from datetime import UTC, datetime

import torch

from jingwei.legend import hex_of
from jingwei.models.checkpoints import Checkpoint
from jingwei.version import VERSION

MLM = "https://stac-extensions.github.io/mlm/v1.6.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
OWN = "jingwei:version"  # the property by which we know our cards again
SCORES = ("miou", "miou_with_background", "fwiou", "accuracy", "kappa", "mean_f1")


def model_card(
    checkpoint: Checkpoint,
    file: str,
    *,
    tile: int,
    scale: float,
    int8: bool,
    resolution: float | None,
    licence: str | None,
) -> dict:
    """A STAC item about `file`, which lies beside it: its input, its output, its classes, how good it is.

    tile: side of its windows, px. scale: what raw pixels are divided by before they go in. resolution: cm a pixel.
    The scores are those of the validation that chose the checkpoint.
    """
    spec = checkpoint.spec
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = file.removesuffix(".onnx")
    given = checkpoint.legend.bands or ("",) * spec.bands
    bands = [name or f"band_{number}" for number, name in enumerate(given, 1)]
    properties = {
        "title": name,
        "datetime": now,
        "mlm:name": name,
        "mlm:architecture": spec.in_words(),
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "ONNX",
        "mlm:framework_version": torch.__version__,
        "mlm:total_parameters": sum(parameter.numel() for parameter in checkpoint.build().parameters()),
        "mlm:pretrained": True,
        "mlm:input": [_input(bands, tile, scale)],
        "mlm:output": [_output(checkpoint, tile)],
        OWN: VERSION,
        "jingwei:quantised": int8,
        "jingwei:trained_on": checkpoint.dtype,
        "jingwei:normalisation": {"mean": list(checkpoint.mean), "std": list(checkpoint.std), "inside": True},
        "jingwei:validation": {key: checkpoint.scores[key] for key in SCORES if key in checkpoint.scores},
    }
    if licence:
        properties["license"] = licence
    if resolution is not None:
        properties["gsd"] = resolution / 100
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM, CLASSIFICATION],
        "id": name,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {
            "model": {
                "href": f"./{file}",
                "type": "application/octet-stream; application=onnx",
                "title": "the network",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "onnx",
                "bands": [{"name": band} for band in bands],
            }
        },
    }


def _input(bands: list[str], tile: int, scale: float) -> dict:
    return {
        "name": "pixels",
        "bands": bands,
        "input": {
            "shape": [-1, len(bands), tile, tile],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [{"type": "scale", "value": scale} for _ in bands],
        "pre_processing_function": None,
    }


def _output(checkpoint: Checkpoint, tile: int) -> dict:
    classes = checkpoint.legend.classes
    return {
        "name": "probabilities",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, len(classes), tile, tile],
            "dim_order": ["batch", "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": [
            {"value": c.id, "name": c.name, "description": c.name, "color_hint": hex_of(c.color).removeprefix("#")}
            for c in classes
        ],
        "post_processing_function": None,
    }
