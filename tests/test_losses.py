"""Losses against hand-computed values and plain references; NODATA must change nothing."""

from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from jingwei.errors import SettingError
from jingwei.legend import NODATA
from jingwei.losses import LOSSES, cross_entropy, focal, lovasz, parse_loss

EVERY = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def random_batch(seed: int, classes: int = 4, side: int = 6, unlabelled: float = 0.3):
    """(logits_BCHW, labels_BHW) with some NODATA."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, side, side, generator=generator) * 3
    labels = torch.randint(classes, (2, side, side), generator=generator)
    hidden = torch.rand(labels.shape, generator=generator) < unlabelled
    return logits, labels.masked_fill(hidden, NODATA).to(torch.uint8)


def two_pixels():
    """Two classes; p(label) is 0.8 at the first pixel and 0.4 at the second, the third has no label."""
    logits = torch.tensor([[[[log(0.8), log(0.4), 5.0]], [[log(0.2), log(0.6), -5.0]]]])
    return logits, torch.tensor([[[0, 0, NODATA]]], dtype=torch.uint8)


def test_hand_computed_cross_entropy():
    assert cross_entropy(*two_pixels()).item() == pytest.approx(-(log(0.8) + log(0.4)) / 2)


def test_hand_computed_focal():
    expected = -(0.2**2 * log(0.8) + 0.6**2 * log(0.4)) / 2
    assert focal(*two_pixels()).item() == pytest.approx(expected)


def test_hand_computed_lovasz():
    # One class, errors 0.6 and 0.2: the Jaccard loss is 1/2 for one pixel wrong and 1 for two.
    assert lovasz(*two_pixels()).item() == pytest.approx(0.6 * 0.5 + 0.2 * 0.5)


def test_focal_with_gamma_0_is_cross_entropy():
    logits, labels = random_batch(1)
    assert focal(logits, labels, gamma=0.0).item() == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_cross_entropy_is_that_of_torch(seed):
    logits, labels = random_batch(seed)
    expected = functional.cross_entropy(logits, labels.long(), ignore_index=NODATA)
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


def plain_lovasz(logits, labels) -> float:
    """Berman et al. 2018, eq. 9 and 11, as loops: Jaccard losses of growing sets of pixels, the worst first."""
    probabilities = [
        [exp(v) / sum(exp(w) for w in pixel) for v in pixel]
        for pixel, label in zip(logits.movedim(1, -1).reshape(-1, logits.shape[1]).tolist(), labels.flatten().tolist(),
                                strict=True)
        if label != NODATA
    ]  # fmt: skip
    truth = [label for label in labels.flatten().tolist() if label != NODATA]
    per_class = []
    for c in sorted(set(truth)):
        inside = [label == c for label in truth]
        errors = [1 - p[c] if is_c else p[c] for p, is_c in zip(probabilities, inside, strict=True)]
        order = sorted(range(len(truth)), key=lambda i: -errors[i])

        def jaccard(wrong, inside=inside):
            missed = sum(inside[i] for i in wrong)
            extra = sum(not inside[i] for i in wrong)
            return 1 - (sum(inside) - missed) / (sum(inside) + extra)

        per_class.append(sum(errors[i] * (jaccard(order[: k + 1]) - jaccard(order[:k])) for k, i in enumerate(order)))
    return sum(per_class) / len(per_class)


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_is_that_of_a_plain_loop(seed):
    logits, labels = random_batch(seed, classes=2 + seed)
    assert lovasz(logits, labels).item() == pytest.approx(plain_lovasz(logits, labels), rel=1e-5)


@EVERY
def test_the_right_answer_costs_nothing_and_the_wrong_one_much(loss):
    _, labels = random_batch(3, unlabelled=0)
    right = functional.one_hot(labels.long(), 4).movedim(-1, 1) * 50.0
    assert loss(right, labels).item() == pytest.approx(0, abs=1e-6)
    assert loss(-right, labels).item() > 0.5


def value_and_gradient(loss, logits, labels):
    logits = logits.detach().requires_grad_()
    value = loss(logits, labels)
    value.backward()
    return value.detach(), logits.grad


# Up to where logits of bfloat16 end.
ANYTHING = st.floats(-3.0000000054977558e38, 3.0000000054977558e38, width=32)


@EVERY
@given(seed=st.integers(0, 50), anything=st.lists(ANYTHING, min_size=4, max_size=4))
@settings(max_examples=40)
def test_logits_at_nodata_change_neither_the_value_nor_the_gradient(loss, seed, anything):
    logits, labels = random_batch(seed)
    unlabelled = (labels == NODATA)[:, None].expand_as(logits)
    other = torch.where(unlabelled, torch.tensor(anything)[None, :, None, None], logits)
    value, gradient = value_and_gradient(loss, logits, labels)
    other_value, other_gradient = value_and_gradient(loss, other, labels)
    torch.testing.assert_close(other_value, value)
    torch.testing.assert_close(other_gradient, gradient)
    assert (other_gradient[unlabelled] == 0).all()


@EVERY
@given(anything=ANYTHING)
@settings(max_examples=20)
def test_a_batch_of_nothing_but_nodata_gives_0(loss, anything):
    logits = torch.full((2, 4, 5, 5), anything)
    value, gradient = value_and_gradient(loss, logits, torch.full((2, 5, 5), NODATA, dtype=torch.uint8))
    assert value.item() == 0
    assert (gradient == 0).all()


@EVERY
@pytest.mark.parametrize("labels_type", [torch.uint8, torch.int64])
def test_gradients_are_finite_and_there_even_for_extreme_logits(loss, labels_type):
    logits, labels = random_batch(2)
    value, gradient = value_and_gradient(loss, logits * 1000, labels.to(labels_type))
    assert value.isfinite()
    assert gradient.isfinite().all()
    _, gradient = value_and_gradient(loss, logits, labels.to(labels_type))
    assert gradient.abs().sum() > 0


@EVERY
def test_losses_are_float32_scalars_for_bfloat16_logits(loss):
    logits, labels = random_batch(4)
    value = loss(logits.bfloat16(), labels)
    assert value.dtype == torch.float32
    assert value.shape == ()
    torch.testing.assert_close(value, loss(logits.bfloat16().float(), labels))


def test_sums_of_losses_are_parsed_with_their_weights():
    assert parse_loss("cross_entropy") == {"cross_entropy": (1.0, cross_entropy)}
    assert parse_loss("focal + 0.5*lovasz") == {"focal": (1.0, focal), "lovasz": (0.5, lovasz)}


@pytest.mark.parametrize("text", ["dice", "", "focal+", "x*focal", "0.5*", "focal*0.5", "+", "focal+0.5*jaccard"])
def test_what_is_no_loss_is_refused_with_the_known_ones(text):
    with pytest.raises(SettingError, match="is no loss: known are cross_entropy, focal, lovasz"):
        parse_loss(text)


@pytest.mark.parametrize("text", ["nan*focal", "inf*focal", "-1*focal", "focal+focal"])
def test_weights_that_make_no_sense_and_losses_named_twice_are_refused(text):
    with pytest.raises(SettingError):
        parse_loss(text)
