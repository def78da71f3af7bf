"""Radar values to decibels, the refined Lee filter against a plain one, tails, and pictures for people."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.errors import InputError, SettingError
from jingwei.inputs.lee_filter import refined_lee
from jingwei.inputs.sar import CHANNELS, SarReader, SarSettings, Tails, radar_picture, to_db

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def quadruple(folder, planes_CHW: np.ndarray, name="1") -> tuple:
    """Writes four files, strips of rows as contests have them, and gives their paths."""
    paths = tuple(folder / f"{name}_{channel}.tiff" for channel in CHANNELS)
    for path, plane in zip(paths, planes_CHW, strict=True):
        height, width = plane.shape
        with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=1, dtype=plane.dtype) as file:
            file.write(plane, 1)
    return paths


def echoes(height: int, width: int, seed=0, looks=4) -> np.ndarray:
    """Amplitudes (4, height, width), uint16, of areas with an edge between them, under speckle."""
    rng = np.random.default_rng(seed)
    areas = np.where(np.add.outer(np.arange(height), 2 * np.arange(width)) < height + width, 300.0, 3000.0)
    intensity = areas**2 * np.array([1, 0.1, 0.12, 0.8])[:, None, None]
    intensity = intensity * rng.gamma(looks, 1 / looks, (4, height, width))
    return np.maximum(np.sqrt(intensity), 1).astype(np.uint16)


# --- decibels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_amplitudes_and_intensities_become_decibels(dtype):
    values = np.array([[1, 10, 100]], dtype)
    np.testing.assert_allclose(to_db(values, "amplitude"), [[0, 20, 40]], atol=1e-5)
    np.testing.assert_allclose(to_db(values, "intensity"), [[0, 10, 20]], atol=1e-5)
    np.testing.assert_allclose(to_db(values, "db"), values)
    assert {to_db(values, kind).dtype for kind in ("amplitude", "intensity", "db")} == {np.dtype(np.float32)}


def test_the_largest_amplitudes_do_not_overflow():
    np.testing.assert_allclose(to_db(np.array([65535], np.uint16), "amplitude"), [96.3295], atol=1e-3)
    np.testing.assert_allclose(to_db(np.array([-32768], np.int16), "amplitude"), [90.3090], atol=1e-3)


def test_complex_values_count_by_their_length():
    np.testing.assert_allclose(to_db(np.array([3 + 4j, -10j], np.complex64), "amplitude"), [13.9794, 20], atol=1e-4)


@pytest.mark.parametrize("kind", ["amplitude", "intensity", "db"])
def test_no_echo_at_all_is_a_finite_number_of_decibels(kind):
    values = np.array([0, -1e30 if kind != "amplitude" else 0], np.float32)
    found = to_db(values, kind)
    assert np.isfinite(found).all()
    assert found[1] == pytest.approx(-100, abs=1e-4)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"values": "watts"}, "'watts': no such kind of values: take amplitude, intensity, db"),
    ({"lee": 4}, "lee 4: is not a window's side"),
    ({"lee": 3}, "lee 3: is not a window's side"),
    ({"looks": 0}, "looks 0"),
    ({"low": (1, 2), "high": (3, 4)}, "2 values of low and 2 of high: give one per channel: HH, HV, VH, VV"),
    ({"low": (1, 2, 3, 4)}, "4 values of low and 0 of high"),
    ({"low": (1, 1, 1, 9), "high": (2, 2, 2, 9)}, "does not lie below"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(SettingError, match=message):
        SarSettings(**wrong).check()


def test_settings_survive_json():
    settings = SarSettings("intensity", 7, 3.5, (-30, -40, -40, -30), (10, 0, 0, 10))
    assert SarSettings(**json.loads(json.dumps(asdict(settings)))) == settings.check()


# --- the refined Lee filter ------------------------------------------------------------------------------------------


def plain_refined_lee(intensity: np.ndarray, valid: np.ndarray, side: int, looks: float) -> np.ndarray:
    """Lee 1981, pixel by pixel, as it reads: masks instead of places, means of lists instead of sums."""
    margin = side // 2
    small = {5: 3, 7: 3, 9: 5, 11: 5}[side]
    step = (side - small) // 2
    rows, cols = np.mgrid[-margin : margin + 1, -margin : margin + 1]
    halves = {
        "left": cols <= 0, "right": cols >= 0, "above": rows <= 0, "below": rows >= 0,
        "above right": rows <= cols, "below left": rows >= cols,
        "above left": rows + cols <= 0, "below right": rows + cols >= 0,
    }  # fmt: skip
    intensity, seen = np.pad(intensity.astype(np.float64), margin), np.pad(valid, margin)
    out = np.zeros(valid.shape, np.float32)
    for row, col in np.argwhere(valid):
        window = intensity[row : row + side, col : col + side]
        known = seen[row : row + side, col : col + side]
        grid = np.empty((3, 3))
        for i, j in np.ndindex(3, 3):
            part = slice(i * step, i * step + small), slice(j * step, j * step + small)
            grid[i, j] = window[part][known[part]].mean() if known[part].any() else np.nan
        grid = np.where(np.isnan(grid), grid[1, 1], grid)
        (a, b, c), (d, _, e), (f, g, h) = grid
        edges = {
            ("left", "right"): a + d + f - (c + e + h),
            ("above", "below"): a + b + c - (f + g + h),
            ("above right", "below left"): b + c + e - (d + f + g),
            ("above left", "below right"): a + b + d - (e + g + h),
        }
        pair = max(edges, key=lambda pair: abs(edges[pair]))
        middles = {"left": (1, 0), "right": (1, 2), "above": (0, 1), "below": (2, 1), "above right": (0, 2),
                   "below left": (2, 0), "above left": (0, 0), "below right": (2, 2)}  # fmt: skip
        side_of = min(pair, key=lambda name: abs(grid[middles[name]] - grid[1, 1]))
        values = window[halves[side_of] & known]
        mean, variance = values.mean(), values.var()
        signal = max(0, (variance - mean**2 / looks) / (1 + 1 / looks))
        trust = signal / variance if variance > 0 else 0
        out[row, col] = mean + trust * (window[margin, margin] - mean)
    return out


@pytest.mark.parametrize("side", [5, 7, 9, 11])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 2), (26, 33)])
def test_lee_is_the_plain_filter(side, shape):
    rng = np.random.default_rng(side)
    areas = np.where(np.add.outer(np.arange(shape[0]), -np.arange(shape[1])) > 3, 50.0, 4.0)
    intensity = np.ceil(areas * rng.gamma(2, 0.5, shape)).astype(np.float32)  # whole: sums are exact in any order
    valid = rng.random(shape) > 0.15
    valid.flat[0] = True
    for known in (np.ones(shape, bool), valid):
        expected = plain_refined_lee(intensity, known, side, looks=2)
        np.testing.assert_allclose(refined_lee(intensity, known, side, looks=2), expected, rtol=1e-5)


def test_lee_smooths_speckle_and_leaves_edges():
    rng = np.random.default_rng(0)
    truth = np.where(np.arange(80) < 40, 10.0, 100.0) * np.ones((60, 1))
    noisy = (truth * rng.gamma(3, 1 / 3, truth.shape)).astype(np.float32)
    filtered = refined_lee(noisy, np.ones(truth.shape, bool), 7, 3)
    for part in (slice(5, 35), slice(45, 75)):
        assert filtered[:, part].std() < 0.4 * noisy[:, part].std()
        assert filtered[:, part].mean() == pytest.approx(truth[0, part].mean(), rel=0.1)
    box = np.lib.stride_tricks.sliding_window_view(noisy, (7, 7)).mean(axis=(2, 3))
    beside = np.abs(filtered[3:-3, 38] - 10).mean(), np.abs(box[:, 35] - 10).mean()
    assert beside[0] < 0.3 * beside[1]  # a plain mean would smear 100 over the edge


def test_lee_leaves_what_varies_beyond_speckle_and_a_constant_as_they_are():
    rng = np.random.default_rng(1)
    constant = np.full((9, 11), 7, np.float32)
    everywhere = np.ones(constant.shape, bool)
    np.testing.assert_array_equal(refined_lee(constant, everywhere, 5, 1), constant)
    textured = rng.gamma(1, 1, constant.shape).astype(np.float32)
    np.testing.assert_allclose(refined_lee(textured, everywhere, 5, 1e12), textured, rtol=1e-4)


def test_no_data_has_no_part_in_its_neighbours():
    rng = np.random.default_rng(2)
    intensity = rng.gamma(1, 100, (30, 40)).astype(np.float32)
    valid = rng.random(intensity.shape) > 0.3
    expected = refined_lee(intensity, valid, 7, 1)
    for strange in (0, 1e9, np.nan, np.inf):
        found = refined_lee(np.where(valid, intensity, np.float32(strange)), valid, 7, 1)
        np.testing.assert_array_equal(found, expected)
    assert (expected[~valid] == 0).all()
    assert (expected[valid] > 0).all()


# --- four files as one scene -----------------------------------------------------------------------------------------


def whole(paths, settings) -> tuple[np.ndarray, np.ndarray]:
    with SarReader(paths, settings) as reader:
        return reader.read_rows(0, reader.height)


def test_a_quadruple_is_read_in_the_order_of_its_channels(tmp_path):
    planes = echoes(20, 30)
    planes[0, 3:6, 4:9] = 0
    planes[2, 10, 10] = 0
    decibels, valid = whole(quadruple(tmp_path, planes), SarSettings())
    np.testing.assert_array_equal(valid, planes[0] != 0)
    expected = 20 * np.log10(np.maximum(planes.astype(np.float64), 1e-5))
    np.testing.assert_allclose(decibels[:, valid], expected[:, valid], rtol=1e-5)
    assert (decibels[:, ~valid] == 0).all()
    assert decibels[2, 10, 10] == pytest.approx(-100, abs=1e-4)


def test_tails_are_clipped_per_channel(tmp_path):
    planes = echoes(20, 30)
    paths = quadruple(tmp_path, planes)
    free, valid = whole(paths, SarSettings())
    low, high = (50, 40, 41.5, 45), (60, 55, 50, 70)
    clipped, _ = whole(paths, SarSettings(low=low, high=high))
    np.testing.assert_array_equal(
        clipped, np.clip(free, np.float32(low)[:, None, None], np.float32(high)[:, None, None])
    )
    assert (clipped != free).any()


def test_nan_in_any_channel_is_no_data(tmp_path):
    planes = echoes(9, 9).astype(np.float32)
    planes[3, 2, 2], planes[1, 5, 5] = np.nan, np.inf
    decibels, valid = whole(quadruple(tmp_path, planes), SarSettings())
    assert np.argwhere(~valid).tolist() == [[2, 2], [5, 5]]
    assert np.isfinite(decibels).all()


@pytest.mark.parametrize("kind", ["amplitude", "intensity", "db"])
def test_the_filter_works_on_intensity_whatever_the_files_hold(kind, tmp_path):
    amplitude = echoes(30, 25).astype(np.float32)
    amplitude[0, :4] = 0
    as_kind = {"amplitude": amplitude, "intensity": amplitude**2, "db": 20 * np.log10(np.maximum(amplitude, 1e-3))}
    planes = np.where(amplitude == 0, 0, as_kind[kind])
    decibels, valid = whole(quadruple(tmp_path, planes), SarSettings(kind, lee=7, looks=4))
    for found, plane in zip(decibels, amplitude, strict=True):
        expected = 10 * np.log10(refined_lee(plane**2, amplitude[0] != 0, 7, 4)[valid])
        np.testing.assert_allclose(found[valid], expected, rtol=1e-4)


@settings(max_examples=25)
@given(st.data())
def test_rows_are_the_same_in_any_portions(tmp_path_factory, data):
    height, width = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 20)))
    planes = echoes(height, width, seed=data.draw(st.integers(0, 99)))
    planes[0][np.random.default_rng(0).random((height, width)) < 0.2] = 0
    how = SarSettings(lee=data.draw(st.sampled_from([0, 5, 9])), low=(40,) * 4, high=(70,) * 4)
    paths = quadruple(tmp_path_factory.mktemp("quad"), planes)
    decibels, valid = whole(paths, how)
    first = 0
    with SarReader(paths, how) as reader:
        while first < height:
            end = data.draw(st.integers(first + 1, height))
            found, known = reader.read_rows(first, end)
            assert found.tobytes() == np.ascontiguousarray(decibels[:, first:end]).tobytes()
            np.testing.assert_array_equal(known, valid[first:end])
            # A crop's last window is pulled back: rows may come twice.
            first = end if data.draw(st.booleans()) else max(first + 1, end - 3)


@pytest.mark.parametrize("height", [255, 256, 257, 600])
def test_rows_are_the_same_across_the_portions_that_they_are_worked_on_in(height, tmp_path):
    planes = echoes(height, 12)
    decibels, valid = whole(quadruple(tmp_path, planes), SarSettings(lee=7, looks=4))
    assert valid.all()
    for found, plane in zip(decibels, planes, strict=True):
        filtered = refined_lee(plane.astype(np.float32) ** 2, valid, 7, 4)
        np.testing.assert_array_equal(found, to_db(filtered, "intensity"))


@pytest.mark.parametrize("kind", ["amplitude", "intensity"])
@pytest.mark.parametrize("channel", [0, 3])
def test_values_below_0_are_decibels_and_nothing_else(channel, kind, tmp_path):
    planes = np.full((4, 9, 9), 5, np.float32)
    planes[channel, 7, 7] = -3.5
    paths = quadruple(tmp_path, planes)
    with pytest.raises(InputError) as refused:
        whole(paths, SarSettings(kind))
    assert str(refused.value) == (
        f"{paths[channel]}: has values below 0 (-3.5), as no {kind} has, but decibels have: "
        'decibels are read with "sar": {"values": "db"}; a network takes what it was trained on'
    )
    assert whole(paths, SarSettings("db"))[0].min() == -3.5


def test_values_below_0_are_no_matter_where_there_is_no_data_nor_in_complex_files(tmp_path):
    planes = np.full((4, 9, 9), 5, np.float32)
    planes[2, :3] = -9
    planes[0, :3] = 0
    _, valid = whole(quadruple(tmp_path, planes), SarSettings())
    assert np.count_nonzero(valid) == 54
    assert whole(quadruple(tmp_path, -planes.astype(np.complex64)), SarSettings())[1].any()


def test_files_of_different_sizes_are_refused(tmp_path):
    paths = quadruple(tmp_path, echoes(9, 9))
    quadruple(tmp_path, echoes(9, 8), name="2")
    with pytest.raises(InputError, match="2_VV.tiff: 8 x 9 px, but 1_HH.tiff is 9 x 9"):
        SarReader((*paths[:3], tmp_path / "2_VV.tiff"), SarSettings())


# --- tails -----------------------------------------------------------------------------------------------------------


def test_tails_have_a_percent_of_the_pixels_each_however_they_are_added_up():
    rng = np.random.default_rng(0)
    decibels = (rng.normal(0, 10, (4, 300, 100)) * np.array([1, 2, 3, 4])[:, None, None]).astype(np.float32)
    valid = rng.random((300, 100)) > 0.5
    parts = [Tails(), Tails()]
    for row in range(0, 300, 7):
        parts[row % 2].update(decibels[:, row : row + 7], valid[row : row + 7])
    parts[0].merge(parts[1])
    low, high = parts[0].cut_off(1)
    for plane, its_low, its_high in zip(decibels, low, high, strict=True):
        seen = np.clip(plane[valid], -100, 200).astype(np.float64)
        step = Tails.STEP + 1e-4
        assert (seen < its_low - 1e-4).mean() <= 0.01 <= (seen < its_low + step).mean()
        assert (seen > its_high + 1e-4).mean() <= 0.01 <= (seen > its_high - step).mean()


def test_a_constant_has_tails_that_can_be_clipped_to():
    tails = Tails()
    tails.update(np.full((4, 2, 2), 12.345, np.float32), np.ones((2, 2), bool))
    low, high = tails.cut_off(1)
    assert SarSettings(low=low, high=high).check()
    assert low[0] <= 12.345 <= high[0]


# --- pictures --------------------------------------------------------------------------------------------------------


def pure(**echo) -> np.ndarray:
    """Complex planes (4, 8, 8): a quarter of each of HH + VV, HH - VV, HV alone, and no data."""
    planes = np.zeros((4, 8, 8), np.complex64)
    planes[:, :4, :4] = np.array([1, 0, 0, 1])[:, None, None]
    planes[:, :4, 4:] = np.array([1, 0, 0, -1])[:, None, None] * 1j
    planes[:, 4:, :4] = np.array([1e-3, 1, 1, 1e-3])[:, None, None]
    return planes * 100


def test_complex_files_give_the_pauli_picture(tmp_path):
    picture, title = radar_picture(quadruple(tmp_path, pure()), SarSettings())
    assert title == "Pauli"
    surface, double, volume, nothing = picture[1, 1], picture[1, 6], picture[6, 1], picture[6, 6]
    assert surface.argmax() == 2
    assert double.argmax() == 0
    assert volume.argmax() == 1
    assert (nothing == 0).all()


def test_amplitudes_give_no_pauli_picture_and_say_so(tmp_path):
    picture, title = radar_picture(quadruple(tmp_path, np.abs(pure())), SarSettings())
    assert "no Pauli picture" in title
    assert (picture[1, 1] == picture[1, 6]).all()  # HH + VV and HH - VV can't be told apart
    assert picture[6, 1].argmax() == 1
    assert (picture[6, 6] == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (70, 40), (33, 130)])
def test_large_scenes_are_averaged_down(shape, tmp_path):
    planes = echoes(*shape)
    planes[0, 0, 0] = 0
    picture, _ = radar_picture(quadruple(tmp_path, planes), SarSettings(), side=16)
    step = -(-max(shape) // 16)
    assert picture.shape == (-(-shape[0] // step), -(-shape[1] // step), 3)
    assert picture[0, 0].any() == (step > 1)  # one pixel of a larger square


def test_no_data_everywhere_is_a_black_picture(tmp_path):
    picture, _ = radar_picture(quadruple(tmp_path, np.zeros((4, 5, 6), np.uint16)), SarSettings())
    assert not picture.any()
