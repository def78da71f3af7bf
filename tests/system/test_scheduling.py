"""Tasks here and on a cluster: all are done, whoever dies, and errors come back as they are."""

import logging
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from jingwei.errors import InputError, SettingError
from jingwei.raster.opening import ALLOW_REMOTE
from jingwei.system.scheduling import Here, Task, open_cluster


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> None:
    raise InputError("scene.tif", f"is number {number}", "take another")


def die_once(marks: Path, number: int) -> int:
    """Kills the process that does it, the first time."""
    try:
        (marks / str(number)).touch(exist_ok=False)
    except FileExistsError:
        return double(number)
    os.kill(os.getpid(), signal.SIGKILL)


def die_always() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def environment(name: str) -> str | None:
    return os.environ.get(name)


def again(task: Task, result: int) -> list[Task]:
    return [Task(double, (result,))] * 2 if result == 2 else []


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("distributed")
    with open_cluster("local", workers=2) as opened:
        yield opened


@pytest.fixture(params=["here", "cluster"])
def scheduler(request):
    return Here() if request.param == "here" else request.getfixturevalue("cluster")


def test_all_tasks_are_done_and_those_that_follow(scheduler):
    done = list(scheduler.run((Task(double, (n,)) for n in (1, 5, 7)), again))
    assert sorted(result for _, result in done) == [2, 4, 4, 10, 14]
    assert all(result == 2 * task.arguments[0] for task, result in done)


def test_no_tasks_give_nothing(scheduler):
    assert list(scheduler.run([])) == []


def test_here_what_follows_goes_before_what_waits():
    done = [result for _, result in Here().run([Task(double, (n,)) for n in (1, 5)], again)]
    assert done == [2, 4, 4, 10]


def test_an_error_comes_back_whole(scheduler):
    with pytest.raises(InputError, match="^scene.tif: is number 3: take another$"):
        list(scheduler.run([Task(refuse, (3,)), Task(double, (1,))]))
    assert [result for _, result in scheduler.run([Task(double, (4,))])] == [8]  # and nothing is broken by it


def test_work_whose_worker_dies_is_done_again(cluster, tmp_path):
    done = list(cluster.run([Task(die_once, (tmp_path, n)) for n in range(3)]))
    assert sorted(result for _, result in done) == [0, 2, 4]
    assert len(list(tmp_path.iterdir())) == 3


def test_work_that_kills_every_worker_is_given_up(cluster):
    with pytest.raises(SettingError, match="`cluster` local: its workers died again and again over die_always"):
        list(cluster.run([Task(die_always, ())]))
    assert [result for _, result in cluster.run([Task(double, (4,))])] == [8]


def test_a_worker_has_one_core_and_no_gpu(cluster):
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    done = {task.arguments[0]: result for task, result in cluster.run([Task(environment, (n,)) for n in names])}
    assert done == {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def test_each_gpu_has_a_worker_of_its_own():
    pytest.importorskip("distributed")
    with open_cluster("local", workers=5, gpus=2) as cluster:
        assert cluster.workers == 2
        seen = cluster._client.run(environment, "CUDA_VISIBLE_DEVICES")
    assert sorted(seen.values()) == ["0", "1"]


def test_paths_mean_the_same_on_a_worker(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ((_, folder),) = cluster.run([Task(os.getcwd, ())])
    assert folder == str(tmp_path)


def test_a_folder_that_workers_do_not_see_is_told(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getcwd", lambda: "/no/such/folder")
    with pytest.raises(InputError, match="^/no/such/folder: a worker can't go there .*: start from a folder"):
        list(cluster.run([Task(double, (1,))]))


def test_the_work_stays_here_without_an_address():
    with open_cluster(None, workers=8) as scheduler:
        assert isinstance(scheduler, Here)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_nobody_there_is_told(address, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("jingwei.system.scheduling.PATIENCE", 1)
    with pytest.raises(SettingError, match=f"`cluster` {address}: doesn't answer"):
        with open_cluster(address):
            pass


def test_a_cluster_without_workers_is_told():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as empty:
        with pytest.raises(SettingError, match="has no workers"):
            with open_cluster(empty.scheduler_address):
                pass


def test_a_task_says_what_it_is_about():
    assert str(Task(partial(double, number=3), (Path("a.tif"), 7))) == "double(a.tif)"
    assert str(Task(die_always, ())) == "die_always()"


def test_what_may_be_opened_here_may_be_there_and_no_longer_than_for_that(cluster, monkeypatch):
    tasks = [Task(environment, (ALLOW_REMOTE,))] * 4
    monkeypatch.setenv(ALLOW_REMOTE, "1")
    assert [result for _, result in cluster.run(tasks)] == ["1"] * 4
    monkeypatch.delenv(ALLOW_REMOTE)
    assert [result for _, result in cluster.run(tasks)] == [None] * 4
    (left,) = {task.result() for task in [cluster._client.submit(environment, ALLOW_REMOTE, pure=False)]}
    assert left is None


def test_what_dask_logs_of_a_lost_scheduler_is_not_printed_beside_our_line(cluster):
    assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)
