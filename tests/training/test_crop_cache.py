"""Crops on their way to batches: the cache, broken crops, types, whole crops for validation."""

import multiprocessing
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from augment_pictures import ALL_ON, FILL, RECIPE

from jingwei.crops.table import TRAIN, Crop, label_path
from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.legend import NODATA
from jingwei.raster.crop_files import read_crop, write_crop
from jingwei.raster.png import write_png
from jingwei.training import augment, crop_cache, crop_reader, datasets, sampling
from jingwei.training.crop_cache import CropCache
from jingwei.training.crop_reader import CropReader
from jingwei.training.datasets import TrainingWindows, WholeCrops, training_loader, validation_loader
from jingwei.training.sampling import WindowDraws

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def counted(cut_county, monkeypatch):
    """(folder, crops, names of the files that were read)"""
    read = []
    original = read_crop
    monkeypatch.setattr(crop_reader, "read_crop", lambda path: read.append(path) or original(path))
    return *cut_county, read


def test_a_crop_is_decoded_once_and_cannot_be_written_to(counted):
    folder, crops, read = counted
    cache = CropCache(CropReader(folder, crops), crops)
    for _ in range(3):
        for crop in crops:
            pixels, labels = cache.read(crop)
            np.testing.assert_array_equal(pixels, read_crop(folder / "data" / crop.name))
            assert labels.shape == pixels.shape[:2]
            for array in (pixels, labels):
                with pytest.raises(ValueError, match="read-only"):
                    array[:] = 0
    decoded = [path for path in read if path.parent.name == "label"]
    assert len(decoded) == len(set(decoded)) == len(crops)


def of_64_px(crops: list[Crop]) -> list[Crop]:
    return [crop for crop in crops if crop.window.height == crop.window.width == 64]


def kept(cache: CropCache) -> set[str]:
    """The names of the crops that are kept."""
    return {crop.name for crop, slot in zip(cache.crops, cache._slots, strict=True) if slot >= 0}


def test_the_cache_keeps_what_fits_first(counted):
    folder, crops, read = counted
    a, b, c = of_64_px(crops)[:3]
    cache = CropCache(CropReader(folder, [a, b, c]), [a, b, c], limit=2 * 64 * 64 * 4)
    for now, crop in enumerate((a, b, a, c, a)):
        cache.read(crop, now, now)
        cache.release()
        assert cache.used <= cache.limit
    assert len(read) == 6  # pixels and labels of a, b and c
    cache.read(b)
    assert len(read) == 6
    cache.read(c)
    assert len(read) == 8
    assert kept(cache) == {a.name, b.name}


def test_what_is_needed_again_soon_takes_the_place_of_what_was_done_with_last(counted):
    folder, crops, read = counted
    a, b, c, d = four = of_64_px(crops)[:4]
    cache = CropCache(CropReader(folder, four), four, limit=2 * 64 * 64 * 4)
    for now, crop in enumerate((a, b)):
        cache.read(crop, now, now)
        cache.release()
    cache.read(c, 2, 9)
    assert kept(cache) == {a.name, c.name}
    np.testing.assert_array_equal(cache.read(c, 3, 9)[0], read_crop(folder / "data" / c.name))
    held = cache.read(a, 4, 4)[0]
    cache.read(d, 5, 9)  # all that is kept is being read, or needed again
    assert kept(cache) == {a.name, c.name}
    np.testing.assert_array_equal(held, read_crop(folder / "data" / a.name))
    cache.release()
    cache.read(d, 6, 9)
    assert kept(cache) == {c.name, d.name}
    np.testing.assert_array_equal(cache.read(d, 7, 9)[0], read_crop(folder / "data" / d.name))
    cache.release()
    cache.read(b, 10, 12)
    assert kept(cache) == {b.name, d.name} or kept(cache) == {b.name, c.name}


def test_what_one_process_has_decoded_another_finds(counted):
    folder, crops, read = counted
    cache = CropCache(CropReader(folder, crops), crops)
    child = multiprocessing.get_context("fork").Process(target=lambda: [cache.read(crop) for crop in crops])
    child.start()
    child.join()
    assert child.exitcode == 0
    for crop in crops:
        pixels, labels = cache.read(crop)
        np.testing.assert_array_equal(pixels, read_crop(folder / "data" / crop.name))
        np.testing.assert_array_equal(labels, read_crop(label_path(folder, crop))[..., 0])
    assert not read


def test_a_crop_that_is_being_put_away_is_not_read_from_there_yet(counted, monkeypatch):
    folder, crops, _ = counted
    cache, seen, copied = CropCache(CropReader(folder, crops), crops), [], np.ascontiguousarray

    def copied_while_another_reads(part):
        if not seen:
            seen.append(None)  # it puts nothing away itself
            seen[0] = cache.read(crops[0])[0].copy()
        return copied(part)

    monkeypatch.setattr(crop_cache.np, "ascontiguousarray", copied_while_another_reads)
    cache.read(crops[0])
    np.testing.assert_array_equal(seen[0], read_crop(folder / "data" / crops[0].name))
    assert kept(cache) == {crops[0].name}


def test_processes_that_inherit_nothing_have_a_part_of_the_memory_each(cut_county):
    folder, crops = cut_county
    cache = CropCache(CropReader(folder, crops), crops, limit=1000, sharers=4)
    part = pickle.loads(pickle.dumps(cache))
    assert part.limit == 250
    np.testing.assert_array_equal(part.read(crops[0])[0], cache.read(crops[0])[0])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_the_same_whatever_is_kept(cut_county, workers, monkeypatch):
    """Groups of crops in turn, through a cache that holds a few, and through one that holds none."""
    folder, crops = cut_county
    monkeypatch.setattr(sampling, "KEPT", 0)
    monkeypatch.setattr(sampling, "TOGETHER", 64 * 64 * 3)
    recipe = replace(ALL_ON, balance=0.2, batch_size=2)
    steps = 2 * len(crops)
    found = {}
    for limit in (0, 5 * 64 * 64 * 4):
        monkeypatch.setattr(datasets, "CACHE_BYTES", limit)
        found[limit] = list(training_loader(folder, crops, recipe, FILL, steps, workers))
    for alone, cached in zip(*found.values(), strict=True):
        assert all(map(torch.equal, alone, cached))


def test_training_reads_through_the_cache_and_validation_past_it(counted):
    folder, crops, read = counted
    loader = training_loader(folder, crops, ALL_ON, FILL, 2 * len(crops), 0)
    for loader.batch_sampler.epoch in (0, 1):
        list(loader)
    assert len(read) == 2 * len(crops) + 1  # the first, whose type all others must have, before its turn
    assert not loader.dataset.dataset.cache._readers.any()  # or no crop could ever take another one's place
    read.clear()
    for _ in range(2):
        list(validation_loader(folder, crops, FILL, 0))
    assert len(read) == 4 * len(crops)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_crop_is_the_users_mistake_wherever_it_is_read(cut_county, tmp_path, workers):
    """A loader process hands the error on as it is: one line that names the file, no traceback."""
    folder, crops = tmp_path / "train", cut_county[1]
    shutil.copytree(cut_county[0], folder)
    broken = label_path(folder, crops[0])
    broken.write_bytes(broken.read_bytes()[:60])
    training = training_loader(folder, crops[:1], RECIPE, FILL, 1, workers)
    for loader in (training, validation_loader(folder, crops, FILL, workers)):
        with pytest.raises(InputError) as caught:
            list(loader)
        assert type(caught.value) is InputError
        assert str(caught.value).startswith(f"{broken}: ")
        assert "\n" not in str(caught.value)


def test_batches_are_pixels_bchw_and_labels_bhw_in_the_type_of_the_file(cut_county):
    pixels, labels = next(iter(training_loader(*cut_county, RECIPE, FILL, 1, 0)))
    assert pixels.shape == (4, 3, 32, 32)
    assert pixels.dtype == torch.uint8
    assert labels.shape == (4, 32, 32)
    assert labels.dtype == torch.uint8


def test_the_light_of_training_windows_changes_with_the_seed_and_leaves_labels_alone(cut_county):
    plain = next(iter(training_loader(*cut_county, RECIPE, FILL, 1, 0)))
    lit = next(iter(training_loader(*cut_county, replace(RECIPE, jitter=0.2), FILL, 1, 0)))
    assert torch.equal(plain[1], lit[1])
    assert lit[0].dtype == torch.uint8  # four times less to hand over than float32
    difference = (lit[0].float() - plain[0].float()).flatten(1).abs().mean(dim=1)
    assert (difference > 0.1).all()
    assert len(set(difference.tolist())) == 4


def test_whole_crops_are_the_files(cut_county):
    folder, crops = cut_county
    assert len(WholeCrops(folder, crops, FILL)) == len(crops)
    for crop, (pixels, labels) in zip(crops, validation_loader(folder, crops, FILL, 0), strict=True):
        expected = read_crop(folder / "data" / crop.name)
        unseen = (labels[0].numpy() == NODATA) & (expected == 0).all(axis=2)
        expected[unseen] = FILL
        np.testing.assert_array_equal(pixels[0].numpy(), expected.transpose(2, 0, 1))
        assert labels.shape[1:] == expected.shape[:2]
        assert int((labels != NODATA).sum()) == crop.valid


@pytest.mark.parametrize(("dtype", "expected"), [("uint16", torch.int32), ("int16", torch.int16),
                                                 ("float32", torch.float32)])  # fmt: skip
def test_other_types_reach_torch_with_their_values(dtype, expected, tmp_path):
    pixels = np.array([0, 1, 300, 32767 if dtype != "uint16" else 65535]).astype(dtype).reshape(1, 2, 2)
    write_crop(tmp_path / "data" / "a.tif", pixels)
    write_png(tmp_path / "label" / "a.png", np.zeros((2, 2), np.uint8))
    crop = Crop("a.tif", "a", Window(0, 0, 2, 2), 4, (4,), (1.0,), (1.0,), TRAIN)
    found, _ = WholeCrops(tmp_path, [crop], (0.0,) * 9)[0]
    assert found.dtype == expected
    np.testing.assert_array_equal(found.numpy(), pixels)


def test_scales_are_spread_evenly_between_the_halves_and_the_doubles(tmp_path):
    """Log-uniform: as many windows are shrunk as are enlarged."""
    height = width = 128
    ramp = np.arange(width, dtype=np.uint8)[None].repeat(height, axis=0)
    write_crop(tmp_path / "data" / "a.png", ramp[None])
    write_png(tmp_path / "label" / "a.png", np.zeros((height, width), np.uint8))
    pixels = height * width
    crop = Crop("a.png", "a", Window(0, 0, height, width), pixels, (pixels,), (1.0,), (1.0,), TRAIN)
    windows = TrainingWindows(tmp_path, [crop], replace(RECIPE, batch_size=100), (0.0,))
    (draws,) = WindowDraws([crop], replace(RECIPE, batch_size=100), steps=1)
    spans = []
    for draw in draws:
        pixels = windows[draw][0][0].to(torch.int32)
        spans.append(max(int((pixels[0, -1] - pixels[0, 0]).abs()), int((pixels[-1, 0] - pixels[0, 0]).abs())) / 31)
    assert 0.45 < min(spans) < 0.6
    assert 1.7 < max(spans) < 2.1
    assert 30 < sum(span > 1 for span in spans) < 70


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_only_what_is_both_black_and_unlabelled_is_filled(dtype):
    pixels = np.array([[[0, 0], [0, 0], [0, 3]], [[5, 6], [0, 0], [7, 0]]], dtype)
    labels = np.array([[NODATA, 1, NODATA], [NODATA, NODATA, 0]], np.uint8)
    pixels.flags.writeable = False  # as the crops that are kept
    filled = augment.fill_unseen(pixels, labels, np.array([9.6, 4.2]))
    new = [9.6, 4.2] if dtype == "float32" else [10, 4]
    expected = np.array([[new, [0, 0], [0, 3]], [[5, 6], new, [7, 0]]], dtype)
    assert filled.dtype == pixels.dtype
    np.testing.assert_array_equal(filled, expected)
