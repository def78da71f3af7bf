"""Windows as training gets them, through the whole chain; the same batches for any number of loader processes."""

import os
import signal
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from augment_pictures import ALL_ON, FILL, RECIPE, bands_of, marked, types
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.crops.table import TRAIN, Crop
from jingwei.grid import Window
from jingwei.legend import NODATA
from jingwei.training import datasets
from jingwei.training.augment import (
    random_light,
    random_turn,
    random_window,
)
from jingwei.training.datasets import TrainingWindows, training_loader
from jingwei.training.sampling import Draw

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_any_number_of_loader_processes_gives_the_same_batches(cut_county):
    folder, crops = cut_county
    for recipe in (RECIPE, replace(ALL_ON, crop_sizes=(32, 48), accumulate=2)):
        epochs = {}
        for workers in (0, 1, 2):
            loader = training_loader(folder, crops, recipe, FILL, 3, workers)
            for loader.batch_sampler.epoch in (0, 1):
                epochs[workers, loader.batch_sampler.epoch] = list(loader)
        for epoch in (0, 1):
            assert len(epochs[0, epoch]) == 3 * recipe.accumulate
            for workers in (1, 2):
                for alone, shared in zip(epochs[0, epoch], epochs[workers, epoch], strict=True):
                    assert torch.equal(alone[0], shared[0])
                    assert torch.equal(alone[1], shared[1])
        assert not torch.equal(epochs[0, 0][0][0], epochs[0, 1][0][0])


def test_two_training_processes_share_the_windows_of_one(cut_county):
    one = list(training_loader(*cut_county, ALL_ON, FILL, 2, 0))
    ranks = [list(training_loader(*cut_county, ALL_ON, FILL, 2, 0, rank, 2)) for rank in (0, 1)]
    for whole, first, second in zip(one, *ranks, strict=True):
        for array, *parts in zip(whole, first, second, strict=True):
            assert torch.equal(array, torch.stack(parts, dim=1).flatten(0, 1))


def test_loader_processes_leave_stopping_to_training():
    class Probe(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)  # from anybody but training: not for it
            time.sleep(0.2)
            return torch.tensor([os.getpid(), os.getppid()])

    usual = signal.signal(signal.SIGTERM, lambda *_: None)  # as training notes it
    try:
        (found,) = torch.utils.data.DataLoader(Probe(), **datasets._loading(1))
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert found[0, 0] != os.getpid() == found[0, 1]


class InMemory:
    """A cache that holds one crop, whatever is asked for."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray):
        self.arrays = pixels, labels
        for array in self.arrays:
            array.flags.writeable = False

    def read(self, *_):
        return self.arrays

    def release(self):
        pass


def windows_of(recipe, pixels: np.ndarray, labels: np.ndarray, fill: float = 100.0) -> TrainingWindows:
    """The training windows of one crop in memory. Its statistics are made up."""
    bands = pixels.shape[2]
    crop = Crop("a.png", "a", Window(0, 0, *labels.shape), 1, (1,), (100.0,) * bands, (30.0,) * bands, TRAIN)
    windows = TrainingWindows(None, [crop], recipe, (fill,) * bands)
    windows.cache = InMemory(pixels, labels)
    return windows


@given(
    st.sampled_from([(1, 1), (31, 200), (200, 31), (90, 90), (511, 513)]), st.sampled_from([1, 31, 64]),
    st.sampled_from(["fields", "one class", "nothing"]), bands_of, types, st.integers(0, 1000),
    st.sampled_from([0.0, 0.1]), st.integers(-1, 5),
)  # fmt: skip
@settings(max_examples=80)
def test_every_window_can_go_through_everything(shape, size, content, bands, dtype, seed, jitter, target):
    pixels, labels = marked(*shape, bands, dtype, seed)
    if content != "fields":
        labels[:] = 2 if content == "one class" else NODATA
    windows = windows_of(replace(ALL_ON, jitter=jitter), pixels, labels)
    kept = pixels.copy(), labels.copy()
    draw = Draw(0, size, target, (seed, 0, 0))
    found, found_labels = windows[draw]
    assert found.shape == (bands, size, size)
    assert found_labels.shape == (size, size)
    in_torch = {"uint8": torch.uint8, "uint16": torch.int32, "int16": torch.int16, "float32": torch.float32}
    assert found.dtype == (torch.float32 if jitter and dtype != "uint8" else in_torch[dtype])
    assert found_labels.dtype == torch.uint8
    assert torch.isfinite(found.float()).all()
    assert set(found_labels.unique().tolist()) <= {*np.unique(labels).tolist(), NODATA}
    again = windows[draw]
    assert torch.equal(again[0], found)
    assert torch.equal(again[1], found_labels)
    found.zero_()
    found_labels.zero_()
    for array, before in zip(windows.cache.arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_a_whole_crop_as_it_stands_is_handed_out_as_a_copy():
    """Neither turned nor scaled: nothing but the hand-out itself stands between torch and the kept crop."""
    pixels, labels = np.full((32, 32, 1), 7, np.uint8), np.ones((32, 32), np.uint8)
    windows = windows_of(replace(RECIPE, min_scale=1.0, max_scale=1.0), pixels, labels)
    for place in range(30):
        for tensor in windows[Draw(0, 32, -1, (0, 0, place))]:
            tensor.zero_()
    assert (pixels == 7).all()
    assert (labels == 1).all()


def test_an_augmentation_that_is_off_draws_nothing():
    pixels, labels = marked(200, 200)
    found = windows_of(replace(RECIPE, jitter=0.1), pixels, labels)
    for place in range(20):
        rng = np.random.default_rng((0, 0, place))
        scale = np.exp(rng.uniform(np.log(0.5), np.log(2)))
        window = random_turn(*random_window(pixels, labels, 32, scale, rng), rng)
        lit = random_light(window[0], np.full(3, 100.0), np.full(3, 30.0), 0.1, rng)
        in_torch = found[Draw(0, 32, -1, (0, 0, place))]
        np.testing.assert_array_equal(in_torch[0].numpy(), lit.transpose(2, 0, 1))
        np.testing.assert_array_equal(in_torch[1].numpy(), window[1])


def test_colours_blur_and_dropout_come_after_the_place_is_drawn():
    pixels = np.random.default_rng(0).integers(0, 250, (200, 200, 3), dtype=np.uint8)
    _, labels = marked(200, 200)
    draws = [Draw(0, 32, -1, (0, 0, place)) for place in range(20)]
    plain = windows_of(RECIPE, pixels, labels)
    for more in ({"hue": 0.1}, {"blur": 1.0}, {"dropout": 1.0}, {"jitter": 0.1}):
        changed = windows_of(replace(RECIPE, **more), pixels, labels)
        for draw in draws:
            assert torch.equal(changed[draw][1], plain[draw][1])
            assert not torch.equal(changed[draw][0].float(), plain[draw][0].float())
    for more in ({"rotate": 15.0}, {"class_mix": 1.0}):
        changed = windows_of(replace(RECIPE, **more), pixels, labels)
        assert sum(not torch.equal(changed[draw][1], plain[draw][1]) for draw in draws) > 15


@pytest.mark.parametrize("name", ["blur", "dropout", "class_mix"])
def test_shares_of_windows_are_kept_to(name):
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 250, (64, 64, 3), dtype=np.uint8)
    labels = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) % 5, np.ones((16, 16), np.uint8))
    plain, some = windows_of(RECIPE, pixels, labels), windows_of(replace(RECIPE, **{name: 0.3}), pixels, labels)
    draws = [Draw(0, 32, -1, (0, 0, place)) for place in range(400)]
    changed = [not all(map(torch.equal, plain[draw], some[draw])) for draw in draws]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (4, "uint8"), (3, "uint16"), (3, "float32")])
def test_hues_are_left_alone_where_there_are_none(bands, dtype):
    pixels, labels = marked(64, 64, bands, dtype)
    draw = Draw(0, 32, -1, (0, 0, 0))
    plain, hued = windows_of(RECIPE, pixels, labels)[draw], windows_of(replace(RECIPE, hue=0.2), pixels, labels)[draw]
    assert all(map(torch.equal, plain, hued))


def test_rotation_shows_the_target_and_keeps_it_on_its_pixels():
    labels = np.zeros((200, 200), np.uint8)
    labels[60:63, 120:123] = 3
    pixels = (10 + 60 * labels)[..., None].repeat(3, axis=2)
    windows = windows_of(replace(RECIPE, rotate=45.0, min_scale=1.0, max_scale=2.0), pixels, labels)
    rim = np.ones((32, 32), bool)
    rim[4:-4, 4:-4] = False
    shown, slips = 0, []
    for place in range(200):
        found, found_labels = windows[Draw(0, 32, 3, (0, 0, place))]
        target = (found_labels == 3).numpy()
        shown += bool(target.any())
        if target.any() and not target[rim].any():
            bright = found[0].numpy().astype(float) - 10
            for axis in np.mgrid[:32, :32]:
                slips.append((bright * axis).sum() / bright.sum() - axis[target].mean())
    assert shown > 195
    # A label is rounded to its nearest pixel twice, by scaling and by rotation.
    assert np.abs(slips).max() < 1
    assert np.abs(slips).mean() < 0.25
    assert abs(np.mean(slips)) < 0.05


def test_what_a_rotation_leaves_empty_is_filled():
    pixels, labels = np.full((32, 32, 3), 200, np.uint8), np.ones((32, 32), np.uint8)
    windows = windows_of(replace(RECIPE, rotate=45.0, min_scale=1.0, max_scale=1.0), pixels, labels, fill=100.0)
    for place in range(20):
        found, found_labels = windows[Draw(0, 32, -1, (0, 0, place))]
        empty = (found_labels == NODATA).numpy()
        inside, outside = (
            cv2.erode(part.astype(np.uint8), np.ones((3, 3)), borderType=cv2.BORDER_CONSTANT, borderValue=0) == 1
            for part in (~empty, empty)
        )
        assert inside.any()
        assert (found[:, torch.from_numpy(inside)] == 200).all()
        assert (found[:, torch.from_numpy(outside)] == 100).all()


def test_what_dropout_hides_is_the_fill_in_any_light():
    """The mean that the network subtracts: what is hidden is 0 to it, whatever the light."""
    pixels = np.random.default_rng(0).integers(0, 250, (64, 64, 3), dtype=np.uint8)
    windows = windows_of(replace(RECIPE, jitter=0.2, dropout=1.0), pixels, np.zeros((64, 64), np.uint8), fill=71.37)
    for place in range(20):
        found, _ = windows[Draw(0, 32, -1, (0, 0, place))]
        assert (found == 71).all(dim=0).sum() >= 4  # the mean in the pixels' type


def test_the_pasted_window_is_of_any_crop_and_has_no_target(monkeypatch):
    pixels, labels = marked(64, 64)
    windows = windows_of(replace(RECIPE, class_mix=1.0), pixels, labels)
    windows.crops = windows.crops * 3
    made, original = [], windows._window
    monkeypatch.setattr(windows, "_window", lambda draw, rng: made.append(draw[:3]) or original(draw, rng))
    for place in range(30):
        windows[Draw(1, 32, 2, (0, 0, place))]
    assert made[::2] == [(1, 32, 2)] * 30
    assert set(made[1::2]) == {(0, 32, -1), (1, 32, -1), (2, 32, -1)}


def test_a_pasted_window_has_gone_through_the_same_chain():
    """Every pixel still tells its label, wherever it came from; and another light shines on it."""
    pixels, labels = marked(160, 160)
    windows = windows_of(replace(RECIPE, class_mix=1.0, min_scale=1.0, max_scale=1.0), pixels, labels)
    for place in range(20):
        found, found_labels = windows[Draw(0, 64, -1, (0, 0, place))]
        known = found_labels != NODATA
        assert torch.equal(found[0][known], 20 * found_labels[known] + 10)
    lit = windows_of(
        replace(RECIPE, class_mix=1.0, jitter=0.3, min_scale=1.0, max_scale=1.0), np.full_like(pixels, 99), labels
    )
    lights = [len(lit[Draw(0, 64, -1, (0, 0, place))][0][0].unique()) for place in range(20)]
    assert set(lights) <= {1, 2}
    assert lights.count(2) > 15
