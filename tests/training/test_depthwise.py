"""Gradients of depthwise convolutions in float32: the same convolution, only its gradient is computed otherwise."""

from dataclasses import replace

import pytest
import torch
from learner_runs import SMALL, batch, learner_of
from torch import nn
from torch.nn import functional

from jingwei.training.depthwise import _Depthwise, fast_depthwise
from jingwei.training.position import Position

CPU = torch.device("cpu")


def gradients(layer, pixels, fast):
    pixels = pixels.clone().requires_grad_()
    layer.zero_grad()
    context = fast_depthwise(CPU, torch.bfloat16 if fast else torch.float32)
    with torch.autocast("cpu", torch.bfloat16), context:
        output = layer(pixels)
    output.float().square().sum().backward()
    return output.detach().float(), pixels.grad, [parameter.grad.clone() for parameter in layer.parameters()]


@pytest.mark.parametrize(("size", "stride", "dilation"), [(3, 1, 1), (5, 1, 1), (3, 2, 1), (5, 2, 1), (3, 1, 2)])
def test_output_stays_the_same_and_gradients_come_closer_to_exact_ones(size, stride, dilation):
    torch.manual_seed(0)
    layer = nn.Conv2d(24, 24, size, stride, size // 2 * dilation, dilation, groups=24, bias=False)
    pixels = torch.randn(2, 24, 33, 30)
    usual, of_usual, (weights_usual,) = gradients(layer, pixels, fast=False)
    fast, of_fast, (weights_fast,) = gradients(layer, pixels, fast=True)
    assert torch.equal(usual, fast)
    rounded = pixels.bfloat16().double().requires_grad_()
    weight = layer.weight.detach().bfloat16().double().requires_grad_()
    output = functional.conv2d(rounded, weight, None, stride, size // 2 * dilation, dilation, 24)
    output.backward(2 * usual.double().bfloat16().double())  # what backward gets: bf16 of what forward gave
    for found, found_usual, exact in ((of_fast, of_usual, rounded.grad), (weights_fast, weights_usual, weight.grad)):
        assert found.dtype == torch.float32
        error, error_usual = ((each - exact).norm() / exact.norm() for each in (found, found_usual))
        assert error < 0.01
        assert error <= 1.5 * error_usual


def test_only_depthwise_convolutions_without_bias_are_taken_over(monkeypatch):
    taken = []
    apply = _Depthwise.apply
    monkeypatch.setattr(_Depthwise, "apply", lambda pixels, *rest: taken.append(rest[-1]) or apply(pixels, *rest))
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.Conv2d(8, 8, 3, groups=4, bias=False),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False),
        nn.Conv2d(8, 1, 1),
    )
    with fast_depthwise(CPU, torch.bfloat16):
        network(torch.zeros(1, 3, 16, 16)).sum().backward()
    assert taken == [8]
    taken.clear()
    for device, precision in ((CPU, torch.float32), (torch.device("cuda"), torch.bfloat16)):
        with fast_depthwise(device, precision):
            network(torch.zeros(1, 3, 16, 16))
    assert not taken


def test_frozen_weights_get_no_gradient():
    layer = nn.Conv2d(8, 8, 3, groups=8, bias=False)
    layer.weight.requires_grad_(False)
    pixels = torch.randn(1, 8, 9, 9, requires_grad=True)
    with fast_depthwise(CPU, torch.bfloat16):
        layer(pixels).sum().backward()
    assert layer.weight.grad is None
    assert pixels.grad is not None


def test_a_step_in_bf16_takes_all_depthwise_layers_over_and_one_in_float32_none(monkeypatch):
    taken = []
    apply = _Depthwise.apply
    monkeypatch.setattr(_Depthwise, "apply", lambda *args: taken.append(1) or apply(*args))
    for precision in ("bf16", "fp32"):
        taken.clear()
        learner = learner_of(replace(SMALL, precision=precision))
        depthwise = [layer for layer in learner.model.modules() if getattr(layer, "groups", 1) > 1]
        assert learner.step(Position(), [batch(1)]).good
        assert len(taken) == (len(depthwise) if precision == "bf16" else 0)
