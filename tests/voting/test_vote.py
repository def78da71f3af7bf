"""Votes against a plain loop over pixels."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from rasterio.transform import Affine
from scipy.stats import entropy as entropy_of

from jingwei.errors import InputError, SettingError
from jingwei.grid import Window
from jingwei.inputs.scenes import Scene
from jingwei.legend import GF3, JINGWEI, NODATA, LandClass, Legend
from jingwei.raster.png import write_png
from jingwei.raster.reading import open_labels
from jingwei.raster.stamps import SCORE
from jingwei.raster.writing import TiledWriter, without_nodata
from jingwei.voting.counting import CHUNK, REMEMBERED, count_soft_votes, count_votes
from jingwei.voting.vote import WEIGHT_UNIT, VoteFiles, tie_ranks, vote, weight_counts
from jingwei.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
IDS = st.sampled_from([0, 1, 2, 3, 4, NODATA])
BALLOTS = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=IDS)
)


def hard_vote(maps: np.ndarray, weights: list[float] | None = None, ties: str = "first") -> np.ndarray:
    """Labels, agreement, entropy: uint8, 3HW."""
    counted = np.empty((3, *maps.shape[1:]), np.uint8)
    count_votes(maps, weight_counts(weights, len(maps)), tie_ranks(ties, JINGWEI), len(JINGWEI), *counted)
    return counted


def plain_vote(choices: list[int], weights: list[int], order: list[int]) -> tuple[int, int, int]:
    """One pixel: (winner, agreement, entropy). `order` are the classes that win ties, before the first voter's."""
    votes = Counter()
    for choice, weight in zip(choices, weights, strict=True):
        if choice != NODATA and weight:
            votes[choice] += weight
    if not votes:
        return NODATA, NODATA, NODATA
    most = max(votes.values())
    tied = [choice for choice, weight in zip(choices, weights, strict=True) if weight and votes[choice] == most]
    winner = next((c for c in order if c in tied), tied[0])
    evenness = entropy_of(list(votes.values())) / np.log(len(JINGWEI))
    return winner, int(100 * most / sum(votes.values()) + 0.5), int(100 * evenness + 0.5)


def assert_like_the_loop(maps: np.ndarray, weights: list[float] | None, ties: str, order: list[int]) -> None:
    counted = hard_vote(maps, weights, ties)
    counts = weight_counts(weights, len(maps)).tolist()
    for row, col in np.ndindex(maps.shape[1:]):
        assert tuple(counted[:, row, col]) == plain_vote(maps[:, row, col].tolist(), counts, order)


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
    labels, agreement, entropy = hard_vote(maps)
    assert labels.tolist() == [[1, 2, 3, NODATA]]
    assert agreement.tolist() == [[67, 33, 100, NODATA]]
    assert entropy.tolist() == [[40, 68, 0, NODATA]]  # 0.6365 and ln 3, of ln 5
    assert hard_vote(maps, ties="background")[0].tolist() == [[1, 0, 3, NODATA]]
    labels, agreement, _ = hard_vote(maps, [1, 1, 2.5])
    assert labels.tolist() == [[2, 4, 3, NODATA]]
    assert agreement.tolist() == [[56, 56, 100, NODATA]]


def test_all_classes_alike_are_an_entropy_of_100():
    maps = np.arange(5, dtype=np.uint8)[:, None, None]
    assert hard_vote(maps).reshape(-1).tolist() == [0, 20, 100]


def test_a_map_of_weight_0_has_no_say_in_ties():
    maps = np.array([[[3]], [[1]], [[3]]], np.uint8)
    assert hard_vote(maps, [0, 1, 1])[0].item() == 1


def test_ties_of_weights_are_exact_where_floats_are_not():
    """0.1 + 0.2 against 0.3 is a tie."""
    maps = np.array([[[3]], [[3]], [[1]]], np.uint8)
    labels, agreement, _ = hard_vote(maps, [0.1, 0.2, 0.3], "1")
    assert labels.item() == 1
    assert agreement.item() == 50


@given(data=st.data())
def test_the_order_of_maps_matters_only_in_ties(data):
    maps = data.draw(arrays(np.uint8, (4, 2, 9), elements=IDS))
    order = data.draw(st.permutations(range(4)))
    weights = [1, 2, 4, 8.5]  # no sums of these are equal
    there = hard_vote(np.ascontiguousarray(maps[order]), [weights[i] for i in order])
    np.testing.assert_array_equal(there, hard_vote(maps, weights))


def test_more_kinds_of_ballots_than_are_remembered():
    maps = np.random.default_rng(0).integers(0, 5, (7, 25, 200)).astype(np.uint8)
    assert len(np.unique(maps.reshape(7, -1), axis=1)[0]) > REMEMBERED
    assert_like_the_loop(maps, None, "first", [])


def test_weights_are_whole_millionths():
    assert weight_counts([1, 0.25], 2).tolist() == [WEIGHT_UNIT, WEIGHT_UNIT // 4]
    assert weight_counts(None, 3).tolist() == [WEIGHT_UNIT] * 3


@pytest.mark.parametrize("weights", [[1.0], [1.0] * 4, [1, -1, 1], [0, 0, 0], [1, 2, 1e7], [1, float("nan"), 1],
                                     [float("nan"), 1, 1], [1, 1, float("inf")], [1e-9, 0, 0]])  # fmt: skip
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(SettingError, match="`weights`"):
        weight_counts(weights, 3)


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


# --- soft votes ------------------------------------------------------------------------------------------------------


def random_planes(classes: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Probabilities as predict.py keeps them, uint8 CHW: some pixels certain, some invalid."""
    rng = np.random.default_rng(seed)
    planes = rng.dirichlet(np.full(classes, 0.3), (height, width)).transpose(2, 0, 1)
    planes = np.round(255 * planes).astype(np.uint8)
    certain = rng.random((height, width)) < 0.2
    planes[:, certain] = np.where(np.arange(classes) == rng.integers(classes), 255, 0)[:, None]
    planes[:, rng.random((height, width)) < 0.1] = 0
    return planes


def write_planes(path: Path, planes: np.ndarray) -> Path:
    with TiledWriter(path, *planes.shape[1:], bands=len(planes), nodata=0) as writer:
        writer.write(Window(0, 0, *planes.shape[1:]), planes)
    return path


def soft_vote(planes: np.ndarray, weights: list[float] | None = None, ties: str = "first", legend=JINGWEI):
    """Labels, agreement, entropy, confidence: uint8, 4HW."""
    counted = np.empty((4, *planes.shape[2:]), np.uint8)
    count_soft_votes(planes, weight_counts(weights, len(planes)), tie_ranks(ties, legend), *counted)
    return counted


def whole_soft_vote(planes: np.ndarray, weights: np.ndarray, order: list[int]) -> tuple[np.ndarray, ...]:
    """The reference on whole arrays: labels, agreement, entropy (a float in percent, NaN where none is), confidence."""
    _, classes = planes.shape[:2]
    sums = np.tensordot(weights, planes.astype(np.int64), axes=1)  # CHW
    own = planes.max(axis=1)  # KHW
    cast = np.tensordot(weights, (own > 0).astype(np.int64), axes=1)
    # Sorted by sum, then by the order of ties, then by what the voters say one by one, then by id: the last key leads.
    rank = np.array([order.index(c) if c in order else classes for c in range(classes)])
    heard = planes[weights > 0]
    keys = [np.broadcast_to(-np.arange(classes)[:, None, None], sums.shape), *heard[::-1].astype(np.int64)]
    keys += [np.broadcast_to(-rank[:, None, None], sums.shape), sums]
    winner = np.lexsort(keys, axis=0)[-1]
    agrees = (np.take_along_axis(planes, winner[None, None], axis=1)[:, 0] == own) & (own > 0)
    share = 100 * np.tensordot(weights, agrees.astype(np.int64), axes=1) / np.maximum(cast, 1)
    silent = cast == 0
    labels = np.where(silent, NODATA, winner).astype(np.uint8)
    agreement = np.where(silent, NODATA, np.floor(share + 0.5)).astype(np.uint8)
    with np.errstate(invalid="ignore"):
        evenness = 100 * entropy_of(sums, axis=0) / np.log(classes) if classes > 1 else np.where(silent, np.nan, 0.0)
    top = np.take_along_axis(sums, winner[None], axis=0)[0]
    confidence = np.where(silent, NODATA, (200 * top + 255 * cast) // np.maximum(510 * cast, 1)).astype(np.uint8)
    return labels, agreement, evenness, confidence


def assert_like_whole_arrays(counted, planes, weights, order) -> None:
    labels, agreement, evenness, confidence = whole_soft_vote(planes, weights, order)
    np.testing.assert_array_equal(counted[0], labels)
    np.testing.assert_array_equal(counted[1], agreement)
    np.testing.assert_array_equal(counted[2] == NODATA, labels == NODATA)
    np.testing.assert_array_equal(counted[3], confidence)
    valid = labels != NODATA
    assert (np.abs(counted[2][valid] - evenness[valid]) <= 0.5 + 0.01).all()


@st.composite
def soft_ballots(draw):
    voters, classes = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3, 5, 9]))
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    levels = draw(st.sampled_from([[0, 255], [0, 1, 2], [0, 85, 170, 255], range(256)]))  # the fewer, the more ties
    planes = draw(arrays(np.uint8, (voters, classes, height, width), elements=st.sampled_from(levels)))
    invalid = draw(arrays(bool, (voters, 1, height, width)))
    weight = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 2.5, 1e6])
    weights = draw(st.lists(weight, min_size=voters, max_size=voters).filter(any))
    return np.where(invalid, 0, planes).astype(np.uint8), weights, draw(st.permutations(range(classes)))


def legend_of(classes: int) -> Legend:
    return Legend("own", tuple(LandClass(i, f"c{i}", (i, i, i)) for i in range(classes)))


@given(ballots=soft_ballots(), ranked=st.integers(0, 9))
def test_soft_votes_are_those_of_whole_arrays(ballots, ranked):
    planes, weights, order = ballots
    order = order[:ranked]
    ties = ",".join(map(str, order)) or "first"
    counted = soft_vote(planes, weights, ties, legend_of(planes.shape[1]))
    assert_like_whole_arrays(counted, planes, weight_counts(weights, len(planes)), order)


@pytest.mark.parametrize("width", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_soft_votes_of_any_width(width):
    planes = np.stack([random_planes(4, 3, width, seed) for seed in range(3)])
    assert_like_whole_arrays(soft_vote(planes, legend=legend_of(4)), planes, weight_counts(None, 3), [])


@given(ballots=soft_ballots(), data=st.data())
def test_the_order_of_probabilities_matters_only_in_ties(ballots, data):
    planes, weights, order = ballots
    voters = data.draw(st.permutations(range(len(planes))))
    ties, legend = ",".join(map(str, order)), legend_of(planes.shape[1])  # every tie is settled by the classes
    there = soft_vote(np.ascontiguousarray(planes[voters]), [weights[i] for i in voters], ties, legend)
    np.testing.assert_array_equal(there, soft_vote(planes, weights, ties, legend))


def test_hand_computed_soft_votes():
    planes = np.zeros((2, 3, 1, 4), np.uint8)
    planes[0, :, 0, 0], planes[1, :, 0, 0] = (155, 100, 0), (0, 200, 55)  # the second is surer
    planes[0, :, 0, 1], planes[1, :, 0, 1] = (255, 0, 0), (0, 0, 255)  # a tie
    planes[0, :, 0, 2] = (0, 255, 0)  # the second abstains
    labels, agreement, entropy, confidence = soft_vote(planes, legend=legend_of(3))
    assert labels.tolist() == [[1, 0, 1, NODATA]]
    assert agreement.tolist() == [[50, 50, 100, NODATA]]
    assert entropy.tolist() == [[83, 63, 0, NODATA]]
    assert confidence.tolist() == [[59, 50, 100, NODATA]]
    assert soft_vote(planes, ties="2", legend=legend_of(3))[0, 0, 1] == 2
    assert soft_vote(planes[::-1].copy(), legend=legend_of(3))[0, 0, 1] == 2
    assert soft_vote(planes, [2, 1], legend=legend_of(3))[:, 0, 0].tolist() == [1, 33, 81, 52]


def test_probabilities_of_weight_0_have_no_say_in_ties():
    planes = np.array([[0, 0, 255], [200, 55, 0], [55, 200, 0]], np.uint8)[..., None, None]
    planes[0, :2] = [[[10]], [[20]]]
    assert soft_vote(planes, [0, 1, 1], legend=legend_of(3)).reshape(-1).tolist() == [0, 50, 63, 50]


def test_certainty_survives():
    """A probability of 1 is 255, not 256, which would be 0."""
    planes = np.zeros((3, 5, 2, 2), np.uint8)
    planes[:, 4] = 255
    assert soft_vote(planes).reshape(4, -1).tolist() == [[4] * 4, [100] * 4, [0] * 4, [100] * 4]
    planes[:] = 255
    assert soft_vote(planes)[2].tolist() == [[100, 100], [100, 100]]


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
