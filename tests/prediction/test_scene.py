"""Maps of scenes, against the whole scene in memory; what they carry, and the scenes that are refused."""

import os
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from toy_scenes import (
    CLASSES,
    MEAN,
    PLAIN,
    TRANSFORM,
    assert_same_map,
    bump,
    draw,
    in_memory,
    make_checkpoint,
    predict,
    predict_here,
    ragged,
    read,
    turned_mean,
    write_scene,
)

from jingwei.errors import CheckpointError, SettingError
from jingwei.grid import even_starts
from jingwei.legend import JINGWEI, NODATA
from jingwei.models.checkpoints import Checkpoint
from jingwei.prediction import blending
from jingwei.raster.stamps import read_score
from jingwei.raster.writing import write_submission

pytestmark = pytest.mark.usefixtures("one_thread")
# ---- against the whole scene in memory ----
SHAPES = [(1, 1), (1, 300), (300, 1), (37, 50), (127, 128), (129, 128), (511, 150), (150, 512), (513, 130), (100, 400)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_size_gives_the_map_of_the_whole_scene(tmp_path, toy, weights, shape):
    pixels = draw(*shape)
    expected = in_memory(toy, pixels, np.ones(shape, bool), PLAIN)
    assert_same_map(predict(tmp_path, weights, pixels), *expected)


@pytest.mark.parametrize("shape", [(330, 200), (200, 330)], ids=["tall", "wide"])
@pytest.mark.parametrize("overlap", [0, 1, 32, 64, 100, 127])
def test_any_overlap_gives_the_map_of_the_whole_scene(tmp_path, toy, weights, overlap, shape):
    if overlap == 127:
        shape = (shape[0] // 2, shape[1] // 2)  # a window for each pixel: a small scene is enough
    pixels, valid = draw(*shape, seed=1), ragged(*shape, margin=90)
    settings = replace(PLAIN, overlap=overlap)
    expected = in_memory(toy, pixels, valid, settings)
    assert_same_map(predict(tmp_path, weights, pixels, valid, settings), *expected)


@pytest.mark.parametrize("tta", ["none", "flips", "d4"])
@pytest.mark.parametrize("shape", [(200, 150), (150, 200), (90, 140)], ids=str)
def test_turns_are_averaged_the_right_way_round(tmp_path, toy, weights, tta, shape):
    pixels, settings = draw(*shape, seed=2), replace(PLAIN, tta=tta)
    expected = in_memory(toy, pixels, np.ones(shape, bool), settings)
    assert_same_map(predict(tmp_path, weights, pixels, settings=settings), *expected)


@pytest.mark.parametrize("shape", [(420, 300), (300, 420)], ids=["tall", "wide"])
@pytest.mark.parametrize("overlap", [32, 80])
def test_empty_windows_never_reach_the_network(tmp_path, toy, weights, shape, overlap):
    pixels, valid = draw(*shape, seed=3), ragged(*shape, margin=380)
    settings = replace(PLAIN, overlap=overlap)
    windows = [(row, col) for row in even_starts(shape[0], 128, overlap) for col in even_starts(shape[1], 128, overlap)]
    filled = sum(valid[row : row + 128, col : col + 128].any() for row, col in windows)
    assert filled < len(windows)
    labels = predict(tmp_path, weights, pixels, valid, settings)
    assert toy.windows == filled
    assert_same_map(labels, *in_memory(toy, pixels, valid, settings))


def test_a_scene_without_a_valid_pixel_is_nodata_and_never_reaches_the_network(tmp_path, toy, weights):
    labels = predict(tmp_path, weights, draw(200, 150), np.zeros((200, 150), bool))
    assert (labels == NODATA).all()
    assert toy.windows == 0


def test_an_island_is_predicted_after_empty_bands(tmp_path, toy, weights):
    valid = np.zeros((600, 150), bool)
    valid[20:30, 10:30] = valid[300:310, 100:140] = valid[599, 0] = True
    pixels = draw(600, 150, seed=4)
    expected = in_memory(toy, pixels, valid, PLAIN)
    assert_same_map(predict(tmp_path, weights, pixels, valid), *expected)


def test_the_batch_size_changes_nothing(tmp_path, toy, weights):
    pixels, valid = draw(300, 400, seed=5), ragged(300, 400, margin=300)
    maps = []
    for batch_size in (1, 2, 3, 50):
        toy.batches.clear()
        (tmp_path / "map.tif").unlink(missing_ok=True)
        maps.append(predict(tmp_path, weights, pixels, valid, batch_size=batch_size))
        assert max(toy.batches) <= batch_size
    for other in maps[1:]:
        np.testing.assert_array_equal(other, maps[0])


def test_the_number_of_workers_changes_nothing(tmp_path, toy, weights):
    pixels = draw(300, 200, seed=6)
    one = predict(tmp_path, weights, pixels, workers=1)
    (tmp_path / "map.tif").unlink()
    np.testing.assert_array_equal(predict(tmp_path, weights, pixels, workers=4), one)


def test_one_window_over_the_whole_scene_is_the_networks_own_answer(tmp_path, weights):
    pixels = draw(90, 110, seed=7)
    labels = predict(tmp_path, weights, pixels)
    with torch.inference_mode():
        logits = weights[0].build()(torch.from_numpy(pixels[None]).float())
    assert (labels == logits[0].argmax(0).numpy()).mean() > 0.999


def test_a_networks_faults_at_the_border_of_its_windows_leave_no_seams(tmp_path, weights, monkeypatch):
    class Rimmed(torch.nn.Module):
        """Right, but surely wrong in a rim of 8 px."""

        def forward(self, pixels):
            logits = torch.zeros(len(pixels), CLASSES, *pixels.shape[2:])
            logits[:, 1] = 4
            logits[:, :, :8] = logits[:, :, -8:] = logits[:, :, :, :8] = logits[:, :, :, -8:] = 0
            logits[:, 2] += 8 * (logits[:, 1] == 0)
            return logits

    monkeypatch.setattr(Checkpoint, "build", lambda self: Rimmed())
    labels = predict(tmp_path, weights, draw(500, 400))
    assert (labels[8:-8, 8:-8] == 1).all()


def test_a_scene_of_one_colour_gets_one_class(tmp_path, weights, monkeypatch):
    class Torn(torch.nn.Module):
        """Two classes all but equal, the same at every pixel."""

        def forward(self, pixels):
            logits = torch.zeros(len(pixels), CLASSES, *pixels.shape[2:])
            logits[:, 3] = 1e-3
            return logits

    monkeypatch.setattr(Checkpoint, "build", lambda self: Torn())
    for number, shape in enumerate([(333, 401), (401, 333)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert (predict(folder, weights, np.full((3, *shape), 90, np.uint8)) == 3).all()


# ---- what the map carries ----


def test_the_map_carries_place_colours_nodata_and_score(tmp_path, toy, weights):
    valid = ragged(200, 150, margin=60)
    labels = predict(tmp_path, weights, draw(200, 150), valid)
    np.testing.assert_array_equal(labels == NODATA, ~valid)
    with rasterio.open(tmp_path / "map.tif") as written:
        assert written.crs.to_epsg() == 32650
        assert written.transform == TRANSFORM
        assert written.nodata == NODATA
        assert written.dtypes == ("uint8",)
        assert written.block_shapes[0] == (256, 256)
        colours = written.colormap(1)
    assert all(colours[c.id][:3] == c.color for c in JINGWEI.classes)
    assert read_score(tmp_path / "map.tif") == 0.5


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_all_types_and_band_counts_are_predicted(tmp_path, dtype):
    pixels = np.concatenate([draw(150, 140), draw(150, 140, seed=1)])[:4].astype(dtype)
    valid = ragged(150, 140, margin=60)
    if dtype == "float32":
        pixels[2, ~valid] = np.nan
        scene = write_scene(tmp_path / "scene.tif", pixels)
    else:
        pixels[:, ~valid] = 7777
        scene = write_scene(tmp_path / "scene.tif", pixels, nodata=7777)
    checkpoint = make_checkpoint(tmp_path / "best.pt", bands=4, dtype=dtype)
    predict_here(checkpoint, tmp_path / "best.pt", scene, tmp_path / "map.tif")
    labels = read(tmp_path / "map.tif")
    np.testing.assert_array_equal(labels == NODATA, ~valid)
    assert labels[valid].max() < CLASSES


def test_pixels_of_another_type_than_the_training_are_refused(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", draw(150, 140).astype(np.uint16))
    for dtype in ("uint8", "float32"):
        checkpoint = make_checkpoint(tmp_path / "best.pt", dtype=dtype)
        with pytest.raises(CheckpointError, match=f"was trained on pixels of {dtype}, but .*scene.tif has uint16"):
            predict_here(checkpoint, tmp_path / "best.pt", scene, tmp_path / "map.tif")
        assert not (tmp_path / "map.tif").exists()
    checkpoint = make_checkpoint(tmp_path / "best.pt", dtype="int16")  # the same numbers, as products come
    predict_here(checkpoint, tmp_path / "best.pt", scene, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").exists()


@pytest.mark.parametrize("kind", ["mask", "nodata", "nan"])
def test_what_lies_under_nodata_does_not_change_the_map(tmp_path, kind):
    valid = ragged(150, 140, margin=60)
    maps = []
    for value in (0, 255):
        pixels = np.where(valid, draw(150, 140).clip(1, 254), np.uint8(value)).astype(np.uint8)
        if kind == "mask":
            scene = write_scene(tmp_path / f"{value}.tif", pixels, valid)
        elif kind == "nodata":
            scene = write_scene(tmp_path / f"{value}.tif", pixels, nodata=value)
        else:
            pixels = np.where(valid | (value == 0), pixels, np.float32("nan"))
            scene = write_scene(tmp_path / f"{value}.tif", pixels, nodata=0)
        target = tmp_path / f"{value}_map.tif"
        checkpoint = make_checkpoint(tmp_path / "best.pt", dtype=pixels.dtype.name)
        predict_here(checkpoint, tmp_path / "best.pt", scene, target)
        maps.append(read(target))
    np.testing.assert_array_equal(maps[0] == NODATA, ~valid)
    np.testing.assert_array_equal(*maps)


def test_a_map_is_made_again_only_when_scene_weights_or_settings_change(tmp_path, toy):
    scene = write_scene(tmp_path / "scene.tif", draw(150, 140))
    path, target = tmp_path / "best.pt", tmp_path / "map.tif"
    checkpoint = make_checkpoint(path)

    def run(settings=PLAIN) -> bool:
        before = target.stat().st_mtime_ns if target.exists() else None
        fresh = predict_here(checkpoint, path, scene, target, settings)
        assert fresh == (target.stat().st_mtime_ns != before)
        return fresh

    assert run()
    assert not run()
    assert predict_here(checkpoint, path, scene, target, batch_size=3, workers=2) is False
    for changed in ({"overlap": 16}, {"window": 96}, {"tta": "flips"}, {"precision": "bf16"}):
        assert run(replace(PLAIN, **changed)), changed
        assert not run(replace(PLAIN, **changed)), changed
    assert run()
    make_checkpoint(path, score=0.7)
    assert run()
    write_scene(scene, draw(150, 140, seed=9))
    os.utime(scene, ns=(1, 1))
    assert run()


# ---- probabilities ----


@pytest.mark.parametrize("shape", [(300, 140), (140, 300), (70, 60)], ids=str)
def test_probabilities_are_those_of_the_whole_scene_in_eight_bits(tmp_path, toy, weights, shape):
    pixels, valid = draw(*shape), ragged(*shape, margin=60)
    target = tmp_path / "probabilities" / "map.tif"
    labels = predict(tmp_path, weights, pixels, valid, probabilities=target)
    with rasterio.open(target) as raster:
        assert (raster.count, raster.dtypes[0], raster.nodata) == (CLASSES, "uint8", 0)
        shares = raster.read()
        assert raster.crs.to_epsg() == 32650
    assert (shares[:, ~valid] == 0).all()
    assert (shares[:, valid].max(0) > 0).all()
    total = np.zeros((CLASSES, *shape))
    weight = np.zeros(shape)
    for row in even_starts(shape[0], 128, 32):
        for col in even_starts(shape[1], 128, 32):
            here = np.s_[row : row + 128, col : col + 128]
            if valid[here].any():
                seen = np.where(valid[here], pixels[:, *here], np.uint8(MEAN))
                total[:, *here] += turned_mean(toy, seen, "none") * bump(*valid[here].shape)
                weight[here] += bump(*valid[here].shape)
    expected = 255 * total / np.maximum(weight, 1e-9)
    assert np.abs(shares.astype(float) - expected)[:, valid].max() <= 0.5 + 255e-3
    ranked = np.sort(shares, axis=0)
    clear = valid & (ranked[-1] - ranked[-2] > 1)
    np.testing.assert_array_equal(shares.argmax(0)[clear], labels[clear])


def test_a_probability_of_one_is_255(tmp_path, weights, monkeypatch):
    class Sure(torch.nn.Module):
        def forward(self, pixels):
            logits = torch.zeros(len(pixels), CLASSES, *pixels.shape[2:])
            logits[:, 3] = 1e4
            return logits

    monkeypatch.setattr(Checkpoint, "build", lambda self: Sure())
    predict(tmp_path, weights, draw(300, 200), probabilities=tmp_path / "p.tif")
    with rasterio.open(tmp_path / "p.tif") as raster:
        shares = raster.read()
    assert (shares[3] == 255).all()
    assert (np.delete(shares, 3, axis=0) == 0).all()


def test_a_map_is_made_again_where_its_probabilities_are_missing(tmp_path, toy, weights):
    scene = write_scene(tmp_path / "scene.tif", draw(150, 140))
    assert predict_here(*weights, scene, tmp_path / "map.tif")
    assert predict_here(*weights, scene, tmp_path / "map.tif", probabilities=tmp_path / "p.tif")
    assert not predict_here(*weights, scene, tmp_path / "map.tif", probabilities=tmp_path / "p.tif")
    assert not predict_here(*weights, scene, tmp_path / "map.tif")


# ---- refused ----


@pytest.mark.parametrize("bands", [1, 5])
def test_a_scene_of_other_bands_is_refused(tmp_path, weights, bands):
    scene = write_scene(tmp_path / "scene.tif", np.zeros((bands, 70, 70), np.uint8))
    with pytest.raises(CheckpointError, match=f"best.pt: was trained on 3 bands, but scene.tif has {bands}"):
        predict_here(*weights, scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize(
    "changes", [{"window": 16}, {"overlap": 128}, {"overlap": -1}, {"tta": "some"}, {"precision": "fp16"}], ids=str
)
def test_settings_that_make_no_sense_are_refused(tmp_path, weights, changes):
    scene = write_scene(tmp_path / "scene.tif", draw(70, 70))
    with pytest.raises(SettingError, match=f"`{next(iter(changes))}`|`window`"):
        predict_here(*weights, scene, tmp_path / "map.tif", replace(PLAIN, **changes))
    assert not (tmp_path / "map.tif").exists()


# ---- the contest's PNG ----


@pytest.mark.parametrize("shape", [(1, 1), (255, 300), (256, 3), (257, 511), (600, 513)], ids=str)
def test_the_submission_has_the_maps_size_and_zero_for_nodata(tmp_path, shape):
    labels = np.random.default_rng(0).choice(np.array([0, 1, 2, 3, 4, NODATA], np.uint8), shape)
    labels[0, 0] = NODATA
    write_scene(tmp_path / "map.tif", labels[None], nodata=NODATA)
    write_submission(tmp_path / "map.tif", tmp_path / "submit" / "image_3_predict.png")
    with rasterio.open(tmp_path / "submit" / "image_3_predict.png") as png:
        assert (png.count, png.dtypes, png.nodata) == (1, ("uint8",), None)
        np.testing.assert_array_equal(png.read(1), np.where(labels == NODATA, 0, labels))


def test_the_bump_is_symmetric_and_never_zero():
    weight = blending.bump_of(128, 64).numpy()
    np.testing.assert_allclose(weight, bump(128, 64), rtol=1e-5)
    np.testing.assert_allclose(weight, weight[::-1, ::-1], rtol=1e-4)
    assert weight.min() > 0
