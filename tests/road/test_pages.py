"""The docs' pages: links lead somewhere, every name is told, plain English, and both READMEs say the same."""

import re
from pathlib import Path

import pytest
from pages import DOCS, READMES, ROOT, SCRIPTS, TEXTS
from test_imports import MODULES
from test_readme import shell_commands

import jingwei
from jingwei.models.families import MODELS
from jingwei.training.recipes import RECIPES

# ---- links and names ----


def anchors(text: str) -> set[str]:
    """The anchors of a text's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    here = ROOT / "docs" if name in DOCS else (ROOT / name).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (here / path).resolve() if path else here / Path(name).name
        assert file.exists(), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{name}: {target}"


def test_every_doc_can_be_reached_from_the_readme():
    seen, waiting = set(), ["README.md"]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        linked = {Path(target.split("#")[0]).name for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name])}
        waiting += sorted((linked & set(TEXTS)) - seen)
    assert seen >= set(TEXTS) - {"Unet_resnet34/README.md", "benchmarks/README.md"}  # found in their folders


def test_the_readmes_name_every_root_script():
    for name, text in READMES.items():
        missing = [script for script in SCRIPTS if script not in text and script != "Unet_resnet34/predict.py"]
        assert not missing, f"{name} says nothing of {missing}"


def test_the_recipes_page_names_every_recipe_config_and_loss():
    text = DOCS["recipes.md"]
    names = [f"`{name}`" for name in RECIPES] + [f"`{path.name}`" for path in (ROOT / "configs").glob("*.json")]
    assert not [name for name in names if name not in text]


def test_the_networks_page_names_every_network():
    assert not [name for name in MODELS if name not in DOCS["models.md"] + DOCS["recipes.md"]]


def test_every_benchmark_is_in_their_list():
    listed = re.findall(r"`([\w*]+\.py)`", TEXTS["benchmarks/README.md"])
    there = {path.name for path in (ROOT / "benchmarks").glob("*.py")}
    assert {name for name in listed if "*" not in name} - set(SCRIPTS) <= there
    assert not [name for name in there if not any(Path(name).match(pattern) for pattern in listed)]


def test_the_architecture_names_every_module():
    rows = [line for line in DOCS["architecture.md"].splitlines() if line.startswith("| `")]
    missing = []
    for name in MODULES:
        room, _, module = name.partition(".")
        (row,) = [r for r in rows if f"`{room}.py`" in r.split("|")[1] or f"`{room}/`" in r.split("|")[1]]
        if module and f"`{module.rpartition('.')[2]}`" not in row and f"`{module}/`" not in row:
            missing.append(name)
    assert not missing, "enter them in docs/architecture.md"


def test_pictures_are_small():
    for path in (ROOT / "docs").rglob("*.*"):
        assert path.suffix in (".md", ".py", ".ipynb") or path.stat().st_size < 300_000, path


def test_every_picture_is_shown():
    shown = {Path(target).name for text in TEXTS.values() for target in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text)}
    assert {path.name for path in (ROOT / "docs").rglob("*.*") if path.suffix in (".svg", ".jpg", ".png")} == shown


# ---- words ----

# Said once in these pages, and misread by those who read them first.
CALQUES = r"\btold\b|\bgone by\b|\bhangs? on\b|(?<!here )\bis no\b(?! longer)|\bgoes? on from\b"


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "README.zh-CN.md"])
def test_the_pages_are_in_plain_english(name):
    assert not re.findall(CALQUES, TEXTS[name])


def test_the_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == jingwei.__version__, "CITATION.cff"
    assert re.search(rf"^## {re.escape(jingwei.__version__)} - ", TEXTS["CHANGELOG.md"], re.MULTILINE), "CHANGELOG.md"


# ---- two languages ----


def test_both_readmes_have_the_same_commands_in_the_same_order():
    english, chinese = (shell_commands(READMES[name]) for name in READMES)
    assert english == chinese


def test_both_readmes_have_the_same_parts():
    english, chinese = READMES.values()
    for pattern in (r"^#+ ", r"^\|", r"^\* ", r"^\*\*\d", r"^```"):
        assert len(re.findall(pattern, english, re.MULTILINE)) == len(re.findall(pattern, chinese, re.MULTILINE)), (
            pattern
        )


def code_in(text: str) -> set[str]:
    """All that stands in backticks, line breaks as blanks, and the blocks that are no commands."""
    prose = re.sub(r"^```sh\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    other = re.findall(r"^```\w*\n.*?^```", prose, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", prose, flags=re.MULTILINE | re.DOTALL)
    return {" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)} | set(other)


def test_both_readmes_speak_of_the_same_flags_files_and_names():
    english, chinese = (code_in(text) for text in READMES.values())
    assert english == chinese


def test_both_readmes_lead_to_each_other_at_the_top():
    assert "(README.zh-CN.md)" in READMES["README.md"][:300]
    assert "(README.md)" in READMES["README.zh-CN.md"][:300]
