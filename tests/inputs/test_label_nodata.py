"""Nodata tags of labels that are a class's value too: refused, kept or ignored; and values that are no label."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

import jingwei
from jingwei.errors import InputError, SettingError
from jingwei.inputs.masks import Mask
from jingwei.legend import GF2, JINGWEI, NODATA, LandClass, Legend, find_legend, legend_from_dict
from jingwei.raster.reading import open_labels

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SHAPE = (200, 300)


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[20:120, 30:130] = 1
    labels[130:190, 30:230] = 2
    return labels


def save(path: Path, bands: np.ndarray, nodata, dtype="uint8", palette=None) -> Path:
    bands = bands if bands.ndim == 3 else bands[None]
    kind = {"height": SHAPE[0], "width": SHAPE[1], "count": len(bands), "dtype": dtype, "nodata": nodata}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="GTiff", **kind) as file:
        file.write(bands.astype(dtype))
        if palette:
            file.write_colormap(1, palette)
            file.colorinterp = [ColorInterp.palette]
    return path


def read(path: Path, legend: Legend, how) -> np.ndarray:
    with how(path, legend) as label:
        return label.read_label_rows(0, SHAPE[0])


VALUED = Legend("valued", tuple(LandClass(i, name, (i, 0, 9), value) for i, (name, value) in
                                enumerate([("land", 10), ("water", 0), ("wood", 20)])), None)  # fmt: skip


@pytest.mark.parametrize("how", [open_labels, Mask])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_tag_that_is_a_class_is_refused_kept_or_ignored(tmp_path, labels, how, dtype, tiled):
    path = save(tmp_path / "label.tif", labels, 0, dtype)
    with pytest.raises(InputError) as refused:
        read(path, JINGWEI, how)
    count = int((labels == 0).sum())
    assert f"its nodata tag is 0, which is also class background of legend jingwei ({count:,d} px)" in str(
        refused.value
    )
    assert "`label_nodata` keep" in str(refused.value)
    assert "gdal_edit.py -unsetnodata label.tif" in str(refused.value)
    np.testing.assert_array_equal(read(path, JINGWEI.with_label_nodata("keep"), how), labels)
    ignored = read(path, JINGWEI.with_label_nodata("ignore"), how)
    np.testing.assert_array_equal(ignored, np.where(labels == 0, NODATA, labels))


@pytest.mark.parametrize("how", [open_labels, Mask])
def test_the_class_is_the_one_that_has_the_value(tmp_path, labels, how):
    path = save(tmp_path / "label.tif", np.choose(labels, [0, 10, 20]), 0)
    with pytest.raises(InputError, match="which is also class water of legend valued"):
        read(path, VALUED, how)
    kept = read(path, VALUED.with_label_nodata("keep"), how)
    np.testing.assert_array_equal(kept, np.choose(labels, [1, 0, 2]))


@pytest.mark.parametrize("how", [open_labels, Mask])
@pytest.mark.parametrize("nodata", [NODATA, 9, 4, None])
def test_other_tags_are_what_they_were(tmp_path, labels, how, nodata):
    """255, a value of no class, and a class of which no pixel is there."""
    labels[0] = NODATA if nodata is None else labels[0] if nodata == 4 else nodata
    path = save(tmp_path / "label.tif", labels, nodata)
    np.testing.assert_array_equal(read(path, JINGWEI, how), np.where(labels == 9, NODATA, labels))


def test_colours_and_palettes_are_looked_up(tmp_path, labels):
    colors = np.array([c.color for c in GF2.classes], np.uint8)[labels].transpose(2, 0, 1)  # class 0 is black
    path = save(tmp_path / "colors.tif", colors, 0)
    with pytest.raises(InputError, match="also class other of legend gf2"):
        read(path, GF2, Mask)
    np.testing.assert_array_equal(read(path, GF2.with_label_nodata("keep"), Mask), labels)
    palette = {i + 3: (*c.color, 255) for i, c in enumerate(GF2.classes)}
    path = save(tmp_path / "palette.tif", labels + 3, 4, palette=palette)
    with pytest.raises(InputError, match="its nodata tag is 4, which is also class building of legend gf2"):
        read(path, GF2, Mask)
    np.testing.assert_array_equal(read(path, GF2.with_label_nodata("keep"), Mask), labels)
    # Black is no class's colour here.
    path = save(
        tmp_path / "black.tif", np.array([(0, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)[labels].T.swapaxes(1, 2), 0
    )
    own = Legend("own", (LandClass(0, "a", (0, 255, 0)), LandClass(1, "b", (0, 0, 255))), None)
    np.testing.assert_array_equal(read(path, own, Mask), np.choose(labels, [NODATA, 0, 1]))


# ---- through the stages ----


@pytest.fixture
def burnt(tmp_path, labels) -> Path:
    """A project whose labels are burnt by gdal_rasterize -a_nodata 0: all of them, of training and of test."""
    noise = np.random.default_rng(0).integers(0, 20, (3, *SHAPE))
    for folder, number in (("x_train", 1), ("x_test", 3)):
        save(tmp_path / folder / f"image_{number}.tif", (labels * 40 + noise).astype(np.uint8), None)
        save(tmp_path / folder / f"image_{number}_label.tif", labels, 0)
    return tmp_path


CUT = ("--crop_size", 64, "--keep_background", 1, "--val_fraction", 0)


def test_cutting_refuses_such_labels_in_one_line_and_does_as_it_is_told(burnt, labels, call):
    cut = ("generate_train_data.py", "--data_dir", burnt, *CUT)
    status, _, err = call(*cut)
    assert (status, err.count("\n")) == (2, 1)
    assert "image_1_label.tif: its nodata tag is 0, which is also class background" in err
    assert "--label_nodata keep" in err
    assert not (burnt / "train" / "crops.csv").exists()
    pixels = {}
    for choice in ("keep", "ignore"):
        status, out, err = call(*cut, "--label_nodata", choice)
        assert status == 0, err
        assert find_legend(str(burnt / "train" / "legend.json")).label_nodata == choice
        rows = (burnt / "train" / "crops.csv").read_text().splitlines()
        pixels[choice] = sum(int(row.split(",")[8]) for row in rows[1:])  # class_0
    assert pixels["ignore"] == 0
    assert pixels["keep"] > 0


def test_doctor_tells_them(burnt, call):
    status, out, _ = call("doctor.py", burnt, "--quick")
    assert status == 1
    assert "its nodata tag is 0, which is also class background" in out
    status, out, _ = call("doctor.py", burnt, "--quick", "--label_nodata", "keep")
    assert "nodata tag" not in out
    assert "background" in out


def test_scores_are_those_of_a_label_without_the_tag(tmp_path, labels, call):
    prediction = save(tmp_path / "map.tif", np.ones_like(labels), NODATA)
    tagged, plain = (save(tmp_path / f"{n}.tif", labels, n) for n in (0, None))
    with pytest.raises(InputError, match="its nodata tag is 0"):
        jingwei.evaluate(prediction, tagged)
    kept = jingwei.evaluate(prediction, tagged, label_nodata="keep")
    assert kept == jingwei.evaluate(prediction, plain)
    ignored = jingwei.evaluate(prediction, tagged, label_nodata="ignore")
    assert ignored["miou"] > kept["miou"]
    status, _, err = call("evaluate.py", "--prediction", prediction, "--label", tagged)
    assert (status, "--label_nodata keep" in err) == (2, True)
    status, out, _ = call(
        "evaluate.py", "--prediction", prediction, "--label", tagged, "--label_nodata", "keep", "--json"
    )
    assert json.loads(out)["miou"] == kept["miou"]


def test_maps_with_the_tag_are_read_by_every_function_that_takes_them(tmp_path, labels):
    tagged = save(tmp_path / "tagged.tif", labels, 0)
    plain = save(tmp_path / "plain.tif", labels, None)
    works = {
        "vote": lambda source, name, **how: jingwei.vote([source], tmp_path / f"{name}_vote.tif", **how),
        "fill": lambda source, name, **how: jingwei.fill(source, tmp_path / f"{name}_filled.tif", **how),
        "polygonize": lambda source, name, **how: jingwei.polygonize(
            source, tmp_path / f"{name}.geojson", pixels=True, **how
        ),
    }
    for work in works.values():
        with pytest.raises(InputError, match="its nodata tag is 0"):
            work(tagged, "refused")
        kept, expected = work(tagged, "kept", label_nodata="keep"), work(plain, "plain")
        if kept.suffix == ".tif":
            np.testing.assert_array_equal(read(kept, JINGWEI, open_labels), read(expected, JINGWEI, open_labels))
        else:
            assert kept.read_text().splitlines()[1:] == expected.read_text().splitlines()[1:]


# ---- in legends ----


def test_legends_keep_what_is_ignored_and_what_the_tag_means():
    content = JINGWEI.to_dict() | {"ignore": [7, 9], "label_nodata": "keep"}
    legend = legend_from_dict(content)
    assert (legend.ignore, legend.label_nodata, legend.has_values) == ((7, 9), "keep", True)
    assert legend.to_dict() == content
    assert legend.without_values() == JINGWEI
    assert "ignore" not in JINGWEI.to_dict()
    with pytest.raises(SettingError, match="`label_nodata` drop: no such choice: take keep or ignore"):
        JINGWEI.with_label_nodata("drop")


@pytest.mark.parametrize(("key", "value", "problem"), [
    ("ignore", [0], '"ignore" names 0, which stands for class \'background\' in masks'),
    ("ignore", [256], '"ignore" is [256], not a list of whole numbers from 0 to 255'),
    ("ignore", 7, '"ignore" is 7, not a list'),
    ("ignore", ["7"], '"ignore" is ["7"], not a list'),
    ("label_nodata", "drop", '"label_nodata" is "drop": known are keep, ignore'),
    ("label_nodata", [], '"label_nodata" is []'),
])  # fmt: skip
def test_what_makes_no_sense_in_a_legend_is_told(key, value, problem):
    with pytest.raises(SettingError) as refused:
        legend_from_dict(JINGWEI.to_dict() | {key: value})
    assert problem in str(refused.value)


@pytest.mark.parametrize("how", [open_labels, Mask])
def test_ignored_values_are_no_label(tmp_path, labels, how):
    labels[labels == 2] = 77
    path = save(tmp_path / "label.tif", labels, None)
    if how is Mask:
        with Mask(path, JINGWEI) as mask:
            mask.read_label_rows(0, SHAPE[0])
            with pytest.raises(InputError, match=r'"value": 77; or "ignore": \[77\], for no label'):
                mask.refuse_unknown()
    legend = legend_from_dict(JINGWEI.to_dict() | {"ignore": [77]})
    np.testing.assert_array_equal(read(path, legend, how), np.where(labels == 77, NODATA, labels))


def test_ignored_values_are_no_label_in_greys_and_under_a_palette(tmp_path, labels):
    legend = legend_from_dict(GF2.to_dict() | {"ignore": [77]})
    grey = np.where(labels == 0, 77, np.array([c.color for c in GF2.classes])[labels].transpose(2, 0, 1))
    np.testing.assert_array_equal(read(save(tmp_path / "g.tif", grey, None), legend, Mask),
                                  np.where(labels == 0, NODATA, labels))  # fmt: skip
    path = save(
        tmp_path / "p.tif", np.where(labels == 0, 77, labels), None, palette={1: (9, 9, 9, 255), 2: (8, 8, 8, 255)}
    )
    np.testing.assert_array_equal(read(path, legend, Mask), np.where(labels == 0, NODATA, labels))
