"""Runs over a scene that are stopped and go on, or are shared out: the same bytes as in one go."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_scenes import (
    PLAIN,
    Toy,
    assert_same_map,
    draw,
    in_memory,
    make_checkpoint,
    predict_here,
    ragged,
    read,
    write_scene,
)

from jingwei.errors import CheckpointError, OutputError
from jingwei.legend import NODATA
from jingwei.prediction import shared_out
from jingwei.prediction.job import Job, runs_of
from jingwei.prediction.scene import assemble, predict_bands, prepare
from jingwei.raster import stamps
from jingwei.system.scheduling import Here, open_cluster

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- stopped, and gone on with ----


@pytest.fixture
def stopping(toy, monkeypatch):
    """Makes the toy network stop the run, as Ctrl-C does, at its n-th call; from then on it works."""

    def stop_at(call: int) -> None:
        calls = []

        def forward(self, pixels):
            calls.append(1)
            if len(calls) == call:
                raise KeyboardInterrupt
            return Toy.forward(self, pixels)

        monkeypatch.setattr(type(toy), "__call__", forward)

    return stop_at


@pytest.mark.parametrize("shape", [(600, 140), (140, 600)], ids=["tall", "wide"])
@pytest.mark.parametrize("overlap", [0, 32, 100])
def test_a_run_that_is_stopped_goes_on_and_ends_with_the_same_bytes(tmp_path, toy, weights, stopping, shape, overlap):
    scene = write_scene(tmp_path / "scene.tif", draw(*shape), ragged(*shape, margin=60))
    settings = replace(PLAIN, overlap=overlap)
    targets = {"probabilities": tmp_path / "p" / "map.tif"}
    predict_here(*weights, scene, tmp_path / "map.tif", settings, **targets)
    whole = (tmp_path / "map.tif").read_bytes(), targets["probabilities"].read_bytes()
    windows = toy.windows
    for call in (1, 2, windows // 2, windows):
        toy.windows = 0
        stopping(call)
        (tmp_path / "map.tif").unlink()
        with pytest.raises(KeyboardInterrupt):
            predict_here(*weights, scene, tmp_path / "map.tif", settings, **targets)
        assert not (tmp_path / "map.tif").exists()
        before = toy.windows
        assert predict_here(*weights, scene, tmp_path / "map.tif", settings, **targets)
        assert whole == ((tmp_path / "map.tif").read_bytes(), targets["probabilities"].read_bytes())
        if call == windows:  # all bands but the last were done: of those, only what reaches into the last one is needed
            needed = -(-128 // (128 - overlap)) + 2
            assert toy.windows - before <= needed * 2 < windows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "p", "scene.tif"]


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


BROKEN = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "a flipped bit": _flipped,
    "missing": Path.unlink,
}


@pytest.mark.parametrize("what", ["00001.tif", "00002_probabilities.tif"])
@pytest.mark.parametrize("how", BROKEN)
def test_bands_that_a_power_cut_has_broken_are_made_again(how, what, tmp_path, toy, weights, stopping):
    scene = write_scene(tmp_path / "scene.tif", draw(600, 140))
    targets = {"probabilities": tmp_path / "p" / "map.tif"}
    predict_here(*weights, scene, tmp_path / "map.tif", **targets)
    whole = (tmp_path / "map.tif").read_bytes(), targets["probabilities"].read_bytes()
    (tmp_path / "map.tif").unlink()
    stopping(toy.windows - 1)
    with pytest.raises(KeyboardInterrupt):
        predict_here(*weights, scene, tmp_path / "map.tif", **targets)
    BROKEN[how](tmp_path / ".map.parts" / what)
    assert predict_here(*weights, scene, tmp_path / "map.tif", **targets)
    assert whole == ((tmp_path / "map.tif").read_bytes(), targets["probabilities"].read_bytes())


@pytest.mark.parametrize("stamp", [b"", b"0123", b"\n", b"0123456789abcdef\nno such engine", b"\xff\xfe"])
def test_a_stamp_that_a_power_cut_has_broken_is_made_again(stamp, tmp_path, toy, weights):
    scene = write_scene(tmp_path / "scene.tif", draw(300, 140))
    (tmp_path / ".map.parts").mkdir()
    (tmp_path / ".map.parts" / "stamp").write_bytes(stamp)
    assert predict_here(*weights, scene, tmp_path / "map.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "scene.tif"]


@pytest.mark.parametrize("place", [".map.parts", ".map.parts/00000.tif", ".map.parts/stamp"])
def test_links_where_bands_are_kept_are_not_followed(place, tmp_path, toy, weights):
    scene = write_scene(tmp_path / "scene.tif", draw(300, 140))
    victim = tmp_path / "elsewhere"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).symlink_to(victim if place == ".map.parts" else victim / "precious")
    assert predict_here(*weights, scene, tmp_path / "map.tif")
    assert [(path.name, path.read_text()) for path in victim.iterdir()] == [("precious", "precious")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "map.tif", "scene.tif"]


@pytest.mark.parametrize("change", ["settings", "weights", "version"])
def test_bands_of_other_settings_are_not_gone_on_with(tmp_path, toy, weights, stopping, change, monkeypatch):
    scene = write_scene(tmp_path / "scene.tif", draw(600, 140))
    path, target, settings = tmp_path / "best.pt", tmp_path / "map.tif", PLAIN
    checkpoint = make_checkpoint(path)
    stopping(8)
    with pytest.raises(KeyboardInterrupt):
        predict_here(checkpoint, path, scene, target)
    parts = tmp_path / ".map.parts"
    assert len(list(parts.glob("*.tif"))) > 1
    toy.contrast = 2.0  # other answers: a band of the run before would show
    if change == "settings":
        settings = replace(PLAIN, tta="flips")
    elif change == "weights":
        make_checkpoint(path, score=0.7)
    else:
        monkeypatch.setattr(stamps, "VERSION", "0.0.0")
    assert predict_here(checkpoint, path, scene, target, settings)
    assert not parts.exists()
    assert_same_map(read(target), *in_memory(toy, draw(600, 140), np.ones((600, 140), bool), settings))


def test_a_second_run_of_the_same_map_says_so_and_stops(tmp_path, toy, weights, monkeypatch):
    scene = write_scene(tmp_path / "scene.tif", draw(300, 140))
    seen = []

    def forward(self, pixels):
        if not seen:
            seen.append(1)
            with pytest.raises(OutputError, match="another run is writing it"):
                predict_here(*weights, scene, tmp_path / "map.tif")
            assert predict_here(*weights, scene, tmp_path / "other.tif")
        return Toy.forward(self, pixels)

    monkeypatch.setattr(Toy, "__call__", forward)
    assert predict_here(*weights, scene, tmp_path / "map.tif")
    assert (read(tmp_path / "map.tif") == read(tmp_path / "other.tif")).all()


@pytest.mark.parametrize("shape", [(500, 140), (140, 500), (90, 100)], ids=str)
@pytest.mark.parametrize("overlap", [0, 40, 100])
def test_bands_that_are_computed_apart_give_the_same_map(tmp_path, toy, weights, shape, overlap):
    scene = write_scene(tmp_path / "scene.tif", draw(*shape), ragged(*shape, margin=60))
    settings = replace(PLAIN, overlap=overlap)
    predict_here(*weights, scene, tmp_path / "map.tif", settings)
    job = Job(weights[1], scene, tmp_path / "apart.tif", settings, device="cpu")
    plan = prepare(job)
    for first, end in reversed(runs_of(plan.missing, longest=2)):
        assert list(predict_bands(job, plan, range(first, end))) == list(range(first, end))
    assemble(job, plan)
    assert (tmp_path / "apart.tif").read_bytes() == (tmp_path / "map.tif").read_bytes()


@pytest.mark.parametrize("step", ["bands", "map"])
def test_a_network_that_is_replaced_under_way_has_no_share_in_the_map(tmp_path, toy, step):
    scene = write_scene(tmp_path / "scene.tif", draw(300, 140))
    path = tmp_path / "best.pt"
    make_checkpoint(path)
    job = Job(path, scene, tmp_path / "map.tif", PLAIN, device="cpu")
    plan = prepare(job)
    if step == "map":
        list(predict_bands(job, plan, range(len(plan.bands))))
    make_checkpoint(tmp_path / "newer.pt", score=0.6)
    os.replace(tmp_path / "newer.pt", path)
    with pytest.raises(CheckpointError, match="best.pt: has changed since map.tif was begun"):
        list(predict_bands(job, plan, range(1))) if step == "bands" else assemble(job, plan)
    assert not job.target.exists()


def test_runs_of_numbers():
    assert runs_of(()) == []
    assert runs_of((1, 2, 3, 7)) == [(1, 4), (7, 8)]
    assert runs_of((0, 1, 2, 3, 4), longest=2) == [(0, 2), (2, 4), (4, 5)]


# ---- on a cluster ----


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("distributed")
    with open_cluster("local", workers=2) as opened:
        yield opened


@pytest.mark.parametrize("killed", [False, True], ids=["calm", "a worker is killed"])
def test_a_cluster_gives_the_bytes_of_one_machine(tmp_path, weights, cluster, killed):
    scenes = [write_scene(tmp_path / f"{n}.tif", draw(*shape), ragged(*shape, margin=60))
              for n, shape in enumerate([(700, 140), (140, 500), (90, 80)])]  # fmt: skip
    jobs = {}
    for folder in ("here", "there"):
        jobs[folder] = [
            Job(weights[1], s, tmp_path / folder / s.name, PLAIN, tmp_path / folder / "p" / s.name, "cpu")
            for s in scenes
        ]
    assert [fresh for _, fresh in shared_out.predict(jobs["here"], Here())] == [True] * 3
    if killed:
        pid = cluster._client.run(os.getpid).popitem()[1]
        first = jobs["there"][0].parts
        killer = threading.Thread(target=lambda: (wait_for(lambda: list(first.glob("*.tif"))), os.kill(pid, 9)))
        killer.start()
    assert {job: fresh for job, fresh in shared_out.predict(jobs["there"], cluster)} == dict.fromkeys(
        jobs["there"], True
    )
    if killed:
        killer.join()
    for here, there in zip(jobs["here"], jobs["there"], strict=True):
        assert here.target.read_bytes() == there.target.read_bytes()
        assert here.probabilities.read_bytes() == there.probabilities.read_bytes()
    maps = sorted(p.name for p in (tmp_path / "there").iterdir() if p.suffix in ("", ".tif"))
    assert maps == ["0.tif", "1.tif", "2.tif", "p"]
    assert [fresh for _, fresh in shared_out.predict(jobs["there"], cluster)] == [False] * 3


def wait_for(condition) -> None:
    while not condition():
        time.sleep(0.002)


def test_a_mistake_in_one_job_of_many_stops_with_its_line(tmp_path, weights, cluster):
    good = write_scene(tmp_path / "good.tif", draw(300, 140))
    bad = write_scene(tmp_path / "bad.tif", np.zeros((5, 70, 70), np.uint8))
    jobs = [Job(weights[1], scene, tmp_path / f"map_{scene.name}", PLAIN, device="cpu") for scene in (good, bad)]
    with pytest.raises(CheckpointError, match="was trained on 3 bands, but bad.tif has 5"):
        list(shared_out.predict(jobs, cluster))
    assert not (tmp_path / "map_bad.tif").exists()


def test_a_cluster_makes_the_same_part(tmp_path, weights, cluster):
    scene = write_scene(tmp_path / "scene.tif", draw(1300, 70))
    settings = replace(PLAIN, window=64, overlap=16, part=0.5)
    here, there = (Job(weights[1], scene, tmp_path / f / "map.tif", settings, device="cpu") for f in ("here", "there"))
    assert [fresh for _, fresh in shared_out.predict([here], Here())] == [True]
    assert [fresh for _, fresh in shared_out.predict([there], cluster)] == [True]
    assert there.target.read_bytes() == here.target.read_bytes()
    assert 0.4 < (read(there.target) == NODATA).mean() < 0.6
