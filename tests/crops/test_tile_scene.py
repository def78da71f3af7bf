"""Tiling a scene: the same pixels in a file of which any window can be read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from jingwei.crops.tile import tile_scene
from jingwei.errors import InputError, SettingError
from jingwei.grid import Window
from jingwei.raster.crop_files import write_crop
from jingwei.raster.png import write_png
from jingwei.raster.reading import Raster, open_image
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def georeferenced(tmp_path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A 16-bit scene with nodata and a rotated georeference, its pixels_CHW and valid_HW."""
    pixels = np.random.default_rng(0).integers(1, 60000, (4, 600, 530), dtype=np.uint16)
    pixels[:, 200:450, 100:400] = 0
    transform = Affine.translation(5e5, 2.8e6) @ Affine.rotation(20) @ Affine.scale(0.1, -0.1)
    profile = dict(driver="GTiff", count=4, height=600, width=530, dtype="uint16", nodata=0, crs="EPSG:32648",
                   transform=transform, photometric="minisblack", alpha="unspecified")  # fmt: skip
    with rasterio.open(tmp_path / "image_5.tif", "w", **profile) as file:
        file.write(pixels)
    return tmp_path / "image_5.tif", pixels, pixels.any(axis=0)


def test_a_tiled_scene_is_the_scene_with_its_mask_overviews_and_georeference(georeferenced, tmp_path):
    source, pixels, valid = georeferenced
    target = tmp_path / "test" / "image5" / "image_5.tif"
    assert tile_scene(source, target, workers=2)
    with open_image(target) as tiled, rasterio.open(source) as original:
        assert tiled.tiled
        assert tiled.crs == original.crs
        assert tiled.transform == original.transform
        found, found_valid = tiled.read(Window(0, 0, 600, 530))
    np.testing.assert_array_equal(found_valid, valid)
    np.testing.assert_array_equal(found, pixels)
    with rasterio.open(target) as file:
        assert file.overviews(1) == [2]
        assert file.block_shapes[0] == (256, 256)


def test_a_tiled_png_scene_has_its_alpha_as_mask(county, tmp_path):
    source = Workspace(county).test_scenes()[0].image
    target = tmp_path / "image_3.tif"
    tile_scene(source, target, workers=1)
    with Raster(source) as original, Raster(target) as tiled:
        assert tiled.bands == 3
        pixels, valid = original.read(Window(0, 0, *original.shape))
        found, found_valid = tiled.read(Window(0, 0, *original.shape))
    np.testing.assert_array_equal(found_valid, valid)
    np.testing.assert_array_equal(found, np.where(valid, pixels, 0))


@pytest.mark.parametrize("workers", [1, 4])
def test_tiling_writes_the_same_bytes_with_any_number_of_workers(workers, georeferenced, tmp_path):
    source, _, _ = georeferenced
    tile_scene(source, tmp_path / "two.tif", workers=2)
    tile_scene(source, tmp_path / "other.tif", workers=workers)
    assert (tmp_path / "two.tif").read_bytes() == (tmp_path / "other.tif").read_bytes()


def test_a_scene_is_tiled_once_and_again_when_it_changes(county, tmp_path):
    source = tmp_path / "image_3.png"
    shutil.copy(Workspace(county).test_scenes()[0].image, source)
    target = tmp_path / "image_3.tif"
    assert tile_scene(source, target, workers=1)
    before = target.stat().st_mtime_ns
    assert not tile_scene(source, target, workers=1)
    assert target.stat().st_mtime_ns == before
    write_png(source, np.full((30, 40, 3), 77, np.uint8))
    assert tile_scene(source, target, workers=1)
    with Raster(target) as tiled:
        assert tiled.shape == (30, 40)


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_tiled_scene_that_is_broken_is_made_again(content, county, tmp_path):
    target = tmp_path / "image_3.tif"
    target.write_bytes(content)
    assert tile_scene(Workspace(county).test_scenes()[0].image, target, workers=1)


def test_a_scene_that_cannot_be_tiled_leaves_nothing(draw_scene, tmp_path):
    pixels, _ = draw_scene(150, 160, 2)
    pixels[..., 3] = 0
    write_png(tmp_path / "empty.png", pixels)
    with pytest.raises(InputError, match="empty.png: has no valid pixel"):
        tile_scene(tmp_path / "empty.png", tmp_path / "out" / "a.tif", workers=1)
    content = (tmp_path / "empty.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cut.png: broken or truncated"):
        tile_scene(tmp_path / "cut.png", tmp_path / "out" / "a.tif", workers=1)
    assert not any((tmp_path / "out").iterdir())


def test_a_scene_is_not_tiled_over_itself(tmp_path):
    scene = tmp_path / "image_3.tif"
    write_crop(scene, np.ones((3, 40, 50), np.uint8))
    before = scene.read_bytes()
    with pytest.raises(SettingError, match="image_3.tif: is the input and the output at once"):
        tile_scene(scene, tmp_path / "." / "image_3.tif", 1)
    assert scene.read_bytes() == before
