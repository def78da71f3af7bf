"""The pieces that networks are built of."""

import numpy as np
import pytest
import torch
from all_networks import pictures
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from jingwei.models.blocks import AveragePooling, PooledBatchNorm, _unpool_in_plain_steps, bilinear_doubling, unpool

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of tracing, and of names that timm is about to change
    pytest.mark.usefixtures("small_networks"),
]


def unpooled(values: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Max unpooling, pixel by pixel."""
    result = np.zeros_like(before)
    for batch, channel, row, column in np.ndindex(values.shape):
        window = before[batch, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        down, right = divmod(int(window.argmax()), 2)
        result[batch, channel, 2 * row + down, 2 * column + right] = values[batch, channel, row, column]
    return result


@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_unpooling_puts_values_where_the_maxima_were_both_ways(batch, channels, height, width, seed):
    random = np.random.default_rng(seed)
    before = random.integers(0, 3, (batch, channels, 2 * height, 2 * width)).astype(np.float32)  # many ties
    values = random.normal(size=(batch, channels, height, width)).astype(np.float32)
    wanted = unpooled(values, before)
    values, before = torch.from_numpy(values), torch.from_numpy(before)
    assert np.array_equal(unpool(values, before).numpy(), wanted)
    assert np.array_equal(_unpool_in_plain_steps(values, before).numpy(), wanted)


@given(st.integers(1, 7), st.integers(1, 40), st.integers(1, 40))
def test_average_pooling_is_torchs_adaptive_one(cells, height, width):
    x = pictures(2, 3, height, width)
    wanted = functional.adaptive_avg_pool2d(x, cells)
    torch.testing.assert_close(AveragePooling(cells)(x), wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("windows", "size"), [(2, 1), (1, 2), (3, 4)])
def test_pooled_batch_norm_is_batch_norm_of_two_values_or_more(windows, size):
    plain = nn.BatchNorm2d(3)
    plain.weight.data.uniform_(0.5, 2)
    pooled = PooledBatchNorm.instead_of(plain)
    x = pictures(windows, 3, size, size)
    assert torch.equal(plain(x), pooled(x))
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), pooled.buffers(), strict=True))
    assert torch.equal(plain.eval()(x), pooled.eval()(x))


def test_pooled_batch_norm_of_one_value_goes_by_the_running_statistics_and_leaves_them():
    pooled = PooledBatchNorm(3).train()
    pooled.running_mean.fill_(10.0)
    pooled.running_var.fill_(4.0)
    before = [buffer.clone() for buffer in pooled.buffers()]
    x = pictures(1, 3, 1, 1).requires_grad_()
    y = pooled(x)
    torch.testing.assert_close(y, (x - 10) / (4 + pooled.eps) ** 0.5)
    y.sum().backward()
    assert x.grad.all()
    assert pooled.weight.grad.any()
    assert pooled.bias.grad.any()
    assert all(torch.equal(a, b) for a, b in zip(before, pooled.buffers(), strict=True))


def test_doubling_starts_as_bilinear_interpolation():
    x = pictures(1, 3, 5, 7)
    wanted = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.no_grad():
        got = bilinear_doubling(3)(x)
    torch.testing.assert_close(got[:, :, 1:-1, 1:-1], wanted[:, :, 1:-1, 1:-1])  # at the rim it sees its padding
