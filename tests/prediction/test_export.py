"""Networks for other programs: the ONNX file as QGIS's Deepness plug-in reads and feeds it, and its model card."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from jingwei.errors import OutputError, SettingError
from jingwei.grid import Window
from jingwei.legend import GF2, JINGWEI
from jingwei.models.checkpoints import Checkpoint, load_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction.export import export_onnx
from jingwei.prediction.settings import ExportSettings
from jingwei.raster.reading import open_image

TRAINED = Path(__file__).resolve().parents[1] / "data" / "version_0_3_0" / "road"
SIDE = 64
MEAN, STD = (90.0, 110.0, 70.0), (40.0, 30.0, 50.0)


class PlugIn:
    """The plug-in's way with a model file: its checks, the values that it takes from the metadata, what it feeds."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (self.input,) = self.session.get_inputs()
        (output,) = self.session.get_outputs()
        assert len(output.shape) == 4
        assert output.shape[2] == output.shape[3]  # it refuses outputs that are not square
        self.classes = output.shape[-3]
        self.meta = {k: json.loads(v) for k, v in self.session.get_modelmeta().custom_metadata_map.items()}

    def class_names(self) -> list[str]:
        names = sorted(self.meta["class_names"].items(), key=lambda item: int(item[0]))
        assert [int(number) for number, _ in names] == list(range(len(names)))
        return [name for _, name in names]

    def probabilities(self, tiles_BHWC: np.ndarray) -> np.ndarray:
        scaled = np.float32(tiles_BHWC * 1.0 / 255.0)
        scaled = (scaled - np.array(self.meta["standardization_mean"])) / np.array(self.meta["standardization_std"])
        batch = np.transpose(scaled, (0, 3, 1, 2)).astype(np.float32)
        return self.session.run(None, {self.input.name: batch})[0]


def trained(legend=JINGWEI, family="attention_unet", backbone="test_resnet", dtype="uint8", bands=3) -> Checkpoint:
    """A network with random weights whose classes differ, its batch norms fitted to noise."""
    torch.manual_seed(0)
    spec = ModelSpec(family, backbone, bands, len(legend))
    mean, std = (MEAN * 3)[:bands], (STD * 3)[:bands]
    model = build_model(spec, mean, std).train()
    noise = torch.from_numpy(tiles(6, bands).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        for _ in range(20):
            model(noise)
        model.network.segmentation_head[0].weight *= 5
    return Checkpoint(model.spec, dtype, mean, std, legend, {}, model.state_dict(), {"miou": 0.5, "accuracy": 0.7})


def tiles(count: int, bands: int = 3, side: int = SIDE) -> np.ndarray:
    """Pictures with structure, BHWC uint8."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (count, side // 8, side // 8, bands))
    smooth = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint():
    return trained()


def torch_probabilities(checkpoint, tiles_BHWC):
    with torch.no_grad():
        raw = torch.from_numpy(tiles_BHWC.transpose(0, 3, 1, 2).astype(np.float32))
        return checkpoint.build()(raw).softmax(1).numpy()


def test_the_plug_in_gets_torchs_labels_in_any_batch(tmp_path, checkpoint):
    export_onnx(checkpoint, tmp_path / "net.onnx", ExportSettings(tile=SIDE))
    plug_in, seen = PlugIn(tmp_path / "net.onnx"), tiles(5)
    expected = torch_probabilities(checkpoint, seen)
    assert len(np.unique(expected.argmax(1))) > 1  # else any answer would do
    found = plug_in.probabilities(seen)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.999
    np.testing.assert_allclose(plug_in.probabilities(seen[:1]), expected[:1], atol=2e-3)


def test_the_metadata_fill_the_plug_ins_form(tmp_path, checkpoint):
    export_onnx(checkpoint, tmp_path / "net.onnx", ExportSettings(tile=96, overlap=20, resolution=10.0))
    plug_in = PlugIn(tmp_path / "net.onnx")
    assert plug_in.meta["model_type"].capitalize() == "Segmentor"
    assert plug_in.class_names() == list(JINGWEI.names)
    assert plug_in.classes == len(JINGWEI)
    assert plug_in.input.shape[1:] == [3, 96, 96]
    assert plug_in.meta["tile_size"] == plug_in.meta["tiles_size"] == 96
    assert plug_in.meta["tiles_overlap"] == 20
    assert plug_in.meta["resolution"] == 10.0
    assert plug_in.meta["seg_thresh"] == 0.0  # a likeliest class below a half is still the likeliest


def test_int8_is_smaller_and_agrees(tmp_path):
    """On a trained network: random ones sit on ties, which rounding decides."""
    checkpoint = load_checkpoint(TRAINED / "model/cross_entropy/old/best.pt")
    with open_image(TRAINED / "test/image3/image_3.tif") as image:
        scene, _ = image.read(Window(0, 0, 96, 128))
    windows = [scene[:, :, :SIDE], scene[:, 32:, SIDE:], scene[:, 50:, 90:]]  # the last one is smaller than a tile
    export_onnx(checkpoint, tmp_path / "float.onnx", ExportSettings(tile=SIDE))
    export_onnx(checkpoint, tmp_path / "int8.onnx", ExportSettings(tile=SIDE, int8=True), windows)
    assert (tmp_path / "int8.onnx").stat().st_size < 0.7 * (tmp_path / "float.onnx").stat().st_size
    seen = np.stack([scene[:, row : row + SIDE, col : col + SIDE] for row in (0, 32) for col in (0, 64)])
    seen = seen.transpose(0, 2, 3, 1)
    found = PlugIn(tmp_path / "int8.onnx").probabilities(seen).argmax(1)
    assert (found == torch_probabilities(checkpoint, seen).argmax(1)).mean() > 0.95


def test_other_bands_and_types_are_scaled_alike(tmp_path):
    checkpoint = trained(GF2, dtype="uint16", bands=4)
    export_onnx(checkpoint, tmp_path / "net.onnx", ExportSettings(tile=SIDE))
    raw = tiles(2, bands=4).astype(np.uint16) * 3
    found = PlugIn(tmp_path / "net.onnx").probabilities(raw)
    np.testing.assert_allclose(found, torch_probabilities(checkpoint, raw), atol=1e-2)


def test_the_model_card_is_a_valid_item(tmp_path, checkpoint):
    from stac_model.schema import MLModelProperties

    card = export_onnx(checkpoint, tmp_path / "net.onnx", ExportSettings(tile=SIDE, resolution=10, licence="MIT"))
    item = json.loads(card.read_text(encoding="utf-8"))
    known = {k: v for k, v in item["properties"].items() if k.startswith("mlm:")}
    properties = MLModelProperties(**known)
    assert properties.input[0].input.shape == [-1, 3, SIDE, SIDE]
    assert [c.name for c in properties.output[0].classes] == list(JINGWEI.names)
    assert item["properties"]["license"] == "MIT"
    assert item["properties"]["gsd"] == 0.1
    assert item["properties"]["jingwei:validation"] == {"miou": 0.5, "accuracy": 0.7}
    assert item["properties"]["mlm:total_parameters"] == sum(p.numel() for p in checkpoint.build().parameters())
    asset = item["assets"]["model"]
    assert (card.parent / asset["href"]).is_file()
    assert [band["name"] for band in asset["bands"]] == item["properties"]["mlm:input"][0]["bands"]


@pytest.mark.parametrize(("changes", "problem"), [
    ({"tile": 100}, "100 px"), ({"tile": 32}, "32 px"), ({"tile": 8192}, "8192 px"),
    ({"overlap": 95}, "95 percent"), ({"resolution": -1.0}, "-1 cm"), ({"int8": True}, "needs windows"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(tmp_path, checkpoint, changes, problem):
    with pytest.raises(SettingError, match=problem):
        export_onnx(checkpoint, tmp_path / "net.onnx", replace(ExportSettings(tile=SIDE), **changes))
    assert not list(tmp_path.iterdir())


def test_a_file_that_programs_would_not_take_for_onnx_is_refused(tmp_path, checkpoint):
    with pytest.raises(OutputError, match="does not end in .onnx"):
        export_onnx(checkpoint, tmp_path / "net.pt", ExportSettings(tile=SIDE))


def test_probabilities_are_calibrated_inside(tmp_path, checkpoint):
    temperature = 2.5
    calibrated = replace(checkpoint, calibration={"temperature": temperature, "error": [0.1, 0.02]})
    export_onnx(calibrated, tmp_path / "net.onnx", ExportSettings(tile=SIDE))
    seen = tiles(3)
    with torch.no_grad():
        logits = checkpoint.build()(torch.from_numpy(seen.transpose(0, 3, 1, 2).astype(np.float32)))
    found = PlugIn(tmp_path / "net.onnx").probabilities(seen)
    np.testing.assert_allclose(found, (logits / temperature).softmax(1).numpy(), atol=2e-3)
    plain = logits.softmax(1).numpy()
    assert np.abs(found - plain).max() > 0.05  # it does make a difference
    assert (found.argmax(1) == plain.argmax(1)).mean() >= 0.999  # but to no label
