"""Flags whose value is empty, as of `--input "$MAP"` where the shell has no MAP."""

import pytest


@pytest.mark.parametrize(("line", "flag"), [
    (("fill_hole.py", "--input", "a.tif", "--output", ""), "--output"),
    (("fill_hole.py", "--input=", "--output", "b.tif"), "--input"),
    (("vote.py", "--inputs", "a.tif", "", "--output", "b.tif"), "--inputs"),
    (("generate_train_data.py", "--scene", "a.tif", ""), "--scene"),
    (("generate_test_data.py", "--data_dir", ""), "--data_dir"),
    (("doctor.py", ""), "folder"),
])  # fmt: skip
def test_an_empty_value_is_one_line(line, flag, call):
    status, _, err = call(*line)
    assert status == 2
    assert err == f"error: {flag}: is given, but empty: check what the shell makes of it, or leave it out\n"
