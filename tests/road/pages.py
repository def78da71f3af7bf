"""The pages of the docs, and the commands in them."""

import re
from pathlib import Path

from test_readme import shell_commands

ROOT = Path(__file__).resolve().parents[2]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
READMES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")}
BESIDE = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "CHANGELOG.md")}
for name in ("Unet_resnet34/README.md", "benchmarks/README.md"):
    BESIDE[name] = (ROOT / name).read_text(encoding="utf-8")
TEXTS = READMES | DOCS | BESIDE


def blocks(text: str) -> list[tuple[str | None, str]]:
    """The fenced `sh` blocks of a text: (what the comment right above it says, the block)."""
    pattern = r"(?:^<!-- ([^\n]+) -->\n)?^```(?:sh|bash|shell|console)\n(.*?)^```"
    return [(why or None, block) for why, block in re.findall(pattern, text, re.MULTILINE | re.DOTALL)]


def commands(text: str, why: str | None = None) -> list[str]:
    """The commands of the blocks that have this comment above them."""
    return [command for said, block in blocks(text) if said == why for command in shell_commands(f"```sh\n{block}```")]


SCRIPTS = sorted(path.name for path in ROOT.glob("*.py")) + ["Unet_resnet34/train.py", "Unet_resnet34/predict.py"]
