"""Scores of maps on disk against whole arrays."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from jingwei.errors import InputError
from jingwei.evaluation.folders import score_folders, score_pair
from jingwei.evaluation.metrics import ConfusionMatrix, scores
from jingwei.evaluation.scenes import best_stage, score_file, score_stages, stage_note, stage_table
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
    expected = r"ids 8 \(1 px\) in rows \d+ to \d+, the first at row 550, column 100; .*ends at 4"
    with pytest.raises(InputError, match=expected) as raised:
        score_file(folder / "map.tif", folder / "image_3_label.png", JINGWEI)
    assert str(raised.value).startswith(f"{folder / file}: ")
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


# ---- places ----

HERE = ("EPSG:32648", rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 3e6))
ELSEWHERE = {
    "another origin": ("EPSG:32648", rasterio.Affine(0.5, 0, 5e5 + 40, 0, -0.5, 3e6)),
    "larger pixels": ("EPSG:32648", rasterio.Affine(1, 0, 5e5, 0, -1, 3e6)),
    "south up": ("EPSG:32648", rasterio.Affine(0.5, 0, 5e5, 0, 0.5, 3e6)),
    "another CRS": ("EPSG:32649", HERE[1]),
}


def placed_map(path, labels, place=HERE):
    profile = dict(driver="GTiff", height=len(labels), width=labels.shape[1], count=1, dtype="uint8", nodata=NODATA)
    with rasterio.open(path, "w", crs=place[0], transform=place[1], **profile) as file:
        file.write(labels, 1)
    return path


@pytest.mark.parametrize("place", ELSEWHERE)
@pytest.mark.parametrize("other", ["label", "scene"])
def test_rasters_at_other_places_are_not_scored(tmp_path, maps, place, other):
    _, _, labels, predictions = maps
    files = {name: placed_map(tmp_path / f"{name}.tif", labels) for name in ("label", "scene")}
    placed_map(files[other], labels, ELSEWHERE[place])
    with pytest.raises(InputError, match="lies at another place|is in EPSG") as raised:
        score_file(placed_map(tmp_path / "map.tif", predictions), files["label"], JINGWEI, scene=files["scene"])
    assert "\n" not in str(raised.value)


def test_less_than_a_pixel_is_the_same_place(tmp_path, maps):
    _, _, labels, predictions = maps
    near = (HERE[0], HERE[1] @ rasterio.Affine.translation(0.4, -0.4))
    matrix = score_file(
        placed_map(tmp_path / "a.tif", predictions, near), placed_map(tmp_path / "b.tif", labels), JINGWEI
    )
    np.testing.assert_array_equal(matrix.counts, whole_matrix(labels, predictions))


def test_pairs_and_folders_at_other_places_are_refused(tmp_path, maps):
    _, _, labels, predictions = maps
    for folder in ("guessed", "known"):
        (tmp_path / folder).mkdir()
    far = ELSEWHERE["another origin"]
    placed_map(tmp_path / "guessed" / "1_gt.tif", predictions)
    placed_map(tmp_path / "known" / "1_gt.tif", labels, far)
    with pytest.raises(InputError, match=r"1_gt.tif: lies at another place than 1_gt.tif, .* \(80.0 px apart\)"):
        score_folders(tmp_path / "guessed", tmp_path / "known", JINGWEI)
    with pytest.raises(InputError, match="lies at another place"):
        score_pair(tmp_path / "guessed" / "1_gt.tif", tmp_path / "known" / "1_gt.tif", JINGWEI)


# ---- nodata that is a class ----


def test_a_label_whose_nodata_is_a_class_is_scored_as_somebody_says(tmp_path):
    """A map of one class, over a label of which 71 % is background under a nodata tag of 0."""
    label = np.zeros((512, 512), np.uint8)
    label[100:300, 100:300], label[350:450, 50:450] = 1, 2
    profile = dict(driver="GTiff", height=512, width=512, count=1, dtype="uint8")
    for name, labels, nodata in (("map", np.ones_like(label), 255), ("label", label, 0), ("plain", label, None)):
        with rasterio.open(tmp_path / f"{name}.tif", "w", nodata=nodata, **profile) as file:
            file.write(labels, 1)
    score = score_file
    with pytest.raises(InputError, match="label.tif: its nodata tag is 0, which is also class background"):
        score(tmp_path / "map.tif", tmp_path / "label.tif", JINGWEI)
    keep, ignore = JINGWEI.with_label_nodata("keep"), JINGWEI.with_label_nodata("ignore")
    kept = score(tmp_path / "map.tif", tmp_path / "label.tif", keep)
    np.testing.assert_array_equal(kept.counts, score(tmp_path / "map.tif", tmp_path / "plain.tif", JINGWEI).counts)
    assert kept.accuracy == pytest.approx(200 * 200 / 512**2)
    assert score(tmp_path / "map.tif", tmp_path / "label.tif", ignore).accuracy == 0.5
    with pytest.raises(InputError, match="label.tif: its nodata tag is 0, which is also class background"):
        score(tmp_path / "label.tif", tmp_path / "plain.tif", JINGWEI)  # as a map of other software


# ---- the best stage ----


def stages_of(**hits):
    """Of 200 pixels (or more), 100 are of class 1, of which `hits` were found."""
    stages = {name: ConfusionMatrix(5) for name in hits}
    for name, matrix in stages.items():
        matrix.counts[1, 1], matrix.counts[1, 2], matrix.counts[2, 2] = hits[name], 100 - hits[name], 100
    return stages


def test_the_best_stage_is_named_where_the_last_one_is_not_it():
    stages = stages_of(unet_a=70, vote=90, filled=80)
    assert best_stage(stages, JINGWEI) == "vote"
    expected = [stages[name].mean_iou(JINGWEI.foreground) for name in ("vote", "filled")]
    assert stage_note(stages, JINGWEI) == (
        f"best by mIoU is vote with {expected[0]:.4f}; the last stage, filled, has {expected[1]:.4f}"
    )


def test_nothing_is_said_where_the_last_stage_is_the_best():
    for stages in (stages_of(unet_a=70, vote=80, filled=80), stages_of(filled=3), {}, {"empty": ConfusionMatrix(5)}):
        assert stage_note(stages, JINGWEI) is None


def test_a_stage_that_saw_other_scenes_is_not_compared():
    stages = stages_of(unet_a=99, vote=90, filled=80)
    stages["unet_a"].counts[2, 2] += 1
    assert best_stage(stages, JINGWEI) == "vote"


def test_evaluate_names_the_best_stage(predicted, call):
    workspace, _, _ = predicted
    status, out, err = call("evaluate.py", "--data_dir", workspace.root)
    assert status == 0, err
    assert out.splitlines()[-1].startswith("best by mIoU is unet_a with 0.")
