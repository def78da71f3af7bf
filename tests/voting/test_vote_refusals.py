"""Maps that can't be voted on together: ids of another legend, other places. Nothing is written."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from jingwei.errors import InputError
from jingwei.legend import JINGWEI, NODATA
from jingwei.voting.vote import VoteFiles, vote

HERE = Affine(0.5, 0, 5e5, 0, -0.5, 3e6)


def write(path, planes, transform=HERE, crs="EPSG:32648", nodata=NODATA):
    planes = planes if planes.ndim == 3 else planes[None]
    how = dict(driver="GTiff", height=planes.shape[1], width=planes.shape[2], count=len(planes), dtype="uint8")
    with rasterio.open(path, "w", crs=crs, transform=transform, nodata=nodata, **how) as file:
        file.write(planes)
    return path


def refused(folder, inputs, message, **how):
    out = folder / "out"
    with pytest.raises(InputError, match=message) as raised:
        vote(inputs, VoteFiles.beside(out / "vote.tif"), JINGWEI, **how)
    assert "\n" not in str(raised.value)
    assert not out.exists() or not list(out.glob("*.tif"))


@pytest.mark.parametrize("which", [0, 1])
def test_ids_that_the_legend_lacks_are_named_with_their_place(tmp_path, which):
    labels = np.ones((700, 64), np.uint8)
    strange = labels.copy()
    strange[600:632], strange[640, 7] = 9, 17
    paths = [write(tmp_path / f"{name}.tif", strange if k == which else labels) for k, name in enumerate("ab")]
    name = f"{'ab'[which]}.tif"
    expected = (
        rf"{name}: ids 9 \(2,048 px\), 17 \(1 px\) in rows \d+ to 700, the first at row 600, column 0; but legend"
    )
    refused(tmp_path, paths, expected)


def test_two_maps_that_agree_on_a_strange_id_are_refused(tmp_path):
    labels = np.ones((64, 64), np.uint8)
    labels[:32] = 9
    refused(tmp_path, [write(tmp_path / f"u{name}.tif", labels) for name in "ab"], "ua.tif: ids 9 ")


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("where", [
    {"transform": HERE @ Affine.translation(80, 0)},
    {"transform": HERE @ Affine.scale(2)},
    {"transform": HERE @ Affine.scale(1, -1)},
    {"crs": "EPSG:32649"},
])  # fmt: skip
def test_maps_at_other_places_are_refused(tmp_path, soft, where):
    planes = np.full((5, 300, 200) if soft else (300, 200), 1, np.uint8)
    nodata = None if soft else NODATA
    paths = [
        write(tmp_path / "a.tif", planes, nodata=nodata),
        write(tmp_path / "b.tif", planes, nodata=nodata, **where),
    ]
    refused(tmp_path, paths, "b.tif: (lies at another place|is in EPSG)", soft=soft)


def test_less_than_a_pixel_and_maps_that_say_nothing_are_the_same_place(tmp_path):
    labels = np.ones((30, 40), np.uint8)
    near = HERE @ Affine.translation(0.3, 0.3)
    paths = [write(tmp_path / "a.tif", labels), write(tmp_path / "b.tif", labels, near)]
    paths.append(write(tmp_path / "c.tif", labels, Affine.identity(), None))
    assert vote(paths, VoteFiles.beside(tmp_path / "vote.tif"), JINGWEI)


def test_a_map_whose_nodata_is_a_class_is_refused_unless_somebody_says_what_it_means(tmp_path):
    labels = np.zeros((30, 40), np.uint8)
    labels[:, :9] = 1
    paths = [write(tmp_path / "a.tif", labels, nodata=0), write(tmp_path / "b.tif", labels, nodata=0)]
    refused(tmp_path, paths, "a.tif: its nodata tag is 0, which is also class background")
    for meant, expected in (("keep", labels), ("ignore", np.where(labels == 0, NODATA, labels))):
        files = VoteFiles.beside(tmp_path / f"{meant}.tif")
        vote(paths, files, JINGWEI.with_label_nodata(meant))
        with rasterio.open(files.labels) as file:
            np.testing.assert_array_equal(file.read(1), expected)
