"""What evaluate.py says of a map by a labelled sample, with its confidence and another map: on small files."""

import json

import numpy as np
import pyogrio
import pytest
import shapely
from drawn_maps import blobs, tiff

import jingwei
from jingwei.errors import InputError, SettingError
from jingwei.evaluation.certificate import Points, certified_part, compare
from jingwei.evaluation.sampling_design import draw_sample, score_sample
from jingwei.evaluation.statement import state
from jingwei.legend import JINGWEI, NODATA
from jingwei.polygons.reading import read_features


@pytest.fixture
def world(tmp_path):
    """A map, its confidence (beside it), another map that is better, and a labelled sample; the truth, uint8 HW."""
    rng = np.random.default_rng(0)
    truth = blobs(300, 130, 5, 4)
    sure = rng.integers(30, 101, truth.shape).astype(np.uint8)
    wrong = (rng.random(truth.shape) < 0.3) & (sure < 60)
    labels = np.where(wrong, (truth + 1) % 5, truth).astype(np.uint8)
    labels[:40, :30] = sure[:40, :30] = NODATA
    mended = np.where(rng.random(truth.shape) < 0.8, truth, labels).astype(np.uint8)
    for name, pixels in (("map", labels), ("other", mended), ("confidence/map", sure)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tiff(tmp_path / f"{name}.tif", pixels)
    draw_sample(tmp_path / "map.tif", tmp_path / "drawn.gpkg", JINGWEI, 600)
    shapes, columns, crs = read_features(tmp_path / "drawn.gpkg", "Point")
    names = np.array([JINGWEI.names[c] for c in truth[columns["row"], columns["col"]]], object)
    names[:7] = None
    pyogrio.raw.write(
        tmp_path / "sample.gpkg", shapely.to_wkb(shapes), [names], ["label"], geometry_type="Point", crs=crs
    )
    return tmp_path, truth, labels, mended, sure


def test_a_statement_is_that_of_the_whole_arrays(world):
    folder, truth, labels, mended, sure = world
    scored = score_sample(folder / "sample.gpkg", folder / "map.tif", JINGWEI)
    rows, cols = scored.places.T
    np.testing.assert_array_equal(scored.points.mapped, labels[rows, cols])
    np.testing.assert_array_equal(scored.points.truth, truth[rows, cols])
    assert (len(rows), scored.unlabelled) == (593, 7)
    files = {"confidence": folder / "confidence" / "map.tif", "other": folder / "other.tif"}
    found = state(scored, folder / "map.tif", JINGWEI, 0.05, strip_rows=77, **files)
    pixels = np.zeros((5, 101), np.int64)
    inside = labels != NODATA
    np.add.at(pixels, (labels[inside], sure[inside]), 1)
    points = Points(labels[rows, cols], truth[rows, cols], sure[rows, cols])
    assert found.part == certified_part(points, pixels, 0.05)
    assert 0.3 <= found.part.share < 1
    assert (labels != truth)[inside & (sure >= found.part.confidence)].mean() <= 0.05
    assert found.against == compare(points, mended[rows, cols] == truth[rows, cols], pixels.sum(axis=1))
    assert found.against.difference > found.against.margin
    assert found.accuracy.low < (labels == truth)[inside].mean() < found.accuracy.high
    assert found.further_points == 3 * 593


def test_the_command_and_the_function_say_the_same(world, call):
    folder = world[0]
    flags = ["--data_dir", folder, "--prediction", folder / "map.tif", "--sample_file", folder / "sample.gpkg"]
    flags += ["--other", folder / "other.tif"]
    status, out, err = call("evaluate.py", *flags, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["certified"]["share"] >= 0.3
    assert found["other"]["better"] > found["other"]["worse"]
    assert found == json.loads(
        json.dumps(jingwei.evaluate(folder / "map.tif", sample=folder / "sample.gpkg", other=folder / "other.tif"))
    )
    status, out, _ = call("evaluate.py", *flags, "--alpha", "0.05")
    share, least = found["certified"]["share"], found["certified"]["confidence"]
    assert f"certified: {share:.1%} of the map, where its confidence is {least} or more: at most 5.0% wrong" in out
    assert "other.tif: accuracy +" in out
    assert "7 points have no label yet" in out
    status, out, _ = call("evaluate.py", *flags, "--alpha", "0.0001")
    assert "certified: no part of the map for 0.0% wrong at most: label more points" in out


def test_without_a_confidence_nothing_is_certified(world):
    folder = world[0]
    (folder / "confidence" / "map.tif").unlink()
    found = jingwei.evaluate(folder / "map.tif", sample=folder / "sample.gpkg")
    assert (found["certified"], found["other"]) == (None, None)
    assert found["accuracy_bounds"][0] == pytest.approx(1 - found["error_at_most"], abs=0.03)


def test_what_cannot_be_stated_is_refused(world):
    folder = world[0]
    scored = score_sample(folder / "sample.gpkg", folder / "map.tif", JINGWEI)
    with pytest.raises(SettingError, match="`alpha`: is 5"):
        state(scored, folder / "map.tif", JINGWEI, 5)
    small = tiff(folder / "small.tif", np.zeros((9, 9), np.uint8))
    for what in ("confidence", "other"):
        with pytest.raises(InputError, match="9 x 9 px"):
            state(scored, folder / "map.tif", JINGWEI, **{what: small})
    wide = tiff(folder / "wide.tif", np.full((300, 130), 200, np.uint8))
    with pytest.raises(InputError, match="holds 200, but a confidence is a percentage"):
        state(scored, folder / "map.tif", JINGWEI, confidence=wide)
    for how in ({}, {"label": folder / "map.tif", "sample": folder / "sample.gpkg"}):
        with pytest.raises(SettingError, match="needs a `label` or a `sample`"):
            jingwei.evaluate(folder / "map.tif", **how)
