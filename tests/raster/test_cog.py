"""Cloud-Optimised GeoTIFFs: the same map, in the order that such a file must have."""

import struct

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from jingwei.cli.fill import fill_hole_command
from jingwei.cli.vote import vote_command
from jingwei.errors import OutputError
from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.cog import write_cog
from jingwei.raster.reading import Raster
from jingwei.raster.writing import TiledWriter

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
ROTATED = Affine.translation(500000, 2800000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)


@pytest.fixture
def georeferenced(tmp_path):
    """A raster to be `like`: rotated, in UTM."""
    path = tmp_path / "like.tif"
    kind = {"height": 1, "width": 1, "count": 1, "dtype": "uint8", "crs": "EPSG:32650", "transform": ROTATED}
    with rasterio.open(path, "w", **kind):
        pass
    with Raster(path) as like:
        yield like


def write_map(path, labels, like=None, tags=None):
    kind = {"nodata": NODATA, "colormap": JINGWEI.colormap(), "tags": tags}
    with TiledWriter(path, *labels.shape, like=like, **kind) as writer:
        writer.write(Window(0, 0, *labels.shape), labels)
    return path


def fields(height: int, width: int) -> np.ndarray:
    """Fields of 40 px with salt and pepper on them, and a corner of NODATA."""
    rng = np.random.default_rng(height * width)
    labels = np.kron(rng.integers(0, 5, (-(-height // 40), -(-width // 40))), np.ones((40, 40), int))[:height, :width]
    labels = np.where(rng.random((height, width)) < 0.02, 1, labels).astype(np.uint8)
    labels[: height // 3, : width // 3] = NODATA
    return labels


def directories_and_tiles(path) -> tuple[list[int], int]:
    """Places of a TIFF's directories, and of its first tile: read by the bytes, as a viewer would."""
    content = path.read_bytes()
    assert content[:4] == b"II*\0"
    (place,) = struct.unpack_from("<I", content, 4)
    places, first_tile = [], len(content)
    while place:
        places.append(place)
        (count,) = struct.unpack_from("<H", content, place)
        for entry in range(count):
            tag, kind, values, value = struct.unpack_from("<HHII", content, place + 2 + 12 * entry)
            if tag == 324:  # TileOffsets
                assert kind == 4
                offsets = [value] if values == 1 else struct.unpack_from(f"<{values}I", content, value)
                first_tile = min(first_tile, *(offset for offset in offsets if offset), len(content))
        (place,) = struct.unpack_from("<I", content, place + 2 + 12 * count)
    return places, first_tile


@pytest.mark.parametrize("shape", [(1, 1), (511, 512), (513, 700), (1500, 1100)])
def test_a_cog_is_the_map_with_all_that_belongs_to_it(shape, georeferenced, tmp_path):
    labels = fields(*shape)
    source = write_map(tmp_path / "map.tif", labels, georeferenced, {"JINGWEI_STAMP": "abc"})
    write_cog(source, tmp_path / "cog.tif")
    with rasterio.open(tmp_path / "cog.tif") as cog:
        np.testing.assert_array_equal(cog.read(1), labels)
        assert cog.crs.to_epsg() == 32650
        assert cog.transform.almost_equals(ROTATED, 1e-6)
        assert cog.nodata == NODATA
        colors = cog.colormap(1)
        assert [colors[c.id] for c in JINGWEI.classes] == [(*c.color, 255) for c in JINGWEI.classes]
        assert cog.tags()["JINGWEI_STAMP"] == "abc"
        assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert cog.overviews(1) == [2**k for k in range(1, 9) if max(shape) > 512 * 2 ** (k - 1)]


def test_directories_come_before_all_pixels(tmp_path):
    write_cog(write_map(tmp_path / "map.tif", fields(1500, 1100)), tmp_path / "cog.tif")
    places, first_tile = directories_and_tiles(tmp_path / "cog.tif")
    assert len(places) == 3
    assert places == sorted(places)
    assert places[-1] < first_tile


def test_overviews_show_the_commonest_class_and_nodata_hides_none(tmp_path):
    labels = np.full((1024, 1024), 2, np.uint8)
    labels[::2, ::2] = 4
    labels[512:] = NODATA
    labels[512::2, ::2] = 1
    write_cog(write_map(tmp_path / "map.tif", labels), tmp_path / "cog.tif")
    with rasterio.open(tmp_path / "cog.tif", overview_level=0) as half:
        assert (half.read(1)[:256] == 2).all()
        assert (half.read(1)[256:] == 1).all()


def test_one_that_cant_be_written_leaves_nothing(tmp_path):
    source = write_map(tmp_path / "map.tif", fields(60, 60))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        write_cog(source, tmp_path / "file" / "cog.tif")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == ["file", "map.tif"]


def run(monkeypatch, command, *flags):
    monkeypatch.setattr("sys.argv", ["script.py", *map(str, flags), "--cog"])
    command()


def test_stages_write_one_on_demand(tmp_path, monkeypatch, georeferenced):
    labels = fields(300, 200)
    maps = [write_map(tmp_path / f"{name}.tif", labels, georeferenced) for name in "abc"]
    run(monkeypatch, vote_command, "--inputs", *maps, "--output", tmp_path / "out" / "vote.tif")
    run(monkeypatch, fill_hole_command, "--input", maps[0], "--output", tmp_path / "out" / "filled.tif")
    for name in ("vote", "filled"):
        with rasterio.open(tmp_path / "out" / f"{name}.tif") as plain:
            expected, transform = plain.read(1), plain.transform
        with rasterio.open(tmp_path / "out" / f"{name}_cog.tif") as cog:
            np.testing.assert_array_equal(cog.read(1), expected)
            assert cog.transform.almost_equals(transform, 1e-6)
            assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
