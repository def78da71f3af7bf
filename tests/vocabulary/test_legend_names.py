"""What classes may be called, and what a word on the command line then means."""

import pytest

from jingwei.api.arguments import id_of_class
from jingwei.errors import SettingError
from jingwei.legend import legend_from_dict


def legend(*names):
    colors = ("#000000", "#FF0000", "#00FF00", "#0000FF")
    entries = [{"id": i, "name": n, "color": c} for i, (n, c) in enumerate(zip(names, colors, strict=False))]
    return {"name": "codes", "classes": entries}


@pytest.mark.parametrize("name", ["", "  ", None, [], True, 1.5])
def test_a_class_without_a_name_is_refused(name):
    with pytest.raises(SettingError, match="class at place 1 has the name .*, not a text"):
        legend_from_dict(legend("other", name))


def test_true_and_false_are_no_ids():
    content = legend("other", "corn")
    content["classes"][1]["id"] = True
    with pytest.raises(SettingError, match="class 'corn' has id True at place 1"):
        legend_from_dict(content)


def test_what_was_kept_stays_readable():
    assert legend_from_dict(legend("other", ""), kept=True).names == ("other", "")


def test_names_that_are_codes_go_before_ids():
    """`--classes 1` with classes named 3, 2, 1 was the class with id 1, named 2."""
    codes = legend_from_dict(legend("3", "2", "1", 11))
    assert [codes.id_of(word) for word in ("3", "2", "1", "11", "0")] == [0, 1, 2, 3, 0]
    assert [id_of_class(number, codes) for number in (0, 1, 2, 3)] == [0, 1, 2, 3]
    with pytest.raises(SettingError, match="no class '12'"):
        id_of_class(12, codes)
