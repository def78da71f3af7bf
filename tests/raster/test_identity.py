"""What makes an input another one: any file with its pixels or masks, and what GDAL says of it; statistics don't."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from jingwei.crops.tile import tile_scene
from jingwei.errors import InputError
from jingwei.raster.identity import identity
from jingwei.raster.stamps import stamp

PLACE = {"crs": "EPSG:32650", "transform": from_origin(500000, 4000000, 1, 1)}
STATISTICS = """<PAMDataset><PAMRasterBand band="1"><Metadata>
<MDI key="STATISTICS_MAXIMUM">7</MDI><MDI key="STATISTICS_MEAN">7</MDI><MDI key="STATISTICS_MINIMUM">7</MDI>
<MDI key="STATISTICS_STDDEV">0</MDI></Metadata><Histograms><HistItem><HistMin>6.5</HistMin><HistMax>7.5</HistMax>
<BucketCount>1</BucketCount><IncludeOutOfRange>1</IncludeOutOfRange><Approximate>0</Approximate>
<HistCounts>96</HistCounts></HistItem></Histograms></PAMRasterBand></PAMDataset>"""
SHIFTED = "<PAMDataset><GeoTransform> 9, 1, 0, 9, 0, -1</GeoTransform></PAMDataset>"
NODATA = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'


def save(path: Path, value: int = 7, driver: str = "GTiff", **how) -> Path:
    kind = {"height": 8, "width": 12, "count": 1, "dtype": "uint8", "driver": driver}
    with rasterio.open(path, "w", **kind, **how) as file:
        file.write(np.full((1, 8, 12), value, np.uint8))
    return path


def vrt(path: Path, source: str) -> Path:
    band = f'<SimpleSource><SourceFilename relativeToVRT="1">{source}</SourceFilename></SimpleSource>'
    path.write_text(f'<VRTDataset rasterXSize="12" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1">{band}'
                    "</VRTRasterBand></VRTDataset>")  # fmt: skip
    return path


def later(path: Path) -> None:
    """Gives a file a later date, as if it was delivered anew."""
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_tile_under_vrts_counts(tmp_path, depth):
    tile = save(tmp_path / "tile.tif")
    scene = tile
    for level in range(depth):
        scene = vrt(tmp_path / f"{level}.vrt", scene.name)
    before = identity(scene)
    assert identity(scene) == before
    save(tile, 8)
    later(tile)
    assert identity(scene) != before


@pytest.mark.parametrize("ending", ["shp dbf prj", "SHP DBF PRJ"])
def test_a_shapefiles_classes_count_in_whatever_case_its_files_are_named(tmp_path, ending):
    for each in ending.split():
        (tmp_path / f"fields.{each}").write_bytes(b"1")
    label = tmp_path / f"fields.{ending.split()[0]}"
    before = identity(label)
    for each in ending.split()[1:]:
        later(tmp_path / f"fields.{each}")
        assert identity(label) != before
        before = identity(label)


def world_file(folder: Path) -> None:
    (folder / "scene.pgw").write_text("1\n0\n0\n-1\n500\n600\n")


def mask(folder: Path) -> None:
    save(folder / "scene.png.msk", 0)


def beside(text: str):
    return lambda folder: (folder / "scene.png.aux.xml").write_text(text)


@pytest.mark.parametrize("change", [world_file, mask, beside(SHIFTED), beside(NODATA)], ids=range(4))
def test_what_lies_beside_a_picture_and_changes_it_counts(tmp_path, change):
    scene = save(tmp_path / "scene.png", driver="PNG")
    before = identity(scene)
    change(tmp_path)
    after = identity(scene)
    assert after != before
    for path in tmp_path.iterdir():
        if path != scene:
            path.unlink()
    assert identity(scene) == before


def test_a_world_file_counts_by_what_it_says_and_a_mask_by_its_date(tmp_path):
    scene = save(tmp_path / "scene.png", driver="PNG")
    world_file(tmp_path)
    mask(tmp_path)
    before = identity(scene)
    later(tmp_path / "scene.pgw")
    assert identity(scene) == before
    (tmp_path / "scene.pgw").write_text("2\n0\n0\n-2\n500\n600\n")
    assert identity(scene) != before
    world_file(tmp_path)
    assert identity(scene) == before
    later(tmp_path / "scene.png.msk")
    assert identity(scene) != before


@pytest.mark.parametrize("name", ["scene.png", "scene.tif", "scene.vrt"])
def test_statistics_and_overviews_do_not_count(tmp_path, name):
    if name == "scene.vrt":
        save(tmp_path / "tile.tif")
        scene = vrt(tmp_path / name, "tile.tif")
    else:
        scene = save(tmp_path / name, driver="PNG" if name.endswith("png") else "GTiff")
    before = identity(scene)
    (tmp_path / f"{name}.aux.xml").write_text(STATISTICS)  # as QGIS does when it opens the scene
    assert identity(scene) == before
    half = {"height": 4, "width": 6, "count": 1, "dtype": "uint8", "driver": "GTiff"}
    with rasterio.open(tmp_path / f"{name}.ovr", "w", **half) as file:
        file.write(np.full((1, 4, 6), 7, np.uint8))
    with rasterio.open(scene) as file:
        assert file.overviews(1) == [2]
    assert identity(scene) == before


def test_the_file_itself_counts_by_name_size_and_date(tmp_path):
    scene = save(tmp_path / "scene.tif", **PLACE)
    before = identity(scene)
    scene.rename(tmp_path / "other.tif")
    assert identity(tmp_path / "other.tif") != before
    (tmp_path / "other.tif").rename(scene)
    assert identity(scene) == before
    later(scene)
    assert identity(scene) != before


def test_what_is_no_raster_counts_by_name_size_and_date(tmp_path):
    for name in ("best.pt", "zones.gpkg", "broken.tif", "fields.shp"):
        path = tmp_path / name
        path.write_bytes(b"what is no raster")
        before = identity(path)
        assert identity(path) == before
        later(path)
        assert identity(path) != before
    before = identity(tmp_path / "fields.shp")
    (tmp_path / "fields.dbf").write_bytes(b"names")
    assert identity(tmp_path / "fields.shp") != before
    with pytest.raises(InputError, match="nowhere.tif: no such file"):
        identity(tmp_path / "nowhere.tif")


def test_an_archive_counts_for_what_is_in_it(tmp_path):
    archive = tmp_path / "scenes.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(save(tmp_path / "scene.tif"), "scene.tif")
    scene = f"/vsizip/{{{archive}}}/scene.tif"
    before = identity(scene)
    assert identity(scene) == before
    later(archive)
    assert identity(scene) != before


def test_stages_do_a_scene_again_whose_tile_was_replaced_and_not_one_that_was_looked_at(tmp_path):
    tile = save(tmp_path / "tile.tif", 50)
    scene, target = vrt(tmp_path / "image_3.vrt", "tile.tif"), tmp_path / "out" / "image_3.tif"
    assert tile_scene(scene, target, 1)
    (tmp_path / "image_3.vrt.aux.xml").write_text(STATISTICS)
    assert not tile_scene(scene, target, 1)
    save(tile, 200)
    later(tile)
    assert tile_scene(scene, target, 1)
    with rasterio.open(target) as file:
        assert (file.read() == 200).all()


def test_settings_count(tmp_path):
    scene = save(tmp_path / "scene.tif")
    assert stamp(scene, window=1) == stamp(scene, window=1) != stamp(scene, window=2)
