"""Losses against hand-computed values and plain references; NODATA must change nothing."""

from dataclasses import replace
from functools import partial
from math import exp, log, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional

from jingwei.errors import SettingError
from jingwei.legend import NODATA
from jingwei.models.libraries import smp
from jingwei.training.losses import LOSSES, build_loss, cross_entropy, dice, edge_distance, focal, lovasz, parse_loss
from jingwei.training.recipes import CROSS_ENTROPY

WEIGHTS = torch.tensor([1.0, 3.0, 0.0, 0.5])
OPTIONS = LOSSES | {
    "cross_entropy with weights": partial(cross_entropy, class_weights=WEIGHTS),
    "cross_entropy with label smoothing": partial(cross_entropy, label_smoothing=0.2),
    "cross_entropy with edge smoothing": partial(cross_entropy, edge_smoothing=0.4),
    "cross_entropy with all": partial(cross_entropy, class_weights=WEIGHTS, label_smoothing=0.1, edge_smoothing=0.4),
    "focal with gamma 0": partial(focal, gamma=0.0),
    "focal with gamma 0.5": partial(focal, gamma=0.5),
    "focal with alpha": partial(focal, gamma=3.0, alpha=WEIGHTS),
    "lovasz per image": partial(lovasz, per_image=True),
}
EVERY = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
EVERY_OPTION = pytest.mark.parametrize("loss", OPTIONS.values(), ids=OPTIONS)


def random_batch(seed: int, classes: int = 4, side: int = 6, unlabelled: float = 0.3):
    """(logits_BCHW, labels_BHW) with some NODATA."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, side, side, generator=generator) * 3
    labels = torch.randint(classes, (2, side, side), generator=generator)
    hidden = torch.rand(labels.shape, generator=generator) < unlabelled
    return logits, labels.masked_fill(hidden, NODATA).to(torch.uint8)


def patchy_batch(seed: int):
    """The same in patches of 8 px and holes between, so that some pixels are at an edge and some are not."""
    logits, labels = random_batch(seed, side=16)
    labels = labels[:, ::8, ::8].repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels[:, ::3, ::4] = NODATA
    return logits, labels


def row(*pixels):
    """One row of pixels, each (probabilities, label) -> (logits_BCHW, labels_BHW)."""
    logits = torch.tensor([[log(p) for p in probabilities] for probabilities, _ in pixels])
    labels = torch.tensor([label for _, label in pixels], dtype=torch.uint8)
    return logits.T[None, :, None], labels[None, None]


def two_pixels(second_label: int = 0):
    """Two classes; the first pixel is of class 0 with p 0.8, the second has p 0.4 and 0.6, the third no label."""
    return row(((0.8, 0.2), 0), ((0.4, 0.6), second_label), ((0.999, 0.001), NODATA))


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


def test_sums_of_losses_are_parsed_with_their_weights():
    assert parse_loss("cross_entropy") == {"cross_entropy": (1.0, cross_entropy)}
    assert parse_loss("focal + 0.5*lovasz") == {"focal": (1.0, focal), "lovasz": (0.5, lovasz)}


def test_the_contest_trainers_names_are_taken_too():
    assert parse_loss("CrossEntropyLoss2d") == parse_loss("cross_entropy")
    assert parse_loss("DiceLoss") == parse_loss("dice")
    assert parse_loss("FocalLoss") == parse_loss("focal")
    assert parse_loss("LovaszSoftmax") == parse_loss("lovasz")
    assert parse_loss("CE_DiceLoss") == parse_loss("cross_entropy + dice")
    assert parse_loss("0.5*CE_DiceLoss + 2*LovaszSoftmax") == parse_loss("0.5*cross_entropy+0.5*dice+2*lovasz")
    with pytest.raises(SettingError, match="dice is in it twice"):
        parse_loss("CE_DiceLoss+dice")
    recipe = replace(CROSS_ENTROPY, loss="CE_DiceLoss", class_weights="balanced").check()
    assert set(build_loss(recipe, [3, 2, 1, 1])) == {"cross_entropy", "dice"}
    with pytest.raises(SettingError, match="class_weights is given, but the loss DiceLoss has no use for it"):
        replace(recipe, loss="DiceLoss").check()


def test_hand_computed_sum_of_cross_entropy_and_dice():
    # Two pixels of class 0 and 1, both sure of class 0 to 3/4: -log of 3/4 and of 1/4; Dice scores 2 * 3/4 / (3/2 + 1)
    # and 2 * 1/4 / (1/2 + 1).
    logits = torch.tensor([3.0, 1.0]).log().view(1, 2, 1, 1).expand(1, 2, 1, 2)
    labels = torch.tensor([[[0, 1]]])
    terms = build_loss(replace(CROSS_ENTROPY, loss="CE_DiceLoss"), [1, 1]).values()
    value = sum(factor * loss(logits, labels) for factor, loss in terms)
    assert value.item() == pytest.approx(-(log(3 / 4) + log(1 / 4)) / 2 + 1 - (0.6 + 1 / 3) / 2)


@pytest.mark.parametrize("text", ["tversky", "", "focal+", "x*focal", "0.5*", "focal*0.5", "+", "focal+0.5*jaccard"])
def test_what_is_no_loss_is_refused_with_the_known_ones(text):
    with pytest.raises(SettingError, match="is not a loss: known are cross_entropy, focal, lovasz, dice;"):
        parse_loss(text)


@pytest.mark.parametrize("text", ["nan*focal", "inf*focal", "-1*focal", "focal+focal"])
def test_weights_that_make_no_sense_and_losses_named_twice_are_refused(text):
    with pytest.raises(SettingError):
        parse_loss(text)


def test_a_recipe_without_settings_gets_plain_losses():
    ((name, (factor, loss)),) = build_loss(CROSS_ENTROPY, [3, 2, 1, 0]).items()
    assert (name, factor, loss.func) == ("cross_entropy", 1.0, cross_entropy)
    assert loss.keywords == {"class_weights": None, "label_smoothing": 0.0, "edge_smoothing": 0.0}


def test_the_settings_of_a_recipe_are_bound_to_its_losses():
    recipe = replace(
        CROSS_ENTROPY, loss="dice+2*cross_entropy+focal+0.5*lovasz", class_weights="1,3,0,.5", label_smoothing=0.1,
        edge_smoothing=0.4, focal_gamma=3.0, lovasz_per_image=True,
    )  # fmt: skip
    terms = build_loss(recipe, [10, 10, 10, 10])
    assert [(name, factor) for name, (factor, _) in terms.items()] == [
        ("dice", 1.0), ("cross_entropy", 2.0), ("focal", 1.0), ("lovasz", 0.5),
    ]  # fmt: skip
    expected = {
        "dice": dice,
        "cross_entropy": OPTIONS["cross_entropy with all"],
        "focal": OPTIONS["focal with alpha"],
        "lovasz": OPTIONS["lovasz per image"],
    }
    logits, labels = patchy_batch(7)
    for name, (_, loss) in terms.items():
        assert torch.equal(loss(logits, labels), expected[name](logits, labels))


def bound_weights(text: str, class_pixels, loss: str = "cross_entropy", keyword: str = "class_weights"):
    terms = build_loss(replace(CROSS_ENTROPY, loss=loss, class_weights=text), class_pixels)
    return terms[loss][1].keywords[keyword]


def test_equal_class_weights_are_none():
    assert bound_weights("equal", [5, 1]) is None
    assert bound_weights("equal", [5, 1], "focal", "alpha") is None


def test_class_weights_can_be_given_as_numbers():
    torch.testing.assert_close(bound_weights("1, 2,0,.5", [5, 1, 0, 3]), torch.tensor([1.0, 2.0, 0.0, 0.5]))
    torch.testing.assert_close(bound_weights("2,4", [1, 1], "focal", "alpha"), torch.tensor([2.0, 4.0]))


def test_hand_computed_balanced_class_weights():
    # 1 / sqrt(0.9) and 1 / sqrt(0.1), over sqrt(0.9) + sqrt(0.1); no pixel tells the weight of the last class.
    expected = torch.tensor([1 / 1.2, 2.5, 1.0])
    torch.testing.assert_close(bound_weights("balanced", [900, 100, 0]), expected)
    torch.testing.assert_close(bound_weights("balanced", [900, 100, 0], "focal", "alpha"), expected)


@given(class_pixels=st.lists(st.integers(0, 10**12), min_size=1, max_size=12))
@settings(deadline=None)
def test_balanced_class_weights_go_with_the_root_and_have_a_mean_of_1(class_pixels):
    weights = bound_weights("balanced", class_pixels)
    assert weights.dtype == torch.float32
    seen = [(pixels, weight) for pixels, weight in zip(class_pixels, weights.tolist(), strict=True) if pixels]
    assert [weight for weight, pixels in zip(weights.tolist(), class_pixels, strict=True) if not pixels] == [1.0] * (
        len(class_pixels) - len(seen)
    )
    if seen:
        assert sum(pixels * weight for pixels, weight in seen) / sum(class_pixels) == pytest.approx(1)
        products = [weight * sqrt(pixels) for pixels, weight in seen]
        assert products == pytest.approx([products[0]] * len(products))


@pytest.mark.parametrize(("text", "problem"), [
    ("rare", "is not a list of numbers"),
    ("", "is not a list of numbers"),
    ("1,,2,1", "is not a list of numbers"),
    ("1;2;3;4", "is not a list of numbers"),
    ("1,2,3", "3 weights for 4 classes"),
    ("1,2,3,4,5", "5 weights for 4 classes"),
    ("1,2,-3,4", "a weight is below 0"),
    ("1,nan,1,1", "or not a number"),
    ("1,inf,1,1", "or not a number"),
    ("0,0,0,0", "or all are 0"),
])  # fmt: skip
@pytest.mark.parametrize("loss", ["cross_entropy", "dice"])
def test_class_weights_that_cannot_be_are_refused(text, problem, loss):
    with pytest.raises(SettingError) as raised:
        build_loss(replace(CROSS_ENTROPY, loss=loss, class_weights=text), [4, 3, 2, 1])
    message = str(raised.value)
    assert message.startswith(f"`class_weights` {text}: ")
    assert problem in message
    assert message.endswith(": take equal, balanced, or 4 numbers from 0 up, with commas between")


def test_a_loss_that_cannot_be_built_is_refused_as_when_parsed():
    with pytest.raises(SettingError, match=r"`loss` focal\+jaccard: 'jaccard' is not a loss: known are"):
        build_loss(replace(CROSS_ENTROPY, loss="focal+jaccard"), [1, 1])
