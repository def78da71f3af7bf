"""Votes of files: strip by strip as if whole, the same bytes again, and nothing half."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine
from whole_votes import assert_like_whole_arrays, hard_vote, legend_of, random_planes, soft_vote

from jingwei.errors import InputError
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.reading import open_labels
from jingwei.raster.stamps import SCORE
from jingwei.raster.writing import TiledWriter, without_nodata
from jingwei.voting.vote import VoteFiles, vote, weight_counts
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write_map(path: Path, labels: np.ndarray, transform=None) -> Path:
    profile = dict(driver="GTiff", height=labels.shape[0], width=labels.shape[1], count=1, dtype="uint8", nodata=255)
    with rasterio.open(path, "w", transform=transform, crs="EPSG:32648" if transform else None, **profile) as file:
        file.write(labels, 1)
    return path


def random_maps(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).choice([0, 1, 2, 3, 4, NODATA], (count, height, width)).astype(np.uint8)


def read_labels(path: Path) -> np.ndarray:
    with open_labels(path) as source:
        return source.read_label_rows(0, source.height)


def files_in(folder: Path) -> VoteFiles:
    return VoteFiles.beside(folder / "vote.tif")._replace(submission=folder / "vote.png")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_files_are_voted_on_strip_by_strip_as_if_whole(count, tmp_path):
    maps = random_maps(count, 530, 70)  # more than two strips
    transform = Affine.translation(5e5, 2.8e6) @ Affine.rotation(20) @ Affine.scale(0.1, -0.1)
    paths = [write_map(tmp_path / f"{i}.tif", labels, transform) for i, labels in enumerate(maps)]
    files = files_in(tmp_path / "out")
    assert vote(paths, files, JINGWEI)
    expected = hard_vote(maps)
    for path, values in zip(files.maps, [*expected, expected[1]], strict=True):
        np.testing.assert_array_equal(read_labels(path), values)
        with rasterio.open(path) as file:
            assert file.transform.almost_equals(transform)
            assert file.crs.to_epsg() == 32648
            assert file.nodata == NODATA
    np.testing.assert_array_equal(
        np.asarray(Image.open(files.submission)), np.where(expected[0] == NODATA, 0, expected[0])
    )
    with rasterio.open(files.labels) as file:
        assert file.colormap(1)[1] == (*JINGWEI.classes[1].color, 255)


def test_pngs_and_tiled_maps_vote_together(tmp_path):
    labels = random_maps(1, 300, 40)[0]
    labels[labels == NODATA] = 0
    write_png(tmp_path / "a.png", labels)
    with TiledWriter(tmp_path / "b.tif", 300, 40, nodata=NODATA) as writer:
        writer.write(Window(0, 0, 300, 40), labels)
    files = VoteFiles.beside(tmp_path / "vote.tif")
    vote([tmp_path / "a.png", tmp_path / "b.tif"], files, JINGWEI)
    for path, expected in zip(files.maps, [labels, *(np.full_like(labels, v) for v in (100, 0, 100))], strict=True):
        np.testing.assert_array_equal(read_labels(path), expected)


def test_the_vote_lies_where_the_first_map_does_that_says_so(tmp_path):
    labels = random_maps(1, 30, 40)[0]
    labels[labels == NODATA] = 0
    write_png(tmp_path / "a.png", labels)
    place = {"crs": "EPSG:32650", "transform": rasterio.transform.from_origin(5e5, 4.4e6, 0.5, 0.5)}
    how = {"driver": "GTiff", "height": 30, "width": 40, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "b.tif", "w", **how, **place) as file:
        file.write(labels, 1)
    files = VoteFiles.beside(tmp_path / "vote.tif")
    vote([tmp_path / "a.png", tmp_path / "b.tif"], files, JINGWEI)
    for path in files.maps:
        with rasterio.open(path) as file:
            assert (file.crs, file.transform) == (place["crs"], place["transform"])


def contents(files: VoteFiles) -> list[bytes]:
    return [path.read_bytes() for path in files]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_and_a_second_run_write_the_same_bytes(soft, workers, tmp_path):
    if soft:
        paths = [write_planes(tmp_path / f"{i}.tif", random_planes(5, 530, 300, seed=i)) for i in range(3)]
    else:
        paths = [write_map(tmp_path / f"{i}.tif", labels) for i, labels in enumerate(random_maps(3, 530, 300))]
    outputs = []
    for run, how in {"first": 2, "second": workers}.items():
        vote(paths, files_in(tmp_path / run), JINGWEI, soft=soft, workers=how)
        outputs.append(contents(files_in(tmp_path / run)))
    assert outputs[0] == outputs[1]


def test_a_vote_is_not_held_twice(tmp_path):
    paths = [write_map(tmp_path / f"{i}.tif", labels) for i, labels in enumerate(random_maps(3, 300, 40))]
    files = files_in(tmp_path / "out")
    assert vote(paths, files, JINGWEI)
    before, made = contents(files), files.labels.stat().st_mtime_ns
    write_png(files.submission, np.zeros((300, 40), np.uint8))  # as a later stage writes its own
    assert not vote(paths, files, JINGWEI, workers=2)
    assert contents(files) == before
    assert files.labels.stat().st_mtime_ns == made
    legend, how = JINGWEI, {"weights": [1, 1, 2]}
    assert vote(paths, files, legend, **how)
    how["ties"] = "background"
    assert vote(paths, files, legend, **how)
    legend = replace(legend, name="other")
    assert vote(paths, files, legend, **how)
    assert not vote(paths, files, legend, **how)
    files.entropy.unlink()
    assert vote(paths, files, legend, **how)
    write_map(paths[2], random_maps(1, 300, 40)[0])
    assert vote(paths, files, legend, **how)


def test_a_map_of_weight_0_is_left_out(tmp_path):
    paths = [write_map(tmp_path / f"{i}.tif", labels) for i, labels in enumerate(random_maps(2, 300, 40))]
    (tmp_path / "broken.tif").write_text("no map")
    vote([*paths, tmp_path / "broken.tif"], files_in(tmp_path / "with"), JINGWEI, weights=[1, 2, 0])
    vote(paths, files_in(tmp_path / "without"), JINGWEI, weights=[1, 2])
    assert contents(files_in(tmp_path / "with")) == contents(files_in(tmp_path / "without"))


@pytest.mark.parametrize("shape", [(531, 70), (530, 71), (70, 530)])
@pytest.mark.parametrize("soft", [False, True])
def test_maps_of_different_sizes_are_refused_and_nothing_is_written(soft, shape, tmp_path):
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path, size in zip(paths, ((530, 70), shape), strict=True):
        write_planes(path, random_planes(5, *size)) if soft else write_map(path, random_maps(1, *size)[0])
    with pytest.raises(InputError, match=rf"b.tif: {shape[1]} x {shape[0]} px, but a.tif is 70 x 530"):
        vote(paths, files_in(tmp_path / "out"), JINGWEI, soft=soft)
    assert not (tmp_path / "out").exists()


def test_a_map_that_is_cut_off_keeps_the_older_votes(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, labels in zip(paths, random_maps(2, 700, 90), strict=True):
        write_png(path, labels)
    files = files_in(tmp_path / "out")
    vote(paths, files, JINGWEI)
    before = contents(files)
    paths[1].write_bytes(paths[1].read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"b.png: broken or truncated"):
        vote(paths, files, JINGWEI)
    assert contents(files) == before
    assert not list((tmp_path / "out").glob(".*"))


def write_planes(path: Path, planes: np.ndarray) -> Path:
    with TiledWriter(path, *planes.shape[1:], bands=len(planes), nodata=0) as writer:
        writer.write(Window(0, 0, *planes.shape[1:]), planes)
    return path


@pytest.mark.parametrize("strip_rows", [1, 100, 256, 511, 512, 513])
@pytest.mark.parametrize("classes", [2, 3, 4, 5])
def test_soft_files_are_those_of_whole_arrays_for_any_strip(classes, strip_rows, tmp_path, monkeypatch):
    monkeypatch.setattr("jingwei.voting.vote.BLOCK_BYTES", 1)  # blocks of one tile
    planes = np.stack([random_planes(classes, 513, 300, seed) for seed in range(2)])
    planes[1] = planes[1][:, ::-1]
    paths = [write_planes(tmp_path / f"{i}.tif", values) for i, values in enumerate(planes)]
    files, legend = files_in(tmp_path / "out"), legend_of(classes)
    assert vote(paths, files, legend, soft=True, weights=[1, 0.7], workers=2, strip_rows=strip_rows)
    counted = [read_labels(path) for path in files.maps]
    assert_like_whole_arrays(counted, planes, weight_counts([1, 0.7], 2), [])
    np.testing.assert_array_equal(np.asarray(Image.open(files.submission)), without_nodata(counted[0]))
    assert not vote(paths, files, legend, soft=True, weights=[1, 0.7])


def test_probabilities_that_a_mask_makes_invalid_abstain(tmp_path):
    planes, valid = random_planes(5, 40, 30), np.random.default_rng(1).random((40, 30)) < 0.5
    with TiledWriter(tmp_path / "a.tif", 40, 30, bands=5, mask=True) as writer:
        writer.write(Window(0, 0, 40, 30), planes, valid)
    files = VoteFiles.beside(tmp_path / "vote.tif")
    vote([tmp_path / "a.tif"], files, JINGWEI, soft=True)
    expected = soft_vote(np.where(valid, planes, 0)[None].astype(np.uint8))
    np.testing.assert_array_equal([read_labels(path) for path in files.maps], expected)


def test_soft_and_hard_votes_are_not_taken_for_each_other(tmp_path):
    one = legend_of(1)
    path = write_planes(tmp_path / "a.tif", np.full((1, 20, 20), 255, np.uint8))
    assert vote([path], files_in(tmp_path), one, soft=True)
    assert vote([path], files_in(tmp_path), one)


@pytest.mark.parametrize(
    ("bands", "dtype", "message"),
    [
        (1, "uint8", "b.tif: has one band, as label maps have.*run predict.py with `probabilities`"),
        (4, "uint8", "b.tif: has 4 bands, but legend jingwei has 5 classes.*predict.py with `probabilities`.*`legend`"),
        (6, "uint8", "b.tif: has 6 bands, but legend jingwei has 5"),
        (5, "float32", "b.tif: holds float32 values"),
    ],
)
def test_what_holds_no_probabilities_is_refused(bands, dtype, message, tmp_path):
    good = write_planes(tmp_path / "a.tif", random_planes(5, 30, 40))
    with rasterio.open(
        tmp_path / "b.tif", "w", driver="GTiff", height=30, width=40, count=bands, dtype=dtype, photometric="minisblack"
    ) as file:
        file.write(np.ones((bands, 30, 40), dtype))
    with pytest.raises(InputError, match=message):
        vote([good, tmp_path / "b.tif"], files_in(tmp_path / "out"), JINGWEI, soft=True)
    assert not (tmp_path / "out").exists()


def test_probabilities_are_no_label_map(tmp_path):
    path = write_planes(tmp_path / "a.tif", random_planes(5, 30, 40))
    with pytest.raises(InputError, match="a.tif: has 5 bands"):
        vote([path], files_in(tmp_path / "out"), JINGWEI)


def test_the_workspace_lists_probabilities_best_first_and_takes_no_result_for_a_prediction(tmp_path):
    workspace, scene = Workspace(tmp_path), Scene(tmp_path / "image_3.png")
    masks = tmp_path / "test" / "mask3"
    for folder in (masks, masks / "probabilities"):
        for name, score in (("a", 0.1), ("b", 0.9), ("c", 0.5)):
            with TiledWriter(folder / f"{name}.tif", 8, 8, tags={SCORE: str(score)}):
                pass
    for path in (workspace.vote(scene), workspace.agreement(scene), workspace.entropy(scene), workspace.filled(scene)):
        write_map(path, np.zeros((8, 8), np.uint8))
    assert [path.stem for path in workspace.predictions(scene)] == ["b", "c", "a"]
    assert workspace.soft_predictions(scene) == [masks / "probabilities" / f"{name}.tif" for name in "bca"]
