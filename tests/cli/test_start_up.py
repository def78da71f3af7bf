"""Explaining a step's flags is quick: no command loads torch for it, or the program that reads vector files."""

import subprocess
import sys

from jingwei.prediction import settings
from jingwei.prediction.engines.registry import ENGINES

CODE = """
import contextlib, io, sys
from jingwei.cli.main import function_of
from jingwei.cli.steps import STEPS
sys.argv = ["step", "-h"]
for step in STEPS:
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        function_of(step)()
    assert "usage: " in shown.getvalue(), step
    print(step.name, *(name for name in ("torch", "torchvision", "matplotlib", "pyogrio") if name in sys.modules))
"""


def test_no_step_loads_torch_to_explain_its_flags():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) > 15
    assert [line for line in lines if len(line) > 1] == []


def test_the_engines_that_are_named_are_those_that_there_are():
    assert tuple(ENGINES) == settings.ENGINES
