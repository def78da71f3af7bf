"""`--resume` of step 2: with a file, and without one."""

from pathlib import Path

import pytest

from jingwei.training import loop


@pytest.fixture
def resumed(call, tmp_path, monkeypatch):
    """Calls train.py, and gives the checkpoint that it would go on from."""
    seen: list[Path | None] = []

    def train(workspace, recipe, exp, options) -> Path:
        seen.append(options.resume)
        return tmp_path

    monkeypatch.setattr(loop, "train", train)

    def run(*flags) -> Path | None:
        status, _, err = call("train.py", "--train", "--exp", "mine", "--data_dir", tmp_path, *flags)
        assert status == 0, err
        return seen.pop()

    return run


def test_without_a_file_it_is_the_last_checkpoint(resumed, tmp_path):
    assert resumed("--resume") == tmp_path / "model" / "cross_entropy" / "mine" / "last.pt"


def test_a_file_is_taken(resumed, tmp_path):
    assert resumed("--resume", tmp_path / "other.pt") == tmp_path / "other.pt"


def test_without_the_flag_a_run_goes_on_by_itself(resumed):
    assert resumed() is None


def test_an_empty_file_is_refused(call, tmp_path):
    status, _, err = call("train.py", "--train", "--data_dir", tmp_path, "--resume", "")
    assert status == 2
    assert err == "error: --resume: is given, but empty: check what the shell makes of it, or leave it out\n"
