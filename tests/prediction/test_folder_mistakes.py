"""What is wrong with folders of samples: one line says so, and all other samples are done."""

import os
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from nearest import (
    SMALL,
    colored,
    fields,
    files_of,
    picture,
    run,
    write_optical,
    write_radar,
    write_raster,
)

from jingwei.legend import GF2, GF3
from jingwei.prediction.folder import find_newest_checkpoint, infer
from jingwei.prediction.folder_items import Inference
from jingwei.raster.png import write_png

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


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
