"""What is labelled and what is not; and few labels split into whole groups, with a gap, as areas are to be used."""

import numpy as np
import pytest
import shapely
from scipy import ndimage
from test_drawn import Over, draw, drawn, whole

import jingwei
import jingwei.crops.table
from jingwei.crops.drawn_split import split_drawn
from jingwei.crops.field_split import GAP
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import TRAIN, VALIDATION, label_path
from jingwei.errors import InputError, SettingError
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.labels.groups import NOTHING, find_groups, read_features
from jingwei.labels.rules import ONLY_TEST, TRAINING, rules_of
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.raster.crop_files import read_label_crop
from jingwei.raster.png import write_png
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore:.*crs.*", "ignore::rasterio.errors.NotGeoreferencedWarning")
SIDE = 600


def blobs(count, seed, side=SIDE):
    rng = np.random.default_rng(seed)
    shapes = [shapely.Point(*rng.uniform(0, side, 2)).buffer(rng.uniform(3, 25), quad_segs=4) for _ in range(count)]
    return shapes, rng.integers(0, 5, count).tolist()


@pytest.fixture
def scene(tmp_path):
    rng = np.random.default_rng(0)
    write_png(tmp_path / "image_1.png", rng.integers(1, 255, (SIDE, SIDE, 3), dtype=np.uint8))
    return tmp_path / "image_1.png"


def labels_of_sides(data):
    """The labels of each side of the crops, put together again."""
    sides = {side: np.full((SIDE, SIDE), NODATA, np.uint8) for side in (TRAIN, VALIDATION)}
    for crop in jingwei.crops.table.read_crops(data / "train" / "crops.csv"):
        labels = read_label_crop(label_path(data / "train", crop))
        known = labels != NODATA
        assert crop.valid == known.sum() > 0
        sides[crop.split][crop.window.slices][known] = labels[known]
    return sides


def test_groups_of_polygons_stay_whole_and_apart(scene, tmp_path):
    shapes, ids = blobs(120, 1)
    over = Over(SIDE, SIDE)
    label = draw(tmp_path / "drawn.gpkg", shapes, over=over, class_id=ids)
    expected = whole(drawn(label, over))
    assert 0.1 < (expected != NODATA).mean() < 0.5
    jingwei.cut([(scene, label)], tmp_path / "data", crop_size=128, workers=2)
    sides = labels_of_sides(tmp_path / "data")
    train, validation = (sides[side] != NODATA for side in (TRAIN, VALIDATION))
    assert not (train & validation).any()
    for side in sides.values():
        np.testing.assert_array_equal(side[side != NODATA], expected[side != NODATA])
    near = ndimage.binary_dilation(train, np.ones((2 * GAP + 1, 2 * GAP + 1)))
    assert not (near & validation).any()
    missing = (expected != NODATA) & ~train & ~validation
    assert (missing <= near).all()
    regions, count = ndimage.label(expected != NODATA, np.ones((3, 3)))
    for number in range(1, count + 1):  # what touches, of whatever class, is on one side
        here = regions == number
        assert not ((train & here).any() and (validation & here).any())
    share = validation.sum() / (train | validation).sum()
    assert 0.1 < share < 0.35
    assert set(np.unique(expected[validation])) == set(range(5))


def test_features_that_overlap_or_touch_are_a_group(tmp_path):
    """Also over a corner, and the parts of one feature that another one has cut in two."""
    over = Over(60, 60)
    shapes = [shapely.box(0, 0, 5, 5), shapely.box(5, 5, 9, 9), shapely.box(20, 0, 50, 4), shapely.box(30, 0, 34, 60),
              shapely.box(10, 30, 12, 32), shapely.box(13, 30, 15, 32), shapely.box(52, 50, 58, 58),
              shapely.box(51, 49, 59, 59)]  # fmt: skip
    labels = drawn(draw(tmp_path / "a.gpkg", shapes, over=over, class_id=[1, 2, 3, 4, 1, 1, 2, 3]), over)
    groups = find_groups(labels)
    assert groups.of_feature.tolist() == [0, 0, 1, 1, 2, 3, NOTHING, 4]  # the last but one is covered
    assert groups.pixels.tolist() == [[0, 25, 16, 0, 0], [0, 0, 0, 104, 240], [0, 4, 0, 0, 0], [0, 4, 0, 0, 0],
                                      [0, 0, 0, 80, 0]]  # fmt: skip
    assert read_features(labels, Window(0, 0, 1, 6)).tolist() == [[0, 0, 0, 0, 0, NOTHING]]


def test_most_of_a_scene_or_one_group_is_split_in_blocks(scene, tmp_path):
    over = Over(SIDE, SIDE)
    for name, shapes in {"most": [shapely.box(0, 0, 500, 500)], "one": [shapely.box(0, 0, 200, 200)]}.items():
        more = [shapely.box(560, 10 * k, 564, 10 * k + 4) for k in range(9)]
        label = draw(tmp_path / f"{name}.gpkg", [*shapes, *more], over=over, class_id=[1] + [2] * 9)
        kept, sides = split_drawn(Workspace(tmp_path / name), [Scene(scene, label)], CutSettings(), JINGWEI)
        assert (kept, sides) == ([Scene(scene, label)], {})


@pytest.fixture
def areas(tmp_path):
    shapes = [shapely.box(0, 0, 100, 600), shapely.box(300, 0, 400, 300), shapely.box(300, 300, 400, 600),
              shapely.box(500, 0, 600, 600)]  # fmt: skip
    return draw(tmp_path / "areas.gpkg", shapes, over=Over(SIDE, SIDE), use=["train", "Validation", None, "test"])


def test_areas_say_what_is_labelled_and_what_for(scene, tmp_path, areas):
    over = Over(SIDE, SIDE)
    shapes = [shapely.box(20, 20, 60, 60), shapely.box(150, 20, 190, 60), shapely.box(380, 100, 420, 140),
              shapely.box(450, 50, 550, 90)]  # fmt: skip
    label = draw(tmp_path / "drawn.gpkg", shapes, over=over, class_id=[1, 2, 3, 4])
    found = whole(drawn(label, over, labelled=areas))
    background = np.zeros((SIDE, SIDE), bool)
    background[:, :100] = background[:, 300:400] = background[:, 500:] = True
    expected = np.where(background, np.uint8(0), np.uint8(NODATA))
    expected[20:60, 20:60], expected[20:60, 150:190], expected[100:140, 380:420] = 1, 2, 3
    expected[50:90, 450:550] = 4
    np.testing.assert_array_equal(found, expected)

    jingwei.cut([(scene, label)], tmp_path / "data", crop_size=128, workers=2, labelled=areas)
    sides = labels_of_sides(tmp_path / "data")
    train, validation = (sides[side] != NODATA for side in (TRAIN, VALIDATION))
    assert train[:, :100].all()
    assert train[20:60, 150:190].all()
    assert not validation[:, :300].any()
    assert not validation[:, 400:].any()
    assert (sides[VALIDATION][: 300 - GAP, 300:380] == expected[: 300 - GAP, 300:380]).all()
    assert train[300 + GAP :, 300:400].all()
    assert not train[:, 500 - GAP :].any()
    assert not validation[:, 500 - GAP :].any()
    assert train[50:90, 450 : 500 - GAP].all()


def test_only_the_areas_for_testing_are_scored(tmp_path, areas):
    over = Over(SIDE, SIDE)
    label = draw(tmp_path / "drawn.gpkg", [shapely.box(450, 50, 550, 90)], over=over, class_id=[4])
    labels = drawn(label, over, labelled=areas)
    object.__setattr__(labels, "rules", labels.rules.only(ONLY_TEST))
    found = whole(labels)
    assert (found[:, 500:] != NODATA).all()
    assert (found[:, :500] == NODATA).all()
    write_png(tmp_path / "map.png", np.zeros((SIDE, SIDE), np.uint8))
    scores = jingwei.evaluate(tmp_path / "map.png", label, labelled=areas)
    assert scores["pixels"] == 100 * 600
    assert scores["classes"]["building"]["pixels"] == 50 * 40


def test_all_else_is_background_where_that_is_said(tmp_path):
    over = Over(40, 50)
    label = draw(tmp_path / "a.gpkg", [shapely.box(0, 0, 10, 10)], over=over, class_id=[2])
    assert drawn(label, over, background_outside=True).count().tolist() == [1900, 0, 100, 0, 0]
    empty = draw(tmp_path / "empty.gpkg", [], over=over, class_id=np.zeros(0, int))
    assert drawn(empty, over, background_outside=True).count().tolist() == [2000, 0, 0, 0, 0]
    with pytest.raises(
        SettingError, match="`background_outside`: legend gf3 has no background class: draw all classes"
    ):
        drawn(label, over, GF3, background_outside=True)


def test_areas_that_can_not_be_used(tmp_path):
    over = Over(40, 50)
    label = draw(tmp_path / "a.gpkg", [shapely.box(0, 0, 10, 10)], over=over, class_id=[2])
    for shapes, use, legend, message in (
        (
            [shapely.box(0, 0, 9, 9)],
            ["traning"],
            JINGWEI,
            "field use has other words .* 'traning' .* did you mean train",
        ),
        ([shapely.box(0, 0, 9, 9)], [None], GF3, "legend gf3 has no background class"),
        ([], np.zeros(0, object), JINGWEI, "has no features: draw the areas"),
    ):
        path = draw(tmp_path / "areas.gpkg", shapes, over=over, use=use)
        with pytest.raises((InputError, SettingError), match=message):
            drawn(label, over, legend, labelled=path)
        path.unlink()
    path = draw(tmp_path / "areas.gpkg", [shapely.box(0, 0, 9, 9)], over=over, use=["test"])
    assert drawn(label, over, GF3, labelled=path).count()[2] == 100  # nothing is made background
    assert rules_of(labelled=path).only(TRAINING).facts["areas"]


def test_the_same_bytes_again_and_another_split(scene, tmp_path):
    over = Over(SIDE, SIDE)
    shapes, ids = blobs(60, 3)
    label = draw(tmp_path / "drawn.gpkg", shapes, over=over, class_id=ids)
    seen = []
    for fraction in (0.2, 0.2, 0.5, 0.2):
        jingwei.cut([(scene, label)], tmp_path / "data", crop_size=128, workers=1 + len(seen), val_fraction=fraction)
        train = tmp_path / "data" / "train"
        seen.append(
            {p.relative_to(train): p.read_bytes() for p in train.rglob("*") if p.is_file() and ".parts" not in p.parts}
        )
    assert seen[0] == seen[1] == seen[3]
    assert seen[0] != seen[2]
    assert jingwei.cut([(scene, label)], tmp_path / "data", crop_size=128, val_fraction=0)[0].split != VALIDATION


def test_a_scene_named_like_a_side_of_another_one_is_refused(scene, tmp_path):
    shapes, ids = blobs(120, 1)
    label = draw(tmp_path / "drawn.gpkg", shapes, over=Over(SIDE, SIDE), class_id=ids)
    twin, twins_label = tmp_path / "image_1_train.png", tmp_path / "label.png"
    twin.write_bytes(scene.read_bytes())
    write_png(twins_label, np.ones((SIDE, SIDE), np.uint8))
    with pytest.raises(InputError, match="image_1_train.png: is named image_1_train, as the crops of one side of"):
        jingwei.cut([(scene, label), (twin, twins_label)], tmp_path / "data", crop_size=128, workers=2)
