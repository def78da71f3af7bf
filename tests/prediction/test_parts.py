"""A part of a scene: windows spread over it, and pixels that are those of the whole map."""

import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from test_pipeline import CLASSES, KINDS, OVERLAP, SIZE, Late, scene

from jingwei.errors import SettingError
from jingwei.grid import Window, even_starts, far_apart
from jingwei.legend import NODATA
from jingwei.prediction import parts
from jingwei.prediction.bands import Bands
from jingwei.prediction.parts import spread_windows
from jingwei.prediction.pipeline import INVALID, predicted_bands
from jingwei.prediction.settings import PredictSettings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Groups of windows as in scenes of many thousand pixels."""
    monkeypatch.setattr(parts, "LEAST", 20)


def chosen_of(bands: Bands) -> list[Window]:
    """The windows that are computed, where the file has them."""
    sides = min(bands.size, bands.height), min(bands.size, bands.width)
    rows = [(row, col) for number, row in enumerate(bands.rows) for col in bands.computed(number)]
    return [bands.turn(Window(*place, *sides)) for place in rows]


def settled_by(bands: Bands, shape: tuple[int, int]) -> np.ndarray:
    """The pixels that no window reaches which isn't computed, counted window by window."""
    settled = np.ones(shape, bool)
    computed = {window[:2] for window in chosen_of(bands)}
    sides = min(bands.size, shape[0]), min(bands.size, shape[1])
    for row in even_starts(shape[0], bands.size, bands.overlap):
        for col in even_starts(shape[1], bands.size, bands.overlap):
            if (row, col) not in computed:
                settled[Window(row, col, *sides).slices] = False
    return settled


def predicted(bands: Bands, network, pixels, valid, numbers=None, **how) -> tuple[dict[str, np.ndarray], list[Window]]:
    """Bands put together, by kind, and the windows that were read."""
    seen = []

    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        seen.append(window)
        if how.get("readers", 1) > 1:
            time.sleep(0.002 * (window.col % 3))
        return pixels[:, *window.slices], valid[window.slices]

    shapes = {kind: (CLASSES, *valid.shape) if kind == "probabilities" else valid.shape for kind in KINDS}
    found = {kind: np.full(shapes[kind], INVALID[kind], np.uint8) for kind in KINDS}
    for run in numbers or [range(len(bands))]:
        how |= {"kinds": KINDS, "temperature": 1.3}
        for band in predicted_bands(read, bands, run, network, CLASSES, np.full(3, 100.0), **how):
            for kind, values in band.values.items():
                found[kind][..., *bands.window(band.number).slices] = values
    return found, seen


@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, SIZE - 1), st.floats(0.01, 0.99), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_part_has_the_bytes_of_the_whole_map_and_nothing_else(height, width, overlap, share, in_flight):
    height, width = (min(side, 6 * (SIZE - overlap) + SIZE) for side in (height, width))  # some windows a side
    pixels, valid = scene(height, width)
    whole, _ = predicted(Bands.of(valid.shape, SIZE, overlap), Late(0), pixels, valid)
    bands = Bands.of(valid.shape, SIZE, overlap, share)
    part, seen = predicted(bands, Late(in_flight), pixels, valid)
    assert sorted(seen) == sorted(chosen_of(bands))  # no window more, none twice
    settled = settled_by(bands, valid.shape)
    assert settled.any()
    for kind in KINDS:
        expected = np.where(settled, whole[kind], np.uint8(INVALID[kind]))
        np.testing.assert_array_equal(part[kind], expected)
    assert ((part["labels"] < CLASSES) == (settled & valid)).all()


@pytest.mark.parametrize("shape", [(900, 500), (500, 900)], ids=["tall", "wide"])
@pytest.mark.parametrize("how", [{"batch_size": 3}, {"batch_size": 2, "readers": 3}], ids=str)
def test_batches_readers_and_bands_made_apart_change_nothing(shape, how):
    pixels, valid = scene(*shape)
    bands = Bands.of(shape, SIZE, OVERLAP, 0.3)
    expected, _ = predicted(bands, Late(0), pixels, valid)
    apart = [range(0, 3), range(3, 4), range(4, len(bands))]
    for numbers in (None, apart):
        found, _ = predicted(bands, Late(2, delay=0.0005), pixels, valid, numbers, **how)
        for kind in KINDS:
            np.testing.assert_array_equal(found[kind], expected[kind])


def test_a_pixel_that_another_window_reaches_is_not_settled(monkeypatch):
    monkeypatch.setattr(parts, "LEAST", 1)
    pixels, valid = scene(500, 500)
    bands = Bands.of(valid.shape, SIZE, OVERLAP, 0.05)
    assert len(chosen_of(bands)) < 0.1 * bands.window_count_of_all
    part, _ = predicted(bands, Late(0), pixels, np.ones_like(valid))
    assert 0 < (part["labels"] != NODATA).sum() < len(chosen_of(bands)) * (SIZE - OVERLAP) ** 2


# ---- which windows ----

AXES = st.tuples(st.integers(1, 40_000), st.integers(1, 40_000))


@given(AXES, st.sampled_from([(256, 64), (512, 128), (1024, 256), (1024, 600)]), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_groups_settle_room_for_a_place_and_make_up_the_share(shape, window, share):
    parts.LEAST = 512  # put back by the fixture
    size, overlap = window
    axes = [(even_starts(side, size, overlap), side) for side in shape]
    groups = [parts._groups(*axis, size) for axis in axes]
    for (starts, length), several in zip(axes, groups, strict=True):
        assert [k for group in several for k in group] == list(range(len(starts)))
        if len(several) > 1:
            for group in several:
                first = starts[group[0] - 1] + size if group[0] else 0
                end = starts[group[-1] + 1] if group[-1] + 1 < len(starts) else length
                assert end - first >= 512
    chosen = spread_windows(*axes, size, share)
    largest = max(map(len, groups[0])) * max(map(len, groups[1]))
    assert 0 < len(chosen) <= max(share * len(axes[0][0]) * len(axes[1][0]) + largest / 2, largest)
    assert chosen <= spread_windows(*axes, size, min(0.99, 1.5 * share))


@pytest.mark.parametrize(("height", "width"), [(30, 30), (5, 120), (1, 400), (200, 200)])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_every_place_of_the_scene_is_near_a_predicted_one(height, width, share):
    axes = [([64 * k for k in range(count)], 64 * count) for count in (height, width)]
    chosen = np.array(sorted(spread_windows(*axes, 64, share)))
    assert len(chosen) == pytest.approx(share * height * width, abs=1)
    free = np.ones((height, width), bool)
    free[*chosen.T] = False
    each = height * width / len(chosen)  # windows for each that is predicted
    far = 1.6 * np.sqrt(each) if min(height, width) > np.sqrt(each) else 3.5 * each / min(height, width)
    assert distance_transform_edt(free).max() <= far


def test_far_apart_places_are_in_the_rectangle_and_all_come():
    assert set(islice(far_apart(7, 11), 400)) == {(row, col) for row in range(7) for col in range(11)}
    assert set(islice(far_apart(1, 1), 3)) == {(0, 0)}
    quarters = [(row // 50, col // 50) for row, col in islice(far_apart(100, 100), 8)]
    assert {quarters.count(each) for each in set(quarters)} <= {1, 2, 3}
    assert len(set(quarters)) == 4


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(SettingError, match="`part`"):
        replace(PredictSettings(), part=share).check()


def test_nothing_changes_for_whole_maps_stamps(tmp_path):
    """Maps from before there were parts are kept; those of other shares are made anew."""
    from jingwei.prediction.job import Job

    for name in ("a.tif", "b.pt"):
        (tmp_path / name).write_bytes(b"")
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", height=2, width=2, count=1, dtype="uint8") as file:
        file.write(np.zeros((1, 2, 2), np.uint8))
    marks = [
        Job(tmp_path / "b.pt", tmp_path / "a.tif", tmp_path / "c.tif", PredictSettings(part=part), device="cpu").mark
        for part in (None, 0.1, 0.2)
    ]
    assert len(set(marks)) == 3
