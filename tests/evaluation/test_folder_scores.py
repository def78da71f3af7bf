"""Scores of folders of masks: colours and ids under any of their names, and what has no prediction."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from nearest import (
    colored,
    fields,
    write_raster,
)

from jingwei.errors import InputError
from jingwei.evaluation.folders import find_masks, score_folders, score_pair
from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.legend import GF2, GF3, NODATA, LandClass, Legend
from jingwei.raster.png import PngWriter, write_png

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


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
