"""`jingwei STEP`: every script as a step of one command, and what is said in the form that was called."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import status_of

import jingwei
from jingwei.cli import main
from jingwei.cli.config import train_from_config
from jingwei.cli.steps import STEPS, step_of
from jingwei.cli.wording import as_called, called_by, command_line, spelled, this_process
from jingwei.raster.png import write_png
from jingwei.system.progress import Progress

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def step(capfd):
    """Runs `jingwei ARGUMENTS` in this process: (status, stdout, stderr)."""

    def run(*arguments, program: str = "jingwei") -> tuple[int, str, str]:
        capfd.readouterr()
        status = status_of(lambda: main.main(program), *arguments)
        Progress.hidden = False
        return status, *capfd.readouterr()

    return run


def flags_in(text: str) -> set[str]:
    """The flags that a help text names."""
    return {word.strip("[],") for word in text.split() if word.strip("[").startswith("-")}


def test_every_script_is_a_step_that_calls_the_same_function():
    scripts = {path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.py"), *ROOT.glob("Unet_resnet34/*.py"),
                                                             *ROOT.glob("data/make_*.py")]}  # fmt: skip
    assert scripts - {"Unet_resnet34/predict.py"} == {step.script for step in STEPS}
    assert step_of("Unet_resnet34/predict.py") == step_of("predict.py")
    for each in STEPS:
        tree = ast.parse((ROOT / each.script).read_text(encoding="utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert each.function.split(":")[1] in names
        assert not each.recipe or each.recipe in names
        assert callable(main.function_of(each))


def test_alone_it_lists_the_steps_in_the_order_of_the_road(step):
    for words in ([], ["-h"], ["--help"]):
        status, out, _ = step(*words)
        assert status == 0
        places = [out.index(f"  {each.name} ") for each in STEPS]
        assert places == sorted(places)
        assert all(len(line) <= 100 for line in out.splitlines())
    assert step("--version")[1] == f"jingwei {jingwei.__version__}\n"


def test_a_step_has_the_flags_of_its_script(step, call):
    for name, script in (("vote", "vote.py"), ("generate-train-data", "generate_train_data.py"),
                         ("train-unet", "Unet_resnet34/train.py"), ("sample", "data/make_sample.py")):  # fmt: skip
        ours, theirs = step(name, "-h")[1], call(script, "-h")[1]
        assert ours.startswith(f"usage: jingwei {name} ")
        flags = [
            {word.strip("[],") for word in text.split() if word.strip("[").startswith("-")} for text in (ours, theirs)
        ]
        assert flags[0] == flags[1]


@pytest.mark.parametrize("name", ["fill-hole", "fill_hole"])
def test_names_are_spelled_either_way(step, name):
    assert step(name, "-h")[1].startswith("usage: jingwei fill-hole ")


def test_a_step_that_is_not_there_is_told_with_the_one_that_is_like_it(step):
    status, _, err = step("fil-hole")
    assert (status, err) == (2, "error: jingwei fil-hole: no such step: did you mean fill-hole? jingwei -h lists all\n")
    assert step("nonsense")[2] == "error: jingwei nonsense: no such step: jingwei -h lists all\n"


def test_what_comes_next_is_said_in_the_form_that_was_called(step, call, tmp_path):
    scene = tmp_path / "a_test" / "image_3.png"
    write_png(scene, np.full((40, 50, 3), 9, np.uint8))
    where = ("--data_dir", tmp_path)
    assert f"next: jingwei predict --data_dir {tmp_path}" in step("generate-test-data", *where)[1]
    said = step("generate-test-data", *where, program="python -m jingwei")[1]
    assert f"next: python -m jingwei predict --data_dir {tmp_path}" in said
    assert f"next: python predict.py --data_dir {tmp_path}" in call("generate_test_data.py", *where)[1]


def test_errors_name_steps_where_steps_were_called(step, call, tmp_path):
    where = ("--data_dir", tmp_path)
    assert "run jingwei generate-test-data first" in step("vote", *where)[2]
    assert "run generate_test_data.py first" in call("vote.py", *where)[2]
    assert "jingwei vote -h lists every flag" in step("vote", "--inptus", "x")[2]
    assert step("vote", "--inputs", "x")[2].startswith("error: jingwei vote: --inputs and --output go together")


def test_texts_in_both_forms():
    text = "run predict.py with `probabilities`, or my_predict.py, Unet_resnet34/train.py, a/vote.py, vote.pyc"
    assert as_called(text) == text
    with called_by("jingwei"):
        expected = "run jingwei predict with --probabilities, or my_predict.py, jingwei train-unet, a/vote.py, vote.pyc"
        assert spelled(text) == expected
        assert command_line("vote.py", "--data_dir", "a b") == "jingwei vote --data_dir 'a b'"
    assert command_line("vote.py", "x") == "python vote.py x"


def test_processes_of_a_team_are_started_as_this_one_was(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "-c", "x.json"])
    assert this_process() == ["train.py", "-c", "x.json"]
    monkeypatch.setattr(sys, "argv", ["jingwei train", "-c", "x.json"])
    with called_by("jingwei"):
        assert this_process() == ["-m", "jingwei", "train", "-c", "x.json"]
    assert train_from_config.__name__  # it is what hands this on


def test_as_a_module_it_is_the_same_command():
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "jingwei", "vote", "--data_dir", "nowhere"], capture_output=True,
                          text=True, env=env, timeout=60)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip().endswith("run python -m jingwei generate-test-data first")


def test_to_list_the_steps_loads_nothing():
    code = "import sys; from jingwei.cli.main import overview; overview('jingwei'); "
    code += "print([name for name in ('numpy', 'rasterio', 'torch', 'cv2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
