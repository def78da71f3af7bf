"""Filling maps on disk: georeference, pictures, settings, stops."""

import errno
import hashlib
import threading

import numpy as np
import pytest
import rasterio
from filled_maps import reference
from test_contest_frames import slid

from jingwei.errors import InputError, OutputError, SettingError
from jingwei.filling import fill_map as filling
from jingwei.filling.fill_map import Frames, fill_map
from jingwei.legend import GF3, JINGWEI, NODATA, LandClass, Legend
from jingwei.raster.png import write_png
from jingwei.system import spill


def tiff(path, labels, **profile):
    crs, transform = "EPSG:32649", rasterio.transform.from_origin(500_000, 4_000_000, 0.5, 0.5)
    profile = dict(crs=crs, transform=transform, nodata=NODATA) | profile
    height, width = labels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=labels.dtype, **profile
    ) as f:
        f.write(labels, 1)


@pytest.fixture
def field_map():
    rng = np.random.default_rng(0)
    labels = np.ones((300, 413), np.uint8)
    labels[:, 200:] = 2
    labels[rng.random(labels.shape) < 0.01] = 0
    labels[50:90, 60:110] = 0
    labels[:40] = NODATA
    return labels


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("strip_rows", [1, 37, 512])
def test_a_geotiff_keeps_its_place_on_earth(tmp_path, field_map, strip_rows):
    source, target = tmp_path / "vote.tif", tmp_path / "out" / "filled.tif"
    png, picture = tmp_path / "submit" / "image_3_predict.png", tmp_path / "submit" / "fill_vis_3.png"
    tiff(source, field_map)
    before = digest(source)
    changed = fill_map(
        source, target, legend=JINGWEI, min_area=3, submit_png=png, picture=picture, strip_rows=strip_rows
    )
    assert digest(source) == before
    expected = reference(field_map, min_area=3)
    with rasterio.open(target) as result, rasterio.open(source) as original:
        np.testing.assert_array_equal(result.read(1), expected)
        assert (result.crs, result.transform, result.nodata) == (original.crs, original.transform, NODATA)
        assert result.colormap(1)[1] == (230, 159, 0, 255)
    with rasterio.open(png) as result:
        np.testing.assert_array_equal(result.read(1), np.where(expected == NODATA, 0, expected))
    assert changed.sum() == (expected != field_map).sum() > 2000
    with rasterio.open(picture) as result:
        assert result.shape == field_map.shape
        pixels = result.read()
    highlighted = (pixels == np.array([255, 0, 255])[:, None, None]).all(axis=0)
    np.testing.assert_array_equal(highlighted, expected != field_map)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("upright", [False, True])
def test_a_large_map_gets_a_small_picture_that_shows_every_change(tmp_path, upright):
    labels = np.ones((40, 4400), np.uint8)  # three pixels to one of the picture
    labels[:, 1:4300:3] = labels[:, 3001:4300] = 2
    labels[7, 4397] = 0
    tiff(tmp_path / "vote.tif", labels.T.copy() if upright else labels)
    fill_map(tmp_path / "vote.tif", tmp_path / "filled.tif", legend=JINGWEI, picture=tmp_path / "vis.png", strip_rows=3)
    with rasterio.open(tmp_path / "vis.png") as result:
        pixels = result.read()
    pixels = pixels.transpose(0, 2, 1) if upright else pixels
    assert pixels.shape == (3, 14, 1467)
    expected = labels[::3, ::3].astype(int)
    colors = np.array([land_class.color for land_class in JINGWEI.classes] + [(255, 0, 255)])
    expected[2, 1465] = -1
    np.testing.assert_array_equal(pixels, colors[expected].transpose(2, 0, 1))


def test_a_contest_png(tmp_path, field_map):
    labels = np.where(field_map == NODATA, 0, field_map).astype(np.uint8)
    write_png(tmp_path / "image_3_predict.png", labels)
    changed = fill_map(tmp_path / "image_3_predict.png", tmp_path / "filled.tif", legend=JINGWEI, connectivity=8)
    with rasterio.open(tmp_path / "filled.tif") as result:
        np.testing.assert_array_equal(result.read(1), reference(labels, connectivity=8))
    assert changed[0, 1] > 0


def test_a_legend_without_background_can_only_lose_small_regions(tmp_path, field_map):
    tiff(tmp_path / "map.tif", field_map)
    with pytest.raises(SettingError, match="gf3: has no background class"):
        fill_map(tmp_path / "map.tif", tmp_path / "filled.tif", legend=GF3)
    fill_map(tmp_path / "map.tif", tmp_path / "filled.tif", legend=GF3, min_area=5)
    with rasterio.open(tmp_path / "filled.tif") as result:
        np.testing.assert_array_equal(result.read(1), reference(field_map, background=None, min_area=5))


def test_wrong_settings_get_one_line_and_leave_nothing(tmp_path, field_map):
    source, target = tmp_path / "map.tif", tmp_path / "filled.tif"
    tiff(source, field_map)
    before = digest(source)
    for rules, text in (
        (dict(connectivity=5), "`connectivity`: is 5: "),
        (dict(max_size=-1), "`max_size`: is -1: "),
        (dict(min_area=-1), "`min_area`: is -1: "),
        (dict(max_size=0), "`max_size`: is 0 and `min_area` is 0"),
        (dict(classes={7}), "`classes`: "),
        (dict(protect={7}), "`protect`: "),
        (dict(protect={0}), "`protect`: keeps the background"),
        (dict(min_area={7: 3}), "`min_area`: legend jingwei has no "),
        (dict(min_area={1: 3, 2: -3}), "`min_area`: is -3"),
        (dict(frames=Frames(sizes=())), "`frame_sizes`: is empty"),
        (dict(frames=Frames(sizes=(9, 2))), "`frame_sizes`: is 9 2: "),
        (dict(frames=Frames(step=0)), "`step`: is 0: "),
        (dict(frames=Frames(), classes={7}), "`classes`: "),
    ):
        with pytest.raises(SettingError, match=text):
            fill_map(source, target, legend=JINGWEI, **rules)
    with pytest.raises(SettingError, match="is the input"):
        fill_map(source, source, legend=JINGWEI)
    with pytest.raises(InputError, match="no such file"):
        fill_map(tmp_path / "none.tif", target, legend=JINGWEI)
    assert digest(source) == before
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]


def test_a_broken_file_leaves_nothing(tmp_path, field_map):
    source = tmp_path / "map.tif"
    tiff(source, np.random.default_rng(0).integers(0, 3, (900, 900), dtype=np.uint8))
    source.write_bytes(source.read_bytes()[:400_000])
    with pytest.raises(InputError, match="map.tif"):
        fill_map(source, tmp_path / "filled.tif", legend=JINGWEI, submit_png=tmp_path / "submit.png")
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]


def test_changes_are_shown_in_a_colour_that_no_class_has(tmp_path):
    labels = np.ones((9, 9), np.uint8)
    labels[4, 4] = 0
    tiff(tmp_path / "map.tif", labels)
    legend = Legend("own", (LandClass(0, "other", (0, 0, 0)), LandClass(1, "vehicle", (255, 0, 255))))
    fill_map(tmp_path / "map.tif", tmp_path / "filled.tif", legend=legend, picture=tmp_path / "vis.png")
    with rasterio.open(tmp_path / "vis.png") as result:
        pixels = result.read()
    assert pixels[:, 0, 0].tolist() == [255, 0, 255]
    assert pixels[:, 4, 4].tolist() != [255, 0, 255]


@pytest.mark.parametrize("rules", [dict(min_area={0: 4, 2: 9}, connectivity=8), dict(frames=Frames((40, 30), 7))])
def test_the_same_bytes_for_any_height_of_strips(tmp_path, field_map, rules):
    tiff(tmp_path / "map.tif", field_map)
    kept = []
    for strip_rows in (1, 100, 256, 512):
        folder = tmp_path / str(strip_rows)
        outputs = folder / "filled.tif", folder / "submit.png", folder / "vis.png"
        fill_map(
            tmp_path / "map.tif", outputs[0], legend=JINGWEI, submit_png=outputs[1], picture=outputs[2],
            strip_rows=strip_rows, **rules,
        )  # fmt: skip
        kept.append([digest(path) for path in outputs])
        styles = {"filled.qml", "filled.tif.aux.xml", "submit.qml"}
        assert {path.name for path in folder.iterdir()} == {"filled.tif", "submit.png", "vis.png"} | styles
    assert kept == kept[:1] * 4


def test_frames_fill_a_file_as_they_fill_an_array(tmp_path, field_map):
    tiff(tmp_path / "map.tif", field_map)
    changed = fill_map(tmp_path / "map.tif", tmp_path / "filled.tif", legend=JINGWEI, frames=Frames((9, 5), 1))
    with rasterio.open(tmp_path / "filled.tif") as result:
        np.testing.assert_array_equal(result.read(1), slid(field_map, (9, 5), 1))
    assert changed[0].sum() == changed.sum() > 100
    with pytest.raises(SettingError, match="gf3: has no background class"):
        fill_map(tmp_path / "map.tif", tmp_path / "filled.tif", legend=GF3, frames=Frames())


class _FullDisk:
    """A file that takes some bytes and no more."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, data):
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("room", [0, 5_000, 2_000_000])
def test_a_disk_without_room_for_working_data_gets_one_line(tmp_path, monkeypatch, field_map, room):
    """Bytes for the runs, and for the decisions, whose first room is some 1.2 million."""
    tiff(tmp_path / "map.tif", field_map)
    plain = spill.tempfile.TemporaryFile
    files = []

    def limited(**settings):
        files.append(settings["dir"])
        return _FullDisk(plain(**settings), room)

    monkeypatch.setattr(spill.tempfile, "TemporaryFile", limited)
    monkeypatch.setattr(spill, "GROWTH", 4_000_000)
    with pytest.raises(
        OutputError, match=r"out: working data can't be written there \(No space left on device\): free some"
    ):
        fill_map(tmp_path / "map.tif", tmp_path / "out" / "filled.tif", legend=JINGWEI, min_area=4)
    assert files
    assert set(files) == {tmp_path / "out"}
    assert [path.name for path in tmp_path.rglob("*.*")] == ["map.tif"]


def test_what_stops_a_writer_stops_the_fill_and_leaves_nothing(tmp_path, monkeypatch, field_map):
    """The reader's thread is over before its file is closed."""
    tiff(tmp_path / "map.tif", field_map)

    def broken(self, band):
        raise RuntimeError("stopped")

    monkeypatch.setattr(filling._Picture, "add", broken)
    for rules in (dict(min_area=4), dict(frames=Frames((9,), 3))):
        threads = threading.active_count()
        with pytest.raises(RuntimeError, match="stopped"):
            fill_map(
                tmp_path / "map.tif", tmp_path / "out" / "filled.tif", legend=JINGWEI, strip_rows=1,
                submit_png=tmp_path / "out" / "submit.png", picture=tmp_path / "out" / "vis.png", **rules,
            )  # fmt: skip
        assert threading.active_count() == threads
        assert not list((tmp_path / "out").iterdir())
