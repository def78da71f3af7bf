"""predict.py --part: where a part of a map goes, that no stage takes it for a whole one, and what label.py does."""

import os
import shutil

import numpy as np
import pytest
from command_projects import assert_one_line, contents
from projects_to_label import layer

from jingwei.labelling.maps import newest_map
from jingwei.legend import NODATA
from jingwei.prediction import parts
from jingwei.prediction.bands import Bands
from jingwei.raster.reading import Raster, read_tags
from jingwei.workspace import Workspace, confidence_of, probabilities_of

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ("--window", 32, "--overlap", 8, "--device", "cpu")
PART = (*SMALL, "--part", 0.3)


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Groups of windows as in scenes of many thousand pixels."""
    monkeypatch.setattr(parts, "LEAST", 40)


@pytest.fixture
def parted(call, data):
    """A project with a part of a map, and no whole one."""
    for folder in ("test/mask3", "submit"):
        shutil.rmtree(data / folder, ignore_errors=True)
    assert call("predict.py", "--data_dir", data, "--exp", "first", *PART, "--probabilities")[0] == 0
    return data


def part_of(data):
    return data / "test" / "part3" / "cross_entropy_first.tif"


def labels_in(path):
    with Raster(path) as labels:
        return labels.read_label_rows(0, labels.height)


def test_a_part_goes_to_a_place_of_its_own_and_changes_nothing_else(call, data):
    before = contents(data)
    status, out, err = call("predict.py", "--data_dir", data, *PART)
    assert status == 0, err
    assert f"written: {part_of(data)}" in out
    assert "(a part: " in out
    assert "next: python label.py" in out
    after = contents(data)
    assert {name: after[name] for name in before} == before
    new = sorted(set(after) - set(before))
    assert all(name.startswith("test/part3/") for name in new)
    assert {name.split("/", 2)[2] for name in new if name.endswith(".tif")} == {
        f"{folder}cross_entropy_{exp}.tif" for exp in ("first", "second") for folder in ("", "confidence/")
    }
    assert "kept, it is up to date" in call("predict.py", "--data_dir", data, *PART)[1]
    for script in ("vote.py", "fill_hole.py", "evaluate.py"):
        assert call(script, "--data_dir", data)[0] == 0
    assert len(Workspace(data).predictions(Workspace(data).cut_scenes()[0])) == 2


def test_it_leaves_no_submission_and_with_output_a_folder_apart(call, parted, tmp_path):
    assert not (parted / "submit").exists()
    assert call("predict.py", "--data_dir", parted, "--exp", "first", *PART, "--output", tmp_path / "out")[0] == 0
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.tif")) == [
        "image_3/part/confidence/cross_entropy_first.tif", "image_3/part/cross_entropy_first.tif",
    ]  # fmt: skip
    assert not list((tmp_path / "out").rglob("*.png"))


def test_its_pixels_are_those_of_the_whole_map(call, parted):
    assert call("predict.py", "--data_dir", parted, "--exp", "first", *SMALL)[0] == 0
    part, whole = labels_in(part_of(parted)), labels_in(parted / "test" / "mask3" / "cross_entropy_first.tif")
    assert 0.02 < (part != NODATA).mean() < 0.5
    assert (part == whole)[part != NODATA].all()
    for place in (lambda path: path, confidence_of, probabilities_of):
        assert read_tags(place(part_of(parted)))["JINGWEI_PART"] == "0.3"


@pytest.mark.parametrize("command", [
    "vote.py --inputs {part} {part} --output {new}",
    "vote.py --soft --inputs {chances} {chances} --output {new}",
    "fill_hole.py --input {part} --output {new}",
    "evaluate.py --prediction {part} --label {data}/truth/image_3_label.png",
    "evaluate.py --areas --prediction {part}",
    "polygons.py --input {part} --output {new}.gpkg",
], ids=lambda command: command.split(" {")[0])  # fmt: skip
def test_every_stage_refuses_a_part_that_is_named(call, parted, tmp_path, command):
    part = part_of(parted)
    names = {"part": part, "chances": probabilities_of(part), "data": parted, "new": tmp_path / "new.tif"}
    before = contents(tmp_path)
    script, *flags = (word.format(**names) for word in command.split())
    outcome = call(script, *flags)
    assert_one_line(outcome, "cross_entropy_first.tif: is only a part of a map", "run predict.py without --part")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("script", ["vote.py", "fill_hole.py", "evaluate.py", "polygons.py"])
def test_where_only_a_part_is_there_the_stages_say_so(call, parted, script):
    before = contents(parted)
    assert_one_line(call(script, "--data_dir", parted), "only a part of a map in .*part3", "predict.py without --part")
    assert contents(parted) == before


def test_the_report_says_that_it_shows_no_map(call, parted):
    status, out, err = call("report.py", "--data_dir", parted)
    assert status == 0, err
    assert "no map of image_3: only a part of it is predicted; run predict.py without --part" in out


@pytest.mark.parametrize(("flags", "said"), [
    (["--part", "0"], "--part: is 0, not between 0 and 1"),
    (["--part", "1"], "--part: is 1, not between 0 and 1"),
    (["--part", "-0.1"], "--part: is -0.1"),
    (["--part", "10"], "--part: is 10, .*such as 0.1"),
    (["--part", "coarse"], "--part: 'coarse' is not a finite number"),
    (["--part", "nan"], "'nan' is not a finite number"),
    (["--part", ""], "--part"),
    (["--part"], "--part: expected one argument"),
    (["--part", "0.1", "--robustness"], "--part: does not go with --robustness"),
    (["--part", "0.1", "--cog"], "--part: does not go with --cog"),
])  # fmt: skip
def test_mistakes_get_one_line(call, data, flags, said):
    before = contents(data)
    assert_one_line(call("predict.py", "--data_dir", data, *flags), said)
    assert contents(data) == before


def test_a_dry_run_counts_the_windows_of_the_part(call, data):
    before = contents(data)
    status, out, _ = call("predict.py", "--data_dir", data, "--exp", "first", *PART, "--dry_run")
    assert status == 0
    bands = Bands.of((140, 170), 32, 8, 0.3)
    assert f"at most {bands.window_count} windows of 32 px (a part: of {bands.window_count_of_all}), by" in out
    assert bands.window_count < 0.5 * bands.window_count_of_all
    assert contents(data) == before


# ---- label.py ----


def places_in(data):
    _, fields = layer(data / "label" / "image_3" / "next.gpkg", "places")
    return list(zip(fields["row"].tolist(), fields["col"].tolist(), strict=True))


def test_places_are_chosen_in_the_part_alone(call, parted):
    status, out, err = call("label.py", "--data_dir", parted, "--count", 50, "--window", 16)
    assert status == 0, err
    assert "chosen by confidence" in out
    assert f"image_3: judged by a part of its map, {part_of(parted)}" in out
    places = places_in(parted)
    assert f"of the 50 places asked for, {len(places)} are there: so many of 16 px lie wholly in what was predi" in out
    labels = labels_in(part_of(parted))
    with Raster(parted / "test" / "image3" / "image_3.tif") as scene:
        _, valid = scene.read_rows(0, scene.height)
    assert len(places) > 1
    for row, col in places:
        cell = np.s_[row : row + 16, col : col + 16]
        assert ((labels[cell] != NODATA) == valid[cell]).all()


def test_where_no_place_fits_into_the_part_it_says_what_to_do(call, parted):
    outcome = call("label.py", "--data_dir", parted, "--window", 80)
    assert_one_line(
        outcome, "no place of 80 px without labels lies wholly in what", "a smaller --window", "larger --part"
    )
    assert not (parted / "label").exists()


def test_of_a_whole_map_and_a_part_that_of_the_newest_network_is_judged(call, parted):
    workspace = Workspace(parted)
    scene = workspace.cut_scenes()[0]
    whole = parted / "test" / "mask3" / "cross_entropy_first.tif"
    assert newest_map(workspace, scene)[:2] == (part_of(parted), True)
    assert call("predict.py", "--data_dir", parted, "--exp", "first", *SMALL)[0] == 0
    assert newest_map(workspace, scene)[:2] == (whole, False)  # both of one network
    weights = parted / "model" / "cross_entropy" / "first" / "best.pt"
    now = whole.stat().st_mtime_ns
    os.utime(weights, ns=(now + 1, now + 1))  # it has learned on
    assert newest_map(workspace, scene)[:2] == (whole, False)  # but the part was predicted before the whole
    os.utime(part_of(parted), ns=(now + 2, now + 2))
    assert newest_map(workspace, scene)[:2] == (part_of(parted), True)
    os.utime(weights, ns=(now - 1, now - 1))
    shutil.copytree(parted / "model" / "cross_entropy" / "second", parted / "model" / "cross_entropy" / "round_1")
    assert call("predict.py", "--data_dir", parted, "--exp", "cross_entropy/round_1", *PART)[0] == 0
    assert newest_map(workspace, scene)[:2] == (whole, False)  # it is validated worse, and nobody labels in rounds
    out = call("label.py", "--data_dir", parted, "--count", 2, "--window", 16)[1]
    assert f"judged by the whole map, {whole}, not by the part" in out
    assert newest_map(workspace, scene)[:2] == (part_of(parted).with_name("cross_entropy_round_1.tif"), True)
    (parted / "label" / "image_3" / "next.gpkg").unlink()
    out = call("label.py", "--data_dir", parted, "--count", 2, "--window", 16)[1]
    assert f"cross_entropy_round_1.tif, whose network is newer than that of {whole}" in out


def test_a_part_is_not_scored_over_rounds_and_status_says_so(call, parted):
    (parted / "areas.geojson").write_text(AREA)
    where = ("--data_dir", parted, "--labelled", parted / "areas.geojson")
    status, out, err = call("label.py", *where, "--status")
    assert status == 0, err
    assert "not scored, the newest network has predicted but a part: image_3 (predict.py without --part)" in out
    assert "on the test areas" not in call("label.py", *where, "--count", 2, "--window", 16)[1]
    assert call("predict.py", "--data_dir", parted, "--exp", "first", *SMALL)[0] == 0
    assert "after 0 rounds: mIoU" in call("label.py", *where, "--status")[1]


AREA = """{"type": "FeatureCollection", "jingwei_y": "-row", "features": [{"type": "Feature", "properties":
{"use": "test"}, "geometry": {"type": "Polygon", "coordinates": [[[60, -60], [60, -120], [110, -120], [110, -60],
[60, -60]]]}}]}"""
