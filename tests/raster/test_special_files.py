"""Pipes and devices where a file is wanted: a line, not a stage that waits for ever."""

import os

import pytest

from jingwei.errors import InputError, SettingError
from jingwei.polygons.opening import check_vector
from jingwei.raster.opening import open_dataset
from jingwei.raster.writing import TiledWriter


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such files")
@pytest.mark.parametrize(
    ("open_it", "name"), [(open_dataset, "a.tif"), (open_dataset, "a.vrt"), (check_vector, "a.gpkg")]
)
def test_a_pipe_is_refused_at_once(open_it, name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: is a pipe or a device, not a file: save it"):
        open_it(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.vrt"])
def test_no_geotiff_is_written_under_the_ending_of_another_format(name, tmp_path):
    with pytest.raises(SettingError, match=f"{name}: would be a GeoTIFF under another format's ending: name it .tif"):
        TiledWriter(tmp_path / name, 10, 10)
    assert not list(tmp_path.iterdir())
