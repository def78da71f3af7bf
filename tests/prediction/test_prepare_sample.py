"""Single samples become rasters to predict from."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from sample_folders import blocky, write_sar, write_tiff

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.inputs.samples import Sample, find_samples
from jingwei.inputs.sar import SarReader, SarSettings
from jingwei.legend import NODATA
from jingwei.prediction import prepare_sample
from jingwei.prediction.prepare_sample import prepare_scene
from jingwei.raster.reading import Raster, open_image

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_an_optical_sample_that_can_be_read_by_windows_is_taken_as_it_is(tmp_path, monkeypatch):
    write_tiff(tmp_path / "1.tif", np.ones((3, 40, 50), np.uint8))
    sample = Sample("1", (tmp_path / "1.tif",))
    assert prepare_scene(sample, None, tmp_path / "target.tif", 1) == tmp_path / "1.tif"
    monkeypatch.setattr(prepare_sample, "SMALL_PX", 100)
    target = prepare_scene(sample, None, tmp_path / "target.tif", 1)
    assert target == tmp_path / "target.tif"
    with Raster(target) as image:
        assert image.tiled or image.width <= 256
        assert (image.read(Window(0, 0, 40, 50))[0] == 1).all()
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    kind = {"height": 512, "width": 512, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "2.tif", "w", driver="GTiff", **kind, **tiles) as file:
        file.write(np.ones((1, 512, 512), np.uint8))
    assert prepare_scene(Sample("2", (tmp_path / "2.tif",)), None, tmp_path / "other.tif", 1) == tmp_path / "2.tif"


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (511, 37), (513, 260)])
def test_a_radar_sample_becomes_a_raster_of_what_the_reader_gives(shape, tmp_path):
    labels = blocky(shape, 6, 0)
    labels[shape[0] // 2 :, : shape[1] // 3] = NODATA
    write_sar(tmp_path, {"1": labels})
    ((sample,), _) = find_samples(tmp_path / "img")
    sar = SarSettings(lee=5, low=(40,) * 4, high=(60,) * 4)
    target = prepare_scene(sample, sar, tmp_path / "target.tif", 2)
    with SarReader(sample.images, sar) as reader, open_image(target) as image:
        decibels, valid = reader.read_rows(0, reader.height)
        pixels, known = image.read(Window(0, 0, *shape))
        assert (image.bands, image.dtype) == (4, np.float32)
    np.testing.assert_array_equal(known, valid)
    np.testing.assert_array_equal(pixels, decibels)
    before = target.stat().st_mtime_ns
    prepare_scene(sample, sar, target, 1)
    assert target.stat().st_mtime_ns == before
    prepare_scene(sample, replace(sar, lee=0), target, 1)
    assert target.stat().st_mtime_ns > before


def test_a_radar_sample_without_echo_and_one_of_the_other_kind_are_refused(tmp_path):
    write_sar(tmp_path, {"1": np.full((30, 40), NODATA, np.uint8)})
    ((sample,), _) = find_samples(tmp_path / "img")
    with pytest.raises(InputError, match="1_HH.tiff: has no valid pixel"):
        prepare_scene(sample, SarSettings(), tmp_path / "target.tif", 1)
    with pytest.raises(InputError, match="sample 1 is radar, four files"):
        prepare_scene(sample, None, tmp_path / "target.tif", 1)
    with pytest.raises(InputError, match="sample 1 is one file, but radar is wanted"):
        prepare_scene(replace(sample, images=sample.images[:1]), SarSettings(), tmp_path / "target.tif", 1)
    assert not (tmp_path / "target.tif").exists()
