"""Errors: one line each, and what was probably meant by a name that is unknown."""

import pickle

import pytest

from jingwei.errors import InputError, known


@pytest.mark.parametrize(
    ("names", "given", "remedy"),
    [
        (["miou", "kappa"], ["f1"], "known are miou, kappa"),
        (["miou", "kappa"], ["mIOU"], "did you mean miou? known are miou, kappa"),
        (
            ["base_lr", "seed", "epochs"],
            ["sead", "epoch"],
            "did you mean seed, epochs? known are base_lr, seed, epochs",
        ),
        (["PSPNet", "pspnet"], ["PSPnet"], "did you mean PSPNet? known are PSPNet, pspnet"),
        (["blur", "base_lr"], ["lr"], "known are blur, base_lr"),
        ([], ["swa/first"], "known are none yet"),
        (["0 background", "1 corn"], [], "known are 0 background, 1 corn"),
    ],
)
def test_known_lists_all_names_and_the_nearest_to_what_was_given(names, given, remedy):
    assert known(iter(names), *given) == remedy


def test_errors_read_the_same_after_a_way_through_processes():
    error = InputError("a.tif", "is empty", "copy it again")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "a.tif: is empty: copy it again"
