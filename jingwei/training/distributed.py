"""Several processes that train one network: started by `torchrun`, on one machine or many, with GPUs or without.

All processes together do what one would: they share out each batch and the validation, add up gradients and counts, and
only the one that leads writes and prints.
"""

import contextlib
import gc
import os
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed, nn

from jingwei.errors import SettingError
from jingwei.models.devices import find_device, gpu_count
from jingwei.models.torch_files import first_line
from jingwei.system.machine import team_size


@dataclass(frozen=True)
class Team:
    """This process among all: its rank, from 0, and their number. One process is a team of its own."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def share(self, items: list) -> list:
        """This process's part of a list; all parts together are the list."""
        return items[self.rank :: self.size]

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def total_counts(self, counts: np.ndarray, device: torch.device) -> np.ndarray:
        """The sum of an int64 array over all processes, exactly."""
        return self.total(torch.from_numpy(counts).to(device)).cpu().numpy() if self.size > 1 else counts

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    def copy_buffers(self, model: nn.Module) -> None:
        """Gives all processes the leader's buffers (batch-norm statistics)."""
        if self.size > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, 0)


def in_team() -> bool:
    """Whether `torchrun` started this process together with others."""
    return _number("WORLD_SIZE", 1) > 1


def leads() -> bool:
    """Whether this process is the one that writes and prints."""
    return _number("RANK", 0) == 0


def local_size() -> int:
    """How many processes of the team run on this machine."""
    return team_size()


def local_rank() -> int:
    """The number of this process on its machine, which is the number of its GPU."""
    return _number("LOCAL_RANK", 0)


def _number(name: str, default: int) -> int:
    """A number that torchrun keeps in the environment. SettingError where it is not one."""
    text = os.environ.get(name, str(default))
    if not re.fullmatch("[0-9]{1,6}", text):
        remedy = "unset it, or start with torchrun, which sets it"
        raise SettingError(name, f"is {text!r}, not a number of processes", remedy)
    return int(text)


def process_device(name: str) -> torch.device:
    """The device of this process: under torchrun each has the GPU of its own number. SettingError for too few."""
    device = find_device(name)
    if device.type != "cuda" or not in_team():
        return device
    if device.index is not None:
        raise SettingError(f"`device` {name}", "is one GPU, but several processes were started", "take auto or cuda")
    if local_rank() >= gpu_count():
        problem = f"{local_size()} processes were started here, but there are {gpu_count()} GPUs"
        raise SettingError("torchrun", problem, f"take --nproc_per_node {gpu_count()}, or `device` cpu")
    return torch.device("cuda", local_rank())


@contextlib.contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """The team of this process, left at the end: NCCL between GPUs, Gloo between CPUs.

    Whatever wraps a network for the team (DistributedDataParallel) has to be given up before. Else it is the last to
    hold the process group, and frees it under Python's lock: Gloo then waits for its threads, and these may wait for
    the lock (PyTorch's issue 56297).
    """
    if not in_team():
        yield Team()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        problem = f"the processes of the team can't find each other ({first_line(error)})"
        raise SettingError("torchrun", problem, "start all with torchrun, or unset WORLD_SIZE for one alone") from error
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size())
    except BaseException as error:
        _forget_variables(error)  # the error's frames hold networks too
        raise
    finally:
        gc.collect()  # modules lie in cycles
        distributed.destroy_process_group()


def _forget_variables(error: BaseException | None) -> None:
    """Clears the variables of all functions that an error, or one behind it, came through and that have ended."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def check_sync_bn(device: torch.device) -> None:
    """SettingError where batch norms can't be synchronized: torch's work on GPUs only."""
    if device.type != "cuda":
        problem = "batch norm over several processes (use_synch_bn in a config) works on GPUs only"
        raise SettingError("`sync_bn`", problem, "leave it out: each process then normalises its own windows")


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """The model with batch norms that take their statistics over the windows of all processes."""
    # timm's batch norms bring an activation along: its conversion keeps it, torch's own would drop it.
    from jingwei.models.libraries import timm  # here, because the data's side of the house needs no networks

    return timm.layers.convert_sync_batchnorm(model)
