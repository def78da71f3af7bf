"""Which loss a recipe's text means, with which weights of classes, and texts that mean none."""

from dataclasses import replace
from math import log, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import OPTIONS, patchy_batch

from jingwei.errors import SettingError
from jingwei.training.losses import build_loss, cross_entropy, dice, focal, lovasz, parse_loss
from jingwei.training.recipes import CROSS_ENTROPY


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
    with pytest.raises(
        SettingError, match=r"class_weights is balanced, but the loss DiceLoss has no use for it \(equal l"
    ):
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


@pytest.mark.parametrize("text", ["nan*focal", "inf*focal", "-1*focal", "focal+focal", "0*focal", "0*dice+0*focal"])
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
