"""What is compiled ahead: the loops that the steps of the road call."""

import importlib
from pathlib import Path

import pytest

import jingwei
from jingwei.cli.compile_ahead import run_steps
from jingwei.system.compiled import Compiled
from jingwei.system.progress import Progress

PACKAGE = Path(jingwei.__file__).parent
# Of system B alone: radar, and folders of samples, which are prepared once.
LEFT_OUT = {"inputs.lee_filter", "crops.field_split"}


def called_from_python() -> dict[str, Compiled]:
    """The compiled loops by name, less those that only other loops call."""
    names = [".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in PACKAGE.rglob("*.py")
             if "import compiled" in p.read_text(encoding="utf-8")]  # fmt: skip
    loops = {}
    for name in names:
        of = vars(importlib.import_module(f"jingwei.{name}"))
        own = {key: loop for key, loop in of.items() if isinstance(loop, Compiled)}
        loops |= {f"{name}.{key}": loop for key, loop in own.items() if loop.__module__ == f"jingwei.{name}"}
    sources = [loop.__wrapped__ for loop in loops.values()]
    inner = {id(source.__globals__.get(word)) for source in sources for word in source.__code__.co_names}
    return {name: loop for name, loop in loops.items() if id(loop) not in inner}


@pytest.mark.slow  # it loads, or compiles, every loop that there is
def test_every_loop_of_the_road_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(Progress, "hidden", True)
    loops = called_from_python()
    assert len(loops) > 30
    run_steps(tmp_path)
    idle = {name for name, loop in loops.items() if not loop.loop.signatures}
    assert {name.rsplit(".", 1)[0] for name in idle} == LEFT_OUT
