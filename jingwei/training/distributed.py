"""Several processes that train one network: started by `torchrun`, on one machine or many, with GPUs or without.

All processes together do what one would: they share out each batch and the validation, add up gradients and counts, and
only the one that leads writes and prints.
"""

import contextlib
import gc
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed, nn


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
    """Whether `torchrun` started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def leads() -> bool:
    """Whether this process is the one that writes and prints."""
    return int(os.environ.get("RANK", 0)) == 0


def local_size() -> int:
    """How many processes of the team run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def local_rank() -> int:
    """The number of this process on its machine, which is the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


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
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
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


def synchronize_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with batch norms that take their statistics over the windows of all processes.

    timm's batch norms bring an activation along, which torch's own conversion would drop; both ways here keep it.
    """
    if device.type == "cuda":
        from jingwei.models.libraries import timm  # here, because the data's side of the house needs no networks

        return timm.layers.convert_sync_batchnorm(model)
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            synchronized = _SynchronizedBatchNorm(child.num_features, child.eps, child.momentum).to(child.weight)
            synchronized.load_state_dict(child.state_dict())
            after = (getattr(child, name, None) for name in ("drop", "act"))
            synchronized.activation = nn.Sequential(*(layer for layer in after if layer is not None))
            setattr(model, name, synchronized)
        else:
            synchronize_batch_norm(child, device)
    return model


class _SynchronizedBatchNorm(nn.BatchNorm2d):
    """torch's SyncBatchNorm works on GPUs only; this is the same over any backend."""

    activation: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return self.activation(super().forward(input))
        values = input if input.dtype == torch.float64 else input.float()
        count = _Total.apply(values.new_tensor([values.numel() / values.shape[1]]))
        mean = _Total.apply(values.sum((0, 2, 3))) / count
        centred = values - mean.view(1, -1, 1, 1)
        variance = _Total.apply((centred**2).sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), share)
        scale = self.weight / (variance + self.eps).sqrt()
        return self.activation((centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(input.dtype))


class _Total(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(context, values: Tensor) -> Tensor:
        values = values.clone()
        distributed.all_reduce(values)
        return values

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient
