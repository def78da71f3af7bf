"""Averages of weights, against sums by hand."""

import torch
from torch import nn

from jingwei.training.averaging import equal_average, moving_average, refit_batch_norm


def _set(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_a_moving_average_follows_its_formula_and_takes_the_buffers_along():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = moving_average(model, decay=0.3)
    expected = None
    for number, value in enumerate((1.0, 4.0, -2.0, 7.0)):
        _set(model, value)
        model[1].running_mean.fill_(10 * value)
        model[1].num_batches_tracked.fill_(number)
        average.update_parameters(model)
        decay = min(0.3, (1 + number) / (10 + number))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        for parameter in average.module.parameters():
            torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, expected))
        torch.testing.assert_close(average.module[1].running_mean, torch.full((2,), 10 * expected))
    assert average.module[1].num_batches_tracked == 3


def test_an_equal_average_is_the_mean():
    model = nn.Linear(3, 1)
    average = equal_average(model)
    for value in (1.0, 2.0, 6.0):
        _set(model, value)
        average.update_parameters(model)
    for parameter in average.module.parameters():
        torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, 3.0))


def test_refitted_statistics_are_the_means_over_all_batches_and_dropout_sleeps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2)))
    frozen = model[2]
    frozen[0].running_mean.fill_(5.0)
    batches = [torch.randn(4, 2, 3, 3) * scale + scale for scale in (1.0, 2.0, 5.0)]
    model.train()
    refit_batch_norm(model, batches, frozen)
    norm = model[1]
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0))
    variances = torch.stack([b.transpose(0, 1).reshape(2, -1).var(1) for b in batches])
    torch.testing.assert_close(norm.running_var, variances.mean(0))
    torch.testing.assert_close(frozen[0].running_mean, torch.full((2,), 5.0))
    assert not any(module.training for module in model.modules())
    assert norm.momentum == 0.1
