"""Losses against hand-computed values and plain references; NODATA must change nothing."""

from functools import partial
from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from loss_cases import OPTIONS, WEIGHTS, patchy_batch, random_batch, row, two_pixels
from torch.nn import functional

from jingwei.legend import NODATA
from jingwei.models.libraries import smp
from jingwei.training.losses import LOSSES, cross_entropy, dice, edge_distance, focal, lovasz

EVERY = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
EVERY_OPTION = pytest.mark.parametrize("loss", OPTIONS.values(), ids=OPTIONS)


def test_hand_computed_cross_entropy():
    assert cross_entropy(*two_pixels()).item() == pytest.approx(-(log(0.8) + log(0.4)) / 2)


def test_hand_computed_cross_entropy_with_class_weights():
    value = cross_entropy(*two_pixels(1), class_weights=torch.tensor([1.0, 3.0]))
    assert value.item() == pytest.approx(-(log(0.8) + 3 * log(0.6)) / 4)


def test_hand_computed_cross_entropy_with_label_smoothing():
    # Two classes: a smoothing of 0.2 makes the targets 0.9 and 0.1.
    value = cross_entropy(*two_pixels(1), label_smoothing=0.2)
    first, second = 0.9 * log(0.8) + 0.1 * log(0.2), 0.9 * log(0.6) + 0.1 * log(0.4)
    assert value.item() == pytest.approx(-(first + second) / 2)


def test_hand_computed_cross_entropy_with_edge_smoothing():
    # Distances 2, 1, 1: shares of 0.4, 0.5 and 0.5, half of which goes to either class.
    pixels = row(((0.8, 0.2), 0), ((0.7, 0.3), 0), ((0.4, 0.6), 1), ((0.9, 0.1), NODATA))
    nlls = [
        -(0.8 * log(0.8) + 0.2 * log(0.2)),
        -(0.75 * log(0.7) + 0.25 * log(0.3)),
        -(0.75 * log(0.6) + 0.25 * log(0.4)),
    ]
    assert cross_entropy(*pixels, edge_smoothing=0.5).item() == pytest.approx(sum(nlls) / 3)
    # A label smoothing of 0.45 lifts the first share alone.
    nlls[0] = -(0.775 * log(0.8) + 0.225 * log(0.2))
    value = cross_entropy(*pixels, label_smoothing=0.45, edge_smoothing=0.5)
    assert value.item() == pytest.approx(sum(nlls) / 3)


def test_hand_computed_focal():
    expected = -(0.2**2 * log(0.8) + 0.6**2 * log(0.4)) / 2
    assert focal(*two_pixels()).item() == pytest.approx(expected)


def test_hand_computed_focal_with_gamma_and_alpha():
    expected = -(0.25 * 0.2**3 * log(0.8) + 0.75 * 0.4**3 * log(0.6)) / 2
    value = focal(*two_pixels(1), gamma=3.0, alpha=torch.tensor([0.25, 0.75]))
    assert value.item() == pytest.approx(expected)


def test_hand_computed_lovasz():
    # One class, errors 0.6 and 0.2: the Jaccard loss is 1/2 for one pixel wrong and 1 for two.
    assert lovasz(*two_pixels()).item() == pytest.approx(0.6 * 0.5 + 0.2 * 0.5)


def test_hand_computed_lovasz_per_image():
    first, second = row(((0.8, 0.2), 0), ((0.4, 0.6), 0)), row(((0.7, 0.3), NODATA), ((0.9, 0.1), 1))
    third = row(((0.7, 0.3), NODATA), ((0.9, 0.1), NODATA))
    logits, labels = (torch.cat(parts) for parts in zip(first, second, third, strict=True))
    # The first image as above; the second is one pixel with an error of 0.9; the third has no labels and no say.
    assert lovasz(logits, labels, per_image=True).item() == pytest.approx((0.4 + 0.9) / 2)


def test_hand_computed_dice():
    # Class 0: overlap 0.8, sizes 0.8 + 0.4 and 1. Class 1: overlap 0.6, sizes 0.2 + 0.6 and 1.
    losses = 1 - 2 * 0.8 / (1.2 + 1), 1 - 2 * 0.6 / (0.8 + 1)
    assert dice(*two_pixels(1)).item() == pytest.approx(sum(losses) / 2)
    # Class 0 alone has labels.
    assert dice(*two_pixels()).item() == pytest.approx(1 - 2 * 1.2 / (1.2 + 2))


def test_focal_with_gamma_0_is_cross_entropy():
    logits, labels = random_batch(1)
    assert focal(logits, labels, gamma=0.0).item() == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-6)


def test_focal_with_gamma_0_and_alpha_is_the_weighted_sum_over_the_number_of_pixels():
    logits, labels = random_batch(1)
    total = functional.cross_entropy(logits, labels.long(), WEIGHTS, ignore_index=NODATA, reduction="sum")
    torch.testing.assert_close(focal(logits, labels, gamma=0.0, alpha=WEIGHTS), total / (labels != NODATA).sum())


@pytest.mark.parametrize("class_weights", [None, WEIGHTS], ids=["equal", "weights"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_cross_entropy_is_that_of_torch(seed, label_smoothing, class_weights):
    logits, labels = random_batch(seed)
    expected = functional.cross_entropy(
        logits, labels.long(), class_weights, ignore_index=NODATA, label_smoothing=label_smoothing
    )
    torch.testing.assert_close(cross_entropy(logits, labels, class_weights, label_smoothing), expected)
    # Hardly more at the edges: the path that knows edges gives the same.
    value = cross_entropy(logits, labels, class_weights, label_smoothing, edge_smoothing=label_smoothing + 1e-6)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)


def plain_edge_distance(labels: np.ndarray) -> np.ndarray:
    """From every labelled pixel to every one of another class; 6 for more than 5 px, for none, and at NODATA."""
    distance = np.full(labels.shape, 6.0)
    for image, y, x in np.argwhere(labels != NODATA):
        others = np.argwhere((labels[image] != NODATA) & (labels[image] != labels[image, y, x]))
        distance[image, y, x] = min(np.abs(others - (y, x)).max(1, initial=0), default=6)
    return distance.clip(max=6)


@st.composite
def label_images(draw):
    """labels_BHW of patches, so that there are pixels at every distance from an edge; 254 is the highest id."""
    ids = st.sampled_from([0, 1, 2, 254, NODATA])
    patches = draw(
        arrays(np.uint8, (draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4))), elements=ids)
    )
    labels = patches.repeat(draw(st.integers(1, 5)), axis=1).repeat(draw(st.integers(1, 5)), axis=2)
    hidden = draw(arrays(bool, labels.shape, elements=st.booleans(), fill=st.just(False)))
    return np.where(hidden, NODATA, labels)


@given(labels=label_images())
@settings(max_examples=60, deadline=None)
def test_edge_distance_is_that_of_a_plain_search(labels):
    np.testing.assert_array_equal(edge_distance(torch.from_numpy(labels)).numpy(), plain_edge_distance(labels))


def test_edge_distance_across_nodata_and_a_single_class():
    labels = torch.tensor([[[3, 3, NODATA, NODATA, 3, 1, 1, 1, 1, 1, 1, 1]]], dtype=torch.uint8)
    assert edge_distance(labels).flatten().tolist() == [5, 4, 6, 6, 1, 1, 2, 3, 4, 5, 6, 6]
    assert (edge_distance(torch.full((1, 7, 7), 2, dtype=torch.uint8)) == 6).all()


def plain_cross_entropy(logits, labels, weights, label_smoothing: float, edge_smoothing: float) -> float:
    """The weighted sum over pixels and classes as loops, and what it is divided by."""
    distance = plain_edge_distance(labels.numpy())
    total = weight = 0.0
    for image, y, x in np.argwhere(labels.numpy() != NODATA):
        pixel = logits[image, :, y, x].tolist()
        nll = [log(sum(exp(v) for v in pixel)) - v for v in pixel]
        label = labels[image, y, x].item()
        share = max(label_smoothing, edge_smoothing * (6 - distance[image, y, x]) / 5)
        total += (1 - share) * weights[label] * nll[label]
        total += share * sum(w * n for w, n in zip(weights, nll, strict=True)) / len(nll)
        weight += weights[label]
    return total / weight


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("class_weights", [None, WEIGHTS], ids=["equal", "weights"])
def test_edge_smoothing_is_that_of_a_plain_loop(seed, class_weights):
    logits, labels = patchy_batch(seed)
    weights = [1.0] * 4 if class_weights is None else class_weights.tolist()
    for label_smoothing in (0.0, 0.15):
        value = cross_entropy(logits, labels, class_weights, label_smoothing, edge_smoothing=0.5)
        assert value.item() == pytest.approx(
            plain_cross_entropy(logits, labels, weights, label_smoothing, 0.5), rel=1e-5
        )


@pytest.mark.parametrize("edge_smoothing", [0.0, 0.5])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_a_batch_of_classes_that_weigh_nothing_gives_0(label_smoothing, edge_smoothing):
    logits, labels = random_batch(5)
    labels = torch.where(labels == NODATA, labels, 2 * (labels % 2)).to(torch.uint8)
    weightless = torch.tensor([0.0, 1.0, 0.0, 1.0])
    loss = partial(
        cross_entropy, class_weights=weightless, label_smoothing=label_smoothing, edge_smoothing=edge_smoothing
    )
    value, gradient = value_and_gradient(loss, logits, labels)
    assert value.item() == 0
    assert (gradient == 0).all()


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


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_lovasz_is_that_of_smp(seed, per_image):
    logits, labels = random_batch(seed)
    expected = smp.losses.LovaszLoss("multiclass", per_image=per_image, ignore_index=NODATA)(logits, labels.long())
    torch.testing.assert_close(lovasz(logits, labels, per_image), expected)


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_dice_is_that_of_smp(absent):
    logits, labels = random_batch(absent)
    labels[labels < absent] = 3
    # That one divides by all classes, the absent ones with a loss of 0 among them.
    expected = smp.losses.DiceLoss("multiclass", ignore_index=NODATA)(logits, labels.long()) * 4 / (4 - absent)
    torch.testing.assert_close(dice(logits, labels), expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_of_two_classes_is_that_of_smp(gamma, alpha):
    # The paper's own case; smp's for more classes is a sum of sigmoids, another loss.
    logits, labels = random_batch(6, classes=2)
    theirs = smp.losses.FocalLoss("binary", alpha=alpha, gamma=gamma, ignore_index=NODATA)
    expected = theirs(logits[:, 1] - logits[:, 0], labels.long())
    alphas = None if alpha is None else torch.tensor([1 - alpha, alpha])
    torch.testing.assert_close(focal(logits, labels, gamma, alphas), expected)


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


@EVERY_OPTION
@given(
    seed=st.integers(0, 50),
    anything=st.lists(ANYTHING, min_size=4, max_size=4),
    blank=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
@settings(max_examples=40, deadline=None)
def test_logits_at_nodata_change_neither_the_value_nor_the_gradient(loss, seed, anything, blank, dtype):
    logits, labels = random_batch(seed)
    if blank:
        labels[0] = NODATA
    unlabelled = (labels == NODATA)[:, None].expand_as(logits)
    other = torch.where(unlabelled, torch.tensor(anything)[None, :, None, None], logits)
    value, gradient = value_and_gradient(loss, logits.to(dtype), labels)
    other_value, other_gradient = value_and_gradient(loss, other.to(dtype), labels)
    assert torch.equal(other_value, value)
    assert torch.equal(other_gradient, gradient)
    assert (other_gradient[unlabelled] == 0).all()
    assert gradient.isfinite().all()


@EVERY_OPTION
@given(anything=ANYTHING)
@settings(max_examples=20, deadline=None)
def test_a_batch_of_nothing_but_nodata_gives_0(loss, anything):
    logits = torch.full((2, 4, 5, 5), anything)
    logits[:, 0] = -anything
    value, gradient = value_and_gradient(loss, logits, torch.full((2, 5, 5), NODATA, dtype=torch.uint8))
    assert value.item() == 0
    assert (gradient == 0).all()


@EVERY_OPTION
@pytest.mark.parametrize("labels_type", [torch.uint8, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_and_there_even_for_extreme_logits(loss, labels_type, dtype):
    logits, labels = random_batch(2)
    logits, labels = logits.to(dtype), labels.to(labels_type)
    for factor in (30, 1000, 1e30):  # at 30 some p are 1 but for the last bits of a float32
        value, gradient = value_and_gradient(loss, logits * factor, labels)
        assert value.isfinite()
        assert gradient.isfinite().all()
    _, gradient = value_and_gradient(loss, logits, labels)
    assert gradient.abs().sum() > 0


@EVERY_OPTION
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_losses_are_float32_scalars_for_logits_of_any_float(loss, dtype):
    logits, labels = random_batch(4)
    value = loss(logits.to(dtype), labels)
    assert value.dtype == torch.float32
    assert value.shape == ()
    torch.testing.assert_close(value, loss(logits.to(dtype).float(), labels))
    torch.testing.assert_close(value, loss(logits, labels), rtol=1e-2, atol=0)  # bfloat16 has 8 bits


@pytest.mark.parametrize("loss", [
    partial(cross_entropy, class_weights=WEIGHTS),
    partial(cross_entropy, class_weights=WEIGHTS, edge_smoothing=0.3),
    partial(focal, alpha=WEIGHTS),
])  # fmt: skip
def test_class_weights_follow_the_logits_to_their_device(loss):
    logits, labels = random_batch(4)
    assert loss(logits.to("meta"), labels.to("meta")).device.type == "meta"
