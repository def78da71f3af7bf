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
    assert double.loop.stats.cache_path


def twice(number):
    return 2 * number


def test_it_is_still_the_function():
    assert compiled(twice).__name__ == "twice"
    assert compiled(total).__wrapped__ is total


def test_a_loop_calls_another():
    doubled = compiled(twice)

    def four_times(number):
        return doubled(doubled(number))

    assert compiled(four_times)(4) == 16


def test_what_can_not_be_kept_is_compiled_all_the_same(monkeypatch):
    def refusing(function):
        raise RuntimeError(f"cannot cache function {function.__name__!r}: no locator available for file 'x.py'")

    monkeypatch.setattr(module, "_kept", lambda: refusing)
    double = compiled(twice)
    assert double(4) == 8
    assert double.loop.stats.cache_path is None


def test_another_failure_is_not_hidden(monkeypatch):
    def broken(function):
        raise RuntimeError("something else")

    monkeypatch.setattr(module, "_kept", lambda: broken)
    with pytest.raises(RuntimeError, match="something else"):
        compiled(twice)(4)


PREPARED = "numba.np.arraymath"  # what numba loads before it compiles
LOOPS = """
import numpy as np
from jingwei.system.compiled import compiled

@compiled
def squares(count):
    return np.arange(count) ** 2  # takes memory of numba's

@compiled
def of(count):
    total = 0
    for square in squares(count):
        total += square
    return total
"""


def test_kept_code_is_run_without_what_compiling_needs(tmp_path):
    """The first run compiles; in the second numba is not even prepared to."""
    (tmp_path / "loops.py").write_text(LOOPS)
    code = f"import sys, loops; print(loops.of(5), {PREPARED!r} in sys.modules)"
    paths = os.pathsep.join((str(PACKAGE.parent), str(tmp_path)))
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": paths}
    how = {"capture_output": True, "text": True, "env": env, "timeout": 200, "check": True}
    runs = [subprocess.run([sys.executable, "-c", code], **how) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["30", "True"], ["30", "False"]]


def test_kept_code_is_not_run_when_what_it_takes_from_another_file_has_changed(tmp_path):
    compiled_here = "from jingwei.system.compiled import compiled\n"
    inner = "SHIFT = {}\n@compiled\ndef scaled(x):\n    return {} * x\n"
    middle = "from inner import scaled\n@compiled\ndef twice(x):\n    return 2 * scaled(x)\n"
    outer = "from inner import SHIFT\nfrom middle import twice\n@compiled\ndef of(x):\n    return twice(x) + SHIFT\n"
    (tmp_path / "middle.py").write_text(compiled_here + middle)
    (tmp_path / "outer.py").write_text(compiled_here + outer)
    paths = os.pathsep.join((str(PACKAGE.parent), str(tmp_path)))
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    how = {"capture_output": True, "text": True, "env": env, "timeout": 200, "check": True}
    code = f"import sys, outer; print(outer.of(1), {PREPARED!r} in sys.modules)"
    printed = []
    for shift, factor in [(1, 1), (1, 1), (1, 5), (7, 5)]:
        (tmp_path / "inner.py").write_text(compiled_here + inner.format(shift, factor))
        printed.append(subprocess.run([sys.executable, "-c", code], **how).stdout.split())
    assert printed == [["3", "True"], ["3", "False"], ["11", "True"], ["17", "True"]]


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
