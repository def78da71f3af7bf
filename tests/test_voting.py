"""Votes against a plain loop over pixels."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from rasterio.transform import Affine

from jingwei import raster
from jingwei.errors import InputError, SettingError
from jingwei.grid import Window
from jingwei.legend import GF3, JINGWEI, NODATA
from jingwei.png import write_png
from jingwei.raster import TiledWriter
from jingwei.voting import WEIGHT_UNIT, count_votes, tie_ranks, vote, vote_weights

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
IDS = st.sampled_from([0, 1, 2, 3, 4, NODATA])
BALLOTS = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=IDS)
)


def plain_vote(choices: list[int], weights: list[int], order: list[int]) -> tuple[int, int]:
    """One pixel: (winner, agreement in percent). `order` are the classes that win ties, before the first voter's."""
    votes = Counter()
    for choice, weight in zip(choices, weights, strict=True):
        if choice != NODATA:
            votes[choice] += weight
    if not sum(votes.values()):
        return NODATA, NODATA
    most = max(votes.values())
    tied = [choice for choice in choices if choice != NODATA and votes[choice] == most]  # in the order of the voters
    winner = next((c for c in order if c in tied), tied[0])
    return winner, int(100 * most / sum(votes.values()) + 0.5)


def assert_like_the_loop(maps: np.ndarray, weights: list[float] | None, ties: str, order: list[int]) -> None:
    counts = vote_weights(weights, len(maps))
    labels, agreement = np.empty(maps.shape[1:], np.uint8), np.empty(maps.shape[1:], np.uint8)
    count_votes(maps, counts, tie_ranks(ties, JINGWEI), labels, agreement)
    for row, col in np.ndindex(labels.shape):
        expected = plain_vote(maps[:, row, col].tolist(), counts.tolist(), order)
        assert (labels[row, col], agreement[row, col]) == expected


@pytest.mark.parametrize(
    ("ties", "order"),
    [("first", []), ("background", [0]), ("corn, 1,building", [2, 1, 4]), ("3", [3]), ("0,4,3,2,1", [0, 4, 3, 2, 1])],
)
@given(maps=BALLOTS)
def test_votes_are_those_of_a_plain_loop(ties, order, maps):
    assert_like_the_loop(maps, None, ties, order)


@given(maps=BALLOTS, data=st.data())
def test_weighted_votes_are_those_of_a_plain_loop(maps, data):
    weight = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 1000.0])
    weights = data.draw(st.lists(weight, min_size=len(maps), max_size=len(maps)).filter(any))
    assert_like_the_loop(maps, weights, "background", [0])


def test_hand_computed_votes():
    maps = np.array([[[1, 2, NODATA, NODATA]], [[1, 0, 3, NODATA]], [[2, 4, NODATA, NODATA]]], np.uint8)
    labels, agreement = np.empty((1, 4), np.uint8), np.empty((1, 4), np.uint8)
    count_votes(maps, vote_weights(None, 3), tie_ranks("first", JINGWEI), labels, agreement)
    assert labels.tolist() == [[1, 2, 3, NODATA]]
    assert agreement.tolist() == [[67, 33, 100, NODATA]]
    count_votes(maps, vote_weights(None, 3), tie_ranks("background", JINGWEI), labels, agreement)
    assert labels.tolist() == [[1, 0, 3, NODATA]]
    count_votes(maps, vote_weights([1, 1, 2.5], 3), tie_ranks("first", JINGWEI), labels, agreement)
    assert labels.tolist() == [[2, 4, 3, NODATA]]
    assert agreement.tolist() == [[56, 56, 100, NODATA]]


def test_ties_of_weights_are_exact_where_floats_are_not():
    """0.1 + 0.2 against 0.3 is a tie."""
    maps = np.array([[[3]], [[3]], [[1]]], np.uint8)
    labels, agreement = np.empty((1, 1), np.uint8), np.empty((1, 1), np.uint8)
    count_votes(maps, vote_weights([0.1, 0.2, 0.3], 3), tie_ranks("1", JINGWEI), labels, agreement)
    assert labels.item() == 1
    assert agreement.item() == 50


def test_weights_are_whole_millionths():
    assert vote_weights([1, 0.25], 2).tolist() == [WEIGHT_UNIT, WEIGHT_UNIT // 4]
    assert vote_weights(None, 3).tolist() == [WEIGHT_UNIT] * 3


@pytest.mark.parametrize("weights", [[1.0], [1.0] * 4, [1, -1, 1], [0, 0, 0], [1, 2, 1e7], [1, float("nan"), 1],
                                     [float("nan"), 1, 1], [1, 1, float("inf")], [1e-9, 0, 0]])  # fmt: skip
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(SettingError, match="--weights"):
        vote_weights(weights, 3)


@pytest.mark.parametrize("ties", ["last", "corn,wheat", "9", ""])
def test_unknown_ties_are_refused(ties):
    with pytest.raises(SettingError):
        tie_ranks(ties, JINGWEI)


def test_ties_cannot_go_to_a_background_that_is_not_there():
    with pytest.raises(SettingError, match="legend gf3 has no background"):
        tie_ranks("background", GF3)


# --- files -----------------------------------------------------------------------------------------------------------


def write_map(path: Path, labels: np.ndarray, transform=None) -> Path:
    profile = dict(driver="GTiff", height=labels.shape[0], width=labels.shape[1], count=1, dtype="uint8", nodata=255)
    with rasterio.open(path, "w", transform=transform, crs="EPSG:32648" if transform else None, **profile) as file:
        file.write(labels, 1)
    return path


def random_maps(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).choice([0, 1, 2, 3, 4, NODATA], (count, height, width)).astype(np.uint8)


def read_labels(path: Path) -> np.ndarray:
    with raster.open_labels(path) as source:
        return source.read_label_rows(0, source.height)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_files_are_voted_on_strip_by_strip_as_if_whole(count, tmp_path):
    maps = random_maps(count, 530, 70)  # more than two strips
    transform = Affine.translation(5e5, 2.8e6) @ Affine.rotation(20) @ Affine.scale(0.1, -0.1)
    paths = [write_map(tmp_path / f"{i}.tif", labels, transform) for i, labels in enumerate(maps)]
    target, agreement, png = (tmp_path / "out" / name for name in ("vote.tif", "agreement.tif", "vote.png"))
    vote(paths, target, agreement, JINGWEI, submission=png)
    expected, expected_agreement = np.empty((530, 70), np.uint8), np.empty((530, 70), np.uint8)
    count_votes(maps, vote_weights(None, count), tie_ranks("first", JINGWEI), expected, expected_agreement)
    np.testing.assert_array_equal(read_labels(target), expected)
    np.testing.assert_array_equal(read_labels(agreement), expected_agreement)
    np.testing.assert_array_equal(np.asarray(Image.open(png)), np.where(expected == NODATA, 0, expected))
    for path in (target, agreement):
        with rasterio.open(path) as file:
            assert file.transform.almost_equals(transform)
            assert file.crs.to_epsg() == 32648
            assert file.nodata == NODATA
    with rasterio.open(target) as file:
        assert file.colormap(1)[1] == (*JINGWEI.classes[1].color, 255)


def test_pngs_and_tiled_maps_vote_together(tmp_path):
    labels = random_maps(1, 300, 40)[0]
    labels[labels == NODATA] = 0
    write_png(tmp_path / "a.png", labels)
    with TiledWriter(tmp_path / "b.tif", 300, 40, nodata=NODATA) as writer:
        writer.write(Window(0, 0, 300, 40), labels)
    vote([tmp_path / "a.png", tmp_path / "b.tif"], tmp_path / "vote.tif", tmp_path / "agreement.tif", JINGWEI)
    np.testing.assert_array_equal(read_labels(tmp_path / "vote.tif"), labels)
    assert (read_labels(tmp_path / "agreement.tif") == 100).all()


@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_and_a_second_run_write_the_same_bytes(workers, tmp_path):
    paths = [write_map(tmp_path / f"{i}.tif", labels) for i, labels in enumerate(random_maps(3, 530, 300))]
    outputs = {}
    for run, how in {"first": 2, "second": workers}.items():
        targets = [tmp_path / run / name for name in ("vote.tif", "agreement.tif", "vote.png")]
        vote(paths, targets[0], targets[1], JINGWEI, submission=targets[2], workers=how)
        outputs[run] = [target.read_bytes() for target in targets]
    assert outputs["first"] == outputs["second"]


@pytest.mark.parametrize("shape", [(531, 70), (530, 71), (70, 530)])
def test_maps_of_different_sizes_are_refused_and_nothing_is_written(shape, tmp_path):
    paths = [
        write_map(tmp_path / "a.tif", random_maps(1, 530, 70)[0]),
        write_map(tmp_path / "b.tif", random_maps(1, *shape)[0]),
    ]
    with pytest.raises(InputError, match=rf"b.tif: {shape[1]} x {shape[0]} px, but a.tif is 70 x 530"):
        vote(paths, tmp_path / "out" / "vote.tif", tmp_path / "out" / "agreement.tif", JINGWEI)
    assert not (tmp_path / "out").exists()


def test_a_map_that_is_cut_off_keeps_the_older_votes(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, labels in zip(paths, random_maps(2, 700, 90), strict=True):
        write_png(path, labels)
    targets = [tmp_path / name for name in ("vote.tif", "agreement.tif", "vote.png")]
    vote(paths, targets[0], targets[1], JINGWEI, submission=targets[2])
    before = [target.read_bytes() for target in targets]
    paths[1].write_bytes(paths[1].read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"b.png: broken or truncated"):
        vote(paths, targets[0], targets[1], JINGWEI, submission=targets[2])
    assert [target.read_bytes() for target in targets] == before
    assert not list(tmp_path.glob(".*"))
