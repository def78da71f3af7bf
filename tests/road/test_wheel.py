"""A wheel built from the tree runs the whole road from any folder, on a tiny world.

`make test` installs it beside the environment's own packages; the slow test, in an empty environment, with what it
depends on from the package index.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = "--train --scratch --backbone test_resnet --crop_size 64 --batch_size 2 --epochs 1"
STEPS = [
    "generate_train_data --data_dir world --crop_size 64",
    "generate-test-data --data_dir world",
    f"train-unet --data_dir world --exp one {SMALL} --steps_per_epoch 2 --workers 0 --device cpu",
    "predict --data_dir world --window 128 --overlap 0 --device cpu",
    "vote --data_dir world",
    "fill-hole --data_dir world",
    "evaluate --data_dir world",
    "polygons --data_dir world",
    "report --data_dir world",
]
# All steps in one process, as `jingwei STEP` has them: to load torch takes longer than the work.
ROAD = """
import shlex, sys
from pathlib import Path
import jingwei
from jingwei.cli.main import main
assert Path(sys.prefix) in Path(jingwei.__file__).parents, jingwei.__file__
assert (Path(jingwei.__file__).parent / "py.typed").exists()
for line in sys.argv[1].splitlines():
    sys.argv = ["jingwei", *shlex.split(line)]
    main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a copy of the tree: to build one leaves files where it is built."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "jingwei", copy / "jingwei", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    made = copy / "wheel"
    how = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(made))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *how, str(copy)], check=True, timeout=300)
    (found,) = made.glob("*.whl")
    assert found.name.startswith("jingwei_maps-")
    return found


def walk(environment: Path, folder: Path, **env: str) -> None:
    """The road, by the command of an environment, in a folder that knows nothing of the clone."""
    folder.mkdir()
    command = environment / "bin" / "jingwei"

    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | env

    def run(*arguments) -> str:
        how = {"cwd": folder, "capture_output": True, "text": True, "timeout": 900, "env": env}
        done = subprocess.run(list(map(str, arguments)), **how)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "generate-train-data" in run(command)
    assert "next: jingwei generate-train-data --data_dir world" in run(
        command, "sample", "--data_dir", "world", "--size", "200x160", "--scenes", "1", "3"
    )
    out = run(environment / "bin" / "python", "-c", ROAD, "\n".join(STEPS))
    assert "mIoU" in out
    maps = folder / "world" / "test" / "mask3"
    assert {path.name for path in maps.glob("*.tif")} >= {"attention_unet_one.tif", "vote.tif", "filled.tif"}
    assert (folder / "world" / "polygons" / "image_3.gpkg").stat().st_size
    report = folder / "world" / "report"
    viewer = {path.name for path in (ROOT / "jingwei" / "reporting" / "viewer").iterdir()}
    assert {path.name for path in [*report.iterdir(), *(report / "viewer").iterdir()]} >= viewer
    package = next(environment.glob("lib/python*/site-packages/jingwei"))
    written = {
        path.relative_to(package) for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    ours = {
        p.relative_to(ROOT / "jingwei")
        for p in (ROOT / "jingwei").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert written == ours  # nothing is missing, and nothing was written into the package


def test_a_wheel_runs_the_road_beside_the_environments_packages(wheel, tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=120)
    packages = next(environment.glob("lib/python*/site-packages"))
    (packages / "environment.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # behind the wheel's own
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel)],
        check=True,
        timeout=120,
    )
    # To compile what is compiled takes a minute, and the world is so small that it goes without.
    walk(environment, tmp_path / "elsewhere", NUMBA_DISABLE_JIT="1", OMP_NUM_THREADS="1")


@pytest.mark.slow
def test_a_wheel_runs_the_road_in_an_empty_environment(wheel, tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "torch"], check=True, timeout=1800)  # alone and first, as `make setup` does
    subprocess.run([*pip, str(wheel)], check=True, timeout=1800)
    listed = subprocess.run([str(environment / "bin" / "python"), "-m", "pip", "list", "--format", "json"], check=True,
                            capture_output=True, text=True, timeout=120)  # fmt: skip
    assert "jingwei-maps" in {package["name"] for package in json.loads(listed.stdout)}
    walk(environment, tmp_path / "elsewhere")
