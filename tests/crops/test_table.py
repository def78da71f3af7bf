"""The table of crops: what it counts, its file, and the statistics of the training crops."""

from dataclasses import replace

import numpy as np
import pytest
from cut_scenes import arrays_of, cut, labels_of

from jingwei.crops.settings import CutSettings
from jingwei.crops.table import TRAIN, VALIDATION, Crop, read_crops, statistics, unlabelled, write_crops
from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_the_table_counts_what_the_label_crops_hold(cut_county):
    root, crops = cut_county
    for crop in crops:
        labels = labels_of(root, crop)
        assert crop.pixels == tuple(int((labels == c).sum()) for c in range(5))
        assert crop.valid == int((labels != NODATA).sum()) > 0


def test_the_table_survives_its_file(cut_county):
    root, crops = cut_county
    assert read_crops(root / "train" / "crops.csv") == crops
    assert {crop.split for crop in crops} == {TRAIN, VALIDATION}


def test_names_with_commas_and_letters_of_all_kinds_survive_the_table(tmp_path):
    crops = [
        Crop('烤烟, "Süd"\'_000000_001024.tif', '烤烟, "Süd"\'', Window(0, 1024, 5, 7), 3, (1, 2), (0.1 + 0.2, 1e-30),
             (1e300, 0.0), split),
        Crop("b.png", "b", Window(1, 2, 3, 4), 2**40, (2**40, 0), (-1.5, 3.0), (0.25, 1.0), VALIDATION),
    ] if (split := TRAIN) else []  # fmt: skip
    write_crops(tmp_path / "crops.csv", crops)
    assert read_crops(tmp_path / "crops.csv") == crops


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x89PNG\xff", b"name,scene,row,col\nx,y,1\n"])
def test_what_is_no_table_of_crops_gives_one_line(content, tmp_path):
    path = tmp_path / "crops.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not (a table of crops|UTF-8 text)") as raised:
        read_crops(path)
    assert "\n" not in str(raised.value)


def test_a_missing_table_says_what_makes_it(tmp_path):
    with pytest.raises(InputError, match="crops.csv: no such file: run generate_train_data.py first"):
        read_crops(tmp_path / "crops.csv")


def test_statistics_are_those_of_all_pixels_of_the_training_crops(cut_county, scenes):
    root, crops = cut_county
    train = [crop for crop in crops if crop.split == TRAIN]
    truth = {scene.name: arrays_of(scene) for scene in scenes}
    inside = [truth[c.scene][0][:, *c.window.slices][:, truth[c.scene][1][c.window.slices]] for c in train]
    everything = np.concatenate(inside, axis=1).astype(np.float64)
    found = statistics(train)
    # Crops at the seam of the two sides weigh as many pixels as have a label there.
    np.testing.assert_allclose(found.mean, everything.mean(axis=1), rtol=0.01)
    np.testing.assert_allclose(found.std, everything.std(axis=1), rtol=0.01)


def test_statistics_are_exact_where_every_pixel_is_labelled(scenes, tmp_path):
    crops = cut(tmp_path, scenes, CutSettings(64, 50, val_fraction=0, keep_background=1))
    truth = {scene.name: arrays_of(scene) for scene in scenes}
    inside = [truth[c.scene][0][:, *c.window.slices][:, truth[c.scene][1][c.window.slices]] for c in crops]
    everything = np.concatenate(inside, axis=1).astype(np.float64)
    np.testing.assert_allclose(statistics(crops).mean, everything.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(statistics(crops).std, everything.std(axis=1), rtol=1e-9)


def test_classes_without_a_training_pixel_are_known(cut_county):
    crops = cut_county[1]
    assert unlabelled(crops, JINGWEI.names, TRAIN) == []
    bare = [replace(c, pixels=(*c.pixels[:2], 0, *c.pixels[3:]) if c.split == "train" else c.pixels) for c in crops]
    assert any(crop.pixels[2] for crop in bare)  # those of validation don't count
    assert unlabelled(bare, JINGWEI.names, TRAIN) == ["corn"]
    assert unlabelled(bare, JINGWEI.names, VALIDATION) == []
    assert unlabelled([], JINGWEI.names, TRAIN) == list(JINGWEI.names)


def test_a_constant_band_has_a_deviation_to_divide_by():
    crop = Crop("a", "a", Window(0, 0, 9, 9), 81, (81,), (5.0,), (0.0,))
    assert statistics([crop, crop]).std == (1.0,)
