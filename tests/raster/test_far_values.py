"""Float values that nothing else comes near: no data where nothing measures them, else a warning with their place."""

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from jingwei.crops.cut import cut_train
from jingwei.crops.settings import CutSettings
from jingwei.crops.table import statistics
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.legend import JINGWEI
from jingwei.raster.far_values import far_value
from jingwei.raster.png import write_png
from jingwei.raster.reading import open_image
from jingwei.raster.validity import LARGEST, measurable
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def scene(bands=3, side=192, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, 0.1, (bands, side, side)).astype(np.float32)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "int32", "float16", "float32", "float64", "complex64"])
def test_what_can_be_measured(kind):
    values = np.array([0, 1, 100], kind)
    assert measurable(values).all()
    if np.dtype(kind).kind in "fc":
        wrong = np.array([np.nan, np.inf, -np.inf], kind)
        assert not measurable(wrong).any()
    if kind in ("float32", "float64", "complex64"):
        assert not measurable(np.array([LARGEST, -1e30, 3.4e38], kind)).any()
        assert measurable(np.array([9e17, -9e17], kind)).all()
    if kind == "complex64":
        assert not measurable(np.array([1e30j, 1 - 1e30j], kind)).any()


@given(st.integers(0, 2), st.integers(0, 191), st.integers(0, 191), st.sampled_from([1e30, -3.4028235e38, 1e9, -1e8]))
def test_a_far_value_is_found_where_it_is(band, row, col, value):
    pixels = scene()
    assert far_value(pixels, np.ones(pixels.shape[1:], bool)) is None
    pixels[band, row, col] = value
    valid = measurable(pixels).all(axis=0)
    found = far_value(pixels, valid, 1000, 2000)
    assert found == (row + 1000, col + 2000, band + 1, np.float32(value), abs(value) >= LARGEST)


def test_usual_scenes_have_none():
    valid = np.ones((192, 192), bool)
    rng = np.random.default_rng(0)
    heights = rng.normal(0, 1000, (1, 192, 192)).astype(np.float32)
    heavy = rng.standard_cauchy((2, 192, 192)).astype(np.float32)
    sparse = np.where(rng.random((1, 192, 192)) < 0.005, 9e5, 0).astype(np.float32)  # nothing usual to compare with
    whole = np.full((1, 192, 192), 30000, np.int16)
    for pixels in (
        heights,
        heavy,
        sparse,
        whole,
        np.zeros((1, 192, 192), np.float32),
        np.full((1, 192, 192), 1e12, "f4"),
    ):
        assert far_value(pixels, valid) is None
    spoilt = scene()
    spoilt[0, 5, 5] = 1e9
    assert far_value(spoilt, np.zeros((192, 192), bool)) is None  # no data there
    assert far_value(np.full((1, 4, 4), np.nan, np.float32), np.zeros((4, 4), bool)) is None


def save(path, pixels: np.ndarray) -> None:
    bands, height, width = pixels.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"height": height, "width": width, "count": bands, "dtype": pixels.dtype}
    with rasterio.open(path, "w", driver="GTiff", **kind) as file:
        file.write(pixels)


def test_what_nothing_can_measure_is_no_data(tmp_path):
    pixels = scene()
    pixels[1, 7, 9] = 1e30
    pixels[0, 8, 9] = -3.4028235e38
    save(tmp_path / "scene.tif", pixels)
    with open_image(tmp_path / "scene.tif") as image:
        for _, valid in (image.read(Window(0, 0, 192, 192)), image.read_rows(0, 192)):
            assert np.argwhere(~valid).tolist() == [[7, 9], [8, 9]]


@pytest.mark.parametrize("value", [1e30, 1e12])
def test_cutting_warns_with_the_place_and_keeps_mean_and_spread(tmp_path, value, call):
    labels = np.add.outer(np.arange(192) // 16, np.arange(192) // 16) % 5
    means = {}
    for name in ("clean", "spoilt"):
        root = tmp_path / name
        pixels = scene()
        if name == "spoilt":
            pixels[2, 100, 70] = value
        save(root / "x_train" / "image_1.tif", pixels)
        write_png(root / "x_train" / "image_1_label.png", labels.astype(np.uint8))
        for _ in range(2):  # cut, and kept
            status, _, err = call("generate_train_data.py", "--data_dir", root, "--crop_size", 64)
            assert status == 0
            if name == "spoilt":
                assert f"image_1.tif: band 3 has {value:g} in row 100, column 70 (from 0)" in err
                assert "gdal_edit.py -a_nodata VALUE" in err
            else:
                assert "warning" not in err
        crops = cut_train(Workspace(root), [Scene(root / "x_train/image_1.tif", root / "x_train/image_1_label.png")],
                          CutSettings(64, 64), JINGWEI, 1)  # fmt: skip
        means[name] = statistics(crops)
    for key in ("mean", "std"):
        np.testing.assert_allclose(getattr(means["spoilt"], key), getattr(means["clean"], key), rtol=0.05)
