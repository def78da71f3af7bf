"""Folders of samples: of any size, in every mode, optical and radar, with what their pictures carry."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from nearest import (
    SMALL,
    brightness,
    colored,
    fields,
    files_of,
    picture,
    run,
    write_optical,
    write_radar,
    write_raster,
)
from PIL import Image

from jingwei.inputs.samples import Sample
from jingwei.legend import GF2, GF3, JINGWEI, NODATA
from jingwei.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from jingwei.models.segmenter import build_model
from jingwei.models.spec import ModelSpec
from jingwei.prediction import folder_items
from jingwei.prediction.annotation_xml import Annotation
from jingwei.prediction.engines.eager import TorchEngine
from jingwei.prediction.engines.views import Viewer
from jingwei.raster.png import PngWriter, write_png
from jingwei.raster.reading import read_tags

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
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


# ---- what the pictures carry ----


def test_tags_of_a_png_are_text_that_everybody_can_read(tmp_path):
    with PngWriter(tmp_path / "a.png", 2, 3, bands=3, tags={"JINGWEI_STAMP": "0123abcd", "Author": "é"}) as writer:
        writer.write(np.zeros((2, 3, 3), np.uint8))
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.text == {"JINGWEI_STAMP": "0123abcd", "Author": "é"}
    assert read_tags(tmp_path / "a.png")["JINGWEI_STAMP"] == "0123abcd"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


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
