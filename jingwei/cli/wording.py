"""How the command line names its flags and commands, the way they were called: `python vote.py` or `jingwei vote`.

The library speaks of `arguments` (see errors.py) and of scripts; here they become flags and, for who called a step by
the one command, its steps.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from jingwei.cli.steps import STEPS, Step, step_of
from jingwei.system.progress import Progress

_SCRIPT = re.compile(r"(?<![\w./-])(?:" + "|".join(re.escape(step.script) for step in STEPS) + r")(?![\w/])")
_called_by: str | None = None  # the one command, as it was called: jingwei, or python -m jingwei; None: a script


@contextmanager
def called_by(program: str) -> Iterator[None]:
    """While a step runs that was called by the one command."""
    global _called_by
    before, _called_by = _called_by, program
    try:
        yield
    finally:
        _called_by = before


def as_flags(text: str) -> str:
    """A text of the library, in which `window` is an argument, as the command line says it: --window."""
    return re.sub(r"`([a-z_0-9]+)`", r"--\1", text)


def as_called(text: str) -> str:
    """A text that names scripts, with the steps in their place where the one command was called."""
    return _SCRIPT.sub(lambda found: f"{_called_by} {_step(found[0]).name}", text) if _called_by else text


def _step(script: str) -> Step:
    step = step_of(script)
    assert step is not None, f"{script} is not the script of a step"
    return step


def spelled(text: str) -> str:
    """A text of the library as the command line says it."""
    return as_called(as_flags(text))


def command_line(script: str, *words: object) -> str:
    """A command, ready to be pasted."""
    program = [*shlex.split(_called_by), _step(script).name] if _called_by else ["python", script]
    return shlex.join(map(str, [*program, *words]))


def this_process() -> list[str]:
    """What Python was started with, after the interpreter's name: a script, or -m and a module, and its arguments."""
    if not _called_by:
        return sys.argv
    return ["-m", "jingwei", sys.argv[0].rpartition(" ")[2], *sys.argv[1:]]


def say(text: str) -> None:
    """Prints what is good to know and no result: --quiet leaves it out."""
    if not Progress.hidden:
        print(text)
