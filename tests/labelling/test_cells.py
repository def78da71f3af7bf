"""What cells hold, against numpy on the whole scene, and with the scene read in strips of any height."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jingwei.grid import Window
from jingwei.labelling.cells import features_of, read_cells
from jingwei.legend import NODATA
from jingwei.raster.reading import open_image
from jingwei.raster.writing import TiledWriter


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(open arguments, pixels, validity, labels, doubt) of scenes by type."""
    root, rng = tmp_path_factory.mktemp("cells"), np.random.default_rng(0)
    shape = (75, 98)
    valid = rng.random(shape) < 0.8
    labels = np.where(rng.random(shape) < 0.1, NODATA, rng.integers(0, 4, shape)).astype(np.uint8)
    doubt = np.where(rng.random(shape) < 0.1, NODATA, rng.integers(0, 101, shape)).astype(np.uint8)
    given = np.where(rng.random(shape) < 0.9, NODATA, 2).astype(np.uint8)
    pixels = {"uint8": rng.integers(0, 256, (3, *shape)), "uint16": rng.integers(0, 65536, (4, *shape))}
    pixels["float32"] = rng.normal(0, 5, (2, *shape))
    files = {}
    for kind, planes in pixels.items():
        files[kind] = root / f"{kind}.tif"
        with TiledWriter(files[kind], *shape, bands=len(planes), dtype=kind, mask=True) as writer:
            writer.write(Window(0, 0, *shape), planes.astype(kind), valid)
    return files, {kind: planes.astype(kind) for kind, planes in pixels.items()}, valid, labels, doubt, given


@settings(max_examples=25)
@given(kind=st.sampled_from(["uint8", "uint16", "float32"]), side=st.integers(9, 60), rows=st.integers(1, 80))
def test_cells_are_as_of_the_whole_scene(scene, kind, side, rows):
    files, pixels, valid, labels, doubt, given_labels = scene
    with open_image(files[kind]) as image:
        rasters = [lambda first, end, a=each: a[first:end] for each in (labels, doubt, given_labels)]
        cells = read_cells(image, side, *rasters, strip_rows=rows)
    assert len(cells) == len(cells.blocks)
    for number in range(len(cells)):
        here = cells.blocks.window(number).slices
        inside = valid[here]
        assert cells.areas[number] == inside.size
        assert cells.valid[number] == inside.sum()
        assert cells.labelled[number] == ((given_labels[here] != NODATA) & inside).sum()
        assert (cells.classes[number] == np.bincount(labels[here][inside], minlength=256)).all()
        told = doubt[here][inside & (doubt[here] != NODATA)]
        np.testing.assert_allclose(cells.doubt[number], told.mean() / 100 if told.size else np.nan)
        planes = pixels[kind][(slice(None), *here)].astype(np.float64)
        both = inside[:, 1:] & inside[:, :-1]
        steps = [np.abs(np.diff(plane, axis=1))[both].mean() if both.any() else 0 for plane in planes]
        means, deviations = ([f(plane[inside]) for plane in planes] for f in (np.mean, np.std))
        np.testing.assert_allclose(cells.features[number], [*means, *deviations, *steps], rtol=1e-6, atol=1e-6)
        alone = features_of(pixels[kind][(slice(None), *here)], inside)
        np.testing.assert_allclose(cells.features[number], alone, rtol=1e-9, atol=1e-9)


def test_a_cell_outside_the_flight_has_no_features(tmp_path):
    with TiledWriter(tmp_path / "a.tif", 40, 40, bands=3, mask=True) as writer:
        writer.write(Window(0, 0, 40, 40), np.full((3, 40, 40), 9, np.uint8), np.zeros((40, 40), bool))
    with open_image(tmp_path / "a.tif") as image:
        cells = read_cells(image, 20)
    assert not cells.features.any()
    assert not cells.valid.any()
    assert np.isnan(cells.doubt).all()
