"""Radar values that no echo has, whose squares float32 can't hold, are no data, and are not spread by the filter."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from jingwei.inputs.sar import CHANNELS, SarReader, SarSettings, radar_picture, to_db

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
PLACE = (20, 30)


def quadruple(folder: Path, planes: np.ndarray) -> tuple[Path, ...]:
    paths = tuple(folder / f"1_{channel}.tiff" for channel in CHANNELS)
    for path, plane in zip(paths, planes, strict=True):
        kind = {"height": plane.shape[0], "width": plane.shape[1], "count": 1, "dtype": plane.dtype}
        with rasterio.open(path, "w", driver="GTiff", **kind) as file:
            file.write(plane, 1)
    return paths


def planes_of(kind: str, dtype: str) -> np.ndarray:
    amplitudes = np.random.default_rng(0).gamma(4, 100, (4, 40, 50)) + 1
    if kind == "db":
        return to_db(amplitudes, "amplitude").astype(dtype)
    return (amplitudes**2 if kind == "intensity" else amplitudes).astype(dtype)


CASES = [
    ("amplitude", "float32", 3e19), ("amplitude", "float32", 3.4e38), ("amplitude", "float64", 1e200),
    ("amplitude", "complex64", 3e19 + 1j), ("amplitude", "complex64", 1 + 3e19j), ("amplitude", "complex64", np.nan),
    ("intensity", "float64", 1e39), ("intensity", "float32", np.inf), ("db", "float32", 400), ("db", "float32", 1e30),
]  # fmt: skip


@pytest.mark.parametrize("lee", [0, 7])
@pytest.mark.parametrize("channel", [0, 2])
@pytest.mark.parametrize(("kind", "dtype", "value"), CASES)
def test_what_overflows_is_no_data_and_spreads_nowhere(tmp_path, lee, channel, kind, dtype, value):
    planes = planes_of(kind, dtype)
    planes[(channel, *PLACE)] = value
    settings = SarSettings(kind, lee)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with SarReader(quadruple(tmp_path, planes), settings) as reader:
            decibels, valid = reader.read_rows(0, 40)
        radar_picture(quadruple(tmp_path, planes), settings)
    assert np.argwhere(~valid).tolist() == [list(PLACE)]
    assert np.isfinite(decibels).all()
    # As if the pixel had been marked as no data.
    planes[(0, *PLACE)] = 0
    planes[(channel, *PLACE)] = 1 if channel else 0
    with SarReader(quadruple(tmp_path, planes), settings) as reader:
        expected, known = reader.read_rows(0, 40)
    np.testing.assert_array_equal(valid, known)
    np.testing.assert_array_equal(decibels, expected)


@pytest.mark.parametrize(("kind", "value", "decibel"), [("amplitude", 9e17, 359.08), ("db", 299, 299)])
def test_what_float32_holds_stays(tmp_path, kind, value, decibel):
    planes = planes_of(kind, "float32")
    planes[(1, *PLACE)] = value
    with SarReader(quadruple(tmp_path, planes), SarSettings(kind)) as reader:
        decibels, valid = reader.read_rows(0, 40)
    assert valid.all()
    assert decibels[(1, *PLACE)] == pytest.approx(decibel, abs=0.01)
