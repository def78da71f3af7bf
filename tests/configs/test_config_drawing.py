"""Drawn masks of system B: a config says how they are read, by the names of the flags."""

import numpy as np
import pyogrio
import pytest
import shapely
from config_files import TINY, changed

from jingwei.configs.config import config_from_dict
from jingwei.crops.prepare import FolderData, prepare_training
from jingwei.crops.table import label_path, read_crops
from jingwei.errors import InputError, SettingError
from jingwei.labels.areas import GAP
from jingwei.labels.rules import AS_DRAWN, TRAINING, rules_of
from jingwei.legend import GF2, NODATA
from jingwei.raster.crop_files import read_label_crop
from jingwei.raster.png import write_png

SIDE = 64
pytestmark = pytest.mark.filterwarnings("ignore:.*crs.*")


def draw(path, shapes, **columns):
    """Shapes (x the column, y the row) with their columns, as they lie in QGIS without a place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wkb = shapely.to_wkb(shapely.transform(np.array(shapes, object), lambda xy: xy * [1, -1]))
    data = [np.array(values, object if isinstance(values[0], str) else None) for values in columns.values()]
    pyogrio.raw.write(path, wkb, data, list(columns), geometry_type="Unknown", crs=None)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two pictures; of the first, the mask is a square above another one, and a line."""
    root = tmp_path / "samples"
    for name in "12":
        write_png(root / "img" / f"{name}.png", np.full((SIDE, SIDE, 3), 90, np.uint8))
    shapes = [shapely.box(0, 0, 30, 30), shapely.box(20, 0, 50, 30), shapely.LineString([(5, 50), (60, 50)])]
    draw(root / "lbl" / "1_gt.gpkg", shapes, kind=[1, 2, 3], other=[2, 3, 1], above=[9, 5, 1])
    draw(root / "lbl" / "2_gt.gpkg", shapes[:2], kind=[1, 2], other=[2, 3], above=[1, 2])
    return root


def labels_of(data, cache):
    """The labels of the first picture, as training reads them."""
    train = prepare_training(data, cache, 1).train
    found = np.full((SIDE, SIDE), NODATA, np.uint8)
    for crop in read_crops(train / "crops.csv"):
        if crop.scene == "1":
            found[crop.window.slices] = read_label_crop(label_path(train, crop))
    return found


def data_of(folder, **keys):
    args = {f"train_loader__args__{name}": value for name, value in keys.items()}
    own = {
        "train_loader__args__data_dir": str(folder),
        "val_loader__args__data_dir": str(folder),
        "trainer__val": False,
    }
    return config_from_dict(changed(TINY, trainer__monitor="off", **own, **args)).data


def test_a_config_says_how_masks_are_read(folder, tmp_path):
    keys = {"label_field": "kind", "buffer": "2px", "order": "above"}
    data = data_of(folder, **keys, background_outside=True)
    assert data.rules == rules_of(**keys, background_outside=True).only(TRAINING)
    found = labels_of(data, tmp_path / "cache")
    assert (found[:30, :30] == 1).all()  # the order turns what lies above round
    assert (found[:30, 30:50] == 2).all()
    assert (found[48:52, 5:60] == 3).all()
    assert (found[35:45] == GF2.background).all()
    other = labels_of(data_of(folder, **keys | {"label_field": "other"}), tmp_path / "cache")
    assert (other[:30, :30] == 2).all()
    assert (other[35:45] == NODATA).all()


def test_areas_for_testing_are_not_trained_on(folder, tmp_path):
    shapes = [shapely.box(0, 0, 10, SIDE), shapely.box(10, 0, SIDE, SIDE)]
    areas = draw(tmp_path / "areas.gpkg", shapes, use=["test", ""])
    how = {"label_field": "kind", "buffer": "2px", "labelled": str(areas)}
    found = labels_of(data_of(folder, **how), tmp_path / "cache")
    assert (found[:, : 10 + GAP] == NODATA).all()
    assert (found[:30, 10 + GAP : 20] == 1).all()
    assert (found[35:45, 10 + GAP :] == GF2.background).all()
    draw(areas, shapes[:1], use=["validation"])
    with pytest.raises(InputError, match="areas.gpkg: has areas for training or validation"):
        labels_of(data_of(folder, **how), tmp_path / "cache")


@pytest.mark.parametrize("uses", [["test"], ["test", ""]])
def test_masks_that_are_rasters_know_areas_for_testing_alone(folder, tmp_path, uses):
    for name in "12":
        (folder / "lbl" / f"{name}_gt.gpkg").unlink()
        write_png(folder / "lbl" / f"{name}_gt.png", np.tile(np.arange(SIDE, dtype=np.uint8) % 3, (SIDE, 1)))
    boxes = [shapely.box(0, 0, 10, SIDE), shapely.box(30, 0, 40, SIDE)]
    areas = draw(tmp_path / "areas.gpkg", boxes[: len(uses)], use=uses)
    data = data_of(folder, labelled=str(areas))
    if len(uses) > 1:
        with pytest.raises(InputError, match="that are not for testing, but its labels are a raster"):
            labels_of(data, tmp_path / "cache")
        return
    found = labels_of(data, tmp_path / "cache")
    assert (found[:, : 10 + GAP] == NODATA).all()
    assert (found[:, 10 + GAP :] == np.arange(SIDE)[10 + GAP :] % 3).all()


def test_what_a_config_gets_wrong_is_named_by_its_key(folder):
    with pytest.raises(SettingError) as caught:
        data_of(folder, buffer="wide", labelled="nowhere.gpkg", background_outside="yes")
    told = str(caught.value)
    assert "train_loader.args.buffer" in told
    assert 'train_loader.args.labelled is "nowhere.gpkg": no such file' in told
    assert "train_loader.args.background_outside is" in told


def test_data_that_was_prepared_before_there_were_rules_stays_up_to_date():
    data = FolderData("samples", GF2)
    assert data.rules == AS_DRAWN
    assert sorted(data.settings) == ["crop_size", "legend", "root", "sar", "split", "val_fraction"]
    assert "drawn" in FolderData("samples", GF2, rules=rules_of(order="above")).settings
