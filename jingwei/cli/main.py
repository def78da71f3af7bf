"""The one command, `jingwei STEP`: every script of the root as a step of it, with the same flags."""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from jingwei.cli.command import command
from jingwei.cli.steps import STEPS, Step
from jingwei.cli.wording import called_by
from jingwei.errors import SettingError
from jingwei.version import VERSION


def main(program: str = "jingwei") -> None:
    """Runs the step that the command line names; without one, lists them. `program` is how people call this."""
    with called_by(program):
        run(sys.argv[1:], program)


@command
def run(words: Sequence[str], program: str) -> str | None:
    """Runs a step, given its name and its arguments, and returns what is next."""
    if not words or words[0] in ("-h", "--help"):
        return print(overview(program))
    if words[0] == "--version":
        return print(f"jingwei {VERSION}")
    step = find_step(words[0], program)
    sys.argv = [f"{program} {step.name}", *words[1:]]
    return function_of(step)()


def find_step(name: str, program: str) -> Step:
    """The step of a name, spelled with `-` or `_`. SettingError where there is none."""
    names = {step.name: step for step in STEPS}
    wanted = name.replace("_", "-")
    if wanted not in names:
        alike = difflib.get_close_matches(wanted, names, 1)
        meant = f"did you mean {alike[0]}? " if alike else ""
        raise SettingError(f"{program} {name}", "no such step", f"{meant}{program} -h lists all")
    return names[wanted]


def function_of(step: Step):
    """The function that a step calls."""
    module, name = step.function.split(":")
    function = getattr(import_module(f"jingwei.cli.{module}"), name)
    if not step.recipe:
        return function
    recipe = getattr(import_module("jingwei.training.recipes"), step.recipe)
    return lambda: function(recipe, configs=step.name == "train")


def overview(program: str) -> str:
    """The steps in the order of the road, a line each."""
    width = max(len(step.name) for step in STEPS)
    lines = [f"  {step.name:{width}}  {step.about}" for step in STEPS]
    return "\n".join(
        [
            f"usage: {program} STEP [flags]",
            "",
            "From gigapixel aerial and satellite scenes to land-cover maps. The steps, in the order of the road:",
            "",
            *lines,
            "",
            f"{program} STEP -h explains a step's flags; {program} --version says which version this is.",
        ]
    )
