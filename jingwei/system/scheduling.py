"""Independent pieces of work, one after another on this machine or many at once on a Dask cluster.

The only file that imports `dask`. Pieces know nothing of each other, take and give what can be pickled, and leave their
results in files that all workers see. A piece whose worker dies is done again by another.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from jingwei.errors import InputError, SettingError
from jingwei.system.extras import install_hint

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 20  # seconds for a scheduler to answer
# Settings in the environment that count on workers too: which files may be opened, whether they are checked.
CARRIED = ("JINGWEI_ALLOW_REMOTE", "JINGWEI_CHECKSUMS")


class Task(NamedTuple):
    """A piece of work: a function of a module, and what it is called with."""

    function: Callable
    arguments: tuple

    def __call__(self) -> Any:
        return self.function(*self.arguments)

    def __str__(self) -> str:
        """Its function's name and what it is about, which comes first."""
        function = getattr(self.function, "func", self.function)  # of a partial
        return f"{function.__name__}({', '.join(map(str, self.arguments[:1]))})"


# What follows from a finished task: more tasks.
Then = Callable[[Task, Any], Iterable[Task]]


class Here:
    """Does each task in this process, in order."""

    name = "this machine"
    workers = 1

    def run(self, tasks: Iterable[Task], then: Then = lambda task, result: ()) -> Iterator[tuple[Task, Any]]:
        """Does the tasks, and those that `then` makes of a finished one and its result. Gives (task, its result)."""
        waiting = deque(tasks)
        while waiting:
            task = waiting.popleft()
            result = task()
            # What follows goes first: work that was begun is ended before more is begun.
            waiting.extendleft(reversed(list(then(task, result))))
            yield task, result


class Threads:
    """Does each task on one of some threads of this process: for many small ones, whose codecs leave Python's lock."""

    name = "this machine"

    def __init__(self, workers: int):
        self.workers = workers

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
        """Does the tasks, and gives (task, its result) in order. Raises the first error, and begins no more tasks."""
        pool = ThreadPoolExecutor(self.workers)
        try:
            waiting: deque = deque()
            for task in tasks:
                waiting.append((task, pool.submit(task.__call__)))
                if len(waiting) > 2 * self.workers:
                    done, future = waiting.popleft()
                    yield done, future.result()
            for done, future in waiting:
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


class Cluster:
    """Does tasks on the workers of a Dask cluster, in any order."""

    def __init__(self, client: "Client", name: str):
        self._client, self.name = client, name
        self.workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))

    def run(self, tasks: Iterable[Task], then: Then = lambda task, result: ()) -> Iterator[tuple[Task, Any]]:
        """As Here.run, but results come as they are ready. Raises the first error of a task, and drops the others."""
        from distributed import KilledWorker, as_completed
        from distributed.client import FutureCancelledError

        running: dict = {}

        def submit(task: Task) -> Any:
            settings = {name: os.environ.get(name) for name in CARRIED}
            future = self._client.submit(_there, os.getcwd(), settings, task, pure=False)
            running[future] = task
            return future

        done = as_completed([submit(task) for task in tasks])
        try:
            for future in done:
                task = running.pop(future)
                result = future.result()
                for follower in then(task, result):
                    done.add(submit(follower))
                yield task, result
        except KilledWorker as error:
            problem = f"its workers died again and again over {task} ({error})"
            raise SettingError(f"`cluster` {self.name}", problem, "give them more memory, see their logs") from error
        except FutureCancelledError as error:
            problem = f"was lost ({error})"
            raise SettingError(f"`cluster` {self.name}", problem, "start it again; this goes on") from error
        except ModuleNotFoundError as error:
            problem = f"a worker lacks {error.name}"
            remedy = "install jingwei there, in the same version"
            raise SettingError(f"`cluster` {self.name}", problem, remedy) from error
        finally:
            self._client.cancel(list(running))


def _there(folder: str, settings: dict[str, str | None], task: Task) -> Any:
    """Does a task on a worker, in the folder that its paths are counted from, under settings of the environment."""
    try:
        os.chdir(folder)
    except OSError as error:
        remedy = "start from a folder on the disk that all workers share"
        raise InputError(folder, f"a worker can't go there ({error.strerror})", remedy) from error
    before = {name: os.environ.get(name) for name in settings}
    try:
        _set(settings)
        return task()
    finally:
        _set(before)  # the next task may be of another user


def _set(settings: dict[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def open_cluster(address: str | None, workers: int = 1, gpus: int = 0) -> Iterator[Here | Cluster]:
    """Where tasks are done: None is this process, `tcp://HOST:8786` a Dask cluster, `local` one made for the block.

    A local one has a worker per GPU where there are `gpus`, each seeing its own, else `workers` of one core each.
    Raises SettingError where dask isn't installed or nobody answers.
    """
    if address is None:
        yield Here()
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise SettingError("`cluster`", "needs dask", install_hint("cluster")) from error
    with _quiet():
        if address == "local":
            with _local(workers, gpus) as made, Client(made) as client:
                client.wait_for_workers(gpus or workers)
                yield Cluster(client, address)
            return
        try:
            client = Client(address, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            remedy = "give tcp://HOST:PORT of its scheduler"
            raise SettingError(f"`cluster` {address}", f"doesn't answer ({error})", remedy) from error
        with client:
            if not client.scheduler_info()["workers"]:
                raise SettingError(f"`cluster` {address}", "has no workers", "start some: dask worker ADDRESS")
            yield Cluster(client, address)


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask doesn't print the errors of tasks, nor that a scheduler is lost: they come to us, and are shown once."""
    before = {logging.getLogger(name): logging.getLogger(name).level for name in ("distributed", "distributed.client")}
    for logger in before:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def _local(workers: int, gpus: int) -> Any:
    """A cluster of processes on this machine, none of which outlives this one."""
    from distributed import Nanny, Scheduler, SpecCluster

    def options(number: int) -> dict:
        # Each GPU's worker may use its share of the cores.
        env = {"CUDA_VISIBLE_DEVICES": str(number)} if gpus else {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        quiet = {"silence_logs": logging.CRITICAL, "dashboard": False}
        return {"nthreads": 1, "env": env, "memory_limit": 0} | quiet

    return SpecCluster(
        workers={number: {"cls": Nanny, "options": options(number)} for number in range(gpus or workers)},
        scheduler={"cls": Scheduler, "options": {"dashboard": False, "host": "127.0.0.1"}},
        silence_logs=logging.CRITICAL,
    )
