"""Which devices a training runs on: one in this process, or several GPUs with a process each."""

import os
import re
import sys
from collections.abc import Callable, Sequence

from jingwei.errors import SettingError
from jingwei.models.devices import gpu_count
from jingwei.training.distributed import in_team


def choose_device(chosen: str | None, wanted: int, command: Sequence[str], say: Callable[[str], None] = print) -> str:
    """The device of this process. For more than one GPU, starts a process on each in its own place.

    `chosen` is a name such as cuda:1, or numbers such as 0,1; without it, `wanted` GPUs are taken, as far as there are
    so many. `command` is this process's own, as torchrun starts it: a script with its arguments, or -m and a module.
    """
    there = gpu_count()
    if chosen is not None and not re.fullmatch(r"\d+(,\d+)*", chosen):
        return chosen
    if in_team():  # torchrun gives each process its GPU
        return "cpu" if chosen is None and wanted == 0 else "auto"
    if not there:
        if chosen or wanted > 1:
            say("no GPU here: training on the CPU")
        return "cpu"
    if chosen is None:
        if wanted > there:
            say(f"n_gpu is {wanted}, but there are {there} GPUs here: training on these")
        numbers = list(range(min(wanted, there)))
    else:
        numbers = sorted({int(number) for number in chosen.split(",")})
        if numbers[-1] >= there:
            raise SettingError(f"`device` {chosen}", f"there are {there} GPUs here", "number them from 0")
    if len(numbers) > 1:
        _start_team(numbers, command)
    return f"cuda:{numbers[0]}" if numbers else "cpu"


def _start_team(gpus: list[int], command: Sequence[str]) -> None:
    """Gives this process's place to torchrun, with a process for each of some GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else None
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[gpu] if names else str(gpu) for gpu in gpus)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={len(gpus)}"]
    os.execv(sys.executable, [*torchrun, *command])
