"""Areas of `labelled` over labels that are a raster: those for testing are kept apart, others are refused."""

import numpy as np
import pyogrio
import pytest
import shapely

import jingwei
from jingwei.crops.table import label_path, read_crops
from jingwei.errors import InputError
from jingwei.inputs.label_files import LabelFiles
from jingwei.labels.areas import GAP
from jingwei.labels.rules import ONLY_TEST, TRAINING, rules_of
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.crop_files import read_label_crop
from jingwei.raster.png import write_png
from jingwei.raster.reading import open_image

SIDE = 96
LABELS = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4) % 5, 24, axis=0), 24, axis=1)
LEFT = shapely.box(0, -SIDE, 40, 0)  # as scenes without a place lie in QGIS: y is -row


def draw(path, shapes, **columns):
    data = [np.array(values, object) for values in columns.values()]
    wkb = shapely.to_wkb(np.array(shapes, object))
    pyogrio.raw.write(path, wkb, data, list(columns), geometry_type="Polygon", crs=None)
    return path


pytestmark = pytest.mark.filterwarnings("ignore:.*crs.*")


@pytest.fixture
def scene(tmp_path):
    """image_1.png and its label; a map of it that is all class 1."""
    image = tmp_path / "train" / "image_1.png"
    image.parent.mkdir()
    write_png(image, np.stack([40 * LABELS + k for k in range(3)], axis=2))
    write_png(image.with_name("image_1_label.png"), LABELS)
    write_png(tmp_path / "map.png", np.ones_like(LABELS))
    return image


def test_labels_in_areas_for_testing_are_not_trained_on(scene, tmp_path):
    areas = draw(tmp_path / "areas.gpkg", [LEFT], use=["test"])
    jingwei.cut([(scene, scene.with_name("image_1_label.png"))], tmp_path, crop_size=32, stride=32, labelled=areas)
    seen = np.full((SIDE, SIDE), NODATA, np.uint8)
    for crop in read_crops(tmp_path / "train" / "crops.csv"):
        seen[crop.window.slices] = read_label_crop(label_path(tmp_path / "train", crop))
    assert (seen[:, : 40 + GAP] == NODATA).all()
    rest = seen[:, 40 + GAP :]
    assert (rest[rest != NODATA] == LABELS[:, 40 + GAP :][rest != NODATA]).all()
    assert (rest != NODATA).mean() > 0.6


def test_only_areas_for_testing_are_scored(scene, tmp_path):
    areas = draw(tmp_path / "areas.gpkg", [LEFT], use=["test"])
    truth = scene.with_name("image_1_label.png")
    scores = jingwei.evaluate(tmp_path / "map.png", truth, labelled=areas)
    assert scores["pixels"] == 40 * SIDE
    assert scores["accuracy"] == np.mean(LABELS[:, :40] == 1)
    elsewhere = draw(tmp_path / "elsewhere.gpkg", [shapely.box(500, -600, 600, -500)], use=["train"])
    assert jingwei.evaluate(tmp_path / "map.png", truth, labelled=elsewhere)["pixels"] == SIDE * SIDE


def test_masks_of_a_folder_too(tmp_path):
    for folder, values in (("maps", np.ones_like(LABELS)), ("truth", LABELS)):
        (tmp_path / folder).mkdir()
        write_png(tmp_path / folder / "7.png", values)
    areas = draw(tmp_path / "areas.gpkg", [LEFT], use=["test"])
    assert jingwei.evaluate(tmp_path / "maps", tmp_path / "truth", labelled=areas)["pixels"] == 40 * SIDE


@pytest.mark.parametrize("use", [None, "train", "validation"])
def test_other_areas_are_refused(scene, tmp_path, use):
    areas = draw(tmp_path / "areas.gpkg", [LEFT, LEFT], use=["test", use])
    with pytest.raises(
        InputError, match="areas.gpkg: has areas in image_1.png that are not for testing, but its labels are a raster"
    ):
        jingwei.cut([(scene, scene.with_name("image_1_label.png"))], tmp_path, labelled=areas)
    assert not (tmp_path / "train" / "crops.csv").exists()


def test_areas_are_among_what_crops_are_made_of(scene, tmp_path):
    """Or other areas would leave the crops of before."""
    areas = draw(tmp_path / "areas.gpkg", [LEFT], use=["test"])
    raster = scene.with_name("image_1_label.png")
    marks = [
        LabelFiles((raster,), rules)
        for rules in (rules_of(), *map(rules_of(labelled=areas).only, (TRAINING, ONLY_TEST)))
    ]
    assert [areas in mark.sources for mark in marks] == [False, True, True]
    assert len({str(mark.reading) for mark in marks}) == 3
    with open_image(scene) as image, marks[2].open(JINGWEI, image) as labels:
        assert (labels.read_label_rows(0, SIDE)[:, 40:] == NODATA).all()
