"""A vision transformer from training to maps: every engine, and the file for other programs, give the same labels."""

import numpy as np
import pytest
import rasterio
import torch

from jingwei.models.checkpoints import load_checkpoint
from jingwei.models.libraries import timm
from jingwei.prediction.export import PIXEL_SCALE, ExportSettings, export_onnx
from jingwei.prediction.job import Job
from jingwei.prediction.scene import predict_scene
from jingwei.prediction.settings import PredictSettings
from jingwei.raster.png import write_png
from jingwei.training.loop import RunOptions, train
from jingwei.training.recipes import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = Recipe(
    model="vit", backbone="vit_tiny_patch16_224", pretrained=False, aux_weight=0.0, optimizer="adamw", base_lr=0.003,
    epochs=2, steps_per_epoch=15, batch_size=4, crop_sizes=(64,), min_scale=1.0, max_scale=1.0, val_period=0,
    precision="fp32",
)  # fmt: skip


@pytest.fixture
def trained(project, monkeypatch):
    """The checkpoint of a transformer of four blocks and 48 channels after a few steps."""
    create, small = timm.create_model, {"embed_dim": 48, "depth": 4, "num_heads": 2}
    monkeypatch.setattr(timm, "create_model", lambda name, **how: create(name, **(small | how)))
    return train(project, RECIPE, "vit", RunOptions(device="cpu", workers=0)) / "best.pt"


def read(path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


@pytest.mark.filterwarnings("ignore")  # of tracing
def test_a_trained_transformer_makes_one_map_with_every_engine(trained, draw_scene, tmp_path):
    pixels, truth = draw_scene(170, 140, 3)
    pixels[..., 3] = 255
    write_png(tmp_path / "scene.png", np.ascontiguousarray(pixels[..., :3]))
    maps = {}
    for engine in ("torch", "openvino", "onnx"):
        settings = PredictSettings(window=96, overlap=32, precision="fp32", engine=engine)
        job = Job(trained, tmp_path / "scene.png", tmp_path / f"{engine}.tif", settings, device="cpu")
        assert predict_scene(job)
        maps[engine] = read(tmp_path / f"{engine}.tif")
    assert (maps["torch"] == truth).mean() > np.bincount(truth.ravel()).max() / truth.size  # it has learned something
    for engine in ("openvino", "onnx"):
        assert (maps[engine] == maps["torch"]).mean() >= 0.999, engine

    onnxruntime = pytest.importorskip("onnxruntime")
    checkpoint = load_checkpoint(trained)
    export_onnx(checkpoint, tmp_path / "vit.onnx", ExportSettings(tile=128))
    tile = pixels[None, :128, :128, :3].transpose(0, 3, 1, 2).astype(np.float32)
    (answer,) = onnxruntime.InferenceSession(tmp_path / "vit.onnx").run(None, {"pixels": tile / PIXEL_SCALE})
    with torch.inference_mode():
        wanted = checkpoint.build().eval()(torch.from_numpy(tile)).argmax(1).numpy()
    assert (answer.argmax(1) == wanted).mean() >= 0.999
