"""Errors: one line each, and what was probably meant by a name that is unknown."""

import pickle

import pytest

from jingwei.errors import InputError, known, listed


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


@pytest.mark.parametrize(("count", "end"), [(1, "0"), (8, "6, 7"), (9, "6, 7 and 1 more"), (30, "6, 7 and 22 more")])
def test_a_list_ends_with_how_many_it_leaves_out(count, end):
    text = listed([str(number) for number in range(count)])
    assert text.startswith("0")
    assert text.endswith(end)
    assert text.count(",") == min(count, 8) - 1


def test_errors_read_the_same_after_a_way_through_processes():
    error = InputError("a.tif", "is empty", "copy it again")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "a.tif: is empty: copy it again"


def test_a_message_is_one_line_of_some_length():
    """Whatever a broken file takes for a name."""
    text = str(InputError("a\nb\u2028c.png", "(" * 100_000, "export it again"))
    assert text.splitlines() == [text]
    assert text.startswith("a b c.png: (((")
    assert text.endswith("(((: export it again")
    assert len(text) < 5000
    several = "look at these\n  * one\n  * two"
    assert str(InputError("a.json", "2 problems", several)) == f"a.json: 2 problems: {several}"
