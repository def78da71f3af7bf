"""System B's predictions: every sample of a folder in the legend's colours, whatever its size, and its annotation."""

import json
import os
import re
import shlex
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from jingwei.errors import InputError, OutputError
from jingwei.evaluation.folders import find_masks, score_folders, score_pair
from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.inputs.samples import Sample
from jingwei.inputs.sar import CHANNELS, SarSettings
from jingwei.legend import GF2, GF3, JINGWEI, NODATA, LandClass, Legend
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction import folder_engine, folder_items, settings
from jingwei.prediction import scene as prediction
from jingwei.prediction.annotation_xml import Annotation
from jingwei.prediction.engines import base
from jingwei.prediction.engines.base import ExportedEngine
from jingwei.prediction.engines.eager import TorchEngine
from jingwei.prediction.engines.registry import ENGINES
from jingwei.prediction.engines.views import Viewer
from jingwei.prediction.folder import find_newest_checkpoint, infer
from jingwei.prediction.folder_items import Inference
from jingwei.prediction.job import Job
from jingwei.prediction.scene import predict_scene
from jingwei.prediction.settings import InferenceSettings
from jingwei.raster.png import PngWriter, write_png
from jingwei.raster.reading import read_tags

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
MEAN = 20
SMALL = InferenceSettings(window=128, overlap=32, precision="fp32", engine="torch")
RADAR = SarSettings(values="intensity", low=(-30.0,) * 4, high=(10.0,) * 4)
# What each class of GF3 echoes in HH, HV, VH, VV, dB.
ECHOES = np.array([[-7, -14, -14, -14], [-14, -7, -14, -14], [-14, -14, -7, -14],
                   [-14, -14, -14, -7], [-7, -7, -14, -14], [-14, -14, -7, -7]], np.float32)  # fmt: skip


class Nearest(torch.nn.Module):
    """Each pixel's class is the one whose colour, or echo, is nearest to it: right whatever window it lies in."""

    def __init__(self, prototypes: np.ndarray):
        super().__init__()
        self.prototypes = torch.from_numpy(prototypes).float()[:, :, None, None]
        self.shapes: list[tuple[int, int]] = []

    def forward(self, pixels):
        self.shapes += [tuple(pixels.shape[2:])] * len(pixels)
        return -((pixels[:, None] - self.prototypes) ** 2).sum(2) / 20


def brightness(legend: Legend = GF2) -> np.ndarray:
    """A colour per class: grey 30, 50, 70 ..."""
    return np.repeat(30 + 20 * np.arange(len(legend))[:, None], 3, axis=1)


@pytest.fixture
def optical(tmp_path, monkeypatch) -> tuple[Path, Nearest]:
    """A checkpoint for RGB samples, and the network that it gives: Nearest over `brightness`."""
    return checkpoint_of(tmp_path / "optical.pth", monkeypatch, brightness(), GF2, {})


@pytest.fixture
def radar(tmp_path, monkeypatch) -> tuple[Path, Nearest]:
    """A checkpoint for radar samples, and the network that it gives: Nearest over ECHOES."""
    return checkpoint_of(tmp_path / "radar.pth", monkeypatch, ECHOES, GF3, asdict(RADAR))


def checkpoint_of(path, monkeypatch, prototypes, legend, source) -> tuple[Path, Nearest]:
    classes, bands = prototypes.shape
    spec = ModelSpec("attention_unet", "mobilenetv3_small_050", bands, classes)
    checkpoint = Checkpoint(spec, "uint8", (float(MEAN),) * bands, (60.0,) * bands, legend, {}, {}, source=source)
    save_checkpoint(path, checkpoint)
    network = Nearest(prototypes)
    monkeypatch.setattr(Checkpoint, "build", lambda self: network)
    return path, network


def fields(height: int, width: int, classes: int, seed: int = 0) -> np.ndarray:
    """Class ids in patches of 1 to 40 px, uint8 HW."""
    rng = np.random.default_rng([height, width, seed])
    rows = np.repeat(np.arange(height), rng.integers(1, 40, height))[:height]
    cols = np.repeat(np.arange(width), rng.integers(1, 40, width))[:width]
    return rng.integers(0, classes, (rows[-1] + 1, cols[-1] + 1)).astype(np.uint8)[rows][:, cols]


def write_raster(path: Path, pixels_CHW: np.ndarray, valid: np.ndarray | None = None, **profile) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels_CHW.shape
    how = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": pixels_CHW.dtype.name}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **how | profile) as file:
        file.write(pixels_CHW)
        if valid is not None:
            file.write_mask(valid)
    return path


def write_optical(path: Path, labels: np.ndarray, valid: np.ndarray | None = None, noise: int = 3, **profile) -> Path:
    """A picture of class ids in `brightness`, with some noise."""
    rng = np.random.default_rng(len(path.stem))
    pixels = brightness()[labels].transpose(2, 0, 1) + rng.integers(-noise, noise + 1, (3, *labels.shape))
    return write_raster(path, pixels.astype(np.uint8), valid, **profile)


def write_radar(
    folder: Path, name: str, labels: np.ndarray, valid: np.ndarray | None = None, dtype: str = "float32"
) -> None:
    """Four files of intensities that echo as ECHOES says; HH is 0 where there is no data."""
    intensities = 10 ** (ECHOES[labels].transpose(2, 0, 1) / 10)
    if valid is not None:
        intensities[0] *= valid
    for channel, plane in zip(CHANNELS, intensities, strict=True):
        write_raster(folder / f"{name}_{channel}.tiff", plane[None].astype(dtype))


def colored(labels: np.ndarray, legend: Legend = GF2) -> np.ndarray:
    """Class ids as RGB, NODATA black."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(legend)] = [land_class.color for land_class in legend.classes]
    return colors[labels]


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        assert opened.format == "PNG"
        assert opened.mode in ("RGB", "L")
        return np.asarray(opened)


def run(source, target, weights, settings=SMALL, **how):
    told = []
    outcome = infer(Inference(source, target, weights, settings, device="cpu", **how), told.append)
    assert told == outcome.broken
    assert not (target / ".inference").exists()
    assert not list(target.rglob("*.part")) + list(target.rglob("*.lock"))
    return outcome


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- any size, in every mode ----

SHAPES = [(1, 1), (511, 1), (1, 300), (127, 128), (129, 128), (511, 513), (700, 1500)]


@pytest.mark.parametrize("mode", ["sliding", "single"])
def test_samples_of_any_size_become_pictures_of_that_size(tmp_path, optical, mode):
    weights, _ = optical
    truth = {}
    for number, shape in enumerate(SHAPES):
        truth[number] = fields(*shape, len(GF2))
        write_optical(tmp_path / "in" / f"{number}.tif", truth[number])
    outcome = run(tmp_path / "in", tmp_path / "out", weights, replace(SMALL, mode=mode), ids=True)
    assert (outcome.written, outcome.kept, outcome.broken) == (len(SHAPES), 0, [])
    for number, labels in truth.items():
        np.testing.assert_array_equal(picture(tmp_path / "out" / f"{number}_gt.png"), colored(labels))
        np.testing.assert_array_equal(picture(tmp_path / "out" / f"{number}_label.png"), labels)
    assert len(files_of(tmp_path / "out")) == 3 * len(SHAPES)


def test_single_shows_each_sample_whole_and_multi_scale_at_three_scales(tmp_path, optical):
    weights, network = optical
    write_optical(tmp_path / "in" / "1.tif", fields(96, 200, len(GF2)))
    seen = {}
    for mode, tta in [("single", "none"), ("single", "flips"), ("multi_scale", "none"), ("multi_scale", "flips")]:
        network.shapes.clear()
        run(tmp_path / "in", tmp_path / "out", weights, replace(SMALL, mode=mode, tta=tta, window=96))
        seen[mode, tta] = sorted(set(network.shapes)), len(network.shapes)
    assert seen["single", "none"] == ([(96, 200)], 1)
    assert seen["single", "flips"] == ([(96, 200)], 4)
    scaled = [(64, 64), (96, 96), (128, 128)]  # 0.75 and 1.25 of 96, in steps of 32
    assert seen["multi_scale", "none"] == (scaled, 3 * 3)  # of three windows
    assert seen["multi_scale", "flips"] == (scaled, 3 * 3 * 4)


def test_multi_scale_is_the_mean_over_the_scales(tmp_path, optical):
    weights, network = optical
    write_optical(tmp_path / "in" / "1.tif", fields(90, 100, len(GF2)), noise=20)
    run(tmp_path / "in", tmp_path / "out", weights, replace(SMALL, mode="multi_scale"), ids=True)
    with rasterio.open(tmp_path / "in" / "1.tif") as file:
        pixels = file.read()
    engine = TorchEngine(load_checkpoint(weights), torch.device("cpu"), torch.float32)
    expected = Viewer(engine, "scales")(pixels[None])[0].argmax(0).numpy()
    assert (expected != network(torch.from_numpy(pixels[None]).float())[0].argmax(0).numpy()).any()
    np.testing.assert_array_equal(picture(tmp_path / "out" / "1_label.png"), expected)


def test_a_sample_too_large_for_one_window_is_told(tmp_path, optical, monkeypatch):
    weights, _ = optical
    monkeypatch.setattr(folder_items, "SINGLE_MOST_PX", 100 * 100)
    write_optical(tmp_path / "in" / "1.tif", fields(100, 100, len(GF2)))
    write_optical(tmp_path / "in" / "2.tif", fields(101, 100, len(GF2)))
    outcome = run(tmp_path / "in", tmp_path / "out", weights, replace(SMALL, mode="single"))
    assert outcome.written == 1
    assert "2.tif: 100 x 101 px are too many for one window: take `mode` sliding" in str(outcome.broken[0])
    assert run(tmp_path / "in", tmp_path / "out", weights).written == 2


# ---- radar, no data, subfolders, annotations ----


def test_radar_quadruples_are_predicted_from_their_decibels(tmp_path, radar):
    weights, _ = radar
    labels, valid = fields(150, 333, len(GF3)), np.ones((150, 333), bool)
    valid[:20] = valid[140:, 100:] = valid[70, 70] = False
    write_radar(tmp_path / "in", "7", labels, valid)
    write_radar(tmp_path / "in", "12", labels[:40, :50], dtype="complex64")
    assert run(tmp_path / "in", tmp_path / "out", weights, ids=True).written == 2
    expected = np.where(valid, labels, NODATA)
    np.testing.assert_array_equal(picture(tmp_path / "out" / "7_label.png"), expected)
    np.testing.assert_array_equal(picture(tmp_path / "out" / "7_gt.png"), colored(expected, GF3))
    assert (picture(tmp_path / "out" / "7_gt.png").any(axis=2) == valid).all()  # black is no class of GF3
    np.testing.assert_array_equal(picture(tmp_path / "out" / "12_gt.png"), colored(labels[:40, :50], GF3))


@pytest.mark.parametrize("kind", ["mask", "nodata"])
def test_no_data_stays_no_data(tmp_path, optical, kind):
    weights, network = optical
    labels, valid = fields(300, 140, len(GF2)), np.ones((300, 140), bool)
    valid[:200] = valid[250, 50:90] = False
    if kind == "mask":
        write_optical(tmp_path / "in" / "1.tif", labels, valid)
    else:
        pixels = np.where(valid, brightness()[labels].transpose(2, 0, 1), 0).astype(np.uint8)
        write_raster(tmp_path / "in" / "1.tif", pixels, nodata=0)
    assert run(tmp_path / "in", tmp_path / "out", weights, ids=True).written == 1
    expected = np.where(valid, labels, NODATA)
    np.testing.assert_array_equal(picture(tmp_path / "out" / "1_label.png"), expected)
    np.testing.assert_array_equal(picture(tmp_path / "out" / "1_gt.png"), colored(expected))


def test_subfolders_are_mirrored(tmp_path, optical):
    weights, _ = optical
    places = ["1", "test_A/1", "test_A/2", "test_B/1"]
    for seed, place in enumerate(places):
        write_optical(tmp_path / "in" / f"{place}.tif", fields(40, 50, len(GF2), seed))
    assert run(tmp_path / "in", tmp_path / "out", weights).written == 4
    expected = {f"{place}{end}" for place in places for end in ("_gt.png", ".xml")}
    assert set(files_of(tmp_path / "out")) == expected
    for seed, place in enumerate(places):
        labels = fields(40, 50, len(GF2), seed)
        np.testing.assert_array_equal(picture(tmp_path / "out" / f"{place}_gt.png"), colored(labels))


def tree(path: Path) -> list:
    """An XML file as (tag, text or children), in order."""

    def of(element):
        return element.tag, [of(child) for child in element] or element.text

    assert path.read_bytes().startswith(b"<?xml")
    return of(ElementTree.parse(path).getroot())


def annotation(filename: str, origin: str, result: str, provider="jingwei", author="jingwei", time="2020-07-2020-11"):
    research = [("version", "4.0"), ("provider", provider), ("author", author), ("pluginname", "地物标注"),
                ("pluginclass", "标注"), ("time", time)]  # fmt: skip
    source = [("filename", filename), ("origin", origin)]
    return "annotation", [("source", source), ("research", research), ("segmentation", [("resultfile", result)])]


def test_annotations_are_as_the_contest_wants_them(tmp_path, radar, call):
    weights, _ = radar
    write_radar(tmp_path / "in" / "test_A", "3", fields(20, 30, len(GF3)))
    run(tmp_path / "in", tmp_path / "out", weights)
    assert tree(tmp_path / "out" / "test_A" / "3.xml") == annotation("3_HH.tiff", "GF3", "3_gt.png")
    maker = ["--origin", "GF3 <FSI> & more", "--provider", "经纬", "--author", "a", "--time", "2021"]
    how = ["--checkpoint", weights, "--device", "cpu", "--engine", "torch"]
    assert call("inference.py", tmp_path / "in", tmp_path / "named", *how, *maker)[0] == 0
    expected = annotation("3_HH.tiff", "GF3 <FSI> & more", "3_gt.png", "经纬", "a", "2021")
    assert tree(tmp_path / "named" / "test_A" / "3.xml") == expected


def test_optical_annotations_name_the_picture(tmp_path, optical):
    write_optical(tmp_path / "in" / "a b.v2.tif", fields(20, 30, len(GF2)))
    run(tmp_path / "in", tmp_path / "out", optical[0])
    assert tree(tmp_path / "out" / "a b.v2.xml") == annotation("a b.v2.tif", "GF2", "a b.v2_gt.png")


def test_own_data_are_not_said_to_be_the_contests():
    sample = Sample("1", (Path("1.tif"),))
    own = Annotation().of(JINGWEI).xml(sample, "1_gt.png").decode()
    assert "GF2" not in own
    assert "2020" not in own
    told = Annotation(origin="drone", time="2026-06").of(JINGWEI).xml(sample, "1_gt.png").decode()
    assert "<origin>drone</origin>" in told
    assert "<time>2026-06</time>" in told
    assert "<origin>GF2</origin>" in Annotation(time="2021").of(GF2).xml(sample, "1_gt.png").decode()


# ---- a real network ----


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_of_any_wrapping_predicts_on_a_cpu_by_the_bare_command(tmp_path, monkeypatch, call, prefix):
    torch.manual_seed(0)
    model = build_model(ModelSpec("attention_unet", "mobilenetv3_small_050", 3, len(GF2)), (90,) * 3, (50,) * 3)
    made = Checkpoint(model.spec, "uint8", (90.0,) * 3, (50.0,) * 3, GF2, {}, model.state_dict())
    wrapped = replace(made, weights={prefix + name: tensor for name, tensor in made.weights.items()})
    save_checkpoint(tmp_path / "saved" / "GF2" / "11-20_10-00" / "best.pth", wrapped)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 70, 45)).astype(np.uint8)
    write_raster(tmp_path / "in" / "1.tif", pixels)
    monkeypatch.chdir(tmp_path)
    status, out, err = call("inference.py", "in", "out", "--mode", "single", "--precision", "fp32", "--device", "cpu")
    assert (status, err) == (0, "")
    assert "1 samples written: out" in out
    with torch.inference_mode():
        expected = made.build()(torch.from_numpy(pixels[None]).float())[0].argmax(0).numpy()
    np.testing.assert_array_equal(picture(tmp_path / "out" / "1_gt.png"), colored(expected))


# ---- broken samples ----


def test_broken_samples_are_told_and_all_others_are_done(tmp_path, optical, call):
    weights, _ = optical
    labels = {name: fields(150, 140, len(GF2), seed) for seed, name in enumerate(["1", "3", "5"])}
    for name, values in labels.items():
        write_optical(tmp_path / "in" / f"{name}.tif", values)
    cut_off = write_optical(tmp_path / "in" / "2.tif", labels["1"])
    cut_off.write_bytes(cut_off.read_bytes()[:30000])
    (tmp_path / "in" / "4.tif").write_bytes(b"no raster at all")
    write_raster(tmp_path / "in" / "6.tif", np.zeros((5, 30, 30), np.uint8))
    write_radar(tmp_path / "in", "7", labels["1"][:20, :20] % 6)
    write_radar(tmp_path / "in", "8", labels["1"][:20, :20] % 6)
    (tmp_path / "in" / "8_VH.tiff").unlink()
    how = ["--checkpoint", weights, "--device", "cpu", "--engine", "torch", "--window", 128, "--overlap", 32]
    status, out, err = call("inference.py", tmp_path / "in", tmp_path / "out", *how)
    assert status == 1
    assert f"3 samples written, 5 left out: {tmp_path / 'out'}" in out
    lines = err.splitlines()
    assert len(lines) == 5
    for what in ("2.tif: broken or truncated", "4.tif: is not a raster", "3 bands, but .*6.tif has 5",
                 "optical scenes, but .*7_HH.tiff is radar", "sample 8: 8_VH.tiff is missing"):  # fmt: skip
        assert any(re.match(f"error: .*{what}", line) for line in lines), what
    for name, values in labels.items():
        np.testing.assert_array_equal(picture(tmp_path / "out" / f"{name}_gt.png"), colored(values))
    assert set(files_of(tmp_path / "out")) == {f"{name}{end}" for name in labels for end in ("_gt.png", ".xml")}
    again = out.replace("3 samples written", "0 samples written, 3 kept, up to date")
    assert call("inference.py", tmp_path / "in", tmp_path / "out", *how)[:2] == (1, again)


def test_radar_that_is_broken_in_one_file_is_left_out(tmp_path, radar):
    weights, _ = radar
    for name in ("1", "2", "3"):
        write_radar(tmp_path / "in", name, fields(60, 70, len(GF3)))
    broken = tmp_path / "in" / "2_VH.tiff"
    broken.write_bytes(broken.read_bytes()[:9000])
    write_raster(tmp_path / "in" / "3_VV.tiff", np.ones((1, 60, 69), np.float32))
    outcome = run(tmp_path / "in", tmp_path / "out", weights)
    assert outcome.written == 1
    assert [re.search(r"2_VH.tiff|sample 3", str(error))[0] for error in outcome.broken] == ["sample 3", "2_VH.tiff"]


# ---- mistakes ----


@pytest.mark.parametrize("kind", ["optical", "radar"])
def test_a_sample_without_a_valid_pixel_is_told_and_leaves_nothing(kind, tmp_path, optical, radar):
    labels = fields(48, 40, 5)
    if kind == "optical":
        write_optical(tmp_path / "in" / "1.tif", labels, np.zeros(labels.shape, bool))
    else:
        write_radar(tmp_path / "in", "1", labels, np.zeros(labels.shape, bool))
    weights, _ = optical if kind == "optical" else radar
    outcome = run(tmp_path / "in", tmp_path / "out", weights, ids=True)
    assert ["has no valid pixel" in str(error) for error in outcome.broken] == [True]
    assert (outcome.written, files_of(tmp_path / "out")) == (0, {})


def test_samples_of_another_type_than_the_training_are_told(tmp_path, optical, call):
    source = tmp_path / "in"
    write_optical(source / "1.tif", fields(40, 50, 9))
    write_raster(source / "2.tif", np.full((3, 40, 50), 3000, np.uint16))
    status, _, err = call("inference.py", source, tmp_path / "out", "--checkpoint", optical[0])
    assert status == 1
    expected = f"error: {optical[0]}: was trained on pixels of uint8, but {source / '2.tif'} has uint16: convert "
    assert err.startswith(expected)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.xml", "1_gt.png"]


def test_an_annotation_by_somebody_else_is_left_alone(tmp_path, optical, call):
    source, target = tmp_path / "in", tmp_path / "out"
    write_optical(source / "1.tif", fields(40, 50, 9))
    target.mkdir()
    theirs = "<annotation><filename>1.tif</filename><object><name>ship</name></object></annotation>"
    for content in (theirs, "no XML", "", '<?xml version="1.0" encoding="GBK"?><annotation/>'):
        (target / "1.xml").write_text(content)
        status, _, err = call("inference.py", source, target, "--checkpoint", optical[0])
        assert (status, err.count("\n")) == (2, 1)
        assert f"{target / '1.xml'}: is there already" in err
        assert [path.read_text() for path in target.iterdir()] == [content]
    (target / "1.xml").unlink()
    for _ in range(2):  # ours is no obstacle
        assert call("inference.py", source, target, "--checkpoint", optical[0], "--author", "me")[0] == 0


def test_id_masks_of_other_settings_do_not_stay(tmp_path, optical):
    write_optical(tmp_path / "in" / "1.tif", fields(40, 50, 9))
    order = Inference(tmp_path / "in", tmp_path / "out", optical[0], SMALL, ids=True)
    mask = tmp_path / "out" / "1_label.png"
    infer(order)
    infer(replace(order, ids=False))  # the same settings: it still tells what the picture does
    assert mask.exists()
    infer(replace(order, ids=False, settings=replace(SMALL, tta="flips")))
    assert not mask.exists()
    write_png(mask, np.zeros((40, 50), np.uint8))  # somebody's own
    infer(replace(order, ids=False))
    assert mask.exists()
    mask.write_text("version https://git-lfs.github.com/spec/v1")  # and one that is not here yet
    infer(replace(order, ids=False, settings=replace(SMALL, tta="d4")))
    assert mask.exists()


def test_what_comes_next_scores_the_samples_that_have_labels(tmp_path, optical, call):
    source, target = tmp_path / "my samples", tmp_path / "out"
    labels = fields(40, 50, 9)
    write_optical(source / "1.tif", labels)
    _, out, _ = call("inference.py", source, target, "--checkpoint", optical[0])
    assert "next:" not in out
    write_png(source / "lbl" / "1_gt.png", colored(labels))
    _, out, _ = call("inference.py", source, target, "--checkpoint", optical[0])
    following = shlex.split(out.splitlines()[-1].split("next: ")[1])
    assert following[:2] == ["python", "evaluate.py"]
    status, out, _ = call(*following[1:])
    assert status == 0
    assert "1 labels" in out


def test_mistakes_get_one_line_and_status_2(tmp_path, optical, radar, call, monkeypatch):
    weights, _ = optical
    write_optical(tmp_path / "in" / "1.tif", fields(30, 40, len(GF2)))
    write_raster(tmp_path / "bands" / "1.tif", np.zeros((5, 30, 30), np.uint8))
    write_optical(tmp_path / "labelled" / "1.tif", fields(30, 40, len(GF2)))
    write_png(tmp_path / "labelled" / "1_gt.png", colored(fields(30, 40, len(GF2))))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    before = files_of(tmp_path)
    mistakes = [
        (["nowhere", "out", "--checkpoint", weights], "nowhere: no such folder"),
        ([weights, "out", "--checkpoint", weights], "is a file, not a folder of samples: give its folder, "),
        ([weights.parent, "out", "--checkpoint", weights.parent], "is a folder: name a checkpoint in it"),
        (["empty", "out", "--checkpoint", weights], "empty: no samples there: put N.tif, or N_HH.tiff"),
        (["in", "out"], "saved: no trained checkpoint .best.pth. there: train one first"),
        (["in", "out", "--checkpoint", "nowhere.pth"], "nowhere.pth: no such file"),
        (["bands", "out", "--checkpoint", weights], "was trained on 3 bands, but bands/1.tif has 5"),
        (["in", "out", "--checkpoint", radar[0]], "radar.pth: was trained on radar scenes, but in/1.tif is optical"),
        (["labelled", "labelled", "--checkpoint", weights], "labelled/1_gt.png: .*not written by inference.py"),
        (["in", "out", "--mode", "whole"], "--mode.*whole.*sliding"),
        (["in", "out", "--mode", "single", "--window", "64"], "--mode single: means nothing to --window"),
        (["in", "out", "--checkpoint", weights, "--window", "16"], "--window: 16 with --overlap"),
        (["in", "out", "--checkpoint", weights, "--tta", "scales"], "--tta.*scales.*flips"),
        (["in", "out", "--checkpoint", weights, "--device", "gpu"], "--device gpu: not usable"),
        (["in", "out", "--check", weights], "--check"),
        (["in"], "output_path"),
    ]
    for arguments, line in mistakes:
        status, _, err = call("inference.py", *arguments)
        assert status == 2, arguments
        assert re.fullmatch(r"error: [^\n]+\n", err), err
        assert re.search(line, err), (line, err)
        assert files_of(tmp_path) == before, arguments


def test_the_newest_checkpoint_is_taken(tmp_path):
    for number, name in enumerate(["GF2/b", "GF2/a", "GF3/c"]):
        path = tmp_path / name / "best.pth"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        (path.parent / "last.pth").write_bytes(b"")
        os.utime(path, ns=(number % 2 * 10**9, number % 2 * 10**9))
    assert find_newest_checkpoint(tmp_path) == tmp_path / "GF2" / "a" / "best.pth"


# ---- done once, the same in any way ----


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five optical samples of three sizes."""
    for seed, shape in enumerate([(300, 140), (128, 128), (30, 20), (128, 128), (300, 140)]):
        write_optical(tmp_path / "in" / f"{seed}.tif", fields(*shape, len(GF2), seed))
    return tmp_path / "in"


def test_what_is_finished_is_not_done_again(tmp_path, optical, folder):
    weights, network = optical
    run(folder, tmp_path / "out", weights)
    before = files_of(tmp_path / "out")

    def again(settings=SMALL, **how) -> tuple[int, int]:
        network.shapes.clear()
        outcome = run(folder, tmp_path / "out", weights, settings, **how)
        assert bool(network.shapes) == bool(outcome.written)
        return outcome.written, outcome.kept

    assert again() == (0, 5)
    assert files_of(tmp_path / "out") == before
    (tmp_path / "out" / "3.xml").unlink()
    assert again() == (0, 5)
    assert files_of(tmp_path / "out") == before
    assert again(annotation=Annotation(author="me")) == (0, 5)
    changed = files_of(tmp_path / "out")
    assert b"<author>me</author>" in changed["0.xml"]
    assert {name for name in before if before[name] != changed[name]} == {f"{n}.xml" for n in range(5)}
    (tmp_path / "out" / "3_gt.png").unlink()
    assert again() == (1, 4)
    (tmp_path / "out" / "3_gt.png").write_bytes(before["3_gt.png"][:-20])  # broken by somebody else
    write_optical(folder / "1.tif", fields(100, 90, len(GF2)))
    assert again()[0] in (1, 2)  # whether its text can still be read is GDAL's affair
    assert again(ids=True) == (5, 0)
    assert again(ids=True, workers=3) == (0, 5)
    assert again(replace(SMALL, tta="flips")) == (5, 0)


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path, optical, folder, monkeypatch):
    weights, network = optical
    run(folder, tmp_path / "whole", weights, ids=True)
    windows = len(network.shapes)
    for stop_at in (1, windows // 2, windows):
        target = tmp_path / f"stopped{stop_at}"
        calls = []

        def stopping(self, pixels, calls=calls, stop_at=stop_at):
            calls.append(1)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            return Nearest.forward(self, pixels)

        with monkeypatch.context() as patch:
            patch.setattr(Nearest, "__call__", stopping)
            with pytest.raises(KeyboardInterrupt):
                infer(Inference(folder, target, weights, SMALL, device="cpu", ids=True))
        done = len(list(target.glob("*_gt.png")))
        assert (target / ".inference").is_dir()
        network.shapes.clear()
        outcome = run(folder, target, weights, ids=True)
        assert (outcome.kept, outcome.written) == (done, 5 - done)
        assert len(network.shapes) <= windows - stop_at + 4  # finished bands are not computed again
        assert files_of(target) == files_of(tmp_path / "whole")


def test_pictures_of_samples_with_a_georeference_say_where_they_lie(tmp_path, optical):
    place = {"crs": "EPSG:32650", "transform": rasterio.transform.from_origin(500000, 4000000, 0.8, 0.8)}
    write_optical(tmp_path / "in" / "1.tif", fields(90, 70, len(GF2)), **place)
    write_optical(tmp_path / "in" / "2.tif", fields(90, 70, len(GF2)))
    run(tmp_path / "in", tmp_path / "out", optical[0], ids=True)
    for name in ("1_gt.png", "1_label.png"):
        with rasterio.open(tmp_path / "out" / name) as written:
            assert (written.crs, written.transform) == (place["crs"], place["transform"])
    beside = {"1_gt.pgw", "1_gt.png.aux.xml", "1_label.pgw", "1_label.png.aux.xml"}
    assert set(files_of(tmp_path / "out")) == beside | {
        f"{n}{end}" for n in (1, 2) for end in (".xml", "_gt.png", "_label.png")
    }
    write_optical(tmp_path / "in" / "1.tif", fields(90, 70, len(GF2)))
    run(tmp_path / "in", tmp_path / "out", optical[0], ids=True)
    assert not beside & set(files_of(tmp_path / "out"))


def test_links_where_unfinished_samples_lie_are_not_followed(tmp_path, optical, folder):
    victim = tmp_path / "elsewhere"
    victim.mkdir()
    (victim / "0.tif").write_text("precious")
    work = tmp_path / "out" / ".inference"
    work.mkdir(parents=True)
    (work / "maps").symlink_to(victim)
    run(folder, tmp_path / "out", optical[0])
    assert files_of(victim) == {"0.tif": b"precious"}


def test_the_number_of_workers_and_of_windows_at_a_time_change_nothing(tmp_path, radar):
    for seed, shape in enumerate([(300, 140), (520, 90), (30, 20)]):
        write_radar(tmp_path / "in", str(seed), fields(*shape, len(GF3), seed))
    results = []
    for workers, batch_size in ((1, 1), (4, 1), (2, 3)):
        target = tmp_path / f"out{workers}"
        run(tmp_path / "in", target, radar[0], workers=workers, batch_size=batch_size, ids=True)
        results.append(files_of(target))
    assert results[0] == results[1] == results[2]


def test_a_second_run_into_the_same_folder_says_so(tmp_path, optical, folder, monkeypatch):
    weights, _ = optical
    write_optical(tmp_path / "others" / "9.tif", fields(30, 40, len(GF2)))
    told = []

    def forward(self, pixels):
        if not told:
            told.append(1)
            with pytest.raises(OutputError, match="another run is writing it"):
                infer(Inference(tmp_path / "others", tmp_path / "out", weights, SMALL, device="cpu"))
        return Nearest.forward(self, pixels)

    monkeypatch.setattr(Nearest, "__call__", forward)
    assert run(folder, tmp_path / "out", weights).written == 5


def test_a_full_disk_is_no_fault_of_a_sample(tmp_path, optical, folder, monkeypatch):
    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PngWriter, "write", full)
    with pytest.raises(OutputError, match="_gt.png: can't be written .No space left"):
        infer(Inference(folder, tmp_path / "out", optical[0], SMALL, device="cpu"))
    assert not list((tmp_path / "out").glob("*_gt.png"))


# ---- engines ----


def test_the_network_is_loaded_once_for_all_samples(tmp_path, optical, folder, monkeypatch):
    built = []
    build = TorchEngine._build
    monkeypatch.setattr(TorchEngine, "_build", lambda self, *how: (built.append(1), build(self, *how)))
    monkeypatch.setattr(prediction, "choose_engine", None)
    assert run(folder, tmp_path / "out", optical[0], replace(SMALL, engine="auto")).written == 5
    assert built == [1]


def test_samples_of_one_size_go_together_the_commonest_first(tmp_path, optical):
    weights, network = optical
    for number, shape in enumerate([(40, 40), (100, 70), (41, 60), (97, 80), (300, 40), (100, 90), (33, 60)]):
        write_optical(tmp_path / "in" / f"{number}.tif", fields(*shape, len(GF2)))
    run(tmp_path / "in", tmp_path / "out", weights)
    assert network.shapes[:3] == [(40, 40), (41, 60), (33, 60)]  # all are 64 x 64 to an engine
    assert network.shapes[3:6] == [(100, 70), (97, 80), (100, 90)]


@pytest.fixture
def counting(monkeypatch):
    """An engine that notes the shapes that it is made ready for, and their number that it holds: [shapes, most]."""
    noted = [[], 0]

    class Counting(ExportedEngine):
        name = "counting"

        def _convert(self, network, bands, precision, calibration):
            self.network = network

        def _prepare(self, height, width):
            noted[0].append((height, width))
            noted[1] = max(noted[1], len(self._ready))

            def answer(window):
                assert window.shape[2:] == (height, width)
                with torch.no_grad():
                    return self.network(torch.from_numpy(window)).numpy()

            return answer

    monkeypatch.setitem(ENGINES, "counting", Counting)
    monkeypatch.setattr(settings, "ENGINES", (*settings.ENGINES, "counting"))
    return noted


def test_samples_of_many_sizes_make_an_engine_ready_for_few(tmp_path, optical, counting):
    weights, network = optical
    shapes = [(s, t) for s in (97, 110, 128) for t in (33, 50, 64)] + [(200, 300), (129, 140), (300, 160)]
    for number, shape in enumerate(shapes):
        write_optical(tmp_path / "in" / f"{number}.tif", fields(*shape, len(GF2)))
    run(tmp_path / "in", tmp_path / "out", weights, replace(SMALL, engine="counting"), ids=True)
    assert counting[0] == [(128, 64), (128, 128)]
    for number, shape in enumerate(shapes):
        np.testing.assert_array_equal(picture(tmp_path / "out" / f"{number}_label.png"), fields(*shape, len(GF2)))
    counting[0].clear()
    for number, side in enumerate(range(40, 700, 32)):
        write_optical(tmp_path / "many" / f"{number}.tif", fields(side, 20, len(GF2)))
    settings = replace(SMALL, engine="counting", mode="single")
    run(tmp_path / "many", tmp_path / "out_many", weights, settings)
    assert len(counting[0]) == len(set(counting[0])) == 21
    assert counting[1] <= base.KEPT


def test_padded_windows_get_the_networks_own_answer(counting):
    torch.manual_seed(0)
    mean = (91.3, 17.7, 203.1)
    model = build_model(ModelSpec("unet_resnet", "resnet18", 3, 4), mean, (50.0, 3.3, 71.0))
    four = Legend("four", GF2.classes[:4])
    checkpoint = Checkpoint(model.spec, "uint8", mean, (50.0, 3.3, 71.0), four, {}, model.state_dict())
    engine = ENGINES["counting"](checkpoint, torch.device("cpu"), torch.float32)
    for shape in [(40, 70), (1, 33), (64, 64)]:
        pixels = np.random.default_rng(0).integers(0, 255, (2, 3, *shape)).astype(np.uint8)
        with torch.no_grad():
            expected = checkpoint.build()(torch.from_numpy(pixels).float()).softmax(1)
        np.testing.assert_allclose(engine(pixels).numpy(), expected.numpy(), atol=1e-4)


def test_a_run_that_goes_on_keeps_its_engine(tmp_path, optical, folder, counting, monkeypatch):
    weights, network = optical
    asked = []

    def choose(name, checkpoint, device, precision, look, megapixels, **how):
        asked.append((name, megapixels, [pixels.shape for pixels, _ in look()]))
        return folder_engine.make_engine("counting", checkpoint, device, precision), None

    class Choice:
        def __init__(self, engine):
            self.engine = engine

    monkeypatch.setattr(folder_engine, "choose_engine", lambda *given, **how: Choice(choose(*given, **how)[0]))
    calls = []

    def stopping(self, pixels):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return Nearest.forward(self, pixels)

    order = Inference(folder, tmp_path / "out", weights, replace(SMALL, engine="auto"), device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(Nearest, "__call__", stopping)
        with pytest.raises(KeyboardInterrupt):
            infer(order)
    counting[0].clear()
    infer(order)
    # One shape's windows have to pay: four of 128 x 128 in each large sample with one in each small one.
    ((name, megapixels, shapes),) = asked
    assert (name, len(shapes)) == ("auto", 4)
    assert megapixels == pytest.approx(2 * 6 * 128 * 128 / 1e6 + 2 * 128 * 128 / 1e6)
    assert counting[0]


def test_a_sample_that_another_engine_has_begun_is_ended_by_it(tmp_path, optical, counting, monkeypatch):
    weights, network = optical
    scene = write_optical(tmp_path / "1.tif", fields(500, 100, len(GF2)))
    job = Job(weights, scene, tmp_path / "map.tif", SMALL.of((500, 100)), device="cpu")
    calls = []

    def stopping(self, pixels):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return Nearest.forward(self, pixels)

    checkpoint = load_checkpoint(weights)
    with monkeypatch.context() as patch:
        patch.setattr(Nearest, "__call__", stopping)
        with pytest.raises(KeyboardInterrupt):
            predict_scene(job, checkpoint)
    other = ENGINES["counting"](checkpoint, torch.device("cpu"), torch.float32)
    assert predict_scene(job, checkpoint, other)
    assert counting[0] == []


def test_what_lies_between_is_gone_with_its_sample(tmp_path, radar, monkeypatch):
    for name in range(8):
        write_radar(tmp_path / "in", str(name), fields(30, 40, len(GF3), name))
    most = {"maps": 0, "scenes": 0}

    def forward(self, pixels):
        for kind in most:
            found = len(list((tmp_path / "out" / ".inference" / kind).glob("*.tif")))
            most[kind] = max(most[kind], found)
        return Nearest.forward(self, pixels)

    monkeypatch.setattr(Nearest, "__call__", forward)
    assert run(tmp_path / "in", tmp_path / "out", radar[0]).written == 8
    assert most["maps"] == 0
    assert 1 <= most["scenes"] <= 3  # the one in work, and those prepared ahead


# ---- what the pictures carry ----


def test_tags_of_a_png_are_text_that_everybody_can_read(tmp_path):
    with PngWriter(tmp_path / "a.png", 2, 3, bands=3, tags={"JINGWEI_STAMP": "0123abcd", "Author": "é"}) as writer:
        writer.write(np.zeros((2, 3, 3), np.uint8))
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.text == {"JINGWEI_STAMP": "0123abcd", "Author": "é"}
    assert read_tags(tmp_path / "a.png")["JINGWEI_STAMP"] == "0123abcd"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# ---- scores of folders ----


def wrong(labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(labels.shape) < 0.3, rng.integers(0, classes, labels.shape), labels).astype(np.uint8)


def counted(pairs, classes: int) -> np.ndarray:
    """The confusion matrix by one numpy histogram: (labels, predictions) pairs, 255 in predictions is missed."""
    total = np.zeros(classes * (classes + 1), int)
    for labels, predictions in pairs:
        known = labels != NODATA
        columns = np.where(predictions == NODATA, classes, predictions)[known].astype(int)
        total += np.bincount(labels[known].astype(int) * (classes + 1) + columns, minlength=len(total))
    return total.reshape(classes, classes + 1)


@pytest.fixture
def scored(tmp_path):
    """A folder of labels in colours and one of predictions, and their (labels, predictions) of GF3."""
    pairs = []
    for seed, (place, shape) in enumerate([("1", (300, 40)), ("a/1", (20, 30)), ("a/10", (20, 30)), ("b/x.y", (5, 5))]):
        labels = fields(*shape, len(GF3), seed)
        labels[:3] = NODATA
        predictions = wrong(labels, len(GF3), seed)
        predictions[-1] = NODATA
        pairs.append((labels, predictions))
        write_png(tmp_path / "labels" / f"{place}_gt.png", colored(labels, GF3))
        write_png(tmp_path / "out" / f"{place}_gt.png", colored(predictions, GF3))
    return tmp_path / "out", tmp_path / "labels", pairs


def test_folders_of_colour_masks_are_scored_as_one(scored):
    out, labels, pairs = scored
    score = score_folders(out, labels, GF3)
    np.testing.assert_array_equal(score.matrix.counts, counted(pairs, len(GF3)))
    assert (score.labels, score.missing) == (4, ())


@pytest.mark.parametrize("name", ["{}_label.png", "{}.png", "{}_gt.tif"])
def test_id_masks_are_scored_too_under_any_of_their_names(scored, name):
    out, labels, pairs = scored
    shutil.rmtree(out)
    for (folder, sample), (_, predictions) in zip(find_masks(labels), pairs, strict=True):
        path = out / folder / name.format(sample)
        if path.suffix == ".tif":
            write_raster(path, predictions[None])
        else:
            write_png(path, predictions)
    np.testing.assert_array_equal(score_folders(out, labels, GF3).matrix.counts, counted(pairs, len(GF3)))


def test_values_of_the_legend_are_those_of_labels_not_of_predictions(tmp_path):
    legend = Legend("two", (LandClass(0, "no", (9, 9, 9), 0), LandClass(1, "yes", (8, 8, 8), 255)), None)
    labels, predictions = np.array([[0, 1, 1, 0]], np.uint8), np.array([[0, 1, 0, NODATA]], np.uint8)
    write_png(tmp_path / "labels" / "1.png", labels * 255)
    write_png(tmp_path / "out" / "1_label.png", predictions)
    counts = score_folders(tmp_path / "out", tmp_path / "labels", legend).matrix.counts
    np.testing.assert_array_equal(counts, counted([(labels, predictions)], 2))


TWO = Legend("two", (LandClass(0, "no", (9, 9, 9), 0), LandClass(1, "yes", (8, 8, 8), 255)), None)


def test_predictions_of_other_software_may_have_the_values_of_labels(tmp_path):
    labels, ids = np.array([[0, 1, 1, 0]], np.uint8), np.array([[0, 1, 0, NODATA]], np.uint8)
    write_png(tmp_path / "labels" / "1.png", labels * 255)
    write_png(tmp_path / "labels" / "2.png", labels * 255)
    assert score_folders(tmp_path / "labels", tmp_path / "labels", TWO).matrix.accuracy == 1
    assert score_pair(tmp_path / "labels" / "1.png", tmp_path / "labels" / "2.png", TWO).accuracy == 1
    # Ours are ids, told by their stamp: 255 is no data.
    with PngWriter(tmp_path / "out" / "1_label.png", 1, 4, tags={"JINGWEI_STAMP": "0"}) as writer:
        writer.write(np.array([[0, NODATA, 0, 0]], np.uint8))
    write_raster(tmp_path / "out" / "2_label.png", labels[None] * 255)
    pairs = [(labels, np.array([[0, NODATA, 0, 0]], np.uint8)), (labels, labels)]
    counts = score_folders(tmp_path / "out", tmp_path / "labels", TWO).matrix.counts
    np.testing.assert_array_equal(counts, counted(pairs, 2))
    # A value that the legend doesn't have, and all that are not ours are ids.
    write_raster(tmp_path / "out" / "2_label.png", ids[None])
    counts = score_folders(tmp_path / "out", tmp_path / "labels", TWO).matrix.counts
    np.testing.assert_array_equal(counts, counted([pairs[0], (labels, ids)], 2))


def test_a_single_pair_may_be_in_colours(scored, call, tmp_path):
    out, labels, pairs = scored
    how = ["--label", labels / "a" / "1_gt.png", "--legend", "gf3", "--json"]
    status, text, err = call("evaluate.py", "--prediction", out / "a" / "1_gt.png", *how)
    assert (status, err, json.loads(text)["confusion"]) == (0, "", counted(pairs[1:2], len(GF3)).tolist())
    write_png(tmp_path / "ids.png", pairs[1][1])
    status, text, err = call("evaluate.py", "--prediction", tmp_path / "ids.png", *how)
    assert (status, err, json.loads(text)["confusion"]) == (0, "", counted(pairs[1:2], len(GF3)).tolist())
    write_png(tmp_path / "0.png", np.array([[0, 255, 255, 0]], np.uint8))
    status, _, err = call("evaluate.py", "--prediction", tmp_path / "0.png", "--label", tmp_path / "0.png")
    assert (status, "0.png: this mask has one class and 255, which is no data" in err) == (2, True)


def test_labels_of_0_and_255_are_refused_where_the_legend_knows_no_255(tmp_path):
    two = Legend("two", (LandClass(0, "no", (9, 9, 9)), LandClass(1, "yes", (8, 8, 8))), None)
    for name in ("1", "2"):
        write_png(tmp_path / "labels" / f"{name}.png", np.array([[0, 255, 255, 0]], np.uint8))
        write_png(tmp_path / "out" / f"{name}_gt.png", np.array([[0, 1, 1, 0]], np.uint8))
    with pytest.raises(InputError, match="1.png: this mask and all others have one class and 255") as raised:
        score_folders(tmp_path / "out", tmp_path / "labels", two)
    assert '{"id": 1, "name": "yes", "color": "#080808", "value": 255}' in str(raised.value)
    assert '"value": 0 for no' in str(raised.value)
    said = replace(two, classes=(replace(two.classes[0], value=0), two.classes[1]))  # 255 is no label, then
    assert score_folders(tmp_path / "out", tmp_path / "labels", said).matrix.counts.sum() == 4


@pytest.mark.parametrize("legend", ["gf3", "values.json"])
def test_labels_without_a_labelled_pixel_are_no_table_of_dashes(legend, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = [{"id": i, "name": "ab"[i], "color": f"#00000{i}", "value": i + 7} for i in range(2)]
    (tmp_path / "values.json").write_text(json.dumps({"classes": values}))
    blank = np.full((9, 9), NODATA, np.uint8)
    write_png(tmp_path / "labels" / "1.png", blank)
    write_png(tmp_path / "out" / "1_gt.png", blank)
    for places in (("out", "labels"), ("out/1_gt.png", "labels/1.png")):
        status, text, err = call("evaluate.py", "--prediction", places[0], "--label", places[1], "--legend", legend)
        assert (status, text.startswith("legend "), text.count("\n")) == (2, True, 1)
        assert re.fullmatch(r"error: labels[^\n]*(no pixel there has a label|nothing but 255)[^\n]*\n", err), err


def test_missing_predictions_are_named_and_count_as_wrong(scored, call):
    out, labels, pairs = scored
    (out / "a" / "10_gt.png").unlink()
    (out / "b" / "x.y_gt.png").unlink()
    write_png(out / "9_gt.png", colored(pairs[0][0], GF3))  # of no label: it doesn't count
    expected = [*pairs[:2], *((known, np.full_like(known, NODATA)) for known, _ in pairs[2:])]
    status, text, err = call("evaluate.py", "--prediction", out, "--label", labels, "--legend", "gf3", "--json")
    content = json.loads(text)
    assert status == 1
    assert err == "no prediction, so all wrong: 2 of 4: a/10_gt.png, b/x.y_gt.png\n"
    assert content["confusion"] == counted(expected, len(GF3)).tolist()
    assert (content["labels"], content["missing"]) == (4, ["a/10_gt.png", "b/x.y_gt.png"])
    assert content["without_label"] == 1
    _, text, _ = call("evaluate.py", "--prediction", out, "--label", labels, "--legend", "gf3")
    assert "4 labels; predictions without a label, left out: 1\n" in text
    matrix = ConfusionMatrix(len(GF3))
    matrix.counts += counted(expected, len(GF3))
    assert {key: content[key] for key in ("fwiou", "miou", "kappa", "classes")} == {
        key: scores(matrix, GF3)[key] for key in ("fwiou", "miou", "kappa", "classes")
    }


def test_a_folder_scored_prints_its_table(scored, call):
    out, labels, pairs = scored
    status, text, err = call("evaluate.py", "--prediction", out, "--label", labels, "--legend", "gf3")
    assert (status, err) == (0, "")
    for word in ("4 labels", "FWIoU", "mIoU", "kappa", *GF3.names):
        assert word in text


@pytest.mark.parametrize("place", ["houses/test/lbl", "houses/test", "houses"])
def test_the_legend_of_a_data_set_is_found_from_its_labels(place, scored, call, monkeypatch):
    out, labels, pairs = scored
    root = out.parent
    monkeypatch.chdir(root)
    shutil.copytree(labels, root / "houses" / "test" / "lbl")
    (root / place / "legend.json").write_text(json.dumps(GF3.to_dict()))
    status, text, err = call("evaluate.py", "--prediction", "out", "--label", "houses/test/lbl")
    assert (status, err) == (0, "")
    assert text.startswith(f"legend {place}/legend.json: {len(GF3)} classes, {GF3.names[0]}")
    status, told, err = call("evaluate.py", "--prediction", "out", "--label", "houses/test/lbl", "--json")
    assert (status, err, json.loads(told)["confusion"]) == (0, "", counted(pairs, len(GF3)).tolist())
    with monkeypatch.context() as patch:  # one beside the data of a cut comes after the cut's own
        patch.chdir(root / "houses")
        (root / "houses" / "train").mkdir()
        (root / "houses" / "train" / "legend.json").write_text(json.dumps(GF2.to_dict()))
        status, text, _ = call("evaluate.py", "--prediction", "../out", "--label", "test/lbl", "--data_dir", ".")
    assert text.startswith("legend train/legend.json" if place == "houses" else "legend test/")


def test_samples_without_folders_of_their_own_are_found_by_their_ids(tmp_path):
    labels = fields(20, 30, len(GF3))
    write_png(tmp_path / "labels" / "1.png", colored(labels, GF3))
    write_png(tmp_path / "out" / "img" / "1_gt.png", colored(labels, GF3))
    assert score_folders(tmp_path / "out", tmp_path / "labels", GF3).matrix.accuracy == 1
    write_png(tmp_path / "out" / "other" / "1_gt.png", colored(labels, GF3))  # which of them?
    with pytest.raises(InputError, match="out: holds no prediction of the 1 labels"):
        score_folders(tmp_path / "out", tmp_path / "labels", GF3)


def test_pictures_beside_masks_are_no_masks(tmp_path):
    for name in ("1.tif", "1_gt.png", "2_HH.tiff", "2_label.png", "2_gt.png", "3.xml", ".4_gt.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".inference").mkdir()
    assert {key: path.name for key, path in find_masks(tmp_path).items()} == {
        (".", "1"): "1_gt.png",
        (".", "2"): "2_gt.png",
    }


def test_folders_that_can_not_be_scored_get_one_line(scored, call):
    out, labels, pairs = scored
    write_png(out / "a" / "1_gt.png", colored(pairs[1][1][:-1], GF3))
    (out.parent / "empty").mkdir()
    how = ["--prediction", out, "--label", labels, "--legend"]
    for arguments, line in [
        ([*how, "gf3"], r"1_gt.png: 30 x 19 px, but 1_gt.png is 30 x 20"),
        ([*how, "jingwei"], r"_gt.png: has colours that legend jingwei does not know"),
        ([*how, "gf3", "--dry_run"], "--dry_run: tells nothing of folders"),
        (
            ["--prediction", out, "--label", labels / "1_gt.png"],
            "1_gt.png: is a file, but .* is a folder: give two files or two folders",
        ),
        (["--prediction", out / "1_gt.png", "--label", labels], "1_gt.png: is a file, but .*labels is a folder"),
        (["--prediction", out / "nowhere", "--label", labels], "nowhere: no such folder"),
        (["--prediction", out, "--label", out.parent / "empty"], "no masks there"),
    ]:
        status, _, err = call("evaluate.py", *arguments)
        assert status == 2, arguments
        assert re.fullmatch(r"error: [^\n]+\n", err), err
        assert re.search(line, err), (line, err)


def test_what_inference_writes_scores_1_against_its_truth(tmp_path, optical, call):
    for number, shape in enumerate([(30, 40), (200, 140)]):
        labels = fields(*shape, len(GF2), number)
        write_optical(tmp_path / "data" / "img" / f"{number}.tif", labels)
        write_png(tmp_path / "data" / "lbl" / f"{number}_gt.png", colored(labels))
    run(tmp_path / "data", tmp_path / "out", optical[0])
    how = ["--prediction", tmp_path / "out", "--label", tmp_path / "data" / "lbl", "--legend", "gf2", "--json"]
    status, text, _ = call("evaluate.py", *how)
    assert status == 0
    assert json.loads(text)["fwiou"] == json.loads(text)["accuracy"] == 1
