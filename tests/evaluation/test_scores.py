"""Scores of maps on disk against whole arrays."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from jingwei.errors import InputError
from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.evaluation.scenes import score_file, score_stages, stage_table
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster
from jingwei.raster.writing import TiledWriter
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write_map(path: Path, labels: np.ndarray) -> Path:
    with TiledWriter(path, *labels.shape, nodata=NODATA) as writer:
        writer.write(Window(0, 0, *labels.shape), labels)
    return path


def whole_matrix(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Counted with one plain numpy histogram."""
    known = labels != NODATA
    columns = np.where(predictions == NODATA, 5, predictions)[known].astype(int)
    return np.bincount(labels[known].astype(int) * 6 + columns, minlength=30).reshape(5, 6)


@pytest.fixture
def maps(draw_scene, tmp_path):
    """A scene of more than two strips, its label and a prediction: (folder, valid_HW, labels_HW, predictions_HW)."""
    pixels, labels = draw_scene(600, 150, 4)
    rng = np.random.default_rng(0)
    predictions = np.where(rng.random(labels.shape) < 0.7, labels, rng.integers(0, 5, labels.shape)).astype(np.uint8)
    predictions[300:310] = NODATA
    labels = labels.copy()
    labels[:, 40:50] = NODATA
    write_png(tmp_path / "image_3.png", pixels)
    write_png(tmp_path / "image_3_label.png", labels)
    write_map(tmp_path / "map.tif", predictions)
    return tmp_path, pixels[..., 3] > 0, labels, predictions


def test_strips_add_up_to_the_whole(maps):
    folder, _, labels, predictions = maps
    matrix = score_file(folder / "map.tif", folder / "image_3_label.png", JINGWEI)
    np.testing.assert_array_equal(matrix.counts, whole_matrix(labels, predictions))


def test_labels_are_scored_by_the_legends_values_and_maps_by_ids(maps):
    folder, _, labels, predictions = maps
    values = np.arange(256, dtype=np.uint8)
    values[[1, 4]] = (4, 200)
    write_png(folder / "image_3_label.png", values[labels])
    classes = tuple(replace(c, value=int(values[c.id])) for c in JINGWEI.classes)
    matrix = score_file(folder / "map.tif", folder / "image_3_label.png", replace(JINGWEI, classes=classes))
    np.testing.assert_array_equal(matrix.counts, whole_matrix(labels, predictions))


def test_pixels_outside_the_flight_do_not_count(maps):
    folder, valid, labels, predictions = maps
    matrix = score_file(folder / "map.tif", folder / "image_3_label.png", JINGWEI, scene=folder / "image_3.png")
    expected = whole_matrix(np.where(valid, labels, NODATA), predictions)
    np.testing.assert_array_equal(matrix.counts, expected)
    assert matrix.counts.sum() < (labels != NODATA).sum()


def test_a_perfect_map_scores_1(maps):
    folder, _, _, _ = maps
    matrix = score_file(folder / "image_3_label.png", folder / "image_3_label.png", JINGWEI)
    assert matrix.mean_iou() == matrix.kappa == matrix.fwiou == 1


@pytest.mark.parametrize("other", ["label", "scene"])
def test_files_of_another_size_are_refused(other, maps):
    folder, _, labels, _ = maps
    write_png(folder / "small.png", labels[:-1])
    files = {"label": folder / "image_3_label.png", "scene": folder / "image_3.png"} | {other: folder / "small.png"}
    with pytest.raises(InputError, match=r"150 x 600.*150 x 599|150 x 599.*150 x 600"):
        score_file(folder / "map.tif", files["label"], JINGWEI, scene=files["scene"])


@pytest.mark.parametrize("file", ["map.tif", "image_3_label.png"])
def test_ids_that_the_legend_does_not_know_are_named(file, maps):
    folder, _, labels, _ = maps
    strange = np.where(labels == NODATA, NODATA, 1).astype(np.uint8)
    strange[550, 100] = 8
    (write_map if file == "map.tif" else write_png)(folder / file, strange)
    with pytest.raises(InputError, match=r"ids \[8\], but 5 classes") as raised:
        score_file(folder / "map.tif", folder / "image_3_label.png", JINGWEI)
    assert "map.tif" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_cut_off_label_is_refused(maps):
    folder, _, _, _ = maps
    label = folder / "image_3_label.png"
    label.write_bytes(label.read_bytes()[: label.stat().st_size // 2])
    with pytest.raises(InputError, match="image_3_label.png: broken or truncated"):
        score_file(folder / "map.tif", label, JINGWEI)


@pytest.fixture
def predicted(county, tmp_path):
    """A project with a cut test scene, two predictions, a vote, its agreement and a filled map."""
    root = tmp_path / "project"
    shutil.copytree(county, root)
    workspace = Workspace(root)
    (scene,) = workspace.test_scenes()
    with Raster(scene.image) as image, Raster(scene.label) as label:
        everything = Window(0, 0, *image.shape)
        pixels, valid = image.read(everything)
        labels = label.read(everything)[0][0]
    with TiledWriter(workspace.tiled(scene), *valid.shape, bands=3, mask=True) as writer:
        writer.write(everything, pixels, valid)
    maps = {}
    for seed, name in enumerate(["unet_a", "unet_b", "vote", "filled"]):
        rng = np.random.default_rng(seed)
        wrong = rng.random(labels.shape) < 0.1 * (seed + 1)
        maps[name] = np.where(wrong, rng.integers(0, 5, labels.shape), labels).astype(np.uint8)
        write_map(workspace.masks(scene) / f"{name}.tif", maps[name])
    write_map(workspace.agreement(scene), np.full_like(labels, 100))
    return workspace, np.where(valid, labels, NODATA), maps


def test_every_stage_is_scored_and_the_agreement_is_no_stage(predicted):
    workspace, labels, maps = predicted
    stages = score_stages(workspace, JINGWEI)
    assert sorted(stages) == sorted(maps)
    assert list(stages)[-2:] == ["vote", "filled"]
    for name, predictions in maps.items():
        np.testing.assert_array_equal(stages[name].counts, whole_matrix(labels, predictions))


def test_scenes_add_up(predicted, draw_scene):
    workspace, labels, maps = predicted
    pixels, more = draw_scene(90, 80, 9)
    test = next(workspace.root.glob("*test*/image_3.png")).parent
    write_png(test / "image_4.png", pixels)
    write_png(test / "image_4_label.png", more)
    write_map(workspace.root / "test" / "mask4" / "unet_a.tif", more)
    with TiledWriter(workspace.root / "test" / "image4" / "image_4.tif", 90, 80, bands=3) as writer:
        writer.write(Window(0, 0, 90, 80), pixels[..., :3].transpose(2, 0, 1))
    expected = whole_matrix(labels, maps["unet_a"]) + whole_matrix(more, more)
    np.testing.assert_array_equal(score_stages(workspace, JINGWEI)["unet_a"].counts, expected)


def test_without_labels_or_maps_the_next_step_is_named(predicted):
    workspace, _, _ = predicted
    for path in workspace.root.glob("test/mask3/*.tif"):
        path.unlink()
    with pytest.raises(InputError, match="no maps there: run predict.py first"):
        score_stages(workspace, JINGWEI)
    shutil.rmtree(workspace.root / "truth")
    with pytest.raises(InputError, match="no test scene has a label"):
        score_stages(workspace, JINGWEI)
    shutil.rmtree(workspace.root / "test")
    with pytest.raises(InputError, match="no cut scenes there: run generate_test_data.py first"):
        score_stages(workspace, JINGWEI)


def test_the_table_has_a_line_per_stage_with_its_numbers(predicted):
    workspace, _, _ = predicted
    stages = score_stages(workspace, JINGWEI) | {"empty": ConfusionMatrix(5)}
    lines = stage_table(stages, JINGWEI).splitlines()
    assert [line.split()[0] for line in lines] == ["stage", *stages]
    assert len({len(line) for line in lines}) == 1
    for name in ("unet_a", "filled"):
        content = scores(stages[name], JINGWEI)
        line = next(line for line in lines if line.startswith(f"{name} "))
        expected = [content["miou"], content["miou_with_background"], content["fwiou"], content["kappa"]]
        assert line.split()[1:5] == [f"{value:.4f}" for value in expected]
    assert lines[-1].split()[1:] == ["-"] * 9


def test_maps_with_their_own_georeference_are_scored_pixel_by_pixel(maps):
    folder, _, labels, predictions = maps
    profile = dict(driver="GTiff", height=600, width=150, count=1, dtype="uint8", nodata=NODATA, crs="EPSG:32648")
    with rasterio.open(folder / "far.tif", "w", transform=rasterio.Affine(1, 0, 9e5, 0, -1, 9e5), **profile) as file:
        file.write(predictions, 1)
    matrix = score_file(folder / "far.tif", folder / "image_3_label.png", JINGWEI)
    np.testing.assert_array_equal(matrix.counts, whole_matrix(labels, predictions))
