"""Depthwise convolutions whose gradients are computed in float32 while a CPU trains in bf16.

Their bf16 gradients have no fast kernel on CPUs: that of the weights takes three to five times as long as in float32,
that of the input, at stride 2, ten times and more. So a step of an EfficientNet gets a fifth cheaper, and stays exact.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def fast_depthwise(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager:
    """The context in which a network runs forward, so that its gradients come cheaply on this device."""
    needed = device.type == "cpu" and precision == torch.bfloat16
    return _FastDepthwise() if needed else contextlib.nullcontext()


class _FastDepthwise(TorchFunctionMode):
    """Takes the depthwise ones of all two-dimensional convolutions over."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is functional.conv2d and not kwargs and len(args) == 7:  # as torch's and timm's layers call it
            pixels, weight, bias, stride, padding, dilation, groups = args
            if groups == len(weight) > 1 and bias is None and not isinstance(padding, str):
                return _Depthwise.apply(pixels, weight, stride, padding, dilation, groups)
        return func(*args, **(kwargs or {}))


class _Depthwise(torch.autograd.Function):
    """Forward in the arithmetic at hand, backward in float32."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, weight: Tensor, *geometry: Any) -> Tensor:
        ctx.save_for_backward(pixels, weight)
        ctx.geometry = geometry
        stride, padding, dilation, groups = geometry
        return functional.conv2d(pixels, weight, None, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        stride, padding, dilation, groups = ctx.geometry
        exact = (x.float().contiguous(memory_format=torch.channels_last) for x in (gradient, *ctx.saved_tensors))
        wanted = [*ctx.needs_input_grad[:2], False]
        found = torch.ops.aten.convolution_backward(
            *exact, None, stride, padding, dilation, False, [0, 0], groups, wanted
        )
        pairs = zip(found, ctx.saved_tensors, strict=False)  # the third would be the bias's
        return *(None if each is None else each.to(like.dtype) for each, like in pairs), None, None, None, None
