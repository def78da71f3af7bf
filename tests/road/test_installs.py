"""Installs that work: nobody is told to install the package of that name on the public index, which is another one."""

import re
import subprocess
from pathlib import Path

import pytest

from jingwei.system import extras
from jingwei.system.extras import install_hint

ROOT = Path(__file__).resolve().parents[2]
TEXT = {".md", ".py", ".toml", ".txt", ".yml", ".yaml", ".cfg", ".sh", ""}
# `jingwei[cpu]`, `pip install jingwei`: the distribution is jingwei-maps. An import may well be subscripted in Python.
OLD = re.compile(r"(?<![\w-])jingwei\[[a-z,]+\]|pip install[^\n]*[\s'\"]jingwei(?![\w/.-])")


def files_of_the_tree() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.split("\0") if listed.returncode == 0 else []
    found = [ROOT / name for name in names if name] or [path for path in ROOT.rglob("*") if ".venv" not in path.parts]
    return [path for path in found if path.is_file() and path.suffix in TEXT and path != Path(__file__)]


def test_no_text_tells_to_install_a_strangers_package():
    wrong = {}
    for path in files_of_the_tree():
        found = OLD.findall(path.read_text(encoding="utf-8", errors="replace"))
        if found:
            wrong[path.relative_to(ROOT).as_posix()] = found
    assert wrong == {}


@pytest.mark.parametrize(("text", "is_old"), [
    ("pip install 'jingwei[cluster]'", True), ("pip install jingwei", True), ('pip install -U "jingwei"', True),
    ("pip install 'jingwei-maps[cpu] @ file:///x/jingwei'", False), ("pip install -e '.[cpu]'", False),
    ("jingwei[parquet]", True), ("pip install 'jingwei-maps[cpu] @ git+https://x/jingwei.git'", False),
])  # fmt: skip
def test_the_old_form_would_be_found(text, is_old):
    assert bool(OLD.search(text)) == is_old


def test_in_a_clone_an_extra_is_installed_from_it():
    assert install_hint("cluster") == "run pip install -e '.[cluster]'"


def test_elsewhere_the_packages_of_an_extra_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "CLONE", tmp_path)
    needed = [
        "torch>=2.11",
        "pyarrow>=17; extra == 'parquet'",
        'onnx>=1.18; extra == "cpu"',
        "nncf>=3.0; extra == 'cpu'",
    ]
    monkeypatch.setattr(extras, "requires", lambda name: needed)
    assert install_hint("parquet") == "run pip install 'pyarrow>=17'"
    assert install_hint("cpu") == "run pip install 'onnx>=1.18' 'nncf>=3.0'"
    assert install_hint("nonsense") == "install the extra nonsense: see docs/install.md"
