"""The documentation site: it has every page, its API pages name real modules, and it builds without a warning."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_imports import MODULES

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
API = sorted((ROOT / "docs" / "api").glob("*.md"))


def test_the_menu_has_every_page():
    menu = set(re.findall(r": ([\w/]+\.md)$", SETTINGS, re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert menu - pages == {"index.md", "zh.md", "contributing.md", "changelog.md"}  # those of the root
    assert not pages - menu


@pytest.mark.parametrize("page", API, ids=lambda path: path.stem)
def test_api_pages_name_modules_that_are_there(page):
    named = re.findall(r"^::: jingwei\.(\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert named
    assert not set(named) - set(MODULES)


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra [docs]: make docs")
def test_it_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for page in ("index.html", "zh.html", "contributing.html", "api/steps.html"):
        text = (tmp_path / "site" / page).read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|link|img)[^>]*(?:src|href)="https?://', text), f"{page} asks another server"
