"""Many maps, made here one after another, or their bands shared out among the workers of a cluster."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice

from jingwei.prediction.job import Job, Plan, runs_of
from jingwei.prediction.scene import assemble, predict_bands, predict_scene, prepare
from jingwei.system.atomic import only_run
from jingwei.system.progress import Progress
from jingwei.system.scheduling import Cluster, Here, Task


def predict(jobs: Iterable[Job], scheduler: Here | Cluster) -> Iterator[tuple[Job, bool]]:
    """`predict_scene` for many jobs, on a cluster their bands shared out. Gives each job when it is done.

    On a cluster, device and precision `auto` are what the worker has that prepares a job.
    """
    here = isinstance(scheduler, Here)
    done = ((job, predict_scene(job)) for job in jobs) if here else _predict_on(scheduler, jobs)
    for job, fresh in done:
        job.write_styles()
        yield job, fresh


def _predict_on(cluster: Cluster, jobs: Iterable[Job]) -> Iterator[tuple[Job, bool]]:
    waiting = iter(jobs)
    left: dict[Job, int] = {}  # bands of the jobs under way that are not on the disk yet
    with ExitStack() as stack, Progress(total=0, unit="px", unit_scale=True, desc="predict") as bar:
        locks: dict[Job, ExitStack] = {}

        def begin() -> Iterator[Task]:
            for job in islice(waiting, 1):
                locks[job] = stack.enter_context(ExitStack())
                locks[job].enter_context(only_run(job.parts))
                yield Task(prepare, (job,))

        def follow(task: Task, result) -> Iterator[Task]:
            job, *rest = task.arguments
            if task.function is prepare and result is not None:
                left[job] = len(result.missing)
                bar.total += result.px_of(result.missing)
                # Shares of several bands: the windows above each share are computed twice.
                longest = max(4, -(-len(result.missing) // (2 * cluster.workers)))
                yield from (Task(compute, (job, result, range(*run))) for run in runs_of(result.missing, longest))
            elif task.function is compute:
                plan, numbers = rest
                left[job] -= len(numbers)
                bar.update(plan.px_of(numbers))
            if task.function is assemble or (task.function is prepare and result is None):
                locks.pop(job).close()
                yield from begin()
            elif left[job] == 0:
                yield Task(assemble, (job, result if task.function is prepare else rest[0]))

        # So many at once that no worker waits while another ends a job's last band; not all, each holds files.
        first = [task for _ in range(2 * cluster.workers) for task in begin()]
        for task, result in cluster.run(first, follow):
            if task.function is assemble:
                yield task.arguments[0], True
            elif task.function is prepare and result is None:
                yield task.arguments[0], False


def compute(job: Job, plan: Plan, numbers: range) -> None:
    """`predict_bands`, to the end."""
    for _ in predict_bands(job, plan, numbers):
        pass
