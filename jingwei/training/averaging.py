"""Averages of a network's weights over its training, which generalise better than its last ones."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and batch-norm statistics: call `update_parameters` after each step.

    While n steps are few, the decay is (1 + n) / (10 + n), so that the random first weights are soon forgotten.
    """

    def average(averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor) -> None:
        count = float(num_averaged)
        share = 1 - min(decay, (1 + count) / (10 + count))
        if torch.is_floating_point(averaged[0]):
            torch._foreach_lerp_(averaged, current, share)
        else:
            torch._foreach_copy_(averaged, current)  # counters

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


def equal_average(model: nn.Module) -> AveragedModel:
    """The plain mean of the weights at each `update_parameters` (SWA, Izmailov et al. 2018).

    Its batch-norm statistics are nobody's: `refit_batch_norm` before use.
    """
    return AveragedModel(model)


@torch.no_grad()
def refit_batch_norm(model: nn.Module, batches: Iterable[Tensor], frozen: nn.Module | None = None) -> None:
    """Re-estimates the batch-norm statistics of `model` as their mean over batches of its input.

    Those inside `frozen` stay. The model is left in evaluation.
    """
    model.eval()
    kept = set(frozen.modules()) if frozen else set()
    kind = nn.modules.batchnorm._BatchNorm
    norms = [module for module in model.modules() if isinstance(module, kind) and module not in kept]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for a mean over all batches alike
        norm.train()
    for pixels in batches:
        model(pixels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
