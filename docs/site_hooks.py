"""Hooks of the documentation site (mkdocs.yml): the pages that lie in the project's root belong to it too.

Their links are changed: `docs/x.md` is a neighbour of the home page; files that the site doesn't have lose their link.
"""

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "README.zh-CN.md": "zh.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files, config):
    """Adds the root's pages."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_relink(text, ROOT)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Leads links from docs/ to the root's pages to their place in the site."""
    source = page.file.abs_src_path
    return _relink(markdown, Path(source).parent) if source and Path(source).is_relative_to(ROOT / "docs") else markdown


def _relink(markdown: str, folder: Path) -> str:
    """A page's text with the links that hold in the site; `folder` is where its file lies."""

    def put_right(match: re.Match) -> str:
        picture, words, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or "://" in target:
            return match[0]
        file = (folder / path).resolve()
        if file.is_relative_to(ROOT / "docs"):
            found = file.relative_to(ROOT / "docs").as_posix()
        else:
            found = PAGES.get(file.relative_to(ROOT).as_posix())
        if found is None:
            return words
        above = "" if folder == ROOT else "../" * len(folder.relative_to(ROOT / "docs").parts)
        return f"{picture}[{words}]({above}{found}{'#' + anchor if anchor else ''})"

    return LINK.sub(put_right, markdown)
