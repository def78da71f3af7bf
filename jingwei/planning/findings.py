"""What a look at a data folder finds, and findings of one kind put together: masks of a set share their mistakes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = 3  # more files of a kind that are named


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be. A grave one stops a job, the others may spoil it."""

    where: Path
    problem: str
    remedy: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}: {self.remedy}"


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one kind together, kinds and findings in the order in which they were found.

    Of one kind are those that say the same, but for names of files and for numbers.
    """
    kinds: dict[tuple[str, bool], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((_kind_of(finding), finding.grave), []).append(finding)
    return list(kinds.values())


def in_lines(group: list[Finding]) -> str:
    """A group for people: the first one, and how many more there are, some of them by name."""
    first, *others = group
    if not others:
        return str(first)
    names = ", ".join(_short(finding.where, first.where) for finding in others[:EXAMPLES])
    return f"{first}\n    the same in {len(others):,d} more: {names}{' ...' if others[EXAMPLES:] else ''}"


def _short(path: Path, beside: Path) -> str:
    """A file's name; with its folder, where that is another."""
    return path.name if path.parent == beside.parent else str(path)


def _kind_of(finding: Finding) -> str:
    text = finding.problem
    for name in (finding.where.name, finding.where.stem):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?![^\W_])", "*", text)
    text = re.sub(r"#[0-9A-F]{6}|\d[\d.,]*", "N", text)
    return re.sub(r"N \(N px\).*", "N", text)  # a list of values or colours
