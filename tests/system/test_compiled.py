"""Compiled loops where nothing can be kept: a package that is only to be read, a user without a home."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jingwei.system import compiled as module
from jingwei.system.compiled import compiled

PACKAGE = Path(__file__).resolve().parents[2] / "jingwei"
CODE = """
import numpy as np
from pathlib import Path
import jingwei
from jingwei.evaluation.metrics import ConfusionMatrix
matrix = ConfusionMatrix(5)
matrix.update(np.ones((9, 9), np.uint8), np.ones((9, 9), np.uint8))
assert matrix.accuracy == 1
print(Path(jingwei.__file__).parent)
"""


def test_what_can_be_kept_is_kept():
    double = compiled(twice)
    assert double(4) == 8
    assert double.stats.cache_path


def twice(number):
    return 2 * number


def test_what_can_not_be_kept_is_compiled_all_the_same(monkeypatch):
    def refusing(cache=False, **how):
        if cache:
            raise RuntimeError("cannot cache function 'twice': no locator available for file 'x.py'")
        return numba_njit(**how)

    numba_njit = module.njit
    monkeypatch.setattr(module, "njit", refusing)
    double = compiled(twice)
    assert double(4) == 8
    assert not hasattr(double, "cache_path") or not double.stats.cache_path


def test_another_failure_is_not_hidden(monkeypatch):
    def broken(**how):
        raise RuntimeError("something else")

    monkeypatch.setattr(module, "njit", broken)
    with pytest.raises(RuntimeError, match="something else"):
        compiled(twice)


def test_a_package_that_is_only_to_be_read_works_without_a_home(tmp_path):
    """As in a container. Files in the places of folders, so that even root can't make these."""
    copy = tmp_path / "packages" / "jingwei"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HOME", "XDG", "NUMBA", "PYTHON"))}
    env |= {"HOME": "/dev/null/home", "PYTHONPATH": str(copy.parent)}
    how = {"capture_output": True, "text": True, "env": env, "cwd": tmp_path, "timeout": 200}
    done = subprocess.run([sys.executable, "-c", CODE], **how)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(copy)


def test_arrays_go_through_as_ever():
    assert compiled(total)(np.arange(4)) == 6


def total(numbers):
    result = 0
    for number in numbers:
        result += number
    return result
