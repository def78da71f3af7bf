"""Errors speak of arguments; the command line shows them as its flags."""

import ast
import functools
import inspect
from pathlib import Path

import pytest

import jingwei
from jingwei.cli.command import command
from jingwei.cli.wording import as_flags
from jingwei.errors import SettingError
from jingwei.training.recipes import Recipe

PACKAGE = Path(__file__).resolve().parents[2] / "jingwei"
LIBRARY = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "cli")
# Flags of torchrun and TensorBoard, a line style of matplotlib, the end of a comment in XML.
OTHERS = ("--standalone", "--nproc_per_node", "--nproc_per_node=", "--logdir", "--", "-->")


def texts(path: Path) -> list[str]:
    """All strings of a file but its docstrings; what f-strings put in becomes a blank."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented)
            if node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    return [
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) if id(n) not in docs
    ]


@functools.cache
def arguments_of_all() -> set[str]:
    """The names of all flags (those that files of cli/ name, and the fields of recipes) and of what the API takes."""
    found = {field for field in Recipe.__dataclass_fields__}
    for path in (PACKAGE / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and node.func.attr in ("flag", "add_argument"):
                names = (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
                found |= {name.lstrip("-") for name in names if " " not in name}
    functions = [getattr(jingwei, name) for name in jingwei.__all__ if inspect.isfunction(getattr(jingwei, name))]
    found |= {
        name for function in (*functions, jingwei.Model.predict) for name in inspect.signature(function).parameters
    }
    return found | {"crop_size", "scratch"}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_names_no_flags(path):
    words = [word.strip("(),.:;'\"") for text in texts(path) for word in text.split() if "--" in word]
    assert not [word for word in words if word not in OTHERS and word.startswith("--")], "write `name`, see errors.py"


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_backticks_mark_arguments_alone(path):
    known = arguments_of_all()
    words = [word for text in texts(path) for word in text.split("`")[1::2] if word.isidentifier()]
    assert not [word for word in words if word not in known], "backticks are for arguments, see errors.py"


def test_arguments_become_flags():
    text = "`engine` onnx: needs a package: take `engine` torch, or `device` cpu"
    assert as_flags(text) == "--engine onnx: needs a package: take --engine torch, or --device cpu"


def test_other_words_stay_as_they_are():
    assert as_flags('has no "classes": see `train.py -h`') == 'has no "classes": see `train.py -h`'


def test_both_sides_of_one_mistake(capsys):
    error = SettingError("`window`", "is 7", "take 32 px or more")
    assert str(error) == "`window`: is 7: take 32 px or more"

    @command
    def mistaken():
        raise error

    with pytest.raises(SystemExit) as stopped:
        mistaken()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: --window: is 7: take 32 px or more\n"
