"""export.py: which network, where to, with what."""

import shutil
from pathlib import Path

import pytest

KEPT = Path(__file__).resolve().parents[1] / "data" / "version_0_3_0"


@pytest.fixture
def road(tmp_path):
    shutil.copytree(KEPT / "road", tmp_path / "road")
    return tmp_path / "road"


def test_the_best_experiment_is_exported_with_its_card(call, road):
    status, out, err = call("export.py", "--data_dir", road, "--tile", 64)
    assert (status, err) == (0, "")
    assert (road / "export/cross_entropy_old.onnx").is_file()
    assert (road / "export/cross_entropy_old.json").is_file()
    assert "cross_entropy_old.onnx" in out


def test_a_checkpoint_of_other_classes_than_the_crops_is_exported_and_radar_explained(call, road):
    target = road / "radar.onnx"
    status, out, _ = call(
        "export.py", "--data_dir", road, "--checkpoint", KEPT / "radar/best.pth", "--output", target, "--tile", 64
    )
    assert status == 0
    assert target.is_file()
    assert "decibels" in out


@pytest.mark.parametrize(("flags", "line"), [
    (("--tile", 100), "error: --tile: is 100 px: take a multiple of 32"),
    (("--output", "x.pt"), "error: x.pt: does not end in .onnx"),
    (("--exp", "nobody/nothing"), "nothing"),
])  # fmt: skip
def test_mistakes_give_one_line(call, road, flags, line):
    status, _, err = call("export.py", "--data_dir", road, *flags)
    assert status == 2
    assert line in err
    assert err.count("\n") == 1


def test_no_card_takes_the_place_of_another_file(call, road):
    legend = road / "legend.json"
    legend.write_text((road / "train" / "legend.json").read_text())
    status, _, err = call("export.py", "--data_dir", road, "--tile", 64, "--output", road / "legend.onnx")
    assert status == 2
    assert "legend.json: is there already, and is no model card: give legend.onnx another name" in err
    assert legend.read_text() == (road / "train" / "legend.json").read_text()
    for _ in range(2):
        assert call("export.py", "--data_dir", road, "--tile", 64)[0] == 0


def test_int8_without_crops_asks_for_a_scene(call, road, tmp_path):
    shutil.rmtree(road / "train")
    status, _, err = call("export.py", "--data_dir", road, "--int8", "--tile", 64)
    assert status == 2
    assert "--scene" in err
