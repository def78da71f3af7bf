"""Samples to label: drawn blind, read back, and what areas.py and evaluate.py say of them."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import shapely
import shapely.affinity
from drawn_maps import PLACES, blobs, tiff
from measured_areas import write_zones

from jingwei.errors import InputError, SettingError
from jingwei.evaluation.accuracy import allocate, assess
from jingwei.evaluation.areas import measure_areas
from jingwei.evaluation.sampling_design import FIELD, accuracy_numbers, accuracy_table, draw_sample, score_sample
from jingwei.evaluation.statement import state
from jingwei.legend import GF3, JINGWEI, NODATA, legend_from_dict
from jingwei.polygons.reading import read_features
from jingwei.raster.georeference import placed, vector_transform

ROOT = Path(__file__).resolve().parents[2]


# ---- samples ----


@pytest.mark.parametrize("place", PLACES)
def test_a_sample_goes_out_blind_and_comes_back(tmp_path, field_map, place):
    source, target = tiff(tmp_path / "map.tif", field_map, place), tmp_path / "sample.gpkg"
    shares = draw_sample(source, target, JINGWEI, 200, seed=3)
    shapes, columns, _ = read_features(target)
    assert shares.sum() == len(shapes) == 200
    rows, cols = columns["row"], columns["col"]
    assert len({*zip(rows.tolist(), cols.tolist(), strict=True)}) == 200
    np.testing.assert_array_equal(np.bincount(field_map[rows, cols], minlength=5), shares)
    x, y = placed(vector_transform(PLACES[place][1]), cols + 0.5, rows + 0.5)
    np.testing.assert_allclose(shapely.get_coordinates(shapes), np.stack([x, y], axis=1))
    assert set(columns) == {"id", "row", "col", FIELD}
    assert all(value is None for value in columns[FIELD])
    assert (np.diff(field_map[rows, cols].astype(int)) != 0).sum() > 100  # in no order of the map's classes

    truth = np.roll(field_map, 6, axis=0)
    truth[truth == NODATA] = 0
    label(target, [str(k) if k % 2 else JINGWEI.names[k].upper() for k in truth[rows, cols]])
    scored = score_sample(target, source, JINGWEI)
    expected = np.zeros((5, 5), int)
    np.add.at(expected, (field_map[rows, cols], truth[rows, cols]), 1)
    np.testing.assert_array_equal(scored.counts, expected)
    assert scored.unlabelled == 0
    known = assess(expected, np.bincount(field_map.ravel(), minlength=5)[:5])
    np.testing.assert_array_equal(scored.accuracy.area.value, known.area.value)
    assert f"{float(known.overall.value):.3f} +- " in accuracy_table(scored, JINGWEI)
    row = accuracy_numbers(scored, JINGWEI)["classes"]["corn"]
    assert row["estimated_pixels"] == pytest.approx(known.area.value[2] * (field_map != NODATA).sum())
    assert ("estimated_hectares" in row) == (place != "nowhere")


def label(path, values):
    """Writes labels into a sample, as somebody would in QGIS: the file's notes stay."""
    import sqlite3

    with sqlite3.connect(path) as base:
        base.create_function("ST_IsEmpty", 1, lambda geometry: 0)
        for name, x in (("ST_MinX", 0), ("ST_MaxX", 0), ("ST_MinY", 0), ("ST_MaxY", 0)):
            base.create_function(name, 1, lambda geometry, x=x: x)
        base.executemany(f'UPDATE "{Path(path).stem}" SET {FIELD} = ? WHERE id = ?', [
            (value, k + 1) for k, value in enumerate(values)
        ])  # fmt: skip


def test_every_pixel_of_a_class_has_the_same_chance(tmp_path):
    labels = np.zeros((6, 8), np.uint8)
    labels[:, 5:] = 1
    source, hits = tiff(tmp_path / "map.tif", labels), np.zeros(labels.shape)
    for seed in range(60):
        target = tmp_path / f"{seed}.gpkg"
        draw_sample(source, target, JINGWEI, 12, seed=seed, strip_rows=4)
        _, columns, _ = read_features(target)
        np.add.at(hits, (columns["row"], columns["col"]), 1)
    for k in (0, 1):
        share = hits[labels == k] / 60
        expected = allocate([30, 18], 12)[k] / (labels == k).sum()
        assert abs(share - expected).max() < 4.5 * math.sqrt(expected * (1 - expected) / 60)


def test_a_sample_is_the_same_for_a_seed_and_all_strips(tmp_path, field_map):
    source = tiff(tmp_path / "map.tif", field_map)
    contents = {}
    for name, seed, rows in (("a", 0, 256), ("b", 0, 7), ("c", 1, 256)):
        target = tmp_path / name / "sample.gpkg"
        draw_sample(source, target, JINGWEI, 60, seed=seed, strip_rows=rows)
        contents[name] = target.read_bytes()
    assert contents["a"] == contents["b"] != contents["c"]


def test_more_points_than_pixels_takes_all(tmp_path):
    labels = np.array([[0, 0, 1], [1, 1, NODATA]], np.uint8)
    shares = draw_sample(tiff(tmp_path / "map.tif", labels), tmp_path / "sample.gpkg", JINGWEI, 90)
    np.testing.assert_array_equal(shares[:2], [2, 3])


def test_every_sample_can_be_scored_once_it_is_labelled(tmp_path, field_map):
    """Of a class with a single pixel, that pixel says all; of any other, one point tells no variance."""
    field_map[field_map == 4] = 0
    field_map[200, 100] = 4
    source = tiff(tmp_path / "map.tif", field_map)
    with pytest.raises(SettingError, match="`sample`: is 9, but .* has 5 classes.*: take 10 or more"):
        draw_sample(source, tmp_path / "few.gpkg", JINGWEI, 9)
    for points in (10, 11, 60):
        target = tmp_path / f"{points}.gpkg"
        draw_sample(source, target, JINGWEI, points)
        _, columns, _ = read_features(target)
        truth = field_map[columns["row"], columns["col"]]
        label(target, [str(k) for k in truth])
        scored = score_sample(target, source, JINGWEI)
        assert scored.accuracy.overall == (1, 0)
        assert state(scored, source, JINGWEI, other=source).against.difference == 0
        label(target, [str(0 if k == 4 else k) for k in truth])
        assert score_sample(target, source, JINGWEI).accuracy.area.value[4] == 0


def test_a_name_goes_before_the_id_of_another_class(tmp_path, field_map):
    """Names may be codes, and differ by their capitals alone."""
    names = ("1", "10", "11", "2", "Corn", "corn")
    entries = [{"id": k, "name": name, "color": f"#00000{k}"} for k, name in enumerate(names)]
    legend = legend_from_dict({"classes": entries})
    source, target = tiff(tmp_path / "map.tif", field_map), tmp_path / "sample.gpkg"
    field_map[field_map == 4] = 5
    source = tiff(source, field_map)
    draw_sample(source, target, legend, 60)
    _, columns, _ = read_features(target)
    label(target, [legend.names[k] for k in field_map[columns["row"], columns["col"]]])
    assert score_sample(target, source, legend).accuracy.overall.value == 1


def test_points_without_a_label_are_left_out_and_told(tmp_path, field_map):
    source, target = tiff(tmp_path / "map.tif", field_map), tmp_path / "sample.gpkg"
    draw_sample(source, target, JINGWEI, 100)
    _, columns, _ = read_features(target)
    values = [str(k) for k in field_map[columns["row"], columns["col"]]]
    label(target, [*values[:80], *[None, ""] * 10])
    scored = score_sample(target, source, JINGWEI)
    assert scored.unlabelled == 20
    assert scored.counts.sum() == 80
    assert "20 points have no label yet" in accuracy_table(scored, JINGWEI)


def test_samples_that_make_no_sense(tmp_path, field_map):
    source, target = tiff(tmp_path / "map.tif", field_map), tmp_path / "sample.gpkg"
    draw_sample(source, target, JINGWEI, 100)
    before = target.read_bytes()
    with pytest.raises(SettingError, match="is there already"):
        draw_sample(source, target, JINGWEI, 100)
    assert target.read_bytes() == before
    with pytest.raises(InputError, match="has 0 labelled points where the map says background"):
        score_sample(target, source, JINGWEI)
    label(target, ["wheat"] * 100)
    with pytest.raises(InputError, match="does not know: 'wheat' .100 features.: known are 0 background"):
        score_sample(target, source, JINGWEI)
    label(target, ["1"] * 100)
    field_map[100:110] = 2
    with pytest.raises(InputError, match="drawn from another map"):
        score_sample(target, tiff(tmp_path / "other.tif", field_map), JINGWEI)
    with pytest.raises(InputError, match="no field 'label'"):
        score_sample(write_zones(tmp_path / "zones.gpkg", [shapely.Point(1, 1)]), source, JINGWEI)
    far = write_zones(tmp_path / "far.gpkg", [shapely.Point(1, 1)], ["1"], field="label")
    with pytest.raises(InputError, match="1 points lie outside"):
        score_sample(far, source, JINGWEI)
    corner = shapely.Point(placed(PLACES["north up"][1], 3, 3))
    with pytest.raises(InputError, match="1 points lie where .* has no class"):
        score_sample(write_zones(tmp_path / "corner.gpkg", [corner], ["1"], field="label"), source, JINGWEI)
    blank = tiff(tmp_path / "blank.tif", np.full((9, 9), NODATA, np.uint8))
    with pytest.raises(InputError, match="has no pixel of any class"):
        draw_sample(blank, tmp_path / "blank.gpkg", JINGWEI, 100)
    with pytest.raises(SettingError, match="not a GeoPackage"):
        draw_sample(source, tmp_path / "sample.geojson", JINGWEI, 100)


# ---- the command line ----


@pytest.fixture
def project(tmp_path, field_map):
    """A project with one cut scene, a vote and a filled map."""
    data = tmp_path / "data"
    for folder, name in (("image3", "image_3"), ("mask3", "vote"), ("mask3", "filled")):
        path = data / "test" / folder / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiff(path, field_map if name != "vote" else np.zeros_like(field_map))
    return data


def test_bare_commands_take_the_final_map_of_each_scene(call, project, field_map):
    status, out, err = call("polygons.py", "--data_dir", project)
    assert (status, "filled.tif" in out) == (0, True), err
    _, columns, _ = read_features(project / "polygons" / "image_3.gpkg")
    assert columns["area_px"].sum() == ((field_map != NODATA) & (field_map != 0)).sum()
    assert "kept, it is up to date" in call("polygons.py", "--data_dir", project)[1]
    status, out, _ = call(
        "polygons.py", "--data_dir", project, "--format", "geojson", "--background", "--classes", "corn"
    )
    assert status == 0
    assert set(read_features(project / "polygons" / "image_3.geojson")[1]["name"]) == {"background", "corn"}

    status, out, _ = call("evaluate.py", "--data_dir", project, "--areas", "--json", "--gsd", "10")
    numbers = json.loads(out)["image_3"]
    assert numbers["classes"]["corn"]["hectares"] == pytest.approx((field_map == 2).sum() / 100)
    zones = project / "polygons" / "image_3.gpkg"
    status, out, _ = call("evaluate.py", "--data_dir", project, "--zones", zones, "--zone_name", "name", "--json")
    assert json.loads(out)["image_3"]["zones"]["corn"]["classes"]["corn"]["pixels"] == (field_map == 2).sum()
    assert "cured tobacco" in call("evaluate.py", "--data_dir", project, "--zones", zones)[1]

    sample = project / "sample" / "image_3.gpkg"
    status, out, _ = call("evaluate.py", "--data_dir", project, "--sample", "50", "--seed", "4")
    assert (status, str(sample) in out) == (0, True)
    _, columns, _ = read_features(sample)
    label(sample, [str(k) for k in field_map[columns["row"], columns["col"]]])
    status, out, err = call("evaluate.py", "--data_dir", project, "--sample_file", sample)
    assert (status, "1.000 +- 0.000" in out) == (0, True), err
    assert json.loads(call("evaluate.py", "--data_dir", project, "--sample_file", sample, "--json")[1])["accuracy"] == 1


@pytest.mark.parametrize(("script", "arguments", "message"), [
    ("polygons.py", "--input a.tif", "--input and --output go together"),
    ("polygons.py", "--input a.tif --output b.gpkg", "a.tif: no such file"),
    ("polygons.py", "--classes wheat", "no class 'wheat'"),
    ("polygons.py", "--simplify -1", "--simplify"),
    ("polygons.py", "--gsd 0", "--gsd"),
    ("polygons.py", "--legend gf3 --background", "legend gf3 has no background"),
    ("polygons.py", "--data_dir nowhere", "no cut scenes there"),
    ("evaluate.py", "--areas --label a.tif", "--label: goes with scores"),
    ("evaluate.py", "--areas --dry_run", "--dry_run: goes with scores"),
    ("evaluate.py", "--zones nowhere.gpkg", "nowhere.gpkg: no such file"),
    ("evaluate.py", "--sample 0", "--sample"),
    ("evaluate.py", "--sample 9 --sample_file a.gpkg", "--sample_file: is one file"),
    ("evaluate.py", "--sample_file a.gpkg", "a.gpkg: is not named like a scene .image_3."),
    ("evaluate.py", "--prediction a.tif --sample_file b.gpkg", "a.tif: no such file"),
])  # fmt: skip
def test_mistakes_get_one_line(call, project, tmp_path, monkeypatch, script, arguments, message):
    monkeypatch.chdir(tmp_path)
    words = arguments.split() + ([] if "--data_dir" in arguments else ["--data_dir", str(project)])
    status, _, err = call(script, *words)
    assert status == 2
    assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", err), err


def test_a_legend_without_background(tmp_path):
    areas, _ = measure_areas(tiff(tmp_path / "map.tif", blobs(30, 30, 6, 2)), GF3)
    assert (areas.pixels > 0).all()
