"""docs/scene_to_map.ipynb: its code cells, one after another, with fewer steps of training."""

import ast
import json
from pathlib import Path

import pytest
from PIL.Image import Image

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "scene_to_map.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
SMALLER = {
    "STEPS = 80": "STEPS = 4",
    "width=900, height=800": "width=300, height=280",
    "crop_size=256": "crop_size=64",
    "crop_sizes=(256,)": "crop_sizes=(64,)",
    "window=256, overlap=64": "window=128, overlap=32, engine='torch'",
}


def shown_by(source: str, names: dict) -> object:
    """Runs a cell; gives what a notebook would show: the value of its last line, where that is an expression."""
    *before, last = ast.parse(source).body
    exec(compile(ast.Module(before, []), NOTEBOOK.name, "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)
    exec(compile(ast.Module([last], []), NOTEBOOK.name, "exec"), names)
    return None


@pytest.mark.usefixtures("one_thread")
def test_the_notebook_goes_from_scenes_to_a_picture_of_a_map(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    shown = []
    for cell in CELLS:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            for large, small in SMALLER.items():
                source = source.replace(large, small)
            shown.append(shown_by(source, names))
    _, crops, (classes, scores), ious, picture = shown
    assert crops > 10
    assert classes[0] == "background"
    assert 0 <= scores["miou"] <= 1
    assert set(ious) == set(classes)
    assert isinstance(picture, Image)
    assert picture.size == (450, 140)
    assert len(picture.getcolors(maxcolors=1 << 20)) > 100


def test_the_notebook_holds_no_outputs_and_what_the_test_makes_smaller():
    source = "".join(line for cell in CELLS for line in cell["source"])
    assert all(large in source for large in SMALLER)
    assert not any(cell.get("outputs") for cell in CELLS)
    assert all(cell.get("execution_count") is None for cell in CELLS)
