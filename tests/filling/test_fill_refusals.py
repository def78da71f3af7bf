"""Maps that can't be filled: nothing is written, and one line says why."""

import numpy as np
import pytest
import rasterio
from test_fill_map import tiff

from jingwei.errors import InputError
from jingwei.filling.fill_map import Frames, fill_map
from jingwei.legend import GF3, JINGWEI, NODATA


@pytest.mark.parametrize("how", [{}, {"frames": Frames((20,), 5)}, {"min_area": 4}])
@pytest.mark.parametrize("strip_rows", [7, 256])
def test_ids_that_the_legend_lacks_are_named_with_their_place(tmp_path, how, strip_rows):
    labels = np.ones((200, 90), np.uint8)
    labels[100:110, 40:50], labels[130, 3], labels[150:] = 0, 200, NODATA
    tiff(tmp_path / "vote.tif", labels)
    expected = r"vote.tif: ids 200 \(1 px\) in rows \d+ to \d+, the first at row 130, column 3; .* ends at 4"
    with pytest.raises(InputError, match=expected):
        fill_map(tmp_path / "vote.tif", tmp_path / "out" / "filled.tif", legend=JINGWEI, strip_rows=strip_rows,
                 submit_png=tmp_path / "out" / "filled.png", picture=tmp_path / "out" / "small.png", **how)  # fmt: skip
    assert not list((tmp_path / "out").glob("*.*"))


def test_the_last_class_of_a_legend_is_known(tmp_path):
    labels = np.full((20, 20), len(GF3) - 1, np.uint8)
    tiff(tmp_path / "vote.tif", labels)
    fill_map(tmp_path / "vote.tif", tmp_path / "filled.tif", legend=GF3, min_area=3)
    with rasterio.open(tmp_path / "filled.tif") as filled:
        np.testing.assert_array_equal(filled.read(1), labels)


def test_a_background_that_the_file_tags_as_nodata_is_refused(tmp_path):
    """Holes of background, tagged as nodata by another program, would never be filled."""
    labels = np.ones((60, 60), np.uint8)
    labels[20:30, 20:30] = 0
    tiff(tmp_path / "vote.tif", labels, nodata=0)
    with pytest.raises(InputError, match="vote.tif: its nodata tag is 0, which is also class background"):
        fill_map(tmp_path / "vote.tif", tmp_path / "filled.tif", legend=JINGWEI)
    changed = fill_map(tmp_path / "vote.tif", tmp_path / "filled.tif", legend=JINGWEI.with_label_nodata("keep"))
    assert changed[0, 1] == 100
