"""The confidence beside a vote: what it holds, and what it says of itself."""

import numpy as np
import pytest
import rasterio

from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.stamps import AGREEMENT, CONFIDENCE, read_tags
from jingwei.raster.writing import TiledWriter
from jingwei.voting.vote import VoteFiles, vote


def write(path, planes, nodata):
    with TiledWriter(path, *planes.shape[-2:], bands=len(planes), nodata=nodata) as writer:
        writer.write(Window(0, 0, *planes.shape[-2:]), planes)
    return path


@pytest.mark.parametrize("soft", [False, True])
def test_it_says_whether_it_is_more_than_the_agreement(soft, tmp_path):
    rng = np.random.default_rng(0)
    bands, top, nodata = (len(JINGWEI), 255, 0) if soft else (1, len(JINGWEI), NODATA)
    maps = [write(tmp_path / f"{n}.tif", rng.integers(0, top, (bands, 40, 50), np.uint8), nodata) for n in range(3)]
    files = VoteFiles.beside(tmp_path / "vote.tif")
    assert vote(maps, files, JINGWEI, soft=soft)
    assert read_tags(files.confidence)[CONFIDENCE] == ("mean probability" if soft else AGREEMENT)
    with rasterio.open(files.agreement) as agreement, rasterio.open(files.confidence) as confidence:
        assert np.array_equal(agreement.read(), confidence.read()) is not soft
        assert (confidence.nodata, confidence.dtypes) == (NODATA, ("uint8",))
