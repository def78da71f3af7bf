"""The benchmark beside other programs: how results are compared, and rows of programs that are not there."""

import sys

import numpy as np
import pytest
import rasterio

pytestmark = pytest.mark.usefixtures("benchmarks")


def test_regions_are_the_same_as_often_as_both_have_them():
    from peer_results import same_regions

    ours = [(1, 10.0), (1, 10.0), (2, 10.0), (3, 7.2)]
    assert same_regions(ours, ours) == 1
    assert same_regions(ours, [(1, 10.0), (2, 11.0), (3, 7.0)]) == 2 / 4
    assert same_regions([(1, 10.0)], ours) == 1 / 4


def test_pixels_without_a_class_do_not_count(tmp_path):
    from peer_results import same_pixels

    for name, labels in {"a": [[1, 2, 255, 255]], "b": [[1, 3, 255, 0]]}.items():
        how = {"driver": "GTiff", "width": 4, "height": 1, "count": 1, "dtype": "uint8"}
        with rasterio.open(tmp_path / f"{name}.tif", "w", **how) as written:
            written.write(np.array(labels, np.uint8), 1)
    assert same_pixels(tmp_path / "a.tif", tmp_path / "b.tif") == 0.5


def test_areas_differ_by_their_share_of_all():
    from peer_results import same_areas

    assert same_areas(np.array([[60.0, 40], [100, 0]]), np.array([[58.0, 42], [100, 2]])) == pytest.approx(1 - 6 / 200)


def test_absent_and_broken_programs_are_rows_that_say_why(tmp_path):
    from peer_groups import Contender
    from peer_programs import Absent
    from peer_results import table
    from peers import measure

    def absent():
        raise Absent("it is not installed")

    rows = measure(
        [
            Contender("ours", lambda: [sys.executable, "-c", ""]),
            Contender("missing", absent, lambda: 1 / 0),
            Contender("broken", lambda: [sys.executable, "-c", "raise SystemExit('too large')"], lambda: 1 / 0),
            Contender("alike", lambda: [sys.executable, "-c", ""], lambda: 0.995, "all in memory"),
        ],
        2, tmp_path / "log.txt",
    )  # fmt: skip
    assert [row.name for row in rows if row.measured] == ["ours", "alike"]
    lines = table(rows, 10.0).splitlines()
    assert "it is not installed" in lines[3]
    assert "too large" in lines[4]
    assert "99.50%" in lines[5]
    assert lines[5].endswith("all in memory |")


def test_what_takes_too_much_memory_is_killed(tmp_path):
    from peer_groups import Contender
    from peers import measure

    def taking(mib: int) -> list:
        return [sys.executable, "-c", f"import time; held = bytearray({mib} << 20); time.sleep(0.5)"]

    small, large = measure(
        [Contender("small", lambda: taking(10)), Contender("large", lambda: taking(300))],
        1, tmp_path / "log.txt", limit_mib=200,
    )  # fmt: skip
    assert small.measured.peak_mib < 200
    assert large.measured is None
    assert large.note.startswith("killed at 200 MiB")


def test_a_loop_votes_as_we_do(tmp_path):
    """What stands beside vote.py is compared with it: so it has to follow the same rule."""
    import peer_work

    from jingwei.legend import JINGWEI
    from jingwei.voting.vote import VoteFiles, vote

    rng = np.random.default_rng(0)
    sources, arrays = [], []
    for k in range(3):
        labels = rng.integers(0, 5, (300, 280), dtype=np.uint8)
        labels[rng.random(labels.shape) < 0.1] = 255
        arrays.append(tmp_path / f"{k}.npy")
        np.save(arrays[-1], labels)
        sources.append(tmp_path / f"{k}.tif")
        peer_work.write(str(sources[-1]), labels, {"height": 300, "width": 280, "count": 1})
    peer_work.vote(str(tmp_path / "loop.tif"), str(tmp_path / "said.tif"), *map(str, arrays))
    vote(sources, VoteFiles.beside(tmp_path / "ours.tif"), JINGWEI, workers=1)
    with rasterio.open(tmp_path / "loop.tif") as loop, rasterio.open(tmp_path / "ours.tif") as ours:
        same = loop.read(1) == ours.read(1)
    assert same.mean() > 0.85  # all but ties without the first map
    clear = [np.load(path) for path in arrays]
    assert same[(clear[0] == clear[1]) | (clear[0] == clear[2]) | (clear[1] == clear[2])].all()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize(("few", "many"), [(1, 2), (2, 8)])
def test_the_serial_share_is_that_of_amdahls_law(share, few, many):
    from scaling import serial_share

    slow, fast = (7 * (share + (1 - share) / cores) for cores in (few, many))
    assert serial_share(few, many, slow, fast) == pytest.approx(share)


def test_noise_makes_no_share_below_nothing():
    from scaling import serial_share

    assert serial_share(1, 2, 10.0, 4.0) == 0
    assert serial_share(1, 2, 10.0, 11.0) == 1
