"""The house's floors: imports point down, and the heavy packages stay in their rooms."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "jingwei"
# A module may import from its own floor or from those below. A package's name stands for all its modules.
FLOORS = [
    {"errors", "grid", "spectrum", "version"},
    {"system"},
    {"legend"},
    {"raster"},
    {"inputs", "labels", "models", "polygons", "filling", "synthetic"},
    {"workspace"},
    {"crops", "evaluation"},
    {"training"},
    {"prediction", "configs"},
    {"voting", "reporting", "planning", "labelling"},
    {"api"},
    {"cli"},
    {"__main__"},
]


def imported(path: Path) -> set[str]:
    """The dotted names of all that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively: name the module in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def modules() -> dict[str, Path]:
    """`models.pretrained` -> its file; a package is named like its folder."""
    paths = {path.relative_to(PACKAGE).with_suffix(""): path for path in PACKAGE.rglob("*.py")}
    named = {".".join(p for p in name.parts if p != "__init__"): path for name, path in paths.items()}
    return {name: path for name, path in named.items() if name}


MODULES = modules()


@cache  # to read them for every module takes a minute; and not while tests are collected, which every process does
def imports() -> dict[str, set[str]]:
    """What each module imports, by dotted names."""
    return {name: imported(path) for name, path in MODULES.items()}


@cache
def graph() -> dict[str, set[str]]:
    """The modules of ours that each module imports."""
    return {
        name: {other for other in MODULES if f"jingwei.{other}" in names} - {name} for name, names in imports().items()
    }


def floor_of(module: str) -> int:
    (number,) = [i for i, rooms in enumerate(FLOORS) if module.split(".")[0] in rooms]
    return number


def test_every_module_has_one_floor():
    rooms = [room for floor in FLOORS for room in floor]
    assert len(rooms) == len(set(rooms))
    assert {name.split(".")[0] for name in MODULES} <= set(rooms)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    upward = sorted(other for other in graph()[module] if floor_of(other) > floor_of(module))
    assert not upward, f"jingwei/{module} imports from a floor above its own: {', '.join(upward)}"


def test_no_module_imports_itself_through_others():
    order = list(TopologicalSorter(graph()).static_order())  # raises CycleError naming the circle
    assert set(MODULES) <= set(order)


def users_of(package: str) -> set[str]:
    """The rooms that import a package."""
    using = {name for name, names in imports().items() if any(o.split(".")[0] == package for o in names)}
    return {name.split(".")[0] for name in using}


@pytest.mark.parametrize(("package", "room"), [
    ("rasterio", "raster"), ("argparse", "cli"), ("osgeo", "raster"), ("tqdm", "system"), ("dask", "system"),
    ("pyogrio", "polygons"), ("pyarrow", "polygons"), ("pyproj", "raster"),
])  # fmt: skip
def test_only_one_room_uses(package, room):
    assert users_of(package) <= {room}


def test_the_graph_sees_the_imports():
    """Guards the other tests: were the graph empty, they all would pass."""
    assert {"errors", "grid", "legend"} <= graph()["raster.reading"]
    assert "models.families" in graph()["models.pretrained"]
    assert "crops.cut" in graph()["cli.cut"]
    assert users_of("rasterio") == {"raster"}
    assert users_of("argparse") == {"cli"}


@pytest.mark.parametrize(("module", "absent"), [
    ("raster.reading", ["torch", "matplotlib", "numba"]),
    ("crops.cut", ["torch", "matplotlib", "numba"]),
    ("crops.prepare", ["torch", "matplotlib", "numba"]),
    ("voting.vote", ["torch", "matplotlib", "numba"]),
    ("filling.fill_map", ["torch", "matplotlib", "numba"]),
    ("evaluation.scenes", ["torch", "matplotlib", "numba"]),
    ("reporting.report", ["torch", "matplotlib", "numba"]),
    ("labelling.suggest", ["torch", "matplotlib", "numba"]),
    ("polygons.polygons", ["torch", "matplotlib", "numba"]),
    ("training.recipes", ["torch", "numpy", "rasterio", "cv2"]),
    ("grid", ["torch", "numpy", "rasterio", "cv2"]),
    ("legend", ["torch", "numpy", "rasterio", "cv2"]),
    ("planning.estimates", ["torch", "numpy", "rasterio", "cv2"]),
    ("planning.excerpts", ["torch", "matplotlib"]),
])  # fmt: skip
def test_light_modules_do_not_load(module, absent):
    code = f"import sys, jingwei.{module}; print(*[name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_every_root_script_is_a_docstring_and_one_call():
    for path in PACKAGE.parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        statements = [node for node in tree.body[1:] if not isinstance(node, ast.Import | ast.ImportFrom)]
        assert len(statements) == 1, f"{path} does more than call the library"
