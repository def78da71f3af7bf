"""label.py: what it says, what it writes, and that mistakes get one line."""

import json
import os
import re
import shutil

import pyogrio
import pytest
from projects_to_label import blocky, fill_labels, layer, write_scene, write_votes

import jingwei


@pytest.fixture
def folder(county, tmp_path):
    """A project of which nothing is cut yet."""
    shutil.copytree(county, tmp_path / "p")
    return tmp_path / "p"


def test_before_the_first_map_it_draws_by_what_the_scenes_show(call, folder):
    status, out, err = call("label.py", "--data_dir", folder, "--count", 4, "--window", 40)
    assert status == 0, err
    path = folder / "label" / "image_3" / "next.gpkg"
    assert f"written: {path} (4 places)" in out
    assert "no map yet" in out
    assert "then python generate_train_data.py" in out
    assert pyogrio.read_info(path, layer="places")["features"] == 4


def test_scenes_may_be_named(call, folder):
    image = next(folder.glob("*train*/image_1.png"))
    assert call("label.py", "--data_dir", folder, "--scene", image, "--count", 2, "--window", 40)[0] == 0
    assert [path.parent.name for path in folder.glob("label/*/next.gpkg")] == ["image_1"]


@pytest.mark.parametrize(("flags", "said"), [
    (["--count", "0"], "--count.*0 is below 1"),
    (["--window", "4"], "--window: is 4: give the side of a place in px, from 16 up"),
    (["--simplify", "-1"], "--simplify: is -1"),
    (["--scene", "missing.png"], "missing.png: no such file"),
])  # fmt: skip
def test_mistakes_get_one_line(call, folder, flags, said):
    status, _, err = call("label.py", "--data_dir", folder, *flags)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert re.search(said, err), err
    assert not list(folder.glob("label/*/next.gpkg"))


@pytest.fixture
def mapped(tmp_path):
    """A project with a cut scene, a voted map, and drawn truth with an area for testing."""
    labels = blocky()
    workspace = write_scene(tmp_path, labels)
    scene = workspace.cut_scenes()[0]
    wrong = labels.copy()
    wrong[100:150, 100:150] = 4
    write_votes(workspace, scene, labels, wrong, wrong)
    geojson = {"type": "FeatureCollection", "jingwei_y": "-row"}
    square = [[100, -50], [100, -150], [150, -150], [150, -50], [100, -50]]
    corn = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square]}}
    (tmp_path / "truth").mkdir()
    for name, field, value in (("truth/image_3_label.geojson", "label", "corn"), ("areas.geojson", "use", "test")):
        (tmp_path / name).write_text(json.dumps(geojson | {"features": [corn | {"properties": {field: value}}]}))
    return workspace


def test_a_round_goes_out_and_comes_back(call, mapped):
    where, scene = ("--data_dir", mapped.root), mapped.cut_scenes()[0]
    small = ("--count", 3, "--window", 50, "--labelled", mapped.root / "areas.geojson")
    status, out, err = call("label.py", *where, *small)
    assert status == 0, err
    assert "chosen by entropy of the votes" in out
    assert "on the test areas, after 0 rounds: mIoU" in out
    status, _, err = call("label.py", *where, *small)
    assert status == 2
    assert "next.gpkg: nothing is labelled in it yet: choose a label" in err
    regions = layer(mapped.next_labels(scene), "labels")[1]["guess"]
    fill_labels(mapped.next_labels(scene), regions)
    status, out, _ = call("label.py", *where, *small)
    assert status == 0
    assert f"round_1.gpkg ({len(regions)} labelled regions)" in out
    corrections = mapped.root / "image_3_corrections.geojson"
    corrections.write_text((mapped.root / "truth" / "image_3_label.geojson").read_text())
    status, out, _ = call("label.py", *where, "--add", corrections)
    assert status == 0
    assert "round_2.gpkg (1 labelled region)" in out
    assert "taken in before" in call("label.py", *where, "--add", corrections)[1]
    status, out, _ = call("label.py", *where, "--status", "--labelled", mapped.root / "areas.geojson")
    assert status == 0
    table = {line.split("  ")[0]: line.split()[2:] for line in out.splitlines() if line.startswith("image_3 ")}
    assert list(table) == ["image_3 round_1", "image_3 round_2"]
    assert table["image_3 round_2"] == ["1", "0", "0", "5,000", "0", "0"]
    assert re.findall(r"after (\d) rounds?: mIoU [\d.]+ on 5,000 px", out) == ["0", "1", "2"]
    assert "not comparable" not in out
    assert "not comparable without labels in areas" in call("label.py", *where, "--status")[1]


def test_nothing_labelled_yet_is_said(call, folder):
    status, out, _ = call("label.py", "--data_dir", folder, "--status")
    assert status == 0
    assert "nothing is labelled yet" in out
    assert "next: python label.py" in out
    assert "50 places" not in call("label.py", "--data_dir", folder, "--count", 4, "--window", 40)[1]
    path = folder / "label" / "image_3" / "next.gpkg"
    out = call("label.py", "--data_dir", folder, "--status")[1]
    assert f"next: choose a label for the regions that you are sure of, in {path}" in out


def test_places_without_labels_are_no_training_scenes_and_that_is_said(call, folder):
    for train in folder.glob("*train*"):
        shutil.rmtree(train)
    assert "no train scenes found" in call("generate_train_data.py", "--data_dir", folder)[2]
    out = call("label.py", "--data_dir", folder, "--count", 1000, "--window", 40)[1]
    assert re.search(r"of the 1000 places asked for, \d\d? are there: so many of 40 px have no label yet", out), out
    status, _, err = call("generate_train_data.py", "--data_dir", folder)
    assert status == 2
    assert re.fullmatch(
        r"error: .*label/image_3/next.gpkg: nothing is labelled in it yet: choose a label for .*\n", err
    )


@pytest.mark.parametrize(("content", "said"), [
    ("", "no such file"),
    ('{"type": "FeatureCollection", "features": []}', "has no features"),
    ("not json", "content is not that of .geojson"),
])  # fmt: skip
def test_what_cannot_be_added_gets_one_line(call, mapped, content, said):
    source = mapped.root / "image_3_x.geojson"
    if content:
        source.write_text(content)
    status, _, err = call("label.py", "--data_dir", mapped.root, "--add", source)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert said in err
    assert not mapped.rounds(mapped.cut_scenes()[0]).exists()


def test_the_cut_names_the_training_that_goes_on_from_the_last_network(call, mapped):
    where = ("--data_dir", mapped.root)
    scene = mapped.cut_scenes()[0]
    assert call("label.py", *where, "--count", 3, "--window", 50)[0] == 0
    fill_labels(mapped.next_labels(scene), layer(mapped.next_labels(scene), "labels")[1]["guess"])
    cut = ("generate_train_data.py", *where, "--crop_size", 50)
    status, out, err = call(*cut)
    assert status == 0, err
    assert "--train --exp first" in out
    for name in ("cross_entropy/first", "swa/second"):
        path = mapped.models / name / "best.pt"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        os.utime(path, (0, 9 if "swa" in name else 5))
    assert (
        f"next: python train_swa.py --train --exp round_1 --init_from swa/second --data_dir {mapped.root}"
        in call(*cut)[1]
    )
    path = mapped.models / "swa" / "round_1" / "best.pt"  # and labels were corrected after that
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert "--exp round_2 --init_from swa/round_1" in call(*cut)[1]


def test_areas_that_lie_elsewhere_are_warned_of(call, mapped):
    areas = json.loads((mapped.root / "areas.geojson").read_text().replace("-50]", "-950]").replace("-150]", "-990]"))
    (mapped.root / "away.geojson").write_text(json.dumps(areas))
    flags = ("--data_dir", mapped.root, "--count", 3, "--window", 50, "--labelled", mapped.root / "away.geojson")
    status, out, err = call("label.py", *flags, "--quiet")
    assert status == 0, err
    assert re.search("^warning: no area of .*away.geojson lies in these scenes: check its CRS$", err, re.MULTILINE), err
    assert "no area" not in out


def test_the_function_reads_labels_and_areas_as_the_command_does(mapped, tmp_path):
    scene, areas = mapped.cut_scenes()[0], mapped.root / "areas.geojson"
    jingwei.label(mapped.root, count=1000, window=50, labelled=areas)
    _, places = layer(mapped.next_labels(scene), "places")
    assert not {(50, 100), (100, 100)} & set(zip(places["row"].tolist(), places["col"].tolist(), strict=True))
    source = mapped.root / "image_3_lines.geojson"
    line = {"type": "LineString", "coordinates": [[20, -20], [60, -20]]}
    feature = {"type": "Feature", "geometry": line, "properties": {"crop": "corn", "was": "building"}}
    source.write_text(json.dumps({"type": "FeatureCollection", "jingwei_y": "-row", "features": [feature]}))
    assert jingwei.label(mapped.root, add=source, label_field="crop", buffer="3px")
    (tmp_path / "other").mkdir()
    twin = shutil.copy(scene.image, tmp_path / "other" / scene.image.name)
    with pytest.raises(jingwei.InputError, match="two scenes are named image_3"):
        jingwei.label(mapped.root, [scene.image, twin])


def test_the_function_does_the_same(mapped):
    scene = mapped.cut_scenes()[0]
    how = {"count": 3, "window": 50}
    assert jingwei.label(mapped.root, **how) == [mapped.next_labels(scene)]
    with pytest.raises(jingwei.InputError, match="nothing is labelled"):
        jingwei.label(mapped.root, **how)
    fill_labels(mapped.next_labels(scene), layer(mapped.next_labels(scene), "labels")[1]["guess"])
    jingwei.label(mapped.root, **how)
    assert (mapped.rounds(scene) / "round_1.gpkg").exists()
    added = jingwei.label(mapped.root, add=mapped.root / "truth" / "image_3_label.geojson")
    assert added == [mapped.rounds(scene) / "round_2.gpkg"]


def test_quiet_runs_still_say_what_is_lost(call, mapped):
    content = json.loads((mapped.root / "truth" / "image_3_label.geojson").read_text())
    content["features"].append(content["features"][0] | {"properties": {"label": None}})
    source = mapped.root / "image_3_corrections.geojson"
    source.write_text(json.dumps(content))
    status, out, err = call("label.py", "--data_dir", mapped.root, "--add", source, "--quiet")
    assert (status, out) == (0, "")
    assert err == f"warning: {source}: 1 feature without a class (field label): left out: write one into each\n"


def test_corrections_of_another_name_are_for_the_scene_that_is_named(call, mapped):
    source = mapped.root / "my_corrections.geojson"
    source.write_text((mapped.root / "truth" / "image_3_label.geojson").read_text())
    add = ("label.py", "--data_dir", mapped.root, "--add", source)
    said = f"error: {source}: is named for scene my, which is not among those here (image_3): say by --scene which"
    assert call(*add)[2].startswith(said)
    assert call(*add, "--scene", mapped.cut_scenes()[0].image)[0] == 0
    (round_1,) = mapped.root.glob("label/image_3/round_*.gpkg")
    round_1.unlink()
    assert jingwei.label(mapped.root, [mapped.cut_scenes()[0].image], add=source) == [round_1]
