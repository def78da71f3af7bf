"""Numbers that are none, or more than any library counts with: one line from every command, before anything is read."""

import pytest

from jingwei.errors import SettingError
from jingwei.filling.fill_map import fill_map
from jingwei.legend import JINGWEI

HUGE = "9" * 20


@pytest.mark.parametrize(("line", "problem"), [
    ("generate_train_data.py --keep_background nan", "'nan' is not a finite number"),
    ("generate_train_data.py --val_fraction inf", "'inf' is not a finite number"),
    (f"generate_train_data.py --crop_size {HUGE}", f"{HUGE} is too large a number"),
    ("generate_train_data.py --stride 1.5", "'1.5' is not a whole number"),
    ("polygons.py --simplify nan", "'nan' is not a finite number"),
    (f"polygons.py --min_area {HUGE}", f"{HUGE} is too large a number"),
    ("polygons.py --gsd=-inf", "'-inf' is not a finite number"),
    ("evaluate.py --areas --alpha nan", "'nan' is not a finite number"),
    ("evaluate.py --areas --seed -1", "-1 is below 0"),
    ("label.py --seed -1", "-1 is below 0"),
    (f"fill_hole.py --max_size {HUGE}", f"{HUGE} is too large a number"),
    ("train.py --train --exp x --base_lr nan", "'nan' is not a finite number"),
    (f"train.py --train --exp x --epochs {HUGE}", f"{HUGE} is too large a number"),
])  # fmt: skip
def test_a_number_that_can_not_be_is_one_line(line, problem, call):
    status, _, err = call(*line.split())
    assert status == 2
    assert err.count("\n") == 1
    assert err.startswith("error: argument --")
    assert f": {problem}: " in err


@pytest.mark.parametrize("rule", [{"min_area": 10**20}, {"min_area": {2: 10**20}}, {"max_size": 10**20}])
def test_areas_beyond_64_bits_are_refused(rule, tmp_path):
    with pytest.raises(SettingError, match="`m.*` is 10{20}: take 0|`m.*`: is 10{20}: take 0"):
        fill_map(tmp_path / "a.tif", tmp_path / "b.tif", legend=JINGWEI, **rule)
